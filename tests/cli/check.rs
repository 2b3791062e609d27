//! `evenkeel check` on repositories with mistakes of many kinds.

use std::path::Path;

use evenkeel::codes;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Setup, repo::repo, run, schemas::misfit};

/// Mistakes and doubts of many kinds, some of them in files that hold values of Secrets.
const MISTAKES: &[(&str, &str)] = &[
    ("base/shop/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: x\n"),
    (
        "base/shop/wide.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: 名前, annotations: {\"説明\": 値, evenkeel.dev/prune: 何}}}\n",
    ),
    ("base/shop/live.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: live\n  namespace: shop\n  uid: 0-1\n"),
    (
        "base/shop/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: shop, uid: hunter2}\nstringData: {a: hunter2}\n",
    ),
    ("base/shop/maybe.yaml", "password: hunter2\nkeys: [\n"),
    ("base/other/twice.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: words\n  namespace: shop\n"),
    ("base/overlay.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nimagse: []\n"),
    (
        "environments/dev/base/shop/typo.patch.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: word\n  namespace: shop\ndata: {}\n",
    ),
    (
        "environments/dev/environment.yaml",
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Environment\nmetadata: {name: development}\nspec: {vars: {}}\n",
    ),
    ("environments/empty/environment.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Environment\nspec:\n  pausde: true\n"),
    ("environments/prod/stray.txt", "x"),
    ("regions/us/base/a.yaml", ""),
    ("components/spare/a.yaml", ""),
];

fn check(dir: &Path, flags: &str) -> String {
    let dir = dir.display().to_string();
    run(&format!("evenkeel check --repo {dir}{flags}")).whole().replace(&dir, "REPO")
}

#[test]
fn every_mistake_in_every_form() {
    let repo = repo(MISTAKES);
    let text = check(repo.path(), "");
    insta::assert_snapshot!(text);
    let json = check(repo.path(), " -o json");
    insta::assert_snapshot!(json);
    let sarif = check(repo.path(), " -o sarif");
    for answer in [text, json, sarif, check(repo.path(), " -o yaml")] {
        assert!(!answer.contains("hunter2"), "{answer}");
    }
}

