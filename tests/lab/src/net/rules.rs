//! What may pass between addresses, by the naive reading of the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oracle::{Answer, Cluster, Direction, End};

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
#[must_use]
pub fn rules(cluster: &Cluster, outside: &[IpAddr]) -> Rules {
    let ends = ends(cluster, outside);
    let starts = starts(cluster);
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
        let asked: Vec<_> = parts.map(|sources| scope.spawn(move || pairs(cluster, sources, ends, starts))).collect();
        for part in asked {
            // A part that panicked is the evaluator's: then nothing is known, and nothing more may pass.
            rules.allowed.extend(part.join().unwrap_or_default());
        }
    });
    rules
}

type Isolated<'a> = (End<'a>, bool, bool);

fn ends<'a>(cluster: &'a Cluster, outside: &[IpAddr]) -> Vec<Isolated<'a>> {
    let mut addresses: BTreeSet<IpAddr> = outside.iter().copied().collect();
    addresses.extend(cluster.pods.iter().flat_map(addresses_of));
    let isolated = |address| {
        let end = cluster.end_at(address);
        match end {
            End::Pod(pod, _) => {
                let isolated = |direction| oracle::isolated(cluster, pod, direction);
                (end, isolated(Direction::Egress), isolated(Direction::Ingress))
            }
            End::Address(_) => (end, false, false),
        }
    };
    addresses.into_iter().map(isolated).collect()
}

fn addresses_of(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed = status.pod_ips.iter().flatten().map(|entry| &entry.ip);
    listed.chain(&status.pod_ip).filter_map(|text| text.parse().ok()).collect()
}

/// Ports at which what a policy's numbers say may begin to differ from what they say of the port before.
fn starts(cluster: &Cluster) -> BTreeSet<u16> {
    let mut starts = BTreeSet::from([1]);
    for spec in cluster.policies.iter().filter_map(|policy| policy.spec.as_ref()) {
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
    cluster: &Cluster,
    sources: &[Isolated<'_>],
    ends: &[Isolated<'_>],
    starts: &BTreeSet<u16>,
) -> BTreeMap<(IpAddr, IpAddr), BTreeSet<PortRange>> {
    let mut allowed = BTreeMap::new();
    for &(source, egress, _) in sources {
        for &(destination, _, ingress) in ends {
            let (from, to) = (source.address(), destination.address());
            if from.is_ipv4() == to.is_ipv4() && (egress || ingress) {
                allowed.insert((from, to), pair(cluster, source, destination, starts));
            }
        }
    }
    allowed
}

fn pair(cluster: &Cluster, source: End<'_>, destination: End<'_>, starts: &BTreeSet<u16>) -> BTreeSet<PortRange> {
    let starts: BTreeSet<u16> = starts | &named_starts(destination);
    let may = |protocol, port| oracle::allowed(cluster, source, destination, protocol, port) != Answer::Denied;
    let mut ranges = BTreeSet::new();
    if may("ICMP", 0) {
        ranges.insert(PortRange::Icmp);
    }
    for (name, protocol) in PROTOCOLS {
        let mut open: Option<u16> = None;
        for &port in &starts {
            match (open, may(name, port)) {
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
