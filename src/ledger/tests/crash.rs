//! Killed at any instant, the file opens again and has all that was acknowledged.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::*;
use crate::{
    ledger::verify,
    manifest::ObjectId,
    sync::{Action, BundleOutcome, Journal as _, Live, ObjectResult},
};

/// Set for the child of [`killed_again_and_again`].
const DIR: &str = "EVENKEEL_TEST_CRASH_DIR";
const KILLS: usize = 25;

#[tokio::test]
async fn child_that_writes() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let ledger = Ledger::open(Path::new(&dir)).unwrap().ledger;
    let mut out = std::io::stdout();
    let mut say = |line: String| {
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    for round in 0..u8::MAX {
        let sync = ledger.begin_sync(start("a", 1, round)).await.unwrap();
        say(format!("\nsync {}\n", sync.0));
        ledger.begin_bundle(sync, "shop", 20, 0).await.unwrap();
        say(format!("bundle {}\n", sync.0));
        for n in 0..20 {
            let id: ObjectId = format!("ConfigMap/shop/c-{n}").parse().unwrap();
            let live = Live { uid: format!("{round}"), digest: digest_of(round), fields: digest_of(n) };
            ledger.object(sync, "shop", ObjectResult { id, action: Action::Changed, live: Some(live), error: None });
        }
        ledger.end_bundle(sync, "shop", BundleOutcome::Applied);
        ledger.end_sync(sync, None).await.unwrap();
        say(format!("end {}\n", sync.0));
    }
}

#[tokio::test]
async fn killed_again_and_again() {
    let bed = Bed::new();
    bed.fetch(&[1]).await;
    bed.fleet(&["a"]).await;
    bed.ledger.close().await.unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        // Each time a bit later in the work of the child.
        acknowledged.extend(run_and_kill(bed.dir.path(), 1 + kill * 2));
        assert_eq!(verify(bed.dir.path()).unwrap().faults, [], "after kill {kill}");
        let opened = Ledger::open(bed.dir.path()).unwrap();
        assert_eq!(opened.damaged, None);
        check(&opened.ledger, &acknowledged).await;
        opened.ledger.close().await.unwrap();
    }
    assert!(acknowledged.iter().filter(|line| line.starts_with("end ")).count() > KILLS, "the child got somewhere");
}

/// What the child said before it was killed after so many lines.
fn run_and_kill(dir: &Path, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::tests::crash::child_that_writes", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, said) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let listener = std::thread::spawn(move || {
        let spoken =
            stdout.lines().map_while(Result::ok).filter(|line| ["sync ", "bundle ", "end "].iter().any(|word| line.starts_with(word)));
        spoken.for_each(|line| drop(sender.send(line)));
    });
    let mut heard: Vec<String> = (0..lines).map(|_| said.recv_timeout(Duration::from_mins(1)).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap();
    heard.extend(said.try_iter());
    heard
}

async fn check(ledger: &Ledger, acknowledged: &[String]) {
    let count = async |sql: &'static str, sync: i64| -> i64 {
        ledger.ask(move |db| Ok(db.query_row(sql, [sync], |row| row.get(0))?)).await.unwrap()
    };
    for line in acknowledged {
        let (what, sync) = line.split_once(' ').unwrap();
        let sync = sync.parse().unwrap();
        let found =
            match what {
                "sync" => count("SELECT count(*) FROM syncs WHERE id = ? AND result <> 'Running'", sync).await,
                "bundle" => count("SELECT count(*) FROM bundles WHERE sync = ? AND writes = 20", sync).await,
                _ => count(
                    "SELECT (SELECT count(*) FROM object_results WHERE sync = ?1) = 20 AND result = 'Succeeded' FROM syncs WHERE id = ?1",
                    sync,
                )
                .await,
            };
        assert_eq!(found, 1, "{line} was acknowledged");
    }
}
