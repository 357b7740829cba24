//! What several parts of the suite stand on.

pub mod api;
pub mod convert;
pub mod evaluation;
pub mod outbox;
pub mod sample;
pub mod schemas;
pub mod story;
pub mod synapse;
pub mod tiered;
