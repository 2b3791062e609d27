//! Forges tell of a push: the commit is acted on at once. The agents here poll once an hour, and their remote is reached over HTTP, so
//! that nothing else could have told them.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use evenkeel::git::webhook::signature;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use testbed::git_remote::http::GitHttp;

use crate::{
    scene::{Agent, Scene},
    server::{address_of, get},
};

const SECRET: &str = "a secret of sixteen characters or more";
const TOKEN: &str = "a token that gitlab shows";
const SIGNING_KEY: [u8; 32] = *b"a key of thirty-two bytes, coded";

struct Hooked {
    scene: Scene,
    git: GitHttp,
    agent: Agent,
    address: String,
}

impl Hooked {
    async fn start(fleet: &str) -> Result<Self> {
        let scene = Scene::new(fleet, &["a"]).await?;
        let git = scene.remote.http()?;
        let file = scene.folder.path().join("hooks.yaml");
        let signing = format!("whsec_{}", STANDARD.encode(SIGNING_KEY));
        let secrets = [("github", SECRET), ("gitlab", TOKEN), ("gitlab", &signing), ("gitea", SECRET), ("generic", SECRET)];
        let secrets = secrets.map(|(forge, secret)| json!({"forge": forge, "secret": secret}));
        fs::write(&file, json!({"webhooks": secrets}).to_string())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let file = file.display().to_string();
        let flags = ["--listen", "127.0.0.1:0", "--webhook-secrets-file", &file, "--poll-interval", "1h"];
        let agent = scene.agent_on(git.url(), "state", &flags)?;
        let address = address_of(&agent).await?;
        agent.phase("a", "Synced", &scene.remote.head()?).await?;
        Ok(Self { scene, git, agent, address })
    }

    /// A commit that changes what the cluster runs.
    fn commit(&self, number: usize) -> Result<String> {
        let (namespace, one) = (self.scene.namespace_yaml(), self.scene.config_map_yaml("one", &json!({"is": number.to_string()})));
        let files = [(Scene::own("a", "shop/namespace.yaml"), namespace), (Scene::own("a", "shop/one.yaml"), one)];
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        self.scene.remote.commit(&files, "Change")
    }

    fn post(&self, forge: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(u16, Value)> {
        let mut head = format!("POST /hooks/{forge} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.address, body.len());
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| head.to_owned())?;
        Ok((status, serde_json::from_str(body).with_context(|| body.to_owned())?))
    }

    /// How many fetches there were.
    fn fetches(&self) -> Result<String> {
        let text = get(&self.address, "/metrics")?;
        let line = text.lines().find(|line| line.starts_with("evenkeel_git_fetch_seconds_count{result=\"Succeeded\"}"));
        Ok(line.context("no fetches")?.to_owned())
    }
}

/// The push of a commit as GitHub, Gitea and Forgejo tell it (docs.github.com, "push"; docs.gitea.com, "Webhooks"), shortened.
fn push(reference: &str, commit: &str, url: &str) -> String {
    json!({
        "ref": reference, "before": "0".repeat(40), "after": commit, "created": false, "deleted": false, "forced": false,
        "commits": [{"id": commit, "message": "Change", "added": [], "removed": [], "modified": ["x"]}],
        "head_commit": {"id": commit},
        "repository": {"id": 1, "name": "fleet", "full_name": "acme/other-name", "private": true, "clone_url": url, "ssh_url": "git@h:acme/x.git"},
        "pusher": {"name": "ann"},
    })
    .to_string()
}

/// The same as GitLab tells it (docs.gitlab.com, "Webhook events", "Push events").
fn gitlab_push(commit: &str, url: &str) -> String {
    json!({
        "object_kind": "push", "event_name": "push", "before": "0".repeat(40), "after": commit, "ref": "refs/heads/main",
        "checkout_sha": commit, "user_name": "ann", "project_id": 15, "total_commits_count": 1,
        "project": {"id": 15, "name": "fleet", "path_with_namespace": "acme/other-name", "git_http_url": url, "default_branch": "main"},
        "commits": [], "repository": {"name": "fleet", "git_http_url": url, "visibility_level": 0},
    })
    .to_string()
}

fn sha256(body: &str) -> String {
    format!("sha256={}", signature(SECRET, body.as_bytes()))
}

/// As standardwebhooks.com has it, at this moment.
fn standard(id: &str, body: &str) -> Result<(String, String)> {
    let time = jiff::Timestamp::now().as_second().to_string();
    let mut hmac = Hmac::<Sha256>::new_from_slice(&SIGNING_KEY)?;
    hmac.update(format!("{id}.{time}.{body}").as_bytes());
    Ok((format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes())), time))
}

