//! The pages in a real browser, of an agent that holds clusters and of fleets that are made up.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use evenkeel::{
    diagnostic::Diagnostic,
    git::CommitId,
    ledger::{
        Evidence,
        answers::{
            ClusterStatus, Content, ErrorAnswer, EventQuery, Events, HeldObject, History, Log, LogEntry, LogQuery, Members, ObjectEntry,
            Repository, SCHEMA, StandingObject, Status, SyncEntry, Touched, Transition, UnderWay, Where,
        },
    },
    manifest::Digest,
    rollout::{Counts, Shown, ShownHalt, ShownWave, WaveWord},
    server::{Answers, Api, Details, Listen, Server, SourceState},
    sync::{Health, Phase},
    why::{Why, explain},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Browser, wait_until};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    scene::{PATIENCE, Scene},
    server::{Listening, token, tokens},
};

/// Waits until the page says that.
pub(crate) async fn reads(browser: &Browser, selector: &str, wanted: &str) -> Result<()> {
    let look = || async {
        let text = browser.text(selector).map_err(|error| format!("{error:#}"))?;
        if text.contains(wanted) { Ok(()) } else { Err(text) }
    };
    wait_until(PATIENCE, &format!("{selector} reads {wanted:?}"), look).await
}

pub(crate) async fn sign_in(browser: &Browser, address: &str, name: &str) -> Result<()> {
    browser.open(&format!("http://{address}/sign-in"))?;
    browser.type_into("#token", &token(name))?;
    browser.click("#enter")?;
    reads(browser, "header .who", &format!("{name} (token)")).await
}

#[tokio::test]
async fn a_browser_sees_a_push_live_and_an_approver_releases_what_is_held() -> Result<()> {
    let scene = Scene::new("dashboard", &["a"]).await?;
    let (namespace, gone) = (scene.namespace_yaml(), scene.config_map_yaml("gone", &json!({})));
    let first = scene.remote.commit(
        &[(&Scene::own("a", "shop/namespace.yaml"), Some(&namespace)), (&Scene::own("a", "more/gone.yaml"), Some(&gone))],
        "Begin",
    )?;
    let mut listening = Listening::start(&scene).await?;
    listening.agent.phase("a", "Synced", &first).await?;
    let browser = Browser::start().await?;
    let page = |path: &str| format!("http://{}{path}", listening.address);

    browser.open(&page("/"))?;
    reads(&browser, "#tile-a", "Synced").await?;
    reads(&browser, "#live", "Live").await?;
    browser.run("window.opened = 'once'", &json!([]))?;
    let pushed = scene.remote.commit(&[(&Scene::own("a", "more/gone.yaml"), None)], "A bundle leaves <b>")?;
    reads(&browser, "#tile-a", "Held").await?;
    reads(&browser, "main", "A bundle leaves <b>").await?;
    assert_eq!(browser.run("return window.opened", &json!([]))?, json!("once"), "the page was not opened again");

    browser.run("document.querySelector('#tile-a').focus()", &json!([]))?;
    browser.press("\u{e007}")?;
    reads(&browser, "#held", "1 deletion held until somebody approves").await?;
    reads(&browser, "#held", &format!("ConfigMap/{}/gone", scene.namespace())).await?;
    for name in ["", "viewer", "operator-a", "approver-b"] {
        if !name.is_empty() {
            sign_in(&browser, &listening.address, name).await?;
        }
        browser.open(&page("/clusters/a"))?;
        // Whose token is for another environment sees nothing of the cluster.
        if name == "approver-b" {
            reads(&browser, "main", "EK1018").await?;
        } else {
            reads(&browser, "#held", "evenkeel approve").await?;
        }
        assert!(!browser.has("#approve")?, "{name} has the button");
    }
    sign_in(&browser, &listening.address, "approver-a").await?;
    browser.open(&page("/clusters/a"))?;
    browser.click("#approve")?;
    reads(&browser, "h1", "Synced").await?;
    assert!(browser.url()?.ends_with("/clusters/a") && !browser.has("#held")?);
    assert!(scene.api("a").await?.find(&scene.config_map_path("gone")).await?.is_none());

    browser.open(&page(&format!("/commits/{pushed}")))?;
    reads(&browser, "main", &format!("ConfigMap/{}/gone", scene.namespace())).await?;
    reads(&browser, "main", "Pruned").await?;
    browser.type_into("#q", "leaves\u{e007}")?;
    reads(&browser, "h1", "Search for “leaves”").await?;
    reads(&browser, "main", "Commits: 1").await?;
    listening.agent.stop()
}

