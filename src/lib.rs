//! Verifies that network policies are live, enforced, and as Git declares them.

pub mod cluster;
pub mod engine;
pub mod flux;
pub mod matrix;
pub mod model;
pub mod probe;
pub mod report;
pub mod state;
pub mod verify;
