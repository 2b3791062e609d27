//! The agent's API on a Unix socket and over TCP: what the ledger answers, and the actions that people ask for.
//!
//! The socket is for root, the agent's own user and the members of its group: the file's mode keeps others out, and the peer's
//! credentials are checked again at every connection. Over TCP callers show a token, which has a role and environments; on a
//! loopback address reading needs none. Both ways lead to one router, behind one guard, which looks every path up in one list
//! of what it needs.
//!
//! One request a connection, all of it within a deadline, and a bounded number of connections: a client that hangs takes nothing
//! from the others for long.

mod actions;
mod address;
mod answers;
mod caller;
mod changes;
mod client;
mod endpoints;
mod events;
mod follow;
mod guard;
mod hooks;
mod listen;
mod masked;
mod metrics;
mod pages;
mod peer;
mod probes;
mod problem;
mod pulse;
mod questions;
mod routes;
mod scoped;
mod serve;
mod sessions;
mod socket;
mod stamp;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;

pub use actions::{Accepted, Action, ActionRequest, HoldRequest, ReleaseRequest, RetryRequest, RollbackRequest, selector};
pub use address::{Address, ServerUrl};
pub(crate) use answers::explained;
pub use answers::{Answers, Details, SourceState};
pub(crate) use caller::permit;
pub use caller::{Role, Scope};
pub use client::{Client, ClientError};
pub use endpoints::{ENDPOINTS, Endpoint, Needs};
pub use follow::Following;
pub use hooks::Hooks;
pub use listen::Listen;
pub use metrics::{Metrics, Whereabouts};
pub use peer::who;
pub use pulse::Pulse;
pub use questions::{DIFF_TIME_MAX, PLAN_TIME_MAX, Question};
pub use serve::{Api, Server};
pub use socket::socket_path;
pub use tls::TlsFiles;
pub(crate) use tokens::token_of;
