//! A run whose probes are shared by the pods of an Indexed Job.

use std::{collections::BTreeSet, time::Duration};

use netpol_verify::{
    model::{FlowReport, FlowResult, Outcome, Unseen, Verdict},
    verify::{
        seams::{Clock, Desk, ProbeSource, ProbeTarget, Prober, Seen, Ticket, Wire},
        shards::work,
    },
};

use crate::usecase::{
    fake::{Fake, Ran, Seat},
    shop::{Files, REDIS, checked},
};

/// Four nodes with a pod of shop/web on each; the data plane of `node-4` stopped before redis was closed.
async fn on_four_nodes(stale: bool) -> (Fake, Files) {
    let (fake, mut files) = checked().await;
    for node in ["node-2", "node-3", "node-4"] {
        fake.app("shop", "web", &[80]);
        fake.world().pods.last_mut().unwrap().info.node = Some(node.to_owned());
    }
    if stale {
        let old = fake.world().enforced();
        files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml");
        fake.push(&files);
        fake.run().await;
        fake.world().stale = Some(("node-4".to_owned(), old));
    }
    (fake, files)
}

/// What people read of a flow, without times.
fn words(flow: &FlowReport) -> String {
    let FlowReport { result, observed, only_on, as_declared_on, controls, state, node, .. } = flow;
    format!("{} {result:?} {observed:?} {only_on:?} {as_declared_on:?} {controls:?} {state:?} {node:?}", flow.key())
}

async fn swept_by(others: usize, stale: bool) -> (Ran, usize) {
    let (fake, _) = on_four_nodes(stale).await;
    fake.world().others.count = others;
    let ran = fake.swept().await;
    let given = fake.world().others.given;
    (ran, given)
}

#[tokio::test]
async fn what_many_pods_see_is_what_one_sees() {
    for stale in [false, true] {
        let (alone, given) = swept_by(0, stale).await;
        assert_eq!((given, alone.exit), (0, u8::from(stale)), "{alone:#?}");
        let expected: Vec<String> = alone.flows().iter().map(words).collect();
        for others in [1, 2, 3, 6] {
            let (ran, given) = swept_by(others, stale).await;
            assert_eq!(ran.flows().iter().map(words).collect::<Vec<_>>(), expected, "{others} others");
            let pods = ran.report.as_ref().unwrap().sweep.unwrap().pods;
            assert_eq!((given, pods), (others.min(3), others.min(3) + 1), "a node is one pod's: {others} others");
            assert_eq!(ran.exit, alone.exit);
        }
        if stale {
            assert_eq!(alone.flow(REDIS).only_on, ["node-4"], "the control: there is something to see");
        }
    }
}

/// Flows of a share that nobody answers for.
fn lost(ran: &Ran) -> BTreeSet<String> {
    let pending = |flow: &&FlowReport| flow.state == Some(Unseen::Pending);
    ran.flows().iter().filter(pending).map(FlowReport::key).collect()
}

/// What a share that is lost leaves behind, with its reason; the next run, of one pod, sees it.
async fn comes_back(fake: Fake, reason: &str) {
    let everything = swept_by(0, false).await.0.keys();
    let ran = fake.swept().await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    assert_eq!(ran.keys(), everything, "none is lost");
    let pending = lost(&ran);
    assert!(!pending.is_empty() && pending.len() < everything.len(), "{pending:?}");
    for flow in ran.flows().iter().filter(|flow| pending.contains(&flow.key())) {
        assert_eq!((flow.result, flow.observed), (FlowResult::Inconclusive, Outcome::NotProbed), "never green");
        assert!(flow.note.as_ref().unwrap().contains(reason), "{:?}", flow.note);
    }
    let kept: BTreeSet<String> = fake.state().flows.keys().cloned().collect();
    assert_eq!(kept, pending, "they are owed");
    fake.world().others.count = 0;
    let next = fake.scheduled().await;
    assert_eq!((next.exit, next.verdict()), (0, Verdict::Verified), "{next:#?}");
    assert!(pending.iter().all(|key| next.flow(key).result == FlowResult::Verified), "{next:#?}");
    assert!(fake.state().flows.is_empty());
}

/// All flows start on two nodes, so that a share holds flows that no other one has.
async fn on_two_nodes() -> Fake {
    let (fake, _) = checked().await;
    for pod in &mut fake.world().pods {
        pod.info.node = Some(if pod.info.id.namespace == "shop" { "node-2" } else { "node-1" }.to_owned());
    }
    fake.world().others.count = 1;
    fake
}

