//! The real `netpol-verify`, run as `job/cronjob.yaml` has it run.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use e2e::Report;
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
};

use super::{NAMESPACE, TOKEN, names::Names, shipped};
use crate::{
    api::{Api, object::text},
    faults::{Action, action},
    flux::Flux,
    matrix,
};

/// A signal to the verifier.
pub use rustix::process::Signal;

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The verifier's files and environment.
pub struct Verifier {
    folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    config: std::sync::Mutex<Value>,
    jobs: AtomicU32,
    newest: Arc<AtomicI32>,
    ended: Arc<std::sync::Mutex<Vec<Finished>>>,
}

/// A run under way.
pub struct Started {
    /// Its Job's name.
    pub name: String,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    ended: Arc<std::sync::Mutex<Vec<Finished>>>,
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// Its log.
    pub log: String,
    report: Option<Report>,
}

impl Finished {
    /// A run that nobody ran, for tests of what judges runs.
    #[must_use]
    pub fn made_up(code: i32, report: &Value) -> Self {
        let report = serde_json::from_value(report.clone()).ok();
        Self { code: Some(code), signal: None, stdout: String::new(), log: String::new(), report }
    }

    /// The report that it printed.
    ///
    /// # Errors
    /// It printed none: the error holds its log.
    pub fn report(&self) -> Result<&Report> {
        let Self { code, signal, stdout, log, report } = self;
        report.as_ref().with_context(|| format!("no report; exit code {code:?}, signal {signal:?}\n{stdout}\n{log}"))
    }

    /// The report, after making sure of the exit code and that the verdict in it is one that belongs to that.
    ///
    /// # Errors
    /// Another exit code, no report, or a verdict that belongs to another code.
    pub fn expect(&self, code: i32) -> Result<&Report> {
        self.report()?.expect(self.code.map(i64::from), code.into(), &self.log)
    }
}

impl Verifier {
    /// Writes its files: kubeconfig, token, configuration, names.
    pub(super) fn prepare(
        folder: &Path,
        api: &Api,
        flux: &Flux,
        kustomize: &Path,
        names: &Names,
        config: &Value,
    ) -> Result<Self> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": api.url()}}],
            "users": [{"name": "verifier", "user": {"token": TOKEN}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "verifier", "namespace": NAMESPACE}}],
        });
        std::fs::create_dir(folder.join("tmp"))?;
        std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?;
        std::fs::write(folder.join("token"), matrix::TOKEN)?;
        std::fs::write(folder.join("hosts"), names.hosts_file())?;
        let at = |file: &str| folder.join(file).to_string_lossy().into_owned();
        let mut environment = vec![
            ("KUBECONFIG".to_owned(), at("kubeconfig")),
            ("TMPDIR".to_owned(), at("tmp")),
            ("NETPOL_VERIFY_CONFIG".to_owned(), at("config.yaml")),
            ("KUSTOMIZE".to_owned(), kustomize.to_string_lossy().into_owned()),
            ("SOURCE_CONTROLLER_LOCALHOST".to_owned(), flux.artifacts.address()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            // A killed run's lock is free soon: tests kill many.
            ("NETPOL_VERIFY_LEASE_SECONDS".to_owned(), "2".to_owned()),
        ];
        let container = container()?;
        let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
        for name in variables.map(|variable| text(variable, "/name")) {
            match name {
                "NETPOL_VERIFY_NAMESPACE" => environment.push((name.to_owned(), NAMESPACE.to_owned())),
                "MATRIX_TOKEN_FILE" => environment.push((name.to_owned(), at("token"))),
                // Another one for each run.
                "NETPOL_VERIFY_JOB" => {}
                other => bail!("job/cronjob.yaml sets `{other}`, which the lab does not know"),
            }
        }
        let shipped = container.get("args").and_then(Value::as_array).into_iter().flatten();
        let arguments = shipped.filter_map(Value::as_str).chain(["-o", "json"]).map(str::to_owned).collect();
        let verifier = Self {
            folder: folder.to_owned(),
            arguments,
            environment,
            config: std::sync::Mutex::new(json!({})),
            jobs: AtomicU32::new(0),
            newest: Arc::default(),
            ended: Arc::default(),
        };
        verifier.configure(config)?;
        Ok(verifier)
    }

    /// Merges a change into its configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, change: &Value) -> Result<()> {
        let mut config = self.config.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        e2e::flux::merge(&mut config, change);
        // JSON is YAML too.
        Ok(std::fs::write(self.folder.join("config.yaml"), serde_json::to_string_pretty(&*config)?)?)
    }

    /// Replaces the Matrix token, as a mounted Secret is replaced.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_token(&self, token: &str) -> Result<()> {
        Ok(std::fs::write(self.token_file(), token)?)
    }

    /// Where its Matrix token is, for actions that replace it during a run.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// All runs that were waited for, in the order of their ends.
    #[must_use]
    pub fn finished(&self) -> Vec<Finished> {
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// What runs left in their folder for temporary files.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn left_behind(&self) -> Result<Vec<PathBuf>> {
        std::fs::read_dir(self.folder.join("tmp"))?.map(|entry| Ok(entry?.path())).collect()
    }

    /// Replaces the names that its own resolver knows: lines of a hosts file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_hosts(&self, lines: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.join("hosts"), format!("127.0.0.1 localhost\n{lines}"))?)
    }

    /// Sets a variable of its environment for all runs from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The command of the watcher, which knows the API server by this token.
    pub(super) fn watcher(&self, token: &str) -> Result<Command> {
        let at = |file: &str| self.folder.join(file);
        let kubeconfig =
            std::fs::read_to_string(at("kubeconfig"))?.replace(&format!("\"{TOKEN}\""), &format!("\"{token}\""));
        std::fs::write(at("kubeconfig-watcher"), kubeconfig)?;
        let mut command = Command::new(binary()?);
        command.args(["watch", "--listen", "127.0.0.1:0", "--config"]).arg(at("config.yaml"));
        command.env_clear().env("KUBECONFIG", at("kubeconfig-watcher")).env("NETPOL_VERIFY_NAMESPACE", NAMESPACE);
        Ok(command)
    }

    /// Sends a signal to the newest run.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> Action {
        let newest = Arc::clone(&self.newest);
        action(move || {
            if let Some(process) = Pid::from_raw(newest.load(Ordering::SeqCst)) {
                // It may have ended by itself.
                let _ = kill_process(process, signal);
            }
            std::future::ready(())
        })
    }

    /// Starts a run, with a Job of its own.
    pub(super) fn start(&self, api: &Api, environment: &[(&str, &str)]) -> Result<Started> {
        self.start_pod(self.make_job(api)?, environment)
    }

    /// Makes a Job, whose run does not start by itself. Gives its name.
    pub(super) fn make_job(&self, api: &Api) -> Result<String> {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("netpol-verify-{number}");
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": NAMESPACE, "name": name},
            "spec": {"template": {"spec": {"containers": [], "restartPolicy": "Never"}}},
        });
        api.apply(&job).map(|_| name).map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    /// Starts the run of a Job.
    pub(super) fn start_pod(&self, name: String, environment: &[(&str, &str)]) -> Result<Started> {
        let mut command = Command::new("unshare");
        // Its own resolver is the cluster's name server: here, a hosts file of its own.
        let script = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(self.folder.join("hosts")).arg(binary()?).args(&self.arguments);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("NETPOL_VERIFY_JOB", &name).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot run `unshare` (package util-linux)")?;
        if let Some(process) = child.id().and_then(|id| i32::try_from(id).ok()) {
            self.newest.store(process, Ordering::SeqCst);
        }
        let stdout = tokio::spawn(whole(child.stdout.take()));
        let stderr = tokio::spawn(whole(child.stderr.take()));
        Ok(Started { name, child, stdout, stderr, ended: Arc::clone(&self.ended) })
    }
}

