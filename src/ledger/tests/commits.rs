//! Commits by themselves.

use super::*;

#[tokio::test]
async fn commits_are_found_by_hash_subject_and_author() {
    let bed = Bed::new();
    bed.fetch(&[1, 2]).await;
    let other =
        CommitInfo { id: CommitId([0x12; 20]), author: "Grace_O'Hara 100%".to_owned(), subject: "Mend the Shop".to_owned(), ..commit(3) };
    bed.ledger.record_fetch(vec![other.clone()], other.id, None, false, bed.now()).await.unwrap();
    let reader = bed.reader();
    let found = |text: &str| reader.search(text, 10).unwrap().into_iter().map(|entry| entry.subject).collect::<Vec<_>>();
    assert_eq!(found(""), ["Mend the Shop", "change 2", "change 1"], "the newest first");
    for query in ["1212", "the shop", "grace_o'h", "100%"] {
        assert_eq!(found(query), ["Mend the Shop"], "{query}");
    }
    assert_eq!(found("ABABABAB"), ["change 2", "change 1"]);
    // What means something in a pattern is text here.
    for query in ["Mend%Shop", "graceXo", "_hange", "\\"] {
        assert_eq!(found(query), Vec::<String>::new(), "{query}");
    }
    assert_eq!(reader.search("change", 1).unwrap().len(), 1);
    assert_eq!(reader.commit(id(2)).unwrap().unwrap().subject, "change 2");
    assert_eq!(reader.commit(id(9)).unwrap(), None);
}
