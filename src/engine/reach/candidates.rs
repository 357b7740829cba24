//! Which classes the rules of a class may let through at all.

use std::collections::HashMap;

use super::super::{
    matrix::Matrix,
    world::{End, Family, World},
};
use crate::model::{Direction, Peer, Rule};

/// A set of classes, one bit each.
type Bits = Vec<u64>;

/// For each class the peers that some rule of its policies matches; `None` where the class is not isolated.
pub(super) struct Candidates(Vec<Option<Bits>>);

impl Candidates {
    /// For one direction.
    pub(super) fn new(matrix: &Matrix<'_>, direction: Direction) -> Self {
        let mut known = Known { world: matrix.world, peers: HashMap::new() };
        let of = |class: usize| {
            let subject = matrix.class(class)?;
            if subject.host_network || !matrix.is_isolated(direction, class) {
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
    peers: HashMap<String, Bits>,
}

impl Known<'_> {
    /// Adds the classes that a rule matches; `None` where it matches any.
    fn add(&mut self, rule: &Rule, all: &mut Bits) -> Option<()> {
        for peer in rule.peers.as_ref()? {
            let key = format!("{peer:?}");
            let world = self.world;
            let bits = self.peers.entry(key).or_insert_with(|| classes(world, peer));
            all.iter_mut().zip(bits).for_each(|(word, more)| *word |= *more);
        }
        Some(())
    }
}

fn classes(world: &World, peer: &Peer) -> Bits {
    let mut bits = empty(world);
    for (index, class) in world.classes.iter().enumerate() {
        let matches = [Family::V4, Family::V6].iter().any(|f| world.peer_matches(peer, &End::pods(class, *f)));
        if let Some(word) = bits.get_mut(index / 64).filter(|_| matches) {
            *word |= 1 << (index % 64);
        }
    }
    bits
}
