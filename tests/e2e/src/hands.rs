//! What people and accidents do to the cluster in a scenario, beside merges. `tests/lab` has the same verbs.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::Result;
use futures::FutureExt as _;
use serde_json::json;

use crate::{
    DataPlane, Flux, Scene, Started, eventually, fixture, flux,
    objects::{self, Kind, text},
    poll::seconds,
};

const LEASE: Kind<'static> = Kind("coordination.k8s.io/v1", "Lease");

/// A run that looks at a closed flow takes about so long from its Lease to its end.
pub const RUN: Duration = Duration::from_millis(5500);

impl Scene {
    /// What enforces the policies.
    ///
    /// # Errors
    /// It is one that the scenarios do not know.
    pub fn data_plane(&self) -> Result<DataPlane> {
        self.cluster.data_plane()
    }

    /// Replaces a text in a live policy with `kubectl edit`. `namespace` is named as in the fixture, without `xx-`.
    ///
    /// # Errors
    /// `kubectl` failed, or the policy does not hold `from`.
    pub async fn edit_policy(&self, namespace: &str, name: &str, from: &str, to: &str) -> Result<()> {
        let (namespace, object) = (self.namespace(namespace), format!("networkpolicy/{name}"));
        self.cluster.kubectl_edit(&namespace, &object, &format!("s/{from}/{to}/")).await
    }

