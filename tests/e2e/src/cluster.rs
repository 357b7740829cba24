//! The running test cluster: where it is, a client for its API, and its servers.

use std::{
    collections::BTreeMap,
    fs::File,
    future::Future,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::process::Command;

/// What enforces the policies; it decides how a denied connection looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlane {
    /// Drops: a denied connection times out.
    Calico,
    /// Rejects: a denied connection is refused at once.
    KubeRouter,
    /// Drops; a second reading of the same policies.
    KubeNetworkPolicies,
}

impl DataPlane {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Calico, Self::KubeRouter, Self::KubeNetworkPolicies];

    fn parse(name: &str) -> Result<Self> {
        match name {
            "calico" => Ok(Self::Calico),
            "kube-router" => Ok(Self::KubeRouter),
            // With the kinds of the network policy API, or without.
            "kube-network-policies" | "kube-network-policies-anp" | "kube-network-policies-cnp" => {
                Ok(Self::KubeNetworkPolicies)
            }
            other => bail!("no scenario knows the data plane `{other}`"),
        }
    }
}

/// The test cluster, and an admin's access to it.
#[derive(Clone)]
pub struct Cluster {
    variables: BTreeMap<String, String>,
    /// An admin client: for set-up and for playing the people of the story, never in the verifier's place.
    pub client: kube::Client,
}

impl Cluster {
    /// Runs `story` in the node's network, on a thread and runtime of its own: the cluster's addresses exist nowhere
    /// else. Processes that it starts are in that network too.
    ///
    /// # Errors
    /// The cluster is not up, or `story` failed or panicked.
    pub fn enter<F, S>(story: F) -> Result<()>
    where
        F: FnOnce(Self) -> S + Send,
        S: Future<Output = Result<()>>,
    {
        let state = state_folder();
        std::thread::scope(|scope| {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let inside = std::thread::Builder::new().name(name).spawn_scoped(scope, || {
                enter_network(&state)?;
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
                runtime.block_on(async { story(Self::connect(&state).await?).await })
            });
            inside?.join().map_err(|panic| anyhow!("panicked: {}", panic_text(&*panic)))?
        })
    }

    async fn connect(state: &Path) -> Result<Self> {
        // A second call finds it installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut variables = read_variables(&state.join("env"))?;
        variables.extend(read_variables(&state.join("matrix.env"))?);
        let kubeconfig = variables.get("KUBECONFIG").context("`KUBECONFIG` is not in the cluster's env file")?;
        let config =
            kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default())
                .await?;
        let client = kube::Client::try_from(config)?;
        Ok(Self { variables, client })
    }

    /// A variable of the cluster's `env` and `matrix.env`.
    ///
    /// # Errors
    /// It is not there.
    pub fn variable(&self, name: &str) -> Result<&str> {
        self.variables.get(name).map(String::as_str).with_context(|| format!("`{name}` is not in the cluster's env"))
    }

    /// The data plane that runs.
    ///
    /// # Errors
    /// It is one that the scenarios do not know.
    pub fn data_plane(&self) -> Result<DataPlane> {
        DataPlane::parse(self.variable("DATA_PLANE")?)
    }

    /// The names of the nodes; the first one has the control plane.
    ///
    /// # Errors
    /// The cluster was brought up by scripts that know one node only.
    pub fn nodes(&self) -> Result<Vec<&str>> {
        Ok(self.variable("NODES")?.split(' ').collect())
    }

    /// Freezes, thaws, stops, starts or kills what enforces the policies on one node, as `enforcer ACTION NODE` does.
    ///
    /// # Errors
    /// The script failed.
    pub async fn enforcer(&self, action: &str, node: &str) -> Result<()> {
        run(Command::new(self.variable("ENFORCER")?).args([action, node])).await.map(drop)
    }

    /// Starts, stops or kills one of the node's servers (`synapse`, …), as `server ACTION NAME` does.
    ///
    /// # Errors
    /// The script failed.
    pub async fn server(&self, action: &str, name: &str) -> Result<()> {
        run(Command::new(self.variable("SERVER")?).args([action, name])).await.map(drop)
    }

    /// Runs a command in the first node's namespaces and gives its standard output.
    ///
    /// # Errors
    /// It failed; the error holds its standard error.
    pub async fn inside(&self, command: &[&str]) -> Result<String> {
        run(Command::new(self.variable("INSIDE")?).args(command)).await
    }

    /// The same in each node's namespaces: what each node said, in the order of [`Cluster::nodes`].
    ///
    /// # Errors
    /// The nodes are not known.
    pub async fn inside_each(&self, command: &[&str]) -> Result<Vec<Result<String>>> {
        let first = self.variable("INSIDE")?;
        let mut said = Vec::new();
        for (number, node) in self.nodes()?.into_iter().enumerate() {
            let script = if number == 0 { first.to_owned() } else { format!("{first}-{node}") };
            said.push(run(Command::new(script).args(command)).await);
        }
        Ok(said)
    }

    /// Runs the real `kubectl` as admin, for what people do by hand and leaves its name in `managedFields`.
    ///
    /// # Errors
    /// It failed; the error holds its standard error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(Command::new(self.variable("KUBECTL")?).args(arguments)).await
    }

    /// Edits one object with `kubectl edit`, where the editor is `sed -i SCRIPT`.
    ///
    /// # Errors
    /// `kubectl` failed, or the script changed nothing.
    pub async fn kubectl_edit(&self, namespace: &str, object: &str, script: &str) -> Result<()> {
        let mut command = Command::new(self.variable("KUBECTL")?);
        command.args(["edit", "-n", namespace, object]).env("KUBE_EDITOR", format!("sed -i {script}"));
        let said = run(&mut command).await?;
        ensure!(said.contains("edited"), "`kubectl edit {object}` with `{script}` changed nothing: {said}");
        Ok(())
    }
}

/// The folder of the cluster's state, as `tests/cluster/state.sh` chooses it.
fn state_folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/cluster");
    std::env::var_os("NETPOL_CLUSTER_STATE").map_or_else(default, PathBuf::from)
}

/// Moves this thread into the node's network; threads and processes that it starts follow.
fn enter_network(state: &Path) -> Result<()> {
    let hint = || format!("no cluster at {}: run `make cluster` first", state.display());
    ensure!(state.join("ready").exists(), hint());
    let pid = std::fs::read_to_string(state.join("init.pid")).with_context(hint)?;
    let network = File::open(format!("/proc/{}/ns/net", pid.trim())).with_context(hint)?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter the node's network")
}

/// Reads `NAME='value'` lines.
fn read_variables(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect())
}

/// Runs a process to its end and gives its standard output.
pub(crate) async fn run(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().await.with_context(|| format!("cannot start {:?}", command.as_std()))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    ensure!(status.success(), "{:?}: {status}\n{stdout}{}", command.as_std(), String::from_utf8_lossy(&stderr));
    Ok(stdout)
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
