//! The scene of a scenario of `tests/e2e`, in the lab: the same names, so that the same scenario compiles against it.
//!
//! A scenario plays once for each way in which its data planes deny: under Calico a denied connection is dropped, under
//! kube-router it is rejected. kube-network-policies drops as well; in the lab there would be nothing new to see.

#![expect(clippy::unused_async, reason = "the real cluster has these methods too, and waits in them")]

mod hands;
mod parts;

use std::{io::Write as _, panic::AssertUnwindSafe, sync::Arc};

use anyhow::{Context, Result, anyhow, bail, ensure};
pub use e2e::{DataPlane, Finished, Setup};
use e2e::{eventually, poll::seconds};
use futures::FutureExt;
use serde_json::{Value, json};

pub use self::{
    hands::RUN,
    parts::{Audit, Flux, Git, Room, Started, Verifier},
};
use crate::{
    api::object::{labels_fit, text},
    net::Denial,
    world::{self, Lab, workloads::is_workload},
};

/// What fixtures begin the names of namespaces with. Nobody else is in a lab, so it stays.
const PREFIX: &str = "xx";

/// Everything a scenario needs, as on the real cluster.
pub struct Scene {
    lab: Arc<Lab>,
    data_plane: DataPlane,
    /// Its repository.
    pub git: Git,
    /// Its Kustomization.
    pub flux: Flux,
    /// Its room.
    pub room: Room,
    /// Its verifier.
    pub verifier: Verifier,
    /// The commit that is applied at the start.
    pub first_commit: String,
}

/// Plays one scenario in a lab of its own for each way to deny.
///
/// # Errors
/// The lab does not start, or the story failed: with the verifier's requests and the room on standard error.
#[expect(clippy::needless_pass_by_value, reason = "as on the real cluster, where both are moved to another thread")]
pub fn scenario(setup: Setup, story: impl AsyncFn(&Scene) -> Result<()>) -> Result<()> {
    ensure!(setup.repository.is_none() && setup.kustomization == json!({}), "the lab's Flux renders a path, no more");
    let planes = [DataPlane::Calico, DataPlane::KubeRouter].into_iter().filter(|one| setup.data_planes.contains(one));
    for data_plane in planes {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime
            .block_on(play(&setup, data_plane, &story))
            .with_context(|| format!("with the denial of {data_plane:?}"))?;
    }
    Ok(())
}

async fn play(setup: &Setup, data_plane: DataPlane, story: &impl AsyncFn(&Scene) -> Result<()>) -> Result<()> {
    let scene = Scene::make(setup, data_plane).await?;
    let played = AssertUnwindSafe(story(&scene)).catch_unwind().await;
    let result = played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(anyhow!(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()))
    });
    if result.is_err() {
        scene.describe()?;
    }
    result
}

impl Scene {
    async fn make(setup: &Setup, data_plane: DataPlane) -> Result<Self> {
        let denial = if data_plane == DataPlane::KubeRouter { Denial::Reject } else { Denial::Drop };
        let (fixture, config) = (setup.fixture, setup.config.clone());
        let calico = data_plane == DataPlane::Calico;
        let mut lab = Lab::start(world::Setup { fixture, config, denial, calico }).await?;
        lab.verifier.set("NETPOL_VERIFY_MATRIX_SECONDS", "3");
        let lab = Arc::new(lab);
        Ok(Self {
            data_plane,
            git: Git(Arc::clone(&lab)),
            flux: Flux::of(&lab),
            room: Room::of(&lab),
            verifier: Verifier(Arc::clone(&lab)),
            first_commit: lab.first_commit.clone(),
            lab,
        })
    }

    fn describe(&self) -> Result<()> {
        let mut errors = std::io::stderr();
        writeln!(errors, "--- requests\n{}", self.lab.api.faults.requests("").join("\n"))?;
        writeln!(errors, "--- Flux\n{}", self.lab.flux.status())?;
        for one in self.lab.matrix.messages() {
            writeln!(errors, "--- message {:?}\n{}", one.thread, one.body)?;
        }
        Ok(())
    }

    /// What enforces the policies.
    ///
    /// # Errors
    /// Never.
    pub fn data_plane(&self) -> Result<DataPlane> {
        Ok(self.data_plane)
    }

