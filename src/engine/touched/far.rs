//! Which classes a rule names at its far end, and which of them it tells apart.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt};

use crate::{
    engine::{
        conditions,
        world::{ByNamespace, End, Family, World},
    },
    model::{Conditions, Direction, NamespaceMatch, Peer, Rule, Selector},
};

/// A number for what a rule sees in a class; equal numbers of one rule mean the same.
pub(super) type Mark = u32;

/// The classes at a rule's far end, in order; `None`: every class, and all of them alike.
pub(super) type Far = Option<Vec<(usize, Mark)>>;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The far ends of the rules of one direction. Each is worked out when it is first asked for, and once for all rules
/// that name the same.
pub(super) struct Fars<'w> {
    world: &'w World,
    direction: Direction,
    namespaces: ByNamespace<'w>,
    numbers: HashMap<String, usize>,
    ends: Vec<Far>,
    /// By policy: the number of each of its rules' far ends.
    of: Vec<Option<Vec<usize>>>,
}

impl<'w> Fars<'w> {
    pub(super) fn new(world: &'w World, direction: Direction) -> Self {
        Self {
            world,
            direction,
            namespaces: ByNamespace::new(world),
            numbers: HashMap::new(),
            ends: Vec::new(),
            of: vec![None; world.policies.len()],
        }
    }

    /// The classes of a subject's namespaces, in order.
    pub(super) fn in_namespaces(&self, namespaces: &NamespaceMatch) -> Vec<usize> {
        let mut classes = self.namespaces.classes(namespaces);
        classes.sort_unstable();
        classes
    }

    /// The far end of a number.
    pub(super) fn get(&self, number: usize) -> &Far {
        self.ends.get(number).unwrap_or(&None)
    }

    /// The numbers of the far ends of a policy's rules.
    pub(super) fn of(&mut self, policy: usize) -> Vec<usize> {
        if let Some(Some(known)) = self.of.get(policy) {
            return known.clone();
        }
        let rules = self.world.policies.get(policy).and_then(|policy| policy.rules(self.direction));
        let numbers: Vec<usize> = rules.unwrap_or_default().iter().map(|rule| self.number(rule)).collect();
        if let Some(place) = self.of.get_mut(policy) {
            *place = Some(numbers.clone());
        }
        numbers
    }

    fn number(&mut self, rule: &Rule) -> usize {
        let text = match &rule.conditions {
            Some(conditions) => format!("{:?}", conditions.far(self.direction)),
            None => format!("{:?}", rule.peers),
        };
        if let Some(known) = self.numbers.get(&text) {
            return *known;
        }
        let far = match &rule.conditions {
            Some(conditions) => self.of_calico(conditions),
            None => rule.peers.as_ref().map(|peers| self.of_peers(peers)),
        };
        self.ends.push(far);
        self.numbers.insert(text, self.ends.len() - 1);
        self.ends.len() - 1
    }

    /// By the peers that match, and in which family they do.
    fn of_peers(&self, peers: &[Peer]) -> Vec<(usize, Mark)> {
        let mut seen: BTreeMap<usize, Vec<(usize, bool, bool)>> = BTreeMap::new();
        let everything = NamespaceMatch::Selected(Selector::everything());
        for (position, peer) in peers.iter().enumerate() {
            let namespaces = match peer {
                Peer::Pods { namespaces, .. } => namespaces,
                Peer::Block { .. } | Peer::Nodes(_) => &everything,
            };
            for class in self.namespaces.classes(namespaces) {
                let [four, six] =
                    self.ends(class).map(|end| end.is_some_and(|end| self.world.peer_matches(peer, &end)));
                if four || six {
                    seen.entry(class).or_default().push((position, four, six));
                }
            }
        }
        marked(seen.into_iter())
    }

    /// By how they stand to the far end of the conditions, and to each of its blocks.
    fn of_calico(&self, conditions: &Conditions) -> Far {
        let (far, is_source) = (conditions.far(self.direction), self.direction == Direction::Ingress);
        let seen = (0..self.world.classes.len()).map(|class| {
            let of_end = |end: Option<End<'w>>| {
                let end = end?;
                let blocks: Vec<bool> = far.nets.iter().map(|net| self.world.holds(*net, &[], &end)).collect();
                Some((conditions::standing(self.world, (far, is_source), &end, class), blocks))
            };
            (class, self.ends(class).map(of_end))
        });
        let outside = |seen: &[Option<(conditions::Standing, Vec<bool>)>; 2]| {
            seen.iter().flatten().all(|(standing, _)| *standing == conditions::Standing::Outside)
        };
        let named = marked(seen.filter(|(_, seen)| !outside(seen)));
        let is_anyone = named.len() == self.world.classes.len() && named.iter().all(|(_, mark)| *mark == 0);
        (!is_anyone).then_some(named)
    }

    /// A class in each family.
    fn ends(&self, class: usize) -> [Option<End<'w>>; 2] {
        FAMILIES.map(|family| self.world.classes.get(class).map(|class| End::pods(class, family)))
    }
}

/// A number from 0 up for each different thing.
fn marked<T: Eq + std::hash::Hash>(seen: impl Iterator<Item = (usize, T)>) -> Vec<(usize, Mark)> {
    let mut numbers: HashMap<T, Mark> = HashMap::new();
    let number = |(class, what)| {
        let next = Mark::try_from(numbers.len()).unwrap_or(Mark::MAX);
        (class, *numbers.entry(what).or_insert(next))
    };
    seen.map(number).collect()
}
