//! Installs the verifier from the manifests that the project ships, once for each scene: the same objects under
//! names of their own, with the test image and the scene's configuration.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    Cluster,
    cluster::run,
    flux::merge,
    objects::{self, is_cluster_wide, parse, text},
};

/// The namespace and the names in the shipped manifests.
const SHIPPED: &str = "netpol-verify";
/// The image that `make image` imports into the cluster.
const IMAGE: &str = "registry.local/netpol-verify:test";

/// The shipped objects, renamed for one scene.
pub struct Manifests {
    /// The verifier's namespace.
    pub namespace: String,
    /// The CronJob's name.
    pub cron_job: String,
    objects: Vec<Value>,
}

impl Manifests {
    /// The objects, as they are applied.
    #[must_use]
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// Reads `job/` (rendered, if it is a kustomization), with the component `job/ephemeral` where containers may be
    /// added to pods, and renames it for `prefix`.
    ///
    /// # Errors
    /// There are no manifests, or they hold no CronJob.
    pub async fn load(cluster: &Cluster, prefix: &str, ephemeral: bool) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../job");
        let yaml = if folder.join("kustomization.yaml").exists() {
            run(Command::new(cluster.variable("KUSTOMIZE")?).arg("build").arg(&folder)).await?
        } else {
            yaml_files(&folder)?.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?.join("\n---\n")
        };
        let mut objects = parse(&yaml)?;
        for file in ["rbac.yaml", "admission.yaml"].iter().filter(|_| ephemeral) {
            objects.extend(parse(&std::fs::read_to_string(folder.join("ephemeral").join(file))?)?);
        }
        objects.retain(|object| !is_config(object));
        let mut rename = Rename::of(prefix, &objects);
        for object in &mut objects {
            rename.object(object);
        }
        let cron_job = objects.iter().find(|object| text(object, "/kind") == "CronJob");
        let cron_job = text(cron_job.context("job/ holds no CronJob")?, "/metadata/name").to_owned();
        Ok(Self { namespace: rename.namespace, cron_job, objects })
    }

    /// The objects of `job/sharded` for this installation, as they are shipped but for the image and its arguments.
    ///
    /// # Errors
    /// They are not there.
    pub fn sharded(&self, prefix: &str, args: &[&str]) -> Result<Vec<Value>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../job/sharded");
        let mut objects = Vec::new();
        for file in ["rbac.yaml", "places.yaml", "cronjob.yaml"] {
            objects.extend(parse(&std::fs::read_to_string(folder.join(file))?)?);
        }
        let mut rename = Rename::of(prefix, &objects);
        for object in &mut objects {
            rename.object(object);
            if let Some(container) = object.pointer_mut("/spec/jobTemplate/spec/template/spec/containers/0") {
                merge(container, &json!({"image": IMAGE, "imagePullPolicy": "Never", "args": args}));
            }
        }
        Ok(objects)
    }

    /// Applies everything, with `config` as its configuration and `token` for the Matrix room.
    ///
    /// # Errors
    /// The API server refused something.
    pub async fn apply(&mut self, cluster: &Cluster, config: &Value, token: &str) -> Result<()> {
        let namespace = self.namespace.clone();
        let spec = self.objects.iter_mut().find(|object| text(object, "/kind") == "CronJob");
        let spec = spec.and_then(|object| object.pointer_mut("/spec")).context("the CronJob has no spec")?;
        // Retries would be more runs than a scenario counts.
        merge(spec, &json!({"suspend": true, "jobTemplate": {"spec": {"backoffLimit": 0}}}));
        let pod = spec.pointer_mut("/jobTemplate/spec/template/spec").context("the CronJob has no pod template")?;
        let container = pod.pointer_mut("/containers/0").context("the CronJob has no container")?;
        merge(
            container,
            &json!({"image": IMAGE, "imagePullPolicy": "Never", "args": ["run", "-o", "json", "--log-format", "json"]}),
        );
        let (secrets, pod) = (secrets(pod, token), pod.clone());
        self.still_watcher()?;
        // Bounded before they are there: a change takes the API server a moment to know.
        for object in &mut self.objects {
            if let Some(policy) = bounded(object, config) {
                *object = policy;
            }
        }
        self.objects.sort_by_key(|object| text(object, "/kind") != "Namespace");
        objects::apply_all(&cluster.client, &self.objects).await?;
        for (name, data) in secrets {
            let metadata = json!({"namespace": namespace, "name": name});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
            objects::apply(&cluster.client, &secret).await?;
        }
        objects::apply(&cluster.client, &to_homeserver(&namespace, cluster.variable("SYNAPSE_URL")?)?).await?;
        self.configure(cluster, &pod, config).await
    }

    /// The watcher starts Jobs by itself; most scenes start theirs, and one that wants it asks for a replica.
    fn still_watcher(&mut self) -> Result<()> {
        let found = self.objects.iter_mut().find(|object| text(object, "/kind") == "Deployment");
        let spec = found.and_then(|object| object.pointer_mut("/spec")).context("job/ holds no Deployment")?;
        merge(spec, &json!({"replicas": 0}));
        let container = spec.pointer_mut("/template/spec/containers/0").context("the Deployment has no container")?;
        merge(container, &json!({"image": IMAGE, "imagePullPolicy": "Never"}));
        Ok(())
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn reconfigure(&self, cluster: &Cluster, config: &Value) -> Result<()> {
        let cron_job = self.objects.iter().find(|object| text(object, "/kind") == "CronJob");
        let pod = cron_job.and_then(|object| object.pointer("/spec/jobTemplate/spec/template/spec"));
        self.configure(cluster, pod.context("the CronJob has no pod template")?, config).await
    }

    async fn configure(&self, cluster: &Cluster, pod: &Value, config: &Value) -> Result<()> {
        let volumes = pod.pointer("/volumes").and_then(Value::as_array).into_iter().flatten();
        let name =
            volumes.map(|volume| text(volume, "/configMap/name")).find(|name| !name.is_empty()).unwrap_or(SHIPPED);
        // JSON is YAML too.
        let data = json!({"config.yaml": serde_json::to_string_pretty(config)?});
        let metadata = json!({"namespace": self.namespace, "name": name});
        let chosen = config.clone();
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        objects::apply(&cluster.client, &config).await?;
        self.bound_to(cluster, &chosen).await
    }

    /// Bounds the verifier to the namespaces of a configuration, and leaves its own configuration as it is.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn bound_to(&self, cluster: &Cluster, config: &Value) -> Result<()> {
        let policies = self.objects.iter().filter(|object| text(object, "/kind") == "ValidatingAdmissionPolicy");
        for policy in policies.filter_map(|policy| bounded(policy, config)) {
            objects::apply(&cluster.client, &policy).await?;
        }
        Ok(())
    }

    /// Deletes what has no namespace, the namespace with all in it, and what stands in namespaces of others.
    ///
    /// # Errors
    /// The API server refused something.
    pub async fn delete(&self, cluster: &Cluster) -> Result<()> {
        for object in &self.objects {
            if text(object, "/metadata/namespace") != self.namespace {
                objects::delete(&cluster.client, object).await?;
            }
        }
        Ok(())
    }
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("no manifests at {}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "no manifests in {}", folder.display());
    Ok(files)
}

