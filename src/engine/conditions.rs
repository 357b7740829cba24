//! Whether a packet fulfils the conditions of a Calico rule.
//!
//! Calico compiles the selectors of a rule to sets of addresses and matches packets by those: an address is in the set
//! if an endpoint or network set that has it matches. So a pod also matches by a network set over its address, and a
//! `notSelector` alone speaks of everything that has the address.

use ipnet::IpNet;

use super::{
    surroundings::{NO_PORT, ServiceEnds},
    world::{Class, End, Family, World},
};
use crate::model::{
    Conditions, EntityMatch, EntityPort, IpProtocol, IpVersion, PortRange, PortSet, Protocol, ServiceName,
};

/// The ports from which Linux opens connections (`net.ipv4.ip_local_port_range`): a rule that names source ports
/// decides about a new connection only as far as it holds all or none of them.
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

/// Whether a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It does not.
    No,
    /// That hangs on something that is not known: the port from which the source speaks, what HTTP says, …
    Unknown,
    /// It does.
    Yes,
}

impl Answer {
    const fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    const fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

/// What a packet is, besides its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// The protocol.
    pub protocol: IpProtocol,
    /// The port that it goes to; 0 for protocols without ports.
    pub port: u16,
    /// The port that it comes from, where that is known.
    pub source_port: Option<u16>,
    /// Type and code of an ICMP message, where they are known.
    pub icmp: Option<(u8, u8)>,
}

impl Traffic {
    /// A new connection to a port.
    #[must_use]
    pub fn to_port(protocol: Protocol, port: u16) -> Self {
        Self { protocol: protocol.into(), port, source_port: None, icmp: None }
    }

    /// An ICMP message.
    #[must_use]
    pub const fn icmp(protocol: IpProtocol, kind: u8, code: u8) -> Self {
        Self { protocol, port: 0, source_port: None, icmp: Some((kind, code)) }
    }
}

/// The ports of a destination that a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Those that it matches.
    pub yes: PortSet,
    /// Those that it may match.
    pub unknown: PortSet,
}

impl Reach {
    /// Those that it matches, or may.
    #[must_use]
    pub fn at_most(&self) -> PortSet {
        self.yes.union(&self.unknown)
    }
}

/// A rule over a packet's ends.
pub struct Question<'q, 'w> {
    /// The world.
    pub world: &'q World,
    /// The rule's conditions.
    pub conditions: &'q Conditions,
    /// Where packets come from.
    pub source: End<'w>,
    /// Where they go to.
    pub destination: End<'w>,
}

impl Question<'_, '_> {
    /// Whether one packet matches.
    #[must_use]
    pub fn answer(&self, traffic: &Traffic) -> Answer {
        let besides = self.besides_ports(traffic);
        match traffic.protocol.transport() {
            Some(protocol) if !self.ports(protocol).contains(protocol, traffic.port) => Answer::No,
            None if has_ports(&self.conditions.destination) => Answer::No,
            _ => besides,
        }
    }

