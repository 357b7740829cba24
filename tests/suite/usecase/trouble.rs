//! Flux that does not apply, pods that cannot be seen, rules that do nothing, labels that move.

use std::time::Duration;

use netpol_verify::model::{FlowResult, KustomizationRef, Outcome, Rendering, Unseen, Verdict};

use crate::usecase::{
    fake::revision,
    shop::{BANK, Files, checked, cluster, opens},
};

const INVALID: &str = "NetworkPolicy/shop/web is invalid: spec.ingress[0].ports[0].port: must be between 1 and 65535";

#[tokio::test]
async fn a_failed_apply_is_told_once_and_its_recovery_in_the_same_thread() {
    let (fake, mut files) = checked().await;
    fake.merge_fails("ReconciliationFailed", INVALID);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::NotApplied), "{ran:#?}");
    assert_eq!(ran.headline(), format!("❌ infra main@0000002 was not applied: {INVALID}"));
    assert!(
        ran.root().body.contains("Still live and last verified: main@0000001. Nothing was probed."),
        "{}",
        ran.root().body
    );
    assert!(ran.root().mentions);
    assert_eq!(fake.world().execs, 0);
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(1), "not counted as checked");
    for _ in 0..2 {
        let again = fake.scheduled().await;
        assert_eq!((again.exit, again.events.len()), (3, 0), "{again:#?}");
    }
    fake.push(files.bank_egress().bank_ingress());
    let well = fake.run().await;
    assert_eq!((well.exit, well.verdict()), (0, Verdict::Verified), "{well:#?}");
    assert_eq!(well.flow(BANK).result, FlowResult::Verified);
    assert_eq!(well.replies().len(), 1);
    assert_eq!(well.replies()[0].thread.as_deref(), Some(ran.root().id.as_str()));
    assert!(fake.state().failed.is_empty());
}

#[tokio::test]
async fn one_of_several_kustomizations_that_fails_does_not_hide_the_others() {
    let (fake, mut files) = checked().await;
    fake.configure(
        "kustomizations: [{namespace: flux-system, name: network-policies}, {namespace: flux-system, name: tenants}]",
    );
    let tenants = KustomizationRef { namespace: "flux-system".to_owned(), name: "tenants".to_owned() };
    let cart = opens("egress", ("shop", "cart"), ("redis", "redis"), 6379);
    fake.apply(&tenants, &revision(70), &[("tenants/cart.yaml", &cart)]);
    fake.push(files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379)));
    let both = fake.run().await;
    assert_eq!((both.exit, both.verdict()), (0, Verdict::Verified), "{both:#?}");
    assert_eq!(fake.state().checked.unwrap().kustomizations.len(), 2);
    fake.push(files.bank_egress().bank_ingress());
    {
        let mut world = fake.world();
        let status = &mut world.kustomizations.get_mut(&tenants).unwrap().status;
        status.attempted = Some(revision(71));
        status.not_applied = Some(netpol_verify::model::NotApplied {
            attempted: Some(revision(71)),
            reason: "BuildFailed".to_owned(),
            message: "kustomize build failed".to_owned(),
            final_: true,
            since: None,
        });
    }
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::NotApplied), "{ran:#?}");
    assert_eq!(ran.results(), [(BANK.to_owned(), FlowResult::Verified)], "the other one is verified");
    assert!(ran.headline().contains("was not applied: kustomize build failed"), "{}", ran.headline());
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (3, 0), "told once: {again:#?}");
}

