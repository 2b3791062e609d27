//! Who changed the lines of a file last.

use std::{collections::HashMap, ops::RangeInclusive, path::Path};

use git2::{Blame, BlameOptions, ErrorCode, Oid, Repository};

use super::{
    error::GitError,
    source::CommitId,
    store::{CommitInfo, Store, info, oid},
};

/// The commit that changed a line last; none for a line that is not committed.
pub type LineCommits = HashMap<u32, Option<CommitInfo>>;

impl Store {
    /// Which commits, up to this one, changed these lines of a file last. History is read no further than these lines need. With
    /// `content`, the lines are those of a file that may have been changed since that commit.
    ///
    /// # Errors
    /// [`GitError::Broken`] where the repository cannot be read.
    pub fn blame(&self, commit: CommitId, path: &str, lines: RangeInclusive<u32>, content: Option<&[u8]>) -> Result<LineCommits, GitError> {
        self.with(|repository| {
            let found = lines_of(repository, oid(commit.0), path, &lines, content);
            found.map_err(|why| self.broken(&why))
        })
    }

    /// Whether the repository has no working directory.
    ///
    /// # Errors
    /// [`GitError::Broken`] where the repository cannot be read.
    pub fn is_bare(&self) -> Result<bool, GitError> {
        self.with(|repository| Ok(repository.is_bare()))
    }
}

fn lines_of(
    repository: &Repository,
    commit: Oid,
    path: &str,
    lines: &RangeInclusive<u32>,
    content: Option<&[u8]>,
) -> Result<LineCommits, git2::Error> {
    let none = || lines.clone().map(|line| (line, None)).collect();
    let committed = match repository.find_commit(commit)?.tree()?.get_path(Path::new(path)) {
        Ok(entry) => repository.find_blob(entry.id())?,
        Err(why) if why.code() == ErrorCode::NotFound => return Ok(none()),
        Err(why) => return Err(why),
    };
    let mut options = BlameOptions::new();
    options.newest_commit(commit);
    let changed = content.filter(|content| *content != committed.content());
    if changed.is_none() {
        options.min_line(*lines.start() as usize).max_line(*lines.end() as usize);
    }
    let whole = repository.blame_file(Path::new(path), Some(&mut options))?;
    match changed {
        Some(content) => commits(repository, &whole.blame_buffer(content)?, lines),
        None => commits(repository, &whole, lines),
    }
}

fn commits(repository: &Repository, blame: &Blame<'_>, lines: &RangeInclusive<u32>) -> Result<LineCommits, git2::Error> {
    let mut known: HashMap<Oid, CommitInfo> = HashMap::new();
    let mut found = LineCommits::new();
    for line in lines.clone() {
        let id = blame.get_line(line as usize).map(|hunk| hunk.final_commit_id()).filter(|id| !id.is_zero());
        let commit = match id {
            None => None,
            Some(id) => Some(match known.get(&id) {
                Some(commit) => commit.clone(),
                None => known.entry(id).or_insert(info(&repository.find_commit(id)?)).clone(),
            }),
        };
        found.insert(line, commit);
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use git2::{Signature, Time};

    use super::*;

    /// A bare repository whose one file had these contents, one after the other, by authors a, b, c...
    fn history(contents: &[&str]) -> (tempfile::TempDir, CommitId) {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let mut tip = None;
        for (content, number) in contents.iter().zip(0i64..) {
            let blob = repository.blob(content.as_bytes()).unwrap();
            let mut inner = repository.treebuilder(None).unwrap();
            inner.insert("file", blob, 0o100_644).unwrap();
            let mut tree = repository.treebuilder(None).unwrap();
            tree.insert("folder", inner.write().unwrap(), 0o040_000).unwrap();
            let tree = repository.find_tree(tree.write().unwrap()).unwrap();
            let name = char::from(b'a' + u8::try_from(number).unwrap()).to_string();
            let who = Signature::new(&name, "x@example", &Time::new(number * 60, 0)).unwrap();
            let parents: Vec<git2::Commit<'_>> = tip.into_iter().map(|id| repository.find_commit(id).unwrap()).collect();
            tip = Some(repository.commit(Some("HEAD"), &who, &who, "one", &tree, &parents.iter().collect::<Vec<_>>()).unwrap());
        }
        (folder, CommitId(tip.unwrap().as_bytes().try_into().unwrap()))
    }

    /// The authors of the lines; `-` where a line is not committed.
    fn authors(folder: &Path, tip: CommitId, path: &str, lines: RangeInclusive<u32>, content: Option<&str>) -> String {
        let found = Store::open(folder).unwrap().blame(tip, path, lines.clone(), content.map(str::as_bytes)).unwrap();
        lines.map(|line| found[&line].as_ref().map_or("-", |commit| commit.author.as_str()).to_owned()).collect()
    }

    #[test]
    fn each_line_has_the_commit_that_changed_it_last() {
        let (folder, tip) = history(&["1\n2\n3\n4\n", "1\n2\nx\n4\n", "1\n2\nx\n4\n", "0\n1\n2\nx\n4\n"]);
        let of = |lines, content| authors(folder.path(), tip, "folder/file", lines, content);
        assert_eq!((of(1..=5, None), of(3..=4, None)), ("daaba".to_owned(), "ab".to_owned()));
        assert_eq!(of(1..=6, Some("0\n1\nnew\n2\nx\n4\n")), "da-aba");
        assert_eq!(of(1..=2, Some("0\n1\n2\nx\n4\n")), "da", "an unchanged file is as it was committed");
        assert_eq!(authors(folder.path(), tip, "folder/other", 1..=2, Some("a\nb\n")), "--");
    }
}
