//! What turns the oracle's objects into the engine's model: the same as in the suite, where no cluster takes part.

#[path = "../../../suite/support/convert.rs"]
#[expect(clippy::unwrap_used, reason = "a test's helpers may")]
pub mod convert;
#[path = "../../../suite/support/evaluation.rs"]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helpers may")]
pub mod evaluation;