#[test]
fn bundles_that_wait_for_each_other_are_shown_with_the_way_round() {
    let bundle = |needs: &str| format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec:\n  dependsOn:\n  - {needs}\n");
    let object = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\n");
    let files = [
        ("base/api/bundle.yaml", bundle("queue")),
        ("base/api/api.yaml", object("api")),
        ("environments/dev/base/queue/bundle.yaml", bundle("api")),
        ("base/queue/queue.yaml", object("queue")),
        ("base/web/bundle.yaml", bundle("quque")),
        ("base/web/web.yaml", object("web")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let repo = repo(&files);
    insta::assert_snapshot!(check(repo.path(), ""), @r"
    $ evenkeel check --repo REPO
    base/api/bundle.yaml:5:5: error[EK1025]: the bundles wait for each other: api -> queue -> api
      5 |   - queue
        |     ^
      hint: Take one of the dependencies on the way that is shown out of its bundle.yaml.
      refuses: dev-eu-1
    base/web/bundle.yaml:5:5: error[EK1024]: bundle web depends on quque, and no layer of the cluster has a bundle of that name
      5 |   - quque
        |     ^
      hint: Was queue meant?
      refuses: all 2 clusters

    2 clusters, 2 mistakes, no warnings
    [exit 1]
    ");
}

#[test]
fn a_missing_root_file_refuses_the_fleet() {
    let empty = TempDir::new().unwrap();
    insta::assert_snapshot!([check(empty.path(), ""), check(empty.path(), " -o json")].join("\n"));
}

/// What does nothing for any cluster that reads it, and what does something for one of them.
const IDLE: &[(&str, &str)] = &[
    (
        "base/shop/deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  labels: {team: web}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      - {name: web, image: \"web:1\"}\n",
    ),
    ("base/none/bundle.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec:\n  targets: environment=nowhere\n"),
    ("base/none/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"),
    ("base/some/bundle.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec:\n  targets: environment=dev\n"),
    ("base/some/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n"),
    (
        "environments/dev/base/overlay.yaml",
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nimages:\n- {name: web, newTag: \"1\"}\n- {name: wbe, newTag: \"1\"}\nreplicas:\n\
         - {name: web, count: 2}\nlabels:\n- pairs: {team: web}\npatches:\n- target: {kind: Deployment}\n  patch: |\n    \
         [{op: replace, path: /spec/replicas, value: 2}]\n- target: {name: nobody}\n  patch: '[{op: remove, path: /spec}]'\n",
    ),
    (
        "environments/dev/base/shop/same.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 2\n",
    ),
    ("environments/prod/base/overlay.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\nimages: []\n"),
    ("environments/prod/us/prod-us-1/cluster.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Cluster\n"),
    (
        "environments/prod/us/prod-us-1/shop/three.patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 3}\n",
    ),
    (
        "regions/eu/base/shop/two.patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 4}\n",
    ),
    (
        "environments/prod/base/shop/four.patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 4}\n",
    ),
    (
        "environments/prod/eu/prod-eu-1/shop/four.patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 4}\n",
    ),
    ("components/spare/a.yaml", ""),
];

#[test]
fn what_does_nothing_is_warned_of() {
    let repo = repo(IDLE);
    insta::assert_snapshot!(check(repo.path(), ""));
    let code = |flags: &str| run(&format!("evenkeel check --repo {}{flags}", repo.path().display())).code;
    assert_eq!((code(""), code(" --strict"), code(" --strict=false")), (0, 1, 0));
}

const EU: &str = "environments/dev/eu/dev-eu-1";
const OVERLAY: &str = "apiVersion: evenkeel.dev/v1alpha1\nkind: Overlay\n";

/// The warnings about a repository with these files, beside an overlay's head where the file is one.
fn warnings(files: &[(&str, &str)]) -> Vec<String> {
    let text = |path: &str, text: &str| if path.ends_with("overlay.yaml") { format!("{OVERLAY}{text}") } else { text.to_owned() };
    let files: Vec<(&str, String)> = files.iter().map(|(path, content)| (*path, text(path, content))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let whole = check(repo(&files).path(), "");
    whole.lines().filter(|line| line.contains("warning[")).map(str::to_owned).collect()
}

#[test]
fn a_component_does_nothing_only_where_none_of_its_places_needs_it() {
    let object = |name: &str, team: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: {{team: {team}}}}}\n")
    };
    let labels = "labels:\n- pairs: {team: web}\n- pairs: {tier: front}\n";
    let include = "components: [../../components/team]\n";
    let (web, api) = (object("web", "web"), object("api", "api"));
    let files = |api: &str| {
        warnings(&[
            ("base/web/a.yaml", &object("web", "web")),
            ("base/web/overlay.yaml", include),
            ("base/api/a.yaml", api),
            ("base/api/overlay.yaml", include),
            ("components/team/overlay.yaml", labels),
        ])
    };
    assert_eq!(files(&api), Vec::<String>::new());
    let idle = "components/team/overlay.yaml:4:3: warning[EK1040]: labels[0] changes nothing: what it sets is so already";
    assert_eq!(files(&object("api", "web")), [idle]);
    // In one cluster of two, which alone includes it.
    let overlay = format!("{EU}/web/overlay.yaml");
    let one = [
        ("base/web/a.yaml", web.as_str()),
        (&overlay, "components: [../../../../../components/team]\n"),
        ("components/team/overlay.yaml", labels),
    ];
    assert_eq!(warnings(&one), [idle]);
}

#[test]
fn components_are_unused_where_no_cluster_includes_them() {
    let files = [
        ("components/a/overlay.yaml", "components: [../b]\n"),
        ("components/b/x.patch.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words, namespace: shop}\ndata: {c: x}\n"),
        ("components/c/overlay.yaml", "components: [../d]\n"),
        ("components/d/x.yaml", ""),
        ("components/.e/x.yaml", ""),
        ("components/README.md", ""),
        ("environments/dev/base/overlay.yaml", "components: [../../../components/a]\n"),
    ];
    let unused = |name: &str| format!("components/{name}: warning[EK1040]: no cluster includes this component");
    assert_eq!(warnings(&files), [unused("c"), unused("d")]);
    // What a broken overlay includes is not known.
    let broken = files.map(|(path, text)| (path, text.replace("components: [../../../", "imagse: []\ncomponents: [../../../")));
    assert_eq!(warnings(&broken.each_ref().map(|(path, text)| (*path, text.as_str()))), Vec::<String>::new());
}

#[test]
fn a_bundle_is_empty_only_where_no_cluster_has_objects_of_it() {
    let bundle = "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec: {paused: true}\n";
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n";
    let delete = format!("{object}$patch: delete\n");
    let (gone, here, there) = (format!("{EU}/web/a.patch.yaml"), format!("{EU}/web/bundle.yaml"), format!("{EU}/tols/bundle.yaml"));
    let emptied = [("base/web/a.yaml", object), (&gone, delete.as_str()), (&here, bundle)];
    assert_eq!(warnings(&emptied), Vec::<String>::new());
    let deeper = [("base/web/bundle.yaml", bundle), ("environments/prod/base/web/a.yaml", object)];
    assert_eq!(warnings(&deeper), Vec::<String>::new());
    let typo = [("base/tools/a.yaml", object), (&there, bundle)];
    assert_eq!(warnings(&typo), [format!("{there}: warning[EK1020]: bundle tols has no objects; was tools meant?")]);
}

#[test]
fn colour_marks_and_says_nothing() {
    let repo = repo(MISTAKES);
    let line = format!("evenkeel check --repo {}", repo.path().display());
    let colored = Setup { color: true, ..Setup::default() }.run(&line).out;
    assert!(colored.contains("\u{1b}[31merror[EK1001]\u{1b}[0m") && colored.contains("\u{1b}[33mwarning["), "{colored}");
    let stripped = ["\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m"].iter().fold(colored, |text, code| text.replace(code, ""));
    assert_eq!(stripped, run(&line).out);
}

#[test]
fn json_fits_its_schema() {
    for files in [MISTAKES, IDLE, &[]] {
        let repo = repo(files);
        let answer: Value = serde_json::from_str(&run(&format!("evenkeel check --repo {} -o json", repo.path().display())).out).unwrap();
        assert_eq!(misfit("check", &answer), "");
        let yaml = run(&format!("evenkeel check --repo {} -o yaml", repo.path().display())).out;
        assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), answer);
    }
}

