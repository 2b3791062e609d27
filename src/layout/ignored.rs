//! `.evenkeelignore`: which files are not Evenkeel's business.

use std::sync::Arc;

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::Digest,
};

/// The patterns of `.evenkeelignore`, in gitignore's syntax, matched against paths from the repository's root.
#[derive(Debug, Clone)]
pub struct Ignored {
    patterns: Gitignore,
    /// The text, each line with its number from 1.
    lines: Arc<[(u32, String)]>,
    digest: Digest,
}

impl Default for Ignored {
    fn default() -> Self {
        Self { patterns: Gitignore::empty(), lines: Arc::default(), digest: Digest::of(b"") }
    }
}

impl Ignored {
    pub(super) const FILE: &'static str = ".evenkeelignore";

    /// Reads the patterns; every line that is none is a mistake.
    pub(super) fn read(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let refuse = |line, why: &ignore::Error| {
            Diagnostic::new(codes::IGNORE_FILE, Place::at(Self::FILE, line, 1), format!("not a gitignore pattern: {why}"))
        };
        let mut builder = GitignoreBuilder::new("");
        let mut problems = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            problems.extend(builder.add_line(None, line).err().map(|why| refuse(number, &why)));
        }
        match builder.build() {
            Ok(patterns) if problems.is_empty() => {
                let lines = text.lines().zip(1..).map(|(line, number)| (number, line.to_owned())).collect();
                Ok(Self { patterns, lines, digest: Digest::of(text.as_bytes()) })
            }
            Ok(_) => Err(problems),
            Err(why) => {
                problems.push(refuse(0, &why));
                Err(problems)
            }
        }
    }

    /// Whether the path is left out. Asked from the root downwards: a folder that is left out takes what it holds along.
    pub fn leaves_out(&self, path: &str, is_folder: bool) -> bool {
        self.patterns.matched(path, is_folder).is_ignore()
    }

    /// The pattern that leaves out a file, or a folder on the way to it, and its line; none where none does.
    pub(super) fn line_of(&self, file: &str) -> Option<(u32, String)> {
        let folders = file.match_indices('/').map(|(end, _)| (&file[..end], true));
        let mut on_the_way = folders.chain([(file, false)]).map(|(path, is_folder)| self.patterns.matched(path, is_folder));
        let pattern = on_the_way.find(Match::is_ignore)?.inner()?.original().to_owned();
        let (line, _) = self.lines.iter().rev().find(|(_, line)| line.trim_end() == pattern)?;
        Some((*line, pattern))
    }

    /// Changes exactly when the patterns' text does.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}
