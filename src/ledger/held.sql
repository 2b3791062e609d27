-- Version 2. Deletions that were held on a cluster, each with the plan that a person approves it by. What was approved
-- before and not carried out is asked again; the table approvals stays as the record of who approved which plan.

CREATE TABLE held (
    cluster  INTEGER NOT NULL REFERENCES clusters (id),
    object   TEXT NOT NULL,
    uid      TEXT NOT NULL,
    plan     BLOB NOT NULL,
    approved INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (cluster, object, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by_plan ON held (plan);
