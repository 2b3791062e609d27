//! Clusters: finding them in a kubeconfig, connecting, what they serve. Knows nothing of Git.
//!
//! A [`Connection`] is one cluster's way to its API server: bounded in time, size and number of requests, over HTTP/2 where the
//! server offers it. It renews its credentials by itself (files that changed, exec plugins whose answer expires, one try after a
//! 401), but never moves to another server: a kubeconfig that names another address ends it, and who opens the next one checks
//! [`Connection::identity`] before a write.
//!
//! What it does not do: it keeps no cache, decides nothing, and repeats a request only where the server asked for that
//! (`Retry-After`) or said that it has not looked at it (GOAWAY); pauses between tries and a breaker are the caller's.

mod address;
mod connection;
mod credentials;
mod discovery;
mod error;
mod exec;
mod gate;
mod kubeconfig;
mod mask;
mod meta;
mod operations;
mod pace;
mod status;
mod stream;
mod transport;
mod warning;
mod watch;

pub use connection::{CONCURRENCY, CONCURRENCY_MAX, Connection, FLEET_CONCURRENCY, Limits, Requests};
pub use discovery::{Api, Apis, Facts};
pub use error::{ApiError, ClusterError, ErrorKind, FieldConflict};
pub use kubeconfig::{ConnectionSpec, Kubeconfig};
pub use meta::{Manager, Managers, Meta, Operation};
pub use operations::{Applied, Apply, Deletion, Listed};
pub use watch::{Scope, Watch, WatchEvent, Watched};
