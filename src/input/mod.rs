//! Sets of files as a snapshot and policies, without a cluster.
//!
//! ```text
//! paths, standard input ─[files, git, kustomize]─▶ texts ─[flux::manifests]─▶ documents ─[collect]─▶ InputSet
//! ```
//!
//! A snapshot of the live cluster makes a set, too ([`InputSet::of_cluster`]).
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
mod live;
mod owners;
mod pods;
mod policies;
mod schema;
#[cfg(test)]
mod tests;
mod things;
mod understand;

pub use collect::{InputSet, Options, collect, collect_both};
pub use comments::Comments;
pub use fault::{Fault, Faults};
pub use files::{Source, Text};
pub use live::Unusable;

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use crate::{
    flux::manifests::{self, Document, ManifestError},
    model::Origins,
    parallel,
};

/// The documents of one file.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What the file is called.
    pub source: Source,
    /// Its documents, in order; files of the same content share them.
    pub documents: Arc<[Document]>,
    /// Where each of them comes from, if the file is a rendering.
    pub origins: Vec<Origins>,
}

/// Parses texts, each on whatever thread is free; the result is in the order of the texts.
///
/// # Errors
/// Every text that is not YAML, with its place.
pub fn parse(texts: &[Text]) -> Result<Vec<Parsed>, Faults> {
    let [parsed] = parse_all([texts])?;
    Ok(parsed)
}

/// Parses the texts of several sets. Two revisions share most of their files: each content is parsed once.
///
/// # Errors
/// As [`parse`].
pub fn parse_all<const N: usize>(sets: [&[Text]; N]) -> Result<[Vec<Parsed>; N], Faults> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut distinct: Vec<&Text> = Vec::new();
    for text in sets.iter().copied().flatten() {
        known.entry(&text.content).or_insert_with(|| {
            distinct.push(text);
            distinct.len() - 1
        });
    }
    let results = parallel::each(&distinct, |text| {
        manifests::parse(&text.source.shown, &text.content).map(Arc::<[Document]>::from)
    });
    let result = |text: &Text| results.get(*known.get(text.content.as_str())?);
    // Each file is told, also of several with the same content.
    let mut told = HashSet::new();
    let broken = sets.iter().copied().flatten().filter(|text| told.insert(&text.source.shown));
    let fault = |text: &Text| {
        let error = result(text)?.as_ref().err()?;
        Some(Fault::from(ManifestError { file: text.source.shown.clone(), ..error.clone() }))
    };
    let faults: Vec<Fault> = broken.filter_map(fault).collect();
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    Ok(sets.map(|texts| {
        let parsed = texts.iter().filter_map(|text| {
            let documents = Arc::clone(result(text)?.as_ref().ok()?);
            Some(Parsed { source: text.source.clone(), documents, origins: text.origins.clone() })
        });
        parsed.collect()
    }))
}
