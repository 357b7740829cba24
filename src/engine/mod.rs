//! Decides what policies mean: verdicts, reachability, touched flows, the plan of probes, and blame.

pub mod accept;
pub mod blame;
pub mod drift;
pub mod near_miss;
pub mod normal;
