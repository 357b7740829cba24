//! Real runs need every right that `job/` grants, and no other one.

use std::collections::BTreeSet;

use anyhow::Result;
use e2e::{
    Scene, Setup, eventually,
    grants::{Request, grants},
    objects::{self, text},
    poll::seconds,
    scenario,
};
use serde_json::json;

use crate::edits::{close_sessions, open_both_sides};

/// Rights that this cluster cannot show the need of, and why they are needed elsewhere.
const ELSEWHERE: &[(&str, &str)] = &[
    ("list clusterinformations.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list felixconfigurations.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list globalnetworkpolicies.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list globalnetworksets.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list networkpolicies.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list networksets.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list stagedglobalnetworkpolicies.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list stagedkubernetesnetworkpolicies.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list stagednetworkpolicies.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list tiers.crd.projectcalico.org", "where Calico's API server is not installed"),
    ("list stagedglobalnetworkpolicies.projectcalico.org", "Calico 3.30 and newer have staged policies"),
    ("list stagedkubernetesnetworkpolicies.projectcalico.org", "Calico 3.30 and newer have staged policies"),
    ("list stagednetworkpolicies.projectcalico.org", "Calico 3.30 and newer have staged policies"),
    ("list tiers.projectcalico.org", "Calico 3.29 and newer have tiers"),
    ("get buckets.source.toolkit.fluxcd.io", "another kind of source"),
    ("get externalartifacts.source.toolkit.fluxcd.io", "another kind of source"),
    ("get ocirepositories.source.toolkit.fluxcd.io", "another kind of source"),
    ("list pods", "the watcher's, while a flow waits for a pod"),
    ("get replicasets.apps", "a Deployment that is rolled out while it probes"),
    ("create pods/exec", "asked within the API server, without a line in its log, from Kubernetes 1.35 on"),
];

#[test]
fn every_right_is_used_and_no_other_is_asked_for() -> Result<()> {
    // New kinds of policies are there for everybody.
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        let audit = scene.audit()?;
        let kinds = format!("{}/bin/crd/kube-network-policies", scene.cluster.variable("STATE")?);
        scene.cluster.kubectl(&["apply", "--server-side", "-f", &kinds]).await?;
        let played = runs_of_every_kind(scene).await;
        scene.cluster.kubectl(&["delete", "-f", &kinds]).await?;
        played?;
        let requests: BTreeSet<Request> = audit.lines()?.iter().filter_map(|line| Request::read(line)).collect();
        let denied: Vec<_> = requests.iter().filter(|request| request.is_denied).collect();
        assert!(denied.is_empty(), "asked for without a right: {denied:?}");
        let granted = grants(scene.verifier.objects());
        assert!(granted.len() > 20, "the control: the roles are read: {granted:?}");
        let is_used = |grant: &&e2e::grants::Grant| requests.iter().any(|request| grant.covers(&request.asked));
        let unused: Vec<String> = granted.iter().filter(|grant| !is_used(grant)).map(ToString::to_string).collect();
        println!(
            "granted: {}, used: {}\nnot used:\n  {}",
            granted.len(),
            granted.len() - unused.len(),
            unused.join("\n  ")
        );
        let is_known = |grant: &&String| ELSEWHERE.iter().any(|(known, _)| grant.ends_with(&format!(": {known}")));
        let useless: Vec<_> = unused.iter().filter(|grant| !is_known(grant)).collect();
        assert!(useless.is_empty(), "granted and not used: {useless:#?}");
        Ok(())
    })
}

/// By the watcher after a merge, after another one, by hand and by schedule.
async fn runs_of_every_kind(scene: &Scene) -> Result<()> {
    eventually("the new kinds are served", seconds(20), async || {
        let kinds =
            scene.cluster.kubectl(&["api-resources", "--api-group=policy.networking.k8s.io", "-o", "name"]).await?;
        Ok(kinds.contains("clusternetworkpolicies").then_some(()))
    })
    .await?;
    scene.watchers(1).await?;
    let first = scene.new_job(&[]).await?;
    scene.verifier.wait(&first).await?.expect(0)?;
    open_both_sides(scene, 6432)?;
    let merge = scene.merge_watched("Let the shop use pgbouncer").await?;
    scene.verifier.wait(&merge.job).await?.expect(0)?;
    close_sessions(scene)?;
    let merge = scene.merge_watched("Sessions moved out of the database").await?;
    scene.verifier.wait(&merge.job).await?.expect(0)?;
    scene.verifier.run_by_hand().await?.expect(0)?;
    scene.verifier.run_scheduled().await?.expect(0)?;
    // Its sign of life, too.
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": scene.verifier.namespace(), "name": e2e::WATCHER}});
    eventually("the watcher gives a sign of life", seconds(20), async || {
        let lease = objects::get(&scene.cluster.client, &lease).await?.unwrap_or_default();
        Ok((!text(&lease, "/spec/renewTime").is_empty()).then_some(()))
    })
    .await
}
