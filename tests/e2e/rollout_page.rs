//! The page of the rollout in a real browser, of an agent whose second wave waits for a person, and pages of a ledger of years.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use evenkeel::{
    agent::RecordedAnswers,
    ledger::Ledger,
    server::{Api, Listen, Server, SourceState},
};
use serde_json::{Value, json};
use testbed::Browser;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    dashboard::{FLAWS, PICTURES, reads, sign_in},
    rollout::{change, scene},
    server::{Listening, tokens},
    years,
};

/// Sends a form as a page of the server would; the status of the answer.
fn send(browser: &Browser, path: &str, body: &str) -> Result<Value> {
    let script = "return await fetch(arguments[0], {method: 'POST', body: new URLSearchParams(arguments[1]), redirect: 'manual'}).then((it) => it.status)";
    browser.run(script, &json!([path, body]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_carries_a_rollout_through_by_its_page() -> Result<()> {
    let (scene, first) = scene("years-page", json!({}), json!({}), json!({"requireApproval": true})).await?;
    let mut listening = Listening::start(&scene).await?;
    let page = |path: &str| format!("http://{}{path}", listening.address);
    let browser = Browser::start().await?;
    browser.open(&page("/rollout"))?;
    reads(&browser, "#wave-1", "Complete").await?;
    reads(&browser, "#wave-2", "Approval").await?;

    // Who may only look is shown no button, and is refused where they make one.
    sign_in(&browser, &listening.address, "viewer").await?;
    browser.open(&page("/rollout"))?;
    reads(&browser, "#wave-2", "waits for approval of").await?;
    assert!(!browser.has(".actions")?, "a viewer has buttons");
    let text = browser.text("#wave-2")?;
    let plan = text.split("waits for approval of ").nth(1).and_then(|rest| rest.split_whitespace().next()).context("no plan")?.to_owned();
    assert_eq!(send(&browser, "/approve", &format!("plan={plan}"))?, 403);
    assert_eq!(send(&browser, "/retry", "selector=cluster=a")?, 403);
    browser.open(&page("/hold?selector=cluster%3Da"))?;
    reads(&browser, "h1", "This cannot be done").await?;

    sign_in(&browser, &listening.address, "approver").await?;
    browser.open(&page("/rollout"))?;
    assert_eq!(send(&browser, "/retry", "selector=")?, 400, "no form means the whole fleet without saying so");
    browser.open(&page("/hold?selector="))?;
    reads(&browser, "main", "EK6003").await?;
    browser.open(&page("/rollout"))?;
    browser.run("document.querySelector('#approve-2').focus()", &json!([]))?;
    browser.press("\u{e007}")?;
    reads(&browser, "#wave-2", "Complete").await?;
    assert!(browser.url()?.ends_with("/rollout"));
    listening.agent.phase("b", "Synced", &first).await?;

    // A push that fails is seen without opening the page again, with how far it got.
    reads(&browser, "#live", "Live").await?;
    browser.run("window.opened = 'once'", &json!([]))?;
    change(&scene, "bad", "2")?;
    reads(&browser, "#wave-1", "Halted").await?;
    reads(&browser, "#wave-1", "EK4014").await?;
    reads(&browser, "#wave-1", "Failed on").await?;
    reads(&browser, "#wave-1", "1 cluster that it would change").await?;
    assert_eq!(browser.run("return window.opened", &json!([]))?, json!("once"), "the page was not opened again");

    browser.click("#hold-2")?;
    reads(&browser, "h1", "Hold clusters").await?;
    browser.type_into("#reason", "the database is moved\u{e007}")?;
    reads(&browser, "#tile-b", "Paused").await?;
    assert!(browser.url()?.ends_with("/rollout") && !browser.has("#hold-2")?);
    browser.click("#release-2")?;
    reads(&browser, "#tile-b", "Synced").await?;

    browser.click("#rollback-1")?;
    reads(&browser, "h1", "Return clusters").await?;
    browser.type_into("#rev", &first)?;
    browser.click("#send")?;
    reads(&browser, "#tile-a", "Returned").await?;
    browser.open(&page("/clusters/a"))?;
    reads(&browser, "main", "What people did").await?;
    reads(&browser, "main", "approver (token)").await?;
    listening.agent.stop()
}

/// A ledger of so many clusters, served as the agent would; the address, a cluster's name and a commit.
async fn serve(dir: &Path, clusters: usize, stop: &CancellationToken) -> Result<(String, String, String)> {
    let state = dir.join(clusters.to_string());
    std::fs::create_dir_all(&state)?;
    let commits = years::write(&state, clusters, 60).await?;
    let tokens_file = dir.join("tokens.yaml");
    std::fs::write(&tokens_file, tokens()?)?;
    let server = Server::listen(&Listen { address: ([127, 0, 0, 1], 0).into(), tokens_file: Some(tokens_file), tls: None })?;
    let address = server.address().context("no address")?.to_string();
    let held = Ledger::reader(&state)?.status()?.clusters.into_iter().max_by_key(|cluster| cluster.held_deletions).context("no cluster")?;
    let source = SourceState { branch: "main".to_owned(), ..SourceState::default() };
    let api = Api::new(Arc::new(RecordedAnswers::open(&state)?), mpsc::channel(1).0, watch::channel(source).1);
    tokio::spawn(server.serve(api, stop.clone()));
    Ok((address, held.name, commits[commits.len() / 2].to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_ledger_of_years_fit_every_screen() -> Result<()> {
    let (browser, stop, dir) = (Browser::start().await?, CancellationToken::new(), tempfile::tempdir()?);
    let pictures = std::env::var_os(PICTURES);
    for size in [4, 200] {
        let (address, cluster, commit) = serve(dir.path(), size, &stop).await?;
        sign_in(&browser, &address, "approver").await?;
        for (name, path) in [
            ("years-fleet", "/".to_owned()),
            ("rollout", "/rollout".to_owned()),
            ("years-cluster", format!("/clusters/{cluster}")),
            ("commit", format!("/commits/{commit}")),
            ("hold", "/hold?next=%2Frollout&selector=environment%3Dprod".to_owned()),
            ("rollback", "/rollback?next=%2Frollout&selector=environment%3Dprod".to_owned()),
        ] {
            for (width, dark) in [(360, false), (1440, false), (1440, true), (360, true)] {
                browser.look(width, 2400, dark)?;
                browser.open(&format!("http://{address}{path}"))?;
                if let Some(folder) = &pictures {
                    let shade = if dark { "dark" } else { "light" };
                    browser.picture(&Path::new(folder).join(format!("{name}-{size}-{width}-{shade}.png")))?;
                }
                // What is folded is looked at too.
                browser.run("for (const it of document.querySelectorAll('details')) it.open = true", &json!([]))?;
                let flaws = browser.run(FLAWS, &json!([]))?;
                ensure!(flaws == json!([]), "{name} of {size} at {width}, dark {dark}: {flaws:#}");
            }
        }
        browser.open(&format!("http://{address}/rollout"))?;
        let shown = browser
            .run("return [document.querySelectorAll('.waves > li').length, document.querySelectorAll('.tile').length]", &json!([]))?;
        assert_eq!(shown, json!([5, size]), "every wave, and every cluster in one of them");
    }
    stop.cancel();
    Ok(())
}
