//! What others were told of commits, and the fights that are told of.

use super::*;
use crate::{
    ledger::{TOLD_OF, ToldRow, told::letting_go},
    manifest::ObjectId,
    sync::{Action, Journal as _, ObjectResult},
};

const SINK: &str = "statuses";
const OTHER: &str = "notes";

fn told(progress: &str, times: u32, refused: Option<&str>) -> ToldRow {
    ToldRow { progress: progress.to_owned(), times, refused: refused.map(str::to_owned) }
}

#[tokio::test]
async fn a_sink_is_told_of_what_comes_and_nothing_twice() {
    let mut bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fetch(&[2]).await;
    assert_eq!(bed.reader().telling(SINK, 10).unwrap(), [], "it was not begun");
    bed.ledger.begin_telling(SINK).await.unwrap();
    bed.fetch(&[3]).await;
    bed.ledger.begin_telling(SINK).await.unwrap();
    let commits = |reader: &Reader, limit| reader.telling(SINK, limit).unwrap().into_iter().map(|(commit, _)| commit).collect::<Vec<_>>();
    assert_eq!(commits(&bed.reader(), 10), [id(3), id(2)], "the tip when it was begun, and what came");

    let word = |number, word| vec![(id(number), "prod".to_owned(), word)];
    bed.ledger.record_told(SINK, word(2, "Pending"), None).await.unwrap();
    bed.ledger.record_told(SINK, word(3, "Pending"), None).await.unwrap();
    bed.ledger.record_told(SINK, word(3, "Success"), Some("no".to_owned())).await.unwrap();
    bed.restart().await;
    let telling = bed.reader().telling(SINK, 10).unwrap();
    assert_eq!(telling[0].1["prod"], told("Success", 2, Some("no")));
    assert_eq!(telling[1].1["prod"], told("Pending", 1, None));
    assert_eq!(bed.reader().telling(OTHER, 10).unwrap(), [], "sinks know nothing of each other");
    // A commit that waits for its last word is looked at however many came after it; others are not.
    for number in 4..9 {
        bed.fetch(&[number]).await;
    }
    assert_eq!(commits(&bed.reader(), 3), [id(8), id(7), id(6), id(2)]);
    bed.ledger.record_told(SINK, word(2, "Superseded"), None).await.unwrap();
    assert_eq!(commits(&bed.reader(), 3), [id(8), id(7), id(6)]);
}

#[tokio::test]
async fn what_is_through_is_let_go_after_ninety_days() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.ledger.begin_telling(SINK).await.unwrap();
    bed.fetch(&[2]).await;
    let word = |commit: u8, environment: &str, word| vec![(id(commit), environment.to_owned(), word)];
    for told in [word(1, "dev", "Success"), word(1, "prod", "Pending"), word(2, "dev", "Success")] {
        bed.ledger.record_told(SINK, told, None).await.unwrap();
    }
    bed.ledger.record_told(OTHER, word(1, "dev", "Success"), None).await.unwrap();
    let known = |commit: u8| {
        let count = |db: &rusqlite::Connection| {
            let mut rows = db.prepare("SELECT environment FROM told WHERE sink = ? AND commit_id = ? ORDER BY 1")?;
            Ok(rows.query_map(rusqlite::params![SINK, id(commit)], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?)
        };
        bed.reader().read(count).unwrap()
    };
    bed.seconds.fetch_add(91 * 24 * 3600, Ordering::SeqCst);
    bed.ledger.record_told(SINK, word(2, "test", "Success"), None).await.unwrap();
    assert_eq!((known(1), known(2)), (vec!["dev".to_owned(), "prod".to_owned()], vec!["dev".to_owned(), "test".to_owned()]));
    // Nothing is let go of a commit that is looked at, however long nothing came; here all but the first are.
    for number in 3..=u8::try_from(TOLD_OF).unwrap() + 1 {
        bed.fetch(&[number]).await;
    }
    bed.ledger.record_told(SINK, word(2, "test", "Success"), None).await.unwrap();
    assert_eq!((known(1), known(2)), (vec!["prod".to_owned()], vec!["dev".to_owned(), "test".to_owned()]));
    // The next one takes the place of the second.
    bed.fetch(&[u8::try_from(TOLD_OF).unwrap() + 2]).await;
    bed.ledger.record_told(SINK, word(2, "test", "Success"), None).await.unwrap();
    assert_eq!(known(2), ["test"]);
}

#[tokio::test]
async fn letting_go_looks_only_at_what_is_old() {
    let plan = |db: &rusqlite::Connection| {
        let mut lines = db.prepare(&format!("EXPLAIN QUERY PLAN {}", letting_go()))?;
        Ok(lines.query_map(rusqlite::params![SINK, 1, 1, 1], |row| row.get::<_, String>("detail"))?.collect::<Result<Vec<_>, _>>()?)
    };
    let plan = Bed::new().reader().read(plan).unwrap();
    assert!(plan.iter().any(|line| line.ends_with("USING INDEX told_through (sink=? AND at<?)")), "{plan:?}");
    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE FOR ORDER BY")), "{plan:?}");
}

#[tokio::test]
async fn notices_are_kept_until_they_are_over() {
    let mut bed = Bed::new();
    let keep = async |bed: &Bed, state: Option<&str>| {
        bed.ledger.keep_notice("team", "key".to_owned(), state.map(str::to_owned)).await.unwrap();
    };
    keep(&bed, Some("one")).await;
    keep(&bed, Some("two")).await;
    bed.restart().await;
    assert_eq!(bed.ledger.notices("team").await.unwrap(), [("key".to_owned(), "two".to_owned())]);
    assert_eq!(bed.ledger.notices("other").await.unwrap(), []);
    keep(&bed, None).await;
    assert_eq!(bed.ledger.notices("team").await.unwrap(), []);
}

#[tokio::test]
async fn an_object_that_is_put_back_again_and_again_is_a_fight_until_it_stops() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a", "b"]).await;
    bed.render(1, &[("a", Some(1)), ("b", Some(1))]).await;
    let repaired = async |cluster: &str, object: &str, times: usize| {
        for _ in 0..times {
            let sync = bed.ledger.begin_sync(SyncStart { trigger: Trigger::Drift, ..start(cluster, 1, 1) }).await.unwrap();
            let object: ObjectId = format!("ConfigMap/shop/{object}").parse().unwrap();
            bed.ledger.object(sync, "shop", ObjectResult { id: object, action: Action::Repaired, live: None, error: None });
            bed.ledger.end_sync(sync, None).await.unwrap();
        }
    };
    repaired("a", "one", 6).await;
    repaired("a", "two", 5).await;
    repaired("b", "one", 5).await;
    let now = bed.now();
    let fights = bed.reader().fights(now).unwrap();
    let told: Vec<_> = fights.iter().map(|it| (it.cluster.as_str(), it.object.as_str(), it.repairs)).collect();
    assert_eq!(told, [("a", "ConfigMap/shop/one", 6)]);
    let later = |minutes: i64| now.checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap();
    assert_eq!(bed.reader().fights(later(14)).unwrap().len(), 1);
    assert_eq!(bed.reader().fights(later(16)).unwrap(), []);
}
