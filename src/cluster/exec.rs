//! Exec credential plugins of the agent's own kubeconfig (`client.authentication.k8s.io`).
//!
//! Run here, not by kube, which waits for a plugin without limit on a thread of the runtime and puts its output into errors.

use std::{io, process::Stdio, time::Duration};

use jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use super::ClusterError;

/// Credentials are a token or a certificate chain: a few KiB.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;

/// What a plugin gave.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Credential {
    pub(super) token: Option<String>,
    pub(super) client_certificate_data: Option<String>,
    pub(super) client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
    /// When it ends; none if the plugin did not say.
    #[serde(skip)]
    pub(super) expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    api_version: Option<String>,
    status: Credential,
}

/// Runs the plugin and reads its answer. Ends it, with all that it started, when the limit passes or the caller gives up.
pub(super) async fn run(exec: &ExecConfig, limit: Duration) -> Result<Credential, ClusterError> {
    let plugin = exec.command.clone().unwrap_or_default();
    let failed = |problem: String| ClusterError::Exec { plugin: plugin.clone(), problem };
    if plugin.is_empty() {
        return Err(failed("has no command".to_owned()));
    }
    if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(failed("asks for a terminal (interactiveMode: Always), and an agent has none".to_owned()));
    }
    let output = match timeout(limit, output(exec, &plugin)).await {
        Err(_) => return Err(failed(format!("gave no answer within {} s", limit.as_secs_f32()))),
        Ok(Err(error)) => return Err(failed(format!("cannot be run: {}{}", error.kind(), hint(exec)))),
        Ok(Ok((status, _))) if !status.success() => return Err(failed(format!("failed with {status}"))),
        Ok(Ok((_, output))) => output,
    };
    credential(&output, exec.api_version.as_deref()).map_err(failed)
}

fn hint(exec: &ExecConfig) -> String {
    exec.install_hint.as_deref().map_or_else(String::new, |hint| format!(" ({})", hint.trim()))
}

async fn output(exec: &ExecConfig, plugin: &str) -> io::Result<(std::process::ExitStatus, Vec<u8>)> {
    let mut spec = json!({"interactive": false});
    if let Some(cluster) = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info) {
        spec["cluster"] = serde_json::to_value(cluster)?;
    }
    let info = json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec});
    let mut command = Command::new(plugin);
    command.args(exec.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", info.to_string());
    for entry in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (entry.get("name"), entry.get("value")) {
            command.env(name, value);
        }
    }
    // What it says on stderr may hold a token as well, so it is not taken over into a log.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await?;
    }
    let status = child.wait().await?;
    group.ended();
    Ok((status, bytes))
}

/// The plugin's process group, which is ended unless the plugin ended by itself: a shell script's children would live on.
struct Group(Option<Pid>);

impl Group {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The credential in a plugin's output: JSON, or YAML as client-go allows. The error quotes none of it.
fn credential(output: &[u8], api_version: Option<&str>) -> Result<Credential, String> {
    let answer: Answer = serde_json::from_slice(output)
        .ok()
        .or_else(|| serde_yaml::from_slice(output).ok())
        .ok_or_else(|| "printed something that is not an ExecCredential with a status".to_owned())?;
    if let (Some(asked), Some(given)) = (api_version, &answer.api_version)
        && asked != given
    {
        return Err(format!("answered in another version than {asked}, which the kubeconfig asks for"));
    }
    let mut credential = answer.status;
    if credential.token.is_none() && (credential.client_certificate_data.is_none() || credential.client_key_data.is_none()) {
        return Err("gave neither a token nor a certificate with its key".to_owned());
    }
    if let Some(text) = &credential.expiration_timestamp {
        credential.expires = Some(text.parse().map_err(|_| "gave an expirationTimestamp that is not RFC 3339".to_owned())?);
    }
    Ok(credential)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::HashMap, fs, path::Path, time::Instant};

    use super::*;