    /// The scene's name of a namespace that the fixture calls `xx-NAME`.
    #[must_use]
    pub fn namespace(&self, name: &str) -> String {
        format!("{PREFIX}-{name}")
    }

    /// A text with the scene's names of namespaces.
    #[must_use]
    pub fn text(&self, template: &str) -> String {
        template.to_owned()
    }

    /// Applies objects, and starts the pods of workloads.
    ///
    /// # Errors
    /// The API server refused one, or a pod does not start.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        for object in e2e::objects::parse(yaml)? {
            match text(&object, "/kind") {
                "Pod" => self.lab.add_bare_pod(&object).await?,
                kind => {
                    self.lab.put(&object)?;
                    if is_workload(kind) {
                        self.lab.add_workload(&object).await?;
                    }
                }
            }
        }
        self.lab.sync().await
    }

    /// Deletes objects.
    ///
    /// # Errors
    /// One is not there.
    pub async fn delete(&self, yaml: &str) -> Result<()> {
        for object in e2e::objects::parse(yaml)? {
            match text(&object, "/kind") {
                "Pod" => {
                    self.lab.delete_pod(text(&object, "/metadata/namespace"), text(&object, "/metadata/name")).await?;
                }
                kind if is_workload(kind) => bail!("the lab deletes no workload"),
                _ => self.lab.delete_object(&object)?,
            }
        }
        self.lab.sync().await
    }

    /// Commits, pushes, and has Flux apply it. Gives the commit.
    ///
    /// # Errors
    /// Flux failed.
    pub async fn merge(&self, message: &str) -> Result<String> {
        self.lab.merge(message).await
    }

    /// Merges, and runs the verifier as the watcher does.
    ///
    /// # Errors
    /// Flux failed, or the run did not end.
    pub async fn merge_and_run(&self, message: &str) -> Result<Finished> {
        self.verifier.run_for(&self.merge(message).await?).await
    }

    /// The first run, which must be green.
    ///
    /// # Errors
    /// It is not.
    pub async fn first_run(&self) -> Result<Finished> {
        let run = self.verifier.run_for(&self.first_commit).await?;
        run.expect(0)?;
        Ok(run)
    }

    /// The running pods with these labels in one of the scene's namespaces.
    ///
    /// # Errors
    /// Never.
    pub async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Value>> {
        let namespace = self.namespace(namespace);
        let wanted = |pod: &Value| text(pod, "/metadata/namespace") == namespace && labels_fit(pod, labels);
        Ok(self.lab.api.all("pods").into_iter().filter(wanted).collect())
    }

    /// The verifier's requests from now on.
    ///
    /// # Errors
    /// Never.
    pub fn audit(&self) -> Result<Audit> {
        Ok(Audit::begin(&self.lab))
    }

    /// Whether a connection from one pod to an address opens right now, by `nc` in the pod.
    ///
    /// # Errors
    /// There is no such pod.
    pub async fn opens(&self, namespace: &str, labels: &str, address: &str, port: u16) -> Result<bool> {
        let pods = self.pods(namespace, labels).await?;
        let pod = pods.first().with_context(|| format!("no pod `{labels}` in `{namespace}`"))?;
        let pod = format!("{}/{}", self.namespace(namespace), text(pod, "/metadata/name"));
        let command = ["nc", "-zvnw1", address, &port.to_string()].map(str::to_owned);
        Ok(self.lab.net.exec(&pod, &command).await?.output().await?.code == 0)
    }

    /// Waits until a connection opens, or until it does not.
    ///
    /// # Errors
    /// It stays as it is for ten seconds.
    pub async fn wait_until(&self, open: bool, source: (&str, &str), target: (&str, &str), port: u16) -> Result<()> {
        let pods = self.pods(target.0, target.1).await?;
        let address = pods.first().map(|pod| text(pod, "/status/podIP").to_owned()).unwrap_or_default();
        ensure!(!address.is_empty(), "no pod `{}` in `{}`", target.1, target.0);
        let what = format!("{source:?} → {target:?}:{port} is {}", if open { "open" } else { "closed" });
        eventually(&what, seconds(10), async || {
            Ok((self.opens(source.0, source.1, &address, port).await? == open).then_some(()))
        })
        .await
    }
}
