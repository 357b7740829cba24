//! Hosts outside the cluster, and flows that must be as said.

use serde::{Deserialize, Serialize};

use super::{Goal, namespaces, valid};

/// A host outside the cluster, or a name that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// Its name, or a pattern that `members` stand for.
    pub name: String,
    /// Names to probe in the pattern's place.
    #[serde(default)]
    pub members: Vec<String>,
    /// Its ports.
    pub ports: Vec<u16>,
    /// Namespaces, as globs, from which it has to be reachable: each of their workloads by policy, at one of its
    /// addresses and ports at least.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "valid::globs")]
    pub from: Vec<String>,
}

impl Destination {
    /// The names that are resolved.
    #[must_use]
    pub fn names(&self) -> &[String] {
        if self.members.is_empty() { std::slice::from_ref(&self.name) } else { &self.members }
    }

    /// Whether it has to be reachable from a namespace.
    #[must_use]
    pub fn is_expected_from(&self, namespace: &str) -> bool {
        self.from.iter().any(|pattern| namespaces::matches(pattern, namespace))
    }
}

/// A flow that must be as said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// From where.
    pub from: ExpectationSource,
    /// Where to.
    pub to: Goal,
    /// What must be seen.
    pub is: Expected,
}

/// The source of an expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectationSource {
    /// The namespace.
    pub namespace: String,
}

/// What an expectation expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It answers.
    Reachable,
    /// It does not.
    Unreachable,
}
