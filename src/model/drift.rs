//! Policies that are not live as Git has them.

use serde::{Deserialize, Serialize};

use super::{Origin, PolicyRef, Revision, Severity};

/// How live differs from Git (design §3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftClass {
    /// In Git, not live.
    Missing,
    /// Live, not in Git.
    Extra,
    /// Live with another meaning.
    Changed,
    /// Flux is told to leave it alone.
    Frozen,
    /// Fields of other managers, without another meaning.
    ForeignFields,
}

/// One policy that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// How.
    pub class: DriftClass,
    /// Which policy.
    pub policy: PolicyRef,
    /// Its API group; empty for `networking.k8s.io`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Where Git has it: the first field that differs, or the document.
    pub declared: Option<Origin>,
    /// Who did it, and when: `kubectl-edit 2026-11-20T09:12:00Z`.
    pub by: Option<String>,
    /// The number of flows (workload pairs) whose verdict it changes.
    pub flows: usize,
    /// The differing field, in short: `ingress[0].ports: Git 6379, live 6379+6380`.
    pub summary: String,
    /// A text diff of the specs, Git to live.
    pub diff: String,
    /// Its weight.
    pub severity: Severity,
    /// The revision since which it stands.
    pub since: Option<Revision>,
    /// Whether it was seen for the first time in this run.
    pub new: bool,
    /// Accepted until this date.
    pub accepted_until: Option<String>,
}

impl Drift {
    /// The key under which the state keeps it.
    #[must_use]
    pub fn key(&self) -> String {
        let class = match self.class {
            DriftClass::Missing => "missing",
            DriftClass::Extra => "extra",
            DriftClass::Changed => "changed",
            DriftClass::Frozen => "frozen",
            DriftClass::ForeignFields => "foreign-fields",
        };
        if self.group.is_empty() {
            return format!("drift/{class}/{}", self.policy);
        }
        // Two groups have a kind `NetworkPolicy`.
        format!("drift/{class}/{}.{}/{}", self.policy.kind, self.group, self.policy.short())
    }
}
