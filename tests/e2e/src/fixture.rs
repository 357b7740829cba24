//! A customer in files: what runs in the cluster, what stands in Git, and how the verifier is configured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    Git, eventually,
    objects::{self, DEPLOYMENT, Kind, POD, text},
    poll::seconds,
};

/// In fixtures, namespaces that begin with this get a prefix of their own for each scene.
const PLACEHOLDER: &str = "xx-";

/// Files of one customer: `infra/` goes to Git, `config.yaml` is the verifier's, every other YAML file is applied.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// The files for Git, by path.
    pub repository: BTreeMap<String, String>,
    /// Namespaces and workloads.
    pub objects: Vec<Value>,
    /// The verifier's configuration.
    pub config: Value,
}

impl Fixture {
    /// Reads a folder below `tests/`. `prefix` takes the place of `xx` in the names of namespaces.
    ///
    /// Without Calico the files that hold its kinds are left out, and those of the folder `…-without-calico` beside it,
    /// where there is one, take the places of others.
    ///
    /// # Errors
    /// A file cannot be read, or is not YAML.
    pub fn load(folder: &str, prefix: &str, calico: bool) -> Result<Self> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut fixture = Self { repository: BTreeMap::new(), objects: Vec::new(), config: Value::Null };
        fixture.add_all(&tests.join(folder), prefix)?;
        if !calico {
            fixture.repository.retain(|_, text| !text.contains("apiVersion: projectcalico.org/"));
            let instead = tests.join(format!("{folder}-without-calico"));
            if instead.is_dir() {
                fixture.add_all(&instead, prefix)?;
            }
        }
        // Namespaces come first, whatever their file is called.
        fixture.objects.sort_by_key(|object| text(object, "/kind") != "Namespace");
        ensure!(!fixture.repository.is_empty(), "fixture `{folder}` is empty");
        Ok(fixture)
    }

    fn add_all(&mut self, root: &Path, prefix: &str) -> Result<()> {
        for file in files_below(root)? {
            let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            self.add(path, &text.replace(PLACEHOLDER, &format!("{prefix}-")))?;
        }
        Ok(())
    }

    fn add(&mut self, path: String, content: &str) -> Result<()> {
        if path.starts_with("infra/") {
            self.repository.insert(path, content.to_owned());
        } else if path == "config.yaml" {
            self.config = objects::parse(content)?.pop().context("config.yaml is empty")?;
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "yaml") {
            self.objects.extend(objects::parse(content).with_context(|| path)?);
        }
        Ok(())
    }

    /// The names of its namespaces.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let is_namespace = |object: &&Value| text(object, "/kind") == "Namespace";
        self.objects.iter().filter(is_namespace).map(|object| text(object, "/metadata/name").to_owned()).collect()
    }

    /// Writes the files for Git into a clone.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn check_in(&self, git: &Git) -> Result<()> {
        self.repository.iter().try_for_each(|(path, content)| git.write(path, content))
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("no fixture at {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// Waits until everything that was applied in these namespaces runs: all replicas Ready, bare pods too.
///
/// # Errors
/// It takes longer than a minute, or the API server does not answer.
pub async fn wait_until_ready(client: &Client, namespaces: &[String]) -> Result<()> {
    for namespace in namespaces {
        let what = format!("all pods of {namespace} are ready");
        eventually(&what, seconds(60), async || Ok(unready(client, namespace).await?.is_empty().then_some(()))).await?;
    }
    Ok(())
}

/// The workloads and pods of a namespace that are not as ready as they are meant to be.
async fn unready(client: &Client, namespace: &str) -> Result<Vec<String>> {
    let mut waiting = Vec::new();
    for kind in [DEPLOYMENT, Kind("apps/v1", "StatefulSet")] {
        for object in objects::list(client, &kind, namespace, "").await? {
            let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
            let current = count("/status/observedGeneration") == count("/metadata/generation");
            if !current
                || ["/status/readyReplicas", "/status/replicas"].iter().any(|at| count(at) != count("/spec/replicas"))
            {
                waiting.push(text(&object, "/metadata/name").to_owned());
            }
        }
    }
    let pods = objects::list(client, &POD, namespace, "").await?;
    waiting.extend(pods.iter().filter(|pod| !is_ready(pod)).map(|pod| text(pod, "/metadata/name").to_owned()));
    Ok(waiting)
}

/// Whether a pod is Ready and not on its way out.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = |condition: &Value| text(condition, "/type") == "Ready" && text(condition, "/status") == "True";
    conditions.is_some_and(|all| all.iter().any(ready)) && pod.pointer("/metadata/deletionTimestamp").is_none()
}

/// Sets a workload's replicas, as `kubectl scale` does.
///
/// # Errors
/// The API server refused it.
pub async fn scale(client: &Client, kind: &str, namespace: &str, name: &str, replicas: u32) -> Result<()> {
    let object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicas": replicas},
    });
    objects::merge_patch(client, &object).await?;
    wait_until_ready(client, &[namespace.to_owned()]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_calico_the_customers_tree_is_made_of_network_policy_alone_and_opens_the_same_namespaces() {
        let (wide, list) = ("- cluster-wide.yaml", "infra/k8s/network-policies/kustomization.yaml");
        let holds = |fixture: &Fixture, text: &str| fixture.repository.values().any(|file| file.contains(text));
        let calico = Fixture::load("plana", "xx", true).unwrap();
        assert!(holds(&calico, "kind: GlobalNetworkPolicy") && calico.repository[list].contains(wide));
        let plain = Fixture::load("plana", "xx", false).unwrap();
        assert!(!holds(&plain, "projectcalico.org/v3") && !plain.repository[list].contains(wide));
        let opened = &plain.repository["infra/k8s/network-policies/dns-and-api-server.yaml"];
        let is_closed = |name: &String| name != "redis";
        for namespace in plain.namespaces().iter().filter(|name| is_closed(name)) {
            assert!(opened.contains(&format!("namespace: {namespace}}}")), "{namespace}");
        }
        assert_eq!(plain.objects, calico.objects);
    }
}
