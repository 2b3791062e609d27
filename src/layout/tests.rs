#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use super::*;
use crate::git::MemorySource;

const FLEET: (&str, &str) = ("evenkeel.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {name: shop}\n");

fn own(kind: &str, rest: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{rest}\n")
}

fn tree(files: &[(&str, &str)]) -> MemorySource {
    MemorySource::new([FLEET].into_iter().chain(files.iter().copied())).unwrap()
}

/// The fleet as text: clusters with all that is said of them, then the rest.
fn shown(files: &[(&str, &str)]) -> String {
    match read(&tree(files)) {
        Ok(fleet) => show(&fleet),
        Err(problems) => problems.iter().fold(String::new(), |text, problem| text + "refused " + &problem.to_string() + "\n"),
    }
}

fn show(fleet: &Fleet) -> String {
    let mut text = String::new();
    for cluster in &fleet.clusters {
        let labels: Vec<String> = cluster.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let layers: Vec<&str> = cluster.layers.iter().map(|layer| layer.path.as_str()).collect();
        write!(text, "{} [{}] {}", cluster.name, labels.join(","), layers.join(" < ")).unwrap();
        if let Some(file) = &cluster.paused {
            write!(text, " paused by {file}").unwrap();
        }
        if let Some(connection) = &cluster.connection {
            write!(text, " by {connection:?}").unwrap();
        }
        text.push('\n');
        for problem in &cluster.problems {
            writeln!(text, "  {problem}").unwrap();
        }
    }
    for problem in &fleet.problems {
        writeln!(text, "problem {problem}").unwrap();
    }
    for warning in &fleet.warnings {
        writeln!(text, "warning {} {}", warning.place, warning.message).unwrap();
    }
    text
}

