//! Every allowed flow between endpoints, one source after the other.
//!
//! A pair is asked about only where the rules at both ends name the other one, or where an end is not isolated; the
//! rest is denied at the end of the tiers.

mod candidates;
pub mod difference;
mod open;
pub mod outside;
mod points;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use self::{candidates::Candidates, outside::Range};
use super::{
    conditions::Traffic,
    matrix::Matrix,
    verdict,
    world::{self, Class, End, Family, World},
};
use crate::model::{Decision, Direction, Endpoint, Policy, PortSet};

pub use open::{Open, Other, Others, Questions};
pub use points::Point;

/// The address families of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Families {
    /// Those that both ends have; the policies do not tell them apart.
    Any,
    /// One of two that the policies decide otherwise.
    One(Family),
}

/// Flows between two endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Row<'r> {
    /// The source.
    pub source: &'r Endpoint,
    /// The destination.
    pub destination: &'r Endpoint,
    /// Their families.
    pub families: Families,
    /// What is allowed; never nothing.
    pub open: &'r Open,
}

/// Reachability between the endpoints of one [`World`].
pub struct Reach<'w> {
    /// The policies and classes.
    pub matrix: Matrix<'w>,
    points: Vec<Point>,
    egress: Candidates,
    ingress: Candidates,
    known: BTreeSet<IpAddr>,
    questions: Questions,
}

