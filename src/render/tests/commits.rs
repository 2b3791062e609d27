//! One commit after the other: what a renderer makes of the last one by what it knows of those before must be what it makes of it alone.

use proptest::prelude::*;

use super::*;

/// A file that a history changes: its path, and what it may hold; at first what comes first, and nothing means that it is not there.
type Versions = (&'static str, Vec<String>);

fn files() -> Vec<Versions> {
    let deployment = |name: &str, image: &str, env: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: a}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{x: y}}}}\n  template:\n    metadata: {{labels: {{x: y}}}}\n    spec: {{containers: [{{name: c, image: {image}, env: [{env}]}}]}}\n"
        )
    };
    let patch =
        |name: &str, spec: &str| format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: a}}\nspec: {spec}\n");
    let overlay = |fields: &str| format!("{OVERLAY}{fields}\n");
    let bundle = |spec: &str| format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec: {spec}\n");
    let none = String::new;
    let one = config("one", "{a: '1'}");
    vec![
        ("base/app/one.yaml", vec![one.clone(), config("one", "{a: '2'}"), format!("# a line\n{one}"), none(), config("onne", "{}")]),
        ("base/app/two.yaml", vec![config("two", "{}"), config("two", "{a: '1'}") + "---\n" + &config("three", "{}"), none()]),
        ("base/app/web.yaml", vec![deployment("web", "r/web", ""), deployment("web", "r/web:3", "{name: A, value: b}"), none()]),
        ("base/tools/tool.yaml", vec![deployment("tool", "r/tool", ""), deployment("tool", "r/web", ""), config("tool", "{}")]),
        ("base/tools/four.yaml", vec![config("four", "{}"), none()]),
        ("base/tools/five.yaml", vec![config("five", "{}"), config("five", "{a: b}")]),
        ("base/tools/six.yaml", vec![config("six", "{}"), config("six", "{a: b}")]),
        ("base/tools/ns.yaml", vec!["apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n".to_owned(), none()]),
        ("base/overlay.yaml", vec![none(), overlay("images: [{name: r/web, newTag: '7'}]"), overlay("commonAnnotations: {q: r}")]),
        (
            "base/app/overlay.yaml",
            vec![none(), overlay("configMapGenerator: [{name: made, namespace: a, literals: [a=b]}]"), overlay("namespace: moved")],
        ),
        (
            "base/tools/bundle.yaml",
            vec![
                none(),
                bundle("{targets: environment=prod}"),
                bundle("{targets: environment=none}"),
                bundle("{paused: true}"),
                bundle("{dependsOn: [app]}"),
                bundle("{dependsOn: [ap]}"),
            ],
        ),
        (
            "regions/us/base/app/one.patch.yaml",
            vec![
                none(),
                config("one", "{b: '1'}"),
                config("one", "{a: '2'}"),
                config("one", "{}") + "$patch: delete\n",
                config("oone", "{}"),
            ],
        ),
        (
            "environments/prod/base/x.yaml",
            vec![
                patch("web", "{replicas: 2}"),
                patch("web", "{replicas: 1}") + "---\n" + &config("one", "{c: d}"),
                none(),
                config("own", "{}"),
            ],
        ),
        (
            "environments/prod/base/overlay.yaml",
            vec![
                overlay("labels: [{pairs: {env: prod}}]"),
                overlay("labels: [{pairs: {env: prod}, includeSelectors: true}]\nreplicas: [{name: web, count: 4}]"),
                overlay("patches: [{target: {kind: ConfigMap, name: o.*}, patch: '[{op: add, path: /data/p, value: q}]'}]"),
                overlay("images: [{name: r/none, newTag: '1'}, {name: r/tool, newTag: '2'}]"),
                none(),
            ],
        ),
        (
            "environments/prod/us/prod/app/own.yaml",
            vec![
                patch("web", "{template: {spec: {containers: [{name: c, env: [{name: C, value: prod}]}]}}}"),
                config("extra", "{}"),
                none(),
            ],
        ),
        (
            "environments/prod/us/prod/overlay.yaml",
            vec![none(), overlay("replicas: [{name: tool, count: 9}]"), overlay("components: [../../../../components/debug]")],
        ),
        ("components/debug/c.yaml", vec![config("debugger", "{}"), config("debugger", "{a: b}")]),
    ]
}

