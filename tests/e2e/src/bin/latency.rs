//! How long a merge takes to become a message in the room, on the test cluster: five changed flows, two of them denied.
//! Prints each run's parts and, at the end, p50 and p95.
//!
//! ```text
//! make cluster image && cargo run -p e2e --bin latency -- 20            from Flux's Ready, one Job at a time
//! make cluster image && cargo run -p e2e --bin latency -- 20 watched    from the push, with the watcher
//! ```

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Scene, Setup,
    rules::{SHOP, STORE, egress, ingress},
    scenario,
};

/// Ports that are open before the measured merge, and after it: it closes two flows and opens three.
const BEFORE: [u16; 2] = [7001, 7002];
const AFTER: [u16; 3] = [7003, 7004, 7005];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (runs, watched) = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => (Ok(20), false),
        [runs] => (runs.parse::<usize>(), false),
        [runs, "watched"] => (runs.parse::<usize>(), true),
        _ => {
            eprintln!("usage: latency [RUNS [watched]]");
            return ExitCode::from(2);
        }
    };
    let runs = match runs {
        Ok(runs) => runs,
        Err(error) => {
            eprintln!("the number of runs: {error}");
            return ExitCode::from(2);
        }
    };
    let setup = Setup { alone: true, ..Setup::default() };
    let measured =
        scenario(
            setup,
            async |scene| {
                if watched { with_the_watcher(scene, runs).await } else { measure(scene, runs).await }
            },
        );
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The rules that a merge leaves in Git.
struct Rules {
    shop: String,
    store: String,
}

impl Rules {
    fn of(scene: &Scene) -> Result<Self> {
        Ok(Self { shop: scene.git.read(SHOP)?, store: scene.git.read(STORE)? })
    }

    fn open(&self, scene: &Scene, ports: &[u16]) -> Result<()> {
        let egress: String = ports.iter().map(|port| egress(*port)).collect();
        let ingress: String = ports.iter().map(|port| ingress("web", *port)).collect();
        scene.git.write(SHOP, &(self.shop.clone() + &scene.text(&egress)))?;
        scene.git.write(STORE, &(self.store.clone() + &scene.text(&ingress)))
    }
}

async fn measure(scene: &Scene, runs: usize) -> Result<()> {
    let rules = Rules::of(scene)?;
    rules.open(scene, &BEFORE)?;
    scene.merge("Open two flows").await?;
    scene.first_run().await?;
    let mut took = Vec::new();
    for run in 1..=runs {
        rules.open(scene, &AFTER)?;
        took.push(one(scene, run).await?);
        rules.open(scene, &BEFORE)?;
        scene.merge_and_run("And back").await?.expect(0)?;
    }
    summary("Ready → message", took);
    Ok(())
}

/// Merges as they are made: pushed, found by Flux, applied, and the rest left to the watcher.
async fn with_the_watcher(scene: &Scene, runs: usize) -> Result<()> {
    let rules = Rules::of(scene)?;
    scene.watchers(1).await?;
    let first = scene.new_job(&[]).await?;
    scene.verifier.wait(&first).await?.expect(0)?;
    rules.open(scene, &BEFORE)?;
    let merge = scene.merge_watched("Open two flows").await?;
    scene.verifier.wait(&merge.job).await?.expect(0)?;
    let (mut shares, mut whole) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let told = scene.room.top().await?.len();
        rules.open(scene, if run % 2 == 1 { &AFTER } else { &BEFORE })?;
        let merge = scene.merge_watched("Other flows").await?;
        let message = merge.told(scene, told + 1).await?;
        scene.verifier.wait(&merge.job).await?.expect(0)?;
        let share = merge.after;
        println!("run {run:2}: {:.1} s, Ready → Job {:.3} s of it", message.as_secs_f64(), share.as_secs_f64());
        shares.push(share);
        whole.push(message);
    }
    summary("Ready → Job created", shares);
    summary("push → message", whole);
    Ok(())
}

fn summary(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at =
        |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    let (p50, p95) = (at(50).as_secs_f64(), at(95).as_secs_f64());
    println!("{what}: p50 {p50:.2} s, p95 {p95:.2} s of {} merges", took.len());
}

/// One measured merge: the time from Flux's Ready, as a watcher sees it, until the room has the message.
async fn one(scene: &Scene, run: usize) -> Result<Duration> {
    let commit = scene.merge("Close two flows, open three").await?;
    let told = scene.room.top().await?.len();
    let ready = Instant::now();
    let job = scene.verifier.start_for(&commit).await?;
    let message = loop {
        if scene.room.top().await?.len() > told {
            break ready.elapsed();
        }
        ensure!(ready.elapsed() < Duration::from_secs(120), "no message after two minutes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let ended = scene.verifier.wait(&job).await?;
    let report = ended.expect(0)?;
    ensure!(report.flows.len() == 5, "five flows changed: {report}");
    let own = span(&report.started, &report.finished).context("the report's times")?;
    println!("run {run:2}: {:.1} s, of which {own} s from the run's start to its report", message.as_secs_f64());
    Ok(message)
}

fn span(started: &str, finished: &str) -> Option<i64> {
    let (started, finished): (jiff::Timestamp, jiff::Timestamp) = (started.parse().ok()?, finished.parse().ok()?);
    Some(finished.duration_since(started).as_secs())
}
