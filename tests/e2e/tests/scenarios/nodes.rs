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

/// Where Flux's artifacts are served, and another node: one that does not follow lets no new pod to what it serves.
async fn fresh_and_stale(scene: &Scene) -> Result<(String, String)> {
    let place = "jsonpath={.items[0].spec.nodeName}";
    let of_flux = ["get", "pods", "-n", "flux-system", "-l", "app=source-controller", "-o", place];
    let fresh = scene.cluster.kubectl(&of_flux).await?.trim().to_owned();
    let stale = scene.cluster.nodes()?.into_iter().find(|node| *node != fresh).context("there is no other node")?;
    Ok((fresh, stale.to_owned()))
}

#[test]
fn a_node_whose_enforcer_is_frozen_lets_through_what_the_other_denies() -> Result<()> {
    // Nothing passes at all while kube-network-policies is frozen: it decides on each first packet itself.
    let data_planes = &[DataPlane::Calico, DataPlane::KubeRouter];
    scenario(Setup { alone: true, nodes: 2, data_planes, ..Setup::default() }, async |scene| {
        scene.one_on_each_node(DB.0, "db").await?;
        let (fresh, stale) = &fresh_and_stale(scene).await?;
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
        let (fresh, stale) = &fresh_and_stale(scene).await?;
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
                    flow.result == "enforcement" && flow.only_on == [stale.clone()],
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
