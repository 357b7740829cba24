//! Calico's policies beside those of Kubernetes: the customer's `cluster-wide.yaml`.

use netpol_verify::model::{FlowResult, Outcome, Verdict, Why};

use crate::usecase::shop::{BANK, Files, REDIS, checked};

/// Every product pod may ask the metrics port of every other, and none may reach redis any more.
const CLUSTER_WIDE: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: cluster-wide}
spec:
  order: 100
  namespaceSelector: kubernetes.io/metadata.name in {'shop', 'bank', 'redis'}
  types: [Ingress, Egress]
  egress:
  - {action: Deny, protocol: TCP, destination: {selector: app == 'redis', ports: [6379]}}
  - {action: Allow, protocol: TCP, destination: {ports: [9100]}}
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [9100]}}
";

/// Without the rule that denies.
fn open_only() -> String {
    CLUSTER_WIDE
        .lines()
        .filter(|line| !line.contains("redis', ports"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// A policy of another team, for one namespace, that Calico evaluates before those of Kubernetes.
fn denies_the_bank(order: u32) -> String {
    format!(
        "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: closed, namespace: bank}}
spec:
  order: {order}
  selector: app == 'api'
  types: [Ingress]
  ingress:
  - {{action: Deny, protocol: TCP, destination: {{ports: [8080]}}}}
"
    )
}

fn wide(files: &mut Files, text: &str) -> Files {
    files.put("infra/cluster-wide.yaml", text).clone()
}

#[tokio::test]
async fn a_cluster_wide_policy_is_evaluated_and_probed_and_what_it_opens_is_seen() {
    let (fake, mut files) = checked().await;
    fake.app("bank", "metrics", &[9100]);
    fake.push(&wide(&mut files, &open_only()));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let opened: Vec<_> =
        ran.flows().iter().filter(|flow| flow.port == 9100 && flow.observed == Outcome::Open).collect();
    assert!(!opened.is_empty(), "{ran:#?}");
    let again = fake.run().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "{again:#?}");
}

#[tokio::test]
async fn what_a_cluster_wide_policy_denies_is_seen_closed_and_named() {
    let (fake, mut files) = checked().await;
    fake.push(&wide(&mut files, CLUSTER_WIDE));
    let ran = fake.run().await;
    let flow = ran.flow(REDIS);
    assert_eq!((flow.result, flow.observed), (FlowResult::Verified, Outcome::Timeout), "{ran:#?}");
    assert_eq!(flow.why, Why::Closure, "redis still lets the shop in");
    let by = "egress is denied by GlobalNetworkPolicy/cluster-wide egress[0] (cluster-wide.yaml:9)";
    assert!(
        flow.because.iter().any(|side| side.contains("GlobalNetworkPolicy/cluster-wide egress[0]")),
        "{by}: {flow:#?}"
    );
}

#[tokio::test]
async fn a_side_that_a_rule_denies_is_named_and_no_entry_is_offered_that_would_not_cure_it() {
    let (fake, mut files) = checked().await;
    files.put("infra/bank/closed.yaml", &denies_the_bank(10));
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    let flow = ran.flow(BANK);
    assert_eq!((flow.result, flow.entries.len()), (FlowResult::MissingEntry, 0), "{flow:#?}");
    let by = "ingress is denied by NetworkPolicy.projectcalico.org/bank/closed ingress[0]";
    assert!(ran.replies().iter().chain(&ran.roots()).any(|event| event.body.contains(by)), "{ran:#?}");
    // The control: after NetworkPolicy, which is order 1000, it decides nothing.
    fake.push(files.put("infra/bank/closed.yaml", &denies_the_bank(2000)));
    let later = fake.run().await;
    assert_eq!((later.exit, later.flow(BANK).observed), (0, Outcome::Open), "{later:#?}");
}

#[tokio::test]
async fn an_upgrade_of_calico_is_no_merge_and_the_state_knows_the_version() {
    let (fake, mut files) = checked().await;
    fake.push(&wide(&mut files, &open_only()));
    fake.run().await;
    assert_eq!(fake.state().checked.unwrap().calico.as_deref(), Some("v3.28.5"));
}

#[tokio::test]
async fn network_sets_of_git_are_looked_at() {
    let (fake, mut files) = checked().await;
    let rule = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: databases}
spec:
  order: 100
  selector: app == 'web'
  namespaceSelector: kubernetes.io/metadata.name == 'shop'
  types: [Egress]
  egress:
  - {action: Allow, protocol: TCP, destination: {selector: role == 'db', ports: [5432]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: databases, labels: {role: db}}
spec: {nets: [10.0.5.4/32]}
";
    fake.push(&wide(&mut files, rule));
    let ran = fake.run().await;
    assert_eq!(ran.keys(), ["shop/web -> 10.0.5.4/32:5432/TCP"]);
}

#[tokio::test]
async fn where_a_cluster_wide_policy_alone_isolates_a_new_policy_of_the_namespace_is_offered_and_cures_it() {
    let (fake, mut files) = checked().await;
    let closed = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default-deny}
spec:
  order: 3000
  namespaceSelector: kubernetes.io/metadata.name == 'bank'
  types: [Ingress, Egress]
";
    files.put("infra/cluster-wide.yaml", closed).remove("infra/bank/baseline.yaml");
    fake.push(&files);
    let moved = fake.run().await;
    assert_eq!((moved.exit, moved.verdict()), (0, Verdict::Verified), "it is the namespace's baseline: {moved:#?}");
    fake.push(files.bank_egress());
    let ran = fake.run().await;
    assert_eq!(ran.flow(BANK).result, FlowResult::MissingEntry, "{ran:#?}");
    let entry = &ran.flow(BANK).entries[0];
    assert_eq!((entry.policy.as_deref(), entry.file.as_deref()), (Some("allow-ingress-api"), None));
    fake.push(files.put("infra/bank/api.yaml", &entry.entry));
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.flow(BANK).observed), (0, Outcome::Open), "{cured:#?}");
}
