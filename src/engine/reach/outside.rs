//! The addresses outside: sets that policies do not tell apart, as ranges and as the largest blocks.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::{
    engine::{
        surroundings::{ServiceEnds, Surroundings},
        world::Family,
    },
    model::{Peer, Policy},
};

/// An inclusive range of addresses of one family, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The family.
    pub family: Family,
    from: u128,
    to: u128,
}

impl Range {
    /// All addresses of a family.
    #[must_use]
    pub const fn all(family: Family) -> Self {
        let to = match family {
            Family::V4 => u32::MAX as u128,
            Family::V6 => u128::MAX,
        };
        Self { family, from: 0, to }
    }

    /// The addresses of a block.
    #[must_use]
    pub fn of(net: IpNet) -> Self {
        Self { family: Family::of(net.network()), from: number(net.network()), to: number(net.broadcast()) }
    }

    /// Its first address, which stands for all of it.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        address(self.family, self.from)
    }

    /// Whether an address of both is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.from <= other.to && other.from <= self.to
    }

    /// Whether each of its addresses is one of `known`.
    pub(super) fn is_full_of(&self, known: &BTreeSet<IpAddr>) -> bool {
        let count = known.range(self.first()..=address(self.family, self.to)).count();
        u128::try_from(count).is_ok_and(|count| count > self.to - self.from)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The addresses of a family in ranges that none of `policies` tells apart, in order; ranges that hold nothing but
/// `known` addresses are left out: those are pods.
#[must_use]
pub fn ranges<'p>(
    around: &Surroundings,
    policies: impl Iterator<Item = &'p Policy>,
    family: Family,
    known: &BTreeSet<IpAddr>,
) -> Vec<Range> {
    let ranges = within(around, policies, Range::all(family)).into_iter();
    ranges.filter(|range| !range.is_full_of(known)).collect()
}

/// The parts of a range that none of `policies` tells apart, in order.
#[must_use]
pub fn within<'p>(around: &Surroundings, policies: impl Iterator<Item = &'p Policy>, all: Range) -> Vec<Range> {
    cut(&all, &blocks_of(around, policies))
}

/// The parts of a range that none of these blocks tells apart, in order.
#[must_use]
pub fn cut(all: &Range, blocks: &[IpNet]) -> Vec<Range> {
    let family = all.family;
    let mut starts = BTreeSet::from([all.from]);
    for range in blocks.iter().copied().map(Range::of).filter(|range| range.family == family) {
        let after = range.to.checked_add(1);
        let cuts = std::iter::once(range.from).chain(after);
        starts.extend(cuts.filter(|cut| (all.from..=all.to).contains(cut)));
    }
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([all.to]);
    starts.iter().zip(ends).map(|(from, to)| Range { family, from: *from, to }).collect()
}

/// Every block that a verdict of these policies may hang on: their own, those of network sets and nodes, which selectors
/// match, and the endpoints of Services.
fn blocks_of<'p>(around: &Surroundings, policies: impl Iterator<Item = &'p Policy>) -> Vec<IpNet> {
    let (mut blocks, mut selects, mut asks_nodes) = (Vec::new(), false, false);
    for rule in policies.flat_map(Policy::all_rules) {
        for peer in rule.peers.iter().flatten() {
            match peer {
                Peer::Block { cidr, except } => blocks.extend(std::iter::once(cidr).chain(except)),
                Peer::Nodes(_) => asks_nodes = true,
                Peer::Pods { .. } => {}
            }
        }
        for entity in rule.conditions.iter().flat_map(|conditions| conditions.ends()) {
            blocks.extend(entity.blocks());
            selects |= entity.selectors().next().is_some();
            if let Some(ServiceEnds::Known(ends)) = entity.service.as_ref().and_then(|name| around.services.get(name)) {
                blocks.extend(ends.iter().map(|(ip, _, _)| IpNet::from(*ip)));
            }
        }
    }
    if selects {
        blocks.extend(around.sets.iter().flat_map(|set| &set.nets));
    }
    if asks_nodes {
        blocks.extend(around.nodes.iter().flat_map(|(_, ips)| ips.iter().copied().map(IpNet::from)));
    }
    blocks
}

/// The fewest blocks that hold exactly these ranges, IPv4 first.
#[must_use]
pub fn blocks(ranges: &[Range]) -> Vec<IpNet> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut joined: Vec<Range> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if last.family == range.family && range.from <= last.to.saturating_add(1) => {
                last.to = last.to.max(range.to);
            }
            _ => joined.push(range),
        }
    }
    let nets = joined.iter().flat_map(|range| -> Vec<IpNet> {
        match (range.first(), address(range.family, range.to)) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4Subnets::new(from, to, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6Subnets::new(from, to, 0).map(IpNet::V6).collect(),
            _ => Vec::new(),
        }
    });
    nets.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::fixtures;

    fn texts(ranges: &[Range]) -> Vec<String> {
        blocks(ranges).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_are_cut_where_a_policy_tells_addresses_apart_and_joined_to_the_largest_blocks() {
        let peers =
            json!([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"ipBlock": {"cidr": "::/0"}}]);
        let policies = [fixtures::egress("shop/web", peers, &[443])];
        let around = Surroundings::default();
        let v4 = ranges(&around, policies.iter(), Family::V4, &BTreeSet::new());
        let parts: Vec<Vec<String>> = v4.iter().map(|range| texts(&[*range])).collect();
        assert_eq!(parts[1], ["10.0.0.0/16"]);
        assert_eq!(parts[2], ["10.1.0.0/16"]);
        assert_eq!(parts[3][..2], ["10.2.0.0/15", "10.4.0.0/14"]);
        assert_eq!(parts.len(), 5);
        assert_eq!(texts(&v4), ["0.0.0.0/0"]);
        let v6 = ranges(&around, policies.iter(), Family::V6, &BTreeSet::new());
        assert_eq!(texts(&[&v6[..], &v4[..]].concat()), ["0.0.0.0/0", "::/0"], "both families");
    }

    #[test]
    fn a_range_of_known_pods_alone_is_not_outside() {
        let policies = [fixtures::egress("shop/web", fixtures::block("10.0.0.4/31"), &[443])];
        let known = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let count = |pods: &[&str]| ranges(&Surroundings::default(), policies.iter(), Family::V4, &known(pods)).len();
        assert_eq!([count(&[]), count(&["10.0.0.4"]), count(&["10.0.0.4", "10.0.0.5"])], [3, 3, 2]);
    }
}
