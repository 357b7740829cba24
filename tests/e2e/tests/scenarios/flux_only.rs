//! Runs that Flux itself starts, without the watcher: `kustomization/overlays/flux-only`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Flux, Scene, Setup, eventually,
    flux::merge,
    objects::{self, text},
    poll::seconds,
    scenario,
};
use serde_json::{Value, json};

use crate::edits::{append, close_sessions, egress, ingress, open_both_sides, short};

/// What the overlay has people put into the repository of their policies.
const SHIPPED: &str = include_str!("../../../../kustomization/overlays/flux-only/policies-repository/job.yaml");
/// Where the scene puts it.
const FOLDER: &str = "netpol-verify-run";

fn job(scene: &Scene) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"namespace": scene.verifier.namespace(), "name": "netpol-verify-merge"}})
}

/// Checks in the shipped Job, with what the test's image needs and `change`, and has Flux apply it after the policies.
async fn hand_over_to_flux(scene: &Scene, kustomization: &Value, change: &Value) -> Result<String> {
    let mut manifest = objects::parse(SHIPPED)?.pop().context("the overlay ships a Job")?;
    merge(&mut manifest, &job(scene));
    let path = "/spec/template/spec/containers/0";
    let container = manifest.pointer_mut(path).context("the Job has a container")?;
    merge(container, &json!({"image": "registry.local/netpol-verify:test", "imagePullPolicy": "Never"}));
    merge(&mut manifest, change);
    scene.git.write(&format!("{FOLDER}/job.yaml"), &serde_json::to_string_pretty(&manifest)?)?;
    let commit = scene.merge("Verify after each merge").await?;
    let mut spec = json!({
        "path": format!("./{FOLDER}"), "dependsOn": [{"name": scene.flux.name}], "interval": "10m",
        "retryInterval": "2s", "wait": false, "force": true,
    });
    merge(&mut spec, kustomization);
    let name = format!("run-{}", scene.prefix);
    Flux::create(&scene.cluster.client, &scene.git.url, &scene.flux.source, &name, &spec).await?;
    Ok(commit)
}

/// Follows the Jobs that Flux makes: their UIDs, each of which is a run.
fn follow(scene: &Scene) -> Arc<Mutex<BTreeSet<String>>> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let (client, job, into) = (scene.cluster.client.clone(), job(scene), Arc::clone(&seen));
    tokio::spawn(async move {
        loop {
            if let Ok(Some(now)) = objects::get(&client, &job).await
                && let Ok(mut seen) = into.lock()
            {
                seen.insert(text(&now, "/metadata/uid").to_owned());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    });
    seen
}

async fn told(scene: &Scene, commit: &str) -> Result<()> {
    eventually(&format!("the room is told of {}", short(commit)), seconds(90), async || {
        let messages = scene.room.top().await?;
        Ok(messages.iter().any(|one| one.first_line().contains(&short(commit))).then_some(()))
    })
    .await
}

async fn gone(scene: &Scene) -> Result<()> {
    eventually("the Job is gone", seconds(60), async || {
        Ok(objects::get(&scene.cluster.client, &job(scene)).await?.is_none().then_some(()))
    })
    .await
}

async fn end(scene: &Scene) -> Result<()> {
    let name = format!("run-{}", scene.prefix);
    objects::delete(
        &scene.cluster.client,
        &json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"namespace": e2e::flux::NAMESPACE, "name": name}}),
    )
    .await
}

#[test]
fn three_merges_lead_to_one_run_each() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let jobs = follow(scene);
        let mut commits = vec![hand_over_to_flux(scene, &json!({}), &json!({})).await?];
        told(scene, &commits[0]).await?;
        gone(scene).await?;
        for change in ["open", "half", "close"] {
            match change {
                "open" => open_both_sides(scene, 6432)?,
                "half" => append(scene, crate::edits::SHOP, &egress(9999))?,
                _ => close_sessions(scene)?,
            }
            let commit = scene.merge(change).await?;
            told(scene, &commit).await?;
            gone(scene).await?;
            commits.push(commit);
        }
        let runs = jobs.lock().map_err(|_| anyhow::anyhow!("following panicked"))?.len();
        ensure!(runs == commits.len(), "{runs} runs for {} merges", commits.len());
        let messages = scene.room.top().await?;
        for commit in &commits {
            let of = messages.iter().filter(|one| one.first_line().contains(&short(commit))).count();
            ensure!(of == 1, "{of} messages for {}: {messages:?}", short(commit));
        }
        end(scene).await
    })
}

#[test]
fn a_merge_during_the_run_is_seen_by_the_same_job() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let jobs = follow(scene);
        let commit = hand_over_to_flux(scene, &json!({}), &json!({})).await?;
        told(scene, &commit).await?;
        gone(scene).await?;
        let probing = scene.audit()?;
        close_sessions(scene)?;
        scene.merge("Sessions moved out of the database").await?;
        probing.first_exec().await?;
        append(scene, crate::edits::STORE, &ingress("web", 6432))?;
        append(scene, crate::edits::SHOP, &egress(6432))?;
        let during = scene.merge("Let the shop use pgbouncer").await?;
        told(scene, &during).await?;
        gone(scene).await?;
        let runs = jobs.lock().map_err(|_| anyhow::anyhow!("following panicked"))?.len();
        ensure!(runs == 2, "the second merge had no Job of its own: {runs}");
        end(scene).await
    })
}

/// What the overlay's README says it cannot do.
#[test]
fn a_merge_after_the_run_and_before_its_job_is_gone_waits_for_the_interval() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let (often, late) = (json!({"interval": "15s"}), json!({"spec": {"ttlSecondsAfterFinished": 20}}));
        let commit = hand_over_to_flux(scene, &often, &late).await?;
        told(scene, &commit).await?;
        eventually("the run has ended", seconds(30), async || {
            let now = objects::get(&scene.cluster.client, &job(scene)).await?.unwrap_or_default();
            Ok(now.pointer("/status/completionTime").map(drop))
        })
        .await?;
        open_both_sides(scene, 6432)?;
        let missed = scene.merge("Let the shop use pgbouncer").await?;
        let run = e2e::flux::revision(&missed);
        eventually("Flux has looked at the Job since", seconds(30), async || {
            let name = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"namespace": e2e::flux::NAMESPACE, "name": format!("run-{}", scene.prefix)}});
            let now = objects::get(&scene.cluster.client, &name).await?.unwrap_or_default();
            Ok((text(&now, "/status/lastAppliedRevision") == run).then_some(()))
        })
        .await?;
        let still = objects::get(&scene.cluster.client, &job(scene)).await?;
        ensure!(still.is_some(), "the Job went before Flux looked: the hole was not met");
        let messages = scene.room.top().await?;
        ensure!(!messages.iter().any(|one| one.first_line().contains(&short(&missed))), "nothing started a run");
        told(scene, &missed).await?;
        end(scene).await
    })
}
