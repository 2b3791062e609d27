//! The command line, from its arguments to its last byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod blame;
mod check;
mod diff;
mod docs;
mod events;
mod fleet;
mod incidents;
mod init;
mod kinds;
mod ledger;
mod plan;
mod plan_live;
mod process;
mod repo;
mod run;
mod schemas;
mod secrets;
mod server;
mod tables;

use std::{ffi::OsString, fmt::Write as _};

use evenkeel::{
    cli, codes,
    diagnostic::{Diagnostic, Place},
    server::Accepted,
};

/// What a command line wrote and how it ended.
struct Output {
    line: String,
    out: String,
    err: String,
    code: u8,
}

impl Output {
    /// As a person would see it.
    fn whole(&self) -> String {
        let Self { line, out, err, code } = self;
        let mut whole = format!("$ {line}\n{out}");
        for line in err.lines() {
            let _ = writeln!(whole, "stderr| {line}");
        }
        whole + &format!("[exit {code}]\n")
    }
}

/// The world around a command line in a test.
struct Setup {
    agent: Box<cli::Agent<'static>>,
    ledger: Box<cli::OpenLedger<'static>>,
    approve: Box<cli::Approve<'static>>,
    resume: Box<cli::Resume<'static>>,
    hold: Box<cli::Hold<'static>>,
    release: Box<cli::Release<'static>>,
    roll_back: Box<cli::RollBack<'static>>,
    retry: Box<cli::Retry<'static>>,
    compact: Box<cli::Compact<'static>>,
    color: bool,
    width: Option<usize>,
}

impl Default for Setup {
    /// A stopped agent whose ledger knows the fleet of [`fleet`].
    fn default() -> Self {
        Self {
            agent: Box::new(|_, _| panic!("no agent in this test")),
            ledger: Box::new(|_| Ok(Box::new(fleet::Record))),
            approve: Box::new(|_, plan, who| {
                assert!(who.contains("uid "), "{who}");
                let holds = fleet::status().clusters.into_iter().filter(|cluster| cluster.held_plan == Some(plan));
                Ok(holds.map(|cluster| cluster.name).collect::<Vec<_>>().into())
            }),
            resume: Box::new(|_, who| {
                assert!(who.contains("uid "), "{who}");
                Ok(fleet::status().clusters.into_iter().map(|cluster| cluster.name).collect::<Vec<_>>().into())
            }),
            hold: Box::new(|_, request, who| {
                assert!(who.contains("uid ") && request.until.is_none_or(|until| until > fleet::now()), "{who} {request:?}");
                Ok(vec!["prod-eu-1".to_owned()].into())
            }),
            release: Box::new(|_, request, who| {
                assert!(who.contains("uid "), "{who}");
                match request.selector.as_str() {
                    "cluster=prod-eu-1" => Ok(vec!["prod-eu-1".to_owned()].into()),
                    other => Err(Diagnostic::new(codes::NOT_HELD, Place::Nowhere, format!("nothing is held that {other:?} selects"))),
                }
            }),
            roll_back: Box::new(|_, request, who| {
                assert!(who.contains("uid "), "{who}");
                let clusters = vec![format!("those of {} to {}: {:?}", request.selector, request.rev, request.reason)];
                Ok(Accepted { clusters, commit: Some(fleet::commit(0xc2)) })
            }),
            retry: Box::new(|_, request, who| {
                assert!(who.contains("uid "), "{who}");
                Ok(vec![format!("those of {}: {:?}", request.selector, request.reason)].into())
            }),
            compact: Box::new(evenkeel::agent::compact),
            color: false,
            width: None,
        }
    }
}

impl Setup {
    fn run(&self, line: &str) -> Output {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let world = cli::World {
            color: self.color,
            width: self.width,
            now: fleet::now(),
            agent: &*self.agent,
            ledger: &*self.ledger,
            records: cli::Records {
                approve: &*self.approve,
                resume: &*self.resume,
                hold: &*self.hold,
                release: &*self.release,
                roll_back: &*self.roll_back,
                retry: &*self.retry,
                compact: &*self.compact,
            },
        };
        let code = cli::execute(&arguments, &world, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Output { line: line.to_owned(), out: text(out), err: text(err), code }
    }
}

/// Runs a line in the default world.
fn run(line: &str) -> Output {
    Setup::default().run(line)
}
