//! Which bundles wait for which: what every layer's bundle.yaml says of it, together.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{layer::DEFAULT_BUNDLE, stack::Stack};
use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    layout::one_edit_apart,
};

/// The bundles that one depends on, each with the place that says so.
pub(super) type Dependencies = BTreeMap<Arc<str>, Place>;

impl Stack {
    /// Dependencies on bundles that no layer has, and those that lead back to where they began.
    pub(super) fn wrong_dependencies(&self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for (name, bundle) in &self.bundles {
            for (needed, place) in &bundle.depends_on {
                if !self.bundles.contains_key(needed) && &**needed != DEFAULT_BUNDLE {
                    problems.push(self.no_dependency(name, needed, place));
                }
            }
        }
        problems.extend(self.bundles.keys().filter_map(|name| self.cycle(name)));
        problems
    }

    fn no_dependency(&self, name: &str, needed: &str, place: &Place) -> Diagnostic {
        let message = format!("bundle {name} depends on {needed}, and no layer of the cluster has a bundle of that name");
        let problem = Diagnostic::new(codes::NO_DEPENDENCY, place.clone(), message);
        match self.bundles.keys().find(|other| one_edit_apart(other, needed)) {
            Some(near) => problem.with_hint(format!("Was {near} meant?")),
            None => problem,
        }
    }

    /// The shortest way from a bundle back to itself. A circle is told once, at the first of its bundles by name.
    fn cycle(&self, start: &Arc<str>) -> Option<Diagnostic> {
        let mut before: BTreeMap<&Arc<str>, &Arc<str>> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(at) = next.pop_front() {
            for needed in self.bundles.get(at).into_iter().flat_map(|bundle| bundle.depends_on.keys()) {
                if needed == start {
                    return Some(self.told(start, at, &before));
                }
                if needed > start && !before.contains_key(needed) {
                    before.insert(needed, at);
                    next.push_back(needed);
                }
            }
        }
        None
    }

    fn told(&self, start: &Arc<str>, last: &Arc<str>, before: &BTreeMap<&Arc<str>, &Arc<str>>) -> Diagnostic {
        let mut way = vec![&**start];
        let mut at = last;
        while at != start {
            way.push(at);
            let Some(came_from) = before.get(at) else { break };
            at = came_from;
        }
        way.push(start);
        way.reverse();
        let place = self.bundles.get(start).and_then(|bundle| bundle.depends_on.get(way[1])).cloned().unwrap_or_default();
        Diagnostic::new(codes::CYCLE, place, format!("the bundles wait for each other: {}", way.join(" -> ")))
    }

    /// The dependencies of a bundle that have objects on a cluster. One that has none there is as good as written and healthy.
    pub(super) fn dependencies(&self, name: &Arc<str>, there: &BTreeSet<&Arc<str>>) -> BTreeSet<Arc<str>> {
        let all = self.bundles.get(name).into_iter().flat_map(|bundle| bundle.depends_on.keys());
        all.filter(|needed| there.contains(needed)).cloned().collect()
    }
}
