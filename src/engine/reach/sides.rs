//! What each side of a flow lets through, worked out once for all ends that no rule tells apart.
//!
//! Classes that the same policies apply to are one group. Within a group, peers are told apart only by the rules that
//! match them and, where these name ports, by the ports that the destination declares: one question to the evaluator
//! for each kind of peer is enough. So the work grows with the rules and with the answer, not with the pairs.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::{
    far::Fars,
    open::{Openings, Questions},
};
use crate::{
    engine::{
        conditions::{self, Standing},
        matrix::Matrix,
        world::{End, Family, World},
    },
    model::{ContainerPort, Direction, PortMatch, Rule},
};

#[cfg(test)]
mod tests;

/// Peers that the rules of a group do not tell apart; 0 for those that none of them names.
pub(super) type Kind = u32;

/// One direction of a world, in one family: what passes between each class and each peer.
pub(super) struct Sides {
    direction: Direction,
    groups: Vec<Group>,
    /// By class.
    group_of: Vec<u32>,
    /// By class: equal for those that declare the same ports.
    declared: Vec<u32>,
}

/// Classes with the same policies.
#[derive(Default)]
struct Group {
    peers: Peers,
    /// Whether what passes hangs on the ports that the destination declares.
    is_named: bool,
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
    fn new(count: usize, named: Vec<(u32, Kind)>) -> Self {
        let mut bits = vec![0u64; count.div_ceil(64)];
        for (class, _) in &named {
            if let Some(word) = bits.get_mut(*class as usize / 64) {
                *word |= 1 << (class % 64);
            }
        }
        let (mut sum, mut before) = (0, Vec::with_capacity(bits.len()));
        for word in &bits {
            before.push(sum);
            sum += word.count_ones();
        }
        let (classes, kinds) = named.into_iter().unzip();
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

impl Sides {
    /// Asks `matrix` about each kind of peer of each group.
    pub(super) fn new(
        matrix: &Matrix<'_>,
        (direction, family): (Direction, Family),
        questions: &Questions,
        openings: &mut Openings,
    ) -> Self {
        let declared = declared(matrix.world);
        let mut builder = Builder { matrix, direction, family, fars: Fars::new(matrix.world, direction, family) };
        let (members, group_of) = builder.groups();
        let mut ask = |subject: usize, peer: usize| {
            let ends = ends(matrix, (direction, family), subject, peer);
            let opening = ends.map(|ends| questions.opening(matrix, direction, subject, ends));
            opening.map_or(Openings::NOTHING, |opening| openings.number(opening))
        };
        let groups = members.iter().map(|members| builder.group(members, &declared, &mut ask)).collect();
        Self { direction, groups, group_of, declared }
    }

    /// The number of what passes between `subject` and `peer`.
    pub(super) fn opening(&self, subject: usize, peer: usize) -> u32 {
        let Some(group) = self.group(subject) else { return Openings::NOTHING };
        let kind = group.peers.kind(peer);
        if let (0, Some(rest)) = (kind, group.rest) {
            return rest;
        }
        let destination = match self.direction {
            Direction::Ingress => subject,
            Direction::Egress => peer,
        };
        let ports = if group.is_named { self.declared.get(destination).copied().unwrap_or_default() } else { 0 };
        group.openings.get(&(kind, ports)).copied().unwrap_or(Openings::NOTHING)
    }

    /// The number of a class's group, and that of the ports which it declares where these count.
    pub(super) fn group_number(&self, class: usize) -> (u32, u32) {
        let number = self.group_of.get(class).copied().unwrap_or(u32::MAX);
        let is_named = self.group(class).is_some_and(|group| group.is_named);
        (number, if is_named { self.declared.get(class).copied().unwrap_or_default() } else { 0 })
    }

    /// The only peers that anything passes to, in the order of classes; `None` where all have to be asked about.
    pub(super) fn only(&self, subject: usize) -> Option<&[u32]> {
        let group = self.group(subject)?;
        (group.rest == Some(Openings::NOTHING)).then_some(&group.peers.classes)
    }

    fn group(&self, class: usize) -> Option<&Group> {
        self.groups.get(*self.group_of.get(class)? as usize)
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

struct Builder<'m, 'w> {
    matrix: &'m Matrix<'w>,
    direction: Direction,
    family: Family,
    fars: Fars,
}

impl<'w> Builder<'_, 'w> {
    /// The classes of each group, and the group of each class.
    fn groups(&self) -> (Vec<Vec<usize>>, Vec<u32>) {
        let mut numbers: HashMap<(&[usize], Vec<Standing>), usize> = HashMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        let group_of = (0..self.matrix.world.classes.len()).map(|class| {
            let key = (self.matrix.applied(self.direction, class), self.near(class));
            let number = *numbers.entry(key).or_insert(members.len());
            if number == members.len() {
                members.push(Vec::new());
            }
            if let Some(list) = members.get_mut(number) {
                list.push(class);
            }
            u32::try_from(number).unwrap_or(u32::MAX)
        });
        let group_of = group_of.collect();
        (members, group_of)
    }

    /// What a class is itself to the rules that look at both ends.
    fn near(&self, class: usize) -> Vec<Standing> {
        let Some(end) = self.matrix.class(class).map(|subject| End::pods(subject, self.family)) else {
            return Vec::new();
        };
        let is_source = self.direction == Direction::Egress;
        let conditions = self.rules(class).into_iter().filter_map(|(_, rule)| rule.conditions.as_deref());
        let near = conditions.map(|conditions| (conditions.far(self.direction.opposite()), is_source));
        near.map(|near| conditions::standing(self.matrix.world, near, &end, class)).collect()
    }

    /// The rules that a class is asked about, by their numbers.
    fn rules(&self, class: usize) -> Vec<(usize, &'w Rule)> {
        let of = |policy: &usize| {
            let rules = self.matrix.world.policies.get(*policy).and_then(|p| p.rules(self.direction));
            (self.fars.first(*policy)..).zip(rules.unwrap_or_default())
        };
        self.matrix.applied(self.direction, class).iter().flat_map(of).collect()
    }

    fn group(&mut self, members: &[usize], declared: &[u32], ask: &mut impl FnMut(usize, usize) -> u32) -> Group {
        let Some(first) = members.first().copied() else { return Group::default() };
        let rules = self.rules(first);
        let is_named = rules.iter().any(|(_, rule)| names_ports(rule));
        let peers = Peers::new(declared.len(), self.fars.kinds(rules.iter().map(|(number, _)| *number)));
        let mut group = Group { peers, is_named, ..Group::default() };
        match self.direction {
            // The destination is one of the group.
            Direction::Ingress => {
                let subjects = if is_named { one_of_each(members, declared) } else { vec![first] };
                for subject in subjects {
                    let ports = if is_named { declared.get(subject).copied().unwrap_or_default() } else { 0 };
                    group.ask(|_| ports, 1, declared.len(), |peer| ask(subject, peer));
                }
            }
            Direction::Egress if !is_named => group.ask(|_| 0, 1, declared.len(), |peer| ask(first, peer)),
            Direction::Egress => {
                // Those that no rule names differ only for rules that name nobody.
                let differ = rules.iter().any(|(number, rule)| self.fars.is_anyone(*number) && names_ports(rule));
                let rest = if differ { declared.len() } else { 1 };
                let ports = |peer: usize| declared.get(peer).copied().unwrap_or_default();
                group.ask(ports, rest, declared.len(), |peer| ask(first, peer));
            }
        }
        let mut rest = group.openings.iter().filter(|((kind, _), _)| *kind == 0).map(|(_, opening)| *opening);
        // Where the rules name every peer, there is no rest.
        let one = rest.next().unwrap_or(Openings::NOTHING);
        group.rest = rest.all(|other| other == one).then_some(one);
        group
    }
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

/// Of classes that declare the same ports the first.
fn one_of_each(members: &[usize], declared: &[u32]) -> Vec<usize> {
    let mut seen = HashSet::new();
    members.iter().copied().filter(|class| seen.insert(declared.get(*class))).collect()
}

/// By class a number for the ports that it declares.
fn declared(world: &World) -> Vec<u32> {
    let mut numbers: HashMap<&[ContainerPort], u32> = HashMap::new();
    let mut number = |ports| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(ports).or_insert(next)
    };
    world.classes.iter().map(|class| number(class.ports.as_slice())).collect()
}
