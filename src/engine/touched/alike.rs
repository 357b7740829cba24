//! Classes that the rules of a world do not tell apart: one question to the matrix answers for all of them.
//!
//! Classes that the same policies apply to are one group. To a group its peers differ only by the rules that name them,
//! and by the ports that the destination declares. Nothing is worked out before it is asked for: a small merge in a
//! large cluster needs little of it.

use foldhash::{HashMap, HashMapExt};

use super::far::{Far, Fars};
use crate::{
    engine::{
        conditions::{self, Standing},
        kinds::{self, Kind, numbered},
        matrix::Matrix,
        world::{End, Family},
    },
    model::{Direction, NamespaceMatch, PortSet, Rule},
};

/// What one side lets through, by a number.
pub(super) type Answer = u32;

/// The classes of one matrix.
pub(super) struct Alike<'m, 'w> {
    matrix: &'m Matrix<'w>,
    ingress: Way<'w>,
    egress: Way<'w>,
    /// By class: equal for those that declare the same ports, in a network of their own or not.
    declared: Vec<u32>,
    numbers: HashMap<Option<PortSet>, Answer>,
}

/// One direction.
struct Way<'w> {
    fars: Fars<'w>,
    /// By class.
    group_of: Vec<u32>,
    groups: Vec<Group>,
    /// By group, kind of peer, and ports that the destination declares.
    answers: HashMap<(u32, Kind, u32, Family), Answer>,
    /// By class, while a group's peers are told apart.
    kinds: Vec<Kind>,
}

/// Classes with the same policies.
struct Group {
    first: usize,
    /// The peers that some rule names, in order; once they are asked for.
    named: Option<Vec<(usize, Kind)>>,
}

impl<'m, 'w> Alike<'m, 'w> {
    pub(super) fn new(matrix: &'m Matrix<'w>) -> Self {
        let way = |direction| Way::new(matrix, direction);
        Self {
            matrix,
            ingress: way(Direction::Ingress),
            egress: way(Direction::Egress),
            // Ports have no names at pods in their node's network.
            declared: numbered(matrix.world.classes.iter().map(|class| (class.host_network, class.ports.as_slice()))),
            numbers: HashMap::new(),
        }
    }

    /// The number of a class's group.
    pub(super) fn group(&self, direction: Direction, class: usize) -> u32 {
        self.way(direction).group_of.get(class).copied().unwrap_or(u32::MAX)
    }

    /// The number of the ports that a class declares.
    pub(super) fn declared(&self, class: usize) -> u32 {
        self.declared.get(class).copied().unwrap_or(u32::MAX)
    }

    /// The classes of a subject's namespaces, in order.
    pub(super) fn in_namespaces(&self, namespaces: &NamespaceMatch) -> Vec<usize> {
        self.egress.fars.in_namespaces(namespaces)
    }

    /// The far end of a rule: a policy's place, and that of the rule in its list.
    pub(super) fn far(&mut self, direction: Direction, (policy, rule): (usize, usize)) -> &Far {
        let fars = &mut self.way_mut(direction).fars;
        let number = fars.of(policy).get(rule).copied().unwrap_or(usize::MAX);
        fars.get(number)
    }

    /// The kinds of these peers to a group, in the same order.
    pub(super) fn kinds(&mut self, direction: Direction, group: u32, peers: &[usize]) -> Vec<Kind> {
        let named = self.named(direction, group);
        peers.iter().map(|peer| kind(named, *peer)).collect()
    }

    /// The number of what `subject` lets through to or from `peer`, asked once for all that are like them.
    pub(super) fn answer(&mut self, direction: Direction, family: Family, subject: usize, peer: usize) -> Answer {
        let group = self.group(direction, subject);
        let destination = match direction {
            Direction::Ingress => subject,
            Direction::Egress => peer,
        };
        let ports = self.declared(destination);
        let key = (group, kind(self.named(direction, group), peer), ports, family);
        if let Some(known) = self.way(direction).answers.get(&key) {
            return *known;
        }
        let told = self.ask(direction, family, subject, peer);
        let next = Answer::try_from(self.numbers.len()).unwrap_or(Answer::MAX);
        let number = *self.numbers.entry(told).or_insert(next);
        self.way_mut(direction).answers.insert(key, number);
        number
    }

