//! What can go wrong between Flux and the declared policies.

use std::path::PathBuf;

use super::manifests::ManifestError;

/// Trouble with a tar.gz from the source; every case means that the artifact cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// Not gzip, not tar, cut off, or a broken checksum.
    #[error("the artifact is not a whole tar.gz")]
    Broken(#[source] std::io::Error),
    /// The unpacked size passes the limit.
    #[error("the artifact unpacks to more than {limit} bytes: shrink it with `spec.ignore` of the source")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Too many entries.
    #[error("the artifact has more than {limit} entries: shrink it with `spec.ignore` of the source")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A path that leaves the archive, or is none.
    #[error("the artifact has an entry with the illegal path `{path}`")]
    Path {
        /// The path as the archive has it.
        path: String,
    },
    /// Folders below folders beyond the limit.
    #[error("the artifact's entry `{path}` is more than {limit} folders deep")]
    Depth {
        /// The path.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// A hard link, device, or another entry that Flux never writes.
    #[error("the artifact's entry `{path}` is neither a file nor a folder (type `{kind}`)")]
    Kind {
        /// The path.
        path: String,
        /// The tar type.
        kind: String,
    },
    /// A path that is a file and a folder at once.
    #[error("the artifact has `{path}` as a file and as a folder")]
    Clash {
        /// The path.
        path: String,
    },
}

/// Trouble with Flux, the artifact or the renderer.
#[derive(Debug, thiserror::Error)]
pub enum FluxFault {
    /// The API server did not give an object.
    #[error("could not read {what} from the API server: check the RBAC of the verifier's ServiceAccount")]
    Api {
        /// Kind and name.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object does not have the shape of its kind.
    #[error("{what} does not have the fields of its kind: is this Flux version supported?")]
    Shape {
        /// Kind and name.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The Kustomization or its source is not there.
    #[error("{what} does not exist")]
    Missing {
        /// Kind and name.
        what: String,
    },
    /// `spec.sourceRef.kind` is not one that Flux serves artifacts of.
    #[error("source kind `{kind}` is not supported")]
    SourceKind {
        /// The kind.
        kind: String,
    },
    /// No revision was ever applied.
    #[error("Kustomization {id}: no revision was applied yet")]
    NeverApplied {
        /// Which one.
        id: String,
    },
    /// The source serves another revision than the applied one.
    #[error("lag: {source_name} serves `{served}`, but `{applied}` is applied")]
    Lag {
        /// Kind and name of the source.
        source_name: String,
        /// What it serves.
        served: String,
        /// What Flux applied last.
        applied: String,
    },
    /// The source serves nothing at the moment.
    #[error("{source_name} has no artifact: source-controller may just have been restarted; look at its status")]
    NoArtifact {
        /// Kind and name of the source.
        source_name: String,
    },
    /// The URL in the source's status cannot be used.
    #[error("the artifact's URL `{url}` is not a http or https URL")]
    Url {
        /// The URL.
        url: String,
    },
    /// The connection failed.
    #[error("could not fetch the artifact `{url}`: is source-controller up, and does a NetworkPolicy let this pod in?")]
    Fetch {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The way through the API server failed.
    #[error("could not fetch the artifact through a port-forward to Service `{service}`: {why}")]
    Forward {
        /// Namespace and name.
        service: String,
        /// Why.
        why: String,
        /// Whether it may be otherwise a moment later.
        passing: bool,
    },
    /// The server answered with an error.
    #[error("source-controller answered {status} for the artifact `{url}`")]
    Http {
        /// The URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The download passes the limit.
    #[error("the artifact `{url}` is larger than {limit} bytes: shrink it with `spec.ignore` of the source")]
    Large {
        /// The URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The digest in the source's status is of an unknown form or algorithm.
    #[error(
        "the digest `{digest}` is not of a supported form: use sha256, sha384 or sha512 as source-controller's `--artifact-digest-algo`"
    )]
    DigestForm {
        /// The digest.
        digest: String,
    },
    /// The bytes are not what the source's status says.
    #[error("the artifact `{url}` does not have its digest `{digest}`")]
    DigestMismatch {
        /// The URL.
        url: String,
        /// The digest in the status.
        digest: String,
    },
    /// The archive is broken or hostile.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// `spec.path` is not in the artifact.
    #[error("`spec.path` `{path}` is not in the artifact")]
    Path {
        /// The path.
        path: String,
    },
    /// A component that is not a local, relative path.
    #[error("component path `{path}` must be local and relative")]
    Component {
        /// The path.
        path: String,
    },
    /// A YAML file or the rendering cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file that must be text is not.
    #[error("`{file}` is not UTF-8 text")]
    Text {
        /// The file, relative to the artifact.
        file: String,
    },
    /// The private folder could not be written.
    #[error(
        "could not {what} the private folder of the renderer: is the temporary directory writable and large enough?"
    )]
    Folder {
        /// `make`, `write`, …
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The renderer could not be run.
    #[error("could not run `{binary}`: install kustomize 5.8, or set its path")]
    Run {
        /// The configured path.
        binary: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The renderer did not end in time.
    #[error("kustomize did not finish within {seconds} s")]
    Slow {
        /// The limit.
        seconds: u64,
    },
    /// The rendering is too large.
    #[error("kustomize wrote more than {limit} bytes")]
    Output {
        /// The limit in bytes.
        limit: u64,
    },
    /// The renderer refused.
    #[error("kustomize build failed: {message}")]
    Kustomize {
        /// Its words, with paths relative to the artifact.
        message: String,
    },
    /// Work in the background was cancelled.
    #[error("the work on the artifact was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl FluxFault {
    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fetch { source, .. } => !source.is_builder(),
            Self::Forward { passing, .. } => *passing,
            Self::Http { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
