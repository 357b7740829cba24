//! What is open between two ends: ports, and what Calico's rules tell apart of protocols without ports.

use std::collections::BTreeSet;

use crate::{
    engine::{conditions::Traffic, world::World},
    model::{Conditions, IcmpMatch, IpProtocol, Policy, PortSet},
};

/// Packets of a protocol without ports that rules tell apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Other {
    /// Every packet of a protocol, but for those of it that rules name by their type.
    Protocol(IpProtocol),
    /// Messages of ICMP of one type, and of one code where rules name it.
    Message(IpProtocol, u8, Option<u8>),
}

impl Other {
    /// The protocol.
    #[must_use]
    pub const fn protocol(self) -> IpProtocol {
        match self {
            Self::Protocol(protocol) | Self::Message(protocol, ..) => protocol,
        }
    }
}

/// What is asked of packets without ports. Nothing where no policy of Calico's is: to all others they are one, and rules
/// with ports never match them.
#[derive(Debug, Clone, Default)]
pub struct Questions {
    named: Vec<(Other, Traffic)>,
    /// A packet of a protocol that no rule names.
    rest: Option<Traffic>,
}

impl Questions {
    /// What the rules of these worlds tell apart.
    #[must_use]
    pub fn of(worlds: &[&World]) -> Self {
        let rules = worlds.iter().flat_map(|world| &world.policies).flat_map(Policy::all_rules);
        let conditions: Vec<&Conditions> = rules.filter_map(|rule| rule.conditions.as_deref()).collect();
        if conditions.is_empty() {
            return Self::default();
        }
        let others: BTreeSet<Other> = conditions.iter().flat_map(|conditions| named(conditions)).collect();
        let is_named = |protocol: IpProtocol| {
            protocol.transport().is_some() || others.iter().any(|other| other.protocol() == protocol)
        };
        let rest = (1..=u8::MAX).rev().map(IpProtocol).find(|protocol| !is_named(*protocol));
        let named = others.iter().map(|other| (*other, example(*other, &others))).collect();
        Self { named, rest: rest.map(plain) }
    }

    /// Whether nothing is asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    /// What rules name.
    pub fn named(&self) -> impl Iterator<Item = Other> + '_ {
        self.named.iter().map(|(other, _)| *other)
    }

    /// What of it passes.
    pub(super) fn answer(&self, passes: impl Fn(&Traffic) -> bool) -> Others {
        let (allowed, denied): (Vec<Other>, Vec<Other>) = {
            let (yes, no): (Vec<_>, Vec<_>) = self.named.iter().partition(|(_, traffic)| passes(traffic));
            let of = |list: Vec<&(Other, Traffic)>| list.into_iter().map(|(other, _)| *other).collect();
            (of(yes), of(no))
        };
        let rest = self.rest.as_ref().is_some_and(passes);
        let is_of_allowed = |other: &Other| allowed.contains(&Other::Protocol(other.protocol()));
        Others {
            all: denied.is_empty() && rest,
            but: denied.iter().copied().filter(is_of_allowed).collect(),
            allowed: allowed.into_iter().collect(),
        }
    }
}

fn named(conditions: &Conditions) -> Vec<Other> {
    let mut found = Vec::new();
    let protocols = [conditions.protocol, conditions.not_protocol].into_iter().flatten();
    found.extend(protocols.filter(|protocol| protocol.transport().is_none()).map(Other::Protocol));
    if let Some(protocol) = conditions.protocol {
        let messages = [conditions.icmp, conditions.not_icmp].into_iter().flatten();
        let message = |icmp: IcmpMatch| Some(Other::Message(protocol, icmp.kind?, icmp.code));
        found.extend(messages.filter_map(message));
    }
    found
}

fn plain(protocol: IpProtocol) -> Traffic {
    Traffic { protocol, port: 0, source_port: None, icmp: None }
}

/// A packet that is this and nothing else of `others`.
fn example(other: Other, others: &BTreeSet<Other>) -> Traffic {
    match other {
        Other::Protocol(protocol) if protocol.is_icmp() => {
            let is_named =
                |kind: &u8| others.iter().any(|o| matches!(o, Other::Message(p, k, _) if (p, k) == (&protocol, kind)));
            let kind = (0..=u8::MAX).rev().find(|kind| !is_named(kind));
            Traffic::icmp(protocol, kind.unwrap_or(u8::MAX), 0)
        }
        Other::Protocol(protocol) => plain(protocol),
        Other::Message(protocol, kind, Some(code)) => Traffic::icmp(protocol, kind, code),
        Other::Message(protocol, kind, None) => {
            let is_named = |code: &u8| others.contains(&Other::Message(protocol, kind, Some(*code)));
            let code = (0..=u8::MAX).rev().find(|code| !is_named(code));
            Traffic::icmp(protocol, kind, code.unwrap_or(u8::MAX))
        }
    }
}

/// What passes of protocols without ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// Whether all of it does, protocols that no rule names included.
    pub all: bool,
    /// What rules name and let through.
    pub allowed: BTreeSet<Other>,
    /// Messages that do not pass, of protocols whose other messages do.
    pub but: BTreeSet<Other>,
}

/// What is open between two ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    /// Ports.
    pub ports: PortSet,
    /// Besides.
    pub others: Others,
}

impl Open {
    /// Ports alone, where nothing else is asked: all of them stand for everything.
    #[must_use]
    pub fn ports(ports: PortSet) -> Self {
        let others = Others { all: ports == PortSet::all(), ..Others::default() };
        Self { ports, others }
    }

    /// Whether nothing is open that would be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.others.allowed.is_empty()
    }

    /// Whether everything is.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.others.all && self.ports == PortSet::all()
    }
}
