//! `probe`: one flow that a person names, over the world in memory.

use std::time::Duration;

use netpol_verify::{
    engine::{explain::Question, plan::Limits, reach::Reach},
    input::{InputSet, Options},
    model::{FlowResult, Outcome, PodRef, Strength, Unseen},
    report::probe,
    verify::{
        by_hand::{Hand, Looked},
        probing::Patience,
    },
};

use crate::{
    support::schemas,
    usecase::{
        fake::{Broken, Fake, manifests},
        shop::{Files, checked, cluster},
    },
};

/// The customer's cluster, whose policies no run has looked at.
fn merged() -> Fake {
    let fake = cluster();
    fake.push(&Files::base());
    fake
}

/// Asks as the command does.
struct Asks<'f> {
    fake: &'f Fake,
    given: Option<Files>,
    limits: Limits,
    controls_from: Option<&'static str>,
}

impl<'f> Asks<'f> {
    fn new(fake: &'f Fake) -> Self {
        let limits = Limits { max_probes: 100, probe_denied_outside: true, never: Vec::new() };
        Self { fake, given: None, limits, controls_from: None }
    }

    async fn try_look(&self, source: &str, destination: &str, port: &str) -> Result<Looked, String> {
        let set = InputSet::of_cluster(self.fake.world().snapshot(), Options::default()).unwrap();
        let world = set.world(&set, None);
        let reach = Reach::new(&world);
        let question = Question::new(&reach, &set.snapshot, &set.documents);
        let documents = self.given.as_ref().map(|files| manifests::documents(&files.list(), None));
        let given = documents.map(|documents| InputSet {
            read: netpol_verify::engine::read::documents(&documents).unwrap(),
            documents,
            ..set.clone()
        });
        let given_world = given.as_ref().map(|given| given.world(given, Some(&set)));
        let given_reach = given_world.as_ref().map(Reach::new);
        let declared = given.as_ref().zip(given_reach.as_ref());
        let declared = declared.map(|(given, reach)| (Question::new(reach, &given.snapshot, &given.documents), reach));
        let hand = Hand {
            wire: self.fake,
            cluster: self.fake,
            snapshot: &set.snapshot,
            reach: &reach,
            live: &question,
            declared: declared.as_ref().map(|(question, reach)| (question, *reach)),
            probe_from: &|name| self.controls_from.is_none_or(|only| only == name),
            limits: &self.limits,
            patience: Patience { settle: Duration::from_secs(10), deadline: Duration::from_secs(60) },
        };
        let looked = hand.look(source, destination, port).await.map_err(|trouble| trouble.to_string())?;
        let json = probe::to_json(&looked.shown, &looked.denial, ("2026-11-20T09:00:00Z", "2026-11-20T09:00:09Z"));
        schemas::assert_documented("probe", &serde_json::from_str(&json.unwrap()).unwrap());
        Ok(looked)
    }

    async fn look(&self, source: &str, destination: &str, port: &str) -> Looked {
        self.try_look(source, destination, port).await.unwrap()
    }
}

async fn look(fake: &Fake, source: &str, destination: &str, port: &str) -> Looked {
    Asks::new(fake).look(source, destination, port).await
}

/// The one result, with its text.
fn only(looked: &Looked) -> (&netpol_verify::engine::by_hand::Shown, String) {
    assert_eq!(looked.shown.len(), 1, "{looked:#?}");
    (&looked.shown[0], probe::to_text(&looked.shown[0]))
}

fn pod(fake: &Fake, workload: &str) -> PodRef {
    fake.world().pods.iter().find(|p| p.info.workload.to_string() == workload).unwrap().info.id.clone()
}

fn breaks(fake: &Fake, source: &str, open: bool) {
    let destination = "redis/redis".to_owned();
    fake.world().broken.push(Broken { source: source.to_owned(), destination, port: 6379, open });
}

#[tokio::test]
async fn an_open_flow_is_seen_at_once_with_the_rules_that_open_it() {
    let fake = merged();
    let looked = look(&fake, "shop/deploy/web", "redis/redis", "6379").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.observed, shown.tries), (0, Outcome::Open, 1), "{text}");
    let first = "as the policies say: shop/Deployment/web -> redis/Deployment/redis:6379/TCP is open\n";
    assert!(text.starts_with(first), "{text}");
    for part in [
        "egress  allowed: NetworkPolicy/shop/web-egress-redis egress[0]",
        "ingress allowed: NetworkPolicy/redis/redis-ingress-web ingress[0]",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains(&format!("open from {} on node-1 to ", pod(&fake, "shop/web"))), "{text}");
    assert_eq!(fake.world().execs, 1, "an open flow proves itself");
}

