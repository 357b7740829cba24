//! Which classes the rules of a class may let through at all.

use std::collections::HashMap;

use super::super::{
    conditions,
    matrix::Matrix,
    world::{End, Family, World},
};
use crate::model::{Action, Direction, Policy, Rule};

/// A set of classes, one bit each.
type Bits = Vec<u64>;

/// For each class the peers that some rule of its policies matches; `None` where the class is not isolated.
pub(super) struct Candidates(Vec<Option<Bits>>);

impl Candidates {
    /// For one direction.
    pub(super) fn new(matrix: &Matrix<'_>, direction: Direction) -> Self {
        let mut known = Known { world: matrix.world, direction, peers: HashMap::new() };
        let of = |class: usize| {
            let subject = matrix.class(class)?;
            // What no rule matches is denied at the end of a tier, if there is one that denies.
            let denies = |policy: &Policy| policy.tier.default_action == Action::Deny;
            if subject.host_network || !matrix.isolating(direction, class).any(denies) {
                return None;
            }
            let mut all = empty(matrix.world);
            for rule in matrix.isolating(direction, class).flat_map(|p| p.rules(direction).unwrap_or_default()) {
                known.add(rule, &mut all)?;
            }
            Some(all)
        };
        Self((0..matrix.world.classes.len()).map(of).collect())
    }

    /// Whether `peer` may be let through by the rules of `subject`.
    pub(super) fn has(&self, subject: usize, peer: usize) -> bool {
        match self.0.get(subject) {
            Some(Some(bits)) => bits.get(peer / 64).is_some_and(|word| word & (1 << (peer % 64)) != 0),
            _ => true,
        }
    }
}

fn empty(world: &World) -> Bits {
    vec![0; world.classes.len().div_ceil(64)]
}

/// What is known of peers: many rules name the same ones.
struct Known<'w> {
    world: &'w World,
    direction: Direction,
    peers: HashMap<String, Bits>,
}

impl Known<'_> {
    /// Adds the classes that a rule matches; `None` where it matches any.
    fn add(&mut self, rule: &Rule, all: &mut Bits) -> Option<()> {
        let world = self.world;
        if let Some(conditions) = &rule.conditions {
            let far = match self.direction {
                Direction::Ingress => &conditions.source,
                Direction::Egress => &conditions.destination,
            };
            if !conditions::names_ends(far) {
                return None;
            }
            self.put(format!("{far:?}"), |end| conditions::may_be_at(world, far, end), all);
            return Some(());
        }
        for peer in rule.peers.as_ref()? {
            self.put(format!("{peer:?}"), |end| world.peer_matches(peer, end), all);
        }
        Some(())
    }

    fn put(&mut self, key: String, matches: impl Fn(&End<'_>) -> bool, all: &mut Bits) {
        let world = self.world;
        let bits = self.peers.entry(key).or_insert_with(|| classes(world, matches));
        all.iter_mut().zip(bits).for_each(|(word, more)| *word |= *more);
    }
}

fn classes(world: &World, matches: impl Fn(&End<'_>) -> bool) -> Bits {
    let mut bits = empty(world);
    for (index, class) in world.classes.iter().enumerate() {
        let is_one = [Family::V4, Family::V6].iter().any(|family| matches(&End::pods(class, *family)));
        if let Some(word) = bits.get_mut(index / 64).filter(|_| is_one) {
            *word |= 1 << (index % 64);
        }
    }
    bits
}
