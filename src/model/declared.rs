//! What Git declares, as Flux applied it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KustomizationRef, ObjectRef, Origins, PolicyRef, Revision};

/// A policy object as text of Git or of the API, before it is read into the tiered form.
///
/// For a declared one the namespace is filled in and Flux's `commonMetadata` is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDocument {
    /// Its name.
    pub id: PolicyRef,
    /// `apiVersion`, such as `networking.k8s.io/v1`.
    pub api_version: String,
    /// The whole object: `metadata` (name, namespace, labels, annotations) and `spec`.
    pub object: Value,
    /// Where it stands in Git; empty for live objects.
    pub origins: Origins,
    /// The Kustomization that declares it; `None` for live objects.
    pub kustomization: Option<KustomizationRef>,
}

impl PolicyDocument {
    /// Whether it is a policy, and not one of the objects that decide with Calico's: a tier or a network set.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        self.id.kind.split('.').next().unwrap_or_default().ends_with("NetworkPolicy")
    }
}

/// Whether the rendering is known to be what Flux applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendering {
    /// Its sha256 is the digest in the Kustomization's history for that revision.
    Proven,
    /// It is not, or could not be compared, with the reason.
    Unproven(String),
}

/// What Flux's status says of a Kustomization when a run looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KustomizationStatus {
    /// Which one.
    pub id: KustomizationRef,
    /// The revision that was attempted last.
    pub attempted: Option<Revision>,
    /// The revision that was applied last.
    pub applied: Option<Revision>,
    /// `sha256:…` of the rendering of the applied revision, from the history.
    pub digest: Option<String>,
    /// Objects it owns, from its inventory.
    pub inventory: Vec<ObjectRef>,
    /// Whether `spec.suspend` is set on it or on its source.
    pub suspended: bool,
    /// Set where the newest revision is not applied.
    pub not_applied: Option<NotApplied>,
}

/// Why a revision is not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotApplied {
    /// The revision that Flux tried, where it is known.
    pub attempted: Option<Revision>,
    /// The condition's reason: `BuildFailed`, `ReconciliationFailed`, `Suspended`, `Lag`, …
    pub reason: String,
    /// The condition's message, shortened.
    pub message: String,
    /// Whether no waiting can help: a build failure, or an object that the API refuses.
    pub final_: bool,
    /// Since when the condition says so, RFC 3339, where it says.
    #[serde(default)]
    pub since: Option<String>,
}

/// The declared policies of one Kustomization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What Flux says.
    pub status: KustomizationStatus,
    /// Whether the documents below are proven to be what was applied.
    pub rendering: Rendering,
    /// Every policy in the rendering, of any policy kind, and the tiers and network sets that decide with Calico's
    /// ([`PolicyDocument::is_policy`] tells them apart).
    pub policies: Vec<PolicyDocument>,
    /// Namespaces that the rendering itself declares.
    pub namespaces: Vec<String>,
    /// The text of the list of intended flows, if configured and present in the artifact.
    pub allowlist: Option<String>,
    /// Whether the artifact could not be had, so that the policies are those that the state remembers.
    pub remembered: bool,
}
