//! Three judges of random clusters: the verifier's engine, the slow reading, and the lab's packets.

#[path = "../../../suite/support/convert.rs"]
mod convert;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use lab::net::{Denial, Net, PodSpec, Protocol, Seen, Target};
use netpol_verify::engine::verdict;
use netpol_verify::engine::world::{self, End, Family, World};
use netpol_verify::model::{Decision, PodRef, Protocol as Named};
use oracle::random::{self, Flow, Shape};
use oracle::{Answer, Cluster, tiers};

/// A denied flow takes all of it, and all take it at once.
const LIMIT: Duration = Duration::from_secs(1);

fn shape() -> Shape {
    // Pods in their node's network and finished ones have no network of their own here.
    Shape { host_network: false, finished: false, ..Shape::default() }
}

fn place(end: oracle::End<'_>) -> String {
    match end {
        oracle::End::Pod(pod, _) => convert::id(pod).to_string(),
        oracle::End::Address(address) => address.to_string(),
    }
}

async fn build(cluster: &Cluster) -> Net {
    let net = Net::start().await.unwrap();
    let ports = || shape().ports.into_iter().flat_map(|port| [(Protocol::Tcp, port), (Protocol::Udp, port)]);
    let spec = |name: String, addresses: Vec<IpAddr>| PodSpec {
        name,
        addresses,
        ports: ports().collect(),
        ..PodSpec::default()
    };
    let pods = cluster.pods.iter().map(|pod| spec(convert::id(pod).to_string(), convert::addresses(pod)));
    let hosts = shape().outside.into_iter().map(|address| spec(address.to_string(), vec![address]));
    let all: Vec<PodSpec> = pods.chain(hosts).collect();
    try_join_all(all.iter().map(|spec| net.add_pod(spec))).await.unwrap();
    net
}

