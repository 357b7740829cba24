//! The verifier in the cluster: Jobs made from its CronJob, and what each of them ended with.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    Cluster, Report, eventually,
    flux::{self, merge},
    install::Manifests,
    log::{self, Streams},
    objects::{self, Kind, POD, text},
    poll::seconds,
};

const CRON_JOB: Kind<'static> = Kind("batch/v1", "CronJob");

/// An installed verifier.
pub struct Verifier {
    pub(crate) cluster: Cluster,
    pub(crate) manifests: Manifests,
    kustomization: String,
    pub(crate) prefix: String,
    config: std::sync::Mutex<Value>,
    jobs: std::sync::atomic::AtomicU32,
}

/// A Job that was made.
#[derive(Debug, Clone)]
pub struct Started {
    /// The Job's name.
    pub name: String,
}

/// A Job that ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code of its last pod.
    pub code: i64,
    report: Option<Report>,
    /// What its last pod wrote.
    pub streams: Streams,
    /// How many pods it took.
    pub pods: usize,
}

impl Finished {
    /// The end of a run with this exit code, which wrote this and took so many pods, in the scene with this prefix.
    ///
    /// # Errors
    /// It printed something that is no report.
    pub fn new(code: i64, streams: Streams, pods: usize, prefix: &str) -> Result<Self> {
        let report: Option<Report> = match streams.stdout.trim() {
            "" => None,
            printed => {
                Some(serde_json::from_str(printed).with_context(|| format!("not one report on stdout: {printed}"))?)
            }
        };
        report.iter().try_for_each(|report| report.keep(prefix))?;
        Ok(Self { code, report, streams, pods })
    }

    /// The report that it printed.
    ///
    /// # Errors
    /// It printed none: the error holds its log.
    pub fn report(&self) -> Result<&Report> {
        let Streams { stdout, stderr } = &self.streams;
        self.report.as_ref().with_context(|| format!("no report; exit code {}\n{stdout}\n{stderr}", self.code))
    }

    /// The report, after making sure of the exit code and that the verdict in the report is the one it stands for.
    ///
    /// # Errors
    /// Another exit code, no report, or a verdict that belongs to another code.
    pub fn expect(&self, code: i64) -> Result<&Report> {
        self.report()?.expect(Some(self.code), code, &self.streams.stderr)
    }
}

impl Verifier {
    /// Installs it for one scene.
    ///
    /// # Errors
    /// The manifests are not there, or the API server refused one.
    pub async fn install(
        cluster: &Cluster,
        prefix: &str,
        kustomization: &str,
        config: Value,
        token: &str,
    ) -> Result<Self> {
        let mut manifests =
            Manifests::load(cluster, prefix, config.pointer("/probe/ephemeral") == Some(&json!(true))).await?;
        manifests.apply(cluster, &config, token).await?;
        Ok(Self {
            cluster: cluster.clone(),
            manifests,
            kustomization: kustomization.to_owned(),
            prefix: prefix.to_owned(),
            config: config.into(),
            jobs: 0.into(),
        })
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.manifests.namespace
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> Value {
        self.config.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Merges `change` into its configuration.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn configure(&self, change: &Value) -> Result<()> {
        let config = {
            let mut config = self.config.lock().map_err(|_| anyhow::anyhow!("an earlier change panicked"))?;
            merge(&mut config, change);
            config.clone()
        };
        self.manifests.reconfigure(&self.cluster, &config).await
    }

    /// The objects that it is installed from.
    #[must_use]
    pub fn objects(&self) -> &[Value] {
        self.manifests.objects()
    }

    /// Bounds its account to the namespaces of another configuration than its own.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn bound_to(&self, config: &Value) -> Result<()> {
        self.manifests.bound_to(&self.cluster, config).await
    }

    pub(crate) fn next_name(&self, why: &str) -> String {
        format!("{why}-{}", self.jobs.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }

    /// Starts a Job as the watcher does for a commit that Flux applied or failed to apply.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn start_for(&self, commit: &str) -> Result<Started> {
        let expected = format!("{}/{}@{}", flux::NAMESPACE, self.kustomization, flux::revision(commit));
        let environment = [("NETPOL_VERIFY_REVISION", expected.as_str()), ("NETPOL_VERIFY_TRIGGER", "merge")];
        self.start("merge", &environment).await
    }

    /// Starts a Job as the CronJob's controller does when its time has come.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn start_scheduled(&self) -> Result<Started> {
        self.start("scheduled", &[("NETPOL_VERIFY_TRIGGER", "schedule")]).await
    }

    /// Runs one that looks at everything, on every node, as a scheduled one does once a day.
    ///
    /// # Errors
    /// See [`Self::wait`].
    pub async fn run_sweep(&self) -> Result<Finished> {
        let environment = [("NETPOL_VERIFY_TRIGGER", "schedule"), ("NETPOL_VERIFY_SWEEP", "true")];
        self.wait(&self.start("sweep", &environment).await?).await
    }

