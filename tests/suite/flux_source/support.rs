//! A Flux without controllers: its two objects and the artifact, served over HTTP.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use netpol_verify::{
    flux::{FluxOptions, FluxSource, Retry},
    model::{Declared, KustomizationRef, KustomizationStatus, PolicyDocument, Rendering},
    verify::seams::{Fault, Source},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

pub const REVISION: &str = "main@sha1:4f2c9ab0123456789012345678901234567890ab";
const ARTIFACT: &str = "/gitrepository/flux-system/infra/4f2c9ab.tar.gz";
const KUSTOMIZATION: &str =
    "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/network-policies";
const SOURCE: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/infra";

/// What one test's Flux says and serves.
pub struct Flux {
    pub server: MockServer,
    pub spec: Value,
    pub served: String,
    pub digest: Option<String>,
    pub artifact: Vec<u8>,
    pub artifact_digest: Option<String>,
    pub options: FluxOptions,
}

impl Flux {
    /// Serves files and a Kustomization with this `spec`, whose rendering had `digest`.
    pub async fn new(artifact: Vec<u8>, mut spec: Value, digest: Option<&str>) -> Self {
        spec["sourceRef"] = json!({"kind": "GitRepository", "name": "infra"});
        let options = FluxOptions {
            kustomize: kustomize(),
            retry: Retry { times: 3, pause: Duration::from_millis(1) },
            ..FluxOptions::default()
        };
        Self {
            server: MockServer::start().await,
            spec,
            served: REVISION.to_owned(),
            digest: digest.map(str::to_owned),
            artifact,
            artifact_digest: None,
            options,
        }
    }

    /// Mounts the objects; the artifact too unless the test mounts its own.
    pub async fn mount(&self) {
        self.mount_objects().await;
        let tar = ResponseTemplate::new(200).set_body_bytes(self.artifact.clone());
        Mock::given(method("GET")).and(path(ARTIFACT)).respond_with(tar).mount(&self.server).await;
    }

    pub async fn mount_objects(&self) {
        let history = self.digest.iter().map(|digest| {
            json!({"digest": digest, "lastReconciledStatus": "ReconciliationSucceeded", "metadata": {"revision": REVISION}})
        });
        let ready =
            json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "observedGeneration": 1});
        let kustomization = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "network-policies", "namespace": "flux-system", "generation": 1},
            "spec": self.spec,
            "status": {
                "observedGeneration": 1, "lastAppliedRevision": REVISION, "lastAttemptedRevision": REVISION,
                "conditions": [ready], "history": history.collect::<Vec<_>>(),
            },
        });
        let digest = self.artifact_digest.clone().unwrap_or_else(|| sha256(&self.artifact));
        // The host is one that resolves nowhere: only `SOURCE_CONTROLLER_LOCALHOST` leads to the server.
        let url = format!("http://source-controller.flux-system.svc.cluster.local.{ARTIFACT}");
        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "infra", "namespace": "flux-system", "generation": 1}, "spec": {},
            "status": {"artifact": {"url": url, "revision": self.served, "digest": digest, "path": "x", "lastUpdateTime": "2026-01-01T00:00:00Z"}},
        });
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
        let absent = ResponseTemplate::new(404).set_body_json(status);
        Mock::given(method("GET")).respond_with(absent).with_priority(u8::MAX).mount(&self.server).await;
        self.object(KUSTOMIZATION, kustomization).await;
        self.object(SOURCE, source).await;
    }

    pub async fn object(&self, at: &str, object: Value) {
        let answer = ResponseTemplate::new(200).set_body_json(object);
        Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(&self.server).await;
    }

    /// Answers of the artifact server before the right one.
    pub async fn artifact_answers(&self, status: u16, times: u64) {
        let answer = ResponseTemplate::new(status);
        let mock = Mock::given(method("GET")).and(path(ARTIFACT)).respond_with(answer);
        mock.up_to_n_times(times).mount(&self.server).await;
    }

    pub fn source(&self) -> FluxSource {
        // Ok the first time of a process, an error later: both mean that there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = self.server.uri();
        let client = kube::Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap();
        let localhost = Some(address.trim_start_matches("http://").to_owned());
        FluxSource::new(client, reqwest::Client::new(), FluxOptions { localhost, ..self.options.clone() })
    }

    pub async fn status(&self) -> KustomizationStatus {
        let id = KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() };
        self.source().status(&id).await.unwrap().unwrap()
    }

    pub async fn declared(&self) -> Result<Declared, Fault> {
        let status = self.status().await;
        self.source().declared(&status).await
    }

    /// Mounts, renders, and insists that it is proven.
    pub async fn proven(&self) -> Declared {
        self.mount().await;
        let declared = self.declared().await.unwrap();
        assert_eq!(declared.rendering, Rendering::Proven);
        declared
    }

    /// Mounts, renders, and gives the reason why it is not proven.
    pub async fn unproven(&self) -> String {
        self.mount().await;
        match self.declared().await.unwrap().rendering {
            Rendering::Unproven(reason) => reason,
            Rendering::Proven => panic!("proven, although it must not be"),
        }
    }

    /// Mounts, and gives the fault with its causes.
    pub async fn fault(&self) -> String {
        self.mount().await;
        told(&self.declared().await.unwrap_err())
    }
}

pub fn told(fault: &Fault) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The tar.gz of a folder below `tests/fixtures/flux`, as source-controller packs it.
pub fn fixture(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flux").join(name);
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    packed(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())))
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read(&path).unwrap()));
        }
    }
}

pub fn packed<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).unwrap();
    }
    let mut encoder = builder.into_inner().unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

/// The renderer of these tests.
pub fn kustomize() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("kustomize")).find(|file| file.is_file());
    match std::env::var_os("KUSTOMIZE").map(PathBuf::from).or(on_path) {
        Some(file) if file.is_file() => file,
        other => panic!(
            "kustomize 5.8 is needed: put it on PATH or set KUSTOMIZE to it (found {other:?}); `make test` does so"
        ),
    }
}

/// The policy of a name.
pub fn policy<'a>(declared: &'a Declared, name: &str) -> &'a PolicyDocument {
    let names: Vec<_> = declared.policies.iter().map(|policy| policy.id.short()).collect();
    declared.policies.iter().find(|policy| policy.id.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

/// `file:line:column` of a field.
pub fn origin(policy: &PolicyDocument, pointer: &str) -> String {
    policy.origins.fields.get(pointer).unwrap_or_else(|| panic!("no origin of {pointer}")).to_string()
}
