//! Verifies that network policies are live, enforced, and as Git declares them.
//!
//! ```text
//! Git ──Flux──▶ artifact ──[flux]──▶ Declared ─┐
//!                                              ├─[engine]─▶ drift, touched flows ─▶ plan ─[probe]─▶ observations
//! API server ──────────[cluster]──▶ Snapshot ──┘                                                        │
//! state ConfigMap ─────[state]────▶ Before ────┘        [matrix] ◀── Report ◀── declared × live × observed
//! ```
//!
//! [`model`], [`engine`] and [`report`] are pure; [`flux`], [`cluster`], [`probe`], [`matrix`] and [`state`] are
//! adapters; [`input`] reads sets of files in place of both Git and cluster; [`verify`] is the use case and knows the adapters by its traits alone; [`watch`] starts it after each
//! merge; [`admission`] prints what the API server holds them to; only [`args`] knows all.

pub mod admission;
pub mod args;
pub mod cluster;
pub mod config;
pub mod engine;
pub mod flux;
pub mod input;
pub mod matrix;
pub mod model;
mod parallel;
pub mod probe;
pub mod report;
pub mod state;
pub mod verify;
pub mod watch;
