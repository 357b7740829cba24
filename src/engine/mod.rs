//! Decides what policies mean: verdicts, reachability, touched flows, the plan of probes, and blame.
//!
//! ```text
//! PolicyDocument ─[read]─▶ Policy ─┐
//! Snapshot ────────────────────────┴─[world]─▶ World ─[matrix]─▶ ports allowed between classes
//!                                                │                     │
//!                                                └─[verdict]─▶ why     └─[touched]─▶ flows ─[plan]─▶ probes ─[judge]─▶ results
//! ```
//!
//! - [`drift`], over [`normal`] forms, says where live differs from Git; [`blame`] what to add; [`near_miss`] what was meant;
//!   [`moved_name`] which names lead elsewhere than their rules; [`accept`] what counts as accepted; [`allowlist`] how
//!   intended flows and open ones differ; [`dns`] where questions are answered; [`closing`] which side closes a way;
//!   [`evidence`] what an enforcer's log says of a blocked flow.
//! - [`reach`] gives every allowed flow, [`explain`] says why one is, [`asked`] what an endpoint on the command line means.
//! - [`conditions`] and [`surroundings`] are what Calico's rules ask and look at; [`evaluate`] is the short way from documents
//!   of any kind to a verdict.
//!
//! One evaluator for everything, with Calico's tier semantics (see [`crate::model`]'s policy form).

pub mod accept;
pub mod allowlist;
pub mod asked;
pub mod baseline;
pub mod blame;
pub mod by_hand;
pub mod closing;
pub mod conditions;
pub mod dns;
pub mod drift;
pub mod evaluate;
pub mod evidence;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod judge;
mod kinds;
pub mod lint;
pub mod matrix;
pub mod moved_name;
pub mod near_miss;
pub mod normal;
pub mod plan;
pub mod reach;
pub mod read;
pub mod surroundings;
pub mod table;
pub mod through;
pub mod touched;
pub mod verdict;
pub mod world;
