//! Judges the verifier from outside, on the real cluster of `tests/cluster`: what it says must be what a person at the
//! same cluster, the same Git repository and the same Matrix room would say.
//!
//! ```text
//! Fixture (files) ─▶ namespaces, pods        (admin client: set-up only)
//!        └────────▶ Git ──push──▶ Flux ─▶ live policies
//!                                  │
//!        Verifier: a Job from the shipped CronJob, under the shipped RBAC
//!            │ exit code, report JSON            │
//!            ▼                                   ▼
//!        Report ◀───────── compared ─────────▶ Room (read as a second user)
//! ```
//!
//! A [`Scene`] holds one of each, all in namespaces of its own, so that scenarios run beside each other. Nothing here
//! shares code with the verifier: reports are read by the published schema only. The story alone lays its page out with the
//! verifier's renderer.

pub mod account;
pub mod audit;
pub mod cluster;
pub mod fixture;
pub mod flux;
pub mod git;
pub mod grants;
pub mod hands;
pub mod install;
pub mod log;
pub mod objects;
pub mod outside;
pub mod poll;
pub mod report;
pub mod room;
pub mod rules;
pub mod scene;
mod sharded;
pub mod story;
pub mod verifier;
pub mod watcher;

pub use account::Account;
pub use audit::Audit;
pub use cluster::{Cluster, DataPlane};
pub use fixture::Fixture;
pub use flux::Flux;
pub use git::Git;
pub use hands::RUN;
pub use outside::Ran;
pub use poll::eventually;
pub use report::Report;
pub use room::{Message, Room};
pub use scene::{Scene, Setup, scenario};
pub use verifier::{Finished, Started, Verifier};
pub use watcher::WATCHER;
