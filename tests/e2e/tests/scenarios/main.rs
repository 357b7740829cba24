//! What a customer relies on, on the real cluster: each claim with its control.
//!
//! `make cluster` first; then `cargo test -p e2e --test scenarios -- --test-threads=2`. Each scenario has a cluster of
//! its own in all but the node: namespaces, repository, Kustomization, room and verifier.

mod acceptance;
mod apply;
mod artifact;
mod breaks;
mod calico;
mod delivery;
mod drift;
mod edits;
mod ephemeral;
mod evidence;
mod flux_only;
mod foreign;
mod forged;
mod install;
mod intended;
mod kills;
mod merges;
mod names;
mod needs;
mod nodes;
mod offline;
mod page;
mod pods;
mod rendering;
mod rights;
mod rules;
mod scene;
mod shards;
mod starts;
mod storm;
mod watch;

/// Where the scenarios play: here the real cluster; `tests/lab` compiles the same files with its own.
mod world {
    pub use e2e::{
        DataPlane, Message, RUN, Report, Scene, Setup, eventually, flux, objects::text, poll::seconds, report, rules,
        scenario,
    };
}
