//! What a sweep looked at.

use serde::{Deserialize, Serialize};

/// Reports of earlier versions do not say so.
const fn one() -> usize {
    1
}

/// What a sweep looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Probes, each with its controls: a flow has one for each node.
    pub probes: usize,
    /// The nodes of their ends.
    pub nodes: usize,
    /// The pods of the Job that probed: more than one where it is an Indexed Job.
    #[serde(default = "one")]
    pub pods: usize,
    /// Flows that are left for later sweeps.
    pub left: usize,
}
