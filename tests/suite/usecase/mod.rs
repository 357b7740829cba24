//! The use case over a world in memory: what a user gets to read, the exit code, what was probed, what is remembered.

mod admin;
mod allowlist;
mod by_hand;
mod calico;
mod controls;
mod dns;
mod drift;
mod evidence;
mod expectations;
mod fake;
mod families;
mod kills;
mod labels;
mod lists;
mod merges;
mod names;
mod random;
mod retries;
mod room;
mod services;
mod shards;
mod shop;
mod sweep;
mod trouble;
mod waiting;
mod weekly;
