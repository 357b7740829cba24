//! Why a set of files cannot be used.

use std::{fmt, io};

use crate::flux::manifests::{ManifestError, Place};

/// One thing that is wrong with a set.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file or folder that cannot be read.
    #[error("{path}: {what}")]
    Read {
        /// As the user named it.
        path: String,
        /// What was tried, and what to do.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder that is not what it should be.
    #[error("{path}: {what}")]
    Path {
        /// As the user named it.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Text that is no manifest, or content that the API would refuse.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A kind of policy without a reader: it may decide any flow, so that no answer could be trusted.
    #[error(
        "{place}: {policy} is of a kind that is not understood yet (`{version}`): no answer can be trusted while it is in the set; leave it out to judge the rest alone"
    )]
    NotUnderstood {
        /// `file:line:column`.
        place: String,
        /// `apiVersion`.
        version: String,
        /// `Kind/namespace/name`.
        policy: String,
    },
}

impl Fault {
    /// Whether the input is in order, but the program cannot judge it (exit code 3 instead of 2).
    #[must_use]
    pub const fn is_not_understood(&self) -> bool {
        matches!(self, Self::NotUnderstood { .. })
    }
}

/// A fault of a text behind the part of it that is in order.
pub(super) fn in_text(shown: &str, before: &[u8], what: &str) -> Fault {
    let before = String::from_utf8_lossy(before);
    let last = before.rsplit('\n').next().unwrap_or_default();
    let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    let place = Place { line: number(before.matches('\n').count()), column: number(last.chars().count()) };
    Fault::Manifest(ManifestError { file: shown.to_owned(), place: Some(place), message: what.to_owned() })
}

/// All that is wrong with a set, in the order of its files. Never empty.
#[derive(Debug)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether nothing is wrong but that a kind is not understood.
    #[must_use]
    pub fn is_not_understood(&self) -> bool {
        self.0.iter().all(Fault::is_not_understood)
    }

    /// All results, or all faults.
    ///
    /// # Errors
    /// At least one of the results is a fault.
    pub(super) fn gather<T>(results: Vec<Result<T, Fault>>) -> Result<Vec<T>, Self> {
        let mut faults = Vec::new();
        let mut all = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(value) => all.push(value),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(all) } else { Err(Self(faults)) }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Faults {}
