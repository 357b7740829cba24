//! The way to the artifact is the customer's: Flux's own policies let nobody in from elsewhere, and `job/` ships the one
//! that lets the verifier in.

use anyhow::{Context, Result};
use e2e::{
    DataPlane, Scene, Setup, eventually, flux,
    objects::{self, text},
    poll::seconds,
    scenario,
};
use serde_json::{Value, json};

use crate::edits::{assert_opens, open_both_sides, web_to_db};

fn everywhere() -> Setup {
    Setup { data_planes: DataPlane::ALL, ..Setup::default() }
}

/// The shipped policy that stands in Flux's namespace.
fn shipped(scene: &Scene) -> Result<&Value> {
    let mut objects = scene.verifier.objects().iter();
    let is_it = |object: &&Value| {
        text(object, "/kind") == "NetworkPolicy" && text(object, "/metadata/namespace") == flux::NAMESPACE
    };
    objects.find(is_it).context("job/ ships no policy for Flux's namespace")
}

#[test]
fn without_the_shipped_policy_the_artifact_cannot_be_had_and_the_run_says_so() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.first_run().await?;
        let (client, policy) = (&scene.cluster.client, shipped(scene)?);
        objects::delete(client, policy).await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let run = scene.verifier.run_for(&commit).await?;
        let report = run.expect(3)?;
        assert_eq!(report.verdict, "inconclusive");
        assert!(report.flows.is_empty(), "nothing is known, so nothing is probed: {report}");
        let message = scene.room.last().await?;
        assert_opens(&message, "⚠", &commit);
        let cause = "does a NetworkPolicy let this pod in?";
        assert!(message.body.contains("source-controller.flux-system"), "where: {}", message.body);
        assert!(message.body.contains(cause), "what to look for: {}", message.body);

        objects::apply(client, policy).await?;
        let run = scene.verifier.run_for(&commit).await?;
        assert_eq!(web_to_db(scene, run.expect(0)?, 6432).observed, "open", "the policy was what it lacked");
        Ok(())
    })
}

const STRANGER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: xx-stranger}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: xx-stranger, labels: {app: stranger}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: 'registry.local/netcat:test', imagePullPolicy: Never, args: [sleep 1000000]}]
";

/// What the other scenarios take for granted: it is Flux that keeps its artifacts, not a lack of ways.
#[test]
fn flux_gives_its_metrics_to_everybody_and_its_artifacts_to_nobody() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.apply(STRANGER).await?;
        scene.wait_until_ready("stranger").await?;
        let pods = objects::list(&scene.cluster.client, &objects::POD, flux::NAMESPACE, "app=source-controller");
        let pods = pods.await?;
        let address = text(pods.first().context("source-controller runs")?, "/status/podIP");
        let opens = async |port| scene.opens("stranger", "app=stranger", address, port).await;
        eventually("metrics can be had", seconds(10), async || Ok(opens(8080).await?.then_some(()))).await?;
        assert!(!opens(9090).await?, "an artifact can be had");
        Ok(())
    })
}

/// `flux install --network-policy=false`: the shipped policy is the only one that selects source-controller.
#[test]
fn where_flux_has_no_policies_the_shipped_one_cuts_no_controller_off() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        let client = &scene.cluster.client;
        let labels = "app.kubernetes.io/part-of=flux";
        let own = objects::list(client, &objects::NETWORK_POLICY, flux::NAMESPACE, labels).await?;
        assert_eq!(own.len(), 3, "Flux's own: {own:?}");
        for policy in &own {
            objects::delete(client, policy).await?;
        }
        let played = async {
            open_both_sides(scene, 6432)?;
            scene.merge_and_run("Let the shop use pgbouncer").await?.expect(0).map(drop)
        }
        .await;
        for policy in &own {
            let (name, labels) = (text(policy, "/metadata/name"), &policy["metadata"]["labels"]);
            let again = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": policy["spec"],
                "metadata": {"namespace": flux::NAMESPACE, "name": name, "labels": labels},
            });
            objects::apply(client, &again).await?;
        }
        played
    })
}
