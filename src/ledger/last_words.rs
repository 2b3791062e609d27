//! What the repository last said of each cluster, for the time when it says nothing any more, and why its deletions wait.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use serde_json::json;

use super::{
    Ledger, LedgerError,
    clusters::id_of,
    sql::{Count, Word},
};
use crate::{
    cluster::ConnectionSpec,
    layout::OnRemoval,
    manifest::{Digest, ObjectId},
    sync::{Phase, hold::Labels},
};

/// What the repository last said of a cluster, at a revision that could be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWord {
    /// What becomes of its objects when it leaves.
    pub on_removal: OnRemoval,
    /// How to connect.
    pub connection: ConnectionSpec,
    /// The paths of the layers that make it up, or made it up and may have left objects there.
    pub layers: Vec<String>,
    /// Why all of its deletions wait, where they do.
    pub caution: Option<String>,
}

/// A cluster as it is known without the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its environment.
    pub environment: String,
    /// Its region.
    pub region: String,
    /// Its labels, the built-in ones among them.
    pub labels: Labels,
    /// Whether the newest revision has it.
    pub in_repo: bool,
    /// Its phase; none before its task first spoke.
    pub phase: Option<Phase>,
    /// The digest of what it runs.
    pub rendering: Option<Digest>,
    /// None where no revision was rendered since this is kept.
    pub word: Option<LastWord>,
}

/// An object on record as applied to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnRecord {
    /// Which.
    pub id: ObjectId,
    /// The bundle from which it was applied.
    pub bundle: String,
    /// Somebody was asked whether it may be deleted.
    pub asked: bool,
}

impl Ledger {
    /// All clusters that were ever in the repository.
    pub async fn known_clusters(&self) -> Result<BTreeMap<String, Known>, LedgerError> {
        self.ask(known).await
    }

    /// Keeps what the repository says of these clusters.
    pub async fn set_last_words(&self, words: Vec<(String, LastWord)>) -> Result<(), LedgerError> {
        self.ask(move |db| words.iter().try_for_each(|(cluster, word)| put(db, cluster, word))).await
    }

    /// Nothing more is to be done for a cluster that left the repository.
    pub async fn forget_last_word(&self, cluster: &str) -> Result<(), LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| {
            db.prepare_cached("DELETE FROM last_words WHERE cluster = ?")?.execute([id_of(db, &cluster)?])?;
            Ok(())
        })
        .await
    }

    /// The objects that are on record as applied to a cluster.
    pub async fn on_record(&self, cluster: &str) -> Result<Vec<OnRecord>, LedgerError> {
        let cluster = cluster.to_owned();
        self.ask(move |db| on_record(db, &cluster)).await
    }

    /// How many objects are on record over the clusters that are looked after.
    pub async fn objects_on_record(&self) -> Result<usize, LedgerError> {
        let sql = "SELECT count(*) FROM objects JOIN clusters ON clusters.id = objects.cluster LEFT JOIN last_words USING (cluster) \
                   WHERE in_repo OR on_removal = 'prune'";
        let count = self.ask(move |db| Ok(db.prepare_cached(sql)?.query_row([], |row| row.get::<_, Count>(0))?)).await?;
        Ok(usize::try_from(count.0).unwrap_or(usize::MAX))
    }
}

fn known(db: &Connection) -> Result<BTreeMap<String, Known>, LedgerError> {
    let mut clusters = db.prepare_cached(
        "SELECT name, environment, region, labels, in_repo, phase, rendering, on_removal, connection, layers, caution \
         FROM clusters LEFT JOIN last_words ON cluster = clusters.id",
    )?;
    Ok(clusters.query_map([], |row| Ok((row.get("name")?, known_of(row)?)))?.collect::<Result<_, _>>()?)
}

fn known_of(row: &Row<'_>) -> rusqlite::Result<Known> {
    let word = match row.get::<_, Option<Word<OnRemoval>>>("on_removal")? {
        None => None,
        Some(Word(on_removal)) => Some(LastWord {
            on_removal,
            connection: read(row.get_ref("connection")?.as_str()?)?,
            layers: read(row.get_ref("layers")?.as_str()?)?,
            caution: row.get("caution")?,
        }),
    };
    Ok(Known {
        environment: row.get("environment")?,
        region: row.get("region")?,
        labels: read(row.get_ref("labels")?.as_str()?)?,
        in_repo: row.get("in_repo")?,
        phase: row.get::<_, Option<Word<Phase>>>("phase")?.map(|Word(phase)| phase),
        rendering: row.get("rendering")?,
        word,
    })
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| rusqlite::types::FromSqlError::other(error).into())
}

fn put(db: &Connection, cluster: &str, word: &LastWord) -> Result<(), LedgerError> {
    let LastWord { on_removal, connection, layers, caution } = word;
    db.prepare_cached(
        "INSERT INTO last_words (cluster, on_removal, connection, layers, caution) VALUES (?, ?, ?, ?, ?) \
         ON CONFLICT (cluster) DO UPDATE SET on_removal = excluded.on_removal, connection = excluded.connection, \
         layers = excluded.layers, caution = excluded.caution",
    )?
    .execute(params![id_of(db, cluster)?, Word(*on_removal), json!(connection).to_string(), json!(layers).to_string(), caution])?;
    Ok(())
}

fn on_record(db: &Connection, cluster: &str) -> Result<Vec<OnRecord>, LedgerError> {
    let mut objects = db.prepare_cached(
        "SELECT object, bundle, held.plan NOT NULL FROM objects \
         LEFT JOIN held USING (cluster, object, uid) WHERE cluster = ?",
    )?;
    let objects = objects.query_map([id_of(db, cluster)?], |row| {
        let id = row.get_ref(0)?.as_str()?.parse::<ObjectId>().map_err(rusqlite::types::FromSqlError::other)?;
        Ok(OnRecord { id, bundle: row.get(1)?, asked: row.get(2)? })
    })?;
    Ok(objects.collect::<Result<_, _>>()?)
}
