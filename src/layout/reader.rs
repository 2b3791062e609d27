//! Reading the layouts of one revision after the other.

use std::sync::{Mutex, PoisonError};

use super::{
    Fleet, Ignored,
    walk::{FLEET_FILE, ROOT_FOLDERS, read},
};
use crate::{
    codes,
    diagnostic::Diagnostic,
    git::{Entry, Node, Source},
};

/// Keeps the last layout: a commit that touches nothing that it is read from has the same, and costs one look at the root.
#[derive(Debug, Default)]
pub struct Reader(Mutex<Option<(Vec<Entry>, Fleet)>>);

impl Reader {
    /// As [`super::read`].
    pub fn read(&self, source: &dyn Source) -> Result<Fleet, Vec<Diagnostic>> {
        let Ok(root) = source.folder(source.root()) else { return read(source) };
        let told = |entry: &&Entry| {
            let named = [FLEET_FILE, Ignored::FILE].iter().chain(&ROOT_FOLDERS).any(|name| *name == entry.name);
            named || !matches!(entry.node, Node::File(_))
        };
        let root: Vec<Entry> = root.entries.iter().filter(told).cloned().collect();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, fleet)) = &*last
            && *known == root
        {
            return Ok(fleet.clone());
        }
        let fleet = read(source)?;
        // What could not be read may be readable the next time.
        let all = fleet.clusters.iter().flat_map(|cluster| &cluster.problems).chain(&fleet.problems);
        *last = { all }.all(|problem| problem.code != codes::GIT_BROKEN).then(|| (root, fleet.clone()));
        Ok(fleet)
    }
}
