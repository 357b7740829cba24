//! How long a merge takes to verify that changes 1,000 flows, half of which it closes: 100 source pods, ten targets each.
//! Beside it, what a person would need who asked the same with one `kubectl exec` after the other (a sample of it).
//!
//! ```text
//! make cluster image && cargo run -p e2e --bin scale -- 3        three merges, back and forth
//! ```

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Finished, Scene, Setup, eventually, objects::text, scenario};
use tokio::sync::Notify;

const SOURCES: usize = 100;
const TARGETS: usize = 10;
/// The policy whose subject each merge turns round.
const POLICY: &str = "infra/k8s/network-policies/shelf.yaml";
/// Flows that are asked one by one; half of them are closed.
const SAMPLE: usize = 20;

fn main() -> ExitCode {
    let runs = std::env::args().nth(1).map_or(Ok(3), |text| text.parse::<usize>());
    let Ok(runs) = runs else {
        eprintln!("usage: scale [MERGES]");
        return ExitCode::from(2);
    };
    let setup = Setup { fixture: "e2e/fixtures/many", alone: true, ..Setup::default() };
    match scenario(setup, async |scene| measure(scene, runs).await) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(scene: &Scene, runs: usize) -> Result<()> {
    let began = Instant::now();
    scene.apply(&pods()).await?;
    eventually("all pods are ready", Duration::from_secs(400), async || {
        let all = [scene.pods("many", "").await?, scene.pods("shelf", "").await?].concat();
        let is_ready = |pod: &&serde_json::Value| {
            let conditions = pod.pointer("/status/conditions").and_then(|all| all.as_array());
            conditions.into_iter().flatten().any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True")
        };
        Ok((all.iter().filter(is_ready).count() == SOURCES + TARGETS).then_some(()))
    })
    .await?;
    println!("{} pods were ready after {:.0} s", SOURCES + TARGETS, began.elapsed().as_secs_f64());
    scene.first_run().await?;
    let mut fastest = f64::MAX;
    for run in 1..=runs {
        let open = if run % 2 == 1 { "odd" } else { "even" };
        fastest = fastest.min(one(scene, run, open).await?);
    }
    let each = one_by_one(scene, if runs % 2 == 1 { "odd" } else { "even" }).await?;
    let flows = u32::try_from(SOURCES * TARGETS)?;
    let whole = (each * flows).as_secs_f64();
    println!(
        "one kubectl exec after the other: {:.2} s each ({SAMPLE} tried), {whole:.0} s for all",
        each.as_secs_f64()
    );
    println!("the fastest run took 1/{:.0} of it", whole / fastest);
    Ok(())
}

/// One merge that turns all flows round. Gives the seconds from the run's start to its report.
async fn one(scene: &Scene, run: usize, open: &str) -> Result<f64> {
    let other = if open == "odd" { "even" } else { "odd" };
    scene.git.write(POLICY, &scene.git.read(POLICY)?.replace(&format!("half: {other}"), &format!("half: {open}")))?;
    let commit = scene.merge("Open the other half").await?;
    let audit = scene.audit()?;
    let stop = Arc::new(Notify::new());
    let memory = tokio::spawn(peak(scene.cluster.clone(), Arc::clone(&stop)));
    let ended = ended(scene, &commit).await?;
    stop.notify_one();
    let report = ended.expect(0)?;
    let closed = report.flows.iter().filter(|flow| flow.declared == "denied").count();
    ensure!(report.flows.len() >= SOURCES * TARGETS, "{} flows were changed", report.flows.len());
    ensure!(closed * 2 >= report.flows.len(), "{closed} flows are closed");
    // An exec has a line when it begins, too.
    let lines = audit.lines()?.into_iter();
    let requests: Vec<String> = lines.filter(|line| line.contains(r#""stage":"ResponseComplete""#)).collect();
    let execs = requests.iter().filter(|line| line.contains(r#""subresource":"exec""#)).count();
    let took = seconds(&report.started, &report.finished).context("the report's times")?;
    println!(
        "merge {run}: {} flows, {closed} closed: {took:.0} s from the run's start to its report; {} API requests, {execs} of \
         them execs; {} MB at most",
        report.flows.len(),
        requests.len(),
        memory.await?? / 1024,
    );
    Ok(took)
}

/// The end of a run that may take longer than those of small scenes.
async fn ended(scene: &Scene, commit: &str) -> Result<Finished> {
    let job = scene.verifier.start_for(commit).await?;
    for _ in 0..4 {
        if let Ok(ended) = scene.verifier.wait(&job).await {
            return Ok(ended);
        }
    }
    scene.verifier.wait(&job).await
}

/// The most memory in KiB that a verifier's process has had resident, until somebody says stop.
async fn peak(cluster: Cluster, stop: Arc<Notify>) -> Result<u64> {
    let look =
        "for s in /proc/[0-9]*/status; do grep -q '^Name:.netpol-verify$' $s 2>/dev/null && grep VmHWM $s; done; true";
    let mut most = 0;
    let mut stopped = std::pin::pin!(stop.notified());
    loop {
        let said = cluster.inside(&["sh", "-c", look]).await.unwrap_or_default();
        let numbers = said.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        most = numbers.fold(most, u64::max);
        tokio::select! {
            () = &mut stopped => return Ok(most),
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    }
}

/// The mean time of `kubectl exec … nc -zvnw2`, over as many closed flows as open ones.
async fn one_by_one(scene: &Scene, open: &str) -> Result<Duration> {
    let address = async |half: &str| -> Result<String> {
        let pods = scene.pods("shelf", &format!("half={half}")).await?;
        Ok(pods.first().map(|pod| text(pod, "/status/podIP").to_owned()).unwrap_or_default())
    };
    let other = if open == "odd" { "even" } else { "odd" };
    let (open, closed) = (address(open).await?, address(other).await?);
    let namespace = scene.namespace("many");
    let began = Instant::now();
    for number in 0..SAMPLE {
        let (pod, is_open) = (format!("p{number}"), number % 2 == 0);
        let address = if is_open { &open } else { &closed };
        let command = ["exec", "-n", &namespace, &pod, "--", "nc", "-zvnw2", address, "8080"];
        ensure!(scene.cluster.kubectl(&command).await.is_ok() == is_open, "{pod} to {address}");
    }
    Ok(began.elapsed() / u32::try_from(SAMPLE)?)
}

fn pods() -> String {
    let pod = |namespace: &str, name: &str, labels: &str, serve: &str| {
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  containers:
  - name: main
    image: registry.local/netcat:test
    imagePullPolicy: Never
    args: [{serve}]
    ports: [{{containerPort: 8080}}]
"
        )
    };
    let sources = (0..SOURCES).map(|number| pod("xx-many", &format!("p{number}"), "app: many", "/serve 8080/tcp"));
    let half = |number: usize| if number.is_multiple_of(2) { "half: even" } else { "half: odd" };
    let targets = (0..TARGETS).map(|number| pod("xx-shelf", &format!("s{number}"), half(number), "/serve 8080/tcp"));
    sources.chain(targets).collect()
}

fn seconds(started: &str, finished: &str) -> Option<f64> {
    let (started, finished): (jiff::Timestamp, jiff::Timestamp) = (started.parse().ok()?, finished.parse().ok()?);
    Some(finished.duration_since(started).as_secs_f64())
}
