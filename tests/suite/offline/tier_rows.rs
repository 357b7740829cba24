//! Every flow of a list against single verdicts, over random clusters of all kinds of policy, which are read as files
//! are: pods with each other, and with addresses outside on both sides of every block that policies name.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use netpol_verify::{
    engine::{
        conditions::Traffic,
        reach::{Open, Other, Reach},
    },
    input::{self, InputSet, Options, Source, Text},
    model::{Decision, Endpoint, IpProtocol, PodRef, Protocol},
};
use oracle::tiers::World;
use serde_json::{Value, json};

use super::oracle_rows::Listed;
use crate::support::{convert, tiered};

/// Clusters of a usual run; `LIST_CLUSTERS` for more.
const CLUSTERS: u64 = 30;
/// Outside addresses in each, at most.
const OUTSIDE: usize = 14;

const QUESTIONS: [(Protocol, u16); 5] =
    [(Protocol::Tcp, 8080), (Protocol::Tcp, 9090), (Protocol::Tcp, 700), (Protocol::Udp, 8081), (Protocol::Sctp, 8080)];

#[test]
fn a_list_has_what_single_verdicts_allow_and_nothing_else() {
    let wanted = std::env::var("LIST_CLUSTERS").map_or(CLUSTERS, |text| text.parse().unwrap());
    let (mut asked, mut allowed) = (0_u64, 0_u64);
    for seed in 0..wanted {
        let world = tiered::world(seed);
        let set = read(&world).unwrap_or_else(|faults| panic!("seed {seed}: {faults}"));
        let evaluation = tiered::evaluation(&world).unwrap();
        let own = set.world(&set, None);
        let reach = Reach::new(&own);
        let listed = Listed::new(&reach);
        let outside = outside(&world, seed);
        for (from, to) in pairs(&world, &outside) {
            for traffic in messages() {
                let Some(other) = named(&reach, &traffic) else { continue };
                let decision = evaluation.decide(from, to, &traffic).decision();
                let ends = [from, to].map(|address| endpoint(&world, &reach, address));
                let is_open = |open: &Open| open.others.all || open.others.allowed.contains(&other);
                let found = listed.any((ends[0], ends[1]), (from, to), is_open);
                let place = || format!("seed {seed}: {from} -> {to} {other:?} in {}", text(&world));
                assert!(decision == Decision::Undefined || found == (decision == Decision::Allowed), "{}", place());
            }
            for (protocol, port) in QUESTIONS {
                let decision = evaluation.decide(from, to, &Traffic::to_port(protocol, port)).decision();
                if decision == Decision::Undefined {
                    continue;
                }
                let ends = [from, to].map(|address| endpoint(&world, &reach, address));
                let found = listed.has((ends[0], ends[1]), (from, to), (protocol, port));
                let place = || format!("seed {seed}: {from} -> {to} {protocol}/{port} in {}", text(&world));
                assert_eq!(found, decision == Decision::Allowed, "{}", place());
                asked += 1;
                allowed += u64::from(found);
            }
        }
    }
    println!("{allowed} of {asked} are allowed in {wanted} clusters");
    assert!((20..=80).contains(&(allowed * 100 / asked)), "{allowed} of {asked}");
}

fn messages() -> Vec<Traffic> {
    let of = |protocol| [(8, 0), (3, 1), (3, 2), (128, 0)].map(|(kind, code)| Traffic::icmp(protocol, kind, code));
    [IpProtocol::ICMP, IpProtocol::ICMPV6].map(of).concat()
}

/// What a list calls a message: by what rules name of it.
fn named(reach: &Reach<'_>, traffic: &Traffic) -> Option<Other> {
    let (kind, code) = traffic.icmp?;
    let protocol = traffic.protocol;
    let names =
        [Other::Message(protocol, kind, Some(code)), Other::Message(protocol, kind, None), Other::Protocol(protocol)];
    names.into_iter().find(|name| reach.questions().named().any(|other| other == *name))
}

