//! The engine against the oracle's slow reading of all kinds of policy together, over random clusters: Kubernetes',
//! Calico's and the network policy API's.
//!
//! Each side of a packet is compared by itself, with what decides it. Not asked, since the two mean different things by
//! it: a pod and itself, and a pod's own node as the source (the engine takes neither for special).
//!
//! Clusters are drawn from seeds, from 0 up: `ENGINE_CLUSTERS=20000` for more of them than the usual run has.

use crate::support::tiered;

use netpol_verify::{
    engine::{
        conditions::Traffic,
        evaluate::Evaluation,
        verdict::{FlowVerdict, Side},
    },
    model::{Decision, IpProtocol, PolicyRef},
};
use oracle::{
    features,
    random::tiered::{Packet, packets, shrunk},
    tiers::{By, Name, Side as Expected, Verdict, World, verdicts},
};

/// Clusters of a usual run.
const CLUSTERS: u64 = 300;
/// Packets in each, at most.
const PACKETS: usize = 12;
/// Answers that have to hang on each feature.
const ENOUGH: usize = 10;
/// Clusters that are drawn for it, at most.
const CLUSTERS_FOR_FEATURES: u64 = 1_000;

/// The ports from which clients speak: a packet from one of them is asked about without its source port too.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// What was asked in a run.
#[derive(Debug, Default)]
struct Count {
    clusters: u64,
    /// Sides of packets that are a pod's.
    sides: usize,
    denied: usize,
    /// Those of which the engine gives no answer.
    undefined: usize,
}

#[test]
fn the_engine_answers_as_the_oracle_does() {
    let wanted = std::env::var("ENGINE_CLUSTERS").map_or(CLUSTERS, |text| text.parse().unwrap());
    let mut count = Count::default();
    for seed in 0..wanted {
        let world = tiered::world(seed);
        let evaluation = tiered::evaluation(&world).unwrap_or_else(|errors| panic!("seed {seed}: {errors:?}"));
        for (packet, expected) in asked(seed, &world) {
            if let Some(what) = difference(&evaluation, &packet, &expected, &mut count) {
                panic!("seed {seed}: {what}\n{}", case(&world, &packet));
            }
        }
        count.clusters += 1;
    }
    println!("{count:?}");
    assert!(count.undefined * 100 < count.sides, "hardly anything may be left open: {count:?}");
    let denied = count.denied * 100 / count.sides;
    assert!((20..=80).contains(&denied), "{denied} % are denied: {count:?}");
}

/// Random material proves nothing of a feature that no answer hangs on.
#[test]
fn every_feature_decides_what_the_engine_is_asked() {
    let features = features::all();
    let mut counts = vec![0; features.len()];
    for seed in 0..CLUSTERS_FOR_FEATURES {
        if counts.iter().all(|count| *count >= ENOUGH) {
            break;
        }
        let world = tiered::world(seed);
        let evaluation = tiered::evaluation(&world).unwrap();
        let packets: Vec<Packet> = asked(seed, &world).into_iter().map(|(packet, _)| packet).collect();
        let packets: Vec<Packet> = packets.into_iter().filter(|packet| is_defined(&evaluation, packet)).collect();
        let with = features::answers(&world, &packets);
        for (feature, count) in features.iter().zip(&mut counts).filter(|(_, count)| **count < ENOUGH) {
            let Some(without) = feature.taken_from(&world) else { continue };
            let without = features::answers(&without, &packets);
            *count += with.iter().zip(&without).filter(|(with, without)| with != without).count();
        }
    }
    let rare: Vec<_> = features.iter().zip(&counts).filter(|(_, count)| **count < ENOUGH).collect();
    assert!(rare.is_empty(), "too rare: {rare:?}");
}

