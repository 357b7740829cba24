//! What each side of a flow lets through, worked out once for all ends that no rule tells apart.
//!
//! Classes that the same policies apply to are one group. Within a group, peers are told apart only by the rules that
//! match them and, where these name ports, by the ports that the destination declares: one question to the evaluator
//! for each kind of peer is enough. So the work grows with the rules and with the answer, not with the pairs.

use std::sync::{Mutex, OnceLock, PoisonError};

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::{
    far::{Asked, Fars},
    open::{Openings, Questions},
};
use crate::{
    engine::{
        conditions::{self, Standing},
        kinds::{Kind, numbered},
        matrix::Matrix,
        world::{End, Family, World},
    },
    model::{Direction, PortMatch, Rule},
};

#[cfg(test)]
mod tests;

/// One direction of a world, in one family: what passes between each class and each peer.
///
/// A group is worked out when it is first asked about: who compares two worlds, or asks about a few flows, needs few.
pub(super) struct Sides<'w> {
    direction: Direction,
    family: Family,
    groups: Vec<Members>,
    /// By class.
    group_of: Vec<u32>,
    /// By class: equal for those that declare the same ports, in a network of their own or not.
    declared: Vec<u32>,
    asked: Asked<'w>,
    fars: Mutex<Fars>,
}

/// Who is asked about what, and where the answers are kept.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a, 'w> {
    pub(super) matrix: &'a Matrix<'w>,
    pub(super) questions: &'a Questions,
    pub(super) openings: &'a Openings,
}

/// The classes of a group.
struct Members {
    classes: Vec<usize>,
    /// Whether what passes hangs on the ports that the destination declares.
    is_named: bool,
    group: OnceLock<Group>,
}

/// Classes with the same policies.
#[derive(Default)]
struct Group {
    peers: Peers,
    /// By kind of peer and declared ports: a number of [`Openings`].
    openings: HashMap<(Kind, u32), u32>,
    /// The same for all peers of kind 0, where declared ports do not tell them apart.
    rest: Option<u32>,
}

/// The peers that some rule of a group names, by class.
#[derive(Default)]
struct Peers {
    bits: Vec<u64>,
    /// How many come before each word of `bits`.
    before: Vec<u32>,
    classes: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Peers {
    /// Of `count` classes those in `named`, which is sorted.
    fn new(count: usize, named: Vec<(usize, Kind)>) -> Self {
        let mut bits = vec![0u64; count.div_ceil(64)];
        for (class, _) in &named {
            if let Some(word) = bits.get_mut(*class / 64) {
                *word |= 1 << (class % 64);
            }
        }
        let (mut sum, mut before) = (0, Vec::with_capacity(bits.len()));
        for word in &bits {
            before.push(sum);
            sum += word.count_ones();
        }
        let pair = |(class, kind)| Some((u32::try_from(class).ok()?, kind));
        let (classes, kinds) = named.into_iter().filter_map(pair).unzip();
        Self { bits, before, classes, kinds }
    }

    fn kind(&self, class: usize) -> Kind {
        let (Some(word), Some(before)) = (self.bits.get(class / 64), self.before.get(class / 64)) else { return 0 };
        let bit = 1 << (class % 64);
        if word & bit == 0 {
            return 0;
        }
        let at = before + (word & (bit - 1)).count_ones();
        self.kinds.get(at as usize).copied().unwrap_or_default()
    }
}

impl<'w> Sides<'w> {
    /// Tells apart the classes of `matrix` by their policies.
    pub(super) fn new(matrix: &Matrix<'w>, direction: Direction, family: Family) -> Self {
        let mut numbers: HashMap<(&[usize], Vec<Standing>), usize> = HashMap::new();
        let mut groups: Vec<Members> = Vec::new();
        let group_of = (0..matrix.world.classes.len()).map(|class| {
            let rules = rules(matrix, direction, class);
            let key = (matrix.applied(direction, class), near(matrix, (direction, family), class, &rules));
            let number = *numbers.entry(key).or_insert(groups.len());
            if let Some(group) = groups.get_mut(number) {
                group.classes.push(class);
            } else {
                let is_named = rules.iter().any(|rule| names_ports(rule));
                groups.push(Members { classes: vec![class], is_named, group: OnceLock::new() });
            }
            u32::try_from(number).unwrap_or(u32::MAX)
        });
        let group_of = group_of.collect();
        let asked = Asked::new(matrix.world, direction, family);
        Self { direction, family, groups, group_of, declared: declared(matrix.world), asked, fars: Mutex::default() }
    }