    fn ask(&self, direction: Direction, family: Family, subject: usize, peer: usize) -> Option<PortSet> {
        #[cfg(test)]
        crate::engine::matrix::work::count();
        let end = |class: usize| self.matrix.class(class).map(|class| End::pods(class, family));
        let (own, other) = (end(subject)?, end(peer)?);
        let destination = if direction == Direction::Ingress { own } else { other };
        self.matrix.side(direction, subject, other, destination)
    }

    fn named(&mut self, direction: Direction, group: u32) -> &[(usize, Kind)] {
        let matrix = self.matrix;
        let way = self.way_mut(direction);
        let first = match way.groups.get(group as usize) {
            Some(Group { first, named: None }) => Some(*first),
            _ => None,
        };
        if let Some(first) = first {
            let named = way.tell_apart(matrix.applied(direction, first));
            if let Some(group) = way.groups.get_mut(group as usize) {
                group.named = Some(named);
            }
        }
        let named = way.groups.get(group as usize).and_then(|group| group.named.as_deref());
        named.unwrap_or_default()
    }

    const fn way(&self, direction: Direction) -> &Way<'w> {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    const fn way_mut(&mut self, direction: Direction) -> &mut Way<'w> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }
}

fn kind(named: &[(usize, Kind)], class: usize) -> Kind {
    let at = named.binary_search_by_key(&class, |(class, _)| *class).ok();
    at.and_then(|at| named.get(at)).map_or(0, |(_, kind)| *kind)
}

impl<'w> Way<'w> {
    fn new(matrix: &Matrix<'w>, direction: Direction) -> Self {
        let count = matrix.world.classes.len();
        let key = |class: usize| {
            // No policy applies to pods in their node's network, but they are not like pods that none applies to.
            let is_host = matrix.class(class).is_some_and(|class| class.host_network);
            (matrix.applied(direction, class), is_host, near(matrix, direction, class))
        };
        let group_of = numbered((0..count).map(key));
        let mut groups: Vec<Group> = Vec::new();
        for (class, group) in group_of.iter().enumerate() {
            if *group as usize == groups.len() {
                groups.push(Group { first: class, named: None });
            }
        }
        Self {
            fars: Fars::new(matrix.world, direction),
            group_of,
            groups,
            answers: HashMap::new(),
            kinds: vec![0; count],
        }
    }

    /// The classes that some rule of these policies names, in order, with a number for each set of rules that name the
    /// same ones in the same way.
    fn tell_apart(&mut self, policies: &[usize]) -> Vec<(usize, Kind)> {
        let Self { fars, kinds, .. } = self;
        let rules: Vec<usize> = policies.iter().flat_map(|policy| fars.of(*policy)).collect();
        kinds::tell_apart(kinds, rules.into_iter().map(|rule| fars.get(rule).iter().flatten().copied()))
    }
}

/// What a class is itself to the rules that look at both ends.
fn near(matrix: &Matrix<'_>, direction: Direction, class: usize) -> Vec<[Standing; 2]> {
    let Some(subject) = matrix.class(class) else { return Vec::new() };
    let is_source = direction == Direction::Egress;
    let rules = matrix.isolating(direction, class).flat_map(|policy| policy.rules(direction).unwrap_or_default());
    let conditions = rules.filter_map(|rule: &Rule| rule.conditions.as_deref());
    let near = conditions.map(|conditions| (conditions.far(direction.opposite()), is_source));
    let standing = |near| {
        let of = |family| conditions::standing(matrix.world, near, &End::pods(subject, family), class);
        [of(Family::V4), of(Family::V6)]
    };
    near.map(standing).collect()
}