/// The set that the documents are as one file.
fn read(world: &World) -> Result<InputSet, input::Faults> {
    let source = Source { shown: "all.json".to_owned(), name: "all.json".to_owned() };
    let text = Text { source, content: text(world), origins: Vec::new(), made_of: BTreeSet::new() };
    let version = world.others.iter().find_map(|one| one["spec"]["calicoVersion"].as_str());
    let set = input::collect(&input::parse(&[text])?, Options::default())?;
    assert_eq!(set.ties.is_some(), version.is_some());
    Ok(set)
}

fn text(world: &World) -> String {
    let with = |version: &str, kind: &str, mut object: Value| {
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object
    };
    let plain = &world.plain;
    let namespaces = plain.namespaces.iter().map(|one| with("v1", "Namespace", json!(one)));
    let pods = plain.pods.iter().map(|one| with("v1", "Pod", json!(one)));
    let policies = plain.policies.iter().map(|one| with("networking.k8s.io/v1", "NetworkPolicy", json!(one)));
    let all: Vec<Value> = namespaces.chain(pods).chain(policies).chain(world.others.iter().cloned()).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string()
}

/// Pairs of one family of which one end is a pod.
fn pairs(world: &World, outside: &[IpAddr]) -> Vec<(IpAddr, IpAddr)> {
    let pods: Vec<(PodRef, IpAddr)> = plain_pods(world);
    let mut pairs = Vec::new();
    for (pod, address) in &pods {
        let others = pods.iter().filter(|(other, _)| other != pod).map(|(_, address)| *address);
        let others = others.filter(|other| other.is_ipv4() == address.is_ipv4());
        pairs.extend(others.map(|other| (*address, other)));
        for other in outside.iter().filter(|other| other.is_ipv4() == address.is_ipv4()) {
            pairs.extend([(*address, *other), (*other, *address)]);
        }
    }
    pairs
}

fn plain_pods(world: &World) -> Vec<(PodRef, IpAddr)> {
    let snapshot = convert::snapshot(&world.plain);
    let pods = snapshot.pods.into_iter().filter(|pod| !pod.host_network);
    pods.flat_map(|pod| pod.ips.into_iter().map(move |ip| (pod.id.clone(), ip))).collect()
}

/// Some of the addresses at the edges of every block that stands anywhere in the documents.
fn outside(world: &World, seed: u64) -> Vec<IpAddr> {
    let pods: BTreeSet<IpAddr> = convert::snapshot(&world.plain).pods.into_iter().flat_map(|pod| pod.ips).collect();
    let mut found = BTreeSet::new();
    for policy in &world.plain.policies {
        edges(&json!(policy), &mut found);
    }
    world.others.iter().for_each(|one| edges(one, &mut found));
    let all: Vec<IpAddr> = found.into_iter().filter(|address| !pods.contains(address)).collect();
    let step = all.len().div_ceil(OUTSIDE).max(1);
    all.into_iter().skip(usize::try_from(seed).unwrap() % step).step_by(step).collect()
}

fn edges(value: &Value, found: &mut BTreeSet<IpAddr>) {
    match value {
        Value::String(text) => {
            let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            let Some(net) = net else { return };
            for address in [net.network(), net.broadcast()] {
                found.insert(address);
                if let IpAddr::V4(v4) = address {
                    let number = u32::from(v4);
                    found.extend([number.wrapping_sub(1), number.wrapping_add(1)].map(|n| IpAddr::V4(n.into())));
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| edges(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| edges(field, found)),
        _ => {}
    }
}

/// The endpoint of a list at an address; `None` outside.
fn endpoint<'r>(world: &World, reach: &'r Reach<'_>, address: IpAddr) -> Option<&'r Endpoint> {
    let pods = plain_pods(world);
    let (pod, _) = pods.iter().find(|(_, own)| *own == address)?;
    reach.points().iter().find(|point| point.pods.contains(pod)).map(|point| &point.endpoint)
}
