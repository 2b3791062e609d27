//! What holds in every ledger, as queries for what breaks it.
//!
//! The order of events is the order of row numbers, never of times: the machine's clock may be set back, which is no fault of the
//! record.

/// Something that always holds.
pub(super) struct Rule {
    /// A stable name.
    pub(super) name: &'static str,
    /// What is wrong where it does not hold.
    pub(super) broken: &'static str,
    /// Gives one text for each place where it does not hold.
    pub(super) sql: &'static str,
}

const fn rule(name: &'static str, broken: &'static str, sql: &'static str) -> Rule {
    Rule { name, broken, sql }
}

/// All of them. `branch`, `fate` and `syncs` rely on these.
pub(super) const RULES: &[Rule] = &[
    rule(
        "renderings-apart",
        "two renderings of a cluster hold at the same commit",
        // Two rows share a tip where the cluster's facts changed while it stood, or where the cluster left and came back.
        "SELECT name || ': renderings ' || before || ' and ' || pairs.id FROM ( \
           SELECT cluster, id, from_fetch, by_commit, lag(id) OVER earlier AS before, lag(until) OVER earlier AS ended, \
             lag(digest IS NULL AND refusal IS NULL) OVER earlier AS absent \
           FROM renderings WINDOW earlier AS (PARTITION BY cluster ORDER BY id)) AS pairs \
         JOIN clusters ON clusters.id = cluster \
         WHERE ended > from_fetch OR (ended = from_fetch AND by_commit AND NOT absent)",
    ),
    rule(
        "renderings-ranges",
        "a rendering ends before it begins, or at a commit that was never fetched",
        "SELECT 'rendering ' || id FROM renderings WHERE until < from_fetch \
         OR (until <> 9223372036854775807 AND until > (SELECT max(id) FROM fetches))",
    ),
    rule(
        "renderings-open",
        "a rendering without an end is not a cluster's absence, or not its last",
        "SELECT 'rendering ' || id FROM renderings AS it WHERE until = 9223372036854775807 AND (digest NOT NULL OR refusal NOT NULL \
         OR id <> (SELECT max(id) FROM renderings WHERE cluster = it.cluster))",
    ),
    rule(
        "renderings-kinds",
        "a rendering is refused and given at once, or was reached without being given",
        "SELECT 'rendering ' || id FROM renderings WHERE (digest NOT NULL AND refusal NOT NULL) OR (reached_at NOT NULL AND digest IS NULL)",
    ),
    rule(
        "syncs-one-at-a-time",
        "two syncs of a cluster run at the same time",
        "SELECT name || ': ' || count(*) || ' syncs' FROM syncs JOIN clusters ON clusters.id = cluster \
         WHERE result = 'Running' GROUP BY cluster HAVING count(*) > 1",
    ),
    rule(
        "syncs-ends",
        "a sync runs and has ended, or ended and has no time of it",
        "SELECT 'sync ' || id FROM syncs WHERE (result = 'Running' AND ended NOT NULL) \
         OR (result NOT IN ('Running', 'Interrupted') AND ended IS NULL)",
    ),
    rule(
        "syncs-results",
        "the result of a sync is no word for one",
        "SELECT 'sync ' || id || ': ' || result FROM syncs \
         WHERE result NOT IN ('Running', 'Succeeded', 'Waiting', 'Refused', 'Failed', 'Interrupted')",
    ),
    rule(
        "syncs-whole",
        "a sync succeeded, and a bundle of it was not applied",
        "SELECT 'sync ' || sync || ', bundle ' || bundle FROM bundles JOIN syncs ON syncs.id = sync \
         WHERE result = 'Succeeded' AND outcome IS NOT 'Applied'",
    ),
    rule(
        "commits-in-order",
        "a commit arrived before one that was seen earlier",
        "SELECT 'commit ' || lower(hex(id)) FROM (SELECT id, arrived, lag(arrived) OVER (ORDER BY seq) AS before FROM commits) \
         WHERE before > arrived",
    ),
    rule(
        "tips-known",
        "a tip of the branch is no commit on record",
        "SELECT 'fetch ' || id FROM fetches WHERE tip NOT IN (SELECT id FROM commits)",
    ),
    rule(
        "tip-on-branch",
        "the newest tip is marked as one that the branch was forced away from",
        "SELECT 'commit ' || lower(hex(commits.id)) FROM commits \
         WHERE id = (SELECT tip FROM fetches ORDER BY id DESC LIMIT 1) AND rewritten",
    ),
    rule(
        "states-whole",
        "a cluster has a phase and no health or time of it",
        "SELECT name FROM clusters WHERE phase NOT NULL AND (health IS NULL OR since IS NULL)",
    ),
    rule(
        "hashes",
        "a hash has another length than hashes have",
        "SELECT place FROM ( \
           SELECT 'commits ' || seq AS place, id AS hash, 20 AS length FROM commits \
           UNION ALL SELECT 'fetches ' || id, tip, 20 FROM fetches \
           UNION ALL SELECT 'syncs ' || id, target, 20 FROM syncs \
           UNION ALL SELECT 'syncs ' || id, rendering, 32 FROM syncs \
           UNION ALL SELECT 'renderings ' || id, digest, 32 FROM renderings \
           UNION ALL SELECT 'clusters ' || name, desired, 20 FROM clusters \
           UNION ALL SELECT 'clusters ' || name, applied, 20 FROM clusters \
           UNION ALL SELECT 'clusters ' || name, rendering, 32 FROM clusters \
           UNION ALL SELECT 'clusters ' || name, held_plan, 32 FROM clusters \
           UNION ALL SELECT 'objects of cluster ' || cluster || ' ' || object, digest, 32 FROM objects \
           UNION ALL SELECT 'held of cluster ' || cluster || ' ' || object, plan, 32 FROM held \
           UNION ALL SELECT 'approvals', plan, 32 FROM approvals) \
         WHERE hash NOT NULL AND length(hash) <> length",
    ),
    rule(
        "times",
        "a time is none that a program can show",
        "SELECT place FROM ( \
           SELECT 'fetches ' || id AS place, at FROM fetches \
           UNION ALL SELECT 'commits ' || seq, seen FROM commits \
           UNION ALL SELECT 'commits ' || seq, time FROM commits \
           UNION ALL SELECT 'syncs ' || id, started FROM syncs \
           UNION ALL SELECT 'syncs ' || id, ended FROM syncs \
           UNION ALL SELECT 'transitions ' || id, at FROM transitions \
           UNION ALL SELECT 'renderings ' || id, at FROM renderings \
           UNION ALL SELECT 'renderings ' || id, reached_at FROM renderings \
           UNION ALL SELECT 'actions ' || id, at FROM actions) \
         WHERE at NOT NULL AND at NOT BETWEEN -377705023201000 AND 253402207200999",
    ),
    rule(
        "texts",
        "what is kept as JSON cannot be read",
        "SELECT place FROM ( \
           SELECT 'clusters ' || name AS place, labels AS json FROM clusters \
           UNION ALL SELECT 'clusters ' || name, error FROM clusters \
           UNION ALL SELECT 'clusters ' || name, would FROM clusters \
           UNION ALL SELECT 'transitions ' || id, error FROM transitions \
           UNION ALL SELECT 'renderings ' || id, refusal FROM renderings \
           UNION ALL SELECT 'syncs ' || id, error FROM syncs \
           UNION ALL SELECT 'bundles of sync ' || sync, error FROM bundles \
           UNION ALL SELECT 'object_results ' || id, error FROM object_results \
           UNION ALL SELECT 'holds ' || id, hold FROM holds \
           UNION ALL SELECT 'rollout ' || part || ' ' || name, state FROM rollout \
           UNION ALL SELECT 'ailing of ' || name, ailing FROM clusters \
           UNION ALL SELECT 'note ' || id, said FROM notes \
           UNION ALL SELECT 'notice ' || receiver || ' ' || key, state FROM notices \
           UNION ALL SELECT 'facts ' || lower(hex(digest)), json FROM facts) \
         WHERE json NOT NULL AND NOT json_valid(json)",
    ),
];