    /// Starts a Job with the real `kubectl create job --from`, as a person does.
    ///
    /// # Errors
    /// `kubectl` failed.
    pub async fn start_by_hand(&self) -> Result<Started> {
        let name = self.next_name("by-hand");
        let from = format!("--from=cronjob/{}", self.manifests.cron_job);
        self.cluster.kubectl(&["create", "job", &name, &from, "-n", self.namespace()]).await?;
        Ok(Started { name })
    }

    async fn start(&self, why: &str, environment: &[(&str, &str)]) -> Result<Started> {
        let name = self.next_name(why);
        let cron_job = objects::list(&self.cluster.client, &CRON_JOB, self.namespace(), "").await?;
        let cron_job = cron_job.first().context("the CronJob is gone")?;
        let mut template = cron_job.pointer("/spec/jobTemplate").context("the CronJob has no template")?.clone();
        let path = "/spec/template/spec/containers/0";
        let container = template.pointer_mut(path).and_then(Value::as_object_mut).context("no container")?;
        let variables = container.entry("env").or_insert_with(|| json!([])).as_array_mut().context("env is no list")?;
        variables.extend(environment.iter().map(|(name, value)| json!({"name": name, "value": value})));
        let owner = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
            "name": text(cron_job, "/metadata/name"), "uid": text(cron_job, "/metadata/uid"),
        });
        merge(
            &mut template,
            &json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {
                    "name": name, "namespace": self.namespace(), "ownerReferences": [owner],
                    "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
                },
            }),
        );
        objects::apply(&self.cluster.client, &template).await?;
        Ok(Started { name })
    }

    /// The pods of a Job, oldest first.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn pods(&self, job: &Started) -> Result<Vec<Value>> {
        let labels = format!("batch.kubernetes.io/job-name={}", job.name);
        let mut pods = objects::list(&self.cluster.client, &POD, self.namespace(), &labels).await?;
        pods.sort_by_key(|pod| text(pod, "/metadata/creationTimestamp").to_owned());
        Ok(pods)
    }

    /// Waits until a Job's pod has ended. The template allows one pod a Job, so that this is the Job's end too; the Job
    /// itself says so only seconds later.
    ///
    /// # Errors
    /// It does not end within two minutes.
    pub async fn wait(&self, job: &Started) -> Result<Finished> {
        eventually(&format!("job {} ends", job.name), seconds(120), async || {
            let pods = self.pods(job).await?;
            let ended = pods.iter().any(|pod| ["Succeeded", "Failed"].contains(&text(pod, "/status/phase")));
            Ok(ended.then_some(()))
        })
        .await?;
        self.finished(job).await
    }

    async fn finished(&self, job: &Started) -> Result<Finished> {
        let pods = self.pods(job).await?;
        let pod = pods.last().with_context(|| format!("job {} left no pod", job.name))?;
        let code = pod.pointer("/status/containerStatuses/0/state/terminated/exitCode").and_then(Value::as_i64);
        let streams = log::of_ended_pod(&self.cluster, pod).await?;
        let code = code.with_context(|| format!("job {} ended without an exit code\n{}", job.name, streams.stderr))?;
        Finished::new(code, streams, pods.len(), &self.prefix)
    }

    /// Starts a Job for a commit, as the watcher does, and waits for its end.
    ///
    /// # Errors
    /// See [`Self::start_for`] and [`Self::wait`].
    pub async fn run_for(&self, commit: &str) -> Result<Finished> {
        self.wait(&self.start_for(commit).await?).await
    }

    /// Starts a Job by hand and waits for its end.
    ///
    /// # Errors
    /// See [`Self::start_by_hand`] and [`Self::wait`].
    pub async fn run_by_hand(&self) -> Result<Finished> {
        self.wait(&self.start_by_hand().await?).await
    }

    /// Runs two that a person starts at the same time, as near as the API server allows: `kubectl` itself may take seconds
    /// on a busy machine.
    ///
    /// # Errors
    /// See [`Self::run_by_hand`].
    pub async fn run_two_by_hand(&self) -> Result<(Finished, Finished)> {
        let from = format!("--from=cronjob/{}", self.manifests.cron_job);
        let mut jobs = Vec::new();
        for _ in 0..2 {
            let name = self.next_name("by-hand");
            let dry = ["create", "job", &name, &from, "-n", self.namespace(), "--dry-run=client", "-o", "yaml"];
            jobs.push((Started { name: name.clone() }, objects::parse(&self.cluster.kubectl(&dry).await?)?));
        }
        for object in jobs.iter().flat_map(|(_, objects)| objects) {
            objects::apply(&self.cluster.client, object).await?;
        }
        let [(one, _), (other, _)] = jobs.as_slice() else { bail!("two Jobs were made, and there are {}", jobs.len()) };
        tokio::try_join!(self.wait(one), self.wait(other))
    }

    /// Starts a scheduled Job and waits for its end.
    ///
    /// # Errors
    /// See [`Self::start_scheduled`] and [`Self::wait`].
    pub async fn run_scheduled(&self) -> Result<Finished> {
        self.wait(&self.start_scheduled().await?).await
    }

    /// Removes what the scene's namespaces do not take with them.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn uninstall(&self) -> Result<()> {
        self.manifests.delete(&self.cluster).await
    }
}
