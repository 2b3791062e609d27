//! Generators and components.

use super::*;

/// The files with the header of an overlay before the text of every overlay.yaml.
fn with_headers(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |path: &str, text: &str| if path.ends_with("overlay.yaml") { format!("{OVERLAY}{text}") } else { text.to_owned() };
    files.iter().map(|(path, content)| ((*path).to_owned(), text(path, content))).collect()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

fn shown_with(files: &[(&str, &str)], cluster: &str) -> String {
    shown(&borrowed(&with_headers(files)), cluster)
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec: {volumes: [{name: v, configMap: {name: c}}, {name: w, secret: {secretName: s}}]}\n";

#[test]
fn generated_objects_get_their_names_in_the_end() {
    let files = [
        ("base/app/pod.yaml", POD),
        ("base/app/overlay.yaml", "namespace: a\nconfigMapGenerator:\n  - {name: c, files: [settings.yaml, k=.hidden], literals: [x=1]}\n"),
        ("base/app/settings.yaml", "not: a manifest\n"),
        ("base/app/.hidden", "h"),
        (
            "base/overlay.yaml",
            "secretGenerator: [{name: s, namespace: a, literals: [password=hunter2], options: {disableNameSuffixHash: true}}]\n",
        ),
        // A deeper layer uses the names as they are written: with or without the namespace, as a manifest, or by a generator.
        ("environments/prod/base/app/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: '2'}\n"),
        ("environments/prod/us/prod/app/overlay.yaml", "configMapGenerator: [{name: c, behavior: merge, literals: [y=3]}]\n"),
        (
            "environments/prod/us/prod/s.patch.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\nstringData: {password: new}\n",
        ),
    ];
    insta::assert_snapshot!(shown_with(&files, "dev"), @r#"
    ConfigMap/a/c-f2hkcd4f6m (app, base/app/overlay.yaml:5:5) {"data":{"k":"h","settings.yaml":"not: a manifest\n","x":"1"}}
    Pod/a/p (app, base/app/pod.yaml:1:1) {"spec":{"volumes":[{"configMap":{"name":"c-f2hkcd4f6m"},"name":"v"},{"name":"w","secret":{"secretName":"s"}}]}}
    Secret/a/s (default, base/overlay.yaml:3:19) {"data":{"password":"aHVudGVyMg=="},"type":"Opaque"}
    "#);
    insta::assert_snapshot!(shown_with(&files, "prod"), @r#"
    ConfigMap/a/c-h2428tb525 (app, base/app/overlay.yaml:5:5) {"data":{"k":"h","settings.yaml":"not: a manifest\n","x":"2","y":"3"}}
    Pod/a/p (app, base/app/pod.yaml:1:1) {"spec":{"volumes":[{"configMap":{"name":"c-h2428tb525"},"name":"v"},{"name":"w","secret":{"secretName":"s"}}]}}
    Secret/a/s (default, base/overlay.yaml:3:19) {"data":{"password":"bmV3"},"type":"Opaque"}
    "#);
}

#[test]
fn binary_files_and_long_secrets_are_one_line_of_base64() {
    let long = "0123456789".repeat(20);
    let files = [
        (
            "base/app/overlay.yaml".to_owned(),
            format!("{OVERLAY}secretGenerator: [{{name: s, namespace: a, files: [long]}}]\n").into_bytes(),
        ),
        (
            "base/overlay.yaml".to_owned(),
            format!("{OVERLAY}configMapGenerator: [{{name: c, namespace: a, files: [app/binary]}}]\n").into_bytes(),
        ),
        ("base/app/long".to_owned(), long.into_bytes()),
        ("base/app/binary".to_owned(), vec![0xff; 80]),
        ("evenkeel.yaml".to_owned(), FLEET.as_bytes().to_vec()),
        ("environments/dev/eu/dev/cluster.yaml".to_owned(), CLUSTER.as_bytes().to_vec()),
    ];
    let rendering = render(&renderer(), &MemorySource::new(files).unwrap(), "dev").unwrap();
    let [config_map, secret] = [0, 1].map(|at| content(&rendering.objects[at]));
    for value in [&config_map["binaryData"]["binary"], &secret["data"]["long"]] {
        let text = value.as_str().unwrap();
        assert!(text.len() > 100 && !text.contains('\n'), "{text}");
    }
    assert!(rendering.objects[1].id.name.starts_with("s-"));
}

#[test]
fn files_that_a_wrong_overlay_names_are_no_manifests() {
    let others = "configMapGenerator:\n  - {name: a, files: [one.yaml, k=two.yaml]}\n  - {name: b, envs: [three.json], env: 7}\n";
    for (overlay, mistake) in [
        (format!("{others}  - {{name: c, flies: [four.yaml]}}\npatches: [{{path: five.yaml}}]\n"), "configMapGenerator: "),
        (others.replace(", env: 7", "") + "secretGenerators: [{files: [four.yaml]}]\npatches: [{path: five.yaml}]\n", "unknown field"),
        (others.replace("env: 7", "files: {four.yaml: five.yaml}"), "configMapGenerator: "),
        (others.replace("7}", "{four.yaml, five.yaml"), ""),
        (others.replace(", env: 7", ", files: [four.yaml, five.yaml]") + "---\nkind: Overlay\n", "one document"),
    ] {
        let overlay = format!("{OVERLAY}{overlay}");
        for folder in ["base/app", "base/app/deep"] {
            let path = |name: &str| format!("{folder}/{name}");
            let mut files = vec![(path("overlay.yaml"), overlay.as_str())];
            files.extend(["one.yaml", "two.yaml", "three.json", "four.yaml", "five.yaml"].map(|name| (path(name), "no: manifest\n")));
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            let problems = shown(&files, "dev");
            assert!(problems.lines().all(|problem| problem.contains("overlay.yaml")), "{overlay}\n{problems}");
            let expected = if folder.ends_with("deep") { "overlay.yaml belongs in" } else { mistake };
            assert!(problems.contains(expected), "{overlay}\n{problems}");
        }
    }
}

#[test]
fn mistakes_in_generators_have_their_places() {
    let files = [
        ("base/app/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\n"),
        (
            "base/app/overlay.yaml",
            "configMapGenerator:\n  - {name: one, namespace: a}\n  - {name: none, behavior: merge}\n  - {name: nowhere}\n",
        ),
        ("base/other/overlay.yaml", "configMapGenerator:\n  - {name: one, behavior: merge}\n"),
        (
            "base/bad/overlay.yaml",
            "generatorOptions: {labels: {applyset.kubernetes.io/part-of: x}}\nsecretGenerator:\n  - {name: s, files: [none, ../../../x]}\n  - {name: s, literals: [hunter2]}\n  - {name: S/s}\n  - {name: t}\n",
        ),
        (
            "base/outside/overlay.yaml",
            "configMapGenerator: [{name: t, files: [../../../../etc/passwd]}, {name: u, files: [../../evenkeel.yaml]}]\n",
        ),
    ];
    insta::assert_snapshot!(shown_with(&files, "dev"), @r"
    base/app/overlay.yaml:4:5: error[EK1008]: ConfigMap/a/one stands at base/app/one.yaml:1:1 already; to change it, say behavior: merge or replace
    base/app/overlay.yaml:5:5: error[EK1012]: there is no ConfigMap/none to merge with or to replace
    base/app/overlay.yaml:6:5: error[EK1009]: ConfigMap/nowhere has no namespace
    base/bad/overlay.yaml:5:5: error[EK1012]: files or envs name a file that is not in this layer, or too large; values stand under literals
    base/bad/overlay.yaml:6:5: error[EK1012]: literals[0] is not of the form key=value
    base/bad/overlay.yaml:7:5: error[EK1002]: at /metadata/name: `S/s` cannot name an object
    base/bad/overlay.yaml:8:5: error[EK1013]: at /metadata/labels/applyset.kubernetes.io~1part-of: the label applyset.kubernetes.io/part-of is set by Evenkeel alone
    base/other/overlay.yaml:4:5: error[EK1012]: there is no ConfigMap/one to merge with or to replace
    base/outside/overlay.yaml:3:22: error[EK1012]: `../../../../etc/passwd` leads out of the repository
    base/outside/overlay.yaml:3:66: error[EK1012]: there is no file evenkeel.yaml in this layer
    ");
}

const COMPONENTS: [(&str, &str); 8] = [
    ("base/app/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\ndata: {from: base}\n"),
    // The component comes after the layer's objects and before its transformers.
    ("environments/prod/base/overlay.yaml", "components: [../../../components/extra]\ncommonAnnotations: {by: prod}\n"),
    ("components/extra/tool/tool.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tool, namespace: a}\n"),
    ("components/extra/root.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\ndata: {by: component}\n"),
    ("components/extra/overlay.yaml", "components: [../inner/]\nlabels: [{pairs: {extra: 'yes'}}]\n"),
    ("components/inner/overlay.yaml", "configMapGenerator: [{name: inner, namespace: a, files: [f]}]\n"),
    ("components/inner/f", "content"),
    ("components/unused/broken.yaml", "a: ["),
];

#[test]
fn components_belong_to_the_layers_that_include_them() {
    insta::assert_snapshot!(shown_with(&COMPONENTS, "prod"), @r#"
    ConfigMap/a/inner-9798gh8kd2 (default, components/inner/overlay.yaml:3:22) {"data":{"f":"content"},"metadata":{"annotations":{"by":"prod"},"labels":{"extra":"yes"}}}
    ConfigMap/a/one (app, base/app/one.yaml:1:1) {"data":{"by":"component","from":"base"},"metadata":{"annotations":{"by":"prod"},"labels":{"extra":"yes"}}}
    ConfigMap/a/tool (tool, components/extra/tool/tool.yaml:1:1) {"metadata":{"annotations":{"by":"prod"},"labels":{"extra":"yes"}}}
    "#);
    insta::assert_snapshot!(shown_with(&COMPONENTS, "dev"), @r#"
    ConfigMap/a/one (app, base/app/one.yaml:1:1) {"data":{"from":"base"}}
    "#);
    // Included by a bundle, all of a component belongs to it.
    let files = [
        ("base/app/overlay.yaml", "components: [../../components/x]\n"),
        ("base/more/overlay.yaml", "components: [../../components/y]\nnamespace: b\n"),
        ("base/many/overlay.yaml", "components: [../../components/y]\n"),
        ("base/many/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: many, namespace: a}\n"),
        ("components/x/folder/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: a}\n"),
        ("components/x/overlay.yaml", "labels: [{pairs: {x: 'y'}}]\n"),
        ("components/y/overlay.yaml", "labels: [{pairs: {z: 'y'}}]\n"),
        ("base/more/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"),
    ];
    insta::assert_snapshot!(shown_with(&files, "dev"), @r#"
    ConfigMap/a/many (many, base/many/one.yaml:1:1) {"metadata":{"labels":{"z":"y"}}}
    ConfigMap/a/x (app, components/x/folder/one.yaml:1:1) {"metadata":{"labels":{"x":"y"}}}
    ConfigMap/b/more (more, base/more/one.yaml:1:1) {"metadata":{"labels":{"z":"y"}}}
    "#);
}

#[test]
fn mistakes_in_components_have_their_places() {
    let files = [
        ("base/overlay.yaml", "components:\n  - ../base/app\n  - ../components/extra/deep\n  - /components/extra\n"),
        ("components/extra/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\n"),
        ("components/one/overlay.yaml", "components: [../two]\n"),
        ("components/two/overlay.yaml", "components: [../one, ../extra, ../two]\n"),
    ];
    insta::assert_snapshot!(shown_with(&files, "dev"), @r"
    base/overlay.yaml:4:5: error[EK1023]: `../base/app` is not a folder directly under components/
    base/overlay.yaml:5:5: error[EK1023]: `../components/extra/deep` is not a folder directly under components/
    base/overlay.yaml:6:5: error[EK1023]: `/components/extra` is not a folder directly under components/
    ");
    let paths = [
        ("base/overlay.yaml", "components: [../components/one, ../components/two, ../components/extr]\n"),
        ("components/one/overlay.yaml", "components: [../two]\n"),
        ("components/two/overlay.yaml", "components: [../one, ../extra, ../two]\n"),
        ("components/extra/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\n"),
    ];
    insta::assert_snapshot!(shown_with(&paths, "dev"), @r"
    base/overlay.yaml:3:52: error[EK1023]: there is no folder components/extr
    components/one/overlay.yaml:3:14: error[EK1023]: a circle: components/two, which includes components/one, which includes components/two again
    components/two/overlay.yaml:3:14: error[EK1023]: a circle: components/one, which includes components/two, which includes components/one again
    components/two/overlay.yaml:3:32: error[EK1023]: a circle: components/two, which includes components/two again
    ");
    let twice = [
        ("base/overlay.yaml", "components: [../components/extra]\n"),
        ("environments/dev/base/overlay.yaml", "components: [../../../components/extra]\n"),
        ("components/extra/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: a}\n"),
        ("components/stray.yaml", ""),
    ];
    insta::assert_snapshot!(shown_with(&twice, "dev"), @r"
    components/extra/one.yaml:1:1: error[EK1008]: ConfigMap/a/one is there already: the component is included twice
    ");
    let files = with_headers(&twice);
    let fleet = layout::read(&tree(&borrowed(&files))).unwrap();
    let problems: Vec<String> = fleet.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["components/stray.yaml: error[EK1003]: components has no place for this file"]);
}

#[test]
fn a_component_renders_those_again_that_include_it() {
    let renderer = renderer();
    let mut files = with_headers(&COMPONENTS);
    let source = tree(&borrowed(&files));
    let (dev, prod) = (render(&renderer, &source, "dev").unwrap(), render(&renderer, &source, "prod").unwrap());
    let fleet = layout::read(&source).unwrap();
    let paths: Vec<&str> = fleet.components.iter().map(|component| component.path.as_str()).collect();
    assert_eq!(paths, ["components/extra", "components/inner", "components/unused"]);
    let included = |cluster| renderer.components(&source, &fleet, fleet.cluster(cluster).unwrap());
    assert_eq!(included("prod").iter().collect::<Vec<_>>(), ["components/extra", "components/inner"]);
    assert!(included("dev").is_empty());

    // What is included by what is included counts too; what nobody includes does not.
    for (path, changes) in [("components/unused/broken.yaml", false), ("components/inner/f", true)] {
        files.iter_mut().filter(|(known, _)| known == path).for_each(|(_, text)| text.push_str(" changed"));
        let source = tree(&borrowed(&files));
        assert!(Arc::ptr_eq(&dev, &render(&renderer, &source, "dev").unwrap()), "{path}");
        let again = render(&renderer, &source, "prod").unwrap();
        assert_eq!(Arc::ptr_eq(&prod, &again), !changes, "{path}");
        assert_eq!(again.digest, render(&super::renderer(), &source, "prod").unwrap().digest, "{path}");
    }

    // A component that comes later is seen by those who asked for it.
    let missing: Vec<(&str, &str)> = borrowed(&files).into_iter().filter(|(path, _)| !path.starts_with("components/")).collect();
    let source = tree(&missing);
    assert_eq!(render(&renderer, &source, "prod").unwrap_err()[0].code, codes::COMPONENT);
    assert!(Arc::ptr_eq(&dev, &render(&renderer, &source, "dev").unwrap()));
    render(&renderer, &tree(&borrowed(&files)), "prod").unwrap();
}

#[test]
fn what_generated_names_do_not_change_is_shared() {
    let files = [
        ("base/app/pod.yaml", POD),
        ("base/app/overlay.yaml", "configMapGenerator: [{name: c, namespace: a, literals: [x=1]}]\n"),
        ("environments/prod/us/prod/app/overlay.yaml", "commonAnnotations: {}\n"),
    ];
    let files = with_headers(&files);
    let renderer = renderer();
    let source = tree(&borrowed(&files));
    let (dev, prod) = (render(&renderer, &source, "dev").unwrap(), render(&renderer, &source, "prod").unwrap());
    for (dev, prod) in dev.objects.iter().zip(&prod.objects) {
        assert!(Arc::ptr_eq(dev, prod), "{}", dev.id);
    }
    assert_eq!(dev.digest, prod.digest);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 32, failure_persistence: None, ..Default::default() })]

    /// Whatever was rendered before, by the same renderer.
    #[test]
    fn generated_objects_depend_on_content_alone(
        commits in proptest::collection::vec((0u8..3, 0u8..3, proptest::prelude::any::<bool>(), proptest::prelude::any::<bool>()), 1..6),
    ) {
        let warm = renderer();
        for (value, component, included, merged) in commits {
            let include = if included { "components: [../components/extra]\n" } else { "" };
            let merge = if merged { "configMapGenerator: [{name: c, behavior: merge, literals: [z=1]}]\n" } else { "" };
            let files = with_headers(&[
                ("base/app/pod.yaml", POD),
                ("base/overlay.yaml", &format!("{include}configMapGenerator: [{{name: c, namespace: a, literals: [x={value}]}}]\n")),
                ("environments/prod/base/overlay.yaml", merge),
                ("components/extra/overlay.yaml", &format!("secretGenerator: [{{name: s, namespace: a, literals: [x={component}]}}]\n")),
            ]);
            let source = tree(&borrowed(&files));
            for cluster in ["dev", "prod"] {
                let (known, fresh) = (render(&warm, &source, cluster).unwrap(), render(&renderer(), &source, cluster).unwrap());
                proptest::prop_assert_eq!(known.digest, fresh.digest);
                proptest::prop_assert_eq!(&known.objects, &fresh.objects);
            }
        }
    }
}

#[test]
fn bundles_may_generate_and_move_what_they_name_alike() {
    let generate = |bundle: &str, more: &str| {
        (
            format!("base/{bundle}/overlay.yaml"),
            format!("namespace: {bundle}\nconfigMapGenerator: [{{name: c, literals: [x={bundle}], {more}}}]\n"),
        )
    };
    let off = "options: {disableNameSuffixHash: true}";
    let files = [
        generate("blog", off),
        generate("shop", off),
        // Each bundle's deeper layer means its own.
        (
            "environments/prod/base/shop/overlay.yaml".to_owned(),
            "configMapGenerator: [{name: c, behavior: merge, literals: [y=prod], options: {disableNameSuffixHash: true}}]\n".to_owned(),
        ),
        (
            "environments/prod/base/blog/c.patch.yaml".to_owned(),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: patched}\n".to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    insta::assert_snapshot!(shown_with(&files, "prod"), @r#"
    ConfigMap/blog/c (blog, base/blog/overlay.yaml:4:22) {"data":{"x":"patched"}}
    ConfigMap/shop/c (shop, base/shop/overlay.yaml:4:22) {"data":{"x":"shop","y":"prod"}}
    "#);
}

#[test]
fn a_component_below_a_layer_may_not_add_half_an_object() {
    let files = [
        ("components/big/d.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: webb, namespace: a}\nspec: {replicas: 5}\n"),
        ("environments/prod/base/overlay.yaml", "components: [../../../components/big]\n"),
    ];
    insta::assert_snapshot!(shown_with(&files, "prod"), @"components/big/d.yaml:1:1: error[EK1030]: Deployment.apps/a/webb looks like a patch whose target is missing: no layer above gives it, and for an object of its own it lacks /spec/selector, /spec/template");
}

#[test]
fn what_a_secret_generator_is_given_is_not_told() {
    for field in
        ["files: ['token=hunter2=']", "files: [hunter2]", "envs: [PASSWORD=hunter2]", "literals: [hunter2]", "files: [../../../hunter2]"]
    {
        let overlay = format!("secretGenerator: [{{name: s, namespace: a, {field}}}]\n");
        let shown = shown_with(&[("base/app/overlay.yaml", &overlay)], "dev");
        assert!(shown.contains("error[EK1012]") && !shown.contains("hunter2"), "{field}: {shown}");
    }
}
