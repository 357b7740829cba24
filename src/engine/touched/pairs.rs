//! The pairs of classes that a rule opens flows between, gathered where nothing tells them apart.
//!
//! ```text
//! subjects ─▶ parts ─┐                        by policies and rules ([`super::alike`]), declared ports, addresses,
//! peers ────▶ parts ─┴─▶ cells of equal pairs   and whatever else says how well a flow can be seen
//! ```
//!
//! A cell has its first pair, of which everything is asked, and how many there are. So the work grows with what rules
//! tell apart, not with the pairs.

use foldhash::{HashMap, HashMapExt};

use super::{
    Views,
    alike::{Alike, Answer},
    far::Mark,
};
use crate::{
    engine::{dns, kinds::numbered, world::Family},
    model::{ContainerPort, Direction, PolicyRef, Subject},
};

/// A rule by its place: those of its policy and of the rule in its list.
pub(super) type Place = (usize, usize);

/// Which pairs are looked at as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Those that nothing tells apart.
    Together,
    /// Each by itself: for who has to look at every one.
    Apart,
}

/// What is known of all classes while rules are looked at.
pub(super) struct Looks<'v, 'a> {
    pub(super) views: &'v Views<'a>,
    declared: Alike<'v, 'a>,
    before: Option<Alike<'v, 'a>>,
    /// By class: equal for those that are as good a source, or destination.
    sources: Vec<u32>,
    destinations: Vec<u32>,
    policies: HashMap<&'a PolicyRef, usize>,
    /// Whether there are policies whose order decides.
    pub(super) is_ordered: bool,
    is_apart: bool,
}

/// All that is asked of a class besides policies and rules.
#[derive(PartialEq, Eq, Hash)]
struct Traits<'c> {
    /// On its node's network, usable, in a namespace that probes may start in, with pods.
    is: [bool; 4],
    /// No address, one of IPv4, one of IPv6.
    addresses: [bool; 3],
    /// A destination's.
    ports: Option<(&'c [ContainerPort], bool)>,
}

/// Pairs of a subject and a peer that nothing tells apart.
pub(super) struct Cell {
    /// The first of them.
    pub(super) first: (usize, usize),
    /// How many they are.
    pub(super) count: usize,
}

/// The pairs of a rule.
#[derive(Default)]
pub(super) struct Pairs {
    subjects: Members,
    peers: Members,
    /// By part of the subjects and part of the peers.
    cell_of: Vec<Option<usize>>,
    /// By their first pairs.
    pub(super) cells: Vec<Cell>,
}

/// Classes in order, and the parts that they fall into.
#[derive(Default)]
struct Members {
    classes: Vec<usize>,
    part_of: Vec<u32>,
    parts: Vec<Vec<usize>>,
}

/// What makes pairs equal: the subject's group, what the rule sees in the peer, their traits, and what each side lets
/// through now and before, in each family.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    group: u32,
    mark: Mark,
    traits: (u32, u32),
    answers: [Option<Answer>; 8],
}

impl<'v, 'a> Looks<'v, 'a> {
    pub(super) fn new(views: &'v Views<'a>, look: Look) -> Self {
        let world = views.input.declared;
        let mut policies = HashMap::new();
        for (place, policy) in world.policies.iter().enumerate() {
            policies.entry(&policy.id).or_insert(place);
        }
        let traits =
            |is_destination| numbered((0..views.classes().len()).map(|at| Traits::of(views, at, is_destination)));
        Self {
            views,
            declared: Alike::new(&views.declared),
            before: views.before.as_ref().map(Alike::new),
            sources: traits(false),
            destinations: traits(true),
            policies,
            is_ordered: world.policies.iter().any(|policy| !policy.is_network_policy()),
            is_apart: look == Look::Apart,
        }
    }

    /// The place of a policy.
    pub(super) fn policy(&self, id: &PolicyRef) -> Option<usize> {
        self.policies.get(id).copied()
    }

