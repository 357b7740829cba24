//! The flows that a rule opens on its side, and what the other side says to each.

use std::{collections::BTreeSet, ops::Range};

use super::{
    Collected, Origin, Target, TouchedFlow, Views,
    pairs::{self, Cell, Looks, Pairs, Place},
    pieces::{PeerPart, Pieces},
    ports, ranges,
};
use crate::{
    engine::world::{End, Family},
    model::{Action, Decision, Direction, Policy, PortSet, Protocol, Rule, RuleRef},
};

/// A flow that a rule opens on its side.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How many flows between other classes it stands for, itself among them.
    pub(super) count: usize,
}

impl Opening {
    /// Whether the other side denies it. Only a selector says that these very pods are meant: that pods inside an open
    /// range are closed is as intended.
    pub(super) fn is_one_sided(&self) -> bool {
        self.decision == Decision::Denied && self.by_selector && !self.is_overruled
    }
}

/// The openings of a subject and its peer (`usize::MAX` for hosts outside), and the number of their cell.
type Found = ((usize, usize), Option<usize>, Vec<Opening>);

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
    /// The classes that the policy applies to, in order.
    subjects: Vec<usize>,
    pub(super) pairs: Pairs,
    /// By cell of `pairs`: the places of its flows.
    pub(super) of_cell: Vec<Range<usize>>,
    /// One for each kind of flow: the first.
    pub(super) all: Vec<Opening>,
}

/// Peers with ports that are let through, and those that the other side denies altogether.
pub(super) struct Units {
    pub(super) allowed: BTreeSet<Unit>,
    pub(super) denied: BTreeSet<Unit>,
}

impl<'p> Openings<'p> {
    pub(super) fn of(
        looks: &mut Looks<'_, '_>,
        (policy, rule): (&'p Policy, &'p Rule),
        reference: &RuleRef,
        place: Place,
    ) -> Self {
        let (views, direction) = (looks.views, reference.direction);
        let subjects = looks.subjects(&policy.subject);
        let mut openings = Self {
            reference: reference.clone(),
            policy,
            rule,
            pieces: Pieces::of(rule, direction),
            is_ordered: looks.is_ordered,
            pairs: looks.pairs(direction, place, subjects.clone()),
            subjects,
            of_cell: Vec::new(),
            all: Vec::new(),
        };
        openings.find(views);
        openings
    }

    /// The flows of the first pair of each cell, and those to hosts outside, in the order of their pairs.
    fn find(&mut self, views: &Views<'_>) {
        let mut found: Vec<Found> = Vec::new();
        for (number, cell) in self.pairs.cells.iter().enumerate() {
            found.push((cell.first, Some(number), self.between(views, cell)));
        }
        if self.reference.direction == Direction::Egress {
            let hosts =
                self.subjects.iter().map(|subject| ((*subject, usize::MAX), None, self.outside(views, *subject)));
            found.extend(hosts);
        }
        found.sort_by_key(|(pair, _, _)| *pair);
        self.of_cell = vec![0..0; self.pairs.cells.len()];
        for (_, cell, openings) in found {
            let first = self.all.len();
            self.all.extend(openings);
            if let Some(range) = cell.and_then(|cell| self.of_cell.get_mut(cell)) {
                *range = first..self.all.len();
            }
        }
    }

    /// The flows of a cell's first pair.
    pub(super) fn between(&self, views: &Views<'_>, cell: &Cell) -> Vec<Opening> {
        let (source, destination) = pairs::ends(self.reference.direction, cell.first);
        let mut openings: Vec<Opening> = Vec::new();
        for family in views.families(source, destination) {
            for opening in self.over(views, cell, family) {
                let four = Opening { family: Family::V4, ..opening.clone() };
                let is_twin = family == Family::V6 && openings.contains(&four);
                openings.push(Opening { is_twin, ..opening });
            }
        }
        openings
    }

