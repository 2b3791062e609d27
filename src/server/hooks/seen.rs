//! Deliveries that came already.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// How long a delivery is known. Forges send again within minutes; who captured one and sends it later has the branch fetched, which
/// the poll does anyway.
const TIME: Duration = Duration::from_hours(1);
/// Marks that are known, at most: 160 KiB. At two a delivery that is a push every two seconds for an hour.
const MOST: usize = 4096;

/// Marks of deliveries, the oldest first.
#[derive(Debug)]
pub(super) struct Seen {
    marks: HashSet<[u8; 32]>,
    order: VecDeque<(Instant, [u8; 32])>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { marks: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether none of these marks was seen before; they are from now on.
    pub(super) fn is_new(&mut self, marks: Vec<[u8; 32]>, now: Instant) -> bool {
        while self.order.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > TIME || self.order.len() > MOST - 2) {
            if let Some((_, mark)) = self.order.pop_front() {
                self.marks.remove(&mark);
            }
        }
        if marks.iter().any(|mark| self.marks.contains(mark)) {
            return false;
        }
        for mark in marks {
            self.marks.insert(mark);
            self.order.push_back((now, mark));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_known_by_any_of_its_marks_and_for_an_hour() {
        let begin = Instant::now();
        let mut seen = Seen::new();
        let mark = |number: u8| [number; 32];
        assert!(seen.is_new(vec![mark(1), mark(2)], begin));
        assert!(!seen.is_new(vec![mark(3), mark(2)], begin));
        assert!(seen.is_new(vec![mark(3)], begin), "of a refused one nothing is kept");
        assert!(!seen.is_new(vec![mark(1)], begin + TIME));
        assert!(seen.is_new(vec![mark(1)], begin + TIME + Duration::from_secs(1)));
        assert!(seen.is_new(Vec::new(), begin) && seen.is_new(Vec::new(), begin), "what has no mark is never known");
    }

    #[test]
    fn only_so_many_are_known() {
        let begin = Instant::now();
        let mut seen = Seen::new();
        let mark = |number: usize| {
            let mut mark = [0; 32];
            mark[..8].copy_from_slice(&number.to_be_bytes());
            mark
        };
        for number in 0..2 * MOST {
            assert!(seen.is_new(vec![mark(2 * number), mark(2 * number + 1)], begin));
        }
        assert!(seen.order.len() <= MOST && seen.marks.len() == seen.order.len());
        assert!(!seen.is_new(vec![mark(4 * MOST - 1)], begin));
    }
}
