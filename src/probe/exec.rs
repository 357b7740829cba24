//! Running the two command lines in a pod over the exec WebSocket.
//!
//! Never hangs and never holds more than [`OUTPUT_LIMIT`]: the time limit comes from the targets, the script keeps its
//! own in the pod.

use std::{fmt, pin::pin, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::unconstrained,
    time::{Instant, timeout},
};

use super::{
    Outcome,
    dialect::{self, Facts, Observation, Tool},
    fault::ExecFault,
    gate::Gate,
    script,
    target::{Target, Wave},
    waves,
};

/// The most of an exec's output that is read; 64 lines take less than 40 KiB.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// The most of its standard error that is kept; the rest is read and dropped.
const STDERR_LIMIT: usize = 16 * 1024;

/// How long the API server may take to switch protocols.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The container to probe from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePod {
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod's name.
    pub name: String,
    /// Its name.
    pub container: String,
    /// The node, for the limit of execs per node.
    pub node: Option<String>,
}

/// How much at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Execs in all (`probe.execs`).
    pub execs: usize,
    /// Execs on one node (`probe.execsPerNode`).
    pub execs_per_node: usize,
    /// Connections at a time in one pod (`probe.probesPerPod`).
    pub wave: Wave,
    /// The longest that one exec may take, whatever its targets need.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { execs: 50, execs_per_node: 10, wave: Wave::default(), deadline: Duration::from_secs(600) }
    }
}

/// Probes through `pods/exec`.
pub struct ExecProber {
    client: kube::Client,
    limits: Limits,
    gate: Gate,
}

impl fmt::Debug for ExecProber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecProber").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How an exec came to its end.
enum End {
    /// With the status that the server sent.
    Status(Box<Status>),
    /// The connection closed before a status.
    Closed,
    /// The time limit.
    TooLong(Duration),
    /// More output than [`OUTPUT_LIMIT`].
    TooMuch,
}

/// An exec's output and end.
struct Ran {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    end: End,
    /// From the switch of protocols to the end.
    took: Duration,
}

impl ExecProber {
    /// A prober that uses this client.
    #[must_use]
    pub fn new(client: kube::Client, limits: Limits) -> Self {
        let gate = Gate::new(limits.execs, limits.execs_per_node);
        Self { client, limits, gate }
    }

    /// Tries up to [`script::MAX_TARGETS`] targets with the script, in one exec; the answers are in the order of
    /// `targets`. A target whose line did not come is [`Outcome::Cut`]; one that stands twice is tried twice, the second
    /// time after the first has ended.
    ///
    /// # Errors
    /// There was no answer at all, for a reason that concerns the source or the way to it ([`ExecFault`]).
    pub async fn exec(&self, source: &SourcePod, targets: &[Target]) -> Result<Vec<Observation>, ExecFault> {
        if targets.len() > script::MAX_TARGETS {
            return Err(ExecFault::TooMany { count: targets.len() });
        }
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let wave = self.wave(targets);
        let limit = script::time_limit(targets, wave).min(self.limits.deadline);
        let ran = self.run(source, script::command(targets, wave), limit).await?;
        if !dialect::has_begun(&ran.stdout) {
            ran.fault(source)?;
        }
        if !dialect::is_complete(&ran.stdout) {
            tracing::warn!(namespace = %source.namespace, pod = %source.name, reason = %ran.why(), "probe was cut");
        }
        Ok(dialect::read(&ran.stdout, targets, &ran.why()))
    }

    /// Tries the targets with `nc` alone, one exec each, for pods without a shell. What is not TCP is
    /// [`Outcome::ToolMissing`].
    ///
    /// # Errors
    /// As [`ExecProber::exec`], from the first target; later ones become that fault's outcome.
    pub async fn exec_nc(&self, source: &SourcePod, targets: &[Target]) -> Result<Vec<Observation>, ExecFault> {
        let Some((first, rest)) = targets.split_first() else { return Ok(Vec::new()) };
        let first = self.nc_one(source, first).await?;
        // Owned targets: a future that borrows its item is not `Send` for every lifetime, which callers need.
        let tries = rest.iter().cloned().map(|target| async move { self.nc_one(source, &target).await });
        // In their order, so that no more begin than this before one has ended.
        let tries = stream::iter(tries).buffered(self.wave(targets).get());
        let rest: Vec<Observation> = tries.map(|tried| tried.unwrap_or_else(|fault| of_fault(&fault))).collect().await;
        Ok(std::iter::once(first).chain(rest).collect())
    }

    fn wave(&self, targets: &[Target]) -> Wave {
        waves::wave(targets, self.limits.wave)
    }

    /// The execs for these targets, each with the positions of what it tries.
    pub(super) fn execs(&self, targets: &[Target]) -> Vec<(Vec<usize>, Vec<Target>)> {
        waves::execs(targets, self.limits.wave)
    }