    /// The destination's ports that new connections match on.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let mut reach = Reach { yes: PortSet::empty(), unknown: PortSet::empty() };
        for protocol in Protocol::ALL {
            // The port is left open here: it is what the answer is about.
            match self.besides_ports(&Traffic::to_port(protocol, 0)) {
                Answer::Yes => reach.yes = reach.yes.union(&self.ports(protocol)),
                Answer::Unknown => reach.unknown = reach.unknown.union(&self.ports(protocol)),
                Answer::No => {}
            }
        }
        reach
    }

    /// Everything but the destination's ports.
    fn besides_ports(&self, traffic: &Traffic) -> Answer {
        let conditions = self.conditions;
        let surely = self.is_version()
            && conditions.protocol.is_none_or(|protocol| protocol == traffic.protocol)
            && conditions.not_protocol.is_none_or(|protocol| protocol != traffic.protocol)
            && is_at(self.world, &conditions.source, &self.source)
            && is_at(self.world, &conditions.destination, &self.destination);
        if !surely {
            return Answer::No;
        }
        let http = if conditions.http { Answer::Unknown } else { Answer::Yes };
        let parts = [http, self.icmp(traffic), self.source_ports(traffic), self.services()];
        parts.into_iter().min().unwrap_or(Answer::Yes)
    }

    fn is_version(&self) -> bool {
        self.conditions.ip_version.is_none_or(|wanted| wanted == version(&self.destination))
    }

    fn icmp(&self, traffic: &Traffic) -> Answer {
        let Conditions { icmp, not_icmp, .. } = self.conditions;
        if icmp.is_none() && not_icmp.is_none() {
            return Answer::Yes;
        }
        let Some((kind, code)) = traffic.icmp else { return Answer::Unknown };
        let wanted = icmp.is_none_or(|wanted| wanted.matches(kind, code));
        Answer::of(wanted && !not_icmp.is_some_and(|unwanted| unwanted.matches(kind, code)))
    }

    fn source_ports(&self, traffic: &Traffic) -> Answer {
        let source = &self.conditions.source;
        // A Service as the source is no port: it stands for addresses alone, also of packets without ports.
        if source.ports.is_empty() && source.not_ports.is_empty() {
            return Answer::Yes;
        }
        let Some(protocol) = traffic.protocol.transport() else { return Answer::No };
        let within = |ports: &[EntityPort]| {
            let set = self.port_set(ports, source, &self.source, protocol);
            let (from, to) = traffic.source_port.map_or(EPHEMERAL, |port| (port, port));
            let asked: PortSet = std::iter::once(PortRange { protocol, from, to }).collect();
            match (asked.intersection(&set).is_empty(), asked.difference(&set).is_empty()) {
                (true, _) => Answer::No,
                (false, true) => Answer::Yes,
                (false, false) => Answer::Unknown,
            }
        };
        let wanted = if source.ports.is_empty() { Answer::Yes } else { within(&source.ports) };
        wanted.min(within(&source.not_ports).not())
    }

    /// A Service as the source stands for its endpoints' addresses alone; as the destination it is among the ports.
    fn services(&self) -> Answer {
        let ends = |name: &ServiceName| self.world.surroundings.services.get(name);
        let Conditions { source, destination, .. } = self.conditions;
        if let Some(ServiceEnds::Unknown) = destination.service.as_ref().and_then(ends) {
            return Answer::Unknown;
        }
        match source.service.as_ref().map(ends) {
            None => Answer::Yes,
            Some(Some(ServiceEnds::Unknown)) => Answer::Unknown,
            Some(Some(ServiceEnds::Known(all))) => {
                Answer::of(self.source.address.is_some_and(|address| all.iter().any(|(ip, _, _)| *ip == address)))
            }
            Some(None) => Answer::No,
        }
    }

    /// The destination's ports of one protocol.
    fn ports(&self, protocol: Protocol) -> PortSet {
        let entity = &self.conditions.destination;
        let all = || std::iter::once(PortRange { protocol, from: 1, to: u16::MAX }).collect::<PortSet>();
        let wanted = match &entity.service {
            Some(service) => self.service_ports(service, protocol),
            None if entity.ports.is_empty() => all(),
            None => self.port_set(&entity.ports, entity, &self.destination, protocol),
        };
        wanted.difference(&self.port_set(&entity.not_ports, entity, &self.destination, protocol))
    }

    fn service_ports(&self, service: &ServiceName, protocol: Protocol) -> PortSet {
        let number = |port: u16| PortRange { protocol, from: port, to: port };
        match self.world.surroundings.services.get(service) {
            // May be any: `services` says that it is unknown.
            Some(ServiceEnds::Unknown) => [PortRange { protocol, from: 1, to: u16::MAX }].into_iter().collect(),
            Some(ServiceEnds::Known(all)) => {
                let here = all.iter().filter(|(ip, of, _)| Some(*ip) == self.destination.address && *of == protocol);
                here.filter(|(_, _, port)| *port != NO_PORT).map(|(_, _, port)| number(*port)).collect()
            }
            None => PortSet::empty(),
        }
    }

    /// A named port is one that the endpoint declares, with the rule's protocol (TCP where it names none), and only
    /// where the endpoint itself matches the entity's selector.
    fn port_set(&self, ports: &[EntityPort], entity: &EntityMatch, end: &End<'_>, protocol: Protocol) -> PortSet {
        let named_by = self.conditions.protocol.and_then(IpProtocol::transport).unwrap_or(Protocol::Tcp);
        let endpoint = end.class.filter(|class| declares(self.world, entity, class));
        let declared = endpoint.map(|class| class.ports.as_slice()).unwrap_or_default();
        let mut set = PortSet::empty();
        for port in ports {
            match port {
                EntityPort::Range { from, to } => set.insert(PortRange { protocol, from: *from, to: *to }),
                EntityPort::Named(name) => {
                    let here = declared.iter().filter(|p| p.protocol == named_by && p.name.as_ref() == Some(name));
                    here.for_each(|p| set.insert(PortRange { protocol: named_by, from: p.number, to: p.number }));
                }
            }
        }
        set
    }
}