    /// Works out all groups now.
    pub(super) fn prepare(&self, asking: Asking<'_, 'w>) {
        for members in &self.groups {
            self.of(members, asking);
        }
    }

    /// The number of what passes between `subject` and `peer`.
    pub(super) fn opening(&self, asking: Asking<'_, 'w>, subject: usize, peer: usize) -> u32 {
        let Some(members) = self.members(subject) else { return Openings::NOTHING };
        let group = self.of(members, asking);
        let kind = group.peers.kind(peer);
        if let (0, Some(rest)) = (kind, group.rest) {
            return rest;
        }
        let destination = match self.direction {
            Direction::Ingress => subject,
            Direction::Egress => peer,
        };
        let ports = self.ports(members, destination);
        group.openings.get(&(kind, ports)).copied().unwrap_or(Openings::NOTHING)
    }

    /// The number of a class's group, and that of the ports which it declares where these count.
    pub(super) fn group_number(&self, class: usize) -> (u32, u32) {
        let number = self.group_of.get(class).copied().unwrap_or(u32::MAX);
        (number, self.members(class).map(|members| self.ports(members, class)).unwrap_or_default())
    }

    /// The only peers that anything passes to, in the order of classes; `None` where all have to be asked about.
    pub(super) fn only(&self, asking: Asking<'_, 'w>, subject: usize) -> Option<&[u32]> {
        let group = self.of(self.members(subject)?, asking);
        (group.rest == Some(Openings::NOTHING)).then_some(&group.peers.classes)
    }

    fn members(&self, class: usize) -> Option<&Members> {
        self.groups.get(*self.group_of.get(class)? as usize)
    }

    /// The number of the ports that a destination declares, where these count.
    fn ports(&self, members: &Members, destination: usize) -> u32 {
        if members.is_named { self.declared.get(destination).copied().unwrap_or_default() } else { 0 }
    }

    fn of<'s>(&'s self, members: &'s Members, asking: Asking<'_, 'w>) -> &'s Group {
        members.group.get_or_init(|| self.made(members, asking))
    }

    /// Asks about each kind of peer of a group.
    fn made(&self, members: &Members, asking: Asking<'_, 'w>) -> Group {
        let Some(first) = members.classes.first().copied() else { return Group::default() };
        let count = self.declared.len();
        let rules = rules(asking.matrix, self.direction, first);
        let mut fars = self.fars.lock().unwrap_or_else(PoisonError::into_inner);
        let (named, differ) = fars.kinds(&self.asked, &rules, names_ports);
        drop(fars);
        let mut group = Group { peers: Peers::new(count, named), ..Group::default() };
        let ask = |subject: usize, peer: usize| self.ask(asking, subject, peer);
        match self.direction {
            // The destination is one of the group.
            Direction::Ingress => {
                let one = [first];
                let subjects = if members.is_named { &self.one_of_each(&members.classes) } else { one.as_slice() };
                for subject in subjects {
                    let ports = self.ports(members, *subject);
                    group.ask(|_| ports, 1, count, |peer| ask(*subject, peer));
                }
            }
            // Those that no rule names differ only for rules that name nobody.
            Direction::Egress => {
                let rest = if differ { count } else { 1 };
                group.ask(|peer| self.ports(members, peer), rest, count, |peer| ask(first, peer));
            }
        }
        let mut rest = group.openings.iter().filter(|((kind, _), _)| *kind == 0).map(|(_, opening)| *opening);
        // Where the rules name every peer, there is no rest.
        let one = rest.next().unwrap_or(Openings::NOTHING);
        group.rest = rest.all(|other| other == one).then_some(one);
        group
    }

