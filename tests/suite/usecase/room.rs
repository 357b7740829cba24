//! What the room gets to read, and when it does not.

use std::time::Duration;

use netpol_verify::model::{FlowResult, OutboxKind, Unseen, Verdict};

use crate::usecase::{
    fake::{Broken, Fake, revision},
    shop::{BANK, Files, REDIS, checked, opens},
};

const CART: &str = "shop/cart -> redis/redis:6379/TCP";

fn cart(files: &mut Files) -> &mut Files {
    files.put("infra/shop/cart.yaml", &opens("egress", ("shop", "cart"), ("redis", "redis"), 6379));
    files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379))
}

#[tokio::test]
async fn a_room_that_is_down_gets_the_old_message_first_and_once() {
    let (fake, mut files) = checked().await;
    fake.world().room_is_down = true;
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Verified), "{ran:#?}");
    assert_eq!(ran.events.len(), 0);
    assert!(!fake.state().outbox.is_empty());
    let again = fake.run().await;
    assert_eq!(again.exit, 3, "what is owed makes any exit 3: {again:#?}");
    fake.push(cart(&mut files));
    fake.world().room_is_down = false;
    let next = fake.run().await;
    assert_eq!(next.exit, 0, "{next:#?}");
    let heads: Vec<&str> = next.roots().iter().map(|e| e.first_line()).collect();
    assert_eq!(
        heads,
        [
            "✅ infra main@0000002 verified — 1 flow changed, 1 probed as declared, no drift",
            "✅ infra main@0000003 verified — 1 flow changed, 1 probed as declared, no drift",
        ]
    );
    assert!(fake.state().outbox.is_empty());
}

#[tokio::test]
async fn a_watcher_run_for_a_checked_revision_still_sends_what_is_owed() {
    let (fake, mut files) = checked().await;
    fake.world().room_is_down = true;
    fake.push(files.bank_egress().bank_ingress());
    assert_eq!(fake.run().await.exit, 3);
    fake.world().room_is_down = false;
    let next = fake.run().await;
    assert_eq!((next.exit, next.roots().len()), (0, 1), "{next:#?}");
    assert_eq!(next.note, "already checked: verified");
}

#[tokio::test]
async fn an_old_red_is_one_last_line_of_a_merge_that_has_nothing_to_do_with_it() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    let red = fake.run().await;
    assert_eq!(red.exit, 1);
    fake.push(cart(&mut files));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert_eq!(ran.headline(), "✅ infra main@0000003 verified — 1 flow changed, 1 probed as declared, no drift");
    assert_eq!(ran.root().body.lines().last(), Some("1 open since main@0000002"), "{}", ran.root().body);
    assert!(!ran.root().mentions, "a finding mentions people once");
    assert_eq!(ran.report.as_ref().unwrap().standing.open.len(), 1);
    assert_eq!(fake.state().verified["flux-system/network-policies"].revision, revision(1));
    fake.push(files.bank_ingress());
    let cured = fake.run().await;
    assert_eq!((cured.exit, cured.replies().len()), (0, 1), "{cured:#?}");
    assert_eq!(cured.replies()[0].thread.as_deref(), Some(red.root().id.as_str()));
    assert_eq!(cured.replies()[0].first_line(), "✅ clears main@0000002 (1 flow)");
    assert!(fake.state().findings.is_empty());
}

#[tokio::test]
async fn an_accepted_red_is_silent_until_its_date() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    assert_eq!(fake.run().await.exit, 1);
    fake.configure(&format!("accept: [{{flow: \"{BANK}\", reason: later, until: 2026-12-01}}]"));
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.verdict(), ran.events.len()), (0, Verdict::Verified, 0), "{ran:#?}");
    fake.push(cart(&mut files));
    let merge = fake.run().await;
    assert_eq!((merge.exit, merge.verdict()), (0, Verdict::Verified), "{merge:#?}");
    assert!(merge.root().body.ends_with("1 accepted until 2026-12-01"), "{}", merge.root().body);
    fake.pass(Duration::from_secs(30 * 86_400));
    let late = fake.scheduled().await;
    assert_eq!((late.exit, late.verdict()), (1, Verdict::Finding), "{late:#?}");
    assert_eq!(late.roots().len(), 1, "that it counts again is told: {late:#?}");
    assert_eq!(late.headline(), "❌ infra main@0000003: 1 of 1 flow is blocked");
    assert!(late.root().mentions);
}

