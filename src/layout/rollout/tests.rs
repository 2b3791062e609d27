#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::{git::MemorySource, layout::read};

const CLUSTERS: [(&str, &str); 3] = [("dev", "d1"), ("prod", "p1"), ("prod", "p2")];

fn fleet(rollout: &str) -> Result<super::super::Fleet, Vec<Diagnostic>> {
    let own = |kind: &str, rest: &str| format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{rest}");
    let mut files = vec![("evenkeel.yaml".to_owned(), own("Fleet", &format!("metadata: {{name: shop}}\nspec:\n  rollout:\n{rollout}")))];
    for (environment, name) in CLUSTERS {
        let labels = format!("metadata: {{labels: {{canary: '{}'}}}}", name == "p1");
        files.push((format!("environments/{environment}/eu/{name}/cluster.yaml"), own("Cluster", &labels)));
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    read(&MemorySource::new(files).unwrap())
}

/// What is wrong with the settings, with the place.
fn mistakes(rollout: &str) -> Vec<String> {
    let Err(problems) = fleet(rollout) else { return Vec::new() };
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_settings_of_the_design_are_read() {
    let fleet = fleet(
        "    onFailure: return
    preempt: finishWave
    skipUnreachableAfter: 5m
    freezes: [{from: 2026-12-24, to: 2026-12-26, timezone: Europe/Berlin, reason: Christmas}]
    waves:
      - {name: dev, selector: environment=dev}
      - {name: canary, selector: \"environment=prod,canary=true\", soak: 30m}
      - name: prod
        selector: environment=prod
        maxParallel: 5
        maxUnavailable: 1
        requireApproval: true
        windows: [{days: [mon, thu], from: \"08:00\", to: \"17:30\", timezone: Europe/Berlin}, {from: \"22:00\", to: \"24:00\"}]
        freezes: [{from: \"2026-07-01T06:00\", to: \"2026-07-01T07:30:00\"}]
",
    );
    let fleet = fleet.unwrap();
    let rollout = fleet.spec.rollout.clone().unwrap();
    assert_eq!((rollout.on_failure, rollout.preempt), (OnFailure::Return, Preempt::FinishWave));
    assert_eq!(rollout.skip_unreachable_after, Duration::from_mins(5));
    let freeze = &rollout.freezes[0];
    assert_eq!([freeze.from.to_string(), freeze.to.to_string()], ["2026-12-23T23:00:00Z", "2026-12-26T23:00:00Z"]);
    assert_eq!(freeze.reason, "Christmas");
    let prod = &rollout.waves[2];
    assert_eq!((prod.max_parallel, prod.max_unavailable, prod.require_approval, prod.soak), (Some(5), Some(1), true, Duration::ZERO));
    assert_eq!(prod.windows[0].days, [Weekday::Monday, Weekday::Thursday]);
    assert_eq!((prod.windows[1].days.len(), prod.windows[1].to), (7, Time::midnight()));
    assert_eq!(prod.freezes[0].to.to_string(), "2026-07-01T07:30:00Z");
    let waves: Vec<_> = fleet.clusters.iter().map(|cluster| rollout.wave_of(&cluster.labels)).collect();
    assert_eq!(waves, [Some(0), Some(1), Some(2)], "a cluster is in the first wave that selects it");
    assert!(fleet.clusters.iter().all(|cluster| cluster.problems.is_empty()));
}

#[test]
fn a_freeze_in_the_hour_that_the_clock_leaves_out_is_taken_and_has_no_moment() {
    let freeze = |from: &str, to: &str| {
        let freezes = format!("[{{from: \"2026-03-29T{from}\", to: \"2026-03-29T{to}\", timezone: Europe/Berlin}}]");
        fleet(&format!("    waves: [{{name: all, selector: environment}}]\n    freezes: {freezes}\n"))
    };
    for (from, to) in [("02:30", "03:30"), ("02:45", "03:15")] {
        let fleet = freeze(from, to).unwrap();
        let freeze = &fleet.spec.rollout.as_ref().unwrap().freezes[0];
        assert!(freeze.to <= freeze.from, "{freeze:?}");
    }
    assert!(freeze("02:45", "02:30").is_err(), "it is written the wrong way round");
}

#[test]
fn a_cluster_that_no_wave_selects_is_refused_and_no_other() {
    let fleet = fleet("    waves: [{name: prod, selector: environment=prod}]\n").unwrap();
    let problems: Vec<String> = fleet.clusters.iter().flat_map(|cluster| &cluster.problems).map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["environments/dev/eu/d1/cluster.yaml: error[EK1042]: no wave of spec.rollout in evenkeel.yaml selects the cluster d1"]
    );
}

#[test]
fn a_wave_without_clusters_is_warned_of() {
    let fleet = fleet("    waves:\n      - {name: canary, selector: canray=true}\n      - {name: all, selector: environment}\n").unwrap();
    let warnings: Vec<String> = fleet.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["evenkeel.yaml:7:24: error[EK1040]: the wave canary has no clusters, and no other waits for it"]);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let found = mistakes(
        "    freezes:
      - {from: 2026-12-26, to: 2026-12-24}
      - {from: Christmas, to: 2026-12-24, timezone: Europe/Atlantis}
    waves:
      - {name: a, selector: ' '}
      - {name: a, selector: 'environment='}
      - {name: a, selector: environment=dev, maxParallel: 0, maxUnavailable: 0}
      - name: b
        selector: \"environment in (dev\"
        windows:
          - {days: [], from: \"08:00\", to: \"17:00\"}
          - {from: \"08:00\", to: \"08:00\"}
          - {from: \"8\", to: \"25:00\", timezone: CEST}
",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    evenkeel.yaml:10:19: error[EK1041]: the selector is empty; `environment` selects every cluster
    evenkeel.yaml:12:10: error[EK1041]: there is a wave a already
    evenkeel.yaml:12:46: error[EK1041]: maxParallel is 0, so that the wave would never begin; leave it out for no limit
    evenkeel.yaml:12:62: error[EK1041]: maxUnavailable is 0, so that the wave would never begin; leave it out for no limit
    evenkeel.yaml:14:9: error[EK1041]: label selector "environment in (dev": ")" is expected where it has its end
    evenkeel.yaml:16:14: error[EK1041]: the window never opens: no days; leave `days` out for all of them
    evenkeel.yaml:17:13: error[EK1041]: the window never opens: it ends when it begins; write from 00:00 to 24:00 for whole days
    evenkeel.yaml:18:14: error[EK1041]: `8` is no time of day such as "08:00"
    evenkeel.yaml:18:25: error[EK1041]: `25:00` is no time of day such as "08:00"
    evenkeel.yaml:18:38: error[EK1041]: there is no time zone `CEST`; names are such as Europe/Berlin
    evenkeel.yaml:7:9: error[EK1041]: the freeze ends before it begins
    evenkeel.yaml:8:43: error[EK1041]: there is no time zone `Europe/Atlantis`; names are such as Europe/Berlin
    evenkeel.yaml:8:10: error[EK1041]: `Christmas` is no date such as 2026-12-24 and no date with a time such as 2026-12-24T18:00
    "#);
    insta::assert_snapshot!(mistakes("    waves: []\n").join("\n"), @"evenkeel.yaml:6:5: error[EK1041]: there are no waves; without spec.rollout a commit goes everywhere at once");
    insta::assert_snapshot!(mistakes("    waves: [{name: a, selector: a, windows: [{from: 08:00, to: 17:00, days: [monday]}]}]\n").join("\n"), @"evenkeel.yaml:6:71: error[EK1004]: days must be a list of mon, tue, wed, thu, fri, sat, sun");
    insta::assert_snapshot!(mistakes("    soak: 10m\n").join("\n"), @"evenkeel.yaml:6:5: error[EK1004]: unknown field soak; known here: onFailure, preempt, skipUnreachableAfter, waves, freezes");
}
