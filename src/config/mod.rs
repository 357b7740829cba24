//! The configuration file (formats.md, `config.yaml`) and what it means.
//!
//! [`Config`] is what was typed, strictly: unknown keys and impossible values are errors with their place. What the
//! use case asks of it is in `namespaces` and in the plain values of the engine.

pub mod allowlist;
mod duration;
mod evidence;
mod goal;
mod namespaces;
mod outside;
mod selector;
mod valid;
mod weekly;

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use duration::Span;
pub use evidence::Evidence;
pub use goal::{Goal, Host};
pub use namespaces::NamespaceSet;
pub use outside::{Destination, Expectation, ExpectationSource, Expected};
pub use selector::PodSelector;
pub use weekly::Weekly;

use crate::{
    engine::plan::{Limits, NeverProbe},
    flux::manifests::faults,
    model::KustomizationRef,
};

/// The schema name that the file must carry.
pub const SCHEMA: &str = "netpol-verify/config/v1";

/// Bytes of the file: many times what one for a large cluster has.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what formats.md says.
    #[error("{file}:{place}{message}")]
    Content {
        /// The file.
        file: String,
        /// `line:column: `, or nothing.
        place: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// `config.yaml` as typed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Always [`SCHEMA`].
    #[serde(deserialize_with = "valid::schema")]
    pub schema: String,
    /// The cluster's name in messages.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// The Kustomizations whose policies are verified.
    #[serde(default = "default_kustomizations", deserialize_with = "valid::kustomizations")]
    pub kustomizations: Vec<KustomizationRef>,
    /// Namespaces that must hold the baseline.
    #[serde(deserialize_with = "valid::product_namespaces")]
    pub product_namespaces: ProductNamespaces,
    /// Further namespaces in which probes may start; globs.
    #[serde(default, deserialize_with = "valid::globs")]
    pub probe_namespaces: Vec<String>,
    /// The path, in the artifact, of the list of intended flows ([`allowlist`]).
    #[serde(default, deserialize_with = "valid::artifact_path")]
    pub allowlist: Option<String>,
    /// ConfigMaps that `postBuild.substituteFrom` may read.
    #[serde(default)]
    pub substitute_from: Vec<String>,
    /// The room.
    pub matrix: Matrix,
    /// A commit's page, with `{sha}`.
    #[serde(default, deserialize_with = "valid::commit_url")]
    pub commit_url: Option<String>,
    /// How probes are made.
    #[serde(default, deserialize_with = "valid::probe")]
    pub probe: Probe,
    /// Hosts outside the cluster.
    #[serde(default, deserialize_with = "valid::destinations")]
    pub destinations: Vec<Destination>,
    /// Flows that must be as said, whatever the policies are.
    #[serde(default)]
    pub expectations: Vec<Expectation>,
    /// Where the dataplane logs dropped packets; `None`: its log is not read, which needs a right of its own.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// What is accepted until a date.
    #[serde(default)]
    pub accept: Vec<crate::engine::accept::Accept>,
    /// How long Flux is waited for.
    #[serde(default)]
    pub flux: Flux,
    /// What the watcher reacts to.
    #[serde(default)]
    pub watch: Watch,
    /// What a scheduled run does.
    #[serde(default)]
    pub schedule: Schedule,
}

fn default_cluster() -> String {
    "cluster".to_owned()
}

fn default_kustomizations() -> Vec<KustomizationRef> {
    vec![KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() }]
}

/// Which namespaces are product namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductNamespaces {
    /// Names and globs.
    #[serde(default)]
    pub names: Vec<String>,
    /// A label selector, as kubectl writes it.
    #[serde(default)]
    pub selector: Option<String>,
    /// Names and globs that are not, although they match.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// The room that messages go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matrix {
    /// The homeserver's base URL.
    #[serde(deserialize_with = "valid::homeserver")]
    pub homeserver: String,
    /// A room id or alias.
    #[serde(deserialize_with = "valid::room")]
    pub room: String,
    /// Users mentioned when something is wrong.
    #[serde(default)]
    pub mention: Vec<String>,
    /// Whether a merge that did not touch the policies gets its line.
    #[serde(default = "yes")]
    pub quiet_merges: bool,
    /// When a line says that all is still watched: `Mon 08:00`, UTC; empty: never.
    #[serde(default)]
    pub weekly: Weekly,
}

