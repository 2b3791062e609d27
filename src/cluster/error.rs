//! What can go wrong between the agent and an API server, as the caller must tell it apart.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use super::mask::mask;
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, Place},
};

/// No connection can be made for a cluster. No text of it holds a credential or what a plugin printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig has no context of that name.
    #[error("the kubeconfig has no context named {context:?}{}", known(.contexts))]
    NoContext {
        /// The context that was looked for.
        context: String,
        /// The contexts there are.
        contexts: Vec<String>,
    },
    /// A kubeconfig is missing, unreadable or wrong.
    #[error("kubeconfig {}: {problem}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// `spec.connection` names a file outside of the folder of the agent's kubeconfig.
    #[error("{path:?} is not inside of the folder of the agent's kubeconfig")]
    OutsideFolder {
        /// The path as the repository gives it.
        path: String,
    },
    /// A certificate, key, token or token file cannot be used.
    #[error("{0}")]
    Credentials(String),
    /// An exec plugin of the kubeconfig gave no credentials.
    #[error("exec plugin {plugin:?} {problem}")]
    Exec {
        /// Its command, without arguments.
        plugin: String,
        /// How it failed; never its output.
        problem: String,
    },
    /// `inCluster` is asked for, but the agent does not run in a pod with a service account.
    #[error("the agent does not run in a cluster: {0}")]
    NotInCluster(String),
    /// The connection needs what this version does not have.
    #[error("{0} is not built yet")]
    NotBuilt(&'static str),
}

fn known(contexts: &[String]) -> String {
    const SHOWN_MAX: usize = 20;
    match contexts.len() {
        0 => "; it has none at all".to_owned(),
        count if count > SHOWN_MAX => format!("; it has {count} others"),
        _ => format!("; it has {}", contexts.join(", ")),
    }
}

impl ClusterError {
    /// The code under which it is shown.
    pub fn code(&self) -> Code {
        match self {
            Self::NoContext { .. } | Self::Kubeconfig { .. } | Self::NotInCluster(_) => codes::KUBECONFIG,
            Self::OutsideFolder { .. } => codes::CONNECTION_PATH,
            Self::Credentials(_) | Self::Exec { .. } => codes::CLUSTER_AUTH,
            Self::NotBuilt(_) => codes::NOT_BUILT_YET,
        }
    }

    /// It, ready to be shown.
    pub fn diagnostic(&self, place: Place) -> Diagnostic {
        Diagnostic::new(self.code(), place, self.to_string())
    }
}

/// A request that was not carried out, or whose answer is not known.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiError(Box<Detail>);

#[derive(Clone, PartialEq, Eq)]
struct Detail {
    kind: ErrorKind,
    status: Option<u16>,
    reason: String,
    message: String,
    causes: Vec<String>,
    retry_after: Option<Duration>,
    unprocessed: bool,
}

/// The kinds of failure that a caller answers in different ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection: refused, reset, unknown name, TLS.
    Unreachable,
    /// No answer in time; a write may have been carried out all the same.
    Timeout,
    /// The kubeconfig names another server by now: open the connection anew, and check its identity before a write.
    Moved,
    /// The credentials are not accepted, or none could be had.
    Unauthorized,
    /// RBAC (or another authorizer) forbids it.
    Forbidden,
    /// No such object, or no such namespace (then the message names it).
    NotFound,
    /// Other field managers own fields that the object sets.
    Conflict(Vec<FieldConflict>),
    /// The object that should be created is there.
    AlreadyExists,
    /// The object is not the one, or not in the state, that the request named: uid, resourceVersion.
    PreconditionFailed,
    /// The API itself finds the object wrong.
    Invalid,
    /// An admission webhook, a policy or a quota refuses it.
    Refused,
    /// The server does not serve that group, version or kind.
    NoSuchKind,
    /// The list moved on while it was read (410), too often.
    Expired,
    /// The server asks for fewer requests.
    TooManyRequests,
    /// The server failed (5xx).
    Server,
    /// The answer is larger than the limit.
    TooLarge,
    /// The answer is none of an API server.
    Protocol,
}

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// The other field manager.
    pub manager: String,
    /// The field's path, as the server writes it (`.spec.replicas`).
    pub field: String,
}

