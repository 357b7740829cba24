//! A Git repository on the cluster's smart-HTTP server, changed as people change theirs: clone, commit, push.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Cluster, cluster::run};

/// A bare repository on the server and a clone of it.
pub struct Git {
    bare: PathBuf,
    clone: TempDir,
    /// Where Flux finds it.
    pub url: String,
}

impl Git {
    /// Makes an empty repository `NAME.git` with a clone.
    ///
    /// # Errors
    /// `git` failed.
    pub async fn create(cluster: &Cluster, name: &str) -> Result<Self> {
        let bare = Path::new(cluster.variable("GIT_ROOT")?).join(format!("{name}.git"));
        let url = format!("{}/{name}.git", cluster.variable("GIT_URL")?);
        if bare.exists() {
            std::fs::remove_dir_all(&bare).context("cannot remove the repository of an earlier scene")?;
        }
        run(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&bare)).await?;
        run(Command::new("git").arg("-C").arg(&bare).args(["config", "http.receivepack", "true"])).await?;
        let git = Self { bare, clone: tempfile::tempdir()?, url };
        git.run(&["init", "-q", "-b", "main"]).await?;
        git.run(&["remote", "add", "origin", &git.url]).await?;
        Ok(git)
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.clone.path()).args(arguments).env("HOME", self.clone.path());
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        run(&mut command).await
    }

    /// The text of a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.clone.path().join(path)).with_context(|| format!("cannot read `{path}`"))
    }

    /// Writes a file and the folders above it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.clone.path().join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write `{path}`"))
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove(&self, path: &str) -> Result<()> {
        std::fs::remove_file(self.clone.path().join(path)).with_context(|| format!("cannot delete `{path}`"))
    }

    /// The clone's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.clone.path()
    }

    /// Replaces the one occurrence of `from` in a file.
    ///
    /// # Errors
    /// `from` is not there exactly once.
    pub fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let text = self.read(path)?;
        ensure!(text.matches(from).count() == 1, "`{path}` does not hold this exactly once: {from}\n---\n{text}");
        self.write(path, &text.replace(from, to))
    }

    /// Inserts `text` after a line, as a person pastes it: whole lines.
    ///
    /// # Errors
    /// The file is shorter than `line`.
    pub fn insert_after(&self, path: &str, line: u32, text: &str) -> Result<()> {
        self.write(path, &inserted_after(path, &self.read(path)?, line, text)?)
    }

    /// The number of the one line of a file that holds `needle`, from 1.
    ///
    /// # Errors
    /// No line or several hold it.
    pub fn line_of(&self, path: &str, needle: &str) -> Result<u32> {
        line_of(path, &self.read(path)?, needle)
    }

    /// Commits everything and pushes: the merge. Gives the commit's SHA.
    ///
    /// # Errors
    /// `git` failed, or there was nothing to commit.
    pub async fn merge(&self, message: &str) -> Result<String> {
        self.run(&["add", "-A"]).await?;
        self.run(&["commit", "-q", "-m", message]).await?;
        self.run(&["push", "-q", "origin", "main"]).await?;
        Ok(self.run(&["rev-parse", "HEAD"]).await?.trim().to_owned())
    }

    /// Puts `main` back to a commit, as `git push --force` does.
    ///
    /// # Errors
    /// `git` failed.
    pub async fn force_back_to(&self, commit: &str) -> Result<()> {
        self.run(&["reset", "-q", "--hard", commit]).await?;
        self.run(&["push", "-q", "--force", "origin", "main"]).await.map(drop)
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        // The clone goes by itself; a folder that stays behind on the server harms nobody.
        let _ = std::fs::remove_dir_all(&self.bare);
    }
}

/// A file's text with `addition` after a line, as a person pastes it: whole lines. `path` is its name in the error.
///
/// # Errors
/// The text is shorter than `line`.
pub fn inserted_after(path: &str, text: &str, line: u32, addition: &str) -> Result<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let at = usize::try_from(line)?;
    ensure!(at <= lines.len(), "`{path}` has {} lines, not {line}", lines.len());
    lines.splice(at..at, addition.lines());
    Ok(lines.join("\n") + "\n")
}

/// The number of the one line of a text that holds `needle`, from 1. `path` is its name in the error.
///
/// # Errors
/// No line or several hold it.
pub fn line_of(path: &str, text: &str, needle: &str) -> Result<u32> {
    let mut found = text.lines().zip(1..).filter(|(line, _)| line.contains(needle)).map(|(_, number)| number);
    match (found.next(), found.next()) {
        (Some(line), None) => Ok(line),
        (None, _) => bail!("`{path}` does not hold `{needle}`"),
        (Some(_), Some(_)) => bail!("`{path}` holds `{needle}` more than once"),
    }
}
