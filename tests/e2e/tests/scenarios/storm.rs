//! Merges in a storm: the watcher dies, Flux' source-controller and the API server restart, people push and push back.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{Scene, Setup, eventually, flux, objects, objects::text, poll::seconds, scenario};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::edits::{open_both_sides, short};

const MERGES: usize = 20;
/// Within so long.
const SPAN: Duration = Duration::from_secs(180);
/// Before these merges the watcher is killed, source-controller restarts, the API server restarts.
const KILLS: [usize; 5] = [2, 6, 10, 14, 18];
const SOURCE: usize = 8;
const SERVER: usize = 12;

/// A revision that Flux said to be Ready, and when.
#[derive(Debug, Clone)]
struct Ready {
    revision: String,
    at: Timestamp,
}

/// What one Job ended with.
#[derive(Debug)]
struct Ran {
    job: String,
    applied: String,
    verdict: String,
    started: Timestamp,
    finished: Timestamp,
}

/// Random enough, and printed to be drawn again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Tries again while the API server is away.
async fn patiently<T>(what: &str, mut act: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually(what, seconds(60), async || Ok(act().await.ok())).await
}

/// The test's own watch: each revision that Ready stands for, in order.
fn ready_revisions(scene: &Scene) -> Arc<Mutex<Vec<Ready>>> {
    let seen = Arc::new(Mutex::new(Vec::<Ready>::new()));
    let (into, name) = (Arc::clone(&seen), scene.flux.name.clone());
    let api = objects::api(&scene.cluster.client, "kustomize.toolkit.fluxcd.io/v1", "Kustomization", flux::NAMESPACE);
    let note = move |object: &DynamicObject| {
        let status = object.data.get("status").cloned().unwrap_or_default();
        let conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_ready = conditions.iter().any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True");
        let revision = text(&status, "/lastAppliedRevision").to_owned();
        if let Ok(mut seen) = into.lock()
            && is_ready
            && seen.last().is_none_or(|last| last.revision != revision)
        {
            seen.push(Ready { revision, at: Timestamp::now() });
        }
    };
    tokio::spawn(async move {
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        loop {
            if let Ok(events) = api.watch(&only, "0").await {
                let mut events = events.boxed();
                while let Some(Ok(event)) = events.next().await {
                    if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                        note(&object);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    seen
}

/// What happens before a merge.
async fn disturb(scene: &Scene, merge: usize) -> Result<()> {
    if KILLS.contains(&merge) {
        patiently("the watcher is killed", async || scene.signal_watcher("SIGKILL").await).await?;
    }
    if merge == SOURCE {
        scene.restart_flux("source-controller").await?;
    }
    if merge == SERVER {
        scene.cluster.server("restart", "kube-apiserver").await?;
    }
    Ok(())
}

/// All merges; gives the commit that `main` stands at in the end.
async fn push(scene: &Scene, dice: &mut Dice) -> Result<String> {
    let mut commits = vec![scene.first_commit.clone()];
    let pause = u64::try_from(SPAN.as_millis())? / u64::try_from(MERGES)?;
    for merge in 0..MERGES {
        tokio::time::sleep(Duration::from_millis(dice.below(2 * pause))).await;
        disturb(scene, merge).await?;
        if merge % 5 == 4 {
            let back = usize::try_from(dice.below(u64::try_from(commits.len())?))?;
            let older = commits.get(back).context("an older commit")?.clone();
            scene.git.force_back_to(&older).await?;
            commits.push(older);
        } else {
            open_both_sides(scene, 7000 + u16::try_from(merge)?)?;
            commits.push(scene.git.merge(&format!("Merge {merge}")).await?);
        }
        patiently("Flux is asked to fetch", async || scene.flux.fetch().await).await?;
    }
    commits.pop().context("there were merges")
}

/// What each Job of the watcher ended with, oldest first.
async fn runs(scene: &Scene) -> Result<Vec<Ran>> {
    let mut runs = Vec::new();
    for name in scene.jobs().await? {
        let finished = scene.verifier.wait(&e2e::Started { name: name.clone() }).await?;
        // A run that found its revision checked by another one has nothing to report.
        let Ok(report) = finished.report() else { continue };
        let kustomization = report.kustomizations.first().context("one Kustomization")?;
        runs.push(Ran {
            job: name,
            applied: kustomization.applied.clone().unwrap_or_default(),
            verdict: report.verdict.clone(),
            started: report.started.parse()?,
            finished: report.finished.parse()?,
        });
    }
    runs.sort_by_key(|run| run.started);
    Ok(runs)
}

#[test]
#[ignore = "four minutes, and it restarts the API server: by hand"]
fn every_revision_of_a_storm_is_verified_once_or_adopted() -> Result<()> {
    let setup = Setup { alone: true, config: json!({"flux": {"wait": "60s", "stuck": "5m"}}), ..Setup::default() };
    scenario(setup, async |scene| {
        let seed = u64::try_from(Timestamp::now().as_millisecond())?;
        println!("seed {seed}");
        keep_all_jobs(scene).await?;
        let seen = ready_revisions(scene);
        scene.watchers(1).await?;
        let newest = push(scene, &mut Dice(seed)).await?;
        scene.flux.apply(&newest).await?;
        let story = eventually("the newest revision is told, and all Jobs have ended", seconds(120), async || {
            let messages = scene.room.top().await?;
            let told = messages.last().is_some_and(|last| last.first_line().contains(&short(&newest)));
            Ok((told && idle(scene).await?).then_some(messages))
        })
        .await?;
        let ready = seen.lock().map_err(|_| anyhow!("the watch panicked"))?.clone();
        let runs = runs(scene).await?;
        for one in &ready {
            let own = runs.iter().find(|run| run.applied == one.revision && run.finished >= one.at);
            let by = own.or_else(|| runs.iter().find(|run| run.finished >= one.at));
            let by = by.with_context(|| format!("nobody looked at {} or later: {runs:?}", one.revision))?;
            let (how, sha) = if own.is_some() { ("own", sha(one)) } else { ("adopted", sha(one)) };
            let message = story.iter().filter(|message| message.first_line().contains(&short(&sha))).count();
            println!("{} | {} | {} ({how}) | {} | {message}", short(&sha), one.at, by.job, by.verdict);
        }
        for pair in runs.windows(2) {
            let [before, after] = pair else { continue };
            let again = before.applied == after.applied
                && !ready.iter().any(|one| one.revision == after.applied && one.at > before.started);
            ensure!(!again, "run twice: {before:?} {after:?}");
        }
        let last = runs.last().context("there were runs")?;
        ensure!(last.applied == flux::revision(&newest) && last.verdict == "verified", "{last:?}");
        // A run that finds what the one before it has told, since people pushed back in between, is silent.
        let told = runs.chunk_by(|before, after| before.applied == after.applied).count();
        ensure!(story.len() == told, "one message for each run with news: {} of {told}", story.len());
        Ok(())
    })
}

fn sha(ready: &Ready) -> String {
    ready.revision.rsplit(':').next().unwrap_or_default().to_owned()
}

/// The CronJob's controller tidies up after its own limits; here all Jobs are wanted.
async fn keep_all_jobs(scene: &Scene) -> Result<()> {
    let change = json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"namespace": scene.verifier.namespace(), "name": "netpol-verify"},
        "spec": {"successfulJobsHistoryLimit": 100, "failedJobsHistoryLimit": 100},
    });
    objects::merge_patch(&scene.cluster.client, &change).await
}

async fn idle(scene: &Scene) -> Result<bool> {
    let kind = objects::Kind("batch/v1", "Job");
    let jobs = objects::list(&scene.cluster.client, &kind, scene.verifier.namespace(), "").await?;
    Ok(jobs.iter().all(|job| job.pointer("/status/active").is_none_or(|active| active == 0)))
}