/// A fleet that is made up: so many clusters, with something of everything.
struct Many(usize);

const COMMIT: CommitId = CommitId([0x3f; 20]);
const PLAN: Digest = Digest([0xcd; 32]);

impl Many {
    fn cluster(number: usize) -> ClusterStatus {
        let environment = ["dev", "staging", "prod", "prod"][number % 4];
        let region = ["eu-central", "eu-west", "us-east", "us-west", "ap-south"][(number / 4) % 5];
        let phase = match number % 40 {
            3 => Phase::Refused,
            7 => Phase::Held,
            11 => Phase::Unreachable,
            1 => Phase::Syncing,
            15 => Phase::Paused,
            _ => Phase::Synced,
        };
        let error = (phase == Phase::Refused || phase == Phase::Unreachable).then(|| ErrorAnswer {
            code: if phase == Phase::Refused { "EK4001" } else { "EK3001" }.to_owned(),
            message: "Deployment.apps/storefront/storefront-web: admission webhook \"validate.policy.example.com\" denied the request: images must come from registry.example.com".to_owned(),
            hint: "Change the manifest or the policy that the server names; it is tried again slowly.".to_owned(),
        });
        ClusterStatus {
            environment: environment.to_owned(),
            region: region.to_owned(),
            desired: Some(COMMIT),
            applied: Some(COMMIT),
            health: if phase == Phase::Refused { Health::Degraded } else { Health::Healthy },
            objects: 120,
            drifted: u64::from(number.is_multiple_of(9)),
            held_deletions: if phase == Phase::Held { 3 } else { 0 },
            held_plan: (phase == Phase::Held).then_some(PLAN),
            error,
            ..ClusterStatus::blank(format!("{environment}-{region}-{number:03}"), phase, Timestamp::now())
        }
    }
}

/// A rollout that halted at its canary.
fn waves() -> Shown {
    let wave = |name: &str, state, reason: &str| ShownWave {
        name: name.to_owned(),
        state,
        target: Some(COMMIT),
        clusters: Counts { all: 4, done: 2, begun: 1, waiting: 1, passed_over: 0 },
        passed_over: Vec::new(),
        reason: reason.to_owned(),
        until: None,
        plan: None,
        halt: (state == WaveWord::Halted).then(|| ShownHalt {
            cluster: "production-eu-001".to_owned(),
            error: ErrorAnswer {
                code: "EK4014".to_owned(),
                message: "Deployment.apps/storefront/storefront-web: ProgressDeadlineExceeded".to_owned(),
                hint: String::new(),
            },
            failed: vec!["production-eu-001".to_owned()],
            reached: Vec::new(),
            spared: 12,
        }),
        way_out: String::new(),
    };
    let halted = "halted by production-eu-001; push a commit that mends it, or evenkeel retry cluster=production-eu-001";
    Shown {
        waves: vec![
            wave("dev", WaveWord::Complete, ""),
            wave("canary", WaveWord::Halted, halted),
            wave("production", WaveWord::Waiting, "waits for wave canary"),
        ],
    }
}

impl Answers for Many {
    fn status(&self) -> Result<Status, Diagnostic> {
        let mut clusters: Vec<_> = (0..self.0).map(Self::cluster).collect();
        clusters.sort_by(|a, b| (&a.environment, &a.region, &a.name).cmp(&(&b.environment, &b.region, &b.name)));
        Ok(Status {
            schema: SCHEMA,
            commit: Some(COMMIT),
            held_plan: None,
            clusters,
            rollout: Some(waves()),
            repository: Repository::default(),
        })
    }

    fn log(&self, _: &LogQuery) -> Result<Log, Diagnostic> {
        let entry = LogEntry {
            commit: COMMIT,
            author: "Ann Example".to_owned(),
            time: Timestamp::now(),
            subject: "Give the storefront two more replicas in production".to_owned(),
            seen: Timestamp::now(),
            rewritten: false,
            failed: Vec::new(),
            clusters: Vec::new(),
        };
        Ok(Log { schema: SCHEMA, commits: vec![entry; 10] })
    }

