//! The watcher as its Deployment: started, stopped, halted and killed; and the Jobs that it makes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Scene, Started, eventually,
    flux::revision,
    objects::{self, Kind, POD, text},
    poll::seconds,
};

/// The watcher's name: of its Deployment, its account, its Lease and its pods' label.
pub const WATCHER: &str = "netpol-verify-watch";
const JOB: Kind<'static> = Kind("batch/v1", "Job");
/// How often is looked where times are measured.
const TICK: Duration = Duration::from_millis(10);

/// A merge and what the watcher made of it.
#[derive(Debug)]
pub struct Watched {
    /// The commit.
    pub commit: String,
    /// The Job.
    pub job: Started,
    /// When it was pushed.
    pub pushed: Instant,
    /// How long after Flux's Ready the Job was there.
    pub after: Duration,
}

impl Watched {
    /// Waits until the room has `count` messages outside threads: how long after the push that was.
    ///
    /// # Errors
    /// It has not within two minutes.
    pub async fn told(&self, scene: &Scene, count: usize) -> Result<Duration> {
        while scene.room.top().await?.len() < count {
            ensure!(self.pushed.elapsed() < seconds(120), "no message two minutes after {}", self.commit);
            sleep(TICK).await;
        }
        Ok(self.pushed.elapsed())
    }
}

impl Scene {
    /// Gives the watcher so many replicas, and waits until they are ready, or gone.
    ///
    /// # Errors
    /// They do not come or go within a minute.
    pub async fn watchers(&self, replicas: usize) -> Result<()> {
        let change = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": self.verifier.namespace(), "name": WATCHER}, "spec": {"replicas": replicas},
        });
        objects::merge_patch(&self.cluster.client, &change).await?;
        eventually(&format!("{replicas} watchers are ready"), seconds(60), async || {
            let pods = self.watcher_pods().await?;
            let ready =
                pods.iter().filter(|pod| pod.pointer("/status/containerStatuses/0/ready") == Some(&json!(true)));
            Ok((ready.count() == replicas && pods.len() == replicas).then_some(()))
        })
        .await
    }

    /// The watcher's pods.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn watcher_pods(&self) -> Result<Vec<Value>> {
        let labels = format!("app.kubernetes.io/name={WATCHER}");
        objects::list(&self.cluster.client, &POD, self.verifier.namespace(), &labels).await
    }

    /// Sends a signal to the watcher's process.
    ///
    /// # Errors
    /// There is none.
    pub async fn signal_watcher(&self, signal: &str) -> Result<()> {
        let pods = self.watcher_pods().await?;
        let id = pods.first().map(|pod| text(pod, "/status/containerStatuses/0/containerID")).unwrap_or_default();
        let id = id.strip_prefix("containerd://").context("the watcher has no container")?;
        self.cluster.inside(&["ctr", "-n", "k8s.io", "tasks", "kill", "-s", signal, id]).await.map(drop)
    }

    /// The names of all Jobs of the scene's verifier that are there.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn jobs(&self) -> Result<Vec<String>> {
        let jobs = objects::list(&self.cluster.client, &JOB, self.verifier.namespace(), "").await?;
        Ok(jobs.iter().map(|job| text(job, "/metadata/name").to_owned()).collect())
    }

    /// Waits for a Job that is not among `known`.
    ///
    /// # Errors
    /// None comes within 75 seconds: a schedule of each minute has its turn in that time.
    pub async fn new_job(&self, known: &[String]) -> Result<Started> {
        let began = Instant::now();
        loop {
            if let Some(name) = self.jobs().await?.into_iter().find(|job| !known.contains(job)) {
                return Ok(Started { name });
            }
            ensure!(began.elapsed() < seconds(75), "no Job was made within 75 s beside {known:?}");
            sleep(TICK).await;
        }
    }

    /// Pushes, lets Flux fetch, and waits for what the watcher makes of it.
    ///
    /// # Errors
    /// Git or Flux failed, or the watcher made no Job.
    pub async fn merge_watched(&self, message: &str) -> Result<Watched> {
        let known = self.jobs().await?;
        let commit = self.git.merge(message).await?;
        let pushed = Instant::now();
        self.flux.fetch().await?;
        let job = async {
            let job = self.new_job(&known).await?;
            anyhow::Ok((job, Instant::now()))
        };
        let (ready, (job, made)) = tokio::try_join!(self.ready_at(&commit), job)?;
        Ok(Watched { commit, job, pushed, after: made.saturating_duration_since(ready) })
    }

    /// The moment when Flux has applied a commit.
    async fn ready_at(&self, commit: &str) -> Result<Instant> {
        let (began, wanted) = (Instant::now(), revision(commit));
        loop {
            let now = self.flux.status().await?;
            let conditions = now.pointer("/status/conditions").and_then(Value::as_array);
            let mut ready = conditions.into_iter().flatten().filter(|one| text(one, "/type") == "Ready");
            let is_ready = ready.any(|one| text(one, "/status") == "True");
            if is_ready && text(&now, "/status/lastAppliedRevision") == wanted {
                return Ok(Instant::now());
            }
            ensure!(began.elapsed() < seconds(60), "Flux did not apply {wanted} within 60 s");
            sleep(TICK).await;
        }
    }
}