/// What was seen of each flow, in their order.
async fn packets(net: &Net, flows: &[&Flow<'_>]) -> Vec<Seen> {
    let mut by_source: BTreeMap<String, Vec<(usize, Target)>> = BTreeMap::new();
    for (number, flow) in flows.iter().enumerate() {
        let protocol = if flow.protocol == "TCP" { Protocol::Tcp } else { Protocol::Udp };
        let target = Target { protocol, to: (flow.dst.address(), flow.port).into() };
        by_source.entry(place(flow.src)).or_default().push((number, target));
    }
    let tried = by_source.iter().map(async |(source, targets)| {
        let (numbers, targets): (Vec<usize>, Vec<Target>) = targets.iter().copied().unzip();
        let seen = net.try_all(source, &targets, LIMIT).await?;
        Ok::<_, lab::net::Error>(numbers.into_iter().zip(seen).collect::<Vec<_>>())
    });
    let mut seen: Vec<(usize, Seen)> = try_join_all(tried).await.unwrap().concat();
    seen.sort_unstable_by_key(|(number, _)| *number);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

struct Engine {
    world: World,
    class_of: BTreeMap<PodRef, usize>,
}

impl Engine {
    fn new(cluster: &Cluster) -> Self {
        let (policies, snapshot) = (convert::policies(cluster), convert::snapshot(cluster));
        let classes = world::classes(&snapshot, &policies.iter().collect::<Vec<_>>());
        let namespaces = snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        let world = World::new(namespaces.collect(), classes, policies);
        let pods =
            world.classes.iter().enumerate().flat_map(|(n, class)| class.pods.iter().map(move |pod| (pod.clone(), n)));
        let class_of = pods.collect();
        Self { world, class_of }
    }

    fn end(&self, end: oracle::End<'_>) -> End<'_> {
        match end {
            oracle::End::Pod(pod, ip) => {
                End::pods(&self.world.classes[self.class_of[&convert::id(pod)]], Family::of(ip))
            }
            oracle::End::Address(ip) => End::outside(ip),
        }
    }

    fn decision(&self, flow: &Flow<'_>) -> Decision {
        let protocol = if flow.protocol == "TCP" { Named::Tcp } else { Named::Udp };
        verdict::flow(&self.world, self.end(flow.src), self.end(flow.dst), protocol, flow.port).decision()
    }
}

async fn agree(seed: u64, denial: Denial, denied: Seen) {
    let cluster = random::cluster(seed, &shape());
    let flows = random::flows(&cluster, &shape());
    let net = build(&cluster).await;
    let evaluating = Instant::now();
    let rules = lab::net::rules(&tiers::World { plain: cluster.clone(), others: Vec::new() }, &shape().outside);
    let (evaluated, loading) = (evaluating.elapsed(), Instant::now());
    net.enforce(&rules, denial).await.unwrap();
    let loaded = loading.elapsed();
    eprintln!("seed {seed}: {} flows; rules in {evaluated:?}, loaded in {loaded:?}", flows.len());

    let engine = Engine::new(&cluster);
    let mut expected = Vec::new();
    for flow in &flows {
        let answer = oracle::allowed(&cluster, flow.src, flow.dst, flow.protocol, flow.port);
        // The engine is asked about different pods.
        if place(flow.src) != place(flow.dst) {
            let told = if answer == Answer::Allowed { Decision::Allowed } else { Decision::Denied };
            assert_eq!(engine.decision(flow), told, "engine on {}", what(seed, flow));
        }
        expected.push(if answer == Answer::Allowed { Seen::Open } else { denied });
    }
    for wanted in [Seen::Open, denied] {
        let count = expected.iter().filter(|seen| **seen == wanted).count();
        assert!(count > 100, "of either kind enough: {count} {wanted:?}");
    }
    let asked: Vec<(&Flow<'_>, Seen)> = flows.iter().zip(expected).collect();
    see(&net, seed, &asked).await;
}

/// Holds packets against what is expected of them. Silence is conclusive only when it lasts: on a busy machine an
/// answer may be late.
async fn see(net: &Net, seed: u64, asked: &[(&Flow<'_>, Seen)]) {
    let mut left = asked.to_vec();
    for _ in 0..5 {
        let flows: Vec<&Flow<'_>> = left.iter().map(|(flow, _)| *flow).collect();
        let mut silent = Vec::new();
        for ((flow, expected), seen) in left.iter().zip(packets(net, &flows).await) {
            if seen == Seen::Timeout && seen != *expected {
                silent.push((*flow, *expected));
            } else {
                assert_eq!(seen, *expected, "packets of {}", what(seed, flow));
            }
        }
        if silent.is_empty() {
            return;
        }
        left = silent;
    }
    panic!("no answer: {:?}", left.iter().map(|(flow, _)| what(seed, flow)).collect::<Vec<_>>());
}

fn what(seed: u64, flow: &Flow<'_>) -> String {
    format!("seed {seed}: {} -> {} {}/{}", place(flow.src), place(flow.dst), flow.protocol, flow.port)
}

#[tokio::test]
async fn engine_slow_reading_and_dropped_packets_agree() {
    agree(1, Denial::Drop, Seen::Timeout).await;
}

#[tokio::test]
async fn engine_slow_reading_and_refused_packets_agree() {
    agree(2, Denial::Reject, Seen::Refused).await;
}

/// The times are printed: `cargo test -p lab --test net -- --nocapture thousands`.
#[tokio::test]
async fn thousands_of_rules_load() {
    let large = Shape { pods: 40, policies: 30, namespaces: 6, ..shape() };
    let cluster = random::cluster(3, &large);
    let net = Net::start().await.unwrap();
    let evaluating = Instant::now();
    let rules = lab::net::rules(&tiers::World { plain: cluster, others: Vec::new() }, &large.outside);
    let (evaluated, loading) = (evaluating.elapsed(), Instant::now());
    net.enforce(&rules, Denial::Drop).await.unwrap();
    let pairs = rules.allowed.len();
    eprintln!("40 pods, 30 policies: {pairs} pairs in {evaluated:?}, loaded in {:?}", loading.elapsed());
    assert!(pairs > 2_000, "{pairs}");
}