#[test]
fn folders_make_the_fleet() {
    let cluster = own("Cluster", "");
    let files = [
        ("README.md", "for people"),
        ("base/a.yaml", ""),
        ("regions/eu/base/a.yaml", ""),
        ("environments/prod/base/a.yaml", ""),
        ("environments/prod/eu/base/a.yaml", ""),
        ("environments/prod/eu/prod-eu-1/cluster.yaml", &cluster),
        ("environments/prod/us/prod-us-1/cluster.yaml", &cluster),
        ("environments/dev/eu/dev-eu-1/cluster.yaml", &cluster),
        ("environments/dev/eu/dev-eu-1/.gitkeep", ""),
    ];
    insta::assert_snapshot!(shown(&files), @r"
    dev-eu-1 [cluster=dev-eu-1,environment=dev,region=eu] base < regions/eu/base < environments/dev/eu/dev-eu-1
    prod-eu-1 [cluster=prod-eu-1,environment=prod,region=eu] base < regions/eu/base < environments/prod/base < environments/prod/eu/base < environments/prod/eu/prod-eu-1
    prod-us-1 [cluster=prod-us-1,environment=prod,region=us] base < environments/prod/base < environments/prod/us/prod-us-1
    ");
}

#[test]
fn settings_are_handed_down_and_deeper_labels_win() {
    let files = [
        ("environments/prod/environment.yaml", own("Environment", "metadata: {labels: {tier: live, zone: z0}}\nspec: {paused: false}")),
        ("environments/prod/eu/region.yaml", own("Region", "metadata: {name: eu, labels: {zone: z1}}\nspec: {paused: true}")),
        (
            "environments/prod/eu/one/cluster.yaml",
            own("Cluster", "metadata: {labels: {zone: z2}}\nspec: {paused: true, connection: {context: admin@one}}"),
        ),
        ("environments/prod/us/two/cluster.yaml", own("Cluster", "spec: {connection: {inCluster: true}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    insta::assert_snapshot!(shown(&files), @r#"
    one [cluster=one,environment=prod,region=eu,tier=live,zone=z2] environments/prod/eu/one paused by environments/prod/eu/region.yaml by Context("admin@one")
    two [cluster=two,environment=prod,region=us,tier=live,zone=z0] environments/prod/us/two by InCluster
    "#);
}

#[test]
fn the_deepest_file_that_speaks_of_a_mode_decides() {
    let files = [
        ("evenkeel.yaml", format!("{}spec: {{drift: report, validate: none}}", FLEET.1)),
        ("environments/dev/eu/one/cluster.yaml", own("Cluster", "")),
        ("environments/prod/environment.yaml", own("Environment", "spec: {drift: off}")),
        ("environments/prod/eu/region.yaml", own("Region", "spec: {validate: dryRun}")),
        ("environments/prod/eu/three/cluster.yaml", own("Cluster", "spec: {drift: repair}")),
        ("environments/prod/eu/two/cluster.yaml", own("Cluster", "")),
        ("environments/prod/us/four/cluster.yaml", own("Cluster", "spec: {drift: ignore, validate: never}")),
    ];
    let fleet = read(&MemorySource::new(files).unwrap()).unwrap();
    let modes: Vec<_> = fleet.clusters.iter().map(|cluster| (&*cluster.name, cluster.drift, cluster.validate)).collect();
    let expected = [
        ("four", Drift::Off, Validate::None),
        ("one", Drift::Report, Validate::None),
        ("three", Drift::Repair, Validate::DryRun),
        ("two", Drift::Off, Validate::DryRun),
    ];
    assert_eq!(modes, expected);
    let problems: Vec<String> = fleet.clusters[0].problems.iter().map(ToString::to_string).collect();
    let place = "environments/prod/us/four/cluster.yaml:3:";
    assert_eq!(
        problems,
        [
            format!("{place}8: error[EK1005]: drift must be repair or report or off"),
            format!("{place}23: error[EK1005]: validate must be dryRun or none"),
        ]
    );
}

#[test]
fn mistakes_refuse_what_lies_below_them() {
    let cluster = own("Cluster", "");
    let wrong = own(
        "Cluster",
        "metadata: {name: other, labels: {region: eu}}\nspec:\n  vars: {}\n  colour: red\n  paused: 1\n  connection: {context: a, kubeconfig: b}",
    );
    let region = own("Region", "spec: [");
    let files = [
        ("environments/dev/eu/dev-eu-1/cluster.yaml", cluster.as_str()),
        ("environments/prod/deployment.yaml", ""),
        ("environments/prod/eu/region.yaml", &region),
        ("environments/prod/eu/one/cluster.yaml", &wrong),
        ("environments/prod/eu/manifests/a.yaml", ""),
        ("environments/prod/us/two/cluster.yaml", &cluster),
        ("environments/prod/us/two/base/a.yaml", ""),
        ("environments/prod/tools/a.yaml", ""),
        ("regions/us/region.yaml", ""),
    ];
    insta::assert_snapshot!(shown(&files), @r#"
    dev-eu-1 [cluster=dev-eu-1,environment=dev,region=eu] environments/dev/eu/dev-eu-1
    one [cluster=one,environment=prod,region=eu] environments/prod/eu/one by Context("a")
      environments/prod/deployment.yaml: error[EK1003]: environments/prod has no place for this file
      environments/prod/eu/manifests: error[EK1003]: environments/prod/eu has no place for this folder
      environments/prod/eu/one/cluster.yaml:3:12: error[EK1007]: metadata.name is other, the folder is one
      environments/prod/eu/one/cluster.yaml:3:34: error[EK1005]: the label region is given by the folder and cannot be set
      environments/prod/eu/one/cluster.yaml:5:3: error[EK1006]: vars is not built yet
      environments/prod/eu/one/cluster.yaml:6:3: error[EK1005]: unknown field colour; known here: paused, drift, validate, onRemoval, connection
      environments/prod/eu/one/cluster.yaml:7:3: error[EK1005]: paused must be true or false
      environments/prod/eu/one/cluster.yaml:8:3: error[EK1005]: connection must be exactly one of context, kubeconfig, inCluster
      environments/prod/eu/region.yaml:3:7: error[EK1001]: unclosed bracket '['
      environments/prod/tools: error[EK1003]: environments/prod has no place for this folder
    two [cluster=two,environment=prod,region=us] environments/prod/us/two
      environments/prod/deployment.yaml: error[EK1003]: environments/prod has no place for this file
      environments/prod/tools: error[EK1003]: environments/prod has no place for this folder
      environments/prod/us/two/base: error[EK1003]: environments/prod/us/two has no place for this folder
      regions/us/region.yaml: error[EK1003]: regions/us has no place for this file
    "#);
}

#[test]
fn a_folder_that_lacks_its_cluster_file_is_told_so() {
    let cluster = own("Cluster", "");
    let files = [("environments/dev/eu/dev-eu-1/cluster.yml", cluster.as_str()), ("environments/prod/eu/one/cluster.yaml", &cluster)];
    let fleet = read(&tree(&files)).unwrap();
    assert_eq!(fleet.problems[0].place, Place::file("environments/dev/eu"));
    assert!(fleet.problems[0].hint.contains("holds a cluster.yaml"), "{}", fleet.problems[0].hint);
}

#[test]
fn a_name_that_is_taken_twice_refuses_both() {
    let cluster = own("Cluster", "");
    let files = [
        ("environments/prod/eu/one/cluster.yaml", cluster.as_str()),
        ("environments/prod/us/one/cluster.yaml", &cluster),
        ("environments/prod/us/two/cluster.yaml", &cluster),
    ];
    insta::assert_snapshot!(shown(&files), @r"
    one [cluster=one,environment=prod,region=eu] environments/prod/eu/one
      environments/prod/eu/one: error[EK1014]: the name one is taken by environments/prod/us/one too
    one [cluster=one,environment=prod,region=us] environments/prod/us/one
      environments/prod/us/one: error[EK1014]: the name one is taken by environments/prod/eu/one too
    two [cluster=two,environment=prod,region=us] environments/prod/us/two
    ");
}

#[test]
fn what_no_cluster_reads_refuses_none() {
    let cluster = own("Cluster", "");
    let files = [
        ("enviroments/prod/a.yaml", ""),
        ("environments/dev/eu/dev-eu-1/cluster.yaml", cluster.as_str()),
        ("environments/new/eu/new-eu-1/cluster.yml", &cluster),
        ("regions/mars/notes.txt", ""),
    ];
    insta::assert_snapshot!(shown(&files), @r"
    dev-eu-1 [cluster=dev-eu-1,environment=dev,region=eu] environments/dev/eu/dev-eu-1
    problem environments/new/eu: error[EK1003]: environments/new has no place for this folder
    problem regions/mars/notes.txt: error[EK1003]: regions/mars has no place for this file
    warning enviroments the folder is not read; was `environments` meant?
    warning environments/new the environment has no clusters
    warning regions/mars no environment has a cluster in this region
    ");
}

#[test]
fn components_are_the_folders_under_components() {
    let files = [
        FLEET,
        (".evenkeelignore", "/components/left-out"),
        ("components/two/a.yaml", ""),
        ("components/one/deep/a.yaml", ""),
        ("components/left-out/a.yaml", ""),
        ("components/README.md", ""),
    ];
    let fleet = read(&MemorySource::new(files).unwrap()).unwrap();
    assert_eq!(fleet.components.iter().map(|component| &*component.path).collect::<Vec<_>>(), ["components/one", "components/two"]);
    assert!(fleet.component("components/two").is_some() && fleet.component("components/on").is_none());
    let problems: Vec<String> = fleet.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["components/README.md: error[EK1003]: components has no place for this file"]);
}

#[test]
fn ignored_files_are_not_there() {
    let cluster = own("Cluster", "");
    let files = [
        (".evenkeelignore", "*.md\n!KEEP.md\n/environments/*/scripts/\npolicies\n"),
        ("environments/prod/README.md", ""),
        ("environments/prod/KEEP.md", ""),
        ("environments/prod/scripts/run.sh", ""),
        ("environments/prod/eu/one/cluster.yaml", cluster.as_str()),
        ("policies/a.yaml", ""),
    ];
    insta::assert_snapshot!(shown(&files), @r"
    one [cluster=one,environment=prod,region=eu] environments/prod/eu/one
      environments/prod/KEEP.md: error[EK1003]: environments/prod has no place for this file
    ");
}

/// A pattern that is too wide would let go of the whole fleet.
#[test]
fn a_repository_whose_clusters_are_all_ignored_is_refused() {
    let cluster = own("Cluster", "");
    let with = |ignored: &str| {
        let files = [(".evenkeelignore", ignored), ("environments/prod/eu/one/cluster.yaml", cluster.as_str())];
        shown(&files)
    };
    let refused = |line: u32, pattern: &str| {
        format!(
            "refused .evenkeelignore:{line}:1: error[EK1074]: no cluster is left: `{pattern}` leaves out environments/prod/eu/one/cluster.yaml\n"
        )
    };
    assert_eq!(with("# all\n*.md\n*\n"), refused(3, "*"));
    assert_eq!(with("/environments/*/eu/\n"), refused(1, "/environments/*/eu/"));
    assert_eq!(with("cluster.yaml\n"), refused(1, "cluster.yaml"));
    assert!(!with("*\n!environments\n!environments/**\n").contains("EK1074"), "one is left");
    // A repository that has no clusters at all has nothing to lose.
    assert!(!shown(&[(".evenkeelignore", "*\n"), ("environments/prod/eu/one/limits.yaml", "")]).contains("EK1074"));
}

#[test]
fn the_roots_own_files_refuse_all() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (
            &[("evenkeel.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nmetadata: {name: handover}\n")],
            "refused evenkeel.yaml: error[EK1004]: the name handover is Evenkeel's own; give the fleet another one\n",
        ),
        (&[], "refused evenkeel.yaml: error[EK1004]: there is none in the root of the repository\n"),
        (&[("evenkeel.yml", "")], "refused evenkeel.yaml: error[EK1004]: there is none; rename evenkeel.yml\n"),
        (&[("evenkeel.yaml", "")], "refused evenkeel.yaml: error[EK1004]: the file is empty; it should hold kind: Fleet\n"),
        (
            &[("evenkeel.yaml", "apiVersion: evenkeel.dev/v1alpha1\nkind: Fleet\nspec:\n  defaults: {}\n")],
            "refused evenkeel.yaml:4:3: error[EK1006]: defaults is not built yet\n",
        ),
        (
            &[("evenkeel.yaml", "apiVersion: evenkeel.dev/v1\nkind: Fleet\nmetadata: {name: Shop}\n")],
            "refused evenkeel.yaml:1:1: error[EK1004]: apiVersion is \"evenkeel.dev/v1\"; here it must be evenkeel.dev/v1alpha1\n\
             refused evenkeel.yaml: error[EK1004]: metadata.name `Shop` is not made of lower-case letters, digits and `-`, at most 63\n",
        ),
        (&[FLEET, ("policies/a.yaml", "")], "refused policies: error[EK1006]: policies are not built yet\n"),
        (&[FLEET, ("base", "")], "refused base: error[EK1003]: must be a folder\n"),
    ];
    for (files, expected) in cases {
        let problems = read(&MemorySource::new(files.iter().copied()).unwrap()).unwrap_err();
        assert_eq!(problems.iter().fold(String::new(), |text, problem| text + "refused " + &problem.to_string() + "\n"), expected);
    }
}

#[test]
fn the_fleets_settings() {
    let spec = |text: &str| read(&MemorySource::new([("evenkeel.yaml", format!("{}spec: {text}\n", FLEET.1))]).unwrap()).unwrap().spec;
    assert_eq!(spec("{}"), FleetSpec::default());
    assert_eq!(spec("{}").budget.cluster, Allowance { objects: 20, percent: 25 });
    assert_eq!(spec("{}").budget.fleet, Allowance { objects: 50, percent: 25 });
    assert_eq!(spec("{budget: {fleet: {objects: 3, percent: 4}}}").budget.cluster, Allowance { objects: 20, percent: 25 });
    let expected = FleetSpec {
        paused: true,
        adopt: Adopt::Allow,
        budget: Budget { cluster: Allowance { objects: 1, percent: 2 }, fleet: Allowance { objects: 3, percent: 4 } },
        on_removal: Some(OnRemoval::Prune),
        drift: Some(Drift::Off),
        validate: Some(Validate::None),
        ..FleetSpec::default()
    };
    let text = "{paused: true, adopt: allow, budget: {cluster: {objects: 1, percent: 2}, fleet: {objects: 3, percent: 4}}, drift: off, \
                validate: none, onRemoval: prune}";
    assert_eq!(spec(text), expected);
}

#[test]
fn the_deepest_file_says_what_becomes_of_a_removed_clusters_objects() {
    let removal = |spec: &str| format!("spec: {{onRemoval: {spec}}}\n");
    let files = [
        ("evenkeel.yaml".to_owned(), format!("{}{}", FLEET.1, removal("prune"))),
        ("environments/dev/eu/one/cluster.yaml".to_owned(), own("Cluster", "")),
        ("environments/prod/environment.yaml".to_owned(), own("Environment", &removal("keep"))),
        ("environments/prod/eu/two/cluster.yaml".to_owned(), own("Cluster", "")),
        ("environments/prod/us/region.yaml".to_owned(), own("Region", &removal("prune"))),
        ("environments/prod/us/three/cluster.yaml".to_owned(), own("Cluster", "")),
        ("environments/prod/us/four/cluster.yaml".to_owned(), own("Cluster", &removal("keep"))),
    ];
    let fleet = read(&MemorySource::new(files).unwrap()).unwrap();
    let said = |name| fleet.cluster(name).unwrap().on_removal;
    let expected = [OnRemoval::Prune, OnRemoval::Keep, OnRemoval::Prune, OnRemoval::Keep];
    assert_eq!(["one", "two", "three", "four"].map(said), expected);
}

/// Counts the files that are read.
struct Counting(MemorySource, std::sync::atomic::AtomicUsize);

impl crate::git::Source for Counting {
    fn root(&self) -> crate::git::TreeId {
        self.0.root()
    }

    fn folder(&self, id: crate::git::TreeId) -> Result<Arc<crate::git::Folder>, crate::git::SourceError> {
        self.0.folder(id)
    }

    fn blob(&self, id: crate::git::BlobId) -> Result<Vec<u8>, crate::git::SourceError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.blob(id)
    }
}

#[test]
fn a_commit_that_touches_nothing_of_the_layout_reads_no_file() {
    let cluster = own("Cluster", "");
    let files = [("environments/dev/eu/one/cluster.yaml", &*cluster), ("base/a/a.yaml", "a")];
    let reader = Reader::default();
    let with = |more: &[(&str, &str)]| {
        let source = Counting(tree(&[&files, more].concat()), 0.into());
        let fleet = reader.read(&source).unwrap();
        assert_eq!(show(&fleet), show(&read(&source.0).unwrap()));
        source.1.into_inner()
    };
    assert_eq!(with(&[]), 2, "the fleet's file and the cluster's");
    assert_eq!(with(&[("README.md", "1")]), 0);
    assert_eq!(with(&[("base/b/b.yaml", "b")]), 2, "the layers are others");
    assert_eq!(with(&[("base/b/b.yaml", "b"), (".evenkeelignore", "x\n")]), 3);
    assert_eq!(with(&[("base/b/b.yaml", "b"), (".evenkeelignore", "x\n"), ("elsewhere/x", "")]), 3, "its name may be a slip");
}

/// The file is there: to write one is no way out of a slip in it.
#[test]
fn the_hint_fits_what_is_wrong_with_the_root_file() {
    let hints = |text: Option<&str>| {
        let problems = read(&MemorySource::new(text.map(|text| ("evenkeel.yaml", text))).unwrap()).unwrap_err();
        problems.into_iter().map(|problem| problem.hint).collect::<Vec<_>>()
    };
    assert!(hints(None)[0].contains("`evenkeel init` writes one"));
    for (metadata, spec) in [
        ("name: shop", "rollout: {preempt: never, waves: [{name: all, selector: environment}]}"),
        ("name: shop", "rollout: {waves: [{name: all, selector: environment, maxUnavailable: 50%}]}"),
        ("name: shop", "dirft: off"),
        ("labels: {}", "{}"),
        ("name: Shop", "{}"),
    ] {
        let hints = hints(Some(&own("Fleet", &format!("metadata: {{{metadata}}}\nspec: {{{spec}}}").replace("{{}}", "{}"))));
        assert_eq!(hints, ["Mend what is named; docs/REPOSITORY.md lists the fields of evenkeel.yaml."], "{metadata} {spec}");
    }
}
