//! How far the syncs are that run now, by what they have put on record so far.

use super::{
    LedgerError, Reader,
    answers::{SCHEMA, UnderWay, UnderWaySync},
    sql::Count,
};

impl Reader {
    /// The syncs that run now. The cost is that of their own objects.
    pub fn under_way(&self) -> Result<UnderWay, LedgerError> {
        self.read(|db| {
            // Of an object there is one result in a sync; what is held or kept was not to be written.
            let mut rows = db.prepare_cached(
                "SELECT name, syncs.id, \
                 coalesce((SELECT bundle FROM bundles WHERE sync = syncs.id AND begun NOT NULL ORDER BY ended NOT NULL, begun DESC LIMIT 1), ''), \
                 (SELECT count(*) FROM object_results WHERE sync = syncs.id AND action NOT IN ('Held', 'Kept')), \
                 (SELECT coalesce(sum(writes + deletions), 0) FROM bundles WHERE sync = syncs.id) \
                 FROM syncs INDEXED BY syncs_running JOIN clusters ON clusters.id = syncs.cluster WHERE result = 'Running' ORDER BY name",
            )?;
            let sync = |row: &rusqlite::Row<'_>| {
                let (done, total) = (row.get::<_, Count>(3)?.0, row.get::<_, Count>(4)?.0);
                Ok(UnderWaySync { cluster: row.get(0)?, sync: row.get(1)?, bundle: row.get(2)?, done: done.min(total), total })
            };
            Ok(UnderWay { schema: SCHEMA, syncs: rows.query_map([], sync)?.collect::<Result<_, _>>()? })
        })
    }
}
