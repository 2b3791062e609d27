-- What others were told of commits: the forge by commit statuses, the repository by git notes. One row for each commit and environment,
-- with what was told last; how far the commit is now is derived, so what is not told yet is the difference.
CREATE TABLE told (
    sink        TEXT NOT NULL,
    commit_id   BLOB NOT NULL,
    environment TEXT NOT NULL,
    progress    TEXT NOT NULL,
    at          INTEGER NOT NULL,
    times       INTEGER NOT NULL,
    -- Why it cannot be told, where it was given up.
    refused     TEXT,
    PRIMARY KEY (sink, commit_id, environment)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_open ON told (sink, at) WHERE progress = 'Pending';
-- What is let go, the oldest first.
CREATE INDEX told_through ON told (sink, at) WHERE progress <> 'Pending';

-- Since which fetch a sink is told: the history before is none of its business.
CREATE TABLE sinks (
    sink  TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What receivers of notifications were told and is not resolved, as JSON.
CREATE TABLE notices (
    receiver TEXT NOT NULL,
    key      TEXT NOT NULL,
    state    TEXT NOT NULL,
    PRIMARY KEY (receiver, key)
) STRICT, WITHOUT ROWID;
