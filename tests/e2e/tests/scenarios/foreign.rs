//! Policies that are not understood yet: named, and nothing that they may touch is called verified.

use crate::world::{Scene, Setup, scenario};
use anyhow::{Result, bail};

use crate::edits::{append, open_both_sides};

/// Calico's own kind; it denies one port of the store that nobody uses.
const GLOBAL: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: xx-no-telnet}
spec:
  namespaceSelector: kubernetes.io/metadata.name == 'xx-store'
  types: [Ingress]
  ingress:
  - {action: Deny, protocol: TCP, destination: {ports: [23]}}
";

async fn assert_not_understood(scene: &Scene) -> Result<()> {
    open_both_sides(scene, 6432)?;
    let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
    assert_eq!(run.code, 3, "{}", run.report()?);
    let report = run.report()?;
    let [finding] = report.findings("not-understood")[..] else { bail!("one finding: {report}") };
    assert!(finding.message.contains("no-telnet"), "{}", finding.message);
    assert!(finding.message.contains("GlobalNetworkPolicy"), "{}", finding.message);
    let names_touched =
        finding.message.contains(&scene.namespace("store")) || finding.message.contains("any namespace");
    assert!(names_touched, "the namespaces it may touch: {}", finding.message);
    assert!(report.drift.is_empty(), "what is not understood has not drifted: {report}");
    assert!(report.flows.iter().all(|flow| flow.result != "verified"), "nothing it may touch is verified: {report}");
    assert!(scene.room.last().await?.body.contains("GlobalNetworkPolicy"));
    Ok(())
}

#[test]
fn l_a_live_global_network_policy_is_not_understood() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        scene.apply(GLOBAL).await?;
        assert_not_understood(scene).await
    })
}

#[test]
fn l_a_global_network_policy_in_git_is_not_understood() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        scene.git.write("infra/k8s/network-policies/cluster-wide.yaml", &scene.text(GLOBAL))?;
        append(scene, "infra/k8s/network-policies/kustomization.yaml", "- cluster-wide.yaml\n")?;
        assert_not_understood(scene).await
    })
}