    /// The classes that a policy applies to, in order.
    pub(super) fn subjects(&self, subject: &Subject) -> Vec<usize> {
        let classes = self.declared.in_namespaces(&subject.namespaces).into_iter();
        let world = self.views.input.declared;
        classes.filter(|at| self.views.class(*at).is_some_and(|class| world.applies_to(subject, class))).collect()
    }

    /// The pairs of a rule and its subjects.
    pub(super) fn pairs(&mut self, direction: Direction, rule: Place, subjects: Vec<usize>) -> Pairs {
        let all = || (0..self.views.classes().len()).map(|class| (class, 0)).collect();
        let far: Vec<(usize, Mark)> = self.declared.far(direction, rule).clone().unwrap_or_else(all);
        let (peers, marks): (Vec<usize>, Vec<Mark>) = far.into_iter().unzip();
        if self.is_apart {
            let each = |classes: Vec<usize>| Members::new(numbered(classes.iter()), classes);
            return Pairs::new(self.views, each(subjects), each(peers), |_| None::<()>);
        }
        let subject_parts = self.parts(direction, (&subjects, &vec![0; subjects.len()]), &peers);
        let peer_parts = self.parts(direction.opposite(), (&peers, &marks), &subjects);
        let mark_of: HashMap<usize, Mark> = peers.iter().copied().zip(marks).collect();
        let (views, subjects, peers) =
            (self.views, Members::new(subject_parts, subjects), Members::new(peer_parts, peers));
        Pairs::new(views, subjects, peers, |pair| {
            let mark = mark_of.get(&pair.1).copied().unwrap_or_default();
            Some(self.key(direction, mark, pair))
        })
    }

    /// A number for the part of each of these classes, whose policies in `direction` are asked, and which differ by
    /// `marks` too: no rule of the `others` tells those of one part apart.
    fn parts(&mut self, direction: Direction, (classes, marks): (&[usize], &[Mark]), others: &[usize]) -> Vec<u32> {
        let is_destination = direction == Direction::Ingress;
        let traits = if is_destination { &self.destinations } else { &self.sources };
        let traits = classes.iter().map(|class| traits.get(*class));
        let mut parts = numbered(traits.zip(marks));
        for alike in std::iter::once(&mut self.declared).chain(&mut self.before) {
            let own = |class: &usize| {
                let ports = if is_destination { alike.declared(*class) } else { 0 };
                (alike.group(direction, *class), ports)
            };
            parts = numbered(parts.iter().zip(classes.iter().map(own)));
            let against = direction.opposite();
            let mut groups: Vec<u32> = others.iter().map(|other| alike.group(against, *other)).collect();
            groups.sort_unstable();
            groups.dedup();
            for group in groups {
                parts = numbered(parts.iter().zip(alike.kinds(against, group, classes)));
            }
        }
        parts
    }

    fn key(&mut self, direction: Direction, mark: Mark, (subject, peer): (usize, usize)) -> Key {
        let (source, destination) = ends(direction, (subject, peer));
        let families = self.views.families(source, destination);
        let sides = [(Direction::Egress, source, destination), (Direction::Ingress, destination, source)];
        let mut answers = [None; 8];
        let mut places = answers.iter_mut();
        for alike in std::iter::once(&mut self.declared).chain(&mut self.before) {
            for (side, own, other) in sides {
                for (family, place) in [Family::V4, Family::V6].into_iter().zip(places.by_ref().take(2)) {
                    *place = families.contains(&family).then(|| alike.answer(side, family, own, other));
                }
            }
        }
        let number = |list: &[u32], class: usize| list.get(class).copied().unwrap_or(u32::MAX);
        Key {
            group: self.declared.group(direction, subject),
            mark,
            traits: (number(&self.sources, source), number(&self.destinations, destination)),
            answers,
        }
    }
}