/// How an end stands to an entity of a rule. To the rule, ends of one standing that declare the same ports are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Standing {
    /// The entity does not match it.
    Outside,
    /// The entity matches it; the ports that it declares count.
    Inside {
        /// Whether a named port of the entity means those of this end.
        declares: bool,
    },
    /// What matches hangs on its very address or ports: no other class is like this one.
    Alone(usize),
}

impl Standing {
    /// Matched by who it is.
    pub(super) const PLAIN: Self = Self::Inside { declares: false };
}

/// How an end, a class of this number, stands to the source or the destination of a rule.
pub(super) fn standing(
    world: &World,
    (entity, is_source): (&EntityMatch, bool),
    end: &End<'_>,
    class: usize,
) -> Standing {
    if !is_at(world, entity, end) {
        return Standing::Outside;
    }
    let is_named = names_ports(entity);
    if entity.service.is_some() || is_source && is_named {
        return Standing::Alone(class);
    }
    Standing::Inside { declares: is_named && end.class.is_some_and(|class| declares(world, entity, class)) }
}

/// Whether an entity names ports by what endpoints call them.
pub(super) fn names_ports(entity: &EntityMatch) -> bool {
    entity.ports.iter().chain(&entity.not_ports).any(|port| matches!(port, EntityPort::Named(_)))
}

/// Whether named ports of an entity mean those that pods of a class declare.
fn declares(world: &World, entity: &EntityMatch, class: &Class) -> bool {
    !class.host_network && entity.selector.as_ref().is_none_or(|selector| world.calico_matches(selector, class))
}

const fn version(end: &End<'_>) -> IpVersion {
    match end.family {
        Family::V4 => IpVersion::V4,
        Family::V6 => IpVersion::V6,
    }
}

/// Whether an entity matches an end, whatever else a packet is.
fn is_at(world: &World, entity: &EntityMatch, end: &End<'_>) -> bool {
    (entity.nets.is_empty() || inside(world, &entity.nets, end))
        && entity.selector.as_ref().is_none_or(|selector| world.any_at(selector, end))
        && entity.not_selector.as_ref().is_none_or(|selector| !world.any_at(selector, end))
        // Calico leaves a rule out for a version of IP if none of a field's blocks is of it, negated or not.
        && (entity.not_nets.is_empty() || entity.not_nets.iter().any(|n| IpVersion::of(n.addr()) == version(end)))
        && !entity.not_nets.iter().any(|net| world.may_hold(*net, end))
}

fn inside(world: &World, nets: &[IpNet], end: &End<'_>) -> bool {
    nets.iter().any(|net| world.holds(*net, &[], end))
}

fn has_ports(entity: &EntityMatch) -> bool {
    !entity.ports.is_empty() || !entity.not_ports.is_empty() || entity.service.is_some()
}
