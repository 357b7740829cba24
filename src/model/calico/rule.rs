//! What a Calico rule asks of a packet, beyond the peers and ports of NetworkPolicy.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::CalicoSelector;
use crate::model::{Direction, Protocol};

/// A protocol of IP by its number (IANA Protocol Numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP of IPv4.
    pub const ICMP: Self = Self(1);
    /// ICMP of IPv6.
    pub const ICMPV6: Self = Self(58);

    /// The names that Calico has for numbers.
    const NAMES: [(&'static str, Self); 6] = [
        ("TCP", Self(6)),
        ("UDP", Self(17)),
        ("ICMP", Self::ICMP),
        ("ICMPv6", Self::ICMPV6),
        ("SCTP", Self(132)),
        ("UDPLite", Self(136)),
    ];

    /// The protocol with ports that NetworkPolicy knows, if it is one.
    #[must_use]
    pub fn transport(self) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| Self::from(*protocol) == self)
    }

    /// Whether packets of it have a type and a code.
    #[must_use]
    pub const fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }

    /// The protocol that Calico calls so, in this case of letters or in any.
    #[must_use]
    pub fn named(name: &str, any_case: bool) -> Option<Self> {
        let is = |known: &str| known == name || any_case && known.eq_ignore_ascii_case(name);
        Self::NAMES.into_iter().find(|(known, _)| is(known)).map(|(_, protocol)| protocol)
    }
}

impl From<Protocol> for IpProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self(6),
            Protocol::Udp => Self(17),
            Protocol::Sctp => Self(132),
        }
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, protocol)| protocol == self) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// The version of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// One alternative of an entity's `ports` or `notPorts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityPort {
    /// An inclusive range.
    Range {
        /// The first port.
        from: u16,
        /// The last port.
        to: u16,
    },
    /// A port that the endpoint declares under this name.
    Named(String),
}

impl FromStr for EntityPort {
    type Err = String;

    /// `80`, `8000:8080` or a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = |text: &str| text.parse::<u16>().map_err(|_| format!("port {text} is not between 0 and 65535"));
        if digits(text) {
            let port = number(text)?;
            return Ok(Self::Range { from: port, to: port });
        }
        if let Some((from, to)) = text.split_once(':').filter(|(from, to)| digits(from) && digits(to)) {
            let (from, to) = (number(from)?, number(to)?);
            return if from > to {
                Err(format!("the range {text} ends before it begins"))
            } else {
                Ok(Self::Range { from, to })
            };
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if text.is_empty() || text.len() > 128 || !text.chars().all(is_name) {
            return Err(format!("`{text}` is no port (80, 8000:8080 or a name)"));
        }
        Ok(Self::Named(text.to_owned()))
    }
}

/// A Service whose endpoints an entity means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A rule's `source` or `destination`: every condition that is set must hold.
///
/// The selectors are over an endpoint's labels with all that it inherits: those on the namespace and the
/// ServiceAccount are in `selector` under their prefixes, and so is the policy's own namespace where it is implied
/// (Calico folds them the same way). That leaves one condition to compile for each distinct set of labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntityMatch {
    /// Addresses, one of which must hold it; empty: any.
    pub nets: Vec<IpNet>,
    /// Addresses, none of which may hold it.
    pub not_nets: Vec<IpNet>,
    /// An endpoint or network set that has the address must match. A `notSelector` beside a positive condition is
    /// part of this one.
    pub selector: Option<CalicoSelector>,
    /// A `notSelector` alone: no endpoint or network set that has the address may match. Addresses that none has do.
    pub not_selector: Option<CalicoSelector>,
    /// Ports; empty: any.
    pub ports: Vec<EntityPort>,
    /// Ports that do not match.
    pub not_ports: Vec<EntityPort>,
    /// A Service: addresses with ports of its endpoints as a destination, their addresses alone as a source.
    pub service: Option<ServiceName>,
}

