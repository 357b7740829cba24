//! Live policies that Git does not declare so.

use netpol_verify::model::{DriftClass, FlowResult, KustomizationRef, Severity, Verdict};

use crate::usecase::{
    fake::{manifests, object_ref},
    shop::{BANK, REDIS, baseline, checked, opens},
};

const ALLOW_ALL: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-all-temp, namespace: bank}
spec:
  podSelector: {}
  ingress: [{}]
";

#[tokio::test]
async fn edited_deleted_and_extra_policies_are_three_classes_with_place_and_person() {
    let (fake, _) = checked().await;
    fake.kubectl("kubectl-edit", &opens("ingress", ("redis", "redis"), ("shop", "web"), 6380));
    fake.kubectl_delete("shop", "web-egress-redis");
    fake.kubectl("kubectl-create", ALLOW_ALL);
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    let drift = &ran.report.as_ref().unwrap().drift;
    let found: Vec<_> = drift
        .iter()
        .map(|d| (d.class, d.policy.short(), d.declared.as_ref().map(|o| o.file.clone()), d.by.is_some()))
        .collect();
    assert_eq!(
        found,
        [
            (DriftClass::Extra, "bank/allow-all-temp".to_owned(), None, true),
            (DriftClass::Changed, "redis/redis-ingress-web".to_owned(), Some("infra/redis/web.yaml".to_owned()), true),
            (DriftClass::Missing, "shop/web-egress-redis".to_owned(), Some("infra/shop/redis.yaml".to_owned()), false),
        ]
    );
    assert!(drift.iter().all(|d| d.flows > 0 || d.class != DriftClass::Extra), "{drift:#?}");
    assert_eq!(ran.headline(), "❌ infra main@0000001 is live, but 3 policies differ from Git");
    assert!(ran.root().mentions);
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (1, 0), "an unchanged red sends nothing");
    fake.kubectl_delete("bank", "allow-all-temp");
    let less = fake.scheduled().await;
    assert_eq!(less.exit, 1);
    assert_eq!((less.roots().len(), less.replies().len()), (0, 1), "{:#?}", less.events);
    assert!(!less.replies()[0].mentions);
}

#[tokio::test]
async fn a_policy_of_another_kustomization_or_a_helm_release_is_info() {
    let (fake, _) = checked().await;
    let flux = opens("ingress", ("bank", "api"), ("shop", "cart"), 8080);
    fake.kubectl("kustomize-controller", &flux);
    let other = KustomizationRef { namespace: "flux-system".to_owned(), name: "apps".to_owned() };
    let inventory = manifests::documents(&[("-", &flux)], None).iter().map(object_ref).collect();
    fake.world().foreign_inventories.insert(other, inventory);
    let helm = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: chart
  namespace: redis
  labels: {app.kubernetes.io/managed-by: Helm}
  annotations: {meta.helm.sh/release-name: redis, meta.helm.sh/release-namespace: redis}
spec:
  podSelector: {}
  ingress: [{from: [{podSelector: {}}]}]
";
    fake.kubectl("helm", helm);
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let drift = &ran.report.as_ref().unwrap().drift;
    assert_eq!(drift.len(), 2);
    assert!(drift.iter().all(|d| d.severity == Severity::Info));
    assert_eq!(ran.events.len(), 0, "{:#?}", ran.events);
}

#[tokio::test]
async fn a_merge_while_a_policy_is_edited_judges_both() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.kubectl_delete("bank", "api-ingress-web");
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding));
    assert_eq!(ran.flow(BANK).result, FlowResult::Drift, "{ran:#?}");
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
    assert_eq!(cured.flow(BANK).result, FlowResult::Verified, "what the drift hid is seen once it is gone: {cured:#?}");
}

#[tokio::test]
async fn a_policy_edited_during_the_run_is_seen() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.world().on_probe = Some(Box::new(|fake| fake.kubectl_delete("bank", "api-ingress-web")));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert_eq!(ran.report.as_ref().unwrap().drift[0].class, DriftClass::Missing);
}

