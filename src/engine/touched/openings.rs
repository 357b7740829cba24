//! The flows that a rule opens on its side, and what the other side says to each.

use std::collections::BTreeSet;

use super::{
    Target, Views,
    pieces::{PeerPart, Pieces},
    ports, ranges,
};
use crate::{
    engine::world::{End, Family},
    model::{Action, Decision, Direction, Policy, PortSet, Protocol, Rule, RuleRef, Subject},
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
    /// Whether the rule's own side denies it all the same: another rule decides first.
    pub(super) is_overruled: bool,
}

impl Opening {
    /// Whether the other side denies it. Only a selector says that these very pods are meant: that pods inside an open
    /// range are closed is as intended.
    pub(super) fn is_one_sided(&self) -> bool {
        self.decision == Decision::Denied && self.by_selector && !self.is_overruled
    }
}

/// A peer with a port, by their positions, over one address family.
pub(super) type Unit = (Family, usize, usize);

/// All flows that a rule opens on its side.
pub(super) struct Openings<'p> {
    pub(super) reference: RuleRef,
    pub(super) policy: &'p Policy,
    pub(super) rule: &'p Rule,
    pub(super) pieces: Pieces<'p>,
    /// Whether there are policies whose order decides.
    is_ordered: bool,
    pub(super) all: Vec<Opening>,
}

/// Peers with ports that are let through, and those that the other side denies altogether.
pub(super) struct Units {
    pub(super) allowed: BTreeSet<Unit>,
    pub(super) denied: BTreeSet<Unit>,
}

impl<'p> Openings<'p> {
    pub(super) fn of(views: &Views<'_>, policy: &'p Policy, rule: &'p Rule, reference: &RuleRef) -> Self {
        let pieces = Pieces::of(rule, reference.direction);
        let world = views.input.declared;
        let is_ordered = world.policies.iter().any(|policy| !policy.is_network_policy());
        let mut openings = Self { reference: reference.clone(), policy, rule, pieces, is_ordered, all: Vec::new() };
        let selected = |index: &usize| {
            let class = views.class(*index);
            class.is_some_and(|c| world.applies_to(&policy.subject, c))
        };
        // What a peer matches is asked once, not for each class that the policy applies to.
        let may_match = |peer: &usize| views.class(*peer).is_some_and(|class| openings.pieces.may_match(world, class));
        let peers: Vec<usize> = (0..views.classes().len()).filter(may_match).collect();
        for subject in (0..views.classes().len()).filter(selected) {
            for peer in &peers {
                openings.between(views, subject, *peer);
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
            self.over(views, subject, (source, destination), family);
        }
    }

    /// The flows between two classes over one family.
    fn over(&mut self, views: &Views<'_>, subject: usize, (source, destination): (usize, usize), family: Family) {
        let (Some(from), Some(to)) = (views.class(source), views.class(destination)) else { return };
        let ends = (End::pods(from, family), End::pods(to, family));
        let peers = self.matching(views, ends);
        if peers.is_empty() {
            return;
        }
        let by_selector = peers.iter().any(|at| self.pieces.is_selected(*at));
        let passed = views.declared.between(source, destination, family);
        let own = self.own(views, subject, ends);
        for (entry, set) in self.pieces.entries(views.input.declared, &ends.0, &ends.1).iter().enumerate() {
            for port in ports::representatives(set, Some(to), &[]) {
                let decision = match &passed {
                    None => Decision::Undefined,
                    Some(ports) if ports.contains(port.0, port.1) => Decision::Allowed,
                    Some(_) => Decision::Denied,
                };
                let is_overruled = own.as_ref().is_some_and(|own| !own.contains(port.0, port.1));
                let (target, peers, is_twin) = (Target::Class(destination), peers.clone(), false);
                self.add(Opening {
                    source,
                    target,
                    family,
                    port,
                    decision,
                    peers,
                    entry,
                    by_selector,
                    is_twin,
                    is_overruled,
                });
            }
        }
    }

    fn matching(&self, views: &Views<'_>, (source, destination): (End<'_>, End<'_>)) -> Vec<usize> {
        self.pieces.matching(views.input.declared, self.reference.direction, &source, &destination)
    }

    /// What the rule's own side lets through. A NetworkPolicy's rule is never overruled on it by another of its kind.
    fn own(&self, views: &Views<'_>, subject: usize, (source, destination): (End<'_>, End<'_>)) -> Option<PortSet> {
        let peer = match self.reference.direction {
            Direction::Ingress => source,
            Direction::Egress => destination,
        };
        let is_asked = self.rule.action == Action::Allow && self.is_ordered;
        is_asked.then(|| views.declared.side(self.reference.direction, subject, peer, destination)).flatten()
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
        for outside in views.hosts(source) {
            let (end, family) = (End::outside(outside.address), Family::of(outside.address));
            let Some(from) = views.class(source).map(|class| End::pods(class, family)) else { continue };
            let peers = self.matching(views, (from, end));
            if peers.is_empty() {
                continue;
            }
            let target = Target::Outside(outside.clone());
            for (entry, set) in self.pieces.entries(views.input.declared, &from, &end).iter().enumerate() {
                for &port in outside.ports.iter().filter(|p| set.contains(Protocol::Tcp, **p)) {
                    let port = (Protocol::Tcp, port);
                    let decision = super::decision(&views.declared, (source, &target), family, port);
                    self.all.push(Opening {
                        source,
                        target: target.clone(),
                        family,
                        port,
                        decision,
                        peers: peers.clone(),
                        entry,
                        by_selector: false,
                        is_twin: false,
                        // There is one side.
                        is_overruled: self.rule.action == Action::Allow && decision == Decision::Denied,
                    });
                }
            }
        }
    }

    /// Whether the flow shows the peer at work. Pods that a selector names say nothing about a range beside it, and pods
    /// that lie in a range say nothing about the world outside, if it reaches that far.
    pub(super) fn shows(&self, opening: &Opening, peer: usize) -> bool {
        let is_outside = matches!(opening.target, Target::Outside(_));
        opening.peers.contains(&peer)
            && match self.pieces.peer(peer) {
                PeerPart::Block { cidr, .. } => is_outside || !opening.by_selector && ranges::is_private(*cidr),
                PeerPart::Pods { .. } | PeerPart::Selected { .. } | PeerPart::Anyone => true,
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
        let denied = of(&|o| o.is_one_sided());
        let denied = denied.difference(&allowed).copied().collect();
        Units { allowed, denied }
    }

    /// The first class that the policy applies to.
    pub(super) fn subject(&self, views: &Views<'_>) -> Option<usize> {
        let subject: &Subject = &self.policy.subject;
        views.classes().iter().position(|c| views.input.declared.applies_to(subject, c))
    }
}
