//! The whole lab: a customer in files, their cluster, Git, Flux and Matrix room, and the real verifier.
//!
//! ```text
//! fixture ─▶ namespaces, workloads ─▶ pods (network namespaces) ◀─ packet filter ◀─ oracle ◀─┐
//!    └────▶ Git ─merge─▶ Flux ─apply─▶ live policies ────────────────────────────────────────┘
//!                          │                │
//!                    artifact server    API server ◀──▶ netpol-verify run ──▶ Matrix room
//! ```

mod calico;
mod names;
mod verifier;
mod watcher;
pub(crate) mod workloads;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use e2e::{Fixture, flux::merge};
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use oracle::tiers::World;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::verifier::{Finished, Signal, Started, Verifier};
use crate::{
    api::{Api, Pods, Running, object::text, rights::account, store::now},
    flux::{Flux, Git, find_kustomize},
    matrix::{self, Matrix},
    net::{self, Denial, Net, rules},
};

/// The verifier's namespace and account, as `job/` names them.
pub const NAMESPACE: &str = "netpol-verify";
/// The token of that account.
pub(crate) const TOKEN: &str = "verifier";
/// The node that all pods are on.
const NODE: &str = "node-1";

/// What a lab starts from.
pub struct Setup {
    /// A folder below `tests/`.
    pub fixture: &'static str,
    /// Merged over the fixture's configuration.
    pub config: Value,
    /// How a denied connection looks.
    pub denial: Denial,
    /// Whether Calico is there: its kinds are served, and enforced in its order.
    pub calico: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { fixture: "e2e/fixtures/shop", config: json!({}), denial: Denial::Drop, calico: false }
    }
}

/// A running lab. The fixture's policies are merged and applied, and the verifier has not run yet.
pub struct Lab {
    /// The API server.
    pub api: Arc<Api>,
    /// The repository.
    pub git: Arc<Git>,
    /// Flux.
    pub flux: Arc<Flux>,
    /// The homeserver.
    pub matrix: Matrix,
    /// The network.
    pub net: Arc<Net>,
    /// The verifier.
    pub verifier: Verifier,
    /// The commit that is applied at the start.
    pub first_commit: String,
    denial: Denial,
    calico: bool,
    names: names::Names,
    _folder: TempDir,
}

/// Programs in pods of the network.
struct InPods(Arc<Net>);

impl Pods for InPods {
    fn exec(&self, pod: &str, command: Vec<String>) -> BoxFuture<'static, std::io::Result<Running>> {
        let (net, pod) = (Arc::clone(&self.0), pod.to_owned());
        async move {
            let exec = net.exec(&pod, &command).await.map_err(|error| match error {
                net::Error::NotStarted { .. } => std::io::Error::new(std::io::ErrorKind::NotFound, error),
                other => std::io::Error::other(other),
            })?;
            let end = exec.process.wait().map(|code| code.map_err(std::io::Error::other)).boxed();
            Ok(Running { stdout: Box::new(exec.stdout), stderr: Box::new(exec.stderr), end })
        }
        .boxed()
    }
}

impl Lab {
    /// Starts everything.
    ///
    /// # Errors
    /// Something that is needed is not installed, or the fixture is not right.
    pub async fn start(setup: Setup) -> Result<Self> {
        let mut fixture = Fixture::load(setup.fixture, "xx", setup.calico)?;
        let folder = tempfile::tempdir()?;
        let kustomize = find_kustomize()?;
        let net = Arc::new(Net::start().await?);
        let api = Arc::new(Api::start(Arc::new(InPods(Arc::clone(&net)))).await?);
        api.know(TOKEN, &account(NAMESPACE, "netpol-verify"));
        let roles = shipped("rbac.yaml")?;
        api.rights(|rights| rights.add(&roles));
        let git = Arc::new(Git::default());
        for (path, content) in &fixture.repository {
            git.write(path, content);
        }
        let matrix = Matrix::start().await?;
        let flux = Arc::new(Flux::start(Arc::clone(&api), Arc::clone(&git), kustomize.clone()).await?);
        merge(&mut fixture.config, &usual_config(&matrix));
        merge(&mut fixture.config, &setup.config);
        let names = names::Names::of(setup.fixture)?;
        let verifier = Verifier::prepare(folder.path(), &api, &flux, &kustomize, &names, &fixture.config)?;
        let first_commit = git.merge("The network policies so far");
        let Setup { denial, calico, .. } = setup;
        let lab = Self { api, git, flux, matrix, net, verifier, first_commit, denial, calico, names, _folder: folder };
        if calico {
            lab.serve_calico()?;
        }
        lab.populate(&fixture.objects).await?;
        lab.apply(&lab.first_commit).await?;
        Ok(lab)
    }

    /// Namespaces, the node, DNS, hosts outside, and the fixture's workloads with their pods.
    async fn populate(&self, objects: &[Value]) -> Result<()> {
        for name in ["default", "kube-system", "flux-system", NAMESPACE] {
            self.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
        }
        self.put(&workloads::node(NODE))?;
        self.names.add_hosts(&self.net).await?;
        let dns = workloads::dns();
        let is_workload = |object: &&Value| workloads::is_workload(text(object, "/kind"));
        for object in objects.iter().chain([&dns]) {
            self.put(object)?;
        }
        // The name server first: its address stands in the other pods' resolv.conf.
        self.add_workload(&dns).await?;
        let workloads = objects.iter().filter(is_workload).map(|workload| self.add_workload(workload));
        futures::future::try_join_all(workloads).await?;
        self.net.set_services(&names::Names::services(&self.api)).await?;
        self.net.set_names(self.names.all()).await?;
        Ok(())
    }