#[tokio::test]
async fn flows_of_a_pod_that_does_nothing_are_pending() {
    let fake = on_two_nodes().await;
    fake.world().others.stuck.insert(1);
    comes_back(fake, "pod 1 of the Job did not answer within 615 s").await;
}

#[tokio::test]
async fn flows_of_a_pod_that_was_killed_are_pending() {
    let fake = on_two_nodes().await;
    fake.world().others.die.insert(1);
    comes_back(fake, "pod 1 of the Job ended without an answer").await;
}

#[tokio::test]
async fn an_answer_to_something_else_shows_nothing() {
    let fake = on_two_nodes().await;
    fake.world().others.careless.insert(1);
    comes_back(fake, "pod 1 of the Job answered another question than it was asked").await;
}

/// What is known before the shares are dealt costs nothing.
#[tokio::test]
async fn a_pod_that_cannot_be_given_anything_costs_nothing() {
    type Break = fn(&mut crate::usecase::fake::Others);
    let breaks: [Break; 3] =
        [|others| others.gone.extend([1]), |others| others.unreachable.extend([1]), |others| others.unknown = true];
    for harm in breaks {
        let fake = on_two_nodes().await;
        harm(&mut fake.world().others);
        let ran = fake.swept().await;
        assert_eq!((ran.exit, ran.verdict(), lost(&ran).len()), (0, Verdict::Verified, 0), "{ran:#?}");
    }
}

#[tokio::test]
async fn each_pod_may_probe_as_much_as_one() {
    let probes = |ran: &Ran| ran.report.as_ref().unwrap().sweep.unwrap();
    for (others, expected) in [(0, 2), (1, 4)] {
        let fake = on_two_nodes().await;
        fake.world().others.count = others;
        fake.configure("probe: {maxProbes: 2}");
        let ran = fake.swept().await;
        assert!(probes(&ran).probes == expected && probes(&ran).left > 0, "{:?}", probes(&ran));
    }
}

/// A pod at whose place a task lies, and whose probes never end.
async fn stuck_at_work() -> Fake {
    let fake = on_two_nodes().await;
    fake.world().others.stuck.insert(1);
    fake.swept().await;
    fake.world().hangs = Some("web".to_owned());
    let seat = Seat { fake: &fake, index: 1 };
    assert_eq!(seat.ticket().await.unwrap(), Some(Ticket("1".to_owned())));
    fake
}

/// A pod's hands whose time is that of the test's runtime, which goes to the next moment that somebody waits for.
struct Slow<'f> {
    fake: &'f Fake,
    begun: tokio::time::Instant,
}

impl Wire for Slow<'_> {
    type Prober = Self;
    type Clock = Self;

    fn prober(&self) -> &Self {
        self
    }

    fn clock(&self) -> &Self {
        self
    }
}

impl Prober for Slow<'_> {
    async fn probe(&self, source: &ProbeSource, targets: &[ProbeTarget]) -> Vec<Seen> {
        self.fake.probe(source, targets).await
    }
}

impl Clock for Slow<'_> {
    fn now(&self) -> String {
        String::new()
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Lets the pod work while `change` happens in its seventh second; gives how many tasks it did, and in which time.
async fn at_work_while(fake: &Fake, change: impl FnOnce(&Fake)) -> (usize, Duration) {
    let slow = Slow { fake, begun: tokio::time::Instant::now() };
    let changed = async {
        slow.sleep(Duration::from_secs(7)).await;
        change(fake);
    };
    let seat = Seat { fake, index: 1 };
    let (done, ()) = tokio::join!(work(&slow, &seat), changed);
    (done.unwrap(), slow.elapsed())
}

/// The pod that makes the run was begun anew, and has given something else.
#[tokio::test(start_paused = true)]
async fn a_share_that_nobody_waits_for_any_more_is_dropped_for_the_next_one() {
    let fake = stuck_at_work().await;
    let anew = |fake: &Fake| {
        let mut world = fake.world();
        world.others.places.get_mut(&1).unwrap().0 = Ticket("2".to_owned());
        world.hangs = None;
    };
    let (done, took) = at_work_while(&fake, anew).await;
    assert!(done == 1 && took < Duration::from_secs(60), "not at the end of the first one's time: {done} in {took:?}");
    let world = fake.world();
    assert_eq!(world.others.read, 2, "each task once, however often the pod looks whether it is wanted");
    let (ticket, _, answer) = &world.others.places[&1];
    assert!(ticket.0 == "2" && answer.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pod_stops_probing_when_the_run_has_ended() {
    let fake = stuck_at_work().await;
    let (done, took) = at_work_while(&fake, |fake| fake.world().others.places.clear()).await;
    assert!(done == 0 && took < Duration::from_secs(60), "{done} in {took:?}");
}
