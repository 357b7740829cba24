//! Git, Flux, the room and the verifier of a lab, with the methods that the real cluster's have.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use e2e::{Finished, Message, eventually, log::Streams, poll::seconds};
use serde_json::{Value, json};

use crate::{
    api::object::text,
    flux, matrix,
    world::{self, Lab},
};

/// What a pod needs to start, at least. Only to a person's Job it makes a difference: it is answered by a run that began
/// after it was made, and both times are known to the second.
const POD_START: Duration = Duration::from_secs(1);

/// The repository.
pub struct Git(pub(super) Arc<Lab>);

impl Git {
    /// The text of a file.
    ///
    /// # Errors
    /// It is not there.
    pub fn read(&self, path: &str) -> Result<String> {
        self.0.git.read(path)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// Never.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        self.0.git.write(path, text);
        Ok(())
    }

    /// Replaces the one occurrence of `from` in a file.
    ///
    /// # Errors
    /// `from` is not there exactly once.
    pub fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        self.0.git.replace(path, from, to)
    }

    /// Inserts `text` after a line.
    ///
    /// # Errors
    /// The file is shorter than `line`.
    pub fn insert_after(&self, path: &str, line: u32, text: &str) -> Result<()> {
        self.0.git.insert_after(path, line, text)
    }

    /// The number of the one line of a file that holds `needle`, from 1.
    ///
    /// # Errors
    /// No line or several hold it.
    pub fn line_of(&self, path: &str, needle: &str) -> Result<u32> {
        self.0.git.line_of(path, needle)
    }

    /// Commits everything and pushes. Gives the commit.
    ///
    /// # Errors
    /// Never.
    pub async fn merge(&self, message: &str) -> Result<String> {
        Ok(self.0.git.merge(message))
    }

    /// Puts `main` back to a commit, as `git push --force` does.
    ///
    /// # Errors
    /// There is no such commit.
    pub async fn force_back_to(&self, commit: &str) -> Result<()> {
        self.0.git.back_to(commit)
    }
}

/// A Kustomization.
pub struct Flux {
    lab: Arc<Lab>,
    flux: Arc<flux::Flux>,
}

impl Flux {
    pub(super) fn of(lab: &Arc<Lab>) -> Self {
        Self { lab: Arc::clone(lab), flux: Arc::clone(&lab.flux) }
    }

    pub(super) fn beside(lab: &Arc<Lab>, name: &str, path: &str) -> Result<Self> {
        Ok(Self { lab: Arc::clone(lab), flux: Arc::new(lab.flux.beside(name, path)?) })
    }

    /// Fetches and applies a commit, which `main` must be at.
    ///
    /// # Errors
    /// Flux fails.
    pub async fn apply(&self, commit: &str) -> Result<()> {
        let applied = self.flux.apply(commit).await;
        self.lab.sync().await?;
        applied
    }

    /// Fetches a commit, and fails to apply it. Gives Flux' message.
    ///
    /// # Errors
    /// It does not fail.
    pub async fn fail(&self, commit: &str) -> Result<String> {
        let failed = self.apply(commit).await.err();
        failed.with_context(|| format!("Flux applied {commit}"))?;
        Ok(text(&self.flux.status(), "/status/conditions/0/message").to_owned())
    }

    /// Suspends or resumes the Kustomization.
    ///
    /// # Errors
    /// It is gone.
    pub async fn suspend(&self, suspended: bool) -> Result<()> {
        self.flux.change(&json!({"spec": {"suspend": suspended}}))
    }

    /// Fetches what `main` is at.
    ///
    /// # Errors
    /// Nothing was merged.
    pub async fn fetch(&self) -> Result<()> {
        self.flux.fetch(&self.lab.git.head()?)
    }

    /// Applies again what was fetched last.
    ///
    /// # Errors
    /// Flux fails.
    pub async fn reconcile(&self) -> Result<()> {
        self.flux.reconcile().await?;
        self.lab.sync().await
    }

    /// The digest of what Flux applied last.
    ///
    /// # Errors
    /// The Kustomization is not there.
    pub async fn digest(&self) -> Result<String> {
        Ok(text(&self.flux.status(), "/status/history/0/digest").to_owned())
    }

    /// Deletes the Kustomization; what it applied stays, as nothing is left to look at.
    ///
    /// # Errors
    /// It is gone.
    pub async fn delete_kustomization(&self) -> Result<()> {
        self.flux.delete()
    }
}

/// The room, as the reader sees it.
pub struct Room {
    lab: Arc<Lab>,
    /// The reader's user id, for mentions.
    pub reader: String,
}

