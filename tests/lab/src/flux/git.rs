//! A Git repository as far as a person who edits files and merges can tell.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// Files by path.
pub type Tree = BTreeMap<String, String>;

/// A repository and its working copy.
#[derive(Debug, Default)]
pub struct Git(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: Tree,
    commits: BTreeMap<String, Tree>,
    head: Option<String>,
}

impl Git {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// It is not there.
    pub fn read(&self, path: &str) -> Result<String> {
        self.inner().files.get(path).cloned().with_context(|| format!("there is no `{path}`"))
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        self.inner().files.insert(path.to_owned(), text.to_owned());
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.inner().files.remove(path).map(drop).with_context(|| format!("there is no `{path}`"))
    }

    /// Replaces the one occurrence of `from` in a file.
    ///
    /// # Errors
    /// `from` is not there exactly once.
    pub fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let text = self.read(path)?;
        ensure!(text.matches(from).count() == 1, "`{path}` does not hold this exactly once: {from}\n---\n{text}");
        self.write(path, &text.replace(from, to));
        Ok(())
    }

    /// Inserts `text` after a line, as a person pastes it: whole lines.
    ///
    /// # Errors
    /// The file is shorter than `line`.
    pub fn insert_after(&self, path: &str, line: u32, text: &str) -> Result<()> {
        self.write(path, &e2e::git::inserted_after(path, &self.read(path)?, line, text)?);
        Ok(())
    }

    /// The number of the one line of a file that holds `needle`, from 1.
    ///
    /// # Errors
    /// No line or several hold it.
    pub fn line_of(&self, path: &str, needle: &str) -> Result<u32> {
        e2e::git::line_of(path, &self.read(path)?, needle)
    }

    /// Commits everything: the merge. Gives the commit's id, which depends on what was merged before.
    #[must_use]
    pub fn merge(&self, message: &str) -> String {
        let mut inner = self.inner();
        let mut hash = Sha256::new();
        hash.update(format!("{} {message}", inner.commits.len()));
        for (path, text) in &inner.files {
            hash.update(path);
            hash.update(text);
        }
        let mut commit = hex(&hash.finalize());
        commit.truncate(40);
        let files = inner.files.clone();
        inner.commits.insert(commit.clone(), files);
        inner.head = Some(commit.clone());
        commit
    }

    /// The commit that `main` is at.
    ///
    /// # Errors
    /// Nothing was merged yet.
    pub fn head(&self) -> Result<String> {
        self.inner().head.clone().context("nothing was merged yet")
    }

    /// Puts `main` and the working copy back to a commit, as `git push --force` does.
    ///
    /// # Errors
    /// There is no such commit.
    pub fn back_to(&self, commit: &str) -> Result<()> {
        let files = self.tree(commit)?;
        let mut inner = self.inner();
        inner.files = files;
        inner.head = Some(commit.to_owned());
        Ok(())
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// There is no such commit.
    pub fn tree(&self, commit: &str) -> Result<Tree> {
        self.inner().commits.get(commit).cloned().with_context(|| format!("there is no commit {commit}"))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
