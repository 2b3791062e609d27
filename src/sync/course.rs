//! How far each bundle came that has an order: kept on the parent, so that a restart goes on where it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::member::{Inventory, Member};
use crate::manifest::{Digest, ObjectId};

/// The way of one bundle to what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Of all that the bundle should hold; another digest is another course.
    pub digest: Digest,
    /// When it was begun, and when it was done, in milliseconds since 1970.
    pub at: u64,
    /// All of it was written, and its hooks have run. What is written from now on only puts it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// Hooks that have completed: their Jobs may be gone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub passed: BTreeSet<String>,
    /// Its on-failure hooks were begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The uid of a hook's Job that was left by an earlier try: how that one ended says nothing of this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<String, String>,
}

impl Course {
    /// One that begins.
    pub(super) fn new(digest: Digest, at: u64) -> Self {
        Self { digest, at, done: false, passed: BTreeSet::new(), failed: false, left: BTreeMap::new() }
    }

    pub(super) fn has_passed(&self, hook: &ObjectId) -> bool {
        self.passed.contains(&hook.to_string())
    }

    /// Whether that Job of a hook was left by an earlier try.
    pub(super) fn has_left(&self, hook: &ObjectId, job: &Job) -> bool {
        self.left.get(&hook.to_string()) == Some(&job.uid)
    }
}

/// The Job of a hook as it stands on the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// For which digest of its bundle it was created.
    pub(super) run: Digest,
    /// metadata.uid
    pub(super) uid: String,
}

/// The Jobs of hooks among the members.
pub(super) fn jobs(inventory: &Inventory) -> BTreeMap<ObjectId, Job> {
    let job = |member: &Member| Some(Job { run: member.run()?, uid: member.uid() });
    inventory.iter().filter_map(|(id, member)| Some((id.clone(), job(member)?))).collect()
}

/// The bundles of a cluster that have an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Courses {
    /// Each by its name.
    #[serde(default)]
    pub bundles: BTreeMap<String, Course>,
    /// Which bundles depend on which, those that left the repository included as long as objects of them stand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: Needs,
}

/// Bundles, and what each depends on.
pub type Needs = BTreeMap<String, BTreeSet<String>>;

impl Courses {
    /// There is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty() && self.needs.is_empty()
    }

    /// The bundle's course to that digest.
    pub(super) fn of(&self, bundle: &str, digest: Digest) -> Option<&Course> {
        self.bundles.get(bundle).filter(|course| course.digest == digest)
    }
}

/// In which round each bundle's objects are deleted: after those of all bundles that depend on it. One that is not named is in the first.
pub(super) fn rounds(needs: &Needs) -> BTreeMap<&str, usize> {
    let mut rounds: BTreeMap<&str, usize> = BTreeMap::new();
    // As often as a chain can be long. Only the dependencies of two commits together can make a circle; in one nobody is first.
    for _ in 0..needs.len() {
        for (dependent, needed) in needs.iter().flat_map(|(dependent, needed)| needed.iter().map(move |needed| (dependent, needed))) {
            let after = rounds.get(dependent.as_str()).copied().unwrap_or(0) + 1;
            let round = rounds.entry(needed).or_default();
            *round = (*round).max(after);
        }
    }
    rounds
}

fn dependents<'a>(needs: &'a Needs, bundle: &str) -> impl Iterator<Item = &'a str> {
    needs.iter().filter(move |(_, needed)| needed.contains(bundle)).map(|(dependent, _)| dependent.as_str())
}

/// All bundles that depend on this one, directly or by another.
pub(super) fn all_dependents<'a>(needs: &'a Needs, bundle: &str) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::new();
    let mut next: Vec<&str> = dependents(needs, bundle).collect();
    while let Some(dependent) = next.pop() {
        if all.insert(dependent) {
            next.extend(dependents(needs, dependent));
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn needs(edges: &[(&str, &str)]) -> Needs {
        let mut needs = Needs::new();
        for (dependent, needed) in edges {
            needs.entry((*dependent).into()).or_default().insert((*needed).into());
        }
        needs
    }

    #[test]
    fn deletions_go_the_other_way_round() {
        let chain = needs(&[("web", "api"), ("api", "db"), ("web", "db"), ("jobs", "db")]);
        assert_eq!(rounds(&chain), BTreeMap::from([("api", 1), ("db", 2)]));
        assert_eq!(all_dependents(&chain, "db"), BTreeSet::from(["web", "api", "jobs"]));
        let circle = needs(&[("a", "b"), ("b", "a"), ("c", "b")]);
        assert_eq!(rounds(&circle).len(), 2, "it ends");
        assert_eq!(all_dependents(&circle, "a"), BTreeSet::from(["a", "b", "c"]));
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let mut course = Course::new(Digest::of(b"web"), 1_000);
        course.passed.insert("Job.batch/shop/migrate".to_owned());
        course.left.insert("Job.batch/shop/smoke".to_owned(), "0b3a7c52".to_owned());
        let courses = Courses { bundles: [("web".into(), course)].into(), needs: needs(&[("web", "db")]) };
        let text = serde_json::to_string(&courses).unwrap();
        assert_eq!(serde_json::from_str::<Courses>(&text).unwrap(), courses);
        assert_eq!(serde_json::from_str::<Courses>("{}").unwrap(), Courses::default());
    }
}