#[tokio::test]
async fn an_unchanged_red_is_brought_to_mind_once_a_day_without_a_mention() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    let red = fake.run().await;
    for _ in 0..3 {
        assert_eq!(fake.scheduled().await.events.len(), 0);
    }
    fake.pass(Duration::from_secs(25 * 3600));
    let day = fake.scheduled().await;
    assert_eq!((day.exit, day.events.len()), (1, 1), "{day:#?}");
    assert_eq!(day.events[0].kind, OutboxKind::Reply);
    assert_eq!(day.events[0].thread.as_deref(), Some(red.root().id.as_str()));
    assert_eq!(day.events[0].first_line(), "❌ 1 finding is still open");
    assert!(!day.events[0].mentions);
    assert_eq!(fake.scheduled().await.events.len(), 0);
    fake.pass(Duration::from_secs(25 * 3600));
    assert_eq!(fake.scheduled().await.events.len(), 1);
}

#[tokio::test]
async fn a_quiet_line_says_what_still_stands_and_mentions_nobody() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    assert!(fake.run().await.root().mentions);
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.events.len()), (1, 1), "{ran:#?}");
    assert_eq!(ran.root().body.lines().last(), Some("1 open since main@0000002"));
    assert!(!ran.root().mentions);
}

#[tokio::test]
async fn a_scheduled_run_without_change_sends_nothing_and_probes_nothing() {
    let (fake, _) = checked().await;
    let before = fake.state();
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.events.len(), fake.world().execs), (0, 0, 0), "{ran:#?}");
    let after = fake.state();
    assert_eq!(after.checked.unwrap().kustomizations, before.checked.unwrap().kustomizations);
    assert_eq!(after.runs.len(), 2);
}

#[tokio::test]
async fn a_flow_that_could_not_be_told_is_retried_in_silence_and_told_when_seen() {
    let (fake, mut files) = checked().await;
    fake.pod_of("bank/api", |p| p.info.ready = false);
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    for _ in 0..2 {
        let again = fake.run().await;
        assert_eq!((again.exit, again.events.len()), (3, 0), "{again:#?}");
    }
    fake.pod_of("bank/api", |p| p.info.ready = true);
    let seen = fake.run().await;
    assert_eq!((seen.exit, seen.verdict()), (0, Verdict::Verified), "{seen:#?}");
    assert_eq!((seen.roots().len(), seen.replies().len()), (0, 1), "{:#?}", seen.events);
    assert_eq!(seen.replies()[0].thread.as_deref(), Some(ran.root().id.as_str()));
    assert_eq!(fake.state().verified["flux-system/network-policies"].revision, revision(2));
}

#[tokio::test]
async fn an_open_finding_whose_flow_cannot_be_told_now_stays_open() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    assert_eq!(fake.run().await.exit, 1);
    fake.push(files.bank_ingress());
    fake.pod_of("bank/api", |p| p.info.ready = false);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "not seen cured: {ran:#?}");
    assert_eq!(fake.state().findings.len(), 1);
    assert_eq!(ran.report.as_ref().unwrap().standing.open.len(), 1, "{ran:#?}");
    fake.pod_of("bank/api", |p| p.info.ready = true);
    let cured = fake.scheduled().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
}

#[tokio::test]
async fn what_a_run_reports_as_new_does_not_stand_from_before() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    let ran = fake.run().await;
    assert!(ran.report.as_ref().unwrap().standing.open.is_empty());
    assert!(!ran.root().body.contains("open since"), "{}", ran.root().body);
    // The same flow goes from one kind of trouble to another: the new one is new, the old one is over.
    fake.push(files.bank_ingress());
    fake.world().broken.push(broken("shop/web", "bank/api", 8080, false));
    let other = fake.run().await;
    assert_eq!(other.exit, 1, "{other:#?}");
    assert!(other.report.as_ref().unwrap().standing.open.is_empty(), "{other:#?}");
    assert_eq!(fake.state().findings.keys().collect::<Vec<_>>(), [&format!("enforcement/{BANK}")]);
}