const fn yes() -> bool {
    true
}

/// How probes are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Probe {
    /// One connection's time limit.
    #[serde(deserialize_with = "valid::timeout")]
    pub timeout: Span,
    /// How long the dataplane may take to follow.
    pub settle: Span,
    /// Connections at a time in one pod.
    pub probes_per_pod: u8,
    /// Probes in one run.
    pub max_probes: usize,
    /// The longest that the probing of one run may take.
    pub deadline: Span,
    /// Whether a container may be added to a pod of which none has a tool.
    pub ephemeral: bool,
    /// Its image.
    #[serde(deserialize_with = "valid::image")]
    pub image: Option<String>,
    /// Execs at a time.
    pub execs: usize,
    /// Execs at a time on one node.
    pub execs_per_node: usize,
    /// Whether denied flows to outside hosts are probed.
    pub probe_denied: bool,
    /// What is never probed.
    pub never_probe: Vec<Never>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            timeout: Span::seconds(2),
            settle: Span::seconds(30),
            probes_per_pod: 8,
            max_probes: 2000,
            deadline: Span::seconds(600),
            ephemeral: false,
            image: None,
            execs: 50,
            execs_per_node: 10,
            probe_denied: false,
            never_probe: Vec::new(),
        }
    }
}

/// Something that is never probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Never {
    /// Addresses.
    #[serde(default)]
    pub cidr: Option<IpNet>,
    /// A destination's name.
    #[serde(default)]
    pub name: Option<String>,
    /// A port.
    #[serde(default)]
    pub port: Option<u16>,
}

/// How long Flux is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flux {
    /// In one run.
    pub wait: Span,
    /// Until a failure or suspension is told.
    pub stuck: Span,
}

impl Default for Flux {
    fn default() -> Self {
        Self { wait: Span::seconds(300), stuck: Span::seconds(900) }
    }
}

/// What the watcher reacts to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Every revision, or only another digest.
    pub on: WatchOn,
}

/// See [`Watch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchOn {
    /// Every revision.
    #[default]
    Revision,
    /// Only another digest.
    Digest,
}

/// What a scheduled run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Schedule {
    /// How often everything is looked at.
    pub full_every: Span,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { full_every: Span::seconds(86_400) }
    }
}

/// A text up to its limit: some devices have no end.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(SIZE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {SIZE_LIMIT} bytes")));
    }
    Ok(text)
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not what formats.md says: with file, line and column.
    pub fn load(path: &Path) -> Result<Self, Invalid> {
        let file = path.display().to_string();
        let text = read(path).map_err(|source| Invalid::Read { file: file.clone(), source })?;
        Self::parse(&file, &text)
    }

    /// Parses a file's text; `file` is its name in errors.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn parse(file: &str, text: &str) -> Result<Self, Invalid> {
        serde_saphyr::from_str(text).map_err(|error| invalid(file, &error))
    }

    /// The bounds of a plan.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.probe.limits()
    }
}

impl Probe {
    /// The bounds of a plan.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let never = self.never_probe.iter();
        Limits {
            max_probes: self.max_probes,
            probe_denied_outside: self.probe_denied,
            never: never.map(|n| NeverProbe { cidr: n.cidr, name: n.name.clone(), port: n.port }).collect(),
        }
    }
}

/// A parser's error with its place, once.
fn invalid(file: &str, error: &serde_saphyr::Error) -> Invalid {
    let place = error.location().map_or_else(|| " ".to_owned(), |l| format!("{}:{}: ", l.line(), l.column()));
    let message = faults::message(error);
    Invalid::Content { file: file.to_owned(), place, message }
}

#[cfg(test)]
mod tests;
