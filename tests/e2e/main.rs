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
mod first_contact;
mod handover;
mod hazards;
mod health;
mod hold;
mod holder;
mod hooks;
mod incidents;
mod killed;
mod life;
mod metrics;
mod modes;
mod notes;
mod notices;
mod observe;
mod order;
mod plan_live;
mod receiver;
mod recreate;
mod refusals;
mod rollout;
mod rollout_gates;
mod rollout_halt;
mod rollout_lost;
mod rollout_page;
mod scene;
mod secrets;
mod server;
mod statuses;
mod trail;
mod untried;
mod webhooks;
#[path = "../../bench/src/record/years.rs"]
mod years;
