//! What earlier runs left, as a report tells it.

use serde::{Deserialize, Serialize};

use super::Revision;

/// What stands from before, for the message's last line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Open findings of earlier merges, with the revision since which each stands.
    pub open: Vec<(String, Option<Revision>)>,
    /// Flows that a retry can still tell.
    pub pending: usize,
    /// Flows and rules that wait: for a pod, or for a Service.
    pub waiting: usize,
    /// Of these the flows whose pod answers, and a Service before it leads elsewhere.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub behind_service: usize,
    /// Flows that cannot be told.
    pub unprobeable: usize,
    /// Accepted ones, with the nearest date.
    pub accepted: usize,
    /// The nearest date at which an acceptance runs out.
    pub accepted_until: Option<String>,
    /// Verified with a weak control.
    pub weak: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A finding that this run saw cured, or what could not be told before and was seen now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Its key.
    pub key: String,
    /// The revision since which it stood.
    pub since: Option<Revision>,
    /// The message event whose thread gets the news.
    pub thread: Option<String>,
    /// Whether what could not be told before was now seen to be wrong: a finding of this run says how.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wrong: bool,
}
