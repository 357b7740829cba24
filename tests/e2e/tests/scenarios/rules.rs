//! Rules of a merge that do nothing yet, and namespaces that are new.

use crate::world::{Setup, scenario};
use anyhow::Result;

use crate::edits::{SHOP, STORE, append, assert_opens, egress, ingress};

#[test]
fn m_a_rule_that_matches_nothing_is_told_with_the_near_miss() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        append(scene, SHOP, &egress(6432).replace("app: db", "app: Db"))?;
        append(scene, STORE, &ingress("web", 6432))?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let run = scene.verifier.run_for(&commit).await?;
        let report = run.expect(1)?;
        let [finding] = report.findings("no-effect")[..] else { panic!("one finding: {report}") };
        let place = finding.origin.clone().expect("it stands in Git");
        assert_eq!(place.file, SHOP);
        let first = scene.git.line_of(SHOP, "app: Db")?;
        assert!(place.line.is_some_and(|line| line.abs_diff(first) <= 2), "{place:?} is that rule, at {first}");
        let message = scene.room.last().await?;
        assert_opens(&message, "❌", &commit);
        assert!(message.body.contains("app: Db") && message.body.contains("app: db"), "{}", message.body);
        Ok(())
    })
}

/// A source that does not run at the moment.
const BATCH: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: xx-shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: batch}}
  template:
    metadata: {labels: {app: batch}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: batch, image: 'registry.local/netcat:test', imagePullPolicy: Never}]
";

#[test]
fn m_a_source_without_pods_waits_and_is_verified_once_it_runs() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.apply(BATCH).await?;
        scene.first_run().await?;
        append(scene, STORE, &ingress("batch", 5432))?;
        let commit = scene.merge("The nightly batch reads the database").await?;
        let run = scene.verifier.run_for(&commit).await?;
        let report = run.expect(3)?;
        let waits = report.flows.iter().any(|flow| flow.state.as_deref() == Some("waiting"))
            || report.not_probed.iter().any(|one| one.reason.contains("waiting"))
            || report.findings.iter().any(|one| one.message.contains("waiting"));
        assert!(waits, "the rule waits: {report}");
        let told = scene.room.last().await?;
        let said = scene.room.top().await?.len();
        let run = scene.verifier.run_scheduled().await?;
        assert_eq!((run.code, scene.room.top().await?.len()), (0, said), "told once, then only counted");

        scene.scale("shop", "batch", 1).await?;
        let run = scene.verifier.run_scheduled().await?;
        let report = run.expect(0)?;
        let flow = report.flow(&scene.text("xx-shop/batch"), &scene.text("xx-store/db"), 5432);
        assert_eq!((flow.observed.as_str(), flow.result.as_str()), ("open", "verified"));
        let cleared = scene.room.thread(&told).await?.iter().filter(|reply| reply.body.contains("clears")).count();
        assert_eq!(cleared, 1, "and says so once, in the thread of the message that told it");
        Ok(())
    })
}

/// A new tenant: three workloads that talk to nobody.
fn tenant() -> String {
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: xx-tenant}}".to_owned();
    let deployment = |app: &str| {
        format!(
            "\n---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {app}, namespace: xx-tenant}}, spec: {{\
             selector: {{matchLabels: {{app: {app}}}}}, template: {{metadata: {{labels: {{app: {app}}}}}, spec: {{\
             terminationGracePeriodSeconds: 0, containers: [{{name: {app}, image: 'registry.local/netcat:test', \
             imagePullPolicy: Never, args: [/serve 8080/tcp], ports: [{{containerPort: 8080}}]}}]}}}}}}}}"
        )
    };
    namespace + &["one", "two", "three"].map(deployment).concat()
}

#[test]
fn q_a_new_product_namespace_costs_a_handful_of_probes() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        scene.apply(&tenant()).await?;
        scene.wait_until_ready("tenant").await?;
        let deny = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny-all, \
                    namespace: xx-tenant}\nspec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n";
        scene.git.write("infra/k8s/tenant/network-policy.yaml", &scene.text(deny))?;
        append(scene, "infra/k8s/network-policies/kustomization.yaml", "- ../tenant/network-policy.yaml\n")?;
        let run = scene.merge_and_run("A new tenant").await?;
        let report = run.expect(0)?;
        let of_tenant = |name: String| name.starts_with(&scene.namespace("tenant"));
        let probes =
            report.flows.iter().filter(|flow| of_tenant(flow.source()) || of_tenant(flow.destination())).count();
        assert!((1..=8).contains(&probes), "{probes} probes: {report}");
        Ok(())
    })
}

#[test]
fn a_new_product_namespace_without_the_baseline_is_a_finding() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        scene.apply(&tenant()).await?;
        let run = scene.verifier.run_scheduled().await?;
        let report = run.expect(1)?;
        let [finding] = report.findings("baseline")[..] else { panic!("one finding: {report}") };
        assert!(finding.message.contains(&scene.namespace("tenant")), "{}", finding.message);
        assert!(scene.room.last().await?.body.contains(&scene.namespace("tenant")));
        Ok(())
    })
}
