//! The only place that writes what a command says: data to stdout, everything else to stderr.

use std::io::{self, Write};

use serde::Serialize;

use super::{error::CommandError, table::clean, values::Output};
use crate::{diagnostic::Diagnostic, ledger::ExportError, manifest::mask_urls};

/// Writes for one command.
pub(super) struct Printer<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Stdout may be coloured.
    pub(super) color: bool,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, color: bool) -> Self {
        Self { out, err, color }
    }

    /// Data, as it is. That nobody reads on (`| head`) is no error.
    pub(super) fn data(&mut self, text: &str) -> Result<(), CommandError> {
        self.part(text).map(drop)
    }

    /// A part of data that goes on. False where nobody reads on, so that there is no more to do.
    pub(super) fn part(&mut self, text: &str) -> Result<bool, CommandError> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).map_err(CommandError::from),
        }
    }

    /// Data that is too much to hold, written as it comes. That nobody reads on is no error.
    pub(super) fn stream(&mut self, write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>) -> Result<(), CommandError> {
        let mut out = io::BufWriter::new(&mut *self.out);
        match write(&mut out).and_then(|()| Ok(out.flush()?)) {
            Err(ExportError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                // What is still held here is for nobody either, and would be tried once more.
                let _ = out.into_parts();
                Ok(())
            }
            Err(ExportError::Output(error)) => Err(error.into()),
            Err(ExportError::Ledger(error)) => Err(Diagnostic::from(error).into()),
            Ok(()) => Ok(()),
        }
    }

    /// An answer in the form asked for.
    pub(super) fn answer<T: Serialize>(
        &mut self,
        output: Output,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), CommandError> {
        let text = match output {
            Output::Table => table(answer),
            Output::Json => serde_json::to_string_pretty(answer).map_err(io::Error::from)? + "\n",
            Output::Yaml => serde_yaml::to_string(answer).map_err(io::Error::other)?,
        };
        self.data(&text)
    }

    /// A remark for the person at the terminal, one line.
    pub(super) fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "note: {}", clean(&mask_urls(text)));
    }

    /// Mistakes that keep the command from answering, each with its hint.
    pub(super) fn problems(&mut self, problems: &[Diagnostic]) {
        for problem in problems {
            self.error(&CommandError::from(problem.clone()).to_string());
        }
    }

    /// Why the command failed. If stderr is gone there is nowhere left to say so.
    pub(super) fn error(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }
}
