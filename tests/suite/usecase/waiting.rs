//! Rules and flows that could not be told at first: what their thread hears when they are seen.

use std::time::Duration;

use netpol_verify::model::{FlowResult, Unseen, Verdict};

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{BANK, Files, checked, cluster, opens},
};

const QUEUE: &str = "shop/queue -> redis/redis:6379/TCP";

fn queue_egress(files: &mut Files) -> &mut Files {
    files.put("infra/shop/queue.yaml", &opens("egress", ("shop", "queue"), ("redis", "redis"), 6379))
}

fn queue_ingress(files: &mut Files) -> &mut Files {
    files.put("infra/redis/queue.yaml", &opens("ingress", ("redis", "redis"), ("shop", "queue"), 6379))
}

/// The one reply of a run, which is in the thread of `to`.
fn reply<'r>(ran: &'r Ran, to: &Ran) -> &'r str {
    let replies = ran.replies();
    assert_eq!(replies.len(), 1, "{:#?}", ran.events);
    assert_eq!(replies[0].thread.as_ref(), Some(&to.root().id), "{:#?}", ran.events);
    assert!(!replies[0].mentions);
    &replies[0].body
}

async fn waits(files: &mut Files, fake: &Fake) -> Ran {
    fake.push(files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    ran
}

#[tokio::test]
async fn rules_that_waited_and_are_seen_say_so_once_in_their_thread() {
    let (fake, mut files) = checked().await;
    let told = waits(queue_ingress(queue_egress(&mut files)), &fake).await;
    fake.app("shop", "queue", &[80]);
    let seen = fake.scheduled().await;
    assert_eq!((seen.exit, seen.roots().len()), (0, 0), "{seen:#?}");
    let body = reply(&seen, &told);
    assert!(body.starts_with("✅ clears main@0000002 (2 rules)\n"), "{body}");
    assert!(body.contains("\n• NetworkPolicy/shop/queue-egress-redis egress[0]\n"), "{body}");
    assert!(fake.state().flows.is_empty() && fake.state().trouble.is_none());
    assert_eq!(fake.scheduled().await.events.len(), 0, "once");
}

#[tokio::test]
async fn a_rule_that_waited_and_is_found_wrong_says_so_in_its_thread() {
    let (fake, mut files) = checked().await;
    let told = waits(queue_egress(&mut files), &fake).await;
    fake.app("shop", "queue", &[80]);
    let wrong = fake.scheduled().await;
    assert_eq!((wrong.exit, wrong.flow(QUEUE).result), (1, FlowResult::MissingEntry), "{wrong:#?}");
    assert!(wrong.root().mentions);
    let body = reply(&wrong, &told);
    assert!(body.starts_with("❌ main@0000002: seen now, and not as it should be (1 rule)\n"), "{body}");
    assert_eq!(fake.scheduled().await.events.len(), 0, "once");
    fake.push(queue_ingress(&mut files));
    let cured = fake.run().await;
    assert_eq!(cured.exit, 0, "{cured:#?}");
    assert!(reply(&cured, &wrong).starts_with("✅ clears "), "the finding has a thread of its own");
}

#[tokio::test]
async fn a_rule_whose_workload_comes_without_pods_goes_on_waiting_in_silence() {
    let (fake, mut files) = checked().await;
    let told = waits(queue_ingress(queue_egress(&mut files)), &fake).await;
    let since = fake.state().flows.values().next().unwrap().since.clone();
    fake.app("shop", "queue", &[80]);
    fake.scale("shop/queue", 0);
    let still = fake.scheduled().await;
    assert_eq!((still.exit, still.events.len()), (0, 0), "{still:#?}");
    assert_eq!((still.flow(QUEUE).state, still.flow(QUEUE).new), (Some(Unseen::Waiting), false));
    assert_eq!(fake.state().flows[QUEUE].since, since, "it waits as long as its rule");
    fake.scale("shop/queue", 1);
    let seen = fake.scheduled().await;
    assert_eq!((seen.exit, seen.roots().len()), (0, 0), "{seen:#?}");
    assert!(reply(&seen, &told).starts_with("✅ clears main@0000002 (1 flow)\n"));
}

#[tokio::test]
async fn a_rule_that_moves_within_its_policy_waits_on_and_its_week_goes_on() {
    let (fake, mut files) = checked().await;
    let told = waits(queue_egress(&mut files), &fake).await;
    fake.pass(Duration::from_secs(5 * 86_400));
    // Another rule now stands where it stood.
    let one = files.0["infra/shop/queue.yaml"].clone();
    let two = one.replace(
        "  egress:\n",
        "  egress:\n  - to:\n    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}\n    ports:\n    - {protocol: TCP, port: 53}\n",
    );
    fake.push(files.put("infra/shop/queue.yaml", &two));
    let moved = fake.run().await;
    assert_eq!(moved.report.as_ref().unwrap().standing.waiting, 2, "{moved:#?}");
    assert_eq!(moved.root().body.matches(" waits: ").count(), 1, "the new one alone is news: {}", moved.root().body);
    fake.pass(Duration::from_secs(3 * 86_400));
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.roots().len()), (1, 1), "{late:#?}");
    assert!(late.root().body.contains("egress[1] waits"), "{}", late.root().body);
    assert_eq!(late.root().body.matches("more than 7 days").count(), 1, "{}", late.root().body);
    fake.app("shop", "queue", &[80]);
    fake.push(queue_ingress(&mut files));
    let seen = fake.run().await;
    assert_eq!(seen.exit, 0, "{seen:#?}");
    let threads: Vec<_> = seen.replies().iter().filter_map(|e| e.thread.clone()).collect();
    assert!(!threads.contains(&told.root().id), "the overdue one was told again since: {:#?}", seen.events);
    assert_eq!(threads.len(), 2, "one in each message's thread: {:#?}", seen.events);
}

