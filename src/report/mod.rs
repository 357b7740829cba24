//! Renders a report for people and programs.
//!
//! Pure: no I/O, no clock, no environment. Whatever came from the cluster passes `clean` before a person sees it, and
//! every HTML character of it is escaped in one place (`doc`).

mod between;
mod clean;
mod details;
mod doc;
mod headline;
mod judge;
mod weekly;
mod words;

pub mod diff;
pub mod explain;
pub mod flows;
pub mod json;
pub mod lint;
pub mod list;
pub mod message;
pub mod page;
pub mod probe;
pub mod sarif;
pub mod svg;
pub mod table;
pub mod text;
pub mod thread;
pub mod txn;

pub use message::{Message, MessageOptions};