#[tokio::test]
async fn a_run_whose_lease_is_lost_ends_at_once_and_writes_nothing() {
    async fn looks(lost: bool) -> (usize, Result<u8, String>, usize, bool) {
        let (fake, mut files) = checked().await;
        fake.push(files.bank_egress().bank_ingress());
        let before = fake.world().state.clone();
        fake.world().on_probe = Some(Box::new(move |fake| {
            fake.kubectl_delete("bank", "api-ingress-web");
            if lost {
                fake.lose_the_lease();
            }
        }));
        let told = fake.world().room.len();
        let ended = fake.try_run(fake.watched()).await.map(|ran| ran.exit);
        let world = fake.world();
        (world.execs, ended, world.room.len() - told, world.state == before)
    }
    let (execs, ended, events, unchanged) = looks(true).await;
    assert!(ended.as_ref().is_err_and(|fault| fault.contains("Lease was lost")), "{ended:?}");
    assert_eq!((events, unchanged), (0, true));
    let (control, ended, ..) = looks(false).await;
    assert_eq!(ended, Ok(1));
    assert!(execs * 2 < control, "it goes on probing: {execs} looks, {control} when nothing is lost");
}

#[tokio::test]
async fn a_suspended_kustomization_is_told_when_it_is_stuck() {
    let (fake, _) = checked().await;
    let now = fake.world().now();
    fake.kustomization(|k| {
        k.status.suspended = true;
        k.status.not_applied = Some(netpol_verify::model::NotApplied {
            attempted: k.status.applied.clone(),
            reason: "Suspended".to_owned(),
            message: "it is suspended".to_owned(),
            final_: false,
            since: Some(now.clone()),
        });
    });
    let soon = fake.scheduled().await;
    assert_eq!((soon.exit, soon.events.len()), (3, 0), "{soon:#?}");
    fake.pass(Duration::from_secs(1000));
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.roots().len()), (3, 1), "{late:#?}");
}

#[tokio::test]
async fn an_artifact_that_cannot_be_had_checks_nothing() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.kustomization(|k| k.fetch_fault = Some("the artifact is not there (404)".to_owned()));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(1));
    assert_eq!(ran.roots().len(), 1);
    assert!(ran.root().body.contains("the artifact is not there (404)"), "{}", ran.root().body);
    let again = fake.run().await;
    assert_eq!((again.exit, again.events.len()), (3, 0), "a retry with an unchanged outcome sends nothing: {again:#?}");
    fake.kustomization(|k| k.fetch_fault = None);
    let well = fake.run().await;
    assert_eq!((well.exit, well.verdict()), (0, Verdict::Verified), "{well:#?}");
    assert_eq!(well.flow(BANK).result, FlowResult::Verified);
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(2));
}

#[tokio::test]
async fn an_artifact_that_cannot_be_had_on_the_first_run_checks_nothing() {
    let fake = cluster();
    fake.push(&Files::base());
    fake.kustomization(|k| k.fetch_fault = Some("the artifact is not there (404)".to_owned()));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert!(fake.state().checked.is_none());
    fake.kustomization(|k| k.fetch_fault = None);
    let well = fake.run().await;
    assert!(well.report.as_ref().unwrap().first_run);
    assert_eq!(well.exit, 0, "{well:#?}");
}

#[tokio::test]
async fn an_unproven_rendering_is_never_green_unless_accepted() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.kustomization(|k| k.rendering = Rendering::Unproven("SOPS is not supported".to_owned()));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.headline(), "⚠️ infra main@0000002: what Flux applied could not be proven");
    assert_eq!(fake.state().verified["flux-system/network-policies"].revision, revision(1));
    let again = fake.run().await;
    assert_eq!((again.exit, again.events.len()), (3, 0), "{again:#?}");
    fake.configure("accept: [{rendering: flux-system/network-policies, reason: SOPS, until: 2026-12-01}]");
    let accepted = fake.run().await;
    assert_eq!((accepted.exit, accepted.verdict()), (0, Verdict::Verified), "{accepted:#?}");
}

#[tokio::test]
async fn a_revision_that_moves_during_the_run_starts_it_over() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    let mut next = files.clone();
    next.bank_ingress();
    fake.world().on_probe = Some(Box::new(move |fake| {
        fake.push(&next);
    }));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.headline(), "✅ infra main@0000003 verified — 1 flow changed, 1 probed as declared, no drift");
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(3));
}

