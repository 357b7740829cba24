//! The rows of a list.

use std::rc::Rc;

use foldhash::{HashMap, HashMapExt};

use ipnet::IpNet;

use super::{Families, Open, Point, Reach};
use crate::{
    engine::world::{self, Family},
    model::{Direction, Endpoint, Workload},
};

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
    /// What is the same as in other rows.
    pub numbers: Numbers,
}

/// Numbers that stand for the same things in all rows of one list, so that what is made of these need not be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Numbers {
    /// Of the source.
    pub source: usize,
    /// Of the destination.
    pub destination: usize,
    /// Of what is allowed.
    pub open: usize,
}

impl Reach<'_> {
    /// Gives every allowed flow to `visit`, sorted by source and destination; outside addresses come last.
    ///
    /// # Errors
    /// The first one that `visit` has.
    pub fn rows<E>(&self, mut visit: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut rows = Rows::new(self);
        for source in 0..self.points.len() {
            rows.from(source, &mut visit)?;
        }
        rows.incoming(&mut visit)
    }

    /// The rows piece by piece.
    #[must_use]
    pub fn walk(&self) -> Rows<'_, '_> {
        Rows::new(self)
    }
}

/// What passes between an endpoint and sets of outside addresses.
type Outside = Rc<[(usize, usize)]>;

/// The rows of a list, endpoint by endpoint, and what is known while they are made: numbers mean the same in all of them.
pub struct Rows<'r, 'w> {
    reach: &'r Reach<'w>,
    /// By class the endpoint that it stands for.
    point_of: Vec<Option<usize>>,
    /// By endpoint a number for what it belongs to: nothing is told within one.
    places: Vec<usize>,
    opens: Vec<Open>,
    /// What passes both sides, by the numbers of each.
    joined: HashMap<(u32, u32), usize>,
    /// The same by what it is, for sets outside.
    numbers: HashMap<Open, usize>,
    /// Sets of outside addresses; their numbers come after those of the endpoints.
    externals: Vec<Endpoint>,
    blocks: HashMap<Vec<IpNet>, usize>,
    /// By what decides it.
    outside: HashMap<OutsideKey, Outside>,
    /// What decides the destinations of the last source, and these.
    destinations: Option<(Vec<u32>, Destinations)>,
}

/// The endpoints that anything passes to, in order; `None` where all have to be asked about.
type Destinations = Option<Rc<[usize]>>;

/// Two endpoints with the same have the same sets outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OutsideKey {
    direction: Direction,
    groups: [(u32, u32); 2],
    is_host: bool,
    families: [bool; 3],
}

impl<'r, 'w> Rows<'r, 'w> {
    fn new(reach: &'r Reach<'w>) -> Self {
        let mut point_of = vec![None; reach.matrix.world.classes.len()];
        let mut numbers: HashMap<PlaceOf<'_>, usize> = HashMap::new();
        let mut places = Vec::with_capacity(reach.points.len());
        for (index, point) in reach.points.iter().enumerate() {
            if let Some(place) = point_of.get_mut(point.class) {
                *place = Some(index);
            }
            let next = numbers.len();
            places.push(*numbers.entry(PlaceOf::new(point)).or_insert(next));
        }
        Self {
            reach,
            point_of,
            places,
            opens: Vec::new(),
            joined: HashMap::new(),
            numbers: HashMap::new(),
            externals: Vec::new(),
            blocks: HashMap::new(),
            outside: HashMap::new(),
            destinations: None,
        }
    }

    /// Gives the flows from the endpoint at `source` of [`Reach::points`] to `visit`, as [`Reach::rows`] does.
    ///
    /// # Errors
    /// The first one that `visit` has.
    pub fn from<E>(&mut self, source: usize, visit: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some(point) = self.reach.points.get(source) else { return Ok(()) };
        match self.destinations(point) {
            Some(only) => {
                for destination in only.iter() {
                    self.between((source, point), *destination, visit)?;
                }
            }
            None => {
                for destination in 0..self.reach.points.len() {
                    self.between((source, point), destination, visit)?;
                }
            }
        }
        for (external, open) in self.outside(Direction::Egress, point).iter().copied() {
            let numbers = Numbers { source, destination: self.reach.points.len() + external, open };
            if let Some((destination, open)) = self.externals.get(external).zip(self.opens.get(open)) {
                visit(Row { source: &point.endpoint, destination, families: Families::Any, open, numbers })?;
            }
        }
        Ok(())
    }

    /// Gives the flows from outside to `visit`, by their sets of addresses: the last ones.
    ///
    /// # Errors
    /// The first one that `visit` has.
    pub fn incoming<E>(&mut self, visit: &mut impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut incoming: Vec<(usize, usize, usize)> = Vec::new();
        for (index, point) in self.reach.points.iter().enumerate() {
            incoming.extend(
                self.outside(Direction::Ingress, point).iter().map(|(external, open)| (*external, index, *open)),
            );
        }
        let mut sorted: Vec<usize> = (0..self.externals.len()).collect();
        sorted.sort_by(|a, b| self.externals.get(*a).cmp(&self.externals.get(*b)));
        let mut rank = vec![0; sorted.len()];
        for (place, external) in sorted.into_iter().enumerate() {
            if let Some(rank) = rank.get_mut(external) {
                *rank = place;
            }
        }
        incoming.sort_unstable_by_key(|(external, index, _)| (rank.get(*external).copied(), *index));
        for (external, index, open) in incoming {
            let numbers = Numbers { source: self.reach.points.len() + external, destination: index, open };
            let point = self.reach.points.get(index);
            if let (Some(source), Some(point), Some(open)) = (self.externals.get(external), point, self.opens.get(open))
            {
                visit(Row { source, destination: &point.endpoint, families: Families::Any, open, numbers })?;
            }
        }
        Ok(())
    }