#[tokio::test]
async fn nothing_is_written_anywhere() {
    let fake = merged();
    for destination in ["redis/redis", "bank/api"] {
        look(&fake, "shop/deploy/web", destination, "6379").await;
    }
    let world = fake.world();
    assert_eq!((world.state.as_ref(), world.room.len(), world.kubernetes_events.len()), (None, 0, 0));
    assert!(world.written == 0 && !world.lock_held);
}

#[tokio::test]
async fn a_closed_flow_is_believed_with_its_controls() {
    let fake = merged();
    let looked = look(&fake, "shop/deploy/cart", "redis/redis", "6379").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.observed), (0, Outcome::Timeout), "{text}");
    assert!(shown.tries >= 2, "once is none: {}", shown.tries);
    let controls = shown.flow.controls.clone().unwrap();
    assert_eq!(controls.strength, Strength::Full);
    assert_eq!(controls.target.unwrap(), format!("open from {}", pod(&fake, "shop/web")));
    assert_eq!(controls.source.unwrap(), "open to kube-system/kube-dns:53");
    for part in
        ["is closed, times out", "egress  denied: NetworkPolicy/shop/default-deny-all isolates it", "proof   full"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn packets_that_do_otherwise_are_told_with_the_node() {
    for (source, open, words) in
        [("cart", true, "should be closed, is open"), ("web", false, "should be open, times out")]
    {
        let fake = merged();
        breaks(&fake, &format!("shop/{source}"), open);
        let looked = look(&fake, &format!("shop/deploy/{source}"), "redis/redis", "6379").await;
        let (shown, text) = only(&looked);
        assert_eq!((looked.exit_code(), shown.flow.result), (1, FlowResult::Enforcement), "{text}");
        assert!(text.starts_with("NOT as the policies say: ") && text.contains(words), "{text}");
        assert!(text.contains("look at the policy agent (calico-node) of node node-1"), "{text}");
    }
}

#[tokio::test]
async fn what_a_dead_target_or_a_missing_tool_hides_is_not_told() {
    let fake = merged();
    fake.pod_of("redis/redis", |p| p.listens.clear());
    fake.pod_of("redis/redis", |p| p.info.ready = false);
    let looked = look(&fake, "shop/deploy/cart", "redis/redis", "6379").await;
    assert_eq!((looked.exit_code(), only(&looked).0.flow.state), (3, Some(Unseen::Pending)), "{looked:#?}");

    let fake = merged();
    fake.pod_of("shop/web", |p| p.has_nc = false);
    let looked = look(&fake, "shop/deploy/web", "redis/redis", "6379").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.observed), (3, Outcome::ToolMissing), "{text}");
    assert!(text.starts_with("NOT TOLD: ") && text.contains("probe from another pod"), "{text}");
}

#[tokio::test]
async fn the_pod_that_is_named_is_the_one_that_is_probed() {
    let fake = merged();
    fake.scale("redis/redis", 3);
    fake.scale("shop/web", 3);
    let id = |workload: &str, index: usize| {
        let world = fake.world();
        let mut all = world.pods.iter().filter(|p| p.info.workload.to_string() == workload);
        let found = all.nth(index).unwrap().info.clone();
        (found.id.to_string(), found.ips[0].to_string())
    };
    for index in 0..3 {
        let ((from, _), (to, address)) = (id("shop/web", index), id("redis/redis", index));
        let looked = look(&fake, &from, &to, "6379").await;
        let flow = &only(&looked).0.flow;
        assert_eq!((flow.source_pod.clone().unwrap().to_string(), flow.target.clone().unwrap()), (from, address));
    }
    // Also where that one cannot answer: another pod in its place would be an answer to another question.
    let down = id("redis/redis", 1).0;
    fake.world().pods.iter_mut().filter(|p| p.info.id.to_string() == down).for_each(|p| p.info.ready = false);
    let looked = look(&fake, "shop/deploy/web", &down, "6379").await;
    assert_eq!((looked.exit_code(), only(&looked).0.flow.target.clone()), (3, None), "{looked:#?}");
    assert_eq!(look(&fake, "shop/deploy/web", "redis/redis", "6379").await.exit_code(), 0, "the control");
}