#[tokio::test]
async fn a_revision_that_never_rests_is_inconclusive_and_not_checked() {
    fn again(fake: &crate::usecase::fake::Fake) {
        let mut files = Files::base();
        files.bank_egress().bank_ingress();
        fake.push(&files);
        fake.world().on_probe = Some(Box::new(again));
    }
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.world().on_probe = Some(Box::new(again));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(fake.state().checked.unwrap().kustomizations[0].revision, revision(1));
    assert!(ran.headline().starts_with("⚠️"), "{}", ran.headline());
    fake.world().on_probe = None;
    let well = fake.run().await;
    assert_eq!((well.exit, well.verdict()), (0, Verdict::Verified), "{well:#?}");
    assert_eq!(well.flow(BANK).result, FlowResult::Verified, "no flow is lost");
}

#[tokio::test]
async fn a_pod_without_tools_is_said_once_and_then_counted() {
    let (fake, mut files) = checked().await;
    fake.pod_of("shop/web", |p| p.has_nc = false);
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.flow(BANK).state, Some(Unseen::Unprobeable));
    let cure = "neither nc nor bash (probe.ephemeral adds a container that has, or give its image one of them";
    assert!(ran.root().body.contains(cure), "{}", ran.root().body);
    let again = fake.run().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "said once: {again:#?}");
    files.put("infra/shop/cart.yaml", &opens("egress", ("shop", "cart"), ("redis", "redis"), 6379));
    files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379));
    fake.push(&files);
    let next = fake.run().await;
    assert_eq!((next.exit, next.verdict()), (0, Verdict::Verified), "{next:#?}");
    assert!(next.root().body.ends_with("1 not provable"), "{}", next.root().body);
    assert_eq!(fake.state().verified["flux-system/network-policies"].unseen, 1);
}

#[tokio::test]
async fn a_merge_that_changes_a_flow_known_as_unprobeable_is_not_green() {
    let (fake, mut files) = checked().await;
    fake.pod_of("shop/web", |p| p.has_nc = false);
    fake.push(files.bank_egress().bank_ingress());
    assert_eq!(fake.run().await.exit, 3);
    fake.push(files.remove("infra/shop/bank.yaml").remove("infra/bank/web.yaml"));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.headline(), "⚠️ infra main@0000003: 1 of 1 changed flow could not be verified");
    let again = fake.run().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "{again:#?}");
}

#[tokio::test]
async fn a_policy_of_a_kind_without_a_reader_takes_the_green_away() {
    let (fake, mut files) = checked().await;
    let global = "apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: block-all}
spec: {endpointSelector: {}, ingress: []}
";
    files.put("infra/cluster-wide.yaml", global);
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.flow(BANK).result, FlowResult::Inconclusive);
    assert!(
        ran.root().body.contains("CiliumClusterwideNetworkPolicy/block-all is not understood"),
        "{}",
        ran.root().body
    );
    assert!(ran.report.as_ref().unwrap().drift.is_empty(), "{ran:#?}");
    assert!(!fake.state().verified["flux-system/network-policies"].revision.eq(&revision(2)));
}

#[tokio::test]
async fn a_live_policy_of_a_kind_without_a_reader_takes_the_green_away() {
    let (fake, mut files) = checked().await;
    fake.kubectl(
        "kubectl-create",
        "apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: block, namespace: bank}
spec: {endpointSelector: {}, ingress: []}
",
    );
    files.put("infra/shop/cart.yaml", &opens("egress", ("shop", "cart"), ("redis", "redis"), 6379));
    files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379));
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.flow(BANK).result, FlowResult::Inconclusive, "bank may be touched");
    assert_eq!(ran.flow("shop/cart -> redis/redis:6379/TCP").result, FlowResult::Verified, "others are not");
}

