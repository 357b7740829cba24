//! Ports and sets of ports.

use std::{fmt, str::FromStr};

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

    /// What stands behind a port of it, for people: nothing for TCP, which goes without saying.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Udp => "/UDP",
            Self::Sctp => "/SCTP",
        }
    }
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

impl PortRange {
    /// Its numbers without the protocol: `80`, `8000-8010`.
    #[must_use]
    pub fn numbers(self) -> String {
        let Self { from, to, .. } = self;
        if from == to { from.to_string() } else { format!("{from}-{to}") }
    }
}

/// `80`, `8000-8010`, `53/UDP`.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.numbers(), self.protocol.suffix())
    }
}

/// A set of (protocol, port): sorted, disjoint, non-adjacent inclusive ranges within 1–65535.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PortSet {
    ranges: Vec<PortRange>,
}

impl PortSet {
    /// No port.
    #[must_use]
    pub const fn empty() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Every port of every protocol.
    #[must_use]
    pub fn all() -> Self {
        Self { ranges: Protocol::ALL.map(|protocol| PortRange { protocol, from: 1, to: u16::MAX }).to_vec() }
    }

    /// Whether no port is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `port` is in it.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.ranges.iter().any(|range| range.protocol == protocol && (range.from..=range.to).contains(&port))
    }

    /// Adds a range.
    pub fn insert(&mut self, range: PortRange) {
        self.ranges.push(PortRange { from: range.from.max(1), ..range });
        normalise(&mut self.ranges);
    }

    /// The ranges, sorted.
    pub fn iter(&self) -> impl Iterator<Item = PortRange> + '_ {
        self.ranges.iter().copied()
    }

    /// Ports in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let (from, to) = (a.from.max(b.from), a.to.min(b.to));
            if a.protocol == b.protocol && from <= to {
                ranges.push(PortRange { protocol: a.protocol, from, to });
            }
            // What ends first meets nothing later.
            if (a.protocol, a.to) <= (b.protocol, b.to) {
                left.next();
            } else {
                right.next();
            }
        }
        Self { ranges }
    }

    /// Ports in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        let mut ranges = [self.ranges.as_slice(), other.ranges.as_slice()].concat();
        normalise(&mut ranges);
        Self { ranges }
    }

    /// Ports of `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len());
        let mut holes = other.ranges.as_slice();
        for range in &self.ranges {
            let PortRange { protocol, mut from, to } = *range;
            let mut is_left = true;
            while let Some((hole, rest)) = holes.split_first() {
                if (hole.protocol, hole.to) < (protocol, from) {
                    holes = rest;
                    continue;
                }
                if hole.protocol != protocol || hole.from > to {
                    break;
                }
                if hole.from > from {
                    ranges.push(PortRange { protocol, from, to: hole.from - 1 });
                }
                if hole.to >= to {
                    is_left = false;
                    break;
                }
                from = hole.to + 1;
                holes = rest;
            }
            if is_left {
                ranges.push(PortRange { protocol, from, to });
            }
        }
        Self { ranges }
    }
}

impl FromIterator<PortRange> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut ranges: Vec<PortRange> =
            ranges.into_iter().map(|range| PortRange { from: range.from.max(1), ..range }).collect();
        normalise(&mut ranges);
        Self { ranges }
    }
}

/// Sorts ranges, leaves out empty ones and joins those that touch.
fn normalise(ranges: &mut Vec<PortRange>) {
    ranges.retain(|range| range.from <= range.to);
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let touches = next.protocol == last.protocol && next.from <= last.to.saturating_add(1);
        if touches {
            last.to = last.to.max(next.to);
        }
        touches
    });
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