fn is_config(object: &Value) -> bool {
    text(object, "/kind") == "ConfigMap" && object.pointer("/data/config.yaml").is_some()
}

/// A policy of the verifier that bounds it to namespaces or an image, with those of a configuration; `None` for another
/// policy.
fn bounded(policy: &Value, config: &Value) -> Option<Value> {
    let list = |pointer: &str| config.pointer(pointer).cloned().unwrap_or_else(|| json!([])).to_string();
    let selected = match text(config, "/productNamespaces/selector").split_once('=') {
        Some((key, value)) => format!("{key:?} in variables.labels && variables.labels[{key:?}] == {value:?}"),
        None => "false".to_owned(),
    };
    let mut policy = policy.clone();
    let variables = policy.pointer_mut("/spec/variables")?.as_array_mut()?;
    let mut found = false;
    let adds = variables.iter().any(|variable| text(variable, "/name") == "probeImage");
    for variable in variables {
        // A JSON list is a CEL list.
        let expression = match text(variable, "/name") {
            // Those of containers, there.
            "names" if adds => continue,
            "names" => list("/productNamespaces/names"),
            "exclude" => list("/productNamespaces/exclude"),
            "probe" => list("/probeNamespaces"),
            "isSelected" => selected.clone(),
            "probeImage" => json!(text(config, "/probe/image")).to_string(),
            "image" => json!(IMAGE.split(':').next()).to_string(),
            _ => continue,
        };
        (found, *variable) = (true, json!({"name": text(variable, "/name"), "expression": expression}));
    }
    found.then_some(policy)
}

/// The Secrets that the pod reads, each key filled with the token.
fn secrets(pod: &Value, token: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let variables = pod.pointer("/containers/0/env").and_then(Value::as_array).into_iter().flatten();
    for source in variables.filter_map(|variable| variable.pointer("/valueFrom/secretKeyRef")) {
        let keys = found.entry(text(source, "/name").to_owned()).or_default();
        keys.insert(text(source, "/key").to_owned(), token.to_owned());
    }
    let volumes = pod.pointer("/volumes").and_then(Value::as_array).into_iter().flatten();
    for secret in volumes.filter_map(|volume| volume.pointer("/secret")) {
        let keys = found.entry(text(secret, "/secretName").to_owned()).or_default();
        let items = secret.pointer("/items").and_then(Value::as_array).into_iter().flatten();
        keys.extend(items.map(|item| (text(item, "/key").to_owned(), token.to_owned())));
        if keys.is_empty() {
            keys.insert("token".to_owned(), token.to_owned());
        }
    }
    found
}

