//! A small cluster in one process, for tests and for the demonstration: it starts in well under a second, and fails when told to.

pub mod api;
pub mod faults;
pub mod flux;
pub mod http;
pub mod matrix;
pub mod net;
pub mod scene;
pub mod world;
