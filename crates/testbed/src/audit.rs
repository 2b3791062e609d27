//! What an API server was asked, from its audit log.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One request that an API server answered, or a watch that it answers still.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kubernetes' verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// Whom the server took the client for.
    pub user: String,
    /// HTTP status of the answer; 0 when there was none.
    pub code: u16,
    /// Group of the resource asked for; empty for the core group and for paths that are no resource.
    pub group: String,
    /// Plural resource, such as `deployments`, with its subresource if any (`deployments/status`); empty for other paths.
    pub resource: String,
    /// Namespace of the object; empty when it has none.
    pub namespace: String,
    /// Name of the object; empty for collections.
    pub name: String,
    /// When the server received it (RFC 3339).
    pub received: String,
}

impl Request {
    /// Whether the server was asked not to store anything.
    pub fn is_dry_run(&self) -> bool {
        self.uri.split_once('?').is_some_and(|(_, query)| query.split('&').any(|part| part == "dryRun=All"))
    }

    /// Whether the server stored something, or tried to: a verb that writes, and no dry run. Questions that are asked by `create`
    /// (`subjectaccessreviews` and its like) do not count.
    pub fn is_write(&self) -> bool {
        let verb = matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        let question = matches!(self.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io");
        verb && !question && !self.is_dry_run()
    }

    /// From an event of the audit log.
    fn from_event(event: &Value) -> Self {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut resource = text("/objectRef/resource");
        let subresource = text("/objectRef/subresource");
        if !subresource.is_empty() {
            resource = format!("{resource}/{subresource}");
        }
        Self {
            verb: text("/verb"),
            uri: text("/requestURI"),
            user_agent: text("/userAgent"),
            user: text("/user/username"),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).and_then(|code| code.try_into().ok()).unwrap_or(0),
            group: text("/objectRef/apiGroup"),
            resource,
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            received: text("/requestReceivedTimestamp"),
        }
    }
}

/// Requests in the order of their answers (watches: of their start), with filters to chain: `requests.agent("evenkeel/").writes().len()`.
#[derive(Clone, Debug, Default)]
pub struct Requests(Vec<Request>);

impl Requests {
    /// Those that `wanted` says yes to.
    pub fn filter(mut self, mut wanted: impl FnMut(&Request) -> bool) -> Self {
        self.0.retain(|request| wanted(request));
        self
    }

    /// Those whose `User-Agent` starts so.
    pub fn agent(self, prefix: &str) -> Self {
        self.filter(|request| request.user_agent.starts_with(prefix))
    }

    /// Those of one verb.
    pub fn verb(self, verb: &str) -> Self {
        self.filter(|request| request.verb == verb)
    }

    /// Those for one plural resource.
    pub fn resource(self, resource: &str) -> Self {
        self.filter(|request| request.resource == resource)
    }

    /// Those that store something ([`Request::is_write`]).
    pub fn writes(self) -> Self {
        self.filter(Request::is_write)
    }

    /// Those that ask for a dry run.
    pub fn dry_runs(self) -> Self {
        self.filter(Request::is_dry_run)
    }

    /// Those after the first `count`, to look only at what came after a moment.
    pub fn skip(mut self, count: usize) -> Self {
        self.0.drain(..count.min(self.0.len()));
        self
    }

    /// Reads the audit log. A last line that is still being written is left out.
    pub fn read(log: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        // A watch is logged when it starts and again when it ends.
        let mut seen = HashMap::new();
        let mut requests = Vec::new();
        for line in whole.lines() {
            let event: Value = serde_json::from_str(line).with_context(|| format!("{}: {line}", log.display()))?;
            let id = event.get("auditID").and_then(Value::as_str).unwrap_or_default().to_owned();
            let request = Request::from_event(&event);
            let place = *seen.entry(id).or_insert(requests.len());
            match requests.get_mut(place) {
                Some(earlier) => *earlier = request,
                None => requests.push(request),
            }
        }
        Ok(Self(requests))
    }
}

impl std::ops::Deref for Requests {
    type Target = [Request];

    fn deref(&self) -> &[Request] {
        &self.0
    }
}

impl IntoIterator for Requests {
    type Item = Request;
    type IntoIter = std::vec::IntoIter<Request>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
