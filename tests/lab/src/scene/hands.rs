//! What people and accidents do to the lab in a scenario, beside merges: the verbs of `e2e::hands`.

use std::time::Duration;

use anyhow::Result;
use e2e::{eventually, poll::seconds};
use serde_json::json;

use super::{Flux, Scene, Started};
use crate::{
    api::object::text,
    faults::{ALWAYS, Fault},
    flux::managed,
    world::NAMESPACE,
};

/// A run that looks at a closed flow takes about so long from its Lease to its end.
pub const RUN: Duration = Duration::from_secs(2);

impl Scene {
    /// Replaces a text in a live policy, as `kubectl edit` does.
    ///
    /// # Errors
    /// The policy does not hold `from`.
    pub async fn edit_policy(&self, namespace: &str, name: &str, from: &str, to: &str) -> Result<()> {
        self.lab.edit(&self.namespace(namespace), name, from, to).await
    }

    /// Deletes a live policy.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete_policy(&self, namespace: &str, name: &str) -> Result<()> {
        let metadata = json!({"namespace": self.namespace(namespace), "name": name});
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata});
        self.lab.delete_object(&policy)?;
        self.lab.sync().await
    }

    /// Makes an object as `kubectl create` does, under its name in `managedFields` or another one.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn create(&self, yaml: &str, manager: Option<&str>) -> Result<()> {
        for mut object in e2e::objects::parse(yaml)? {
            let entry = managed(&object, manager.unwrap_or("kubectl-create"), "Update");
            e2e::flux::merge(&mut object, &json!({"metadata": {"managedFields": [entry]}}));
            self.lab.put(&object)?;
        }
        self.lab.sync().await
    }

    /// Changes one label of a namespace.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn label_namespace(&self, namespace: &str, label: &str) -> Result<()> {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        let metadata = json!({"name": self.namespace(namespace), "labels": {key: value}});
        self.lab.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))?;
        self.lab.sync().await
    }

    /// Deletes the pods with these labels at once; their workload makes new ones.
    ///
    /// # Errors
    /// One does not start.
    pub async fn delete_pods(&self, namespace: &str, labels: &str) -> Result<()> {
        for pod in self.pods(namespace, labels).await? {
            self.lab.replace_pod(&self.namespace(namespace), text(&pod, "/metadata/name")).await?;
        }
        Ok(())
    }

    /// Sets a Deployment's replicas.
    ///
    /// # Errors
    /// There is none, or a pod does not start.
    pub async fn scale(&self, namespace: &str, name: &str, replicas: u32) -> Result<()> {
        self.lab.scale(&self.namespace(namespace), name, usize::try_from(replicas)?).await
    }

    /// In the lab everything that was applied runs.
    ///
    /// # Errors
    /// Never.
    pub async fn wait_until_ready(&self, _namespace: &str) -> Result<()> {
        Ok(())
    }

    /// A second Kustomization of the repository, which has applied a commit.
    ///
    /// # Errors
    /// Flux failed.
    pub async fn others(&self, path: &str, commit: &str) -> Result<Flux> {
        let theirs = Flux::beside(&self.lab, "others", path)?;
        theirs.apply(commit).await?;
        Ok(theirs)
    }

    /// The homeserver takes no connection any more.
    ///
    /// # Errors
    /// Never.
    pub async fn stop_homeserver(&self) -> Result<()> {
        self.lab.matrix.faults.add("*", "", ALWAYS, Fault::Reset);
        Ok(())
    }

    /// The homeserver is back.
    ///
    /// # Errors
    /// Never.
    pub async fn start_homeserver(&self) -> Result<()> {
        self.lab.matrix.faults.clear();
        Ok(())
    }

    /// Kills the run so long after it took the Lease, unless it has ended by then. Gives whether there was something to
    /// kill.
    ///
    /// # Errors
    /// It neither takes the Lease nor ends.
    pub async fn kill_after(&self, job: &Started, moment: Duration) -> Result<bool> {
        let before = self.holder();
        eventually("the run takes the Lease or ends", seconds(40), async || {
            let now = self.holder();
            Ok((job.has_ended() || (!now.is_empty() && now != before)).then_some(()))
        })
        .await?;
        tokio::time::sleep(moment).await;
        job.kill();
        Ok(self.verifier.wait(job).await?.code == 128 + 9)
    }

    fn holder(&self) -> String {
        let leases = self.lab.api.all("leases.coordination.k8s.io");
        let own = leases.iter().find(|lease| text(lease, "/metadata/namespace") == NAMESPACE);
        own.map(|lease| text(lease, "/spec/holderIdentity").to_owned()).unwrap_or_default()
    }
}
