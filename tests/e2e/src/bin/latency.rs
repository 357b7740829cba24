//! How long a merge takes from Flux's Ready to the message in the room, on the test cluster: five changed flows, two of
//! them denied. Prints each run's parts and, at the end, p50 and p95.
//!
//!     make cluster image && cargo run -p e2e --bin latency -- 20

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
    let runs: usize = match std::env::args().nth(1).map_or(Ok(20), |count| count.parse()) {
        Ok(runs) => runs,
        Err(error) => {
            eprintln!("the number of runs: {error}");
            return ExitCode::from(2);
        }
    };
    match scenario(Setup { alone: true, ..Setup::default() }, async |scene| measure(scene, runs).await) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(scene: &Scene, runs: usize) -> Result<()> {
    let (shop, store) = (scene.git.read(SHOP)?, scene.git.read(STORE)?);
    let open = |ports: &[u16]| -> Result<()> {
        let egress: String = ports.iter().map(|port| egress(*port)).collect();
        let ingress: String = ports.iter().map(|port| ingress("web", *port)).collect();
        scene.git.write(SHOP, &(shop.clone() + &scene.text(&egress)))?;
        scene.git.write(STORE, &(store.clone() + &scene.text(&ingress)))
    };
    open(&BEFORE)?;
    scene.merge("Open two flows").await?;
    scene.first_run().await?;
    let mut took = Vec::new();
    for run in 1..=runs {
        open(&AFTER)?;
        took.push(one(scene, run).await?);
        open(&BEFORE)?;
        scene.merge_and_run("And back").await?.expect(0)?;
    }
    took.sort();
    let at =
        |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    println!("Ready → message: p50 {:.1} s, p95 {:.1} s of {runs} runs", at(50).as_secs_f64(), at(95).as_secs_f64());
    Ok(())
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
