//! What is wrong, where, and what to add.

use serde::{Deserialize, Serialize};

use super::{Direction, Origin, Revision};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Listed, nothing more.
    Info,
    /// Worth a look; no effect on the verdict.
    Warning,
    /// Makes the verdict `finding`.
    Error,
}

/// The rule that a finding breaks; the stable word in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// One side of a flow is open, the other is not.
    MissingEntry,
    /// A product namespace without an effective default-deny policy.
    Baseline,
    /// A rule whose selector matches nothing.
    NoEffect,
    /// Flows flipped because labels changed, not because of a merge.
    Relabelled,
    /// A served policy kind that is not understood.
    NotUnderstood,
    /// A kind that could not be read.
    NotReadable,
    /// Live policies differ from Git.
    Drift,
    /// The dataplane does not do what the policies say.
    Enforcement,
    /// A configured expectation is not met.
    Expectation,
    /// Flux did not apply a revision.
    Flux,
    /// An intended flow is not open.
    AllowlistMissing,
    /// Flows are open that no table intends.
    AllowlistExcess,
    /// The list of intended flows, or something that it names, could not be looked at.
    AllowlistUntold,
    /// A name resolves to other addresses than the rule allows.
    MovedName,
    /// The rendering could not be proven.
    Rendering,
    /// The enforcer's log could not be read.
    Evidence,
}

impl Rule {
    /// The word in JSON and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::MissingEntry => "missing-entry",
            Self::Baseline => "baseline",
            Self::NoEffect => "no-effect",
            Self::Relabelled => "relabelled",
            Self::NotUnderstood => "not-understood",
            Self::NotReadable => "not-readable",
            Self::Drift => "drift",
            Self::Enforcement => "enforcement",
            Self::Expectation => "expectation",
            Self::Flux => "flux",
            Self::AllowlistMissing => "allowlist-missing",
            Self::AllowlistExcess => "allowlist-excess",
            Self::AllowlistUntold => "allowlist-untold",
            Self::MovedName => "moved-name",
            Self::Rendering => "rendering",
            Self::Evidence => "evidence",
        }
    }
}

/// YAML to add, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The side that lacks it.
    pub side: Direction,
    /// The policy's name, for people.
    pub policy: Option<String>,
    /// The file it goes into; `None` where no file isolates that side.
    pub file: Option<String>,
    /// The line after which it goes.
    pub line: Option<u32>,
    /// The text, indented as that file is, ready to paste.
    pub entry: String,
}

/// A finding that is no flow and no drift; formats.md `FINDING`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// A stable key: the same trouble in the next run has the same key.
    pub key: String,
    /// The rule that is broken.
    pub rule: Rule,
    /// Its weight.
    pub severity: Severity,
    /// One line for people, ending with what to do or why nothing can be done.
    pub message: String,
    /// The namespace that it concerns, where it concerns one.
    pub namespace: Option<String>,
    /// Where it stands in Git.
    pub origin: Option<Origin>,
    /// The revision since which it stands; filled in from the state.
    pub since: Option<Revision>,
    /// What to add.
    pub fix: Option<Entry>,
    /// Whether this merge brought it (or it was seen for the first time in this run).
    pub new: bool,
    /// Accepted until this date by the configuration, so that it does not count.
    pub accepted_until: Option<String>,
    /// The rule of a policy that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<super::RuleRef>,
}
