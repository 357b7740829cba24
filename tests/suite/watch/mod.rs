//! The watcher against an API server in memory: every merge one Job, whatever happens to the watcher or the server.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test's helpers may")]

use crate::support::api;

mod looks;
mod stream;
mod world;
