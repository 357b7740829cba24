//! Every allowed flow between endpoints, one source after the other.
//!
//! A pair is asked about only where the rules at both ends name the other one, or where an end is not isolated; the
//! rest is denied at the end of the tiers.

mod candidates;
pub mod difference;
pub mod outside;
mod points;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use self::{candidates::Candidates, outside::Range};
use super::{
    matrix::Matrix,
    world::{self, Class, End, Family, World},
};
use crate::model::{Direction, Endpoint, Policy, PortSet};

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
    /// The allowed ports; never empty.
    pub ports: &'r PortSet,
}

/// Reachability between the endpoints of one [`World`].
pub struct Reach<'w> {
    /// The policies and classes.
    pub matrix: Matrix<'w>,
    points: Vec<Point>,
    egress: Candidates,
    ingress: Candidates,
    known: BTreeSet<IpAddr>,
}

impl<'w> Reach<'w> {
    /// Works out the endpoints of `world`.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        let matrix = Matrix::new(world);
        let egress = Candidates::new(&matrix, Direction::Egress);
        let ingress = Candidates::new(&matrix, Direction::Ingress);
        let known = world.classes.iter().filter(|c| !c.host_network).flat_map(|c| c.ips.iter().copied()).collect();
        let mut reach = Self { matrix, points: Vec::new(), egress, ingress, known };
        reach.points = points::points(&reach);
        reach
    }

    /// The endpoints in the cluster, sorted.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
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
            for (cidrs, ports) in self.outside(Direction::Egress, source) {
                let destination = &Endpoint::External { name: None, cidrs };
                visit(Row { source: &source.endpoint, destination, families: Families::Any, ports: &ports })?;
            }
        }
        let mut incoming: Vec<(Vec<IpNet>, usize, PortSet)> = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            let sets = self.outside(Direction::Ingress, point).into_iter();
            incoming.extend(sets.map(|(cidrs, ports)| (cidrs, index, ports)));
        }
        incoming.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (cidrs, index, ports) in incoming {
            let Some(point) = self.points.get(index) else { continue };
            let source = &Endpoint::External { name: None, cidrs };
            visit(Row { source, destination: &point.endpoint, families: Families::Any, ports: &ports })?;
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
        for (family, ports) in by_family.iter().filter(|(_, ports)| !ports.is_empty()) {
            let families = if same { Families::Any } else { Families::One(*family) };
            visit(Row { source: &source.endpoint, destination: &destination.endpoint, families, ports })?;
            if same {
                break;
            }
        }
        Ok(())
    }

    /// The ports that are allowed between two classes, for each family that both have.
    #[must_use]
    pub fn by_family(&self, source: usize, destination: usize) -> Vec<(Family, PortSet)> {
        if !(self.egress.has(source, destination) && self.ingress.has(destination, source)) {
            return Vec::new();
        }
        let Some((from, to)) = self.matrix.class(source).zip(self.matrix.class(destination)) else { return Vec::new() };
        let families = world::families(from, to).into_iter();
        families.map(|family| (family, self.ports((source, from), (destination, to), family))).collect()
    }

    fn ports(&self, (source, from): (usize, &Class), (destination, to): (usize, &Class), family: Family) -> PortSet {
        let (sender, receiver) = (End::pods(from, family), End::pods(to, family));
        let egress = self.side(Direction::Egress, source, receiver, receiver);
        if egress.is_empty() || is_own_node(from, to) {
            return egress;
        }
        egress.intersection(&self.side(Direction::Ingress, destination, sender, receiver))
    }

    /// The ports that one side allows, or may. What uses its node's network is no endpoint of policies: it allows all.
    #[must_use]
    pub fn side(&self, direction: Direction, subject: usize, peer: End<'_>, destination: End<'_>) -> PortSet {
        self.matrix.side_at_most(direction, subject, peer, destination).unwrap_or_else(PortSet::all)
    }

    /// The sets of outside addresses that the point may reach (or be reached from), with the ports; sets with the same
    /// ports are one.
    #[must_use]
    pub fn outside(&self, direction: Direction, point: &Point) -> Vec<(Vec<IpNet>, PortSet)> {
        let isolating: Vec<&Policy> = self.matrix.isolating(direction, point.class).collect();
        let mut sets: Vec<(PortSet, Vec<Range>)> = Vec::new();
        for range in self.outside_ranges(point, &isolating) {
            let ports = self.outside_ports(direction, point.class, range.first());
            match sets.iter_mut().find(|(known, _)| *known == ports) {
                _ if ports.is_empty() => {}
                Some((_, ranges)) => ranges.push(range),
                None => sets.push((ports, vec![range])),
            }
        }
        let mut sets: Vec<_> = sets.into_iter().map(|(ports, ranges)| (outside::blocks(&ranges), ports)).collect();
        sets.sort_by(|a, b| a.0.cmp(&b.0));
        sets
    }

    /// The ports between a class and a range outside; none where the class has no address of that family, or where
    /// nothing but known pods is in it.
    #[must_use]
    pub fn outside_part(&self, direction: Direction, class: usize, range: &Range) -> PortSet {
        let has =
            |class: &Class| !class.host_network && (class.ips.is_empty() || range.family.pick(&class.ips).is_some());
        if !self.matrix.class(class).is_some_and(has) || range.is_full_of(&self.known) {
            return PortSet::empty();
        }
        self.outside_ports(direction, class, range.first())
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

    /// The ports between a class and an outside address.
    #[must_use]
    pub fn outside_ports(&self, direction: Direction, class: usize, address: IpAddr) -> PortSet {
        let Some(subject) = self.matrix.class(class) else { return PortSet::empty() };
        let outside = End::outside(address);
        let destination = match direction {
            Direction::Egress => outside,
            Direction::Ingress => End::pods(subject, Family::of(address)),
        };
        self.side(direction, class, outside, destination)
    }
}

/// "Traffic is allowed to a pod … if the traffic source is the pod's local node" (NetworkPolicySpec.ingress).
fn is_own_node(from: &Class, to: &Class) -> bool {
    from.host_network && from.node.is_some() && from.node == to.node
}
