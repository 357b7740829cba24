//! A host outside by its name: the pods' own DNS says where it is, and says another place between two runs.

use anyhow::{Context, Result, ensure};
use e2e::{Scene, Setup, objects, scenario};
use serde_json::json;

use crate::edits::{SHOP, append, cut};

/// A host outside the cluster (`tests/cluster/conf/outside-hosts`), where it is, and where it moves to.
const HOST: &str = "pg01.planapulse.com";
const PORT: u16 = 5432;
const OLD: &str = "192.168.78.11";
const NEW: &str = "192.168.78.12";

fn rule(address: &str) -> String {
    format!("  - to:\n    - ipBlock: {{cidr: {address}/32}}\n    ports:\n    - {{protocol: TCP, port: {PORT}}}\n")
}

/// Lets the cluster's DNS say another address of the host; its pods are new ones then, so that nobody waits for a
/// reload.
async fn move_host(scene: &Scene, from: &str, to: &str) -> Result<()> {
    let (namespace, name) = ("kube-system", "coredns");
    let zone =
        scene.cluster.kubectl(&["get", "configmap", name, "-n", namespace, "-o", "jsonpath={.data.world}"]).await?;
    let moved: Vec<String> =
        zone.lines().map(|line| if line.contains(HOST) { line.replace(from, to) } else { line.to_owned() }).collect();
    ensure!(moved.iter().any(|line| line.contains(HOST) && line.contains(to)), "{HOST} is not at {from}:\n{zone}");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name},
        "data": {"world": format!("{}\n", moved.join("\n"))}});
    objects::merge_patch(&scene.cluster.client, &map).await?;
    scene.cluster.kubectl(&["rollout", "restart", "deployment/coredns", "-n", namespace]).await?;
    scene.cluster.kubectl(&["rollout", "status", "deployment/coredns", "-n", namespace, "--timeout=90s"]).await?;
    Ok(())
}

#[test]
fn a_name_that_moves_is_told_and_followed() -> Result<()> {
    // The cluster's DNS is everybody's.
    let config = json!({"destinations": [{"name": HOST, "ports": [PORT]}]});
    scenario(Setup { alone: true, config, ..Setup::default() }, async |scene| {
        append(scene, SHOP, &rule(OLD))?;
        scene.first_run().await?.expect(0)?;
        let played = story(scene).await;
        // Whatever came of it: the next scene finds the host where it was.
        move_host(scene, NEW, OLD).await.or_else(|fault| if played.is_ok() { Err(fault) } else { Ok(()) })?;
        played
    })
}

async fn story(scene: &Scene) -> Result<()> {
    let commit = scene.merge("Let the shop use pg01").await?;
    scene.verifier.run_for(&commit).await?;
    move_host(scene, OLD, NEW).await?;
    let run = scene.verifier.run_scheduled().await?;
    let report = run.expect(1)?;
    let finding = report.findings("moved-name").into_iter().find(|f| f.severity == "error");
    let finding = finding.with_context(|| format!("nobody says that it moved: {report}"))?;
    ensure!(finding.message.contains(&format!("{HOST} moved to {NEW}")), "{}", finding.message);
    ensure!(finding.message.contains(&format!("still allows {OLD}/32 ({SHOP}:")), "{}", finding.message);
    let message = scene.room.last().await?;
    ensure!(message.body.contains(&format!("moved to {NEW}")), "{}", message.body);
    let known = scene.room.last().await?.body;
    scene.verifier.run_scheduled().await?.expect(1)?;
    ensure!(scene.room.last().await?.body == known, "it is told once");
    cut(scene, SHOP, &rule(OLD))?;
    append(scene, SHOP, &rule(NEW))?;
    let report = scene.merge_and_run("Follow pg01").await?;
    ensure!(report.report()?.findings("moved-name").is_empty(), "the policy followed: {}", report.report()?);
    Ok(())
}