    /// Deletes a live policy with `kubectl delete`.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn delete_policy(&self, namespace: &str, name: &str) -> Result<()> {
        let namespace = self.namespace(namespace);
        self.cluster.kubectl(&["delete", "networkpolicy", name, "-n", &namespace]).await.map(drop)
    }

    /// Makes an object, written with `xx-` namespaces, with `kubectl create`; `manager` takes the place of `kubectl`'s
    /// own name in its `managedFields`.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn create(&self, yaml: &str, manager: Option<&str>) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, self.text(yaml))?;
        let path = file.path().to_string_lossy();
        let manager = manager.map(|name| format!("--field-manager={name}"));
        let arguments = ["create", "-f", &*path].into_iter().chain(manager.as_deref());
        self.cluster.kubectl(&arguments.collect::<Vec<_>>()).await.map(drop)
    }

    /// Changes one label of a namespace with `kubectl label`.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn label_namespace(&self, namespace: &str, label: &str) -> Result<()> {
        let namespace = self.namespace(namespace);
        self.cluster.kubectl(&["label", "namespace", &namespace, label, "--overwrite"]).await.map(drop)
    }

    /// Deletes the pods with these labels at once; their workload makes new ones.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn delete_pods(&self, namespace: &str, labels: &str) -> Result<()> {
        let namespace = self.namespace(namespace);
        let command = ["delete", "pod", "-n", &namespace, "-l", labels, "--grace-period=0", "--force"];
        self.cluster.kubectl(&command).await.map(drop)
    }

    /// Sets a Deployment's replicas, and waits until they are ready.
    ///
    /// # Errors
    /// The API server refused it, or they do not become ready.
    pub async fn scale(&self, namespace: &str, name: &str, replicas: u32) -> Result<()> {
        fixture::scale(&self.cluster.client, "Deployment", &self.namespace(namespace), name, replicas).await
    }

    /// Gives a Deployment one replica on each node, and waits until they are ready.
    ///
    /// # Errors
    /// The API server refused it, or they do not become ready.
    pub async fn one_on_each_node(&self, namespace: &str, name: &str) -> Result<()> {
        let (client, scene_namespace) = (&self.cluster.client, self.namespace(namespace));
        let labels = json!({"netpol-verify.test/spread": name});
        // The pods that this takes away must not count, hence the hash.
        let spread = json!({
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels}, "matchLabelKeys": ["pod-template-hash"],
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": scene_namespace, "name": name},
            "spec": {"template": {"metadata": {"labels": labels}, "spec": {"topologySpreadConstraints": [spread]}}},
        });
        objects::merge_patch(client, &deployment).await?;
        self.scale(namespace, name, u32::try_from(self.cluster.nodes()?.len())?).await
    }

    /// Keeps one node's data plane as it is now, whatever is done to the policies, until `story` has ended. New pods go
    /// to other nodes meanwhile: nothing would connect them there.
    ///
    /// # Errors
    /// `story` failed, or the node could not be frozen or thawed.
    pub async fn while_stale(&self, node: &str, story: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        self.cluster.kubectl(&["cordon", node]).await?;
        let frozen = self.cluster.enforcer("freeze", node).await;
        let played = if frozen.is_ok() { AssertUnwindSafe(story()).catch_unwind().await } else { Ok(Ok(())) };
        let thawed = self.cluster.enforcer("thaw", node).await;
        self.cluster.kubectl(&["uncordon", node]).await?;
        frozen.and(thawed)?;
        played.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Waits until everything in a namespace runs.
    ///
    /// # Errors
    /// It takes longer than a minute.
    pub async fn wait_until_ready(&self, namespace: &str) -> Result<()> {
        fixture::wait_until_ready(&self.cluster.client, &[self.namespace(namespace)]).await
    }

    /// Makes a second Kustomization of the scene's repository, as another team has one, and waits until it has applied
    /// a commit.
    ///
    /// # Errors
    /// The API server refused it, or Flux failed.
    pub async fn others(&self, path: &str, commit: &str) -> Result<Flux> {
        let (client, name) = (&self.cluster.client, format!("others-{}", self.prefix));
        let spec = json!({ "path": path });
        let theirs = Flux::create(client, &self.git.url, &self.flux.source, &name, &spec).await?;
        theirs.apply(commit).await?;
        Ok(theirs)
    }

    /// Ends the pod of one of Flux's controllers and waits until it is gone; its Deployment makes a new one. What
    /// source-controller had stored goes with it.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn restart_flux(&self, controller: &str) -> Result<()> {
        let label = format!("app={controller}");
        self.cluster.kubectl(&["delete", "pod", "-n", flux::NAMESPACE, "-l", &label]).await.map(drop)
    }

    /// Stops the homeserver.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop_homeserver(&self) -> Result<()> {
        self.cluster.server("stop", "synapse").await
    }

    /// Starts the homeserver again.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_homeserver(&self) -> Result<()> {
        self.cluster.server("start", "synapse").await
    }

    /// Kills the Job's process as the kernel does for lack of memory, so long after it took the Lease, unless it has
    /// ended by then. Gives whether there was something to kill.
    ///
    /// # Errors
    /// The Job does not start, or does not end.
    pub async fn kill_after(&self, job: &Started, moment: Duration) -> Result<bool> {
        let before = self.holder().await?;
        let name = eventually("the Job's pod appears", seconds(20), async || {
            Ok(self.verifier.pods(job).await?.last().map(|pod| text(pod, "/metadata/name").to_owned()))
        })
        .await?;
        eventually("the run takes the Lease or ends", seconds(40), async || {
            let now = self.holder().await?;
            let pods = self.verifier.pods(job).await?;
            let ended = pods.iter().any(|pod| ["Succeeded", "Failed"].contains(&text(pod, "/status/phase")));
            Ok((ended || (!now.is_empty() && now != before)).then_some(()))
        })
        .await?;
        tokio::time::sleep(moment).await;
        let script = format!(
            "exec ctr -n k8s.io tasks kill -s SIGKILL $(ctr -n k8s.io containers ls -q \
             'labels.\"io.kubernetes.pod.name\"=={name},labels.\"io.cri-containerd.kind\"==container')"
        );
        let killed = self.cluster.inside_each(&["sh", "-c", &script]).await?.iter().any(Result::is_ok);
        self.verifier.wait(job).await?;
        Ok(killed)
    }

    async fn holder(&self) -> Result<String> {
        let leases = objects::list(&self.cluster.client, &LEASE, self.verifier.namespace(), "").await?;
        Ok(leases.first().map(|lease| text(lease, "/spec/holderIdentity").to_owned()).unwrap_or_default())
    }
}
