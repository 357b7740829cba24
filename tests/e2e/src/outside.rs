//! The verifier on a person's machine: outside the cluster, with a kubeconfig; and the CronJob's own schedule.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Cluster, Finished, Scene, Started, log::Streams, objects};

/// The verifier as `tests/cluster/image.sh` put it into its image.
const BINARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/image/netpol-verify");

/// What a command ended with.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it said besides.
    pub errors: String,
}

/// Runs the program with nothing in its environment but a kubeconfig, the renderer, and these.
async fn run(cluster: &Cluster, mut command: Command) -> Result<Ran> {
    command.env("KUBECONFIG", cluster.variable("KUBECONFIG")?).env("KUSTOMIZE", cluster.variable("KUSTOMIZE")?);
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("{BINARY}: `tests/cluster/image.sh` makes it"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().context("it was killed")?;
    Ok(Ran { code, out: text(&output.stdout), errors: text(&output.stderr) })
}

impl Scene {
    /// Runs one of the program's commands in a folder, as a person does who has a kubeconfig.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn command(&self, folder: &Path, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(Path::new(BINARY));
        command.args(arguments).current_dir(folder).env_clear();
        run(&self.cluster, command).await
    }

    /// Runs the verifier as a person does who has a kubeconfig, the room's token, and a way to the API server and to
    /// the homeserver: none to pods.
    ///
    /// # Errors
    /// It could not be started.
    pub async fn run_from_outside(&self) -> Result<Finished> {
        let folder = TempDir::new()?;
        let config = folder.path().join("config.yaml");
        std::fs::write(&config, self.verifier.config().to_string())?;
        let mut command = Command::new(Path::new(BINARY));
        command.args(["run", "-o", "json", "-n", self.verifier.namespace(), "--config"]).arg(config).env_clear();
        command.env("MATRIX_TOKEN", &self.room.bot_token);
        let Ran { code, out: stdout, errors: stderr } = run(&self.cluster, command).await?;
        let streams = Streams { stdout, stderr };
        Finished::new(code.into(), streams, 0, &self.prefix)
    }

    /// Lets the CronJob's controller start a run each minute, waits for the first, and stops it.
    ///
    /// # Errors
    /// None came.
    pub async fn next_scheduled(&self) -> Result<Started> {
        let schedule = |suspend: bool| {
            json!({"apiVersion": "batch/v1", "kind": "CronJob",
                "metadata": {"namespace": self.verifier.namespace(), "name": "netpol-verify"},
                "spec": {"schedule": "* * * * *", "suspend": suspend}})
        };
        let known = self.jobs().await?;
        objects::merge_patch(&self.cluster.client, &schedule(false)).await?;
        let job = self.new_job(&known).await;
        objects::merge_patch(&self.cluster.client, &schedule(true)).await?;
        job
    }
}
