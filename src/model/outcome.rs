//! What was seen on the wire, and what a policy set decides.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The answer of a policy set for one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Egress at the source and ingress at the destination allow it.
    Allowed,
    /// One side at least denies it.
    Denied,
    /// The specification gives no answer (hostNetwork ends), or a policy that is not understood may decide.
    Undefined,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Undefined => "undefined",
        })
    }
}

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

/// How much the controls of a denied flow prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// The target answers elsewhere and the source reaches something.
    Full,
    /// The snapshot offers nothing that the source may reach, so that only the target's life is proven.
    Weak,
}

/// What a Service in front of a flow's target answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSeen {
    /// Its name as users write it: `redis.redis`.
    pub service: String,
    /// Its ClusterIP.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// The pod's port that it leads to, where that is not the flow's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<u16>,
    /// What was seen.
    pub observed: Outcome,
}