async fn whole(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is what there is.
        let _ = pipe.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Started {
    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end within two minutes (it is killed then), or printed something that is no report.
    pub async fn wait(mut self) -> Result<Finished> {
        let Ok(status) = tokio::time::timeout(LIMIT, self.child.wait()).await else {
            self.child.kill().await?;
            bail!("{} did not end within {LIMIT:?}\n{}", self.name, self.stderr.await?);
        };
        let status = status?;
        let (stdout, log) = (self.stdout.await?, self.stderr.await?);
        let report = match stdout.trim() {
            "" => None,
            printed => Some(serde_json::from_str(printed).with_context(|| format!("not one report: {printed}"))?),
        };
        let finished = Finished { code: status.code(), signal: status.signal(), stdout, log, report };
        self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(finished.clone());
        Ok(finished)
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // It may have ended by itself.
            let _ = kill_process(process, signal);
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// The container of the shipped CronJob.
fn container() -> Result<Value> {
    let objects = shipped("cronjob.yaml")?;
    let cron_job = objects.iter().find(|object| text(object, "/kind") == "CronJob");
    let container = cron_job.and_then(|object| object.pointer("/spec/jobTemplate/spec/template/spec/containers/0"));
    container.cloned().context("job/cronjob.yaml has no container")
}

/// The program: `NETPOL_VERIFY`, else the one beside this program, built anew where cargo runs this one.
fn binary() -> Result<PathBuf> {
    static BUILT: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    if let Some(given) = std::env::var_os("NETPOL_VERIFY") {
        return Ok(given.into());
    }
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow::anyhow!(error))
}

fn build() -> Result<PathBuf> {
    const NAME: &str = "netpol-verify";
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = std::process::Command::new(cargo);
        // With this package, so that the features of dependencies are the same and nothing is compiled twice.
        build.args(["build", "--quiet", "--package", NAME, "--package", "lab", "--bins"]);
        build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        ensure!(build.status()?.success(), "{NAME} does not build");
    }
    let own = std::env::current_exe()?;
    // A test is in `deps`, below the programs; the demonstration is beside them.
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(NAME)).find(|path| path.is_file());
    found.with_context(|| format!("no {NAME} beside {}: build it, or set NETPOL_VERIFY", own.display()))
}