impl EntityMatch {
    /// Every block that it looks at.
    pub fn blocks(&self) -> impl Iterator<Item = IpNet> {
        self.nets.iter().chain(&self.not_nets).copied()
    }

    /// Every selector that it looks at.
    pub fn selectors(&self) -> impl Iterator<Item = &CalicoSelector> {
        self.selector.iter().chain(&self.not_selector)
    }
}

/// Type and code of an ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IcmpMatch {
    /// The type.
    pub kind: Option<u8>,
    /// The code.
    pub code: Option<u8>,
}

impl IcmpMatch {
    /// Whether a message of this type and code matches.
    #[must_use]
    pub fn matches(self, kind: u8, code: u8) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind) && self.code.is_none_or(|wanted| wanted == code)
    }
}

/// What a Calico rule asks of a packet; every condition that is set must hold.
///
/// It stands beside the peers and ports of [`crate::model::Rule`], which such a rule leaves open, and does not replace
/// them: a NetworkPolicy's rule is a list of alternatives for the far end alone, which plans, blame and drift read as
/// they are, whereas this is one conjunction over both ends with negations that no list of peers can say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// The version of IP.
    pub ip_version: Option<IpVersion>,
    /// The protocol.
    pub protocol: Option<IpProtocol>,
    /// A protocol that does not match.
    pub not_protocol: Option<IpProtocol>,
    /// Type and code, for ICMP alone.
    pub icmp: Option<IcmpMatch>,
    /// Type and code that do not match, for ICMP alone.
    pub not_icmp: Option<IcmpMatch>,
    /// The packet's source.
    pub source: EntityMatch,
    /// The packet's destination.
    pub destination: EntityMatch,
    /// Whether it also looks into HTTP, which packets of a new connection do not tell.
    pub http: bool,
}

impl Conditions {
    /// Both ends.
    #[must_use]
    pub const fn ends(&self) -> [&EntityMatch; 2] {
        [&self.source, &self.destination]
    }

    /// The end that the endpoint of a rule of this direction talks to.
    #[must_use]
    pub const fn far(&self, direction: Direction) -> &EntityMatch {
        match direction {
            Direction::Ingress => &self.source,
            Direction::Egress => &self.destination,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_ranges_or_names() {
        let range = |from, to| Ok(EntityPort::Range { from, to });
        for (text, expected) in [
            ("80", range(80, 80)),
            ("0", range(0, 0)),
            ("8000:8080", range(8000, 8080)),
            ("http-alt", Ok(EntityPort::Named("http-alt".to_owned()))),
            ("80a", Ok(EntityPort::Named("80a".to_owned()))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for (text, words) in [
            ("65536", "0 and 65535"),
            ("9:8", "before it begins"),
            ("1:70000", "70000"),
            ("", "no port"),
            ("a b", "no port"),
            (":80", "no port"),
        ] {
            let error = text.parse::<EntityPort>().expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn protocols_have_names_and_numbers() {
        assert_eq!(IpProtocol::named("ICMPv6", false), Some(IpProtocol(58)));
        assert_eq!(IpProtocol::named("tcp", false), None);
        assert_eq!(IpProtocol::named("tcp", true), Some(IpProtocol::from(Protocol::Tcp)));
        assert_eq!(IpProtocol(132).transport(), Some(Protocol::Sctp));
        assert_eq!(IpProtocol(1).transport(), None);
        assert_eq!([IpProtocol(17), IpProtocol(47)].map(|p| p.to_string()), ["UDP", "47"]);
    }

    #[test]
    fn icmp_matches_by_type_and_code() {
        let ping = IcmpMatch { kind: Some(8), code: None };
        assert!(ping.matches(8, 0) && ping.matches(8, 3) && !ping.matches(0, 0));
        assert!(!IcmpMatch { kind: Some(3), code: Some(4) }.matches(3, 3));
    }
}