#[tokio::test]
async fn an_end_that_does_not_exist_is_named_with_those_that_do() {
    let fake = merged();
    let asks = Asks::new(&fake);
    for (source, destination, port, words) in [
        ("shop/wbe", "redis/redis", "6379", "namespace `shop` has Deployment/cart, Deployment/web"),
        ("shop/web", "redis/redsi", "6379", "namespace `redis` has Deployment/redis; did you mean `redis/redis`?"),
        ("shop/web", "reddis/redis", "6379", "nothing is in namespace `reddis`; did you mean `redis/redis`?"),
        ("shop/web-6f4d9c-x2k7q", "redis/redis", "6379", "web's pods are web-1"),
        ("10.9.9.9", "redis/redis", "6379", "a probe starts in a pod"),
        ("example.org", "redis/redis", "6379", "a probe starts in a pod"),
        ("shop/web", "10.9.0.0/16", "6379", "a probe goes to one address"),
        ("shop/web", "redis/redis", "http", "declares no port `http/TCP`"),
        ("shop/web", "redis/redis", "0", "not between 1 and 65535"),
    ] {
        let told = asks.try_look(source, destination, port).await.unwrap_err();
        assert!(told.contains(words), "{source} {destination} {port}: {told}");
    }
    assert_eq!(fake.world().execs, 0, "nothing was tried");
}

#[tokio::test]
async fn a_name_is_resolved_where_the_probe_starts() {
    let fake = merged();
    let redis = fake.world().pods.iter().find(|p| p.info.workload.name == "redis").unwrap().info.ips[0];
    let far = "198.51.100.7".parse().unwrap();
    fake.world().outside.insert((far, 443));
    fake.world().names.insert("redis.redis".to_owned(), vec![redis]);
    fake.world().names.insert("far.example.org".to_owned(), vec![far]);

    let looked = look(&fake, "shop/deploy/web", "redis.redis", "6379").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.target.clone()), (0, Some(redis.to_string())), "{text}");
    assert!(text.contains("(redis.redis) is open"), "{text}");

    let looked = look(&fake, "shop/deploy/web", "far.example.org", "443").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.live.to_string()), (0, "denied".to_owned()), "{text}");
    assert!(text.contains("-> 198.51.100.7:443/TCP (far.example.org) is closed"), "{text}");

    let looked = look(&fake, "shop/deploy/web", "nobody.example.org", "443").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.observed), (3, Outcome::Dns), "{text}");
    assert!(text.contains("`nobody.example.org` could not be resolved in shop/web"), "{text}");
}

#[tokio::test]
async fn opted_out_pods_and_what_is_never_probed_are_left_alone() {
    let fake = merged();
    fake.pod_of("redis/redis", |p| {
        p.info.annotations.insert("netpol-verify/probe".to_owned(), "disabled".to_owned());
    });
    let looked = look(&fake, "shop/deploy/web", "redis/redis", "6379").await;
    assert!(looked.exit_code() == 3 && only(&looked).1.contains("has opted out"), "{looked:#?}");
    // A name would be asked of the pod itself.
    let looked = look(&fake, "redis/redis", "redis.redis", "6379").await;
    assert!(looked.exit_code() == 3 && only(&looked).1.contains("has opted out"), "{looked:#?}");

    let limits = Asks::new(&fake).limits;
    let never = netpol_verify::engine::plan::NeverProbe { cidr: None, name: None, port: Some(8080) };
    let asks = Asks { limits: Limits { never: vec![never], ..limits }, ..Asks::new(&fake) };
    let looked = asks.look("shop/deploy/web", "bank/api", "8080").await;
    assert!(looked.exit_code() == 3 && only(&looked).1.contains("neverProbe"), "{looked:#?}");
    assert_eq!(fake.world().execs, 0);
}

#[tokio::test]
async fn controls_start_only_where_they_may() {
    let fake = merged();
    let asks = Asks { controls_from: Some("redis"), ..Asks::new(&fake) };
    let looked = asks.look("shop/deploy/cart", "redis/redis", "6379").await;
    let controls = only(&looked).0.flow.controls.clone().unwrap();
    assert_eq!((looked.exit_code(), controls.target.as_deref()), (0, Some("open from itself")), "{looked:#?}");
    let asked = fake.world().asked.clone();
    assert!(asked.iter().all(|(pod, ..)| pod.name.starts_with("cart") || pod.namespace == "redis"), "{asked:?}");
}

#[tokio::test]
async fn what_changes_under_a_probe_proves_nothing() {
    let fake = merged();
    fake.world().on_sleep = Some(Box::new(|fake| fake.replace("redis/redis")));
    let looked = look(&fake, "shop/deploy/cart", "redis/redis", "6379").await;
    assert!(looked.exit_code() == 3 && only(&looked).1.contains("probe again"), "{looked:#?}");

    let fake = merged();
    fake.world().on_sleep = Some(Box::new(|fake| fake.kubectl_delete("shop", "default-deny-all")));
    let looked = look(&fake, "shop/deploy/cart", "redis/redis", "6379").await;
    assert!(looked.exit_code() == 3 && only(&looked).1.contains("policies changed during the probe"), "{looked:#?}");
}

