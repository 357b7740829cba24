//! The use case over a world in memory: what a user gets to read, the exit code, what was probed, what is remembered.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test's helpers may")]
#![expect(missing_docs, reason = "a test program")]

mod fake;
mod merges;
mod shop;
