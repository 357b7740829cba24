//! What one probe showed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of one probe's result (design §5), told from text and elapsed time, never from an exit status alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The connection was made, or an answer came.
    Open,
    /// The connection was refused at once.
    Refused,
    /// No answer within the time limit.
    Timeout,
    /// No route, or an ICMP answer that forbids.
    Unreachable,
    /// The name could not be resolved.
    Dns,
    /// The pod has no tool to probe with.
    ToolMissing,
    /// The target pod is not there, not Ready, or was replaced.
    TargetDown,
    /// The exec broke before an answer.
    Cut,
    /// No running pod to probe from.
    NoSource,
    /// No probe was made.
    NotProbed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Dns => "dns",
            Self::ToolMissing => "tool-missing",
            Self::TargetDown => "target-down",
            Self::Cut => "cut",
            Self::NoSource => "no-source",
            Self::NotProbed => "not-probed",
        })
    }
}