#[tokio::test]
async fn an_accepted_extra_policy_counts_as_declared_for_flows() {
    let (fake, mut files) = checked().await;
    fake.configure("probeNamespaces: [kube-system]");
    fake.kubectl("kubectl-create", ALLOW_ALL);
    fake.configure("accept: [{policy: NetworkPolicy/bank/allow-all-temp, reason: migration, until: 2026-12-01}]");
    // Only the egress side is merged: the accepted policy has the other one open.
    fake.push(files.bank_egress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.flow(BANK).result, FlowResult::Verified);
    assert_eq!(ran.report.as_ref().unwrap().standing.accepted, 1);
    assert_eq!(ran.report.as_ref().unwrap().standing.accepted_until.as_deref(), Some("2026-12-01"));
    fake.pass(std::time::Duration::from_secs(30 * 86_400));
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.verdict()), (1, Verdict::Finding), "an acceptance runs out: {late:#?}");
    assert_eq!(late.roots().len(), 1, "and is told: {:#?}", late.events);
    assert!(late.root().mentions);
}

#[tokio::test]
async fn a_closure_that_an_edit_hides_is_seen_once_the_edit_is_gone() {
    let (fake, mut files) = checked().await;
    fake.kubectl("kubectl-create", &ALLOW_ALL.replace("bank", "redis"));
    let egress = opens("egress", ("shop", "web"), ("redis", "redis"), 6379);
    fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
    fake.kubectl("kubectl-create", &egress);
    let hidden = fake.run().await;
    assert_eq!((hidden.exit, hidden.verdict()), (1, Verdict::Finding), "{hidden:#?}");
    assert_eq!(hidden.flow(REDIS).result, FlowResult::Drift);
    let still = fake.scheduled().await;
    assert_eq!((still.exit, still.events.len()), (1, 0), "{still:#?}");
    fake.kubectl_delete("redis", "allow-all-temp");
    fake.kubectl_delete("shop", "web-egress-redis");
    let seen = fake.scheduled().await;
    assert_eq!((seen.exit, seen.verdict()), (0, Verdict::Verified), "{seen:#?}");
    assert_eq!(seen.flow(REDIS).result, FlowResult::Verified);
    assert_eq!((seen.roots().len(), seen.replies().len()), (0, 1), "{:#?}", seen.events);
}

#[tokio::test]
async fn an_accepted_change_of_a_policy_is_not_taken_for_a_merge() {
    let (fake, files) = checked().await;
    fake.kubectl("kubectl-edit", &opens("ingress", ("redis", "redis"), ("shop", "web"), 6380));
    fake.configure("accept: [{policy: NetworkPolicy/redis/redis-ingress-web, reason: moving, until: 2026-12-01}]");
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.flow(REDIS).result, FlowResult::Verified, "it is closed, as is accepted");
    fake.push(&files);
    fake.kubectl("kubectl-edit", &opens("ingress", ("redis", "redis"), ("shop", "web"), 6380));
    let next = fake.run().await;
    assert_eq!((next.exit, next.flows().len()), (0, 0), "{next:#?}");
}

#[tokio::test]
async fn a_product_namespace_without_the_baseline_is_a_finding_until_it_has_one() {
    let (fake, mut files) = checked().await;
    fake.configure("probeNamespaces: [kube-system]");
    fake.namespace("tenant-a", &[]);
    fake.app("tenant-a", "odoo", &[8069]);
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert!(ran.root().body.contains("tenant-a has no default-deny-all"), "{}", ran.root().body);
    files.put("infra/tenant-a/baseline.yaml", &baseline("tenant-a"));
    fake.push(&files);
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
    assert_eq!(cured.replies().len(), 1);
    assert!(cured.keys().iter().all(|k| k != REDIS));
}

#[tokio::test]
async fn a_new_product_namespace_costs_a_handful_of_probes() {
    let (fake, mut files) = checked().await;
    fake.namespace("tenant-a", &[]);
    for app in ["odoo", "web", "db", "queue"] {
        fake.app("tenant-a", app, &[8069]);
    }
    for app in ["one", "two", "three", "four", "five"] {
        fake.app("shop", app, &[80]);
    }
    files.put("infra/tenant-a/baseline.yaml", &baseline("tenant-a"));
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let of_tenant = ran.keys().iter().filter(|k| k.contains("tenant-a")).count();
    assert!((1..=12).contains(&of_tenant), "a handful, not one for each pair: {:#?}", ran.keys());
    assert!(ran.flows().len() <= 12, "{:#?}", ran.keys());
}