impl Room {
    pub(super) fn of(lab: &Arc<Lab>) -> Self {
        Self { lab: Arc::clone(lab), reader: matrix::READER.to_owned() }
    }

    /// Everything that was said, oldest first, threads included.
    ///
    /// # Errors
    /// Never.
    pub async fn messages(&self) -> Result<Vec<Message>> {
        Ok(self.lab.matrix.messages())
    }

    /// The messages outside threads, oldest first.
    ///
    /// # Errors
    /// Never.
    pub async fn top(&self) -> Result<Vec<Message>> {
        Ok(self.lab.matrix.top())
    }

    /// The newest message outside threads.
    ///
    /// # Errors
    /// There is none.
    pub async fn last(&self) -> Result<Message> {
        self.lab.matrix.top().pop().context("the room is empty")
    }

    /// The messages in the thread of `root`, oldest first.
    ///
    /// # Errors
    /// Never.
    pub async fn thread(&self, root: &Message) -> Result<Vec<Message>> {
        Ok(self.lab.matrix.thread(root))
    }
}

/// The verifier.
pub struct Verifier(pub(super) Arc<Lab>);

/// A Job that was made.
pub struct Started {
    /// Its name.
    pub name: String,
    run: Mutex<Option<world::Started>>,
}

impl Started {
    fn of(run: world::Started) -> Self {
        Self { name: run.name.clone(), run: Mutex::new(Some(run)) }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).as_mut().is_none_or(world::Started::has_ended)
    }

    pub(super) fn kill(&self) {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = run.as_ref() {
            run.signal(world::Signal::KILL);
        }
    }
}

impl Verifier {
    /// Merges a change into its configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn configure(&self, change: &Value) -> Result<()> {
        self.0.verifier.configure(change)
    }

    /// Starts a Job as the watcher does for a commit.
    ///
    /// # Errors
    /// The program cannot be started.
    pub async fn start_for(&self, commit: &str) -> Result<Started> {
        self.0.start_for(commit).map(Started::of)
    }

    /// Waits for a Job's end.
    ///
    /// # Errors
    /// It does not end within two minutes, or was waited for before.
    pub async fn wait(&self, job: &Started) -> Result<Finished> {
        let run = job.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        finished(run.ok_or_else(|| anyhow!("{} was waited for before", job.name))?.wait().await?)
    }

    /// Runs for a commit, as the watcher does.
    ///
    /// # Errors
    /// See [`Self::start_for`] and [`Self::wait`].
    pub async fn run_for(&self, commit: &str) -> Result<Finished> {
        finished(self.0.run_for(commit).await?)
    }

    /// Runs as a person's Job does.
    ///
    /// # Errors
    /// See [`Self::start_for`] and [`Self::wait`].
    pub async fn run_by_hand(&self) -> Result<Finished> {
        finished(self.0.run_by_hand_after(POD_START).await?)
    }

    /// Runs two as a person's Jobs that are there at the same time.
    ///
    /// # Errors
    /// See [`Self::run_by_hand`].
    pub async fn run_two_by_hand(&self) -> Result<(Finished, Finished)> {
        tokio::try_join!(self.run_by_hand(), self.run_by_hand())
    }

    /// Runs as by schedule.
    ///
    /// # Errors
    /// See [`Self::start_for`] and [`Self::wait`].
    pub async fn run_scheduled(&self) -> Result<Finished> {
        finished(self.0.run_scheduled().await?)
    }
}

/// The same as a pod's end; 128 and the signal's number where one ended it, as container runtimes have it.
fn finished(run: world::Finished) -> Result<Finished> {
    let code = run.code.or_else(|| run.signal.map(|signal| 128 + signal)).context("it ended without exit code")?;
    Finished::new(code.into(), Streams { stdout: run.stdout, stderr: run.log }, 1, super::PREFIX)
}

/// The API server's requests from one moment on.
pub struct Audit {
    lab: Arc<Lab>,
    from: usize,
}

impl Audit {
    pub(super) fn begin(lab: &Arc<Lab>) -> Self {
        Self { lab: Arc::clone(lab), from: lab.api.faults.requests("/exec?").len() }
    }

    /// Waits until the verifier has opened an exec into a pod.
    ///
    /// # Errors
    /// It does not within half a minute.
    pub async fn first_exec(&self) -> Result<()> {
        eventually("the verifier begins to probe", seconds(30), async || {
            Ok((self.lab.api.faults.requests("/exec?").len() > self.from).then_some(()))
        })
        .await
    }
}
