//! Where a piece of policy text stands in Git.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What made a field that does not stand in its origin file as it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// A kustomize patch, transformer or replacement.
    Overlay,
}

/// A place in the repository; formats.md `ORIGIN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The file, relative to the root of the artifact.
    pub file: String,
    /// The line, from 1; `None` where an overlay made the field.
    pub line: Option<u32>,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Set where the field was made by something else than the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

impl Origin {
    /// A place with line and column.
    #[must_use]
    pub fn at(file: &str, line: u32, column: u32) -> Self {
        Self { file: file.to_owned(), line: Some(line), column: Some(column), via: None }
    }

    /// `file:line`, or `file (overlay)`: what a message shows.
    #[must_use]
    pub fn short(&self) -> String {
        match (self.line, self.via) {
            (Some(line), _) => format!("{}:{line}", self.file),
            (None, Some(Via::Overlay)) => format!("{} (changed by an overlay)", self.file),
            (None, None) => self.file.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "{}:{line}:{column}", self.file),
            _ => f.write_str(&self.short()),
        }
    }
}

/// The origins of one document: of the whole, and of each field by its JSON pointer (RFC 6901),
/// such as `/spec/ingress/0/ports/1`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origins {
    /// The document's first line.
    pub document: Option<Origin>,
    /// Fields of `spec`, by JSON pointer from the document's root.
    pub fields: BTreeMap<String, Origin>,
    /// Line and column at which each field's value begins, where that is not the place of its key: what an entry to
    /// paste is laid out by. Not remembered between runs.
    #[serde(skip)]
    pub values: BTreeMap<String, (u32, u32)>,
}

impl Origins {
    /// The origin of `pointer`, or of the nearest field above it that has one.
    #[must_use]
    pub fn nearest(&self, pointer: &str) -> Option<&Origin> {
        let mut at = pointer;
        loop {
            if let Some(origin) = self.fields.get(at) {
                return Some(origin);
            }
            match at.rsplit_once('/') {
                Some((above, _)) if !above.is_empty() => at = above,
                _ => return self.document.as_ref(),
            }
        }
    }
}
