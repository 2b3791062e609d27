#![allow(clippy::unwrap_used, reason = "a test may")]

mod calendar;
mod doubt;
mod halt;
mod histories;
mod onlooker;
mod simulation;
mod table;
mod world;
