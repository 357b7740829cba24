//! The fields of Flux's objects that matter here.
//!
//! Read from `kustomize.toolkit.fluxcd.io/v1` and `source.toolkit.fluxcd.io/v1`; whatever Flux adds is ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A `Kustomization`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizationObject {
    /// Name, namespace, generation.
    pub metadata: Metadata,
    /// The specification as it is: the renderer hands most of it on to kustomize.
    pub spec: Value,
    /// What the controller says.
    pub status: KustomizationReport,
}

/// A `GitRepository`, `OCIRepository`, `Bucket` or `ExternalArtifact`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceObject {
    /// The kind.
    pub kind: String,
    /// Name, namespace, generation.
    pub metadata: Metadata,
    /// The specification.
    pub spec: SourceSpec,
    /// What the controller says.
    pub status: SourceReport,
}

/// The part of the metadata that is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Counts changes of the specification.
    pub generation: i64,
}

/// `spec` of a source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SourceSpec {
    /// Whether fetching is stopped.
    pub suspend: bool,
}

/// `status` of a source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SourceReport {
    /// What it serves now.
    pub artifact: Option<Artifact>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// `status.artifact` of a source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Artifact {
    /// Where it is served.
    pub url: String,
    /// `main@sha1:…`.
    pub revision: String,
    /// `sha256:…` of the tar.gz.
    pub digest: String,
}

/// `status` of a Kustomization.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KustomizationReport {
    /// The generation that was reconciled with success last (or that is stalled).
    pub observed_generation: i64,
    /// Applied, pruned and, where asked for, healthy.
    pub last_applied_revision: Option<String>,
    /// Fetched and about to be built.
    pub last_attempted_revision: Option<String>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What it owns.
    pub inventory: Option<Inventory>,
    /// At most five renderings, newest first (since Flux 2.7).
    pub history: Vec<HistoryEntry>,
}

/// A condition as every Kubernetes object has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Stalled`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when `status` is so, RFC 3339.
    pub last_transition_time: Option<String>,
    /// The generation that it speaks of.
    pub observed_generation: Option<i64>,
}

/// `status.inventory`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// The owned objects.
    pub entries: Vec<InventoryEntry>,
}

/// One owned object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InventoryEntry {
    /// `<namespace>_<name>_<group>_<kind>`.
    pub id: String,
}

/// One rendering of the past.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HistoryEntry {
    /// `sha256:…` of the rendering.
    pub digest: String,
    /// The reason of Ready at its end.
    pub last_reconciled_status: String,
    /// When this rendering first ended so, RFC 3339.
    pub first_reconciled: Option<String>,
    /// When it last did.
    pub last_reconciled: Option<String>,
    /// `revision`, `originRevision`.
    pub metadata: BTreeMap<String, String>,
}

/// `spec.sourceRef`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SourceRef {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The namespace, by default the Kustomization's.
    pub namespace: Option<String>,
}

impl KustomizationObject {
    /// Whether reconciling is stopped.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.spec.get("suspend").and_then(Value::as_bool).unwrap_or_default()
    }

    /// `spec.sourceRef`.
    ///
    /// # Errors
    /// It is not there or has another shape.
    pub fn source_ref(&self) -> Result<SourceRef, serde_json::Error> {
        SourceRef::deserialize(self.spec.get("sourceRef").unwrap_or(&Value::Null))
    }
}

impl SourceObject {
    /// `GitRepository flux-system/infra`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.metadata.namespace, self.metadata.name)
    }

    /// The revision that it serves now.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.status.artifact.as_ref().map(|artifact| artifact.revision.as_str())
    }
}

/// The condition of a type.
pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}