    fn ask(&self, Asking { matrix, questions, openings }: Asking<'_, 'w>, subject: usize, peer: usize) -> u32 {
        let ends = ends(matrix, (self.direction, self.family), subject, peer);
        let opening = ends.map(|ends| questions.opening(matrix, self.direction, subject, ends));
        opening.map_or(Openings::NOTHING, |opening| openings.number(opening))
    }

    /// Of classes that declare the same ports the first.
    fn one_of_each(&self, classes: &[usize]) -> Vec<usize> {
        let mut seen = HashSet::new();
        classes.iter().copied().filter(|class| seen.insert(self.declared.get(*class))).collect()
    }
}

/// Source and destination of a flow between a class and a peer.
fn ends<'w>(
    matrix: &Matrix<'w>,
    (direction, family): (Direction, Family),
    subject: usize,
    peer: usize,
) -> Option<(End<'w>, End<'w>)> {
    let (own, other) = (End::pods(matrix.class(subject)?, family), End::pods(matrix.class(peer)?, family));
    Some(if direction == Direction::Egress { (own, other) } else { (other, own) })
}

/// What a class is itself to those of its rules that look at both ends.
fn near(matrix: &Matrix<'_>, (direction, family): (Direction, Family), class: usize, rules: &[&Rule]) -> Vec<Standing> {
    let Some(end) = matrix.class(class).map(|subject| End::pods(subject, family)) else { return Vec::new() };
    let is_source = direction == Direction::Egress;
    let conditions = rules.iter().filter_map(|rule| rule.conditions.as_deref());
    let near = conditions.map(|conditions| (conditions.far(direction.opposite()), is_source));
    near.map(|near| conditions::standing(matrix.world, near, &end, class)).collect()
}

/// The rules that a class is asked about.
fn rules<'w>(matrix: &Matrix<'w>, direction: Direction, class: usize) -> Vec<&'w Rule> {
    matrix.isolating(direction, class).flat_map(|policy| policy.rules(direction).unwrap_or_default()).collect()
}

impl Group {
    /// Asks about a peer of each kind and each number of `ports`, and about `rest` of the `count` that no rule names.
    fn ask(&mut self, ports: impl Fn(usize) -> u32, rest: usize, count: usize, mut ask: impl FnMut(usize) -> u32) {
        let Self { peers, openings, .. } = self;
        let others = (0..count).filter(|peer| peers.kind(*peer) == 0).take(rest);
        let named = peers.classes.iter().zip(&peers.kinds).map(|(class, kind)| (*class as usize, *kind));
        let mut last = None;
        for (peer, kind) in named.chain(others.map(|peer| (peer, 0))) {
            let key = (kind, ports(peer));
            // Neighbours are mostly alike.
            if last != Some(key) {
                openings.entry(key).or_insert_with(|| ask(peer));
            }
            last = Some(key);
        }
    }
}

/// Whether a rule names ports of the destination.
fn names_ports(rule: &Rule) -> bool {
    let is_name = |port: &PortMatch| matches!(port, PortMatch::Named { .. });
    rule.ports.iter().flatten().any(is_name)
        || rule.conditions.as_deref().is_some_and(|conditions| conditions::names_ports(&conditions.destination))
}

/// By class a number for the ports that it declares.
fn declared(world: &World) -> Vec<u32> {
    // They have no names at pods in their node's network.
    numbered(world.classes.iter().map(|class| (class.host_network, class.ports.as_slice())))
}
