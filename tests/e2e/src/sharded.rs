//! The sweep by several pods of one Indexed Job (`job/sharded`).

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    Finished, Started, Verifier, eventually,
    flux::merge,
    log,
    objects::{self, Kind, POD, text},
    poll::seconds,
};

const CONFIG_MAP: Kind<'static> = Kind("v1", "ConfigMap");

impl Verifier {
    /// Installs the component beside it. A pod that ends before its time is replaced so often.
    ///
    /// # Errors
    /// The manifests are not there, or the API server refused one.
    pub async fn install_sharded(&self, replaced: u32) -> Result<()> {
        let args = ["run", "--sweep", "-o", "json", "--log-format", "json"];
        for mut object in self.manifests.sharded(&self.prefix, &args)? {
            if text(&object, "/kind") == "CronJob" {
                let job = json!({"spec": {"backoffLimitPerIndex": replaced}});
                merge(&mut object, &json!({"spec": {"suspend": true, "jobTemplate": job}}));
            }
            objects::apply(&self.cluster.client, &object).await?;
        }
        Ok(())
    }

    /// Starts a sweep by several pods with the real `kubectl create job --from`, as a person does.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn start_sharded(&self) -> Result<Started> {
        let name = self.next_name("sharded");
        let from = format!("--from=cronjob/{}-sweep", self.manifests.cron_job);
        self.cluster.kubectl(&["create", "job", &name, &from, "-n", self.namespace()]).await?;
        Ok(Started { name })
    }

    /// Waits until the first pod, which makes the run, has ended.
    ///
    /// # Errors
    /// It does not end within three minutes.
    pub async fn wait_for_first(&self, job: &Started) -> Result<Finished> {
        let pod = eventually(&format!("the first pod of {} ends", job.name), seconds(180), async || {
            let pods = self.pods_with_index(job, 0).await?;
            Ok(pods.into_iter().find(|pod| ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))))
        })
        .await?;
        let code = pod.pointer("/status/containerStatuses/0/state/terminated/exitCode").and_then(Value::as_i64);
        let streams = log::of_ended_pod(&self.cluster, &pod).await?;
        let code = code.with_context(|| format!("{} ended without an exit code\n{}", job.name, streams.stderr))?;
        Finished::new(code, streams, self.pods(job).await?.len(), &self.prefix)
    }

    /// The pods of one completion index of a Job: more than one where it was replaced.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn pods_with_index(&self, job: &Started, index: usize) -> Result<Vec<Value>> {
        let labels =
            format!("batch.kubernetes.io/job-name={},batch.kubernetes.io/job-completion-index={index}", job.name);
        objects::list(&self.cluster.client, &POD, self.namespace(), &labels).await
    }

    /// Waits until a pod of a Job was given something to probe, and has not answered yet; gives its index.
    ///
    /// # Errors
    /// None is within a minute.
    pub async fn at_work(&self, job: &Started) -> Result<usize> {
        let path = "/metadata/uid";
        let kind = Kind("batch/v1", "Job");
        let all = objects::list(&self.cluster.client, &kind, self.namespace(), "").await?;
        let this = all.iter().find(|object| text(object, "/metadata/name") == job.name).context("the Job is gone")?;
        eventually("a pod has something to probe", seconds(60), async || {
            let places = objects::list(&self.cluster.client, &CONFIG_MAP, self.namespace(), "").await?;
            let open = |place: &&Value| {
                text(place, "/data/job") == text(this, path) && place.pointer("/binaryData/answer.json.gz").is_none()
            };
            let name = places.iter().find(open).map(|place| text(place, "/metadata/name"));
            Ok(name.and_then(|name| name.rsplit('-').next()?.parse().ok()))
        })
        .await
    }
}