#[tokio::test]
async fn a_push_is_acted_on_at_once_whichever_forge_tells_of_it() -> Result<()> {
    let mut hooked = Hooked::start("forge-hooks").await?;
    let url = hooked.git.url().to_owned();
    let body_of = |commit: &str| push("refs/heads/main", commit, &url);
    for (number, forge) in ["github", "github-form", "gitlab", "gitlab-signed", "gitea", "forgejo", "generic"].into_iter().enumerate() {
        let commit = hooked.commit(number)?;
        let body = body_of(&commit);
        let (signed, plain) = (sha256(&body), signature(SECRET, body.as_bytes()));
        let told = match forge {
            "github" => {
                let headers = [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "1"), ("X-Hub-Signature-256", &signed)];
                hooked.post("github", &[&headers[..], &[("Content-Type", "application/json")]].concat(), body.as_bytes())?
            }
            "github-form" => {
                let escaped = body.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
                let form = format!("payload={escaped}");
                let kind = ("Content-Type", "application/x-www-form-urlencoded");
                let headers = [kind, ("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "2"), ("X-Hub-Signature-256", &sha256(&form))];
                hooked.post("github", &headers, form.as_bytes())?
            }
            "gitlab" => {
                let headers = [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", TOKEN), ("X-Gitlab-Event-UUID", "1")];
                hooked.post("gitlab", &headers, gitlab_push(&commit, &url).as_bytes())?
            }
            "gitlab-signed" => {
                let body = gitlab_push(&commit, &url);
                let (tag, time) = standard("7", &body)?;
                let headers = [("webhook-id", "7"), ("webhook-timestamp", &*time), ("webhook-signature", &tag)];
                hooked.post("gitlab", &[&headers[..], &[("X-Gitlab-Event", "Push Hook")]].concat(), body.as_bytes())?
            }
            "gitea" => {
                let headers = [("X-Gitea-Event", "push"), ("X-Gitea-Delivery", "1"), ("X-Gitea-Signature", &*plain)];
                hooked.post("gitea", &headers, body.as_bytes())?
            }
            "forgejo" => {
                // Forgejo says all of it in both names.
                let headers = [("X-Forgejo-Event", "push"), ("X-Forgejo-Delivery", "2"), ("X-Forgejo-Signature", &*plain)];
                hooked.post(
                    "forgejo",
                    &[&headers[..], &[("X-Gitea-Event", "push"), ("X-GitHub-Event", "push")]].concat(),
                    body.as_bytes(),
                )?
            }
            _ => {
                let body = json!({"ref": "refs/heads/main", "after": commit}).to_string();
                hooked.post("generic", &[("X-Evenkeel-Signature", &sha256(&body))], body.as_bytes())?
            }
        };
        assert_eq!(told, (202, json!({"result": "Fetching"})), "{forge}");
        hooked.agent.phase("a", "Synced", &commit).await.context(forge)?;
    }
    // One at the start, and one for each.
    assert_eq!(hooked.fetches()?, r#"evenkeel_git_fetch_seconds_count{result="Succeeded"} 8"#);
    hooked.agent.stop()
}

#[tokio::test]
async fn what_is_no_push_of_the_branch_or_nobodys_does_nothing() -> Result<()> {
    let mut hooked = Hooked::start("forge-hooks-refused").await?;
    let url = hooked.git.url().to_owned();
    let commit = hooked.commit(1)?;
    let body = push("refs/heads/main", &commit, &url);
    let github = |event: &str, delivery: &str, signed: &str, body: &str| {
        let headers = [("X-GitHub-Event", event), ("X-GitHub-Delivery", delivery), ("X-Hub-Signature-256", signed)];
        hooked.post("github", &headers, body.as_bytes())
    };
    let refused = |told: (u16, Value), status: u16, code: &str| -> Result<()> {
        ensure!(told.0 == status && told.1["code"] == code, "{told:?}");
        ensure!(!told.1.to_string().contains(SECRET), "{told:?}");
        Ok(())
    };
    refused(hooked.post("github", &[("X-GitHub-Event", "push")], body.as_bytes())?, 401, "EK6061")?;
    refused(github("push", "1", &format!("sha256={}", signature("another secret", body.as_bytes())), &body)?, 401, "EK6061")?;
    refused(github("push", "1", &sha256(&body), &body.replace("main", "mine"))?, 401, "EK6061")?;
    refused(hooked.post("gitlab", &[("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", SECRET)], body.as_bytes())?, 401, "EK6061")?;
    refused(github("push", "1", &sha256("{}"), "{}")?, 400, "EK6062")?;
    let large = " ".repeat(1024 * 1024 + 1);
    refused(github("push", "1", &sha256(&large), &large)?, 413, "EK6001")?;
    assert_eq!(hooked.post("sourcehut", &[], b"{}")?.0, 404);

    let ignored = |body: &str, event: &str| -> Result<String> {
        let (status, answer) = github(event, "2", &sha256(body), body)?;
        ensure!(status == 200 && answer["result"] == "Ignored", "{status} {answer}");
        Ok(answer["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ignored(&push("refs/heads/other", &commit, &url), "push")?, r#""refs/heads/other" is not the branch that is followed"#);
    assert_eq!(ignored(&push("refs/tags/main", &commit, &url), "push")?, r#""refs/tags/main" is not the branch that is followed"#);
    let elsewhere = push("refs/heads/main", &commit, "https://h/acme/another.git");
    assert_eq!(ignored(&elsewhere, "push")?, "the repository is not the one that is followed");
    assert_eq!(ignored("{}", "issues")?, r#"nothing is done about the event "issues""#);
    assert_eq!(github("ping", "3", &sha256("{}"), "{}")?, (200, json!({"result": "Pong"})));
    assert_eq!(hooked.agent.cluster("a")?["desired"], hooked.scene.remote.revision("main~1")?, "nobody told of the commit yet");

    assert_eq!(github("push", "4", &sha256(&body), &body)?.1, json!({"result": "Fetching"}));
    hooked.agent.phase("a", "Synced", &commit).await?;
    for delivery in ["4", "5"] {
        let told = github("push", delivery, &sha256(&body), &body)?;
        assert_eq!(told, (200, json!({"result": "Repeated", "reason": "it came before"})), "{delivery}");
    }
    let last = hooked.commit(2)?;
    let body = push("refs/heads/main", &last, &url);
    assert_eq!(github("push", "6", &sha256(&body), &body)?.0, 202);
    hooked.agent.phase("a", "Synced", &last).await?;
    // At the start, and for the two pushes that were told of rightly.
    assert_eq!(hooked.fetches()?, r#"evenkeel_git_fetch_seconds_count{result="Succeeded"} 3"#);
    let metrics = get(&hooked.address, "/metrics")?;
    for line in [
        r#"evenkeel_webhooks_total{forge="github",result="Fetching"} 2"#,
        r#"evenkeel_webhooks_total{forge="github",result="Refused"} 3"#,
        r#"evenkeel_webhooks_total{forge="github",result="Repeated"} 2"#,
        r#"evenkeel_webhooks_total{forge="github",result="Unreadable"} 1"#,
        r#"evenkeel_webhooks_total{forge="generic",result="Fetching"} 0"#,
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
    let log = fs::read_to_string(&hooked.agent.log)?;
    assert!(log.contains("EK6061") && !log.contains(SECRET) && !log.contains(TOKEN), "{log}");
    hooked.agent.stop()
}
