//! Sets of files as a snapshot and policies, without a cluster.
//!
//! ```text
//! paths, standard input ─[files, git, kustomize]─▶ texts ─[flux::manifests]─▶ documents ─[collect]─▶ InputSet
//! ```
//!
//! The rule: what may decide a flow is understood in full, or the whole set is refused with file, line and column.
//! Nothing is skipped in silence. Only [`files`] reads anything, with what it
//! needs of Git and kustomize.

mod collect;
mod comments;
mod cursor;
mod fault;
pub mod files;
mod git;
mod kustomize;
mod owners;
mod pods;
mod policies;
mod schema;
#[cfg(test)]
mod tests;
mod things;

pub use collect::{InputSet, Options, collect};
pub use comments::Comments;
pub use fault::{Fault, Faults};
pub use files::{Source, Text};

use crate::{
    flux::manifests::{self, Document},
    model::Origins,
};

/// The documents of one file.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What the file is called.
    pub source: Source,
    /// Its documents, in order.
    pub documents: Vec<Document>,
    /// Where each of them comes from, if the file is a rendering.
    pub origins: Vec<Origins>,
}

/// Parses texts, each on whatever thread is free; the result is in the order of the texts.
///
/// # Errors
/// Every text that is not YAML, with its place.
pub fn parse(texts: &[Text]) -> Result<Vec<Parsed>, Faults> {
    let results = files::in_parallel(texts, |text| {
        let documents = manifests::parse(&text.source.shown, &text.content)?;
        Ok(Parsed { source: text.source.clone(), documents, origins: text.origins.clone() })
    });
    Faults::gather(results)
}
