//! What may pass between addresses, by the naive reading of the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oracle::tiers::{self, Question, World};
use oracle::{Answer, Direction, End};
use serde_json::Value;

/// What may pass. Between two ends of which neither is isolated in the direction in question, everything may.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rules {
    /// Addresses of pods that are isolated for egress.
    pub egress: BTreeSet<IpAddr>,
    /// Addresses of pods that are isolated for ingress.
    pub ingress: BTreeSet<IpAddr>,
    /// What may pass all the same, by source and destination.
    pub allowed: BTreeMap<(IpAddr, IpAddr), BTreeSet<PortRange>>,
}

/// Ports of one protocol.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PortRange {
    /// From the first to the last, both included.
    Ports {
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// ICMP, which has none.
    Icmp,
}

/// As the API has them, and as the packet filter does.
const PROTOCOLS: [(&str, &str); 3] = [("TCP", "tcp"), ("UDP", "udp"), ("SCTP", "sctp")];

/// Asks the naive evaluator about every pair of ends: pods and each other, pods and the addresses `outside`.
///
/// An address that is neither a pod's nor in `outside` is denied to and from isolated pods. Nodes are `outside` too.
/// What the API leaves undefined (pods in their node's network) is not restricted.
///
/// Where the world has documents beside namespaces, pods and NetworkPolicy, all kinds of policy are read tier by tier.
/// The filter sees neither the port that a connection comes from nor the type of an ICMP message: rules of Calico that
/// ask for one are taken as they answer a client's usual port, and a ping.
#[must_use]
pub fn rules(world: &World, outside: &[IpAddr]) -> Rules {
    let ends = ends(world, outside);
    let starts = starts(world);
    let mut rules = Rules::default();
    for &(end, egress, ingress) in &ends {
        if egress {
            rules.egress.insert(end.address());
        }
        if ingress {
            rules.ingress.insert(end.address());
        }
    }
    let (ends, starts) = (&ends, &starts);
    let part = ends.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    // Thousands of pairs, each asked slowly.
    std::thread::scope(|scope| {
        let parts = ends.chunks(part);
        let asked: Vec<_> = parts.map(|sources| scope.spawn(move || pairs(world, sources, ends, starts))).collect();
        for part in asked {
            // A part that panicked is the evaluator's: then nothing is known, and nothing more may pass.
            rules.allowed.extend(part.join().unwrap_or_default());
        }
    });
    rules
}

type Isolated<'a> = (End<'a>, bool, bool);

/// Whether only Kubernetes' own policies are there.
fn is_plain(world: &World) -> bool {
    world.others.is_empty()
}

fn ends<'a>(world: &'a World, outside: &[IpAddr]) -> Vec<Isolated<'a>> {
    let mut addresses: BTreeSet<IpAddr> = outside.iter().copied().collect();
    addresses.extend(world.plain.pods.iter().flat_map(addresses_of));
    let isolated = |address| {
        let end = world.end_at(address);
        let isolated = |direction| match end {
            End::Pod(pod, _) if is_plain(world) => oracle::isolated(&world.plain, pod, direction),
            _ => tiers::isolated(world, end, direction),
        };
        (end, isolated(Direction::Egress), isolated(Direction::Ingress))
    };
    addresses.into_iter().map(isolated).collect()
}

fn addresses_of(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed = status.pod_ips.iter().flatten().map(|entry| &entry.ip);
    listed.chain(&status.pod_ip).filter_map(|text| text.parse().ok()).collect()
}

/// Ports at which what a policy's numbers say may begin to differ from what they say of the port before.
fn starts(world: &World) -> BTreeSet<u16> {
    let mut starts = BTreeSet::from([1]);
    for document in &world.others {
        // Of a policy, or of the endpoints of a Service.
        for part in ["spec", "ports"].iter().filter_map(|part| document.get(part)) {
            numbers(part, &mut starts);
        }
    }
    for spec in world.plain.policies.iter().filter_map(|policy| policy.spec.as_ref()) {
        let ingress = spec.ingress.iter().flatten().flat_map(|rule| rule.ports.iter().flatten());
        let egress = spec.egress.iter().flatten().flat_map(|rule| rule.ports.iter().flatten());
        for port in ingress.chain(egress) {
            if let Some(IntOrString::Int(first)) = port.port {
                starts.extend(bounds(first, port.end_port.unwrap_or(first)));
            }
        }
    }
    starts
}