/// The way to the homeserver, which runs on the node and not on port 443, as the shipped policies take it to. Every other
/// way is theirs.
fn to_homeserver(namespace: &str, url: &str) -> Result<Value> {
    let (address, port) = url
        .strip_prefix("http://")
        .and_then(|authority| authority.split_once(':'))
        .with_context(|| format!("`{url}` is not http://ADDRESS:PORT"))?;
    let to = json!({
        "to": [{"ipBlock": {"cidr": format!("{address}/32")}}],
        "ports": [{"protocol": "TCP", "port": port.parse::<u16>()?}],
    });
    Ok(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": "homeserver"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [to]},
    }))
}

/// New names for the shipped ones, so that several installations stand beside each other.
struct Rename {
    prefix: String,
    namespace: String,
    /// Kind and name of the shipped objects that get another name.
    renamed: Vec<(String, String)>,
}

impl Rename {
    fn of(prefix: &str, objects: &[Value]) -> Self {
        let elsewhere = |object: &&Value| {
            let kind = text(object, "/kind");
            kind != "Namespace" && (is_cluster_wide(kind) || text(object, "/metadata/namespace") != SHIPPED)
        };
        let key = |object: &Value| (text(object, "/kind").to_owned(), text(object, "/metadata/name").to_owned());
        let renamed = objects.iter().filter(elsewhere).map(key).collect();
        Self { prefix: prefix.to_owned(), namespace: format!("{SHIPPED}-{prefix}"), renamed }
    }

    fn object(&mut self, object: &mut Value) {
        let kind = text(object, "/kind").to_owned();
        if kind == "Namespace" {
            merge(object, &json!({"metadata": {"name": self.namespace}}));
        } else {
            self.name_at(object, "/metadata/name", &kind);
            let role = text(object, "/roleRef/kind").to_owned();
            self.name_at(object, "/roleRef/name", &role);
            self.name_at(object, "/spec/policyName", "ValidatingAdmissionPolicy");
        }
        self.inside(object);
    }

    fn name_at(&self, object: &mut Value, pointer: &str, kind: &str) {
        let Some(Value::String(name)) = object.pointer_mut(pointer) else { return };
        if self.renamed.iter().any(|(k, n)| k == kind && n == name) {
            *name = format!("{name}-{}", self.prefix);
        }
    }

    /// References to the namespace and its service accounts, wherever they stand.
    fn inside(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    let is_reference = ["namespace", "kubernetes.io/metadata.name"].contains(&key.as_str());
                    if is_reference && field == SHIPPED { *field = json!(self.namespace) } else { self.inside(field) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.inside(item)),
            Value::String(string) => {
                let accounts = "system:serviceaccount:";
                *string = string.replace(&format!("{accounts}{SHIPPED}:"), &format!("{accounts}{}:", self.namespace));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_installations_share_no_name() {
        let shipped = parse(
            "{kind: Namespace, metadata: {name: netpol-verify}}\n---\n\
             {kind: ClusterRole, metadata: {name: netpol-verify}}\n---\n\
             {kind: ClusterRoleBinding, metadata: {name: netpol-verify}, roleRef: {kind: ClusterRole, name: netpol-verify}, \
              subjects: [{kind: ServiceAccount, name: netpol-verify, namespace: netpol-verify}]}\n---\n\
             {kind: RoleBinding, metadata: {name: view, namespace: flux-system}, roleRef: {kind: ClusterRole, name: view}}\n---\n\
             {kind: ConfigMap, metadata: {name: netpol-verify, namespace: netpol-verify}, data: {who: 'system:serviceaccount:netpol-verify:netpol-verify'}}\n",
        )
        .unwrap();
        let mut objects = shipped.clone();
        let mut rename = Rename::of("t1", &shipped);
        for object in &mut objects {
            rename.object(object);
        }
        assert_eq!(text(&objects[0], "/metadata/name"), "netpol-verify-t1");
        assert_eq!(text(&objects[1], "/metadata/name"), "netpol-verify-t1");
        assert_eq!(text(&objects[2], "/roleRef/name"), "netpol-verify-t1");
        assert_eq!(text(&objects[2], "/subjects/0/namespace"), "netpol-verify-t1");
        assert_eq!(text(&objects[2], "/subjects/0/name"), "netpol-verify", "a name inside the namespace stays");
        assert_eq!(text(&objects[3], "/metadata/name"), "view-t1", "it stands beside those of the other installations");
        assert_eq!(text(&objects[3], "/roleRef/name"), "view", "a role that is not ours keeps its name");
        assert_eq!(text(&objects[4], "/metadata/name"), "netpol-verify");
        assert_eq!(text(&objects[4], "/data/who"), "system:serviceaccount:netpol-verify-t1:netpol-verify");
    }
}
