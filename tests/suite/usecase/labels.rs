//! Labels that change without a merge and flip flows: told once, and open until somebody stands behind them.

use std::time::Duration;

use netpol_verify::model::{Finding, FindingRule, FlowResult, Outcome, Verdict};

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{Files, REDIS, checked, opens},
};

const CART: &str = "shop/cart -> redis/redis:6379/TCP";

/// shop/web may reach whatever has the label `tier: data`, which redis has, and shop/cart what has `class: fast`.
async fn by_label() -> (Fake, Files) {
    let (fake, mut files) = checked().await;
    fake.label_namespace("redis", "tier", "data");
    let by = |app: &str, label: &str| {
        opens("egress", ("shop", app), ("redis", "redis"), 6379).replace("kubernetes.io/metadata.name: redis", label)
    };
    files.put("infra/shop/cart.yaml", &by("cart", "class: fast"));
    files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379));
    fake.label_namespace("redis", "class", "fast");
    fake.push(files.put("infra/shop/redis.yaml", &by("web", "tier: data")));
    let ran = fake.run().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
    (fake, files)
}

fn relabelled(ran: &Ran) -> Vec<&Finding> {
    ran.report.as_ref().unwrap().findings.iter().filter(|f| f.rule == FindingRule::Relabelled).collect()
}

/// Somebody changes the label; the next scheduled run tells it.
async fn flipped() -> (Fake, Files, Ran) {
    let (fake, files) = by_label().await;
    fake.label_namespace("redis", "tier", "other");
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert!(ran.root().mentions);
    (fake, files, ran)
}

/// That it is over is said once, in the thread of the message that told it.
async fn is_cleared(fake: &Fake, ran: &Ran, told: &Ran) {
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.replies().len(), 1, "{:#?}", ran.events);
    assert_eq!(ran.replies()[0].thread.as_ref(), Some(&told.root().id));
    assert!(ran.replies()[0].body.starts_with("✅ clears main@0000002 (1 finding)\n• relabelled: redis\n"));
    assert!(fake.state().findings.is_empty());
    let after = fake.scheduled().await;
    assert_eq!((after.exit, after.events.len()), (0, 0), "{after:#?}");
}

#[tokio::test]
async fn a_namespace_relabelled_by_hand_is_told_once_with_its_flows_and_stays_open() {
    let (fake, _, ran) = flipped().await;
    let [finding] = relabelled(&ran)[..] else { panic!("one finding: {ran:#?}") };
    assert!(finding.message.contains("shop/web → redis/redis:6379 closed"), "{}", finding.message);
    assert!(finding.message.contains("namespace redis"), "{}", finding.message);
    assert_eq!(ran.flow(REDIS).observed, Outcome::Timeout, "and it is probed");
    for _ in 0..2 {
        let again = fake.scheduled().await;
        assert_eq!((again.exit, again.events.len()), (1, 0), "told once: {again:#?}");
        assert_eq!(relabelled(&again).len(), 1, "and open");
    }
}

#[tokio::test]
async fn labels_that_are_back_clear_it() {
    let (fake, _, told) = flipped().await;
    fake.label_namespace("redis", "tier", "data");
    let back = fake.scheduled().await;
    assert_eq!(back.roots().len(), 0, "that it flips back is no news: {:#?}", back.events);
    assert_eq!(back.flow(REDIS).observed, Outcome::Open);
    is_cleared(&fake, &back, &told).await;
    fake.label_namespace("redis", "tier", "other");
    let anew = fake.scheduled().await;
    assert_eq!((anew.exit, anew.roots().len()), (1, 1), "another time is told: {anew:#?}");
}

#[tokio::test]
async fn a_person_who_looks_again_clears_it() {
    let (fake, _, told) = flipped().await;
    let person = fake.person().await;
    assert_eq!((person.flow(REDIS).observed, person.flow(REDIS).result), (Outcome::Timeout, FlowResult::Verified));
    is_cleared(&fake, &person, &told).await;
}

#[tokio::test]
async fn the_next_merge_that_sees_the_flows_clears_it() {
    let (fake, mut files, told) = flipped().await;
    let retry = fake.run().await;
    assert_eq!((retry.exit, retry.events.len()), (1, 0), "no merge came: {retry:#?}");
    fake.push(files.bank_egress().bank_ingress());
    let merge = fake.run().await;
    assert_eq!(merge.headline(), "✅ infra main@0000003 verified — 1 flow changed, 1 probed as declared, no drift");
    assert_eq!(merge.flow(REDIS).result, FlowResult::Verified);
    is_cleared(&fake, &merge, &told).await;
}

#[tokio::test]
async fn a_merge_that_cannot_see_the_flows_does_not_clear_it() {
    let (fake, mut files, _) = flipped().await;
    fake.pod_of("redis/redis", |p| p.info.ready = false);
    fake.push(files.bank_egress().bank_ingress());
    let merge = fake.run().await;
    assert_eq!((merge.exit, merge.verdict()), (1, Verdict::Finding), "{merge:#?}");
    assert_eq!(relabelled(&merge).len(), 1);
    fake.pod_of("redis/redis", |p| p.info.ready = true);
    assert_eq!(fake.person().await.exit, 0);
}

#[tokio::test]
async fn a_merge_and_a_label_at_once_tell_both() {
    let (fake, mut files) = by_label().await;
    fake.label_namespace("redis", "tier", "other");
    fake.push(files.bank_egress().bank_ingress());
    let merge = fake.run().await;
    assert_eq!((merge.exit, relabelled(&merge).len()), (1, 1), "not explained by the merge it came with: {merge:#?}");
    assert_eq!(fake.scheduled().await.exit, 1);
}

#[tokio::test]
async fn another_label_is_told_while_the_first_is_open() {
    let (fake, _, told) = flipped().await;
    fake.label_namespace("redis", "class", "slow");
    let second = fake.scheduled().await;
    assert_eq!((second.exit, second.roots().len()), (1, 1), "{second:#?}");
    assert_eq!(second.flow(CART).observed, Outcome::Timeout);
    assert!(second.root().body.contains("shop/cart → redis/redis:6379 closed"), "{}", second.root().body);
    assert_eq!(relabelled(&second).len(), 2);
    fake.label_namespace("redis", "tier", "data");
    let half = fake.scheduled().await;
    assert_eq!((half.exit, half.replies().len()), (1, 1), "{half:#?}");
    assert_eq!(half.replies()[0].thread.as_ref(), Some(&told.root().id));
    assert_eq!(fake.person().await.exit, 0);
}

#[tokio::test]
async fn it_can_be_accepted_until_a_date() {
    let (fake, _, _) = flipped().await;
    fake.configure("accept: [{finding: relabelled, namespace: redis, reason: moving, until: 2026-12-01}]");
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict(), ran.events.len()), (0, Verdict::Verified, 0), "{ran:#?}");
    fake.merge_fails("ReconciliationFailed", "it is invalid");
    assert_eq!(fake.run().await.exit, 3, "what is accepted is no finding of a run that compares nothing");
    fake.kustomization(|k| k.status.not_applied = None);
    fake.pass(Duration::from_secs(30 * 86_400));
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.roots().len()), (1, 1), "told again: {late:#?}");
}
