//! Flows of a rule that nobody can probe: to and from ranges of addresses, and with pods in their node's network.

use ipnet::IpNet;

use super::{Origin, Target, TouchedFlow, Views, openings::Openings, pieces::PeerPart, ports};
use crate::{
    engine::{
        matrix::Matrix,
        world::{Class, End, Family},
    },
    model::{Decision, Direction, PortRange, PortSet, Protocol, Unseen, Why},
};

/// Blocks that are nobody's on the Internet (RFC 1918, 6598, 3927, 4193, 4291; loopback).
const PRIVATE: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
];

/// Whether a block lies within addresses that are nobody's on the Internet.
pub(super) fn is_private(net: IpNet) -> bool {
    PRIVATE.iter().filter_map(|text| text.parse::<IpNet>().ok()).any(|private| private.contains(&net))
}

impl Openings<'_> {
    /// A flow of the range at this position, over those of the rule's ports that `wanted` names by their positions.
    pub(super) fn range(&self, views: &Views<'_>, why: Why, peer: usize, wanted: &[usize]) -> Option<TouchedFlow> {
        let net = match self.pieces.peer(peer) {
            PeerPart::Block { cidr, except } => representative(*cidr, except)?,
            PeerPart::Pods { .. } | PeerPart::Selected { .. } => self.pieces.sets(views.input.declared).next()?,
            PeerPart::Anyone => "0.0.0.0/0".parse().ok()?,
        };
        let subject = self.subject()?;
        let (outside, family) = (End::outside(net.network()), Family::of(net.network()));
        let pods = End::pods(views.class(subject)?, family);
        let ports = |source: &End<'_>, to: &End<'_>| -> PortSet {
            let entries = self.pieces.entries(views.input.declared, source, to);
            let wanted = wanted.iter().filter_map(|at| entries.get(*at));
            wanted.fold(PortSet::empty(), |all, set| all.union(set))
        };
        let mut flow = match self.reference.direction {
            Direction::Egress => {
                let set = ports(&pods, &outside);
                let known = views.input.known.iter().filter(|(address, _)| net.contains(address));
                let known =
                    known.map(|(_, port)| (Protocol::Tcp, *port)).find(|(_, port)| set.contains(Protocol::Tcp, *port));
                let port = known.or_else(|| ports::best(&set, None))?;
                standing_for(views.flow(subject, Target::Range(net), family, port, why), &set)
            }
            Direction::Ingress => {
                let set = ports(&outside, &pods);
                let port = ports::best(&set, views.class(subject))?;
                standing_for(from_range(views, net, subject, port, why)?, &set)
            }
        };
        flow.rules = vec![self.reference.clone()];
        Some(flow)
    }

    /// The peer at this position is pods in their node's network, which no selector matches: a flow that nobody can
    /// verify.
    pub(super) fn host(&self, views: &Views<'_>, why: Why, peer: usize) -> Option<TouchedFlow> {
        let PeerPart::Pods { namespaces, pods } = self.pieces.peer(peer) else { return None };
        let subject = self.subject()?;
        let named = |class: &Class| views.input.declared.names(namespaces, pods, class);
        let peer = views.classes().iter().position(|c| c.host_network && named(c))?;
        let (source, destination) = match self.reference.direction {
            Direction::Egress => (subject, peer),
            Direction::Ingress => (peer, subject),
        };
        let to = views.class(destination)?;
        let family = views.families(source, destination).first().copied()?;
        let ends = (End::pods(views.class(source)?, family), End::pods(to, family));
        let entries = self.pieces.entries(views.input.declared, &ends.0, &ends.1);
        let all = entries.iter().fold(PortSet::empty(), |all, set| all.union(set));
        let port = ports::best(&all, Some(to))?;
        let mut flow = views.flow(source, Target::Class(destination), family, port, why);
        flow.rules.push(self.reference.clone());
        Some(flow)
    }
}

/// Where no single port is named, nobody meant the one that the flow has.
fn standing_for(mut flow: TouchedFlow, set: &PortSet) -> TouchedFlow {
    let is_any = |range: &PortRange| range.protocol == flow.protocol && range.from <= 1 && range.to == u16::MAX;
    if let Some((_, reason)) = flow.unseen.as_mut().filter(|_| set.iter().any(|range| is_any(&range))) {
        *reason = format!("{reason}; no rule names port {}, it stands for any", flow.port);
    }
    flow
}

/// A flow from outside the cluster, where nothing can be probed from.
pub(super) fn from_range(
    views: &Views<'_>,
    net: IpNet,
    destination: usize,
    port: (Protocol, u16),
    why: Why,
) -> Option<TouchedFlow> {
    let family = Family::of(net.network());
    let (from, to) = (End::outside(net.network()), End::pods(views.class(destination)?, family));
    let ask = |matrix: &Matrix<'_>| match matrix.side(Direction::Ingress, destination, from, to) {
        None => Decision::Undefined,
        Some(ports) if ports.contains(port.0, port.1) => Decision::Allowed,
        Some(_) => Decision::Denied,
    };
    let declared = ask(&views.declared);
    let reason = format!("nothing to probe from lies in {net}: it is outside the cluster");
    Some(TouchedFlow {
        source: Origin::Range(net),
        target: Target::Class(destination),
        family,
        ipv6: false,
        protocol: port.0,
        port: port.1,
        why,
        before: None,
        declared,
        // Where Git and live disagree, the drift says so.
        live: declared,
        missing: None,
        rules: Vec::new(),
        covers: 0,
        unseen: Some((Unseen::Unprobeable, reason)),
        note: None,
    })
}

/// The block, or where its first address is an exception the first part of it without any: verdicts about a range are
/// asked of its first address.
fn representative(cidr: IpNet, except: &[IpNet]) -> Option<IpNet> {
    if !except.iter().any(|net| net.contains(&cidr.network())) {
        return Some(cidr);
    }
    if except.iter().any(|net| net.contains(&cidr)) {
        return None;
    }
    let halves = cidr.subnets(cidr.prefix_len().saturating_add(1)).ok()?;
    halves.into_iter().find_map(|half| representative(half, except))
}
