//! The live cluster, read once into a [`Snapshot`](crate::model::Snapshot).
//!
//! ```text
//! API server ─▶ [list] pages ─▶ [pods] [workloads] [things] [policies] ─┐
//!      │                             └─[owners]─ top-most owner ────────┼─▶ Snapshot
//!      └─▶ [discovery] ─▶ [others] policies that are not understood ────┘
//! ```
//!
//! The rule: a kind that could not be read in full is named, never left out in silence. The kinds without which no
//! verdict means anything (namespaces, pods, their owners, NetworkPolicies) fail the snapshot; the others are
//! [`NotReadable`](crate::model::NotReadable).

mod admin;
mod again;
mod calico;
mod discovery;
mod event;
mod evidence;
mod fault;
mod felix;
mod list;
mod live;
mod others;
mod own_job;
mod owners;
mod pods;
mod policies;
mod resolver;
mod things;
mod whole;
mod workloads;

pub use fault::ClusterError;
pub(crate) use fault::reason;
pub use live::LiveCluster;
pub use own_job::{own_job, parse_expected, parse_trigger};
pub use resolver::SystemResolver;
