//! Two nodes, one of which no longer follows the policies. Seen by packets alone: it is the ground that other claims stand on.

use anyhow::{Context as _, Result, ensure};
use e2e::{DataPlane, Scene, Setup, eventually, poll::seconds, scenario};

use crate::edits::{DB, SESSIONS_INGRESS, STORE, WEB, cut, web_to_db};

/// Waits until `web` reaches the database on a node, or until it does not.
async fn wait_until(scene: &Scene, open: bool, node: &str) -> Result<()> {
    let address = scene.address_on(node, DB.0, DB.1).await?;
    let what = format!("the database on {node} is {}", if open { "open" } else { "closed" });
    eventually(
        &what,
        seconds(10),
        async || Ok((scene.opens(WEB.0, WEB.1, &address, 6379).await? == open).then_some(())),
    )
    .await
}

#[test]
fn a_node_whose_enforcer_is_frozen_lets_through_what_the_other_denies() -> Result<()> {
    // Nothing passes at all while kube-network-policies is frozen: it decides on each first packet itself.
    let data_planes = &[DataPlane::Calico, DataPlane::KubeRouter];
    scenario(Setup { alone: true, nodes: 2, data_planes, ..Setup::default() }, async |scene| {
        scene.one_on_each_node(DB.0, "db").await?;
        let nodes = scene.cluster.nodes()?;
        let (fresh, stale) = (nodes.first().context("no node")?, nodes.last().context("no node")?);
        for node in [fresh, stale] {
            wait_until(scene, true, node).await?;
        }
        scene
            .while_stale(stale, async || {
                cut(scene, STORE, SESSIONS_INGRESS)?;
                scene.merge("Close the sessions").await?;
                wait_until(scene, false, fresh).await?;
                let address = scene.address_on(stale, DB.0, DB.1).await?;
                ensure!(scene.opens(WEB.0, WEB.1, &address, 6379).await?, "{stale} follows though it is frozen");
                Ok(())
            })
            .await?;
        wait_until(scene, false, stale).await
    })
}

#[test]
fn a_sweep_names_the_node_whose_enforcer_is_frozen() -> Result<()> {
    scenario(Setup { alone: true, nodes: 2, ..Setup::default() }, async |scene| {
        scene.one_on_each_node(DB.0, "db").await?;
        scene.first_run().await?;
        // The control: with every node alive a sweep finds nothing, and the room hears nothing.
        let told = scene.room.top().await?.len();
        scene.verifier.run_sweep().await?.expect(0)?;
        ensure!(scene.room.top().await?.len() == told, "a sweep that finds nothing says nothing");
        let nodes = scene.cluster.nodes()?;
        let (fresh, stale) = (nodes.first().context("no node")?, nodes.last().context("no node")?);
        scene
            .while_stale(stale, async || {
                cut(scene, STORE, SESSIONS_INGRESS)?;
                scene.merge("Close the sessions").await?;
                wait_until(scene, false, fresh).await?;
                let run = scene.verifier.run_sweep().await?;
                let report = run.expect(1)?;
                let flow = web_to_db(scene, report, 6379);
                ensure!((flow.declared.as_str(), flow.observed.as_str()) == ("denied", "open"), "{report}");
                ensure!(
                    flow.result == "enforcement" && flow.only_on == [stale.to_owned()],
                    "{:?}: {report}",
                    flow.only_on
                );
                let message = scene.room.last().await?;
                ensure!(message.body.contains(&format!("Node {stale} only")), "{}", message.body);
                Ok(())
            })
            .await?;
        wait_until(scene, false, stale).await?;
        scene.verifier.run_sweep().await?.expect(0)?;
        Ok(())
    })
}