    async fn nc_one(&self, source: &SourcePod, target: &Target) -> Result<Observation, ExecFault> {
        let Some(command) = script::nc_command(target) else {
            let why = "without a shell only TCP can be probed";
            return Ok(Observation::without_tool(Outcome::ToolMissing, why));
        };
        let limit = script::nc_time_limit(target).min(self.limits.deadline);
        let ran = self.run(source, command, limit).await?;
        ran.fault(source)?;
        // The way from the pod is in it: too long rather than too short.
        let elapsed_ms = u64::try_from(ran.took.as_millis()).ok();
        let End::Status(status) = &ran.end else {
            return Ok(Observation::without_tool(Outcome::Cut, &ran.why()));
        };
        let Some(code) = exit_code(status) else {
            return Ok(Observation::without_tool(Outcome::Cut, &ran.why()));
        };
        let text = [ran.stdout.as_slice(), ran.stderr.as_slice()].join(&b' ');
        let text = String::from_utf8_lossy(&text);
        let facts = Facts { tool: Some(Tool::Nc), elapsed_ms, status: code, text: &text };
        Ok(dialect::observe(target, &facts))
    }

    async fn run(&self, source: &SourcePod, command: Vec<String>, limit: Duration) -> Result<Ran, ExecFault> {
        let _permit = self.gate.enter(source.node.as_deref()).await;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &source.namespace);
        let how = AttachParams::default().container(&source.container).stdin(false).stdout(true).stderr(true);
        let start_limit = START_LIMIT.min(self.limits.deadline);
        let started = timeout(start_limit, pods.exec(&source.name, command, &how)).await;
        let Ok(process) = started else {
            return Err(ExecFault::NoAnswer { source_pod: source.clone(), after: start_limit });
        };
        let process = process.map_err(|error| ExecFault::before(source, error))?;
        Ok(collect(process, limit).await)
    }
}

impl Ran {
    /// The fault where the program never ran.
    fn fault(&self, source: &SourcePod) -> Result<(), ExecFault> {
        let End::Status(status) = &self.end else { return Ok(()) };
        match exit_code(status) {
            None => Err(ExecFault::of_status(source, status)),
            // How runtimes of the Docker era said that there is no such program.
            Some(126 | 127) => {
                let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
                let message = Observation::without_tool(Outcome::ToolMissing, &String::from_utf8_lossy(said)).text;
                Err(ExecFault::ToolMissing { source_pod: source.clone(), message })
            }
            Some(_) => Ok(()),
        }
    }

    /// Why a target may have no line.
    fn why(&self) -> String {
        match &self.end {
            End::Status(status) => match exit_code(status) {
                Some(code) => format!("the script ended with exit code {code} before it could tell"),
                None => format!("the exec failed: {}", status.message.as_deref().unwrap_or("no reason given")),
            },
            End::Closed => "the exec connection was closed before an answer".to_owned(),
            End::TooLong(limit) => format!("the exec did not end within {} s", limit.as_secs()),
            End::TooMuch => format!("the pod printed more than {OUTPUT_LIMIT} bytes"),
        }
    }
}

/// Reads both pipes and the status at the same time: the pipes are small, and whoever waits for one of the three alone
/// may wait for ever.
async fn collect(mut process: AttachedProcess, limit: Duration) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let started = Instant::now();
    let status = process.take_status();
    let (out, err) = (process.stdout(), process.stderr());
    let all = async {
        let mut reads =
            pin!(async { tokio::try_join!(read_capped(out, &mut stdout), read_dropping(err, &mut stderr)) });
        let mut status = pin!(async {
            match status {
                Some(status) => status.await,
                None => None,
            }
        });
        tokio::select! {
            read = &mut reads => match read {
                Ok(_) => status.await.map_or(End::Closed, |known| End::Status(Box::new(known))),
                Err(TooMuch) => End::TooMuch,
            },
            known = &mut status => match known {
                Some(known) => reads.await.map_or(End::TooMuch, |_| End::Status(Box::new(known))),
                // The connection is gone, and after an abrupt end nobody closes the pipes: take what is in them.
                None => match unconstrained(reads).now_or_never() {
                    Some(Err(TooMuch)) => End::TooMuch,
                    Some(Ok(_)) | None => End::Closed,
                },
            },
        }
    };
    let end = timeout(limit, all).await.unwrap_or(End::TooLong(limit));
    process.abort();
    Ran { stdout, stderr, end, took: started.elapsed() }
}
/// More than [`OUTPUT_LIMIT`] came.
struct TooMuch;

/// Reads to the end, or to [`OUTPUT_LIMIT`].
async fn read_capped(reader: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> Result<(), TooMuch> {
    let Some(reader) = reader else { return Ok(()) };
    let mut limited = reader.take(OUTPUT_LIMIT as u64);
    // An error here is an end: what came is kept and judged.
    let _ = limited.read_to_end(kept).await;
    if limited.limit() == 0 { Err(TooMuch) } else { Ok(()) }
}

/// Reads to the end, keeping no more than [`STDERR_LIMIT`]. It has no bound of its own: the time limit is its bound.
async fn read_dropping(reader: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> Result<(), TooMuch> {
    let Some(mut reader) = reader else { return Ok(()) };
    let mut limited = (&mut reader).take(STDERR_LIMIT as u64);
    let _ = limited.read_to_end(kept).await;
    let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    Ok(())
}

/// The exit code in a status; `None` where the program did not run.
fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_deref()?;
    causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?.message.as_deref()?.parse().ok()
}

/// What a target is reported as after a fault.
pub(super) fn of_fault(fault: &ExecFault) -> Observation {
    let cause = std::error::Error::source(fault).map(|cause| format!(": {cause}")).unwrap_or_default();
    Observation::without_tool(fault.outcome(), &format!("{fault}{cause}"))
}