/// Source and destination of a subject and its peer.
pub(super) const fn ends(direction: Direction, (subject, peer): (usize, usize)) -> (usize, usize) {
    match direction {
        Direction::Egress => (subject, peer),
        Direction::Ingress => (peer, subject),
    }
}

impl<'c> Traits<'c> {
    fn of(views: &Views<'c>, class: usize, is_destination: bool) -> Option<Self> {
        let class = views.class(class)?;
        let has = |family: Family| family.pick(&class.ips).is_some();
        Some(Self {
            is: [
                class.host_network,
                class.usable,
                (views.input.probe_from)(&class.workload.namespace),
                !class.pods.is_empty(),
            ],
            addresses: [class.ips.is_empty(), has(Family::V4), has(Family::V6)],
            ports: is_destination.then(|| (class.ports.as_slice(), dns::is_server(class))),
        })
    }
}

impl Members {
    /// Classes in order, with the number of the part of each.
    fn new(part_of: Vec<u32>, classes: Vec<usize>) -> Self {
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for (class, part) in classes.iter().zip(&part_of) {
            let part = *part as usize;
            if parts.len() <= part {
                parts.resize_with(part + 1, Vec::new);
            }
            if let Some(part) = parts.get_mut(part) {
                part.push(*class);
            }
        }
        Self { classes, part_of, parts }
    }

    fn part(&self, class: usize) -> Option<usize> {
        let at = self.classes.binary_search(&class).ok()?;
        self.part_of.get(at).map(|part| *part as usize)
    }
}

impl Pairs {
    /// Parts whose pairs have the same key are one cell; those without a key are each one of its own.
    fn new<K: Eq + std::hash::Hash>(
        views: &Views<'_>,
        subjects: Members,
        peers: Members,
        mut key: impl FnMut((usize, usize)) -> Option<K>,
    ) -> Self {
        let mut pairs = Self { subjects, peers, ..Self::default() };
        let alone = pairs.alone(views);
        let mut known: HashMap<K, usize> = HashMap::new();
        for (row, own) in pairs.subjects.parts.iter().enumerate() {
            for (column, others) in pairs.peers.parts.iter().enumerate() {
                let out = alone.get(&(row, column)).map(Vec::as_slice).unwrap_or_default();
                let count = own.len() * others.len() - out.len();
                let Some(first) = first(own, others, out).filter(|_| count > 0) else {
                    pairs.cell_of.push(None);
                    continue;
                };
                let next = pairs.cells.len();
                let cell = key(first).map_or(next, |key| *known.entry(key).or_insert(next));
                match pairs.cells.get_mut(cell) {
                    Some(cell) => *cell = Cell { first: cell.first.min(first), count: cell.count + count },
                    None => pairs.cells.push(Cell { first, count }),
                }
                pairs.cell_of.push(Some(cell));
            }
        }
        pairs
    }

    /// The cell of a pair.
    pub(super) fn cell(&self, subject: usize, peer: usize) -> Option<usize> {
        let (row, column) = (self.subjects.part(subject)?, self.peers.part(peer)?);
        self.cell_of.get(row * self.peers.parts.len() + column).copied().flatten()
    }

    /// Classes that are no pair with themselves, by their parts.
    fn alone(&self, views: &Views<'_>) -> HashMap<(usize, usize), Vec<usize>> {
        let mut alone: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for class in self.subjects.classes.iter().filter(|class| !views.is_pair(**class, **class)) {
            if let Some(parts) = self.subjects.part(*class).zip(self.peers.part(*class)) {
                alone.entry(parts).or_default().push(*class);
            }
        }
        alone
    }
}

/// The first pair of two lists in order, but for those of a class in `alone` with itself.
fn first(subjects: &[usize], peers: &[usize], alone: &[usize]) -> Option<(usize, usize)> {
    subjects.iter().find_map(|subject| {
        let peer = peers.iter().find(|peer| *peer != subject || !alone.contains(subject))?;
        Some((*subject, *peer))
    })
}