    /// Creates or changes an object, as an admin.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn put(&self, object: &Value) -> Result<Value> {
        self.api.apply(object).map_err(|refusal| anyhow!("{}: {object}", refusal.message))
    }

    /// Has the packet filter follow what the API server holds now.
    ///
    /// # Errors
    /// An object is not one, or the packet filter does not take the rules.
    pub async fn sync(&self) -> Result<()> {
        let plain = oracle::Cluster {
            namespaces: typed(self.api.all("namespaces"))?,
            pods: typed(self.api.all("pods"))?,
            policies: typed::<NetworkPolicy>(self.api.all("networkpolicies.networking.k8s.io"))?,
        };
        let others = if self.calico { self.seen_by_calico() } else { Vec::new() };
        let rules = rules(&World { plain, others }, &self.names.outside());
        Ok(self.net.enforce(&rules, self.denial).await?)
    }

    /// Has Flux fetch and apply a commit, and the packet filter follow.
    ///
    /// # Errors
    /// Flux fails; the message is Flux'.
    pub async fn apply(&self, commit: &str) -> Result<()> {
        let applied = self.flux.apply(commit).await;
        self.sync().await?;
        applied
    }

    /// Merges what is in the working copy and has Flux apply it. Gives the commit.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn merge(&self, message: &str) -> Result<String> {
        let commit = self.git.merge(message);
        self.apply(&commit).await?;
        Ok(commit)
    }

    /// Merges, has Flux apply it, and runs the verifier as the watcher does.
    ///
    /// # Errors
    /// Flux failed, or the verifier did not end.
    pub async fn merge_and_run(&self, message: &str) -> Result<Finished> {
        let commit = self.merge(message).await?;
        self.run_for(&commit).await
    }

    /// The first run, which must be green.
    ///
    /// # Errors
    /// It is not.
    pub async fn first_run(&self) -> Result<Finished> {
        let run = self.run_for(&self.first_commit).await?;
        run.expect(0)?;
        Ok(run)
    }

    /// Runs for a commit, as the watcher does.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run_for(&self, commit: &str) -> Result<Finished> {
        self.start_for(commit)?.wait().await
    }

    /// Starts a run for a commit.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_for(&self, commit: &str) -> Result<Started> {
        let expected = format!("flux-system/network-policies@{}", e2e::flux::revision(commit));
        self.verifier.start(&self.api, &[("NETPOL_VERIFY_REVISION", &expected), ("NETPOL_VERIFY_TRIGGER", "merge")])
    }

    /// Runs as the CronJob's schedule does.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run_scheduled(&self) -> Result<Finished> {
        self.verifier.start(&self.api, &[("NETPOL_VERIFY_TRIGGER", "schedule")])?.wait().await
    }

    /// Runs as `kubectl create job --from=cronjob/netpol-verify` does.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run_by_hand(&self) -> Result<Finished> {
        self.verifier.start(&self.api, &[])?.wait().await
    }

    /// The same, where the pod starts only so long after its Job was made, as in a real cluster.
    ///
    /// # Errors
    /// It does not end.
    pub async fn run_by_hand_after(&self, pause: Duration) -> Result<Finished> {
        let job = self.verifier.make_job(&self.api)?;
        tokio::time::sleep(pause).await;
        self.verifier.start_pod(job, &[])?.wait().await
    }

    /// Replaces a text in a live policy's spec, as `kubectl edit` does, and has the packet filter follow.
    ///
    /// # Errors
    /// There is no such policy, or it does not hold `from`.
    pub async fn edit(&self, namespace: &str, name: &str, from: &str, to: &str) -> Result<()> {
        let policy = self.api.get("networkpolicies.networking.k8s.io", namespace, name);
        let mut policy = policy.with_context(|| format!("there is no policy {namespace}/{name}"))?;
        let spec = policy.get("spec").map(Value::to_string).unwrap_or_default();
        anyhow::ensure!(spec.contains(from), "{namespace}/{name} does not hold `{from}`: {spec}");
        let spec: Value = serde_json::from_str(&spec.replace(from, to))?;
        let directions = spec.as_object().into_iter().flatten().filter(|(key, _)| key.ends_with("gress"));
        let fields: serde_json::Map<String, Value> =
            directions.map(|(key, _)| (format!("f:{key}"), json!({}))).collect();
        let editor = json!({
            "manager": "kubectl-edit", "operation": "Update", "apiVersion": "networking.k8s.io/v1", "time": now(),
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
        });
        if let Some(managers) = policy.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
            managers.push(editor);
        }
        merge(&mut policy, &json!({ "spec": null }));
        merge(&mut policy, &json!({ "spec": spec }));
        let kind = self.api.kind_of(&policy).map_err(|refusal| anyhow!(refusal.message))?;
        let updated = self.api.store(|store| store.update(&kind, namespace, name, policy, false));
        updated.map_err(|refusal| anyhow!(refusal.message))?;
        self.sync().await
    }
}

/// Objects of a manifest that `job/` ships.
fn shipped(file: &str) -> Result<Vec<Value>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../job").join(file);
    e2e::objects::parse(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
}

fn typed<T: DeserializeOwned>(objects: Vec<Value>) -> Result<Vec<T>> {
    objects.into_iter().map(|object| Ok(serde_json::from_value(object)?)).collect()
}

/// Short times, so that a test is short too.
fn usual_config(matrix: &Matrix) -> Value {
    json!({
        "schema": "netpol-verify/config/v1",
        "cluster": "lab",
        "kustomizations": [{"namespace": "flux-system", "name": "network-policies"}],
        "matrix": {"homeserver": matrix.url(), "room": matrix::ALIAS, "mention": [matrix::READER]},
        "commitUrl": "https://git.example.org/infra/commit/{sha}",
        "probe": {"settle": "2s"},
        "flux": {"wait": "5s", "stuck": "2s"},
    })
}
