//! Decides what policies mean: verdicts, reachability, touched flows, the plan of probes, and blame.
//!
//! ```text
//! PolicyDocument ─[read]─▶ Policy ─┐
//! Snapshot ────────────────────────┴─[world]─▶ World ─[matrix]─▶ ports allowed between classes
//!                                                │                     │
//!                                                └─[verdict]─▶ why     └─[touched]─▶ flows ─[plan]─▶ probes ─[judge]─▶ results
//! ```
//!
//! One evaluator for everything, with Calico's tier semantics (see [`crate::model`]'s policy form).

pub mod judge;
pub mod matrix;
pub mod plan;
pub mod read;
pub mod touched;
pub mod verdict;
pub mod world;
