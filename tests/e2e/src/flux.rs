//! Flux's two objects for one repository, and what Flux says of them.

use anyhow::{Result, bail};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    eventually,
    objects::{self, text},
    poll::seconds,
};

/// The namespace of Flux's objects.
pub const NAMESPACE: &str = "flux-system";

/// A GitRepository and a Kustomization that applies a path of it.
pub struct Flux {
    client: Client,
    /// The GitRepository's name.
    pub source: String,
    /// The Kustomization's name.
    pub name: String,
}

/// The revision that Flux makes of a commit on `main`.
#[must_use]
pub fn revision(commit: &str) -> String {
    format!("main@sha1:{commit}")
}

impl Flux {
    /// Makes both. `spec` is merged over the Kustomization's usual one, for paths, patches and substitution.
    ///
    /// # Errors
    /// The API server refused one.
    pub async fn create(client: &Client, url: &str, source: &str, name: &str, spec: &Value) -> Result<Self> {
        let flux = Self { client: client.clone(), source: source.to_owned(), name: name.to_owned() };
        let mut repository = flux.git_repository();
        merge(&mut repository, &json!({"spec": {"interval": "10m", "url": url, "ref": {"branch": "main"}}}));
        objects::apply(client, &repository).await?;
        flux.set_kustomization(spec).await?;
        Ok(flux)
    }

    fn git_repository(&self) -> Value {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"namespace": NAMESPACE, "name": self.source},
        })
    }

    fn kustomization(&self) -> Value {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"namespace": NAMESPACE, "name": self.name},
        })
    }

    /// Applies the Kustomization with `spec` merged over its usual one.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn set_kustomization(&self, spec: &Value) -> Result<()> {
        let mut kustomization = self.kustomization();
        let usual = json!({
            "interval": "10m", "timeout": "30s", "prune": true, "wait": true, "path": "./infra/k8s/network-policies",
            "sourceRef": {"kind": "GitRepository", "name": self.source},
        });
        merge(&mut kustomization, &json!({"spec": usual}));
        merge(&mut kustomization, &json!({"spec": spec}));
        objects::apply(&self.client, &kustomization).await
    }

    /// Suspends or resumes the Kustomization.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn suspend(&self, suspended: bool) -> Result<()> {
        let mut change = self.kustomization();
        merge(&mut change, &json!({"spec": {"suspend": suspended}}));
        objects::merge_patch(&self.client, &change).await
    }

    /// Asks for a fetch now, as `flux reconcile source git` does.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn fetch(&self) -> Result<()> {
        let mut change = self.git_repository();
        let now = json!({"annotations": {"reconcile.fluxcd.io/requestedAt": jiff::Timestamp::now().to_string()}});
        merge(&mut change, &json!({"metadata": now}));
        objects::merge_patch(&self.client, &change).await
    }

    /// Asks for an apply now, as `flux reconcile kustomization` does.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn reconcile(&self) -> Result<()> {
        let mut change = self.kustomization();
        let now = json!({"annotations": {"reconcile.fluxcd.io/requestedAt": jiff::Timestamp::now().to_string()}});
        merge(&mut change, &json!({"metadata": now}));
        objects::merge_patch(&self.client, &change).await
    }

    /// The Kustomization as it is now.
    ///
    /// # Errors
    /// It is not there.
    pub async fn status(&self) -> Result<Value> {
        match objects::get(&self.client, &self.kustomization()).await? {
            Some(kustomization) => Ok(kustomization),
            None => bail!("Kustomization `{}` is not there", self.name),
        }
    }

    /// Fetches, and waits until Flux has applied this commit.
    ///
    /// # Errors
    /// It did not within half a minute; the error holds what Flux said.
    pub async fn apply(&self, commit: &str) -> Result<()> {
        self.fetch().await?;
        let (mut said, wanted) = (String::new(), revision(commit));
        let what = format!("Flux applies {wanted}");
        let applied = eventually(&what, seconds(30), async || {
            let now = self.status().await?;
            let ready = ready(&now);
            said = format!("{}: {}", ready.reason, ready.message);
            let done = ready.is_true && ready.is_current && text(&now, "/status/lastAppliedRevision") == wanted;
            Ok(done.then_some(()))
        })
        .await;
        applied.map_err(|error| error.context(said))
    }

    /// Fetches, and waits until Flux has failed to apply this commit. Gives Flux's message.
    ///
    /// # Errors
    /// It did not fail within half a minute.
    pub async fn fail(&self, commit: &str) -> Result<String> {
        self.fetch().await?;
        let wanted = revision(commit);
        eventually(&format!("Flux refuses {wanted}"), seconds(30), async || {
            let now = self.status().await?;
            let ready = ready(&now);
            let failed = ready.is_false && text(&now, "/status/lastAttemptedRevision") == wanted;
            Ok(failed.then_some(ready.message))
        })
        .await
    }

    /// The digest of what Flux applied last.
    ///
    /// # Errors
    /// The Kustomization is not there.
    pub async fn digest(&self) -> Result<String> {
        Ok(text(&self.status().await?, "/status/history/0/digest").to_owned())
    }

    /// Deletes both; what Flux applied goes too.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn delete(&self) -> Result<()> {
        self.delete_kustomization().await?;
        objects::delete(&self.client, &self.git_repository()).await
    }

    /// Deletes the Kustomization, with what it applied, and not its source.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn delete_kustomization(&self) -> Result<()> {
        objects::delete(&self.client, &self.kustomization()).await
    }
}

struct Ready {
    is_true: bool,
    is_false: bool,
    is_current: bool,
    reason: String,
    message: String,
}

fn ready(kustomization: &Value) -> Ready {
    let conditions = kustomization.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.and_then(|all| all.iter().find(|condition| text(condition, "/type") == "Ready"));
    let condition = found.cloned().unwrap_or_default();
    Ready {
        is_true: text(&condition, "/status") == "True",
        is_false: text(&condition, "/status") == "False",
        is_current: kustomization.pointer("/status/observedGeneration")
            == kustomization.pointer("/metadata/generation"),
        reason: text(&condition, "/reason").to_owned(),
        message: text(&condition, "/message").to_owned(),
    }
}

/// Merges `over` into `value`: objects key by key, everything else replaced.
pub fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, new) in from {
                merge(into.entry(key).or_insert(Value::Null), new);
            }
        }
        (value, over) => over.clone_into(value),
    }
}
