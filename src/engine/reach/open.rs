//! What is open between two ends: ports, and what Calico's rules tell apart of protocols without ports.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::HashMap;

use crate::{
    engine::{
        conditions::Traffic,
        matrix::Matrix,
        verdict,
        world::{End, World},
    },
    model::{Conditions, Decision, Direction, IcmpMatch, IpProtocol, Policy, PortSet},
};

/// Packets of a protocol without ports that rules tell apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// What of it passes, of all packets in their order.
    fn answer(&self, passes: impl Iterator<Item = bool>) -> Others {
        let answers: Vec<bool> = passes.collect();
        let (mut allowed, mut denied) = (Vec::new(), Vec::new());
        for ((other, _), passes) in self.named.iter().zip(&answers) {
            (if *passes { &mut allowed } else { &mut denied }).push(*other);
        }
        let rest = answers.get(self.named.len()).copied().unwrap_or_default();
        let is_of_allowed = |other: &Other| allowed.contains(&Other::Protocol(other.protocol()));
        Others {
            all: denied.is_empty() && rest,
            but: denied.iter().copied().filter(is_of_allowed).collect(),
            allowed: allowed.into_iter().collect(),
        }
    }
}

/// What one side of a flow lets through, or may.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Opening {
    ports: PortSet,
    /// For each packet that is asked about besides, whether it passes.
    passes: Vec<bool>,
}

impl Questions {
    /// What one side lets through, or may: of pods of the class `subject` by whose policies are asked, of a peer by the
    /// ends of the flow. Pods in their node's network are no endpoint of policies: all passes them.
    pub(super) fn opening(
        &self,
        matrix: &Matrix<'_>,
        direction: Direction,
        subject: usize,
        (source, destination): (End<'_>, End<'_>),
    ) -> Opening {
        let peer = match direction {
            Direction::Ingress => source,
            Direction::Egress => destination,
        };
        let ports = matrix.side_at_most(direction, subject, peer, destination).unwrap_or_else(PortSet::all);
        let packets = self.named.iter().map(|(_, traffic)| traffic).chain(&self.rest);
        let policies: Vec<&Policy> = matrix.isolating(direction, subject).collect();
        let passes = packets.map(|traffic| {
            let side = verdict::among(matrix.world, direction, (source, destination), traffic, &policies);
            side.decision() != Decision::Denied
        });
        Opening { ports, passes: passes.collect() }
    }

    /// What passes both sides.
    pub(super) fn both(&self, egress: &Opening, ingress: &Opening) -> Open {
        let ports = egress.ports.intersection(&ingress.ports);
        self.open(ports, egress.passes.iter().zip(&ingress.passes).map(|(egress, ingress)| *egress && *ingress))
    }

    /// What passes, where only one side is asked.
    pub(super) fn one(&self, side: Opening) -> Open {
        self.open(side.ports, side.passes.into_iter())
    }

    fn open(&self, ports: PortSet, passes: impl Iterator<Item = bool>) -> Open {
        if self.is_empty() { Open::ports(ports) } else { Open { ports, others: self.answer(passes) } }
    }
}

/// All that sides let through, each once, by number.
pub(super) struct Openings(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    list: Vec<Arc<Opening>>,
    numbers: HashMap<Arc<Opening>, u32>,
}

impl Openings {
    /// The number of what lets nothing through.
    pub(super) const NOTHING: u32 = 0;
    /// The number of what lets everything through.
    pub(super) const ALL: u32 = 1;

    /// With the two that have numbers of their own.
    pub(super) fn new(questions: &Questions) -> Self {
        let packets = questions.named.len() + usize::from(questions.rest.is_some());
        let openings = Self(Mutex::default());
        openings.number(Opening { ports: PortSet::empty(), passes: vec![false; packets] });
        openings.number(Opening { ports: PortSet::all(), passes: vec![true; packets] });
        openings
    }

    /// The number of an opening.
    pub(super) fn number(&self, opening: Opening) -> u32 {
        let mut numbered = self.numbered();
        let Numbered { list, numbers } = &mut *numbered;
        let next = u32::try_from(list.len()).unwrap_or(u32::MAX);
        *numbers.entry(Arc::new(opening)).or_insert_with_key(|opening| {
            list.push(Arc::clone(opening));
            next
        })
    }

    /// The opening of a number.
    pub(super) fn get(&self, number: u32) -> Option<Arc<Opening>> {
        self.numbered().list.get(number as usize).cloned()
    }

    fn numbered(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Others {
    /// Whether all of it does, protocols that no rule names included.
    pub all: bool,
    /// What rules name and let through.
    pub allowed: BTreeSet<Other>,
    /// Messages that do not pass, of protocols whose other messages do.
    pub but: BTreeSet<Other>,
}

/// What is open between two ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
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