impl ApiError {
    /// An error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        let (status, reason, causes, retry_after, unprocessed) = (None, String::new(), Vec::new(), None, false);
        Self(Box::new(Detail { kind, status, reason, message, causes, retry_after, unprocessed }))
    }

    pub(super) fn answered(mut self, status: u16, reason: String, causes: Vec<String>, retry_after: Option<Duration>) -> Self {
        self.0.status = Some(status);
        self.0.reason = reason;
        self.0.causes = causes;
        self.0.retry_after = retry_after;
        self
    }

    /// The server said that it has not looked at the request.
    pub(super) fn unprocessed(mut self) -> Self {
        self.0.unprocessed = true;
        self
    }

    pub(super) fn is_unprocessed(&self) -> bool {
        self.0.unprocessed
    }

    /// The same error with every text passed through that function.
    pub(super) fn map_text(mut self, change: impl Fn(&str) -> String) -> Self {
        self.0.message = change(&self.0.message);
        self.0.causes.iter_mut().for_each(|cause| *cause = change(cause));
        self
    }

    /// The same error without any value of that object, where it is a Secret: a policy may quote what stands there.
    #[must_use]
    pub fn without_values_of(self, object: &serde_json::Value) -> Self {
        if object["kind"] != "Secret" {
            return self;
        }
        let object = object.to_string();
        self.map_text(|text| mask(text, object.as_bytes()))
    }

    /// What a caller acts on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The managers of the fields in conflict, each once; none where the error is another one.
    pub fn managers_in_conflict(&self) -> BTreeSet<&str> {
        let ErrorKind::Conflict(conflicts) = self.kind() else { return BTreeSet::new() };
        conflicts.iter().map(|conflict| conflict.manager.as_str()).collect()
    }

    /// The HTTP status; none where there was no answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The server's machine-readable reason (`Conflict`, `Invalid`), or empty.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The server's own words, or what happened on the way to it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same request may succeed later without a change of the manifest, the rights or the settings.
    pub fn retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Refused => self.passing().is_some(),
            ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Moved
            | ErrorKind::PreconditionFailed
            | ErrorKind::Expired
            | ErrorKind::TooManyRequests
            | ErrorKind::Server => true,
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Conflict(_)
            | ErrorKind::AlreadyExists
            | ErrorKind::Invalid
            | ErrorKind::NoSuchKind
            | ErrorKind::TooLarge
            | ErrorKind::Protocol => false,
        }
    }

    /// Whether the cluster as a whole is out of reach, rather than this one request in trouble.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Moved | ErrorKind::Unauthorized)
    }

    /// Whether the server looked at the object and will not have it.
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind(), ErrorKind::Invalid | ErrorKind::Refused)
    }

    /// Whether the refusal is of a change to a field that can only be set at creation.
    pub fn is_immutable(&self) -> bool {
        // There is no reason of its own for it; these are the words of k8s.io/kubernetes/pkg/apis validation.
        const WORDS: [&str; 4] =
            ["field is immutable", "cannot change roleRef", "updates to statefulset spec for fields other than", "may not change once set"];
        self.is_refusal()
            && (std::iter::once(&self.0.message).chain(&self.0.causes)).any(|text| WORDS.iter().any(|words| text.contains(words)))
    }

    /// Whether the server refuses for a reason that goes by itself, and which. There are no reasons of their own for them in an
    /// answer; these are the words of k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle and resourcequota.
    pub fn passing(&self) -> Option<Code> {
        let says = |words: &str| *self.kind() == ErrorKind::Refused && self.message().contains(words);
        if says("because it is being terminated") {
            return Some(codes::TERMINATING);
        }
        (says("exceeded quota: ") || says("status unknown for quota: ")).then_some(codes::QUOTA)
    }

    /// Whether the server could not do a dry run at all, so that it says nothing about the object.
    pub fn is_untriable(&self) -> bool {
        // k8s.io/apiserver/pkg/admission/plugin/webhook/errors: a webhook whose sideEffects are Some or Unknown.
        self.is_of_lost_version() || (*self.kind() == ErrorKind::Invalid && self.message().contains("does not support dry run"))
    }

    /// Whether the object's managedFields name a version that its definition no longer has, so that nothing can be applied to it:
    /// the words of k8s.io/apiextensions-apiserver/pkg/apiserver/conversion.
    pub fn is_of_lost_version(&self) -> bool {
        self.message().contains("request to convert CR to an invalid group/version")
    }

    /// The code under which it is shown.
    pub fn code(&self) -> Code {
        if let Some(code) = self.passing() {
            return code;
        }
        match self.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout => codes::UNREACHABLE,
            ErrorKind::Moved => codes::KUBECONFIG,
            ErrorKind::Unauthorized => codes::CLUSTER_AUTH,
            ErrorKind::Forbidden => codes::FORBIDDEN,
            ErrorKind::Conflict(_) => codes::CONFLICT,
            ErrorKind::Invalid | ErrorKind::Refused if self.is_immutable() => codes::IMMUTABLE,
            ErrorKind::Invalid | ErrorKind::Refused => codes::REFUSED,
            ErrorKind::NoSuchKind => codes::NO_KIND,
            ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed => codes::WRITE_FAILED,
            ErrorKind::Expired | ErrorKind::TooManyRequests | ErrorKind::Server | ErrorKind::TooLarge | ErrorKind::Protocol => {
                codes::SERVER_ERROR
            }
        }
    }

    /// It, ready to be shown.
    pub fn diagnostic(&self, place: Place) -> Diagnostic {
        // The server's own word for it is no more than `Unauthorized`.
        let is_bare = *self.kind() == ErrorKind::Unauthorized && self.status().is_some();
        let message =
            if is_bare { format!("the API server does not accept the credentials: {}", self.message()) } else { self.message().to_owned() };
        let diagnostic = Diagnostic::new(self.code(), place, message);
        if self.is_of_webhook() { diagnostic.with_hint(WEBHOOK_AWAY) } else { diagnostic }
    }

    /// Whether an admission webhook that must be asked did not answer: the words of k8s.io/apiserver/pkg/admission/plugin/webhook/errors.
    fn is_of_webhook(&self) -> bool {
        self.message().contains("failed calling webhook ")
    }
}

/// What to do about a webhook that does not answer.
const WEBHOOK_AWAY: &str = "Bring the service behind the webhook back; `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations` \
    shows whose it is. Nothing that it must be asked about is written meanwhile; it is tried again by itself.";

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("kind", self.kind())
            .field("status", &self.status())
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ApiError {}

impl From<ClusterError> for ApiError {
    /// A connection that was open and cannot renew its credentials.
    fn from(error: ClusterError) -> Self {
        Self::new(ErrorKind::Unauthorized, error.to_string())
    }
}
