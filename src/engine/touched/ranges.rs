//! Flows of a rule that nobody can probe: to and from ranges of addresses, and with pods in their node's network.

use ipnet::IpNet;

use super::{Origin, Target, TouchedFlow, Views, openings::Openings, ports};
use crate::{
    engine::{
        verdict,
        world::{Class, End, Family},
    },
    model::{Decision, Direction, Peer, PortSet, Protocol, Unseen, Why},
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
        let net = match self.peer(peer) {
            Some(Peer::Block { cidr, except }) => representative(*cidr, except)?,
            Some(Peer::Pods { .. }) => return None,
            None => "0.0.0.0/0".parse().ok()?,
        };
        let subject = self.subject(views)?;
        let (outside, family) = (End::outside(net.network()), Family::of(net.network()));
        let ports = |to: &End<'_>| -> PortSet {
            let entries = verdict::port_entries(self.rule, to);
            let wanted = wanted.iter().filter_map(|at| entries.get(*at));
            wanted.fold(PortSet::empty(), |all, set| all.union(set))
        };
        let flow = match self.reference.direction {
            Direction::Egress => {
                let port = ports::best(&ports(&outside), None)?;
                views.flow(subject, Target::Range(net), family, port, why)
            }
            Direction::Ingress => {
                let class = views.class(subject)?;
                let set = ports(&End::pods(class, family));
                from_range(net, subject, ports::best(&set, Some(class))?, why)
            }
        };
        Some(TouchedFlow { rules: vec![self.reference.clone()], ..flow })
    }

    /// The peer at this position is pods in their node's network, which no selector matches: a flow that nobody can
    /// verify.
    pub(super) fn host(&self, views: &Views<'_>, why: Why, peer: usize) -> Option<TouchedFlow> {
        let Some(Peer::Pods { namespaces, pods }) = self.peer(peer) else { return None };
        let subject = self.subject(views)?;
        let named = |class: &Class| views.input.declared.names(namespaces, pods, class);
        let peer = views.classes().iter().position(|c| c.host_network && named(c))?;
        let (source, destination) = match self.reference.direction {
            Direction::Egress => (subject, peer),
            Direction::Ingress => (peer, subject),
        };
        let to = views.class(destination)?;
        let family = views.families(source, destination).first().copied()?;
        let port = ports::best(&verdict::rule_ports(self.rule, &End::pods(to, family)), Some(to))?;
        let mut flow = views.flow(source, Target::Class(destination), family, port, why);
        flow.rules.push(self.reference.clone());
        Some(flow)
    }
}

/// A flow that is allowed from outside the cluster, where nothing can be probed from.
pub(super) fn from_range(net: IpNet, destination: usize, port: (Protocol, u16), why: Why) -> TouchedFlow {
    let reason = format!("nothing to probe from lies in {net}: it is outside the cluster");
    TouchedFlow {
        source: Origin::Range(net),
        target: Target::Class(destination),
        family: Family::of(net.network()),
        ipv6: false,
        protocol: port.0,
        port: port.1,
        why,
        before: None,
        declared: Decision::Allowed,
        live: Decision::Allowed,
        missing: None,
        rules: Vec::new(),
        covers: 0,
        unseen: Some((Unseen::Unprobeable, reason)),
        note: None,
    }
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
