-- The order in which syncs ended, for whoever reads on from a place: their ids say in which order they began.
ALTER TABLE syncs ADD COLUMN ended_as INTEGER;
UPDATE syncs SET ended_as = place FROM
    (SELECT id AS ended, row_number() OVER (ORDER BY ended, id) AS place FROM syncs WHERE ended NOT NULL) AS ends
    WHERE ends.ended = syncs.id;
CREATE INDEX syncs_by_end ON syncs (ended_as) WHERE ended_as NOT NULL;
CREATE INDEX syncs_by_cluster_and_end ON syncs (cluster, ended_as) WHERE ended_as NOT NULL;

-- What happened and no other table tells: drift, and how waves went on. What repeats is one row that counts (src/ledger/notes.rs).
CREATE TABLE notes (
    -- Never given twice: readers go on from the last one that they saw.
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- When it was told, first and last seen, and how often.
    at      INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    times   INTEGER NOT NULL,
    -- None where it is of the whole fleet.
    cluster INTEGER REFERENCES clusters (id),
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    said    TEXT NOT NULL
) STRICT;
CREATE INDEX notes_by_cluster ON notes (cluster);
CREATE INDEX notes_by_subject ON notes (cluster, kind, subject);
CREATE INDEX notes_by_last ON notes (last);

-- What a commit did badly, for `log --failed`.
CREATE INDEX renderings_refused ON renderings (from_fetch, until) WHERE refusal NOT NULL;
CREATE INDEX syncs_amiss ON syncs (target, cluster) WHERE result IN ('Failed', 'Refused');
