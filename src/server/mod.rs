//! The agent's API on a Unix socket: what the ledger answers, and the actions that people ask for.
//!
//! Only root, the agent's own user and the members of the socket's group may use it: the file's mode keeps others out,
//! and the peer's credentials are checked again at every connection. One request a connection, all of it within a
//! deadline, and a bounded number of connections: a client that hangs takes nothing from the others for long.

mod actions;
mod answers;
mod client;
mod peer;
mod questions;
mod routes;
mod serve;
mod socket;
#[cfg(test)]
mod tests;

pub use actions::{Accepted, Action, ActionRequest, HoldRequest, ReleaseRequest};
pub use answers::{Answers, SourceState};
pub use client::{Client, ClientError};
pub use peer::who;
pub use questions::{DIFF_TIME_MAX, PLAN_TIME_MAX, Question};
pub use serve::{Api, Server};
pub use socket::socket_path;