#[tokio::test]
async fn a_data_plane_that_follows_late_is_waited_for() {
    let (fake, mut files) = checked().await;
    fake.world().lag = Duration::from_secs(3);
    fake.push(files.bank_egress().bank_ingress());
    let looked = look(&fake, "shop/deploy/web", "bank/api", "8080").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.observed), (0, Outcome::Open), "{text}");
    assert!(shown.flow.converged_ms.unwrap() >= 2000 && text.contains("settled after"), "{text}");
}

#[tokio::test]
async fn manifests_are_held_against_the_live_policies_and_get_the_entry_to_add() {
    let fake = merged();
    let given = |files: &Files| Asks { given: Some(files.clone()), ..Asks::new(&fake) };
    let mut files = Files::base();
    let looked = given(&files).look("shop/deploy/web", "redis/redis", "6379").await;
    assert_eq!(looked.exit_code(), 0, "the control: {looked:#?}");

    files.bank_egress();
    let looked = given(&files).look("shop/deploy/web", "bank/api", "8080").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.live.to_string()), (0, "denied".to_owned()), "{text}");
    assert!(text.contains("To open ingress, add to infra/bank/baseline.yaml"), "{text}");

    let looked = given(files.bank_ingress()).look("shop/deploy/web", "bank/api", "8080").await;
    let (shown, text) = only(&looked);
    assert_eq!((looked.exit_code(), shown.flow.result), (1, FlowResult::Drift), "{text}");
    assert!(
        text.starts_with("NOT as the manifests say: ") && text.contains("is open there, closed by the live"),
        "{text}"
    );
}

#[tokio::test]
async fn several_flows_are_told_one_by_one_and_counted() {
    let fake = merged();
    let redis = fake.world().pods.iter().find(|p| p.info.workload.name == "redis").unwrap().info.ips[0];
    let api = fake.world().pods.iter().find(|p| p.info.workload.name == "api").unwrap().info.ips[0];
    fake.world().names.insert("both.example.org".to_owned(), vec![redis, api]);
    fake.pod_of("bank/api", |p| p.listens.extend([6379]));
    let looked = look(&fake, "shop/deploy/web", "both.example.org", "6379").await;
    let live: Vec<String> = looked.shown.iter().map(|one| one.flow.live.to_string()).collect();
    assert_eq!((looked.exit_code(), looked.shown.len()), (0, 2), "{looked:#?}");
    assert!(live.contains(&"allowed".to_owned()) && live.contains(&"denied".to_owned()), "{live:?}");
    assert_eq!(probe::summary(&looked.shown).unwrap(), "2 flows: 2 as the policies say, 0 not, 0 not told");
    breaks(&fake, "shop/web", false);
    let looked = look(&fake, "shop/deploy/web", "both.example.org", "6379").await;
    assert_eq!(looked.exit_code(), 1, "{looked:#?}");
    assert_eq!(probe::summary(&looked.shown).unwrap(), "2 flows: 1 as the policies say, 1 not, 0 not told");
}

#[tokio::test]
async fn a_service_is_asked_beside_its_endpoints_as_users_connect() {
    let fake = merged();
    let address = fake.service(("redis", "redis"), "redis", 80, 6379);
    for destination in ["svc/redis/redis", "10.96.0.1"] {
        let looked = look(&fake, "shop/deploy/web", destination, "80").await;
        let (shown, text) = only(&looked);
        assert_eq!((looked.exit_code(), shown.flow.port), (0, 6379), "{text}");
        assert!(text.contains(&format!("service open at redis.redis:80 ({address})")), "{text}");
    }
    let looked = look(&fake, "shop/deploy/cart", "svc/redis/redis", "80").await;
    assert_eq!((looked.exit_code(), looked.shown[0].flow.services[0].observed), (0, Outcome::Timeout), "{looked:#?}");

    // What another Service of the same pods does is another question.
    fake.service(("redis", "other"), "redis", 81, 6379);
    let other = fake.world().services[1].cluster_ips[0];
    fake.world().lost_services.insert(other);
    let looked = look(&fake, "shop/deploy/web", "svc/redis/redis", "80").await;
    assert_eq!(looked.exit_code(), 0, "{looked:#?}");
    let looked = look(&fake, "shop/deploy/web", "redis/redis", "6379").await;
    assert!(looked.exit_code() == 3 && only(&looked).1.contains("other.redis:81 does not"), "{looked:#?}");

    fake.world().lost_services.insert(address);
    let looked = look(&fake, "shop/deploy/web", "svc/redis/redis", "80").await;
    let (_, text) = only(&looked);
    assert!(looked.exit_code() == 3 && text.contains("redis.redis:80 does not (timeout)"), "{text}");
}