#[tokio::test]
async fn each_finding_mentions_people_once() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    assert!(fake.run().await.root().mentions);
    // Another one: people are called for it, and then for neither.
    fake.push(files.put("infra/shop/cart.yaml", &opens("egress", ("shop", "cart"), ("redis", "redis"), 6379)));
    let second = fake.run().await;
    assert!(second.root().mentions, "{second:#?}");
    files.put("infra/bank/cart.yaml", &opens("ingress", ("bank", "api"), ("shop", "cart"), 8080));
    files.put("infra/shop/cart-bank.yaml", &opens("egress", ("shop", "cart"), ("bank", "api"), 8080));
    fake.push(&files);
    let third = fake.run().await;
    assert!(!third.root().mentions, "{third:#?}");
    assert_eq!(third.root().body.lines().last(), Some("2 open: 1 since main@0000002, 1 since main@0000003"));
}

#[tokio::test]
async fn probing_ends_by_its_deadline() {
    let (fake, mut files) = checked().await;
    fake.configure("probe: {settle: 30s, deadline: 40s}");
    // Long execs: the rounds are what takes the time.
    fake.world().exec_takes = Duration::from_secs(9);
    fake.world().broken.push(broken("shop/web", "bank/api", 8080, false));
    fake.push(cart(files.bank_egress().bank_ingress()));
    let before = fake.world().elapsed;
    let ran = fake.run().await;
    let took = fake.world().elapsed.saturating_sub(before).as_secs() - 60;
    assert!(took <= 40 + 9 * 4, "{took} s");
    assert_eq!(ran.exit, 1, "{ran:#?}");
    assert!(ran.flow(CART).observed == netpol_verify::model::Outcome::Open);
}

/// All answers of a round were once lost with the one that did not come.
#[tokio::test]
async fn what_was_seen_before_the_deadline_stands() {
    let (fake, mut files) = checked().await;
    fake.world().hangs = Some("cart".to_owned());
    fake.push(cart(files.bank_egress().bank_ingress()));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.flow(BANK).result, FlowResult::Verified, "{ran:#?}");
    let silent = ran.flow(CART);
    assert_eq!((silent.result, silent.state), (FlowResult::Inconclusive, Some(Unseen::Pending)));
    assert!(silent.note.as_ref().unwrap().contains("probe.deadline"), "{silent:#?}");
    fake.world().hangs = None;
    assert_eq!(fake.run().await.exit, 0, "it was owed");
}

#[tokio::test]
async fn all_probing_of_a_run_ends_by_one_deadline() {
    fn again(fake: &Fake) {
        fake.replace("bank/api");
        fake.world().on_probe = Some(Box::new(again));
    }
    let (fake, mut files) = checked().await;
    fake.configure("probe: {settle: 30s, deadline: 40s}");
    fake.world().on_probe = Some(Box::new(again));
    fake.world().broken.push(broken("shop/web", "bank/api", 8080, false));
    fake.push(files.bank_egress().bank_ingress());
    let before = fake.world().elapsed;
    let ran = fake.run().await;
    let took = fake.world().elapsed.saturating_sub(before).as_secs() - 60;
    assert!(took <= 43, "three looks share one deadline: {took} s");
    assert_eq!(ran.exit, 3, "{ran:#?}");
}

#[tokio::test]
async fn the_counts_of_a_message_add_up() {
    let (fake, mut files) = checked().await;
    fake.pod_of("shop/cart", |p| p.has_nc = false);
    fake.push(cart(files.bank_egress()));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    assert_eq!(ran.headline(), "❌ infra main@0000002: 1 of 2 changed flows is blocked and 1 could not be verified");
    let report = ran.report.as_ref().unwrap();
    assert_eq!((report.standing.unprobeable, report.standing.pending, report.standing.waiting), (1, 0, 0));
    assert!(ran.keys().iter().all(|k| k != REDIS));
}

#[tokio::test]
async fn of_two_runs_at_once_one_works_and_the_other_answers_with_its_verdict() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress());
    let before = fake.world().room.len();
    let created = fake.world().now();
    fake.pass(Duration::from_secs(5));
    let job = || netpol_verify::verify::seams::OwnJob { created: Some(created.clone()), ..Default::default() };
    let settings = (fake.settings(job()), fake.settings(job()));
    let (one, other) = tokio::join!(
        netpol_verify::verify::run::run(&fake, &settings.0),
        netpol_verify::verify::run::run(&fake, &settings.1),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.exit, other.exit), (1, 1));
    assert!(one.report.is_some() && other.report.is_none(), "{other:?}");
    let roots = fake.world().room[before..].iter().filter(|e| e.kind == OutboxKind::Root).count();
    assert_eq!(roots, 1);
}

fn broken(source: &str, destination: &str, port: u16, open: bool) -> Broken {
    Broken { source: source.to_owned(), destination: destination.to_owned(), port, open }
}
