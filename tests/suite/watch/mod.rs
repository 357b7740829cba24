//! The watcher against an API server in memory: every merge one Job, whatever happens to the watcher or the server.

use crate::support::api;

mod looks;
mod stream;
mod world;
