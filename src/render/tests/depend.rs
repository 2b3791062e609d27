//! Which bundles wait for which.

use super::{config, render, renderer, tree};

fn bundle(spec: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Bundle\nspec:\n  {spec}\n")
}

/// What the cluster `prod` makes of bundles that each hold one object, and these bundle.yaml besides.
fn shown(bundles: &[&str], files: &[(&str, &str)]) -> String {
    let mut all: Vec<(String, String)> =
        bundles.iter().map(|name| (format!("base/{name}/one.yaml"), config(&format!("{name}-one"), "{}"))).collect();
    all.extend(files.iter().map(|(path, spec)| ((*path).to_owned(), bundle(spec))));
    let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    match render(&renderer(), &tree(&all), "prod") {
        Ok(rendering) => {
            let told =
                rendering.bundles.iter().map(|(name, settings)| format!("{name}: {:?} {:?}\n", settings.depends_on, settings.deadline));
            told.collect()
        }
        Err(problems) => problems.iter().map(|problem| format!("{problem} {}", problem.hint)).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn layers_add_up_and_the_deepest_deadline_counts() {
    let files = [
        ("base/web/bundle.yaml", "{dependsOn: [db], deadline: 1h}"),
        ("environments/prod/base/web/bundle.yaml", "{dependsOn: [cache, db], deadline: 90s}"),
        ("environments/dev/base/web/bundle.yaml", "{dependsOn: [web]}"),
    ];
    insta::assert_snapshot!(shown(&["cache", "db", "web"], &files), @r#"
    cache: {} None
    db: {} None
    web: {"cache", "db"} Some(90s)
    "#);
}

#[test]
fn what_has_no_objects_here_is_not_waited_for() {
    let files = [
        ("base/web/bundle.yaml", "{dependsOn: [db, empty, default]}"),
        ("base/db/bundle.yaml", "{targets: environment=dev}"),
        ("base/empty/bundle.yaml", "{paused: false}"),
    ];
    insta::assert_snapshot!(shown(&["db", "web"], &files), @"web: {} None");
}

#[test]
fn a_name_that_no_layer_has_is_refused() {
    let files = [("base/web/bundle.yaml", "dependsOn:\n  - databse\n  - nothing"), ("regions/eu/base/nothing/bundle.yaml", "{}")];
    insta::assert_snapshot!(shown(&["database", "web"], &files), @r"
    base/web/bundle.yaml:5:5: error[EK1024]: bundle web depends on databse, and no layer of the cluster has a bundle of that name Was database meant?
    base/web/bundle.yaml:6:5: error[EK1024]: bundle web depends on nothing, and no layer of the cluster has a bundle of that name Correct the name in dependsOn, or state the dependency in a layer that has both bundles.
    ");
}

#[test]
fn a_circle_is_shown_once_and_where_it_begins() {
    let files = [
        ("base/d/bundle.yaml", "dependsOn: [b]"),
        ("base/b/bundle.yaml", "dependsOn: [x, c]"),
        ("environments/prod/base/c/bundle.yaml", "dependsOn: [d]"),
        ("base/a/bundle.yaml", "dependsOn: [a]"),
    ];
    insta::assert_snapshot!(shown(&["a", "b", "c", "d", "x"], &files), @r"
    base/a/bundle.yaml:4:15: error[EK1025]: the bundles wait for each other: a -> a Take one of the dependencies on the way that is shown out of its bundle.yaml.
    base/b/bundle.yaml:4:18: error[EK1025]: the bundles wait for each other: b -> c -> d -> b Take one of the dependencies on the way that is shown out of its bundle.yaml.
    ");
}

#[test]
fn order_is_part_of_what_is_rolled_out() {
    let digest = |spec: &str| {
        let files =
            [("base/web/one.yaml", config("one", "{}")), ("base/db/two.yaml", config("two", "{}")), ("base/web/bundle.yaml", bundle(spec))];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        render(&renderer(), &tree(&files), "prod").unwrap().digest
    };
    let all = ["{}", "{dependsOn: [db]}", "{deadline: 1m}", "{deadline: 2m}", "{dependsOn: [db], deadline: 1m}"].map(digest);
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one), "{at}");
    }
    assert_eq!(digest("{dependsOn: [default]}"), all[0], "what is not waited for here changes nothing");
}
