//! `.evenkeelignore`: which files are not Evenkeel's business.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{
    codes,
    diagnostic::{Diagnostic, Place},
    manifest::Digest,
};

/// The patterns of `.evenkeelignore`, in gitignore's syntax, matched against paths from the repository's root.
#[derive(Debug, Clone)]
pub struct Ignored {
    patterns: Gitignore,
    digest: Digest,
}

impl Default for Ignored {
    fn default() -> Self {
        Self { patterns: Gitignore::empty(), digest: Digest::of(b"") }
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
            Ok(patterns) if problems.is_empty() => Ok(Self { patterns, digest: Digest::of(text.as_bytes()) }),
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

    /// Changes exactly when the patterns' text does.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}
