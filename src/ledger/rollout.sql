-- How far a rollout is: the newest commit as it was rendered (head), each wave, each cluster; and what is shown of it (shown, wait).
-- Each state is JSON of the types in src/rollout.
CREATE TABLE rollout (
    part  TEXT NOT NULL,
    name  TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (part, name)
) STRICT, WITHOUT ROWID;
