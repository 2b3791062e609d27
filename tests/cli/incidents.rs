//! docs/INCIDENTS.md shows twenty incidents as they were staged for real: it is made of the snapshots of tests/e2e/incidents.

use std::{collections::BTreeSet, fmt::Write as _, fs};

/// The name of each snapshot, what happened, and how it was staged.
const INCIDENTS: [(&str, &str, &str); 20] = [
    (
        "refused-policy",
        "A policy refuses an object",
        "A ValidatingAdmissionPolicy on `a` denies one ConfigMap of a new bundle. The policy is not there on `b`.",
    ),
    (
        "bad-image",
        "An image is not there",
        "A commit names an image with a typing mistake. The Deployment's status on `a` is what its controller reports of that; there are no \
         controllers on the test's API servers, so it is written by hand.",
    ),
    ("dead-cluster", "A cluster is dead", "Connections to the API server of `a` are refused, and a commit comes."),
    ("drift-fight", "Another writer does not give up", "A controller changes a field that Git sets, again and again."),
    ("held-deletion", "Deletions are held", "A commit takes a whole bundle out of the repository."),
    ("expired-credential", "A credential has expired", "The client certificate for `a` ran out an hour ago."),
    ("wrong-cluster", "Another cluster answers", "The kubeconfig's context `a` points to another cluster than before."),
    ("two-owners", "Two fleets want one object", "A second fleet has an object in Git that a first one runs already."),
    ("force-push", "The branch is rewritten", "Somebody pushes the branch back to an earlier commit."),
    ("stuck-finalizer", "A deletion does not end", "An object that left Git has a finalizer that nobody removes."),
    (
        "quota",
        "A quota is used up",
        "The namespace has a ResourceQuota without room for one more ConfigMap. There is no quota controller on the test's API servers, so the \
         quota's status is written by hand.",
    ),
    ("broken-file", "A file in Git cannot be read", "A file that only the environment of `a` reads has a bracket that is not closed."),
    ("missing-crd", "A definition is missing", "The environment of `a` has an object of a kind that nobody defined."),
    (
        "read-only-disk",
        "The disk is read-only",
        "The state directory became read-only, and the agent is started there. The ledger can still be asked.",
    ),
    ("dead-remote", "The remote is gone", "The repository that the agent follows is not there any more."),
    ("paused-environment", "An environment is paused", "A commit sets `spec.paused` for the environment of `a`; another follows."),
    ("wave-waiting", "A wave waits", "`b` is the first wave and soaks for a day; `a` comes after it."),
    ("conflict-kubectl", "kubectl was there first", "Somebody made the object by hand, with another value than Git has."),
    (
        "webhook-down",
        "A webhook is down",
        "A ValidatingWebhookConfiguration with failurePolicy Fail names an address where nobody listens.",
    ),
    ("version-gone", "The cluster no longer serves a version", "A manifest has a beta version that this Kubernetes no longer has."),
];

/// With `UPDATE_DOCS=1` the document is written anew.
#[test]
fn the_document_shows_what_was_staged() {
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = format!("{root}/tests/e2e/incidents/snapshots");
    let staged: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".snap", "")).collect();
    assert_eq!(staged, INCIDENTS.iter().map(|(name, ..)| (*name).to_owned()).collect(), "each snapshot is of one incident");
    let mut expect = "# Incidents\n\nWhat `status` and `why` say when something is wrong: twenty incidents, staged on real API servers by the \
        tests in tests/e2e/incidents.\nThis page is made of what the program printed there (`cargo xtask docs`). Commits are numbered in the order in \
        which they came, so that `1111111` is\nthe first; ages, times, hashes and ports stand for those of a real run. `a` and `b` are clusters in the \
        environments `test-a` and `test-b`.\n\n`evenkeel explain CODE` says more of a code, and [FAULTS.md](FAULTS.md) what Evenkeel does by itself.\n"
        .to_owned();
    for (name, title, how) in INCIDENTS {
        let snapshot = fs::read_to_string(format!("{folder}/{name}.snap")).unwrap();
        let text = snapshot.splitn(3, "---\n").nth(2).unwrap();
        let _ = write!(expect, "\n## {title}\n\n{how}\n\n```console\n{}\n```\n", text.trim_end());
    }
    let path = format!("{root}/docs/INCIDENTS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &expect).unwrap();
    } else {
        assert_eq!(fs::read_to_string(path).unwrap_or_default(), expect, "run `cargo xtask docs`");
    }
}
