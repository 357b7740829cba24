//! Git as Flux fetched and applied it.
//!
//! ```text
//! Kustomization ─[status]─▶ applied revision, digest, inventory
//! source ─[artifact]─▶ Tree ─[generate]─▶ private folder ─[kustomize]─▶ text ─[substitute]─▶ rendering
//!                                                                       │                      │
//!                                  [origins] ◀─ the same, annotated ────┘     sha256 = digest in the history?
//! ```
//!
//! The rule of this module: what it calls proven has the very digest that Flux wrote into the Kustomization's
//! history. Whatever it cannot do as Flux does (Secrets, SOPS, rare expansions) ends as unproven with its reason.

mod artifact;
mod declared;
mod envsubst;
mod error;
mod forward;
mod generate;
pub(crate) mod kustomize;
pub mod manifests;
mod objects;
mod origins;
mod path;
mod rendering;
mod source;
mod status;
mod substitute;
mod tree;

pub use artifact::{ArtifactLimits, Digest, Retry};
pub use error::{ArchiveFault, FluxFault};
pub use objects::{Artifact, Condition, KustomizationObject, SourceObject, SourceRef};
pub(crate) use origins::{document as origins_document, origins, own as own_origins};
pub use source::{FluxOptions, FluxSource};
pub use status::judge;
pub use tree::Tree;
