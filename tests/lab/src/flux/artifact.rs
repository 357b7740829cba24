//! Artifacts, packed and served as source-controller does.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use super::git::{Tree, hex};
use crate::{
    faults::Faults,
    http::{Answer, Endpoint, Request, Server},
};

/// The host in the URLs of artifacts: it resolves nowhere, as from outside a cluster.
const HOST: &str = "source-controller.flux-system.svc.cluster.local.";

/// source-controller's storage; gone when this is dropped.
pub struct Artifacts {
    shared: Arc<Shared>,
    server: Server,
    /// What happens to its requests.
    pub faults: Faults,
}

#[derive(Default)]
struct Shared(Mutex<BTreeMap<String, Bytes>>);

/// An artifact as a source's status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is.
    pub url: String,
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// Its size in bytes.
    pub size: usize,
}

impl Artifacts {
    /// Starts with nothing to serve.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let faults = Faults::default();
        let server = Server::start(Arc::clone(&shared), faults.clone()).await?;
        Ok(Self { shared, server, faults })
    }

    /// `host:port`, for `SOURCE_CONTROLLER_LOCALHOST`.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address.to_string()
    }

    /// Serves these bytes as the artifact of a source at a commit, and nothing of this source any more but them.
    #[must_use]
    pub fn publish(&self, source: &str, commit: &str, bytes: Vec<u8>) -> Artifact {
        let folder = format!("/gitrepository/flux-system/{source}/");
        let path = format!("{folder}{commit}.tar.gz");
        let (digest, size) = (sha256(&bytes), bytes.len());
        let mut served = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        served.retain(|known, _| !known.starts_with(&folder));
        served.insert(path.clone(), bytes.into());
        Artifact { url: format!("http://{HOST}{path}"), digest, size }
    }
}

impl Endpoint for Shared {
    async fn answer(&self, request: Request) -> Answer {
        let served = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&request.path).cloned();
        served.map_or_else(|| self.refusal(404, None), |bytes| Answer::bytes(200, "application/gzip", bytes))
    }

    fn refusal(&self, code: u16, _: Option<Duration>) -> Answer {
        Answer::bytes(code, "text/plain", format!("{code}\n").into())
    }
}

/// `sha256:…`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// A tree as a tar.gz, the same bytes each time.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn packed(tree: &Tree) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in tree {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes())?;
    }
    let mut encoder = builder.into_inner()?;
    encoder.flush()?;
    encoder.finish()
}
