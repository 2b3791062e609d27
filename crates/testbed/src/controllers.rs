//! What makes a control plane do something: the controller manager, the scheduler, and a node that is none.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::api::Api;
use crate::bed::{START, Server};
use crate::binaries::ControllerBinaries;
use crate::kubeconfig::Kubeconfig;
use crate::process::Launch;
use crate::wait::wait_until;

/// What becomes of nodes and pods.
const STAGES: &str = include_str!("stages.yaml");

/// The node's name.
const NODE: &str = "fake";

/// kube-controller-manager, kube-scheduler and kwok of one control plane.
pub(crate) struct Controllers {
    servers: [Server; 3],
}

impl Controllers {
    /// Starts them with the files of the control plane's folder, makes a node, and waits until pods can run on it.
    pub(crate) async fn start(programs: &ControllerBinaries, folder: &Path, kubeconfig: &Kubeconfig, api: &Api) -> Result<Self> {
        let config = folder.join("controllers.kubeconfig");
        kubeconfig.write(&config)?;
        let stages = folder.join("stages.yaml");
        fs::write(&stages, STAGES).context("writing the stages of kwok")?;
        let file = |name: &str| folder.join(name).display().to_string();
        let config = format!("--kubeconfig={}", config.display());
        let start = |program: &Path, arguments: Vec<String>| {
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let log = Some(folder.join(format!("{name}.log")));
            Server::start(Launch { name, program: program.to_owned(), args: arguments, env: Vec::new(), log })
        };
        let manager = vec![
            config.clone(),
            format!("--service-account-private-key-file={}", file("service-accounts.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            // On a busy machine the one node must not be given up for lost.
            "--node-monitor-grace-period=1h".to_owned(),
            // A rollout is a chain of some ten writes, and tests wait for it.
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
        ];
        let scheduler = vec![config.clone(), "--leader-elect=false".to_owned(), "--secure-port=0".to_owned()];
        let kwok = vec![config, format!("--config={}", stages.display()), "--manage-all-nodes=true".to_owned()];
        let servers =
            [start(&programs.kube_controller_manager, manager)?, start(&programs.kube_scheduler, scheduler)?, start(&programs.kwok, kwok)?];
        let controllers = Self { servers };
        controllers.ready(api).await?;
        Ok(controllers)
    }

    async fn ready(&self, api: &Api) -> Result<()> {
        let room = json!({"cpu": "1000", "memory": "1Ti", "pods": "10000"});
        let node =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": {"allocatable": room, "capacity": room}});
        api.create("/api/v1/nodes", &node).await?;
        wait_until(START, "the node is ready", || async {
            // A program that has ended will not do anything: that is an answer, not something to wait for.
            if let Some(ended) = self.servers.iter().find_map(|server| server.alive().err()) {
                return Ok(Err(ended));
            }
            is_ready(&api.get(&format!("/api/v1/nodes/{NODE}")).await?)?;
            // Without it pods of the namespace are refused.
            api.get("/api/v1/namespaces/default/serviceaccounts/default").await?;
            anyhow::Ok(Ok(()))
        })
        .await
        .flatten()
        .with_context(|| self.servers.iter().map(Server::log_tail).collect::<Vec<_>>().join("\n"))
    }
}

/// Whether the scheduler puts pods on that node.
fn is_ready(node: &Value) -> Result<()> {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|condition| condition["type"] == "Ready").any(|condition| condition["status"] == "True");
    ensure!(ready && node["spec"]["taints"].is_null(), "{node}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_pods_once_it_is_ready_and_has_no_taints() {
        let node = |status: &str, taints: Value| json!({"spec": {"taints": taints}, "status": {"conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": status}]}});
        assert!(is_ready(&node("True", Value::Null)).is_ok());
        assert!(is_ready(&node("False", Value::Null)).is_err());
        assert!(is_ready(&node("True", json!([{"key": "node.kubernetes.io/not-ready"}]))).is_err());
        assert!(is_ready(&json!({})).is_err());
    }
}