impl<'w> Reach<'w> {
    /// Works out the endpoints of `world`.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        Self::asking(world, Questions::of(&[world]))
    }

    /// The same, with what is asked of protocols without ports: worlds that are compared are asked the same.
    #[must_use]
    pub fn asking(world: &'w World, questions: Questions) -> Self {
        let matrix = Matrix::new(world);
        let egress = Candidates::new(&matrix, Direction::Egress);
        let ingress = Candidates::new(&matrix, Direction::Ingress);
        let known = world.classes.iter().filter(|c| !c.host_network).flat_map(|c| c.ips.iter().copied()).collect();
        let mut reach = Self { matrix, points: Vec::new(), egress, ingress, known, questions };
        reach.points = points::points(&reach);
        reach
    }

    /// The endpoints in the cluster, sorted.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// What is asked of protocols without ports.
    #[must_use]
    pub const fn questions(&self) -> &Questions {
        &self.questions
    }

    /// Gives every allowed flow to `visit`, sorted by source and destination; outside addresses come last.
    ///
    /// # Errors
    /// The first one that `visit` has.
    pub fn rows<E>(&self, mut visit: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        for source in &self.points {
            for destination in &self.points {
                self.between(source, destination, &mut visit)?;
            }
            for (cidrs, open) in self.outside(Direction::Egress, source) {
                let destination = &Endpoint::External { name: None, cidrs };
                visit(Row { source: &source.endpoint, destination, families: Families::Any, open: &open })?;
            }
        }
        let mut incoming: Vec<(Vec<IpNet>, usize, Open)> = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            let sets = self.outside(Direction::Ingress, point).into_iter();
            incoming.extend(sets.map(|(cidrs, open)| (cidrs, index, open)));
        }
        incoming.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (cidrs, index, open) in incoming {
            let Some(point) = self.points.get(index) else { continue };
            let source = &Endpoint::External { name: None, cidrs };
            visit(Row { source, destination: &point.endpoint, families: Families::Any, open: &open })?;
        }
        Ok(())
    }

    fn between<E>(
        &self,
        source: &Point,
        destination: &Point,
        visit: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if source.is_same_place(destination) {
            return Ok(());
        }
        let by_family = self.by_family(source.class, destination.class);
        let same = by_family.windows(2).all(|pair| matches!(pair, [a, b] if a.1 == b.1));
        for (family, open) in by_family.iter().filter(|(_, open)| !open.is_empty()) {
            let families = if same { Families::Any } else { Families::One(*family) };
            visit(Row { source: &source.endpoint, destination: &destination.endpoint, families, open })?;
            if same {
                break;
            }
        }
        Ok(())
    }

    /// What is allowed between two classes, for each family that both have.
    #[must_use]
    pub fn by_family(&self, source: usize, destination: usize) -> Vec<(Family, Open)> {
        if !(self.egress.has(source, destination) && self.ingress.has(destination, source)) {
            return Vec::new();
        }
        let Some((from, to)) = self.matrix.class(source).zip(self.matrix.class(destination)) else { return Vec::new() };
        let families = world::families(from, to).into_iter();
        families.map(|family| (family, self.open((source, from), (destination, to), family))).collect()
    }

    fn open(&self, (source, from): (usize, &Class), (destination, to): (usize, &Class), family: Family) -> Open {
        let (sender, receiver) = (End::pods(from, family), End::pods(to, family));
        let is_free = is_own_node(from, to);
        let mut ports = self.side(Direction::Egress, source, receiver, receiver);
        if !ports.is_empty() && !is_free {
            ports = ports.intersection(&self.side(Direction::Ingress, destination, sender, receiver));
        }
        if self.questions.is_empty() {
            return Open::ports(ports);
        }
        let others = self.questions.answer(|traffic| {
            self.passes(Direction::Egress, source, (sender, receiver), traffic)
                && (is_free || self.passes(Direction::Ingress, destination, (sender, receiver), traffic))
        });
        Open { ports, others }
    }

    /// Whether one side lets a packet through, or may.
    fn passes(&self, direction: Direction, subject: usize, ends: (End<'_>, End<'_>), traffic: &Traffic) -> bool {
        let policies: Vec<&Policy> = self.matrix.isolating(direction, subject).collect();
        verdict::among(self.matrix.world, direction, ends, traffic, &policies).decision() != Decision::Denied
    }

    /// The ports that one side allows, or may. What uses its node's network is no endpoint of policies: it allows all.
    #[must_use]
    pub fn side(&self, direction: Direction, subject: usize, peer: End<'_>, destination: End<'_>) -> PortSet {
        self.matrix.side_at_most(direction, subject, peer, destination).unwrap_or_else(PortSet::all)
    }

    /// The sets of outside addresses that the point may reach (or be reached from), with what is open; sets with the same
    /// are one.
    #[must_use]
    pub fn outside(&self, direction: Direction, point: &Point) -> Vec<(Vec<IpNet>, Open)> {
        let isolating: Vec<&Policy> = self.matrix.isolating(direction, point.class).collect();
        let mut sets: Vec<(Open, Vec<Range>)> = Vec::new();
        for range in self.outside_ranges(point, &isolating) {
            let open = self.outside_open(direction, point.class, range.first());
            match sets.iter_mut().find(|(known, _)| *known == open) {
                _ if open.is_empty() => {}
                Some((_, ranges)) => ranges.push(range),
                None => sets.push((open, vec![range])),
            }
        }
        let mut sets: Vec<_> = sets.into_iter().map(|(open, ranges)| (outside::blocks(&ranges), open)).collect();
        sets.sort_by(|a, b| a.0.cmp(&b.0));
        sets
    }

    /// What is open between a class and a range outside; nothing where the class has no address of that family, or where
    /// nothing but known pods is in it.
    #[must_use]
    pub fn outside_part(&self, direction: Direction, class: usize, range: &Range) -> Open {
        let has =
            |class: &Class| !class.host_network && (class.ips.is_empty() || range.family.pick(&class.ips).is_some());
        if !self.matrix.class(class).is_some_and(has) || range.is_full_of(&self.known) {
            return Open::default();
        }
        self.outside_open(direction, class, range.first())
    }

    /// The outside addresses of the point's families, in ranges that none of `policies` tells apart. None where the
    /// point uses its node's network: nothing between a node and the world outside is a policy's.
    #[must_use]
    pub fn outside_ranges(&self, point: &Point, policies: &[&Policy]) -> Vec<Range> {
        let Some(class) = self.matrix.class(point.class).filter(|class| !class.host_network) else { return Vec::new() };
        let has = |family: &Family| class.ips.is_empty() || family.pick(&class.ips).is_some();
        let families = [Family::V4, Family::V6].into_iter().filter(has);
        let around = &self.matrix.world.surroundings;
        families.flat_map(|family| outside::ranges(around, policies.iter().copied(), family, &self.known)).collect()
    }

    /// Whether nothing but known pods is in a range.
    #[must_use]
    pub fn is_known(&self, range: &Range) -> bool {
        range.is_full_of(&self.known)
    }

    /// What is open between a class and an outside address.
    #[must_use]
    pub fn outside_open(&self, direction: Direction, class: usize, address: IpAddr) -> Open {
        let Some(subject) = self.matrix.class(class) else { return Open::default() };
        let outside = End::outside(address);
        let own = End::pods(subject, outside.family);
        let ends = match direction {
            Direction::Egress => (own, outside),
            Direction::Ingress => (outside, own),
        };
        let ports = self.side(direction, class, outside, ends.1);
        if self.questions.is_empty() {
            return Open::ports(ports);
        }
        let others = self.questions.answer(|traffic| self.passes(direction, class, ends, traffic));
        Open { ports, others }
    }
}

/// "Traffic is allowed to a pod … if the traffic source is the pod's local node" (NetworkPolicySpec.ingress).
fn is_own_node(from: &Class, to: &Class) -> bool {
    from.host_network && from.node.is_some() && from.node == to.node
}
