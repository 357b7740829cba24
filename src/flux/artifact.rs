//! Fetches the artifact of a source: bounded, retried, and checked against its digest.

use std::{fmt::Write as _, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Client, Url};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{
    ArchiveFault, Artifact, FluxFault, Tree,
    forward::{self, Named},
};

/// How much of a source is taken. Flux itself has no limit, but it has a pod of its own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// Bytes of the tar.gz.
    pub download: u64,
    /// Bytes when unpacked.
    pub unpacked: u64,
    /// Files and folders.
    pub entries: usize,
}

impl Default for ArtifactLimits {
    /// 50 MiB, 200 MiB and 20,000 entries: many times what a repository of manifests has, and small enough that the
    /// Job's memory limit holds. A monorepo above it should cut the artifact with `spec.ignore` anyway.
    fn default() -> Self {
        Self { download: 50 * 1024 * 1024, unpacked: 200 * 1024 * 1024, entries: 20_000 }
    }
}

/// How often and how slowly a download is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first.
    pub times: usize,
    /// The first pause; it doubles, up to ten seconds.
    pub pause: Duration,
}

impl Default for Retry {
    /// About 15 s in all: source-controller's rollout takes that long, and `run` has its own longer wait above this.
    fn default() -> Self {
        Self { times: 5, pause: Duration::from_millis(500) }
    }
}

/// A digest as OCI writes it: `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn hex(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => hex(&Sha256::digest(bytes)),
            Self::Sha384 => hex(&Sha384::digest(bytes)),
            Self::Sha512 => hex(&Sha512::digest(bytes)),
        }
    }
}

impl Digest {
    /// Reads `sha256:…`, `sha384:…` or `sha512:…`.
    ///
    /// # Errors
    /// Another algorithm (Flux knows blake3 too), or not hexadecimal of its length.
    pub fn parse(text: &str) -> Result<Self, FluxFault> {
        let bad = || FluxFault::DigestForm { digest: text.to_owned() };
        let (algorithm, hex) = text.split_once(':').ok_or_else(bad)?;
        let (algorithm, length) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(bad()),
        };
        if hex.len() != length || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }

    /// Whether these are the bytes.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.algorithm.hex(bytes) == self.hex
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `sha256:…` of a rendering.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", Algorithm::Sha256.hex(bytes))
}

/// How artifacts are reached.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// For what can be reached directly.
    pub(super) http: &'a Client,
    /// Replaces host and port of the URL, as `SOURCE_CONTROLLER_LOCALHOST` does for Flux's own clients.
    pub(super) localhost: Option<&'a str>,
    /// Reaches Services of the cluster from outside of it.
    pub(super) forward: Option<&'a kube::Client>,
}

impl Way<'_> {
    async fn download(&self, url: &Url, limit: u64) -> Result<Vec<u8>, FluxFault> {
        match self.forward.and_then(|server| Some((server, Named::of(url)?))) {
            Some((server, named)) => forward::download(server, &named, url, limit).await,
            None => download(self.http, url, limit).await,
        }
    }
}

/// Fetches, checks and reads an artifact.
pub(super) async fn fetch(
    way: Way<'_>,
    artifact: &Artifact,
    limits: ArtifactLimits,
    retry: Retry,
) -> Result<Tree, FluxFault> {
    let digest = Digest::parse(&artifact.digest)?;
    let url = address(&artifact.url, way.localhost)?;
    let backoff = ExponentialBuilder::default()
        .with_min_delay(retry.pause)
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(retry.times)
        .with_jitter();
    let bytes = (|| way.download(&url, limits.download))
        .retry(backoff)
        .when(FluxFault::is_transient)
        .notify(|error, pause| {
            tracing::info!(%error, pause_ms = pause.as_millis(), "artifact download failed, trying again");
        })
        .await?;
    tracing::debug!(%url, bytes = bytes.len(), "artifact fetched");
    if !digest.matches(&bytes) {
        return Err(FluxFault::DigestMismatch { url: url.into(), digest: artifact.digest.clone() });
    }
    let tree = tokio::task::spawn_blocking(move || Tree::from_tar_gz(&bytes, limits.unpacked, limits.entries));
    let tree = tree.await.map_err(FluxFault::Interrupted)?.map_err(|fault: ArchiveFault| FluxFault::Archive(fault))?;
    if tree.skipped() > 0 {
        tracing::info!(links = tree.skipped(), "symbolic links in the artifact dropped, as Flux drops them");
    }
    Ok(tree)
}

fn address(text: &str, localhost: Option<&str>) -> Result<Url, FluxFault> {
    let bad = || FluxFault::Url { url: text.to_owned() };
    let mut url = Url::parse(text).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad());
    }
    if let Some(localhost) = localhost.filter(|host| !host.is_empty()) {
        let at = Url::parse(&format!("http://{localhost}")).map_err(|_| bad())?;
        url.set_host(at.host_str()).map_err(|_| bad())?;
        url.set_port(at.port()).map_err(|()| bad())?;
    }
    Ok(url)
}

async fn download(http: &Client, url: &Url, limit: u64) -> Result<Vec<u8>, FluxFault> {
    let failed = |source: reqwest::Error| FluxFault::Fetch { url: url.to_string(), source: source.without_url() };
    let mut answer = http.get(url.clone()).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(FluxFault::Http { url: url.to_string(), status: answer.status().as_u16() });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(FluxFault::Large { url: url.to_string(), limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_a_known_algorithm_and_length() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = Digest::parse(&format!("sha256:{empty}")).unwrap();
        assert!(digest.matches(b"") && !digest.matches(b"x"));
        for bytes in [b"".as_slice(), b"abc"] {
            for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
                let name = if algorithm == Algorithm::Sha384 { "sha384" } else { "sha512" };
                assert!(Digest::parse(&format!("{name}:{}", algorithm.hex(bytes))).unwrap().matches(bytes));
            }
        }
        for text in ["", "sha256:", empty, &format!("sha256:{}", empty.to_uppercase()), "blake3:00", "md5:00"] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_host_can_be_replaced_and_a_trailing_dot_stays() {
        let url = "http://source-controller.flux-system.svc.cluster.local./gitrepository/a/b/c.tar.gz";
        assert_eq!(address(url, None).unwrap().as_str(), url);
        let local = address(url, Some("localhost:9790")).unwrap();
        assert_eq!(local.as_str(), "http://localhost:9790/gitrepository/a/b/c.tar.gz");
        assert_eq!(address("http://h:1/a", Some("h2")).unwrap().as_str(), "http://h2/a");
        for bad in ["file:///etc/passwd", "nothing", "", "ftp://h/x"] {
            assert!(address(bad, None).is_err(), "{bad}");
        }
    }
}
