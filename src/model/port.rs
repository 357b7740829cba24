//! Ports and sets of ports.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A transport protocol that NetworkPolicy knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "SCTP" => Ok(Self::Sctp),
            other => Err(format!("`{other}` is no protocol (TCP, UDP, SCTP)")),
        }
    }
}

/// An inclusive range of ports of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// The first port.
    pub from: u16,
    /// The last port, included.
    pub to: u16,
}

/// A set of (protocol, port): per protocol, sorted, disjoint, non-adjacent inclusive ranges within 1–65535.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortSet {
    ranges: BTreeMap<Protocol, Vec<(u16, u16)>>,
}

impl PortSet {
    /// No port.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Every port of every protocol.
    #[must_use]
    pub fn all() -> Self {
        Protocol::ALL.into_iter().map(|protocol| PortRange { protocol, from: 1, to: u16::MAX }).collect()
    }

    /// Whether no port is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `port` is in it.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.ranges.get(&protocol).is_some_and(|list| list.iter().any(|&(from, to)| (from..=to).contains(&port)))
    }

    /// Adds a range.
    pub fn insert(&mut self, range: PortRange) {
        let list = self.ranges.entry(range.protocol).or_default();
        list.push((range.from.max(1), range.to));
        *list = normalised(std::mem::take(list));
        if list.is_empty() {
            self.ranges.remove(&range.protocol);
        }
    }

    /// The ranges, sorted.
    pub fn iter(&self) -> impl Iterator<Item = PortRange> + '_ {
        self.ranges
            .iter()
            .flat_map(|(&protocol, list)| list.iter().map(move |&(from, to)| PortRange { protocol, from, to }))
    }

    /// Ports in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut result = Self::default();
        for (protocol, left) in &self.ranges {
            let Some(right) = other.ranges.get(protocol) else { continue };
            let both: Vec<(u16, u16)> = left
                .iter()
                .flat_map(|a| right.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))))
                .filter(|(from, to)| from <= to)
                .collect();
            result.put(*protocol, both);
        }
        result
    }

    /// Ports in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        for (&protocol, list) in &other.ranges {
            let mut merged = result.ranges.remove(&protocol).unwrap_or_default();
            merged.extend(list);
            result.put(protocol, merged);
        }
        result
    }

    /// Ports of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = Self::default();
        for (&protocol, list) in &self.ranges {
            let mut rest = list.clone();
            for &(from, to) in other.ranges.get(&protocol).into_iter().flatten() {
                rest = rest.into_iter().flat_map(|range| without(range, from, to)).collect();
            }
            result.put(protocol, rest);
        }
        result
    }

    fn put(&mut self, protocol: Protocol, list: Vec<(u16, u16)>) {
        let list = normalised(list);
        if !list.is_empty() {
            self.ranges.insert(protocol, list);
        }
    }
}

impl FromIterator<PortRange> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

/// What is left of `range` without `from..=to`.
fn without(range: (u16, u16), from: u16, to: u16) -> Vec<(u16, u16)> {
    let mut rest = Vec::new();
    if to < range.0 || from > range.1 {
        rest.push(range);
        return rest;
    }
    if from > range.0 {
        rest.push((range.0, from - 1));
    }
    if to < range.1 {
        rest.push((to + 1, range.1));
    }
    rest
}

fn normalised(mut list: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    list.retain(|(from, to)| from <= to);
    list.sort_unstable();
    let mut result: Vec<(u16, u16)> = Vec::with_capacity(list.len());
    for (from, to) in list {
        match result.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => result.push((from, to)),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arb_set() -> impl Strategy<Value = PortSet> {
        prop::collection::vec((0usize..3, 1u16..40, 0u16..10), 0..6).prop_map(|list| {
            list.into_iter()
                .map(|(p, from, length)| PortRange { protocol: Protocol::ALL[p], from, to: from + length })
                .collect()
        })
    }

    proptest! {
        /// The algebra against membership, port by port.
        #[test]
        fn set_operations_agree_with_membership(a in arb_set(), b in arb_set()) {
            for protocol in Protocol::ALL {
                for port in 1..60 {
                    let (x, y) = (a.contains(protocol, port), b.contains(protocol, port));
                    prop_assert_eq!(a.intersection(&b).contains(protocol, port), x && y);
                    prop_assert_eq!(a.union(&b).contains(protocol, port), x || y);
                    prop_assert_eq!(a.difference(&b).contains(protocol, port), x && !y);
                }
            }
            prop_assert!(a.difference(&a).is_empty());
        }
    }

    #[test]
    fn the_whole_range_has_no_overflow_at_its_end() {
        let rest = PortSet::all()
            .difference(&[PortRange { protocol: Protocol::Tcp, from: 65535, to: 65535 }].into_iter().collect());
        assert!(rest.contains(Protocol::Tcp, 65534) && !rest.contains(Protocol::Tcp, 65535));
        assert!(rest.contains(Protocol::Udp, 65535));
        assert_eq!(PortSet::all().union(&PortSet::all()), PortSet::all());
    }
}
