//! Caches of bounded weight. Their keys are content ids, so an entry is never stale, only unused.

use std::{collections::HashMap, hash::Hash};

/// Keeps what was used last, up to a total weight.
pub(super) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Counts uses; an entry's last use tells its age.
    uses: u64,
    weight: usize,
    weight_max: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new(weight_max: usize) -> Self {
        Self { entries: HashMap::new(), uses: 0, weight: 0, weight_max }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    /// What is kept under the key; from now on an empty value, if nothing was.
    pub(super) fn get_or_put(&mut self, key: &K) -> V
    where
        V: Default,
    {
        self.get(key).unwrap_or_else(|| {
            let value = V::default();
            self.put(key.clone(), value.clone(), 1);
            value
        })
    }

    /// Keeps a value, which weighs at least 1. What was unused longest goes once the cache is too heavy, a quarter of it at a time, so
    /// that the search for it is paid rarely.
    pub(super) fn put(&mut self, key: K, value: V, weight: usize) {
        self.uses += 1;
        let weight = weight.max(1);
        if let Some(old) = self.entries.insert(key, Entry { value, weight, used: self.uses }) {
            self.weight -= old.weight;
        }
        self.weight += weight;
        if self.weight <= self.weight_max {
            return;
        }
        let mut ages: Vec<(u64, K)> = self.entries.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
        ages.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in ages {
            if self.weight <= self.weight_max / 4 * 3 {
                break;
            }
            if let Some(old) = self.entries.remove(&key) {
                self.weight -= old.weight;
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_weight_and_keeps_what_is_used() {
        let mut cache = Cache::new(100);
        for key in 0..1000 {
            cache.put(key, key, 1);
            assert_eq!(cache.get(&0), Some(0), "after {key}");
            assert!(cache.len() <= 100);
        }
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.get(&999), Some(999));
        cache.put(999, 1, 100);
        assert_eq!((cache.get(&999), cache.len()), (None, 0), "what is too heavy by itself is not kept");
    }
}
