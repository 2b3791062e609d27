//! The tables that the time line is read from, how each is read in its own order, and how they become one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::answer::STREAMS;
use crate::ledger::{LedgerError, sql::At};

/// A table of which each row is an event, numbered in the order in which rows came to be on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Fetch,
    Action,
    Begun,
    Note,
    Ended,
    Phase,
}

/// In the order in which events of the same moment are told; a cursor has their numbers in this order too.
pub(super) const ALL: [Stream; STREAMS] = [Stream::Fetch, Stream::Action, Stream::Begun, Stream::Note, Stream::Ended, Stream::Phase];

/// The clusters of which events are told.
pub(super) enum Which {
    /// All, and what is of the whole fleet.
    Fleet,
    /// By id, with their names.
    Some {
        clusters: BTreeMap<i64, String>,
        /// All commits, also those that change nothing for these.
        commits: bool,
    },
}

/// The end from which rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The first after that number.
    After(i64),
    Newest,
}

/// A row: its number and its time.
pub(super) type Row = (i64, Timestamp);

impl Stream {
    /// The number and time of each row.
    const fn of_fleet(self) -> &'static str {
        match self {
            Self::Fetch => "SELECT id, at FROM fetches WHERE id > ?1",
            Self::Action => "SELECT id, at FROM actions WHERE id > ?1",
            Self::Begun => "SELECT id, started FROM syncs WHERE id > ?1",
            Self::Note => "SELECT id, at FROM notes WHERE id > ?1",
            Self::Ended => "SELECT ended_as, ended FROM syncs WHERE ended_as > ?1",
            // What a cluster does while it is brought somewhere is told by its sync.
            Self::Phase => "SELECT id, at FROM transitions WHERE id > ?1 AND phase <> 'Syncing'",
        }
    }

    /// The same for one cluster.
    const fn of_cluster(self) -> &'static str {
        match self {
            Self::Fetch => {
                "SELECT from_fetch, fetches.at FROM renderings JOIN fetches ON fetches.id = from_fetch \
                 WHERE from_fetch > ?1 AND cluster = ?3 AND by_commit"
            }
            Self::Action => "SELECT action, at FROM action_clusters JOIN actions ON id = action WHERE action > ?1 AND cluster = ?3",
            Self::Begun => "SELECT id, started FROM syncs WHERE id > ?1 AND cluster = ?3",
            Self::Note => "SELECT id, at FROM notes WHERE id > ?1 AND cluster = ?3",
            Self::Ended => "SELECT ended_as, ended FROM syncs WHERE ended_as > ?1 AND cluster = ?3",
            Self::Phase => "SELECT id, at FROM transitions WHERE id > ?1 AND cluster = ?3 AND phase <> 'Syncing'",
        }
    }

    /// The number up to which all rows are on record. Which clusters a commit changes is known once it is rendered.
    fn top(self, db: &Connection, which: &Which) -> Result<i64, LedgerError> {
        let sql = match self {
            Self::Fetch if matches!(which, Which::Some { commits: false, .. }) => {
                "SELECT coalesce((SELECT id FROM fetches WHERE rendered_at NOT NULL ORDER BY id DESC LIMIT 1), 0)"
            }
            Self::Fetch => "SELECT coalesce(max(id), 0) FROM fetches",
            Self::Action => "SELECT coalesce(max(id), 0) FROM actions",
            Self::Begun => "SELECT coalesce(max(id), 0) FROM syncs",
            Self::Note => "SELECT coalesce(max(id), 0) FROM notes",
            Self::Ended => "SELECT coalesce(max(ended_as), 0) FROM syncs WHERE ended_as NOT NULL",
            Self::Phase => "SELECT coalesce(max(id), 0) FROM transitions",
        };
        Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// At most so many rows, in their order. The cost is that of as many rows of each cluster, whatever the length of the record.
    pub(super) fn rows(self, db: &Connection, which: &Which, end: End, limit: u32) -> Result<Vec<Row>, LedgerError> {
        let (after, order) = match end {
            End::After(number) => (number, "ASC"),
            End::Newest => (0, "DESC"),
        };
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, At>(1)?.0));
        let mut found: BTreeSet<Row> = BTreeSet::new();
        match which {
            Which::Some { clusters, commits } if self != Self::Fetch || !commits => {
                let sql = format!("{} ORDER BY 1 {order} LIMIT ?2", self.of_cluster());
                let mut rows = db.prepare_cached(&sql)?;
                for cluster in clusters.keys() {
                    for row in rows.query_map(params![after, limit, cluster], read)? {
                        found.insert(row?);
                    }
                }
            }
            _ => {
                let sql = format!("{} ORDER BY 1 {order} LIMIT ?2", self.of_fleet());
                for row in db.prepare_cached(&sql)?.query_map(params![after, limit], read)? {
                    found.insert(row?);
                }
            }
        }
        let (many, limit) = (found.len(), limit as usize);
        let passed_over = if end == End::Newest { many.saturating_sub(limit) } else { 0 };
        Ok(found.into_iter().skip(passed_over).take(limit).collect())
    }
}

