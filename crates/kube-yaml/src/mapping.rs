//! The entries of one mapping: merge keys, keys that come twice.

use std::collections::HashMap;

use crate::{Error, Key, Kind, Node, Position, Warning, WarningKind};

/// A key that waits for its value.
pub(crate) enum PendingKey {
    Named(Key),
    /// `<<`.
    Merge(Position),
}

/// The entries in the order in which go-yaml sets them; the last with a name counts.
#[derive(Default)]
pub(crate) struct Entries {
    entries: Vec<(Key, Node)>,
    /// The ranges of entries that merge keys brought, with the place of the merge key.
    merged: Vec<(std::ops::Range<usize>, Position)>,
}

/// More warnings of one document are left out.
pub(crate) const WARNINGS_MAX: usize = 100;

/// Up to this many entries, comparing each with each is quicker than hashing.
const FEW: usize = 16;

impl Entries {
    pub(crate) fn add(&mut self, key: PendingKey, node: Node) -> Result<(), Error> {
        match key {
            PendingKey::Named(key) => self.entries.push((key, node)),
            PendingKey::Merge(position) => {
                let start = self.entries.len();
                self.merge(node)?;
                self.merged.push((start..self.entries.len(), position));
            }
        }
        Ok(())
    }

    /// go-yaml sets the merged keys at the place of the merge key: they give way to keys below it and replace those above it.
    fn merge(&mut self, node: Node) -> Result<(), Error> {
        let refuse = |position| Error::new(position, "the merge key `<<` takes a map or a list of maps");
        match node.value {
            Kind::Mapping(entries) => self.entries.extend(entries),
            Kind::Sequence(items) => {
                // The first map of the list has precedence.
                for item in items.into_iter().rev() {
                    let Kind::Mapping(entries) = item.value else { return Err(refuse(item.position)) };
                    self.entries.extend(entries);
                }
            }
            _ => return Err(refuse(node.position)),
        }
        Ok(())
    }

    pub(crate) fn finish(self, warnings: &mut Vec<Warning>) -> Vec<(Key, Node)> {
        let mut replaced = self.replaced();
        if replaced.is_empty() {
            return self.entries;
        }
        for &(earlier, later) in &replaced {
            if warnings.len() < WARNINGS_MAX {
                warnings.extend(self.warning(earlier, later));
            }
        }
        replaced.sort_unstable();
        let mut replaced = replaced.into_iter().map(|(earlier, _)| earlier).peekable();
        self.entries.into_iter().enumerate().filter(|(at, _)| replaced.next_if_eq(at).is_none()).map(|(_, entry)| entry).collect()
    }

    /// Pairs of an entry that a later one replaces and the next one of that name.
    fn replaced(&self) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        if self.entries.len() <= FEW {
            for (later, (key, _)) in self.entries.iter().enumerate().skip(1) {
                if let Some(earlier) = self.entries[..later].iter().rposition(|(other, _)| other.name == key.name) {
                    pairs.push((earlier, later));
                }
            }
        } else {
            let mut last = HashMap::with_capacity(self.entries.len());
            for (later, (key, _)) in self.entries.iter().enumerate() {
                pairs.extend(last.insert(key.name.as_str(), later).map(|earlier| (earlier, later)));
            }
        }
        pairs
    }

    fn warning(&self, earlier: usize, later: usize) -> Option<Warning> {
        let merge_of = |at: usize| {
            let next = self.merged.partition_point(|(range, _)| range.end <= at);
            self.merged.get(next).filter(|(range, _)| range.contains(&at)).map(|(_, position)| *position)
        };
        let (name, first) = (&self.entries[earlier].0.name, self.entries[earlier].0.position);
        match (merge_of(earlier), merge_of(later)) {
            (None, None) => Some(Warning {
                position: self.entries[later].0.position,
                kind: WarningKind::DuplicateKey,
                message: format!("the key {name:?} is already on line {}; the last one counts, remove the other", first.line),
            }),
            (None, Some(position)) => Some(Warning {
                position,
                kind: WarningKind::MergeReplaces,
                message: format!("the merge key replaces the key {name:?} of line {}; put the merge key first", first.line),
            }),
            // What a merge key brings is there to be replaced.
            (Some(_), _) => None,
        }
    }
}
