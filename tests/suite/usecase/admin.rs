//! Policies of the network policy API beside those of Kubernetes: an administrator's word stands above a namespace's.

use netpol_verify::model::{FlowResult, Outcome, Verdict, Why};

use crate::usecase::shop::{REDIS, checked};

/// A rule over all namespaces, for the one port of redis.
fn admin(action: &str, port: u16) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {{name: redis}}
spec:
  priority: 10
  subject: {{namespaces: {{}}}}
  ingress:
  - {{action: {action}, from: [{{namespaces: {{}}}}], ports: [{{portNumber: {{protocol: TCP, port: {port}}}}}]}}
"
    )
}

#[tokio::test]
async fn what_an_administrator_denies_is_seen_closed_and_named() {
    let (fake, mut files) = checked().await;
    fake.push(files.put("infra/admin.yaml", &admin("Deny", 6379)));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let flow = ran.flow(REDIS);
    assert_eq!((flow.result, flow.observed, flow.why), (FlowResult::Verified, Outcome::Timeout, Why::Closure));
    let by = "AdminNetworkPolicy/redis ingress[0]";
    assert!(flow.because.iter().any(|side| side.contains(by)), "{flow:#?}");
    // The control: at another port it closes nothing.
    fake.push(files.put("infra/admin.yaml", &admin("Deny", 6380)));
    let later = fake.run().await;
    assert_eq!((later.exit, later.flow(REDIS).observed), (0, Outcome::Open), "{later:#?}");
}

#[tokio::test]
async fn an_administrators_policy_that_git_does_not_have_is_drift() {
    let (fake, _) = checked().await;
    fake.kubectl("kubectl-create", &admin("Deny", 6379));
    let ran = fake.scheduled().await;
    assert_eq!(ran.exit, 1, "it closes what Git opens: {ran:#?}");
    let drift = &ran.report.as_ref().unwrap().drift;
    let all: Vec<_> = drift.iter().map(|d| (d.key(), d.flows > 0)).collect();
    assert_eq!(all, [("drift/extra/AdminNetworkPolicy.policy.networking.k8s.io/redis".to_owned(), true)], "{ran:#?}");
    // The control: one that changes nothing.
    fake.kubectl("kubectl-create", &admin("Deny", 6380));
    let ran = fake.scheduled().await;
    assert!(ran.report.as_ref().unwrap().drift.iter().all(|d| d.flows == 0), "{ran:#?}");
}