/// The repository with that version of each file.
fn repository(files: &[Versions], versions: &[usize]) -> MemorySource {
    let chosen = files.iter().zip(versions).map(|((path, texts), version)| (*path, &*texts[*version]));
    tree(&chosen.filter(|(_, text)| !text.is_empty()).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_known_of_other_commits_changes_nothing(history in prop::collection::vec((0usize..17, 0usize..6), 1..25)) {
        let files = files();
        let mut versions = vec![0; files.len()];
        let kept = renderer();
        for (file, version) in history {
            versions[file] = version % files[file].1.len();
            let source = repository(&files, &versions);
            for cluster in ["dev", "prod"] {
                let known = render(&kept, &source, cluster);
                let fleet = layout::read(&source).unwrap();
                let in_place = renderer().render_alone(&source, &fleet, fleet.cluster(cluster).unwrap(), &Facts::default());
                for alone in [render(&renderer(), &source, cluster), in_place.map(Arc::new)] {
                    match (&known, alone) {
                        (Ok(known), Ok(alone)) => {
                            prop_assert_eq!(&known.objects, &alone.objects);
                            prop_assert_eq!((known.digest, &known.bundles), (alone.digest, &alone.bundles));
                            prop_assert_eq!((&known.warnings, &known.idle), (&alone.warnings, &alone.idle));
                        }
                        (known, alone) => prop_assert_eq!(known.as_ref().err().cloned(), alone.err()),
                    }
                }
            }
        }
    }
}

#[test]
fn a_commit_lays_anew_only_what_it_changes() {
    let mut files = files();
    let many: Vec<String> = (0..20).map(|n| format!("base/many/m{n}.yaml")).collect();
    let many: Vec<(&str, String)> = many.iter().map(|path| (path.as_str(), config(&path["base/many/".len()..][..2], "{}"))).collect();
    files.retain(|(path, _)| *path != "base/tools/ns.yaml");
    let commit = |one: &str| {
        let base = files.iter().map(|(path, texts)| (*path, if path.ends_with("app/one.yaml") { one } else { texts[0].as_str() }));
        let few = many.iter().take(10).map(|(path, text)| (*path, text.as_str()));
        tree(&base.chain(few).filter(|(_, text)| !text.is_empty()).collect::<Vec<_>>())
    };
    let renderer = renderer();
    let before = render(&renderer, &commit(&config("one", "{a: '1'}")), "prod").unwrap();
    let after = render(&renderer, &commit(&config("one", "{a: '2'}")), "prod").unwrap();
    assert_ne!(before.digest, after.digest);
    let changed: Vec<String> = before
        .objects
        .iter()
        .zip(&after.objects)
        .filter(|(before, after)| !Arc::ptr_eq(before, after))
        .map(|(_, after)| after.id.to_string())
        .collect();
    assert_eq!(changed, ["ConfigMap/a/one"], "what deeper layers made of the others stays");
}

/// With so many objects two threads share the work, which must not show.
#[test]
fn two_threads_tell_what_one_would() {
    let many: Vec<(String, String)> = (0..140).map(|n| (format!("base/app/m{n}.yaml"), config(&format!("m{n:03}"), "{a: b}"))).collect();
    let patches: Vec<String> = (0..140).map(|n| config(&format!("m{n:03}"), if n == 77 { "{a: b}" } else { "{c: d}" })).collect();
    let last = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m139, namespace: a}\ndata: {last: 'yes'}\n";
    let overlay =
        format!("{OVERLAY}labels: [{{pairs: {{x: z}}}}]\nimages: [{{name: r/none, newTag: '1'}}]\npatches: [{{path: last.yaml}}]\n");
    let mut files: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let patches = patches.join("---\n");
    files.extend([
        ("environments/prod/base/app/all.patch.yaml", patches.as_str()),
        ("environments/prod/base/overlay.yaml", overlay.as_str()),
        ("environments/prod/base/last.yaml", last),
    ]);
    let rendering = render(&renderer(), &tree(&files), "prod").unwrap();
    let contents: Vec<Value> = rendering.objects.iter().map(|object| content(object)).collect();
    assert_eq!(contents.len(), 140);
    for (n, object) in contents.iter().enumerate() {
        let patched = if n == 77 { Value::Null } else { "d".into() };
        assert_eq!((&object["data"]["c"], &object["metadata"]["labels"]["x"]), (&patched, &"z".into()), "{n}");
        assert_eq!(object["data"]["last"], if n == 139 { "yes".into() } else { Value::Null });
    }
    let idle: Vec<String> = rendering.idle.iter().map(|idle| idle.message.clone()).collect();
    let of = |start: &str| idle.iter().filter(|message| message.starts_with(start)).count();
    assert_eq!((of("the patch of ConfigMap/a/m077"), of("images[0] finds no object"), idle.len()), (1, 1, 2), "{idle:?}");
}
