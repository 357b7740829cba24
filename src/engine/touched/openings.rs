//! The flows that a rule opens on its side, and what the other side says to each.

use std::collections::BTreeSet;

use super::{Target, Views, parts, ports, ranges};
use crate::{
    engine::{
        verdict,
        world::{End, Family, World},
    },
    model::{Decision, Direction, NamespaceMatch, Peer, Policy, Protocol, Rule, RuleRef, Subject},
};

/// A flow that a rule opens on its side.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) source: usize,
    pub(super) target: Target,
    pub(super) family: Family,
    pub(super) port: (Protocol, u16),
    pub(super) decision: Decision,
    /// Positions of the peers that match it; 0 where the rule names none.
    pub(super) peers: Vec<usize>,
    /// The position of the port that matches it; 0 where the rule names none.
    pub(super) entry: usize,
    /// Whether a selector names the peer, and not only a range of addresses that it happens to lie in.
    pub(super) by_selector: bool,
    /// Whether it is over IPv6 as over IPv4: there is no need to look at both.
    pub(super) is_twin: bool,
}

/// A peer with a port, by their positions, over one address family.
pub(super) type Unit = (Family, usize, usize);

/// All flows that a rule opens on its side.
pub(super) struct Openings<'p> {
    pub(super) reference: RuleRef,
    pub(super) policy: &'p Policy,
    pub(super) rule: &'p Rule,
    pub(super) all: Vec<Opening>,
}

/// Peers with ports that are let through, and those that the other side denies altogether.
pub(super) struct Units {
    pub(super) allowed: BTreeSet<Unit>,
    pub(super) denied: BTreeSet<Unit>,
}

impl<'p> Openings<'p> {
    pub(super) fn of(views: &Views<'_>, policy: &'p Policy, rule: &'p Rule, reference: &RuleRef) -> Self {
        let mut openings = Self { reference: reference.clone(), policy, rule, all: Vec::new() };
        let world = views.input.declared;
        let selected = |index: &usize| {
            let class = views.class(*index);
            class.is_some_and(|c| world.applies_to(&policy.subject, c))
        };
        for subject in (0..views.classes().len()).filter(selected) {
            for peer in 0..views.classes().len() {
                openings.between(views, subject, peer);
            }
            if reference.direction == Direction::Egress {
                openings.outside(views, subject);
            }
        }
        openings
    }

    fn between(&mut self, views: &Views<'_>, subject: usize, peer: usize) {
        let (source, destination) = match self.reference.direction {
            Direction::Egress => (subject, peer),
            Direction::Ingress => (peer, subject),
        };
        if !views.is_pair(source, destination) {
            return;
        }
        for family in views.families(source, destination) {
            let (Some(peer_class), Some(to)) = (views.class(peer), views.class(destination)) else { continue };
            let peers = matching(views.input.declared, self.rule, &End::pods(peer_class, family));
            if peers.is_empty() {
                continue;
            }
            let by_selector = peers.iter().any(|at| matches!(self.peer(*at), Some(Peer::Pods { .. })));
            let passed = views.declared.between(source, destination, family);
            for (entry, set) in verdict::port_entries(self.rule, &End::pods(to, family)).iter().enumerate() {
                for port in ports::representatives(set, Some(to), &[]) {
                    let decision = match &passed {
                        None => Decision::Undefined,
                        Some(ports) if ports.contains(port.0, port.1) => Decision::Allowed,
                        Some(_) => Decision::Denied,
                    };
                    let (target, peers) = (Target::Class(destination), peers.clone());
                    let is_twin = false;
                    self.add(Opening { source, target, family, port, decision, peers, entry, by_selector, is_twin });
                }
            }
        }
    }

    fn add(&mut self, opening: Opening) {
        let four = Opening { family: Family::V4, ..opening.clone() };
        let mut of_pair = self.all.iter().rev().take_while(|o| o.source == four.source && o.target == four.target);
        let is_twin = opening.family == Family::V6 && of_pair.any(|known| *known == four);
        self.all.push(Opening { is_twin, ..opening });
    }

    /// The flows, each once where both families agree.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Opening> {
        self.all.iter().filter(|o| !o.is_twin)
    }

    fn outside(&mut self, views: &Views<'_>, source: usize) {
        for outside in views.input.outside {
            let end = End::outside(outside.address);
            let peers = matching(views.input.declared, self.rule, &end);
            if peers.is_empty() {
                continue;
            }
            let (target, family) = (Target::Outside(outside.clone()), Family::of(outside.address));
            for (entry, set) in verdict::port_entries(self.rule, &end).iter().enumerate() {
                for &port in outside.ports.iter().filter(|p| set.contains(Protocol::Tcp, **p)) {
                    let port = (Protocol::Tcp, port);
                    let decision = super::decision(&views.declared, (source, &target), family, port);
                    let (target, peers) = (target.clone(), peers.clone());
                    let (by_selector, is_twin) = (false, false);
                    self.all.push(Opening {
                        source,
                        target,
                        family,
                        port,
                        decision,
                        peers,
                        entry,
                        by_selector,
                        is_twin,
                    });
                }
            }
        }
    }

    /// A peer by its position; `None` where the rule names none.
    pub(super) fn peer(&self, position: usize) -> Option<&'p Peer> {
        parts::peer_at(self.rule, position)
    }

    /// Whether the flow shows the peer at work. Pods that a selector names say nothing about a range beside it, and pods
    /// that lie in a range say nothing about the world outside, if it reaches that far.
    pub(super) fn shows(&self, opening: &Opening, peer: usize) -> bool {
        let is_outside = matches!(opening.target, Target::Outside(_));
        opening.peers.contains(&peer)
            && match self.peer(peer) {
                Some(Peer::Block { cidr, .. }) => is_outside || !opening.by_selector && ranges::is_private(*cidr),
                Some(Peer::Pods { .. }) | None => true,
            }
    }

    /// The parts of the rule by what the other side says to them.
    pub(super) fn units(&self) -> Units {
        let of = |wanted: &dyn Fn(&Opening) -> bool| -> BTreeSet<Unit> {
            let openings = self.all.iter().filter(|o| wanted(o));
            let unit = |o: &Opening, peer: usize| (o.family, peer, o.entry);
            openings.flat_map(|o| o.peers.iter().filter(|p| self.shows(o, **p)).map(move |p| unit(o, *p))).collect()
        };
        let allowed = of(&|o| o.decision != Decision::Denied);
        let denied = of(&|o| o.decision == Decision::Denied && o.by_selector);
        let denied = denied.difference(&allowed).copied().collect();
        Units { allowed, denied }
    }

    /// Whether the peer names some pods. One of all namespaces opens towards everybody: that others deny is as intended.
    pub(super) fn is_narrow(&self, peer: usize) -> bool {
        match self.peer(peer) {
            None | Some(Peer::Block { .. }) => false,
            Some(Peer::Pods { namespaces, .. }) => {
                !matches!(namespaces, NamespaceMatch::Selected(selector) if selector.is_everything())
            }
        }
    }

    /// The first class that the policy applies to.
    pub(super) fn subject(&self, views: &Views<'_>) -> Option<usize> {
        let subject: &Subject = &self.policy.subject;
        views.classes().iter().position(|c| views.input.declared.applies_to(subject, c))
    }
}

/// Positions of the rule's peers that match; 0 where it names none.
fn matching(world: &World, rule: &Rule, end: &End<'_>) -> Vec<usize> {
    match &rule.peers {
        None => vec![0],
        Some(peers) => {
            (0..peers.len()).filter(|at| peers.get(*at).is_some_and(|p| world.peer_matches(p, end))).collect()
        }
    }
}
