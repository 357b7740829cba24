//! The fault matrix: each fault is a test, named for what goes wrong, that says what must be true afterwards. Nothing is
//! lost, nothing is doubled, and nothing that hides information is ever called verified.

#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a panic is how a test fails")]

#[macro_use]
mod matrix;

mod flat;
mod kills;
mod lists;
mod moves;
mod names;
mod probes;
mod renderer;
mod room;
mod shop;
mod source;
mod state;
