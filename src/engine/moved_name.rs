//! Names that lead elsewhere than the rules that were written for them.
//!
//! A rule names addresses, people mean a host. What a pod may reach at the addresses that its name had is held against
//! what it may reach at those that it has now: the rules of now decide both, so that a rule that is gone asks nothing.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    matrix::Matrix,
    verdict::{self, Side},
    world::{End, World},
};
use crate::model::{Origin, Peer, PolicyRef, Protocol, RuleRef};

/// A name, as one workload uses it.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// The workload's class.
    pub class: usize,
    /// The host's ports, TCP.
    pub ports: &'a [u16],
    /// The addresses that it had when all was well; none where it never was.
    pub before: &'a [IpAddr],
    /// The addresses that it has.
    pub now: &'a [IpAddr],
}

/// What the rules make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Every address may be reached on every port that any of them may be reached on.
    Open,
    /// None may be reached, and none of before.
    Closed,
    /// None may be reached; those of before may be.
    Moved(Lack),
    /// Some may be reached: connections fail by turns.
    Partly(Lack),
}

/// What is let through at one address and not at another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Addresses with the ports that are not open there.
    pub closed: Vec<(IpAddr, Vec<u16>)>,
    /// An address and port that are open.
    pub open: (IpAddr, u16),
}

/// Holds the addresses of now against those of before.
#[must_use]
pub fn standing(live: &Matrix<'_>, asked: Use<'_>) -> Standing {
    let open = |address: &IpAddr| open_ports(live, asked.class, asked.ports, *address);
    let all: Vec<(IpAddr, BTreeSet<u16>)> = asked.now.iter().chain(asked.before).map(|a| (*a, open(a))).collect();
    let wanted: BTreeSet<u16> = all.iter().flat_map(|(_, ports)| ports.iter().copied()).collect();
    let Some(example) = all.iter().find_map(|(a, ports)| Some((*a, *ports.first()?))) else { return Standing::Closed };
    let lacking = |address: &IpAddr| -> Option<(IpAddr, Vec<u16>)> {
        let closed: Vec<u16> = wanted.difference(&open(address)).copied().collect();
        (!closed.is_empty()).then_some((*address, closed))
    };
    let closed: Vec<(IpAddr, Vec<u16>)> = asked.now.iter().filter_map(lacking).collect();
    if closed.is_empty() {
        return Standing::Open;
    }
    let is_open_somewhere = asked.now.iter().any(|address| !open(address).is_empty());
    let lack = Lack { closed, open: example };
    if is_open_somewhere { Standing::Partly(lack) } else { Standing::Moved(lack) }
}

/// Which of these ports a class may reach at an address outside.
#[must_use]
pub fn open_ports(live: &Matrix<'_>, class: usize, ports: &[u16], address: IpAddr) -> BTreeSet<u16> {
    let set = live.to_outside(class, End::outside(address));
    let is_open = |port: &u16| set.as_ref().is_some_and(|set| set.contains(Protocol::Tcp, *port));
    ports.iter().copied().filter(is_open).collect()
}

/// The rule that lets a class through to an address, with its place and the block that it names.
#[must_use]
pub fn opening(
    world: &World,
    class: usize,
    (address, port): (IpAddr, u16),
) -> Option<(RuleRef, Option<Origin>, Option<IpNet>)> {
    let to = End::outside(address);
    let from = End::pods(world.classes.get(class)?, to.family);
    let Side::Allowed(rules) = verdict::flow(world, from, to, Protocol::Tcp, port).egress else { return None };
    let (rule, origin) = rules.into_iter().next()?;
    let block = block(world, &rule, address);
    Some((rule, origin, block))
}

/// The narrowest block of a rule in which an address lies.
fn block(world: &World, reference: &RuleRef, address: IpAddr) -> Option<IpNet> {
    let is_it = |id: &PolicyRef| *id == reference.policy;
    let policy = world.policies.iter().find(|policy| is_it(&policy.id))?;
    let rule = policy.rules(reference.direction)?.iter().find(|rule| rule.index == reference.index)?;
    let of_peer = |peer: &Peer| match peer {
        Peer::Block { cidr, .. } => Some(*cidr),
        Peer::Pods { .. } | Peer::Nodes(_) => None,
    };
    let mut nets: Vec<IpNet> = rule.peers.iter().flatten().filter_map(of_peer).collect();
    if let Some(far) = rule.conditions.as_ref().map(|conditions| conditions.far(reference.direction)) {
        nets.extend(&far.nets);
        let sets = world.surroundings.sets.iter();
        let named = sets.filter(|set| far.selector.as_ref().is_some_and(|selector| world.set_matches(selector, set)));
        nets.extend(named.flat_map(|set| &set.nets));
    }
    nets.into_iter().filter(|net| net.contains(&address)).max_by_key(IpNet::prefix_len)
}

#[cfg(test)]
mod tests;
