//! What the other end of an intended flow stands for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Input, Intent, workloads};
use crate::{
    engine::{
        asked::{self, Asked, Meaning, Port, of_point},
        reach::Point,
        world::{End, Family},
    },
    model::{Peer, PortRange, PortSet, Protocol, ServiceInfo},
};

/// A host outside the cluster, or a name that moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Its addresses of now.
    pub addresses: Vec<IpAddr>,
    /// Those of its names that have none, with why.
    pub unresolved: Vec<String>,
}

/// Hosts by their names, as the configuration's `destinations` have them.
pub type Names = BTreeMap<String, Host>;

/// The other end.
#[derive(Debug, Clone, Default)]
pub(super) struct IntendedPeer<'s> {
    /// Workloads.
    pub ends: Vec<Asked>,
    /// The Service by which they are named: the ports are its then.
    pub service: Option<&'s ServiceInfo>,
    /// Addresses.
    pub nets: Vec<IpNet>,
    /// What of it is not known, with what to do.
    pub untold: Vec<String>,
}

impl IntendedPeer<'_> {
    fn unknown(reason: String) -> Self {
        Self { untold: vec![reason], ..Self::default() }
    }

    /// Whether it is addresses, one of which may be the end's.
    pub(super) fn holds(&self, input: &Input<'_>, end: &End<'_>) -> bool {
        let world = input.reach.matrix.world;
        self.nets.iter().any(|net| world.peer_matches(&Peer::Block { cidr: *net, except: Vec::new() }, end))
    }

    /// Whether it is this class.
    pub(super) fn is(&self, class: usize) -> bool {
        self.ends.iter().any(|end| end.class == Some(class))
    }
}

/// Each intended flow with its other end.
pub(super) fn all<'a>(input: &Input<'a>, intents: &[&'a Intent]) -> Vec<(&'a Intent, IntendedPeer<'a>)> {
    let of = |intent: &'a Intent| {
        let mut far = far(input, intent);
        let name = intent.ports.iter().find_map(|(_, port)| match port {
            Port::Name(name) => Some(name),
            Port::Number(_) => None,
        });
        if let Some(name) = name.filter(|_| !far.nets.is_empty()) {
            far.untold.push(format!("port `{name}` is a name, which addresses do not have: write its number"));
        }
        (intent, far)
    };
    intents.iter().map(|intent| of(intent)).collect()
}

fn far<'a>(input: &Input<'a>, intent: &Intent) -> IntendedPeer<'a> {
    let peer = intent.peer.as_str();
    let block = peer.parse::<IpNet>().or_else(|_| peer.parse::<IpAddr>().map(IpNet::from));
    if let Ok(block) = block {
        return IntendedPeer { nets: vec![block.trunc()], ..IntendedPeer::default() };
    }
    if !intent.addresses.is_empty() {
        return IntendedPeer { nets: intent.addresses.clone(), ..IntendedPeer::default() };
    }
    if let Some(host) = input.names.get(peer) {
        return of_host(host);
    }
    let name = [".svc.cluster.local", ".svc"].iter().find_map(|end| peer.strip_suffix(end)).unwrap_or(peer);
    match name.split('.').collect::<Vec<_>>().as_slice() {
        [namespace] => in_namespaces(input, namespace),
        [name, namespace] if has_namespace(input, namespace) => named(input, namespace, name),
        _ => IntendedPeer::unknown(format!(
            "it is no namespace and no Service, and its addresses are not known: give it `addresses`, or name it in the configuration's `destinations`; what is open to addresses outside on {ports} is not judged",
            ports = if intent.ports.is_empty() { "any port" } else { "its ports" }
        )),
    }
}

fn of_host(host: &Host) -> IntendedPeer<'static> {
    let nets = host.addresses.iter().copied().map(IpNet::from).collect();
    IntendedPeer { nets, untold: host.unresolved.clone(), ..IntendedPeer::default() }
}

fn has_namespace(input: &Input<'_>, name: &str) -> bool {
    let of_point = |point: &Point| point.workload.namespace == name;
    input.reach.matrix.world.namespaces.contains_key(name) || input.reach.points().iter().any(of_point)
}

