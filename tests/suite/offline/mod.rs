//! The commands that need no cluster: list, explain and diff over files.

mod allowlist;
mod commands;
mod diff;
mod garbage;
mod help;
mod lint;
mod names;
mod no_cluster;
mod oracle_rows;
mod other_tools;
mod pictures;
mod places;
mod rendered;
mod services;
pub mod support;
mod table;
mod tier_rows;
mod tiers;
mod words;
