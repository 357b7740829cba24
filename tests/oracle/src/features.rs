//! Which feature of the policies decides a packet: the one without which, or with which misread, the answer changes.
//!
//! Random material proves nothing of what it never asks about. A test that compares two readings counts here how many
//! of its answers hang on each feature.

mod edits;
mod kubernetes;

use crate::Answer;
use crate::random::tiered::Packet;
use crate::tiers::{World, verdicts};

/// Something that documents may say, and what they would say without it.
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// Takes it out of a world, or puts a usual misreading in its place.
    without: fn(&mut World),
}

impl std::fmt::Debug for Feature {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Feature {
    /// Gives the world without the feature; none where it does not have it.
    #[must_use]
    pub fn taken_from(&self, world: &World) -> Option<World> {
        let mut without = world.clone();
        (self.without)(&mut without);
        (without != *world).then_some(without)
    }
}

/// What the answers for packets are in a world.
#[must_use]
pub fn answers(world: &World, packets: &[Packet]) -> Vec<Answer> {
    let questions: Vec<_> = packets.iter().map(|packet| packet.in_world(world)).collect();
    verdicts(world, &questions).into_iter().map(|verdict| verdict.answer).collect()
}

/// All features that random documents have.
#[must_use]
pub fn all() -> Vec<Feature> {
    let mut found = without_admin();
    found.extend(edits::admin());
    found
}

/// Those of NetworkPolicies of Kubernetes alone.
#[must_use]
pub fn of_kubernetes() -> Vec<Feature> {
    kubernetes::all()
}

/// Those of the network policy API's kinds alone.
#[must_use]
pub fn of_admin() -> Vec<Feature> {
    edits::admin()
}

/// Those of Kubernetes' and Calico's policies alone.
#[must_use]
pub fn without_admin() -> Vec<Feature> {
    let mut found = edits::policies();
    found.extend(edits::rules());
    found.extend(edits::selectors());
    found
}
