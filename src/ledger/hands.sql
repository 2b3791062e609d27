-- What the repository last said of a cluster that matters when it is gone from it, and why all of its deletions wait.
CREATE TABLE last_words (
    cluster    INTEGER PRIMARY KEY REFERENCES clusters (id),
    on_removal TEXT NOT NULL,
    connection TEXT NOT NULL,
    layers     TEXT NOT NULL,
    caution    TEXT
) STRICT;

-- What people hold, as it stands on the clusters too. One that has ended is known, should a cluster still carry it.
CREATE TABLE holds (
    id    TEXT PRIMARY KEY,
    hold  TEXT NOT NULL,
    until INTEGER,
    ended INTEGER,
    -- It was found on a cluster, and not asked for here.
    found INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What people did, and what came of it.
CREATE TABLE actions (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    what    TEXT NOT NULL,
    target  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
CREATE TABLE action_clusters (
    cluster INTEGER NOT NULL REFERENCES clusters (id),
    action  INTEGER NOT NULL REFERENCES actions (id),
    PRIMARY KEY (cluster, action)
) STRICT, WITHOUT ROWID;
