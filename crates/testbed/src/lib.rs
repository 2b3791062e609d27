//! Real Kubernetes control planes, git remotes and a fault proxy, for tests, the demo and benchmarks.
//!
//! A [`Bed`] is one etcd; every [`ControlPlane`] on it is one real kube-apiserver with its own part of etcd, its own certificate
//! authority, users and audit log. A [`GitRemote`] is a bare repository that can be served as a path, over HTTP and over SSH.
//! A [`FaultProxy`] stands between a client and a server and misbehaves on demand, an [`AnswerProxy`] answers in the server's place. The [`README`](../README.md) shows them together.
//!
//! Nothing outlives its owner: every process runs in a process group of its own, is killed by pid when its owner is dropped, and is
//! killed by a guardian (see [`process`]) when the owner itself dies, however it dies.

pub mod answer_proxy;
pub mod api;
pub mod audit;
mod background;
pub mod bed;
pub mod binaries;
pub mod browser;
pub mod control_plane;
mod controllers;
pub mod fault_proxy;
pub mod git_remote;
pub mod kubeconfig;
mod net;
mod pki;
pub mod process;
pub mod wait;

pub use answer_proxy::{AnswerProxy, Canned};
pub use api::{Api, ApiError};
pub use audit::{Request, Requests};
pub use bed::Bed;
pub use browser::Browser;
pub use control_plane::{ControlPlane, ControlPlaneOptions};
pub use fault_proxy::{Fault, FaultProxy};
pub use git_remote::GitRemote;
pub use kubeconfig::{Credentials, Kubeconfig};
pub use pki::ServerFiles;
pub use wait::wait_until;