/// [`Stream::top`] of all.
pub(super) fn tops(db: &Connection, which: &Which) -> Result<[i64; STREAMS], LedgerError> {
    let mut tops = [0; STREAMS];
    for (stream, top) in ALL.iter().zip(&mut tops) {
        *top = stream.top(db, which)?;
    }
    Ok(tops)
}

/// A row in the one time line, and how far all were read once it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: Stream,
    pub(super) number: i64,
    pub(super) at: Timestamp,
    pub(super) told: [i64; STREAMS],
}

/// Makes one time line of the streams' rows. Each stream stays in its own order, also where a clock went back in between: only so is
/// everything that comes after a place told after it. `told` is how far they were read before.
pub(super) fn merge(rows: [Vec<Row>; STREAMS], mut told: [i64; STREAMS]) -> Vec<Place> {
    let mut queues = rows.map(VecDeque::from);
    let mut places = Vec::new();
    loop {
        let heads = queues.iter().enumerate().filter_map(|(stream, queue)| Some((queue.front()?.1, stream)));
        let Some((_, next)) = heads.min() else { return places };
        let Some((number, at)) = queues[next].pop_front() else { return places };
        told[next] = number;
        places.push(Place { stream: ALL[next], number, at, told });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, path};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn streams_become_one_line_and_keep_their_order() {
        let rows = [vec![(3, at(5)), (4, at(2))], vec![(8, at(4))], Vec::new(), Vec::new(), vec![(1, at(5))], Vec::new()];
        let places = merge(rows, [2, 0, 7, 0, 0, 0]);
        let line: Vec<_> = places.iter().map(|place| (place.stream, place.number)).collect();
        assert_eq!(
            line,
            [(Stream::Action, 8), (Stream::Fetch, 3), (Stream::Fetch, 4), (Stream::Ended, 1)],
            "the row whose clock had gone back is told behind the one that was on record before it"
        );
        assert_eq!(places[0].told, [2, 8, 7, 0, 0, 0]);
        assert_eq!(places[3].told, [4, 8, 7, 0, 1, 0]);
    }

    /// No question reads a whole table, however long the record is.
    #[test]
    fn every_stream_is_read_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open(dir.path()).unwrap();
        let db = Connection::open(path(dir.path())).unwrap();
        for (stream, order) in ALL.into_iter().flat_map(|stream| [(stream, "ASC"), (stream, "DESC")]) {
            for sql in [stream.of_fleet(), stream.of_cluster()] {
                let sql = format!("EXPLAIN QUERY PLAN {sql} ORDER BY 1 {order} LIMIT ?2");
                let mut plan = db.prepare(&sql).unwrap();
                let binds: Vec<i64> = vec![0; plan.parameter_count()];
                let steps: Vec<String> =
                    plan.query_map(rusqlite::params_from_iter(binds), |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap();
                assert!(steps.iter().all(|step| step.starts_with("SEARCH")), "{sql}: {steps:?}");
            }
        }
    }
}