    fn between<E>(
        &mut self,
        (source, from): (usize, &Point),
        destination: usize,
        visit: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(to) = self.reach.points.get(destination) else { return Ok(()) };
        if self.places.get(source) == self.places.get(destination) {
            return Ok(());
        }
        let opens =
            self.reach.families(from.class, to.class).map(|family| Some(self.open(from.class, to.class, family?)));
        let told: [(Families, Option<usize>); 2] = match opens {
            [Some(v4), Some(v6)] if v4 != v6 => {
                [(Families::One(Family::V4), Some(v4)), (Families::One(Family::V6), Some(v6))]
            }
            [v4, v6] => [(Families::Any, v4.or(v6)), (Families::Any, None)],
        };
        for (families, open) in told {
            let Some((number, open)) = open.and_then(|number| Some((number, self.opens.get(number)?))) else {
                continue;
            };
            if !open.is_empty() {
                let numbers = Numbers { source, destination, open: number };
                visit(Row { source: &from.endpoint, destination: &to.endpoint, families, open, numbers })?;
            }
        }
        Ok(())
    }

    /// The number of what is open between two classes.
    fn open(&mut self, source: usize, destination: usize, family: Family) -> usize {
        let sides = self.reach.numbers(source, destination, family);
        if let Some(number) = self.joined.get(&sides) {
            return *number;
        }
        let number = self.number(self.reach.open(sides));
        self.joined.insert(sides, number);
        number
    }

    fn number(&mut self, open: Open) -> usize {
        let Self { numbers, opens, .. } = self;
        *numbers.entry(open).or_insert_with_key(|open| {
            opens.push(open.clone());
            opens.len() - 1
        })
    }

    fn destinations(&mut self, point: &Point) -> Destinations {
        let way = &self.reach.egress;
        let sides = &way.sides;
        let groups: Vec<u32> = sides.iter().map(|(_, sides)| sides.group_number(point.class).0).collect();
        if let Some((known, destinations)) = &self.destinations
            && *known == groups
        {
            return destinations.clone();
        }
        let only: Option<Vec<&[u32]>> =
            sides.iter().map(|(_, sides)| sides.only(self.reach.asking_of(way), point.class)).collect();
        let destinations = only.map(|only| {
            let point_of = |class: &u32| self.point_of.get(*class as usize).copied().flatten();
            let mut points: Vec<usize> = only.into_iter().flatten().filter_map(point_of).collect();
            points.sort_unstable();
            points.dedup();
            Rc::from(points)
        });
        self.destinations = Some((groups, destinations.clone()));
        destinations
    }

    fn outside(&mut self, direction: Direction, point: &Point) -> Outside {
        let Some(class) = self.reach.matrix.class(point.class) else { return Rc::from([]) };
        let mut groups = [(0, 0); 2];
        let way = if direction == Direction::Egress { &self.reach.egress } else { &self.reach.ingress };
        for (group, (_, sides)) in groups.iter_mut().zip(&way.sides) {
            *group = sides.group_number(point.class);
        }
        let families =
            [class.ips.is_empty(), Family::V4.pick(&class.ips).is_some(), Family::V6.pick(&class.ips).is_some()];
        let key = OutsideKey { direction, groups, is_host: class.host_network, families };
        if let Some(known) = self.outside.get(&key) {
            return Rc::clone(known);
        }
        let sets = self.reach.outside(direction, point).into_iter();
        let sets: Outside = sets.map(|(cidrs, open)| (self.external(cidrs), self.number(open))).collect();
        self.outside.insert(key, Rc::clone(&sets));
        sets
    }

    fn external(&mut self, cidrs: Vec<IpNet>) -> usize {
        let Self { externals, blocks, .. } = self;
        *blocks.entry(cidrs).or_insert_with_key(|cidrs| {
            externals.push(Endpoint::External { name: None, cidrs: cidrs.clone() });
            externals.len() - 1
        })
    }
}

/// What an endpoint belongs to.
#[derive(PartialEq, Eq, Hash)]
enum PlaceOf<'r> {
    Workload(&'r Workload),
    /// Policies say nothing of flows among nodes.
    Node,
}

impl<'r> PlaceOf<'r> {
    const fn new(point: &'r Point) -> Self {
        match point.endpoint {
            Endpoint::Host { .. } => Self::Node,
            _ => Self::Workload(&point.workload),
        }
    }
}

impl Reach<'_> {
    /// The families that two classes both have, as [`world::families`].
    fn families(&self, source: usize, destination: usize) -> [Option<Family>; 2] {
        let Some((from, to)) = self.matrix.class(source).zip(self.matrix.class(destination)) else { return [None; 2] };
        // Most often there is no address yet.
        if from.ips.is_empty() && to.ips.is_empty() {
            return [Some(Family::V4), None];
        }
        let both = world::families(from, to);
        [Family::V4, Family::V6].map(|family| both.contains(&family).then_some(family))
    }
}
