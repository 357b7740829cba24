//! Calico's own policies of Git, in Calico's order: what they close and open is seen by packets.

use crate::world::{Setup, scenario};
use anyhow::Result;

use crate::edits::{DB, WEB, append, cut, row, web_to_db};

const FILE: &str = "infra/k8s/network-policies/cluster-wide.yaml";
const LIST: &str = "infra/k8s/network-policies/kustomization.yaml";

/// The customer's `cluster-wide.yaml` in small: one rule for all product namespaces that denies what their own policies
/// let through, and a set of addresses that nobody else names.
const CLUSTER_WIDE: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: xx-cluster-wide}
spec:
  order: 100
  namespaceSelector: kubernetes.io/metadata.name in {'xx-shop', 'xx-store'}
  types: [Ingress, Egress]
  egress:
  - {action: Deny, protocol: TCP, destination: {selector: app == 'db', ports: [6379]}}
  - {action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {selector: app == 'db', ports: [6432]}}
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: app == 'web', namespaceSelector: all()}, destination: {ports: [6432]}}
";

#[test]
fn a_cluster_wide_policy_closes_and_opens_flows_that_packets_confirm() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        scene.wait_until(true, WEB, DB, 6379).await?;
        scene.git.write(FILE, &scene.text(CLUSTER_WIDE))?;
        append(scene, LIST, "- cluster-wide.yaml\n")?;
        let run = scene.merge_and_run("One rule for all product namespaces").await?;
        let report = run.expect(0)?;
        let closed = web_to_db(scene, report, 6379);
        assert_eq!(row(closed), ["allowed", "denied", "denied", "timeout", "verified"], "{report}");
        let opened = web_to_db(scene, report, 6432);
        assert_eq!(row(opened), ["denied", "allowed", "allowed", "open", "verified"], "{report}");
        assert!(report.drift.is_empty() && report.findings("not-understood").is_empty(), "{report}");
        scene.wait_until(false, WEB, DB, 6379).await?;
        // Taken back, all is as before.
        cut(scene, LIST, "- cluster-wide.yaml\n")?;
        let run = scene.merge_and_run("Leave it to the namespaces").await?;
        let report = run.expect(0)?;
        assert_eq!(
            row(web_to_db(scene, report, 6379)),
            ["denied", "allowed", "allowed", "open", "verified"],
            "{report}"
        );
        assert_eq!(web_to_db(scene, report, 6432).live, "denied", "{report}");
        Ok(())
    })
}
