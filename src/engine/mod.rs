//! Decides what policies mean: verdicts, reachability, touched flows, the plan of probes, and blame.

pub mod accept;
pub mod blame;
pub mod drift;
pub mod judge;
pub mod matrix;
pub mod near_miss;
pub mod normal;
pub mod plan;
pub mod read;
pub mod touched;
pub mod verdict;
pub mod world;