/// Calico writes a port as a number, or two with a colon. Other numbers only part a range where nothing differs.
fn numbers(value: &Value, starts: &mut BTreeSet<u16>) {
    let number = |text: &str| text.parse::<i32>().ok();
    match value {
        Value::Number(one) => {
            let port = one.as_i64().and_then(|port| i32::try_from(port).ok());
            starts.extend(port.into_iter().flat_map(|port| bounds(port, port)));
        }
        Value::String(text) => {
            let (first, last) = text.split_once(':').unwrap_or((text, text));
            let ends = number(first).zip(number(last));
            starts.extend(ends.into_iter().flat_map(|(first, last)| bounds(first, last)));
        }
        Value::Array(items) => items.iter().for_each(|item| numbers(item, starts)),
        Value::Object(fields) => fields.values().for_each(|field| numbers(field, starts)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The same for names, which are of the destination's own ports.
fn named_starts(destination: End<'_>) -> BTreeSet<u16> {
    let End::Pod(pod, _) = destination else { return BTreeSet::new() };
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.flat_map(|port| bounds(port.container_port, port.container_port)).collect()
}

/// The first port of a range, and the first after it.
fn bounds(first: i32, last: i32) -> impl Iterator<Item = u16> {
    let ports = [Some(first), last.checked_add(1)].into_iter().flatten().filter_map(|port| u16::try_from(port).ok());
    ports.filter(|port| *port > 0)
}

fn pairs(
    world: &World,
    sources: &[Isolated<'_>],
    ends: &[Isolated<'_>],
    starts: &BTreeSet<u16>,
) -> BTreeMap<(IpAddr, IpAddr), BTreeSet<PortRange>> {
    let mut allowed = BTreeMap::new();
    for &(source, egress, _) in sources {
        for &(destination, _, ingress) in ends {
            let (from, to) = (source.address(), destination.address());
            if from.is_ipv4() == to.is_ipv4() && (egress || ingress) {
                allowed.insert((from, to), pair(world, source, destination, starts));
            }
        }
    }
    allowed
}

fn pair(world: &World, source: End<'_>, destination: End<'_>, starts: &BTreeSet<u16>) -> BTreeSet<PortRange> {
    let starts: BTreeSet<u16> = starts | &named_starts(destination);
    let mut asked = vec![("ICMP", 0)];
    for (name, _) in PROTOCOLS {
        asked.extend(starts.iter().map(|&port| (name, port)));
    }
    let mut may = answers(world, source, destination, &asked).into_iter().map(|answer| answer != Answer::Denied);
    let mut ranges = BTreeSet::new();
    if may.next() == Some(true) {
        ranges.insert(PortRange::Icmp);
    }
    for (_, protocol) in PROTOCOLS {
        let mut open: Option<u16> = None;
        for (&port, may) in starts.iter().zip(may.by_ref()) {
            match (open, may) {
                (None, true) => open = Some(port),
                (Some(first), false) => {
                    ranges.insert(PortRange::Ports { protocol, first, last: port - 1 });
                    open = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
        if let Some(first) = open {
            ranges.insert(PortRange::Ports { protocol, first, last: u16::MAX });
        }
    }
    ranges
}

/// One answer for each protocol and port, in their order.
fn answers(world: &World, source: End<'_>, destination: End<'_>, asked: &[(&str, u16)]) -> Vec<Answer> {
    if is_plain(world) {
        let allowed = |&(name, port): &(&str, u16)| oracle::allowed(&world.plain, source, destination, name, port);
        return asked.iter().map(allowed).collect();
    }
    let question = |&(name, port): &(&str, u16)| match name {
        "ICMP" => Question::icmp(source, destination, 8, 0),
        _ => Question::new(source, destination, name, port),
    };
    let questions: Vec<Question<'_>> = asked.iter().map(question).collect();
    tiers::verdicts(world, &questions).into_iter().map(|verdict| verdict.answer).collect()
}
