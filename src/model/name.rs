//! Names of things in the cluster and in Git.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A policy by kind, namespace (absent for cluster-wide kinds) and name; formats.md `POLICY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The API kind, such as `NetworkPolicy`.
    pub kind: String,
    /// The namespace, or `None` for a cluster-wide kind.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl PolicyRef {
    /// A `networking.k8s.io/v1` NetworkPolicy.
    #[must_use]
    pub fn network_policy(namespace: &str, name: &str) -> Self {
        Self { kind: "NetworkPolicy".to_owned(), namespace: Some(namespace.to_owned()), name: name.to_owned() }
    }

    /// `namespace/name`, or the bare name of a cluster-wide policy.
    #[must_use]
    pub fn short(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.short())
    }
}

/// A Flux Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KustomizationRef {
    /// The namespace it lives in.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl KustomizationRef {
    /// Reads what its `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for KustomizationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// The namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Any object, for owner lists and inventories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The API group, empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace, or `None` for a cluster-wide kind.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// A revision as Flux writes it: `main@sha1:4f2c9ab…`, `sha1:…`, `latest@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub String);

impl Revision {
    /// The commit or digest after the last `:`, in full.
    #[must_use]
    pub fn sha(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or(&self.0)
    }

    /// What people read: `main@4f2c9ab`, seven characters of the commit, as Git shortens it.
    #[must_use]
    pub fn short(&self) -> String {
        let sha: String = self.sha().chars().take(7).collect();
        match self.0.rsplit_once('@') {
            Some((name, _)) => format!("{}@{sha}", name.strip_prefix("refs/heads/").unwrap_or(name)),
            None => sha,
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_shortened_as_people_write_it() {
        for (full, short) in [
            ("main@sha1:4f2c9ab0123456789012345678901234567890ab", "main@4f2c9ab"),
            ("refs/heads/main@sha1:4f2c9ab012", "main@4f2c9ab"),
            ("sha1:4f2c9ab0123", "4f2c9ab"),
            ("latest@sha256:0123456789", "latest@0123456"),
        ] {
            assert_eq!(Revision(full.to_owned()).short(), short, "{full}");
        }
    }
}
