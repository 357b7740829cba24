//! The baseline of a namespace: every pod isolated in both directions (design §4).

use std::collections::BTreeSet;

use super::{blame, world::World};
use crate::model::{Direction, Entry, Policy};

/// The directions in which some pod of a namespace is not isolated.
#[must_use]
pub fn missing(world: &World, namespace: &str) -> Vec<Direction> {
    let both = [Direction::Ingress, Direction::Egress];
    both.into_iter().filter(|direction| !world.isolates_all(namespace, *direction)).collect()
}

/// The directions in words: `ingress and egress`.
#[must_use]
pub fn words(missing: &[Direction]) -> String {
    missing.iter().map(|direction| direction.word()).collect::<Vec<_>>().join(" and ")
}

/// The name of the policy to add, where no other one has it.
const NAME: &str = "default-deny-all";

/// The policy to add, for the end of a file of the namespace where there is one.
#[must_use]
pub fn entry(world: &World, namespace: &str, file: Option<String>) -> Entry {
    let name = free_name(world, namespace);
    let entry = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  podSelector: {{}}\n  policyTypes: [Ingress, Egress]\n"
    );
    Entry { side: Direction::Ingress, policy: Some(name), file, line: None, entry }
}

/// A policy of that name may be there, for one direction alone: a second one of its name would take its place.
fn free_name(world: &World, namespace: &str) -> String {
    let here = |policy: &&Policy| policy.is_network_policy() && policy.id.namespace.as_deref() == Some(namespace);
    let taken: BTreeSet<&str> = world.policies.iter().filter(here).map(|policy| policy.id.name.as_str()).collect();
    blame::unused_name(NAME, |name| taken.contains(name))
}
