//! A sweep by the pods of an Indexed Job: on two nodes, so that there is something to share.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use e2e::{Report, Scene, Setup, Started, eventually, objects::text, poll::seconds, report::Flow, scenario};

use crate::edits::DB;

const SETUP: fn() -> Setup = || Setup { nodes: 2, ..Setup::default() };

/// Pods of both workloads on both nodes, all seen by a run of one pod.
async fn spread(scene: &Scene) -> Result<()> {
    scene.one_on_each_node(DB.0, "db").await?;
    scene.one_on_each_node("shop", "web").await?;
    scene.first_run().await?;
    Ok(())
}

fn key(flow: &Flow) -> String {
    format!("{}→{}:{}", flow.source, flow.destination, flow.port)
}

fn keys(report: &Report) -> BTreeSet<String> {
    report.flows.iter().map(key).collect()
}

#[test]
fn several_pods_see_what_one_sees_and_the_job_ends() -> Result<()> {
    scenario(SETUP(), async |scene| {
        spread(scene).await?;
        let alone = scene.verifier.run_sweep().await?;
        scene.verifier.install_sharded(2).await?;
        let job = scene.verifier.start_sharded().await?;
        let run = scene.verifier.wait_for_first(&job).await?;
        let report = run.expect(0)?;
        ensure!(keys(report) == keys(alone.expect(0)?), "{report}");
        ensure!(report.flows.iter().all(|flow| flow.result == "verified"), "{report}");
        let sweep = report.sweep.context("it was a sweep")?;
        ensure!((sweep.pods, sweep.nodes) == (2, 2), "a pod for each node: {sweep:?}");
        ensure!(scene.room.last().await?.first_line().starts_with('✅'), "a person has asked for it: {report}");
        // The others end by themselves, and none of them has failed.
        eventually("all pods have ended well", seconds(30), async || {
            let pods = scene.verifier.pods(&job).await?;
            Ok(pods.iter().all(|pod| text(pod, "/status/phase") == "Succeeded").then_some(()))
        })
        .await
    })
}

/// Kills the pod of a Job that has a share to probe, at once; gives its index.
async fn kill_one(scene: &Scene, job: &Started) -> Result<usize> {
    let index = scene.verifier.at_work(job).await?;
    let pods = scene.verifier.pods_with_index(job, index).await?;
    let name = text(pods.first().context("no pod has this index")?, "/metadata/name").to_owned();
    scene.cluster.kubectl(&["delete", "pod", &name, "-n", scene.verifier.namespace(), "--force"]).await?;
    Ok(index)
}

#[test]
fn flows_of_a_pod_that_was_killed_come_back_pending_and_the_next_run_sees_them() -> Result<()> {
    scenario(SETUP(), async |scene| {
        spread(scene).await?;
        let alone = scene.verifier.run_sweep().await?;
        let everything = keys(alone.expect(0)?);
        scene.verifier.install_sharded(0).await?;
        let job = scene.verifier.start_sharded().await?;
        let index = kill_one(scene, &job).await?;
        let run = scene.verifier.wait_for_first(&job).await?;
        let report = run.expect(3)?;
        ensure!(keys(report) == everything, "none is lost: {report}");
        let pending: Vec<_> = report.flows.iter().filter(|flow| flow.state.as_deref() == Some("pending")).collect();
        ensure!(!pending.is_empty(), "{report}");
        let why = format!("pod {index} of the Job ended without an answer");
        for flow in &pending {
            ensure!(flow.result == "inconclusive" && flow.observed == "not-probed", "{report}");
            ensure!(flow.note.as_deref().is_some_and(|note| note.contains(&why)), "{:?}: {report}", flow.note);
        }
        let message = scene.room.last().await?;
        ensure!(message.first_line().starts_with('⚠'), "never green: {}", message.body);
        let next = scene.verifier.run_scheduled().await?;
        let report = next.expect(0)?;
        let seen = keys(report);
        ensure!(pending.iter().all(|flow| seen.contains(&key(flow))), "each is looked at: {report}");
        ensure!(report.flows.iter().all(|flow| flow.result == "verified"), "{report}");
        Ok(())
    })
}

#[test]
fn a_pod_that_was_killed_is_replaced_and_costs_no_verdict() -> Result<()> {
    scenario(SETUP(), async |scene| {
        spread(scene).await?;
        scene.verifier.install_sharded(2).await?;
        let job = scene.verifier.start_sharded().await?;
        let index = kill_one(scene, &job).await?;
        let run = scene.verifier.wait_for_first(&job).await?;
        let report = run.expect(0)?;
        ensure!(report.flows.iter().all(|flow| flow.result == "verified"), "{report}");
        ensure!(!scene.verifier.pods_with_index(&job, index).await?.is_empty(), "its successor answered");
        Ok(())
    })
}