    fn where_is(&self, _: &str) -> Result<Where, Diagnostic> {
        Ok(Where { schema: SCHEMA, commit: COMMIT, clusters: Vec::new() })
    }

    fn history(&self, cluster: &str, _: u32) -> Result<History, Diagnostic> {
        let object = ObjectEntry {
            id: "Deployment.apps/storefront/storefront-web".to_owned(),
            bundle: "storefront".to_owned(),
            action: "Changed".to_owned(),
            error: None,
        };
        let sync = |id, touched| SyncEntry {
            id,
            commit: COMMIT,
            rendering: PLAN,
            trigger: "Commit".to_owned(),
            started: Timestamp::now(),
            ended: Some(Timestamp::now()),
            result: "Succeeded".to_owned(),
            error: None,
            objects: vec![object.clone(); touched],
            warnings: Vec::new(),
        };
        let transition = Transition { at: Timestamp::now(), phase: Phase::Held, desired: Some(COMMIT), error: None };
        Ok(History {
            schema: SCHEMA,
            cluster: cluster.to_owned(),
            syncs: vec![sync(2, 2), sync(1, 9)],
            transitions: vec![transition; 3],
            actions: Vec::new(),
        })
    }

    fn events(&self, query: &EventQuery) -> Result<Events, Diagnostic> {
        panic!("no page asks {query:?}")
    }

    fn why(&self, cluster: &str, object: Option<&str>) -> Result<Why, Diagnostic> {
        Ok(explain(&self.evidence(cluster, object)?).expect("it is one of the fleet"))
    }
}

impl Details for Many {
    fn evidence(&self, cluster: &str, _: Option<&str>) -> Result<Evidence, Diagnostic> {
        let (cluster, status) = (cluster.to_owned(), self.status()?);
        let (content, history) = (self.content(&cluster)?, self.history(&cluster, 20)?);
        Ok(Evidence {
            cluster,
            status,
            in_repo: true,
            is_emptied: false,
            brought: None,
            awaits: None,
            ailing: Vec::new(),
            content,
            history,
            object: None,
        })
    }

    fn content(&self, _: &str) -> Result<Content, Diagnostic> {
        let object = |bundle: &str, name: &str| StandingObject {
            bundle: bundle.to_owned(),
            id: format!("ConfigMap/{bundle}/{name}"),
            adopted: name == "b",
        };
        let held = |name: &str| HeldObject { id: format!("ConfigMap/storefront/{name}"), plan: PLAN, approved: false };
        Ok(Content {
            objects: vec![object("network", "a"), object("storefront", "a"), object("storefront", "b")],
            held: ["x", "y", "z"].map(held).into(),
            ..Content::default()
        })
    }

    fn under_way(&self) -> Result<UnderWay, Diagnostic> {
        panic!("no page asks for progress")
    }

    fn touched(&self, _: CommitId, _: Option<&BTreeSet<String>>) -> Result<Vec<Touched>, Diagnostic> {
        Ok(Vec::new())
    }

    fn members(&self) -> Result<Members, Diagnostic> {
        let waves = [("dev", "dev"), ("canary", "staging"), ("production", "prod")];
        let of = |environment| (0..self.0).map(Self::cluster).filter(move |it| it.environment == environment).map(|it| it.name);
        Ok(waves.map(|(wave, environment)| (wave.to_owned(), of(environment).collect())).into())
    }

    fn commit(&self, _: CommitId) -> Result<Option<LogEntry>, Diagnostic> {
        Ok(self.log(&1.into())?.commits.into_iter().next())
    }

    fn search(&self, _: &str, limit: u32) -> Result<Vec<LogEntry>, Diagnostic> {
        Ok(self.log(&limit.into())?.commits)
    }
}

/// Serves a made-up fleet; its address.
fn serve(fleet: Many, listen: &Listen, stop: &CancellationToken) -> Result<String> {
    let server = Server::listen(listen)?;
    let address = server.address().context("no address")?.to_string();
    let state = SourceState { branch: "main".to_owned(), ..SourceState::default() };
    let api = Api::new(Arc::new(fleet), mpsc::channel(1).0, watch::channel(state).1);
    tokio::spawn(server.serve(api, stop.clone()));
    Ok(address)
}

