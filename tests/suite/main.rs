//! Everything above the unit tests that needs no cluster: each adapter against a server that plays its part or against
//! the real program, the engine against the oracle, messages word for word, and the use case over a world in memory.
//!
//! One program, because linking is most of what a test of its own would cost, and its tests wait beside each other.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod cluster_calico;
mod cluster_evidence;
mod cluster_live;
mod engine_oracle;
mod engine_tiers;
mod flux_source;
mod live_sets;
mod manifests;
mod matrix_faults;
mod matrix_golden;
mod matrix_page;
mod matrix_property;
mod matrix_weekly;
mod offline;
mod probe_dialects;
mod probe_ephemeral;
mod probe_exec;
mod probe_lab;
mod probe_script;
mod probe_server;
mod probe_target;
mod schemas;
mod semantics;
mod state_lease;
mod state_places;
mod state_store;
mod status;
mod support;
mod synapse;
mod usecase;
mod watch;