    /// The flows between two classes over one family.
    fn over(&self, views: &Views<'_>, cell: &Cell, family: Family) -> Vec<Opening> {
        let (source, destination) = pairs::ends(self.reference.direction, cell.first);
        let Some((from, to)) = views.class(source).zip(views.class(destination)) else { return Vec::new() };
        let ends = (End::pods(from, family), End::pods(to, family));
        let peers = self.matching(views, ends);
        if peers.is_empty() {
            return Vec::new();
        }
        let by_selector = peers.iter().any(|at| self.pieces.is_selected(*at));
        let passed = views.declared.between(source, destination, family);
        let own = self.own(views, cell.first.0, ends);
        let opening = |entry: usize, port: (Protocol, u16)| Opening {
            source,
            target: Target::Class(destination),
            family,
            port,
            decision: match &passed {
                None => Decision::Undefined,
                Some(ports) if ports.contains(port.0, port.1) => Decision::Allowed,
                Some(_) => Decision::Denied,
            },
            peers: peers.clone(),
            entry,
            by_selector,
            is_twin: false,
            is_overruled: own.as_ref().is_some_and(|own| !own.contains(port.0, port.1)),
            count: cell.count,
        };
        let sets = self.pieces.entries(views.input.declared, &ends.0, &ends.1);
        let ports = sets.iter().enumerate().flat_map(|(entry, set)| {
            ports::representatives(set, Some(to), &[]).into_iter().map(move |port| (entry, port))
        });
        ports.map(|(entry, port)| opening(entry, port)).collect()
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

    /// The flows, each once where both families agree.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Opening> {
        self.all.iter().filter(|o| !o.is_twin)
    }

    /// The flows of a class to the configured hosts.
    fn outside(&self, views: &Views<'_>, source: usize) -> Vec<Opening> {
        let mut openings = Vec::new();
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
                    openings.push(Opening {
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
                        count: 1,
                    });
                }
            }
        }
        openings
    }

    /// The first of the `wanted` flows that is looked at anyway: one like it, with its ends.
    pub(super) fn known(
        &self,
        views: &Views<'_>,
        flows: &Collected,
        wanted: &dyn Fn(&Opening) -> bool,
    ) -> Option<(&Opening, (usize, Target))> {
        let of_subject = |subject: &usize| {
            let seen = flows.at(self.reference.direction, *subject).filter(|flow| flow.unseen.is_none());
            let found = seen.flat_map(|flow| self.like(views, flow).map(move |(peer, at)| ((peer, at), flow)));
            let fitting = found.filter_map(|(place, flow)| Some((place, self.all.get(place.1)?, flow)));
            let fitting = fitting.filter(|(_, opening, _)| !opening.is_twin && wanted(opening));
            let (_, opening, flow) = fitting.min_by_key(|(place, _, _)| *place)?;
            let Origin::Class(source) = flow.source else { return None };
            Some((opening, (source, flow.target.clone())))
        };
        self.subjects.iter().find_map(of_subject)
    }

    /// The places of what is like a flow, each with the class of its peer, in the order of pairs.
    fn like(&self, views: &Views<'_>, flow: &TouchedFlow) -> impl Iterator<Item = (usize, usize)> {
        let (peer, range) = match (flow.source, &flow.target) {
            (Origin::Class(source), Target::Class(destination)) => {
                let (subject, peer) = pairs::ends(self.reference.direction, (source, *destination));
                let cell = self.pairs.cell(subject, peer).filter(|_| views.is_pair(source, *destination));
                (peer, cell.and_then(|cell| self.of_cell.get(cell).cloned()))
            }
            (Origin::Class(_), Target::Outside(_)) => (usize::MAX, Some(0..self.all.len())),
            _ => (usize::MAX, None),
        };
        let is_like = move |opening: &Opening| {
            let is_there =
                peer != usize::MAX || (Origin::Class(opening.source), &opening.target) == (flow.source, &flow.target);
            is_there && (opening.port, opening.family) == ((flow.protocol, flow.port), flow.family)
        };
        let places = range.unwrap_or_default().filter(move |at| self.all.get(*at).is_some_and(is_like));
        places.map(move |at| (peer, at))
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

    /// How many of the flows are as `wanted`.
    pub(super) fn count(&self, wanted: impl Fn(&Opening) -> bool) -> usize {
        self.iter().filter(|o| wanted(o)).map(|o| o.count).sum()
    }

    /// The first class that the policy applies to.
    pub(super) fn subject(&self) -> Option<usize> {
        self.subjects.first().copied()
    }
}
