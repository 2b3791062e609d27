-- Version 1. Times are milliseconds since 1970, hashes are blobs (src/ledger/sql.rs says why).

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The time line: one row each time the branch's tip moved. A tip that comes back has several rows.
CREATE TABLE fetches (
    id          INTEGER PRIMARY KEY,
    tip         BLOB NOT NULL,
    was         BLOB,
    rewritten   INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    rendered_at INTEGER
) STRICT;
CREATE INDEX fetches_by_tip ON fetches (tip);

-- Every commit of the branch that was ever seen, in that order.
CREATE TABLE commits (
    seq       INTEGER PRIMARY KEY,
    id        BLOB NOT NULL UNIQUE,
    parent    BLOB,
    author    TEXT NOT NULL,
    email     TEXT NOT NULL,
    time      INTEGER NOT NULL,
    subject   TEXT NOT NULL,
    seen      INTEGER NOT NULL,
    rewritten INTEGER NOT NULL DEFAULT 0,
    arrived   INTEGER NOT NULL REFERENCES fetches (id)
) STRICT;
CREATE INDEX commits_by_parent ON commits (parent);

CREATE TABLE clusters (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    environment    TEXT NOT NULL,
    region         TEXT NOT NULL,
    labels         TEXT NOT NULL,
    in_repo        INTEGER NOT NULL,
    uid            TEXT,
    -- The state; none of it before the cluster's task first told.
    phase          TEXT,
    health         TEXT,
    since          INTEGER,
    desired        BLOB,
    applied        BLOB,
    rendering      BLOB,
    objects        INTEGER NOT NULL DEFAULT 0,
    drifted        INTEGER NOT NULL DEFAULT 0,
    held_deletions INTEGER NOT NULL DEFAULT 0,
    held_plan      BLOB,
    error          TEXT
) STRICT;

CREATE TABLE transitions (
    id      INTEGER PRIMARY KEY,
    cluster INTEGER NOT NULL REFERENCES clusters (id),
    at      INTEGER NOT NULL,
    phase   TEXT NOT NULL,
    desired BLOB,
    error   TEXT
) STRICT;
CREATE INDEX transitions_by_cluster ON transitions (cluster);

-- What a cluster must run, one row each time it changed. It holds from one tip of the time line until another; tips
-- between two rows were never rendered. With a digest: rendered. With a refusal: refused. With neither: the cluster
-- is not in the repository.
CREATE TABLE renderings (
    id         INTEGER PRIMARY KEY,
    cluster    INTEGER NOT NULL REFERENCES clusters (id),
    from_fetch INTEGER NOT NULL REFERENCES fetches (id),
    until      INTEGER NOT NULL,
    digest     BLOB,
    refusal    TEXT,
    -- The tip brought it; otherwise the cluster's own facts changed while the tip stood still.
    by_commit  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    reached_at INTEGER
) STRICT;
CREATE INDEX renderings_by_cluster ON renderings (cluster);
CREATE INDEX renderings_by_commit ON renderings (cluster, from_fetch) WHERE by_commit;

CREATE TABLE syncs (
    id        INTEGER PRIMARY KEY,
    cluster   INTEGER NOT NULL REFERENCES clusters (id),
    target    BLOB NOT NULL,
    rendering BLOB NOT NULL,
    cause     TEXT NOT NULL,
    started   INTEGER NOT NULL,
    ended     INTEGER,
    result    TEXT NOT NULL,
    error     TEXT
) STRICT;
CREATE INDEX syncs_by_cluster ON syncs (cluster);
CREATE INDEX syncs_running ON syncs (cluster) WHERE result = 'Running';

CREATE TABLE bundles (
    sync              INTEGER NOT NULL REFERENCES syncs (id) ON DELETE CASCADE,
    bundle            TEXT NOT NULL,
    writes            INTEGER NOT NULL DEFAULT 0,
    deletions         INTEGER NOT NULL DEFAULT 0,
    begun             INTEGER,
    ended             INTEGER,
    outcome           TEXT,
    after_definitions INTEGER NOT NULL DEFAULT 0,
    error             TEXT,
    PRIMARY KEY (sync, bundle)
) STRICT, WITHOUT ROWID;

CREATE TABLE object_results (
    id     INTEGER PRIMARY KEY,
    sync   INTEGER NOT NULL REFERENCES syncs (id) ON DELETE CASCADE,
    bundle TEXT NOT NULL,
    object TEXT NOT NULL,
    action TEXT NOT NULL,
    error  TEXT
) STRICT;
CREATE INDEX object_results_by_sync ON object_results (sync);

CREATE TABLE warnings (
    id     INTEGER PRIMARY KEY,
    sync   INTEGER NOT NULL REFERENCES syncs (id) ON DELETE CASCADE,
    object TEXT NOT NULL,
    text   TEXT NOT NULL
) STRICT;
CREATE INDEX warnings_by_sync ON warnings (sync);

-- What is applied now, so that a restart sends nothing that has not changed.
CREATE TABLE objects (
    cluster INTEGER NOT NULL REFERENCES clusters (id),
    object  TEXT NOT NULL,
    bundle  TEXT NOT NULL,
    uid     TEXT NOT NULL,
    digest  BLOB NOT NULL,
    fields  BLOB NOT NULL,
    adopted INTEGER NOT NULL,
    PRIMARY KEY (cluster, object)
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
    plan BLOB PRIMARY KEY,
    who  TEXT NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each snapshot once, whatever number of clusters has it.
CREATE TABLE facts (
    digest BLOB PRIMARY KEY,
    json   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE cluster_facts (
    id      INTEGER PRIMARY KEY,
    cluster INTEGER NOT NULL REFERENCES clusters (id),
    digest  BLOB NOT NULL REFERENCES facts (digest),
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX cluster_facts_by_cluster ON cluster_facts (cluster);
