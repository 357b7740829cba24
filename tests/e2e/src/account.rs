//! A service account's own token in the hands of whoever stole it.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{AttachParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::{
    Cluster,
    objects::{self, text},
};

/// A client with the rights of one service account and no others.
pub struct Account {
    /// The client.
    pub client: Client,
}

/// What the API server said to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was let through, and this came of it.
    Admitted(String),
    /// It was forbidden, for this reason.
    Denied(String),
}

impl Answer {
    /// Sorts a result.
    ///
    /// # Errors
    /// It failed for another reason than a lack of rights.
    pub fn of(result: Result<String, kube::Error>) -> Result<Self> {
        match result {
            Ok(said) => Ok(Self::Admitted(said)),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Self::Denied(status.message.clone())),
            Err(error) => bail!("neither admitted nor denied: {error}"),
        }
    }

    /// Whether an admission policy denied it, and RBAC did not.
    #[must_use]
    pub fn is_by_policy(&self) -> bool {
        matches!(self, Self::Denied(reason) if reason.contains("ValidatingAdmissionPolicy"))
    }

    /// Whether RBAC denied it.
    #[must_use]
    pub fn is_by_role(&self) -> bool {
        matches!(self, Self::Denied(reason) if reason.contains("cannot"))
    }
}

impl Account {
    /// Asks for a token of an account, as an administrator, and connects with it alone.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn of(cluster: &Cluster, namespace: &str, name: &str) -> Result<Self> {
        let token = cluster.kubectl(&["create", "token", name, "-n", namespace]).await?;
        let admin = serde_json::to_value(Kubeconfig::read_from(cluster.variable("KUBECONFIG")?)?)?;
        let server = admin.pointer("/clusters/0/cluster").cloned().unwrap_or_default();
        let config: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": name, "user": {"token": token.trim()}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": name}}],
            "current-context": "here",
        }))?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(Self { client: Client::try_from(config)? })
    }

    /// Runs a command in a pod.
    ///
    /// # Errors
    /// It failed for another reason than a lack of rights.
    pub async fn exec(&self, pod: &Value, command: &[&str], how: &AttachParams) -> Result<Answer> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), text(pod, "/metadata/namespace"));
        let started = pods.exec(text(pod, "/metadata/name"), command.iter().copied(), how).await;
        let mut process = match started {
            Ok(process) => process,
            Err(error) => return Answer::of(Err(error)),
        };
        let mut said = String::new();
        if let Some(mut stdout) = process.stdout() {
            stdout.read_to_string(&mut said).await?;
        }
        process.abort();
        Answer::of(Ok(said))
    }

    /// Tries to make an object, without leaving it behind.
    ///
    /// # Errors
    /// It failed for another reason than a lack of rights.
    pub async fn create(&self, object: &Value) -> Result<Answer> {
        let namespace = text(object, "/metadata/namespace");
        let api = objects::api(&self.client, text(object, "/apiVersion"), text(object, "/kind"), namespace);
        let how = PostParams { dry_run: true, ..PostParams::default() };
        let made = api.create(&how, &serde_json::from_value(object.clone())?).await;
        Answer::of(made.map(|object| object.metadata.name.unwrap_or_default()))
    }

    /// Sends any request that has no body, by its method and path.
    ///
    /// # Errors
    /// It failed for another reason than a lack of rights.
    pub async fn request(&self, method: &str, path: &str) -> Result<Answer> {
        self.send(method, path, "application/json", Vec::new()).await
    }

    /// Sends a strategic merge patch, without leaving it behind.
    ///
    /// # Errors
    /// It failed for another reason than a lack of rights.
    pub async fn patch(&self, path: &str, change: &Value) -> Result<Answer> {
        let kind = "application/strategic-merge-patch+json";
        self.send("PATCH", &format!("{path}?dryRun=All"), kind, change.to_string().into_bytes()).await
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Result<Answer> {
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind).body(body)?;
        Answer::of(self.client.request_text(request).await)
    }
}