/// Every workload of the namespaces that match; where there is none, the Service of this name.
fn in_namespaces<'a>(input: &Input<'a>, pattern: &str) -> IntendedPeer<'a> {
    let matches = wildmatch::WildMatch::new(pattern);
    let in_it = workloads(input.reach).filter(|point| matches.matches(&point.workload.namespace));
    let ends: Vec<Asked> = in_it.map(of_point).collect();
    if !ends.is_empty() {
        return IntendedPeer { ends, ..IntendedPeer::default() };
    }
    if super::namespaces(input).iter().any(|name| matches.matches(name)) {
        return IntendedPeer::unknown(format!("no workload of namespace `{pattern}` is known"));
    }
    let services: Vec<&ServiceInfo> = input.snapshot.services.iter().filter(|s| s.name == pattern).collect();
    match services.as_slice() {
        [service] => named(input, &service.namespace, pattern),
        [] => IntendedPeer::unknown(format!("there is no namespace and no Service `{pattern}`")),
        _ => IntendedPeer::unknown(format!("several namespaces have a Service `{pattern}`: write {pattern}.NAMESPACE")),
    }
}

/// The endpoints of a Service, or a workload of that name.
fn named<'a>(input: &Input<'a>, namespace: &str, name: &str) -> IntendedPeer<'a> {
    let meant = |text: String| asked::resolve(&text, input.reach, input.snapshot);
    let is_service = input.snapshot.services.iter().any(|s| s.namespace == namespace && s.name == name);
    let found =
        if is_service { meant(format!("svc/{namespace}/{name}")) } else { meant(format!("{namespace}/{name}")) };
    match found {
        Ok(Meaning { ends, service }) => {
            let (inside, outside): (Vec<Asked>, Vec<Asked>) = ends.into_iter().partition(|end| end.class.is_some());
            IntendedPeer {
                ends: inside,
                service,
                nets: outside.into_iter().flat_map(|end| end.nets).collect(),
                untold: Vec::new(),
            }
        }
        Err(unknown) if is_service => IntendedPeer::unknown(unknown.to_string()),
        Err(unknown) => IntendedPeer::unknown(format!("there is no Service `{namespace}/{name}`, and {unknown}")),
    }
}

/// The ports of an intended flow at its destination: all where it names none.
pub(super) fn ports(input: &Input<'_>, intent: &Intent, to: &Asked, service: Option<&ServiceInfo>) -> PortSet {
    if intent.ports.is_empty() {
        return PortSet::all();
    }
    intent.ports.iter().flat_map(|port| port_at(input, port, to, service)).collect()
}

/// One of its ports there; none where the destination declares no port of that name.
pub(super) fn port_at(
    input: &Input<'_>,
    port: &(Protocol, Port),
    to: &Asked,
    service: Option<&ServiceInfo>,
) -> Vec<PortRange> {
    let of = |service| asked::numbers(to, service, port, input.reach);
    // A port that the Service does not have may be the pods' own.
    let numbers = of(service).or_else(|_| of(None)).unwrap_or_default();
    numbers.into_iter().map(|number| PortRange { protocol: port.0, from: number, to: number }).collect()
}

/// An address outside, as a destination without named ports.
pub(super) fn outside() -> Asked {
    asked::outside(None, Vec::new())
}

/// The address families of these blocks that one of the classes has, or may have.
pub(super) fn reachable(input: &Input<'_>, own: &[&Point], nets: &[IpNet]) -> Vec<IpNet> {
    let classes = own.iter().filter_map(|point| input.reach.matrix.class(point.class));
    let families: BTreeSet<Family> = classes
        .flat_map(|class| match class.ips.as_slice() {
            [] => vec![Family::V4],
            ips => ips.iter().copied().map(Family::of).collect(),
        })
        .collect();
    let has = |net: &&IpNet| families.contains(&Family::of(net.addr()));
    let reached: Vec<IpNet> = nets.iter().filter(has).copied().collect();
    if reached.is_empty() { nets.to_vec() } else { reached }
}
