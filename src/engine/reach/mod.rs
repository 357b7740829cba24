//! Every allowed flow between endpoints, one source after the other.
//!
//! What each side lets through is worked out once for all ends that no rule tells apart, when it is first asked; a pair is
//! then two numbers, and pairs that neither side lets anything through for are not looked at.

pub mod difference;
mod far;
mod open;
pub mod outside;
mod points;
mod rows;
mod sides;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr, sync::OnceLock};

use foldhash::HashMap;
use ipnet::IpNet;

use self::{
    open::Openings,
    outside::Range,
    sides::{Asking, Sides},
};
use super::{
    matrix::Matrix,
    world::{self, Class, End, Family, World},
};
use crate::{
    model::{Direction, Policy, PortSet, Workload},
    parallel,
};

pub use open::{Open, Other, Others, Questions};
pub use points::Point;
pub use rows::{Numbers, Row, Rows};

/// The address families of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Families {
    /// Those that both ends have; the policies do not tell them apart.
    Any,
    /// One of two that the policies decide otherwise.
    One(Family),
}

/// Reachability between the endpoints of one [`World`].
pub struct Reach<'w> {
    /// The policies and classes.
    pub matrix: Matrix<'w>,
    points: Vec<Point>,
    /// By namespace and name: where the points of workloads of that name are.
    names: OnceLock<Names>,
    egress: Way<'w>,
    ingress: Way<'w>,
    known: BTreeSet<IpAddr>,
    questions: Questions,
}

type Names = HashMap<String, HashMap<String, std::ops::Range<usize>>>;

/// One direction.
struct Way<'w> {
    sides: Vec<(Family, Sides<'w>)>,
    openings: Openings,
}

impl<'w> Way<'w> {
    fn new(matrix: &Matrix<'w>, direction: Direction, questions: &Questions) -> Self {
        let classes = &matrix.world.classes;
        let is_used = |family: &Family| {
            // What has no address yet has one of IPv4 before it has one of IPv6.
            *family == Family::V4 || classes.iter().any(|class| family.pick(&class.ips).is_some())
        };
        let families = [Family::V4, Family::V6].into_iter().filter(is_used);
        let sides = families.map(|family| (family, Sides::new(matrix, direction, family))).collect();
        Self { sides, openings: Openings::new(questions) }
    }
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
        let (egress, ingress) = parallel::both(
            || Way::new(&matrix, Direction::Egress, &questions),
            || Way::new(&matrix, Direction::Ingress, &questions),
        );
        let known = world.classes.iter().filter(|c| !c.host_network).flat_map(|c| c.ips.iter().copied()).collect();
        let mut reach = Self { matrix, points: Vec::new(), names: OnceLock::new(), egress, ingress, known, questions };
        reach.points = points::points(&reach);
        reach
    }

    /// Works out what passes everywhere now, in place of when it is first asked: for those who ask about all of it.
    pub fn prepare(&self) {
        let work = |way: &Way<'w>| way.sides.iter().for_each(|(_, sides)| sides.prepare(self.asking_of(way)));
        parallel::both(|| work(&self.egress), || work(&self.ingress));
    }

    fn asking_of<'r>(&'r self, way: &'r Way<'w>) -> Asking<'r, 'w> {
        Asking { matrix: &self.matrix, questions: &self.questions, openings: &way.openings }
    }

    fn opening(&self, way: &Way<'w>, family: Family, subject: usize, peer: usize) -> u32 {
        let sides = way.sides.iter().find(|(of, _)| *of == family);
        sides.map_or(Openings::NOTHING, |(_, sides)| sides.opening(self.asking_of(way), subject, peer))
    }

    /// The endpoints in the cluster, sorted.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The endpoints that belong to workloads of this name, whatever their kind; nodes by that of the first of their pods.
    pub fn named(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Point> {
        let nodes = self.points.partition_point(|point| !point.is_node());
        let (own, nodes) = self.points.split_at(nodes);
        let range = self.names.get_or_init(|| names(own)).get(namespace).and_then(|names| names.get(name));
        let own = range.and_then(|range| own.get(range.clone())).unwrap_or_default();
        let is_named = move |point: &&Point| point.workload.namespace == namespace && point.workload.name == name;
        own.iter().chain(nodes.iter().filter(is_named))
    }

    /// What is asked of protocols without ports.
    #[must_use]
    pub const fn questions(&self) -> &Questions {
        &self.questions
    }

    /// What is allowed between two classes, for each family that both have.
    #[must_use]
    pub fn by_family(&self, source: usize, destination: usize) -> Vec<(Family, Open)> {
        let Some((from, to)) = self.matrix.class(source).zip(self.matrix.class(destination)) else { return Vec::new() };
        let families = world::families(from, to).into_iter();
        families.map(|family| (family, self.open(self.numbers(source, destination, family)))).collect()
    }

    /// The numbers of what both sides let through.
    fn numbers(&self, source: usize, destination: usize, family: Family) -> (u32, u32) {
        let number = |direction| self.number(direction, source, destination, family);
        (number(Direction::Egress), number(Direction::Ingress))
    }

    /// The number of what one side of a flow lets through.
    fn number(&self, direction: Direction, source: usize, destination: usize, family: Family) -> u32 {
        if direction == Direction::Egress {
            return self.opening(&self.egress, family, source, destination);
        }
        let ends = self.matrix.class(source).zip(self.matrix.class(destination));
        let is_free = ends.is_some_and(|(from, to)| is_own_node(from, to));
        if is_free { Openings::ALL } else { self.opening(&self.ingress, family, destination, source) }
    }

    /// Whether nothing passes between two classes; the other side is asked only where the `first` lets something through.
    fn is_closed(&self, first: Direction, source: usize, destination: usize) -> bool {
        let closes = |direction, family| self.number(direction, source, destination, family) == Openings::NOTHING;
        let is_closed = |family: Family| closes(first, family) || closes(first.opposite(), family);
        self.egress.sides.iter().all(|(family, _)| is_closed(*family))
    }

    /// What passes both.
    fn open(&self, (egress, ingress): (u32, u32)) -> Open {
        let openings = self.egress.openings.get(egress).zip(self.ingress.openings.get(ingress));
        openings.map(|(egress, ingress)| self.questions.both(&egress, &ingress)).unwrap_or_default()
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
        self.questions.one(self.questions.opening(&self.matrix, direction, class, ends))
    }
}

/// Where the points of each name are: they are sorted.
fn names(points: &[Point]) -> Names {
    let mut names = Names::default();
    let mut first = 0;
    for same in
        points.chunk_by(|a, b| (&a.workload.namespace, &a.workload.name) == (&b.workload.namespace, &b.workload.name))
    {
        if let Some(point) = same.first() {
            let Workload { namespace, name, .. } = point.workload.clone();
            names.entry(namespace).or_default().insert(name, first..first + same.len());
        }
        first += same.len();
    }
    names
}

/// "Traffic is allowed to a pod … if the traffic source is the pod's local node" (NetworkPolicySpec.ingress).
fn is_own_node(from: &Class, to: &Class) -> bool {
    from.host_network && from.node.is_some() && from.node == to.node
}