    fn shell(script: &str) -> ExecConfig {
        ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".into()),
            command: Some("/bin/sh".into()),
            args: Some(vec!["-c".into(), script.into()]),
            env: Some(vec![HashMap::from([("name".into(), "FROM_KUBECONFIG".into()), ("value".into(), "t0k3n".into())])]),
            ..ExecConfig::default()
        }
    }

    async fn fails(exec: &ExecConfig) -> String {
        run(exec, Duration::from_secs(20)).await.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn gives_what_the_plugin_prints() {
        let script = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$FROM_KUBECONFIG'","expirationTimestamp":"2030-01-01T00:00:00Z"}}'"#;
        let credential = run(&shell(script), Duration::from_secs(20)).await.unwrap();
        assert_eq!(credential.token.as_deref(), Some("t0k3n"));
        assert_eq!(credential.expires, Some("2030-01-01T00:00:00Z".parse().unwrap()));
        let yaml = run(&shell("echo 'status: {clientCertificateData: c, clientKeyData: k}'"), Duration::from_secs(20)).await.unwrap();
        assert_eq!((yaml.client_certificate_data.as_deref(), yaml.client_key_data.as_deref(), yaml.expires), (Some("c"), Some("k"), None));
        let told = run(&shell(r#"echo "{status: {token: '$KUBERNETES_EXEC_INFO'}}""#), Duration::from_secs(20)).await.unwrap();
        let told: serde_json::Value = serde_json::from_str(&told.token.unwrap()).unwrap();
        assert_eq!(
            told,
            json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {"interactive": false}})
        );
    }

    #[tokio::test]
    async fn errors_name_the_plugin_and_its_exit_but_not_its_words() {
        let secret = "echo hunter2; echo hunter2 >&2;";
        assert_eq!(fails(&shell(&format!("{secret} exit 3"))).await, r#"exec plugin "/bin/sh" failed with exit status: 3"#);
        for (script, words) in [
            (secret.to_owned(), "not an ExecCredential"),
            (r#"echo '{"status":{"token":["hunter2"]}}'"#.to_owned(), "not an ExecCredential"),
            (r#"echo '{"apiVersion":"hunter2","status":{"token":"hunter2"}}'"#.to_owned(), "another version"),
            (r#"echo '{"status":{"clientCertificateData":"hunter2"}}'"#.to_owned(), "neither a token"),
            (r#"echo '{"status":{"token":"hunter2","expirationTimestamp":"hunter2"}}'"#.to_owned(), "RFC 3339"),
        ] {
            let error = fails(&shell(&script)).await;
            assert!(error.contains(words) && !error.contains("hunter2"), "{script}: {error}");
        }
    }

    #[tokio::test]
    async fn plugins_that_cannot_run() {
        let absent = ExecConfig { command: Some("/no/such/plugin".into()), install_hint: Some("install it".into()), ..shell("") };
        assert_eq!(fails(&absent).await, r#"exec plugin "/no/such/plugin" cannot be run: entity not found (install it)"#);
        let terminal = ExecConfig { interactive_mode: Some(ExecInteractiveMode::Always), ..shell("") };
        assert!(fails(&terminal).await.contains("terminal"));
        assert!(fails(&ExecConfig { command: None, ..shell("") }).await.contains("no command"));
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let id = folder.path().join("id");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", id.display());
        let started = Instant::now();
        let error = run(&shell(&script), Duration::from_secs(2)).await.err().unwrap().to_string();
        assert!(error.contains("no answer within 2 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
        let child = fs::read_to_string(id).unwrap();
        let process = Path::new("/proc").join(child.trim()).join("stat");
        while is_running(&process) {
            assert!(started.elapsed() < Duration::from_secs(20), "the plugin's child runs on");
            tokio::task::yield_now().await;
        }
    }

    /// Ended, or waits for its parent to take note of that.
    fn is_running(stat: &Path) -> bool {
        fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z "))
    }
}