#[tokio::test]
async fn rules_that_wait_on_the_first_run_are_counted_and_never_announced() {
    let (fake, mut files) = (cluster(), Files::base());
    fake.push(queue_ingress(queue_egress(&mut files)));
    let first = fake.run().await;
    assert_eq!((first.exit, first.report.as_ref().unwrap().standing.waiting), (0, 2), "{first:#?}");
    fake.app("shop", "queue", &[80]);
    let seen = fake.scheduled().await;
    assert_eq!((seen.exit, seen.events.len()), (0, 0), "{seen:#?}");
    assert_eq!(seen.flow(QUEUE).result, FlowResult::Verified);
}

#[tokio::test]
async fn a_pending_flow_that_is_found_wrong_says_so_in_its_thread() {
    let (fake, mut files) = checked().await;
    fake.pod_of("bank/api", |p| p.info.ready = false);
    let told = waits(files.bank_egress(), &fake).await;
    fake.pod_of("bank/api", |p| p.info.ready = true);
    let wrong = fake.scheduled().await;
    assert_eq!((wrong.exit, wrong.flow(BANK).result), (1, FlowResult::MissingEntry), "{wrong:#?}");
    assert!(reply(&wrong, &told).starts_with("❌ main@0000002: seen now, and not as it should be (1 flow)\n"));
}

#[tokio::test]
async fn a_pending_flow_that_another_merge_decides_otherwise_is_cleared_in_that_merges_thread() {
    let (fake, mut files) = checked().await;
    fake.pod_of("bank/api", |p| p.info.ready = false);
    waits(files.bank_egress().bank_ingress(), &fake).await;
    let closed = waits(files.remove("infra/shop/bank.yaml").remove("infra/bank/web.yaml"), &fake).await;
    assert!(closed.headline().contains("1 of 1 changed flow could not be verified"), "{}", closed.headline());
    fake.pod_of("bank/api", |p| p.info.ready = true);
    let seen = fake.scheduled().await;
    assert_eq!((seen.exit, seen.flow(BANK).result), (0, FlowResult::Verified), "{seen:#?}");
    assert!(reply(&seen, &closed).starts_with("✅ clears main@0000003 (1 flow)\n"));
}
