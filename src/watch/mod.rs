//! The watcher: one Job for each thing that Flux did and that no run has looked at yet.
//!
//! ```text
//! Kustomizations ─┐                                             ┌─▶ create one Job from the CronJob's template
//! state ConfigMap ┼─[events: something moved]─▶ [sight] ─▶ [decide] ─▶ wait until …
//! own Jobs ───────┤          or a minute is over                └─▶ nothing to do
//! awaited pods ───┘
//! ```
//!
//! Level-triggered: an event only says that it is time to look. Each look reads everything anew, so that an event that
//! was lost, an expired watch or a restart cost at most the minute until the next look. [`decide`] is pure.
//!
//! Several replicas do no harm, without an election: a Job's name follows from the state and from what Flux says, so
//! two that decide the same create the same name, and the API server refuses the second.

mod ages;
mod alive;
mod awaited;
pub mod decide;
mod events;
mod fault;
mod figures;
pub mod job;
mod name;
mod serve;
mod sight;
mod watcher;

pub use ages::Ages;
pub use alive::{LEASE, Life, Sign, last_sign};
pub use decide::Decision;
pub use events::{Places, Signal, follow};
pub use fault::WatchError;
pub use figures::{Board, Figures};
pub use name::Key;
pub use serve::serve;
pub use watcher::{Look, Watcher};
