//! The main job, end to end: real API servers, real git remotes, the program as it is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod adoption;
mod approval;
mod budget;
mod commits;
mod connection;
mod controllers;
mod dashboard;
mod deploy;
mod diff;
mod drift;
mod faults;
mod handover;
mod hazards;
mod health;
mod hold;
mod holder;
mod hooks;
mod incidents;
mod life;
mod metrics;
mod modes;
mod observe;
mod order;
mod plan_live;
mod recreate;
mod refusals;
mod rollout;
mod scene;
mod secrets;
mod server;
mod untried;