#[tokio::test]
async fn a_near_miss_is_a_finding_and_a_workload_at_zero_waits() {
    let (fake, mut files) = checked().await;
    files.put(
        "infra/shop/cart.yaml",
        &opens("egress", ("shop", "cart"), ("redis", "Redis"), 6379).replace("cart-egress-Redis", "cart-egress"),
    );
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert_eq!(ran.headline(), "❌ infra main@0000002: 1 rule of this merge matches nothing");
    assert!(
        ran.root().body.contains("no pod in redis has label `app: Redis`; `app: redis` exists (1 pod)"),
        "{}",
        ran.root().body
    );
    fake.push(files.remove("infra/shop/cart.yaml"));
    let gone = fake.run().await;
    assert_eq!((gone.exit, gone.replies().len()), (0, 1), "{gone:#?}");
    // The Deployment at 0.
    fake.scale("shop/cart", 0);
    files.put("infra/shop/cart.yaml", &opens("egress", ("shop", "cart"), ("redis", "redis"), 6379));
    files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379));
    fake.push(&files);
    let waits = fake.run().await;
    assert_eq!((waits.exit, waits.verdict()), (3, Verdict::Inconclusive), "{waits:#?}");
    let key = "shop/cart -> redis/redis:6379/TCP";
    assert_eq!(waits.flow(key).state, Some(Unseen::Waiting));
    assert_eq!(waits.report.as_ref().unwrap().standing.waiting, 1);
    let still = fake.run().await;
    assert_eq!(still.events.len(), 0, "{still:#?}");
    fake.scale("shop/cart", 1);
    let up = fake.scheduled().await;
    assert_eq!((up.exit, up.verdict()), (0, Verdict::Verified), "{up:#?}");
    assert_eq!(up.flow(key).observed, Outcome::Open);
    assert_eq!((up.roots().len(), up.replies().len()), (0, 1), "{:#?}", up.events);
    assert_eq!(up.replies()[0].thread.as_deref(), Some(waits.root().id.as_str()));
}

#[tokio::test]
async fn a_policy_that_comes_before_its_app_waits_and_is_a_finding_after_a_week() {
    let (fake, mut files) = checked().await;
    files.put("infra/shop/queue.yaml", &opens("egress", ("shop", "queue"), ("redis", "redis"), 6379));
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.report.as_ref().unwrap().standing.waiting, 1);
    assert!(
        ran.root().body.contains("shop/queue-egress-redis egress[0] waits: no pod in shop has"),
        "{}",
        ran.root().body
    );
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "said once: {again:#?}");
    fake.pass(Duration::from_secs(8 * 86_400));
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.verdict()), (1, Verdict::Finding), "{late:#?}");
    assert_eq!(late.roots().len(), 1);
    let later = fake.scheduled().await;
    assert_eq!((later.exit, later.events.len()), (1, 0), "{later:#?}");
    fake.app("shop", "queue", &[80]);
    fake.push(files.put("infra/redis/queue.yaml", &opens("ingress", ("redis", "redis"), ("shop", "queue"), 6379)));
    let up = fake.run().await;
    assert_eq!((up.exit, up.verdict()), (0, Verdict::Verified), "{up:#?}");
    assert_eq!(up.replies().len(), 1, "{:#?}", up.events);
}

#[tokio::test]
async fn a_return_to_an_older_revision_is_a_merge_and_a_person_sees_the_last_flows_again() {
    let (fake, a) = checked().await;
    let mut b = a.clone();
    fake.push(b.bank_egress().bank_ingress());
    assert_eq!(fake.run().await.exit, 0);
    fake.apply(&crate::usecase::fake::main(), &revision(1), &a.list());
    let back = fake.run().await;
    assert_eq!((back.exit, back.verdict()), (0, Verdict::Verified), "{back:#?}");
    assert_eq!(back.headline(), "✅ infra main@0000001 verified — 1 flow changed, 1 probed as declared, no drift");
    assert_eq!(back.flow(BANK).observed, Outcome::Timeout);
    let person = fake.person().await;
    assert_eq!((person.exit, person.roots().len()), (0, 1), "{person:#?}");
    assert_eq!(person.results(), [(BANK.to_owned(), FlowResult::Verified)]);
    let told = fake.run().await;
    assert_eq!((told.exit, told.events.len()), (0, 0), "a merge that is checked is not run again");
    assert!(told.report.is_none());
}
