//! The fault matrix: each fault is a test, named for what goes wrong, that says what must be true afterwards. Nothing is
//! lost, nothing is doubled, and nothing that hides information is ever called verified.

mod kills;
mod lists;
mod probes;
mod room;
mod shop;
mod source;
mod state;
