//! Flux without controllers: its two objects with the status that source-controller and kustomize-controller would
//! write, the artifact, and the policies applied to the cluster.
//!
//! ```text
//! Git ──fetch──▶ GitRepository.status, artifact ──reconcile──▶ kustomize build ──▶ live policies, Kustomization.status
//! ```

pub mod artifact;
pub mod git;
mod render;
mod status;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, anyhow, bail};
use e2e::flux::{NAMESPACE, revision};
use serde_json::{Value, json};

pub use self::{artifact::Artifacts, git::Git};
use crate::api::{Api, Refusal, object::text, store::now};

/// The GitRepository and the Kustomization that the first customer has.
const SOURCE: &str = "infra";
const KUSTOMIZATION: &str = "network-policies";
/// The field manager of what Flux applies.
const MANAGER: &str = "kustomize-controller";

/// The two controllers, moved by hand.
pub struct Flux {
    api: Arc<Api>,
    git: Arc<Git>,
    kustomize: PathBuf,
    /// The Kustomization's name.
    name: String,
    /// source-controller's storage.
    pub artifacts: Arc<Artifacts>,
    fetched: Arc<Mutex<Option<String>>>,
}

/// What was rendered.
struct Rendering {
    objects: Vec<Value>,
    digest: String,
}

impl Flux {
    /// Makes both objects; nothing is fetched yet.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(api: Arc<Api>, git: Arc<Git>, kustomize: PathBuf) -> Result<Self> {
        let (artifacts, fetched) = (Arc::new(Artifacts::start().await?), Arc::default());
        let flux = Self { api, git, kustomize, name: KUSTOMIZATION.to_owned(), artifacts, fetched };
        let mut source = source();
        e2e::flux::merge(&mut source, &json!({"spec": {"interval": "10m", "ref": {"branch": "main"}}}));
        flux.api.apply(&source).map_err(|refusal| told(&refusal))?;
        flux.create_kustomization("./infra/k8s/network-policies")?;
        Ok(flux)
    }

    fn create_kustomization(&self, path: &str) -> Result<()> {
        let spec = json!({
            "interval": "10m", "prune": true, "wait": true, "path": path,
            "sourceRef": {"kind": "GitRepository", "name": SOURCE},
        });
        self.change(&json!({ "spec": spec }))
    }

    /// A second Kustomization of the same source.
    ///
    /// # Errors
    /// The API server refused it.
    pub fn beside(&self, name: &str, path: &str) -> Result<Self> {
        let beside = Self {
            api: Arc::clone(&self.api),
            git: Arc::clone(&self.git),
            kustomize: self.kustomize.clone(),
            name: name.to_owned(),
            artifacts: Arc::clone(&self.artifacts),
            fetched: Arc::clone(&self.fetched),
        };
        beside.create_kustomization(path)?;
        Ok(beside)
    }

    /// The Kustomization as it is now.
    #[must_use]
    pub fn status(&self) -> Value {
        self.api.get("kustomizations.kustomize.toolkit.fluxcd.io", NAMESPACE, &self.name).unwrap_or_default()
    }

    /// Changes the Kustomization: a merge patch.
    ///
    /// # Errors
    /// It is gone.
    pub fn change(&self, patch: &Value) -> Result<()> {
        let mut change = self.kustomization();
        e2e::flux::merge(&mut change, patch);
        self.api.apply(&change).map(drop).map_err(|refusal| told(&refusal))
    }

    /// Deletes the Kustomization, not what it applied.
    ///
    /// # Errors
    /// It is gone already.
    pub fn delete(&self) -> Result<()> {
        let object = self.kustomization();
        let kind = self.api.kind_of(&object).map_err(|refusal| told(&refusal))?;
        self.api.store(|store| store.delete(&kind, NAMESPACE, &self.name)).map(drop).map_err(|refusal| told(&refusal))
    }

    /// source-controller notices a commit: the source's artifact and status.
    ///
    /// # Errors
    /// There is no such commit.
    pub fn fetch(&self, commit: &str) -> Result<()> {
        let bytes = artifact::packed(&self.git.tree(commit)?)?;
        self.fetch_as(commit, bytes)
    }

    /// The same with other bytes in the artifact, whose digest is right.
    ///
    /// # Errors
    /// The source is gone.
    pub fn fetch_as(&self, commit: &str, bytes: Vec<u8>) -> Result<()> {
        let artifact = self.artifacts.publish(SOURCE, commit, bytes);
        let revision = revision(commit);
        let source = source();
        let status = json!({
            "observedGeneration": 1,
            "conditions": [status::condition("Ready", "True", "Succeeded", &format!("stored artifact for revision '{revision}'"), 1)],
            "artifact": {
                "url": artifact.url, "digest": artifact.digest, "size": artifact.size, "revision": revision,
                "path": "", "lastUpdateTime": now(),
            },
        });
        self.api.set_status(&source, &status).map_err(|refusal| told(&refusal))?;
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some(commit.to_owned());
        Ok(())
    }

    /// kustomize-controller applies what the source serves, and says in the status how that went.
    ///
    /// # Errors
    /// The build or the apply failed, as Flux words it; the status says so too.
    pub async fn reconcile(&self) -> Result<()> {
        let commit = self.fetched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let commit = commit.context("nothing was fetched yet")?;
        let before = self.status();
        let path = text(&before, "/spec/path").trim_start_matches("./").to_owned();
        let rendered = render::render(&self.kustomize, &self.git.tree(&commit)?, Path::new(&path)).await;
        let outcome = match rendered {
            Ok(rendering) => self.apply_all(&before, rendering),
            Err(error) => Err(("BuildFailed", format!("{error:#}"))),
        };
        let (now, failed) = match outcome {
            Ok((digest, inventory)) => (status::applied(&before, &revision(&commit), &digest, &inventory), None),
            Err((reason, message)) => {
                (status::failed(&before, &revision(&commit), reason, &message), Some(format!("{reason}: {message}")))
            }
        };
        self.api.set_status(&self.kustomization(), &now).map_err(|refusal| told(&refusal))?;
        failed.map_or(Ok(()), |message| Err(anyhow!(message)))
    }

    /// Fetches and applies a commit.
    ///
    /// # Errors
    /// As [`Self::fetch`] and [`Self::reconcile`].
    pub async fn apply(&self, commit: &str) -> Result<()> {
        self.fetch(commit)?;
        self.reconcile().await
    }

    /// Applies what was rendered, and prunes what was applied before and is rendered no more.
    fn apply_all(&self, before: &Value, rendering: Rendering) -> Result<(String, Vec<String>), (&'static str, String)> {
        let failed = |object: &Value, refusal: &Refusal| {
            let what = format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"));
            ("ReconciliationFailed", format!("{what} {}", refusal.message))
        };
        // Everything is tried before anything is applied.
        for object in &rendering.objects {
            self.dry_run(object).map_err(|refusal| failed(object, &refusal))?;
        }
        let mut inventory = Vec::new();
        for object in &rendering.objects {
            self.apply_one(object).map_err(|refusal| failed(object, &refusal))?;
            inventory.push(status::id(object));
        }
        let old = before.pointer("/status/inventory/entries").and_then(Value::as_array).into_iter().flatten();
        for id in old.map(|entry| text(entry, "/id")).filter(|id| !inventory.iter().any(|new| new == id)) {
            // What somebody deleted before needs no pruning.
            let _ = self.prune(id);
        }
        Ok((rendering.digest, inventory))
    }

    fn dry_run(&self, rendered: &Value) -> Result<(), Refusal> {
        let failed = |refusal: Refusal| match refusal.code {
            422 => Refusal::new(422, format!("dry-run failed (Invalid): {}", refusal.message)),
            code => Refusal::new(code, format!("dry-run failed: {}", refusal.message)),
        };
        let kind = self.api.kind_of(rendered).map_err(failed)?;
        let namespace = text(rendered, "/metadata/namespace");
        if kind.namespaced && self.api.get("namespaces", "", namespace).is_none() {
            return Err(failed(Refusal::new(404, format!("namespaces \"{namespace}\" not found"))));
        }
        self.api.dry_run(rendered).map_err(failed)
    }

    /// Server-side apply with force: the fields that Flux names are as it says.
    fn apply_one(&self, rendered: &Value) -> Result<(), Refusal> {
        let kind = self.api.kind_of(rendered)?;
        let namespace = text(rendered, "/metadata/namespace");
        let owned = self.owned(rendered);
        let known = self.api.get(&kind.resource(), namespace, text(rendered, "/metadata/name"));
        let wanted = crate::api::object::defaulted(&kind, owned.clone());
        let same = |pointer: &str| known.as_ref().and_then(|old| old.pointer(pointer)) == wanted.pointer(pointer);
        if known.is_some() && same("/spec") && same("/metadata/labels") && same("/metadata/annotations") {
            return Ok(());
        }
        // Lists of a policy are atomic: the spec is Flux' as a whole.
        if known.is_some() {
            self.api.apply(&json!({"apiVersion": kind.api_version(), "kind": kind.kind,
                "metadata": {"namespace": namespace, "name": text(rendered, "/metadata/name")}, "spec": null}))?;
        }
        self.api.apply(&owned).map(drop)
    }

    fn prune(&self, id: &str) -> Option<()> {
        let (namespace, name, group, kind) = status::parse_id(id)?;
        let served = self.api.kind_in(group, kind)?;
        self.api.store(|store| store.delete(&served, namespace, name)).ok().map(drop)
    }

    /// With Flux' labels and its mark on the fields that it set.
    fn owned(&self, rendered: &Value) -> Value {
        let mut object = rendered.clone();
        let labels = json!({
            "kustomize.toolkit.fluxcd.io/name": self.name, "kustomize.toolkit.fluxcd.io/namespace": NAMESPACE,
        });
        let manager = managed(rendered, MANAGER, "Apply");
        e2e::flux::merge(&mut object, &json!({"metadata": {"labels": labels, "managedFields": [manager]}}));
        object
    }

    /// The Kustomization, as far as it is named.
    fn kustomization(&self) -> Value {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"namespace": NAMESPACE, "name": self.name},
        })
    }
}

/// The mark of who set the fields of an object's spec.
pub(crate) fn managed(object: &Value, manager: &str, operation: &str) -> Value {
    let fields = object.get("spec").and_then(Value::as_object).into_iter().flatten();
    let fields: serde_json::Map<String, Value> = fields.map(|(key, _)| (format!("f:{key}"), json!({}))).collect();
    json!({
        "manager": manager, "operation": operation, "apiVersion": text(object, "/apiVersion"), "time": now(),
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
    })
}

/// The GitRepository, as far as it is named.
fn source() -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"namespace": NAMESPACE, "name": SOURCE},
    })
}

fn told(refusal: &Refusal) -> anyhow::Error {
    anyhow!("{}", refusal.message)
}

/// The renderer: `KUSTOMIZE`, else the one on `PATH`.
///
/// # Errors
/// There is none.
pub fn find_kustomize() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("kustomize")).find(|file| file.is_file());
    match std::env::var_os("KUSTOMIZE").map(PathBuf::from).or(on_path) {
        Some(file) if file.is_file() => Ok(file),
        found => bail!(
            "kustomize 5.8 is needed: put it on PATH or set KUSTOMIZE to it (found {found:?}); `make test` does so"
        ),
    }
}