/// Nothing sticks out to the side, nothing is said by colour alone, and every control can be reached and has a name.
pub(crate) const FLAWS: &str = r"
const flaws = [];
if (document.documentElement.scrollWidth > innerWidth) flaws.push(`${document.documentElement.scrollWidth} px wide of ${innerWidth}`);
for (const it of document.querySelectorAll('.tile')) if (!/[A-Z][a-z]+$|[A-Z][a-z]+ /m.test(it.innerText.split('\n').slice(1).join(' '))) flaws.push('a tile without its phase: ' + it.innerText);
for (const it of document.querySelectorAll('a, button, input:not([type=hidden])')) {
  const name = it.innerText || it.value || (it.labels && it.labels.length && it.labels[0].innerText);
  if (!name) flaws.push('a control without a name: ' + it.outerHTML);
  if (it.tabIndex < 0) flaws.push('out of reach of the keyboard: ' + it.outerHTML);
}
const luminance = (color) => {
  const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (it) => { for (; it; it = it.parentElement) { const c = getComputedStyle(it).backgroundColor; if (!/, 0\)$/.test(c)) return c; } return 'rgb(255,255,255)'; };
for (const it of document.querySelectorAll('main *, header *')) {
  if (![...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  const [a, b] = [luminance(getComputedStyle(it).color), luminance(ground(it))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) flaws.push('too faint: ' + it.outerHTML.slice(0, 120));
}
return flaws.slice(0, 10);
";

/// Where pictures go, for those who want to look at them.
pub(crate) const PICTURES: &str = "EVENKEEL_PICTURES";

// The browser is waited for on one thread while the pages are served on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_small_and_large_fleets_and_screens_by_day_and_night() -> Result<()> {
    let browser = Browser::start().await?;
    let stop = CancellationToken::new();
    let listen = Listen { address: ([127, 0, 0, 1], 0).into(), tokens_file: None, tls: None };
    let pictures = std::env::var_os(PICTURES);
    for size in [4, 200] {
        let address = serve(Many(size), &listen, &stop)?;
        for (name, path) in
            [("fleet", "/"), ("cluster", "/clusters/prod-eu-west-007"), ("search", "/search?q=prod"), ("sign-in", "/sign-in")]
        {
            if size == 4 && name == "cluster" {
                continue;
            }
            for (width, dark) in [(360, false), (1440, false), (1440, true)] {
                browser.look(width, 2400, dark)?;
                browser.open(&format!("http://{address}{path}"))?;
                let flaws = browser.run(FLAWS, &json!([]))?;
                ensure!(flaws == json!([]), "{name} of {size} at {width}, dark {dark}: {flaws:#}");
                if let Some(folder) = &pictures {
                    let shade = if dark { "dark" } else { "light" };
                    browser.picture(&Path::new(folder).join(format!("{name}-{size}-{width}-{shade}.png")))?;
                }
            }
        }
        browser.open(&format!("http://{address}/"))?;
        let tiles = browser.run("return document.querySelectorAll('.tile').length", &json!([]))?;
        assert_eq!(tiles, Value::from(size));
    }
    stop.cancel();
    Ok(())
}

/// Under such a name browsers say less of where a form comes from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_signs_in_by_plain_http_under_another_name() -> Result<()> {
    let (browser, stop, folder) = (Browser::start().await?, CancellationToken::new(), tempfile::tempdir()?);
    let tokens_file = folder.path().join("tokens.yaml");
    std::fs::write(&tokens_file, tokens()?)?;
    let listen = Listen { address: ([0, 0, 0, 0], 0).into(), tokens_file: Some(tokens_file), tls: None };
    let address = serve(Many(4), &listen, &stop)?;
    let address = address.replace("0.0.0.0", "evenkeel.test");
    browser.open(&format!("http://{address}/clusters/prod-eu-central-002"))?;
    reads(&browser, "h1", "Sign in").await?;
    browser.type_into("#token", &token("viewer"))?;
    browser.click("#enter")?;
    reads(&browser, "header .who", "viewer (token)").await?;
    reads(&browser, "h1", "prod-eu-central-002").await?;
    browser.click("header .who button")?;
    reads(&browser, "h1", "Sign in").await?;
    stop.cancel();
    Ok(())
}
