//! The baseline of a namespace: every pod isolated in both directions (design §4).

use super::world::World;
use crate::model::{Direction, Entry};

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

/// The policy to add, for the end of a file of the namespace where there is one.
#[must_use]
pub fn entry(namespace: &str, file: Option<String>) -> Entry {
    let entry = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: default-deny-all\n  namespace: {namespace}\nspec:\n  podSelector: {{}}\n  policyTypes: [Ingress, Egress]\n"
    );
    Entry { side: Direction::Ingress, policy: Some("default-deny-all".to_owned()), file, line: None, entry }
}