/// Packets with the oracle's answer, without those that come from the destination's own node.
fn asked(seed: u64, world: &World) -> Vec<(Packet, Verdict)> {
    let packets = packets(seed, &tiered::mix(seed), world, PACKETS);
    let questions: Vec<_> = packets.iter().map(|packet| packet.in_world(world)).collect();
    let asked = packets.iter().copied().zip(verdicts(world, &questions));
    asked.filter(|(_, verdict)| verdict.ingress.by != By::Exempt && verdict.egress.by != By::Exempt).collect()
}

/// A packet as the engine is asked about it, with its source port and without.
fn traffics(packet: &Packet) -> Vec<Traffic> {
    let protocol = IpProtocol(packet.protocol);
    let port = packet.port.unwrap_or_default();
    let traffic = Traffic { protocol, port, source_port: packet.source_port, icmp: packet.icmp };
    let by_chance = packet.source_port.filter(|port| EPHEMERAL.contains(port));
    std::iter::once(traffic).chain(by_chance.map(|_| Traffic { source_port: None, ..traffic })).collect()
}

fn is_defined(evaluation: &Evaluation, packet: &Packet) -> bool {
    evaluation.decide(packet.src, packet.dst, &traffics(packet)[0]).decision() != Decision::Undefined
}

/// What the engine says otherwise, if it does.
fn difference(evaluation: &Evaluation, packet: &Packet, expected: &Verdict, count: &mut Count) -> Option<String> {
    for traffic in traffics(packet) {
        let verdict = evaluation.decide(packet.src, packet.dst, &traffic);
        let FlowVerdict { egress, ingress } = &verdict;
        for (said, expected) in [(egress, &expected.egress), (ingress, &expected.ingress)] {
            if expected.by == By::NoPod {
                continue;
            }
            count.sides += 1;
            count.denied += usize::from(!expected.allowed);
            count.undefined += usize::from(*said == Side::Undefined);
            if !agree(said, expected) {
                return Some(format!("{packet:?}, {traffic:?}: {said:?} instead of {expected:?}"));
            }
        }
    }
    None
}

fn agree(said: &Side, expected: &Expected) -> bool {
    match (said, &expected.by) {
        (Side::Undefined, _) => true,
        (Side::NotIsolated, by) => expected.allowed && *by == By::NoPolicy,
        (Side::Allowed(rules), By::Rule(name, index)) => {
            // NetworkPolicies are additive: the oracle stops at the first rule, the engine names all.
            let is_it = |id: &PolicyRef, rule: usize| is(id, name) && rule == *index;
            expected.allowed && rules.iter().any(|(rule, _)| is_it(&rule.policy, rule.index))
        }
        (Side::Stopped(rule, _), By::Rule(name, index)) => {
            !expected.allowed && rule.index == *index && is(&rule.policy, name)
        }
        (Side::Denied(policies), By::EndOfTier(_)) => !expected.allowed && !policies.is_empty(),
        _ => false,
    }
}

/// Whether both names are of one policy. The engine tells the kinds of one name apart by the group, the oracle calls
/// Kubernetes' kind by it, and leaves out the tier that a name begins with.
fn is(id: &PolicyRef, name: &Name) -> bool {
    let bare = id.name.strip_prefix(&format!("{}.", name.tier)).unwrap_or(&id.name);
    let kind = match name.kind.as_str() {
        "KubernetesNetworkPolicy" => "NetworkPolicy",
        "NetworkPolicy" => "NetworkPolicy.projectcalico.org",
        other => other,
    };
    id.kind == kind && id.namespace == name.namespace && bare == name.name
}

/// The documents that are needed for the two to disagree about a packet.
fn case(world: &World, packet: &Packet) -> String {
    let differs = |world: &World| {
        let Ok(evaluation) = tiered::evaluation(world) else { return false };
        let expected = verdicts(world, &[packet.in_world(world)]).remove(0);
        difference(&evaluation, packet, &expected, &mut Count::default()).is_some()
    };
    let small = shrunk(world, differs);
    serde_json::json!({"namespaces": small.plain.namespaces, "pods": small.plain.pods,
        "policies": small.plain.policies, "others": small.others})
    .to_string()
}
