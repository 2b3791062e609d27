//! Caches that hold what the last few revisions used, and nothing else. Their keys are content ids, so an entry is never stale.

use std::hash::Hash;

use foldhash::{HashMap, HashMapExt as _};

/// Keeps values for as long as one of the last revisions uses them.
pub(super) struct Cache<K, V>(HashMap<K, Entry<V>>);

struct Entry<V> {
    value: V,
    /// The revisions that used it, one bit each.
    users: u8,
}

/// A revision that uses caches: its bit in [`Entry::users`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct User(u8);

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn get(&mut self, key: &K, user: User) -> Option<V> {
        let entry = self.0.get_mut(key)?;
        entry.users |= user.0;
        Some(entry.value.clone())
    }

    /// Notes that a user uses what is kept under the key, and returns that if it is news.
    pub(super) fn touch(&mut self, key: &K, user: User) -> Option<V> {
        let news = self.0.get(key).is_some_and(|entry| entry.users & user.0 == 0);
        if news { self.get(key, user) } else { None }
    }

    /// What is kept under the key; from now on an empty value, if nothing was.
    pub(super) fn get_or_put(&mut self, key: &K, user: User) -> V
    where
        V: Default,
    {
        self.get(key, user).unwrap_or_else(|| {
            let value = V::default();
            self.put(key.clone(), value.clone(), user);
            value
        })
    }

    pub(super) fn put(&mut self, key: K, value: V, user: User) {
        self.0.insert(key, Entry { value, users: user.0 });
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().map(|entry| &entry.value)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Drops what only this user used.
    pub(super) fn forget(&mut self, user: User) {
        self.0.retain(|_, entry| {
            entry.users &= !user.0;
            entry.users != 0
        });
        self.0.shrink_to(self.0.len() * 2);
    }
}

/// The last revisions, each with its bit.
pub(super) struct Users<R> {
    /// Last used last.
    recent: Vec<(R, User)>,
    kept: u8,
}

impl<R: PartialEq> Users<R> {
    /// Remembers up to `kept` revisions, at most 8.
    pub(super) fn new(kept: u8) -> Self {
        Self { recent: Vec::new(), kept }
    }

    /// The bit of a revision. A new one takes the bit of the revision that was unused longest, which is then to be forgotten.
    pub(super) fn enter(&mut self, revision: R) -> (User, bool) {
        if let Some(at) = self.recent.iter().position(|(known, _)| *known == revision) {
            let found = self.recent.remove(at);
            let user = found.1;
            self.recent.push(found);
            return (user, false);
        }
        let free = (0..self.kept).map(|bit| User(1 << bit)).find(|user| self.recent.iter().all(|(_, taken)| taken != user));
        let user = free.unwrap_or_else(|| self.recent.remove(0).1);
        self.recent.push((revision, user));
        (user, free.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_the_last_revisions_used() {
        let (mut users, mut cache) = (Users::new(2), Cache::new());
        let mut enter = |revision: u32, cache: &mut Cache<&str, u32>| {
            let (user, forgotten) = users.enter(revision);
            if forgotten {
                cache.forget(user);
            }
            user
        };
        let one = enter(1, &mut cache);
        cache.put("always", 1, one);
        cache.put("once", 1, one);
        let two = enter(2, &mut cache);
        assert_ne!(one, two);
        assert_eq!((cache.get(&"always", two), cache.get_or_put(&"new", two)), (Some(1), 0));
        assert_eq!((cache.touch(&"new", two), cache.touch(&"new", one), cache.touch(&"none", one)), (None, Some(0), None));
        assert_eq!((cache.touch(&"new", one), cache.get_or_put(&"newer", two)), (None, 0));
        assert_eq!(enter(1, &mut cache), one, "a revision that is used again stays");
        assert_eq!(enter(3, &mut cache), two);
        assert_eq!((cache.get(&"new", one), cache.get(&"newer", one)), (Some(0), None), "only the second revision used it");
        assert_eq!(cache.get(&"once", one), Some(1));
        let four = enter(4, &mut cache);
        assert_eq!((four, cache.get(&"once", four), cache.get(&"always", four)), (one, None, None));
    }
}
