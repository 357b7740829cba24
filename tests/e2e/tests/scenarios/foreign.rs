//! A cluster-wide policy beside those of the namespaces: evaluated where Git has it, drift where Git has not.

use crate::world::{Setup, scenario};
use anyhow::{Context, Result};

use crate::edits::{append, open_both_sides, web_to_db};

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

#[test]
fn l_a_global_network_policy_in_git_is_evaluated_and_what_it_denies_is_seen() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        scene.git.write("infra/k8s/network-policies/cluster-wide.yaml", &scene.text(GLOBAL))?;
        append(scene, "infra/k8s/network-policies/kustomization.yaml", "- cluster-wide.yaml\n")?;
        open_both_sides(scene, 6432)?;
        let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
        let report = run.expect(0)?;
        assert!(report.findings("not-understood").is_empty(), "{report}");
        assert!(report.drift.is_empty(), "Calico's defaults are no drift: {report}");
        assert_eq!(web_to_db(scene, report, 6432).result, "verified");
        let denied = report.flows.iter().find(|flow| flow.port == 23).context("the rule that denies is shown")?;
        assert_eq!((denied.declared.as_str(), denied.result.as_str()), ("denied", "verified"), "{report}");
        Ok(())
    })
}

#[test]
fn l_a_live_global_network_policy_that_git_does_not_have_is_told() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        scene.apply(GLOBAL).await?;
        open_both_sides(scene, 6432)?;
        let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
        let report = run.expect(0)?;
        let [drift] = report.drift.as_slice() else { panic!("one that Git does not have: {report}") };
        assert_eq!((drift.class.as_str(), drift.severity.as_str()), ("extra", "info"), "it changes no flow: {report}");
        assert_eq!(web_to_db(scene, report, 6432).result, "verified", "what it does is known: {report}");
        Ok(())
    })
}
