//! What waits to be told to one receiver, and when each is tried: pure, with the time as a parameter.

use std::{collections::BTreeMap, time::Duration};

/// First pause after a failed try; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);
/// Longest of these pauses. What is a matter of minutes at the receiver must not cost the reader much more.
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// One word for each key. Time is since the process began.
#[derive(Debug)]
pub(super) struct Queue<K, V> {
    most: usize,
    items: BTreeMap<K, Item<V>>,
    /// The receiver asked for a pause.
    not_before: Duration,
}

#[derive(Debug)]
struct Item<V> {
    value: V,
    tries: u32,
    at: Duration,
}

impl<K: Ord + Clone, V: Clone + PartialEq> Queue<K, V> {
    /// Of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, items: BTreeMap::new(), not_before: Duration::ZERO }
    }

    /// These are to be told, in the order of their importance, and nothing else. What waits already keeps its turn; where it has another
    /// value now, that takes its place, and the pause of the one before holds, since it is the receiver that was away.
    pub(super) fn want(&mut self, wanted: impl IntoIterator<Item = (K, V)>) {
        let mut before = std::mem::take(&mut self.items);
        for (key, value) in wanted.into_iter().take(self.most) {
            let (tries, at) = before.remove(&key).map_or((0, Duration::ZERO), |item| (item.tries, item.at));
            self.items.insert(key, Item { value, tries, at });
        }
    }

    /// The one whose turn it is.
    pub(super) fn next(&self, now: Duration) -> Option<(K, V)> {
        let due = self.items.iter().filter(|(_, item)| item.at.max(self.not_before) <= now);
        due.min_by_key(|(_, item)| item.at).map(|(key, item)| (key.clone(), item.value.clone()))
    }

    /// Whether that waits.
    pub(super) fn has(&self, key: &K) -> bool {
        self.items.contains_key(key)
    }

    /// When it is the next one's turn; none where nothing waits.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.items.values().map(|item| item.at.max(self.not_before)).min()
    }

    /// It was told or given up.
    pub(super) fn done(&mut self, key: &K) {
        self.items.remove(key);
    }

    /// It was not told. `after` is what the receiver asked to wait with everything; `chance`, from 0 to 1, moves the pause so that not all
    /// agents come back at once.
    pub(super) fn failed(&mut self, key: &K, after: Option<Duration>, chance: f64, now: Duration) {
        if let Some(after) = after {
            self.not_before = self.not_before.max(now + after);
        }
        if let Some(item) = self.items.get_mut(key) {
            let doubled = BACKOFF.saturating_mul(1 << item.tries.min(16)).min(BACKOFF_MAX);
            item.tries = item.tries.saturating_add(1);
            item.at = now + doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_newest_word_takes_the_place_of_older_ones_and_keeps_their_pause() {
        let mut queue = Queue::new(10);
        queue.want([("a", 1), ("b", 1)]);
        assert_eq!(queue.next(seconds(0.0)), Some(("a", 1)));
        queue.failed(&"a", None, 1.0, seconds(0.0));
        assert_eq!(queue.next(seconds(0.0)), Some(("b", 1)));
        queue.done(&"b");
        queue.want([("a", 2)]);
        assert_eq!((queue.next(seconds(0.9)), queue.next_at()), (None, Some(seconds(1.0))));
        assert_eq!(queue.next(seconds(1.0)), Some(("a", 2)));
        queue.want([]);
        assert_eq!((queue.next(seconds(9.0)), queue.next_at(), queue.len()), (None, None, 0));
    }

    #[test]
    fn pauses_double_to_a_cap_and_are_moved_at_random() {
        let mut queue = Queue::new(10);
        queue.want([("a", 1)]);
        let mut pauses = Vec::new();
        for _ in 0..11 {
            queue.failed(&"a", None, 1.0, seconds(0.0));
            pauses.push(queue.next_at().map_or(0, |at| at.as_secs()));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        queue.failed(&"a", None, 0.0, seconds(0.0));
        assert_eq!(queue.next_at(), Some(seconds(150.0)));
    }

    #[test]
    fn a_pause_that_the_receiver_asks_for_holds_for_all() {
        let mut queue = Queue::new(10);
        queue.want([("a", 1), ("b", 1)]);
        queue.failed(&"a", Some(seconds(60.0)), 0.5, seconds(10.0));
        assert_eq!((queue.next(seconds(69.0)), queue.next_at()), (None, Some(seconds(70.0))));
        assert_eq!(queue.next(seconds(70.0)), Some(("b", 1)));
    }

    #[test]
    fn only_so_many_wait() {
        let mut queue = Queue::new(2);
        queue.want([("c", 1), ("b", 1), ("a", 1)]);
        assert_eq!((queue.len(), queue.next(seconds(0.0))), (2, Some(("b", 1))));
    }
}
