//! Nothing grows: from run to run the state, the files and the memory stay what they are, and the watcher's memory and
//! file descriptors from revision to revision.
//!
//! The short form is in the suite; the long one is `cargo test --workspace --test faults -- --ignored flat`.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::world::{Lab, NAMESPACE, Setup};
use serde_json::{Value, json};

use crate::shop::{state, turn};

/// What a process holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Kilobytes, now and at most so far.
    memory: u64,
    peak: u64,
    descriptors: usize,
}

impl Held {
    /// Of a process that runs.
    fn of(process: u32) -> Option<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let descriptors = std::fs::read_dir(folder.join("fd")).ok()?.count();
        Some(Self { memory: number("VmRSS:")?, peak: number("VmHWM:")?, descriptors })
    }

    /// Of a process at its worst, until it ends.
    async fn most(process: Option<u32>) -> Self {
        let mut most = Self::default();
        while let Some(now) = process.and_then(Self::of) {
            most.peak = most.peak.max(now.peak);
            most.descriptors = most.descriptors.max(now.descriptors);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    }
}

/// What one run left and took.
#[derive(Debug, Clone, Copy)]
struct After {
    state: usize,
    held: Held,
}

/// A figure of a run.
type Measure = fn(&After) -> u64;

/// The mean of a tenth of the runs.
fn mean(runs: &[After], what: impl Fn(&After) -> u64) -> u64 {
    runs.iter().map(what).sum::<u64>() / u64::try_from(runs.len()).unwrap_or(1).max(1)
}

/// Merges and runs so many times, back and forth between two sets of policies.
async fn runs(count: usize) -> Result<()> {
    let lab = Lab::start(Setup::default()).await?;
    lab.first_run().await?;
    let mut all = Vec::new();
    for number in 0..count {
        lab.git.write("README.md", &format!("Text {number}\n"));
        if number % 2 == 0 {
            crate::shop::edit_open(&lab)?;
        } else {
            lab.git.replace(crate::shop::SHOP, &e2e::rules::egress(6432), "")?;
            lab.git.replace(e2e::rules::STORE, &e2e::rules::ingress("web", 6432), "")?;
        }
        let commit = lab.merge(&format!("Merge {number}")).await?;
        let started = lab.start_for(&commit)?;
        let held = tokio::spawn(Held::most(started.process()));
        started.wait().await?.expect(0).with_context(|| format!("run {number}"))?;
        let left = lab.verifier.left_behind()?;
        ensure!(left.is_empty(), "run {number} left {left:?}");
        all.push(After { state: state(&lab)?.to_string().len(), held: held.await? });
    }
    let part = (count / 5).max(2);
    let (first, last) = (all.get(..part).context("too few")?, all.get(count - part..).context("too few")?);
    let measures: [(&str, Measure, u64); 3] = [
        // Kilobytes: a process of its own for each run cannot leak into the next, but what it reads could grow.
        ("peak memory", |after| after.held.peak, 2_048),
        ("descriptors", |after| u64::try_from(after.held.descriptors).unwrap_or(u64::MAX), 6),
        ("bytes of state", |after| after.state as u64, 256),
    ];
    for (name, measure, slack) in measures {
        let (before, after) = (mean(first, measure), mean(last, measure));
        println!("{count} runs: {name} {before} at first, {after} at last");
        ensure!(after <= before + slack, "{name} grew from {before} to {after} over {count} runs");
    }
    Ok(())
}

/// A watcher sees so many revisions, each of which it starts a Job for that ends at once.
async fn revisions(count: usize) -> Result<()> {
    let lab = Lab::start(Setup::default()).await?;
    lab.first_run().await?;
    let mut command = lab.watcher()?;
    let log = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.reopen()?);
    let mut watcher = command.kill_on_drop(true).spawn()?;
    let process = watcher.id().context("it ended at once")?;
    let mut held = Vec::new();
    for number in 0..count {
        lab.git.write("README.md", &format!("Text {number}\n"));
        let commit = lab.merge(&format!("Merge {number}")).await?;
        let job = started(&lab, &commit).await.with_context(|| format!("revision {number}"))?;
        finished(&lab, &job, &commit)?;
        held.push(Held::of(process).context("the watcher ended")?);
    }
    watcher.kill().await?;
    let log = std::fs::read_to_string(log.path())?;
    ensure!(!log.contains("forbidden"), "its role lets it see all that it looks at: {log}");
    // What it needs for its work is there after the first few.
    let warm = (count / 4).max(3);
    let settled = held.get(..warm).context("too few")?;
    let before = settled.iter().fold(Held::default(), |most, now| Held {
        memory: most.memory.max(now.memory),
        descriptors: most.descriptors.max(now.descriptors),
        ..most
    });
    let after = held.last().copied().unwrap_or_default();
    println!("{count} revisions: {before:?} at first, {after:?} at last");
    ensure!(after.memory <= before.memory + 2_048, "memory grew: {before:?} {after:?}");
    ensure!(after.descriptors <= before.descriptors + 2, "descriptors grew: {before:?} {after:?}");
    Ok(())
}

/// The Job that the watcher started for a commit.
async fn started(lab: &Lab, commit: &str) -> Result<Value> {
    for _ in 0..600 {
        let jobs = lab.api.all("jobs.batch");
        if let Some(job) = jobs.into_iter().find(|job| job.to_string().contains(commit)) {
            return Ok(job);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("no Job for {commit} within 30 s")
}

/// The Job has ended, and the state says that the commit is checked: the run itself is not what this is about.
fn finished(lab: &Lab, job: &Value, commit: &str) -> Result<()> {
    let done = json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]});
    lab.api.set_status(job, &done).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    let mut object = state(lab)?;
    crate::state::rewritten(&mut object, |state| {
        state["checked"]["kustomizations"][0]["revision"] = json!(e2e::flux::revision(commit));
        state["checked"]["job"] = job.pointer("/metadata/name").cloned().unwrap_or_default();
        state["seq"] = json!(state["seq"].as_u64().unwrap_or_default() + 1);
    })?;
    lab.put(&object)?;
    // Old Jobs go, as their time to live has them do.
    let name = job.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let kind = lab.api.kind_of(job).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    lab.api.store(|store| store.delete(&kind, NAMESPACE, name)).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    Ok(())
}

fn wait_for(what: impl Future<Output = Result<()>>) -> Result<()> {
    let _turn = turn();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(what)
}

#[test]
fn eight_runs_leave_nothing_behind() -> Result<()> {
    wait_for(runs(8))
}

#[test]
fn a_watcher_does_not_grow_over_thirty_revisions() -> Result<()> {
    wait_for(revisions(30))
}

#[test]
#[ignore = "takes a quarter of an hour: the long form of the runs"]
fn two_hundred_runs_leave_nothing_behind() -> Result<()> {
    wait_for(runs(200))
}

#[test]
#[ignore = "takes minutes: the long form of the watcher's"]
fn a_watcher_does_not_grow_over_two_hundred_revisions() -> Result<()> {
    wait_for(revisions(200))
}