/// sarif.json has the parts of SARIF 2.1.0 (OASIS) that are required of every log, and those that GitHub's code scanning asks for.
#[test]
fn sarif_has_what_code_scanning_needs() {
    let schema: Value = serde_json::from_str(include_str!("sarif.json")).unwrap();
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
    for (files, results) in [(MISTAKES, true), (IDLE, true), (&[][..], false)] {
        let repo = repo(files);
        let output = run(&format!("evenkeel check --repo {} -o sarif", repo.path().display()));
        let log: Value = serde_json::from_str(&output.out).unwrap();
        let misfits: Vec<String> = validator.iter_errors(&log).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(misfits.is_empty(), "{misfits:?}");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for code in codes::ALL.iter().filter(|code| code.id.starts_with("EK1")) {
            let rule = rules.iter().find(|rule| rule["id"] == code.id).unwrap();
            assert!(rule["help"]["text"].as_str().unwrap().contains(code.next) && rule["shortDescription"]["text"] == code.title);
        }
        assert_eq!(!run["results"].as_array().unwrap().is_empty(), results);
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
    }
}

#[test]
fn a_health_rule_is_refused_with_its_place() {
    let rules = "\
apiVersion: evenkeel.dev/v1alpha1
kind: Bundle
spec:
  health:
  - apiVersion: example.org/v1
    kind: Widget
    current: status.phase ==
    failed: stats.broken
  - {apiVersion: example.org/v2, kind: Kettle, current: status.warm}
  - {apiVersion: example.org/v1, kind: Kettle, current: status.hot}
  - {apiVersion: v1, kind: Secret, current: has(data.key)}
";
    let repo = repo(&[("base/shop/bundle.yaml", rules)]);
    let answer = check(repo.path(), "");
    for expected in [
        "base/shop/bundle.yaml:7:5: error[EK1027]: current: Syntax error: ",
        "base/shop/bundle.yaml:8:5: error[EK1027]: failed: unknown variable stats; known are apiVersion, kind, metadata, spec, status, data, self, object, and any other field of the object as self.stats (at 1:1 of the expression)",
        "base/shop/bundle.yaml:10:34: error[EK1028]: there is a rule for Kettle.example.org already; the version makes no difference",
        "base/shop/bundle.yaml:11:22: error[EK1028]: a Secret has nothing that says how it does, and its values stay unread",
    ] {
        assert!(answer.contains(expected), "{expected}\n{answer}");
    }
    let unused = "\
apiVersion: evenkeel.dev/v1alpha1
kind: Bundle
spec:
  health:
  - {apiVersion: v1, kind: ConfigMap, current: has(self.data)}
  - {apiVersion: example.org/v1, kind: Wigdet, current: status.warm}
";
    let answer = check(crate::repo::repo(&[("base/shop/bundle.yaml", unused)]).path(), "");
    assert!(
        answer.contains("base/shop/bundle.yaml:6:48: warning[EK1040]: there is no Wigdet.example.org for this health rule"),
        "{answer}"
    );
    assert!(!answer.contains("no ConfigMap"), "{answer}");
    let incomplete = "apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec:\n  health:\n  - {kind: Pan}\n";
    let answer = check(crate::repo::repo(&[("base/shop/bundle.yaml", incomplete)]).path(), "");
    for missing in ["apiVersion", "current"] {
        assert!(answer.contains(&format!("base/shop/bundle.yaml:5:5: error[EK1005]: {missing} is missing")), "{answer}");
    }
}
