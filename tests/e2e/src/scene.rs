//! One scenario's whole world, made for it, torn down after it, and described when it fails.

use std::{
    io::Write as _,
    panic::AssertUnwindSafe,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Result, anyhow, bail, ensure};
use futures::FutureExt;
use serde_json::{Value, json};

use crate::{
    Audit, Cluster, DataPlane, Finished, Fixture, Flux, Git, Room, Verifier,
    cluster::panic_text,
    eventually,
    fixture::wait_until_ready,
    flux::{self, merge},
    objects::{self, POD, text},
    poll::seconds,
};

/// Scenarios run beside each other, but those that change something for the whole cluster run alone.
static GATE: RwLock<()> = RwLock::new(());

/// What a scenario starts from.
pub struct Setup {
    /// A folder below `tests/`.
    pub fixture: &'static str,
    /// A folder below `tests/` whose `infra/` takes the place of the fixture's.
    pub repository: Option<&'static str>,
    /// Where it makes sense.
    pub data_planes: &'static [DataPlane],
    /// On so many nodes, at least.
    pub nodes: usize,
    /// It changes something that others would notice.
    pub alone: bool,
    /// Names as they stand in the fixture: one such scene at a time.
    pub real_names: bool,
    /// Merged over the Kustomization's usual spec.
    pub kustomization: Value,
    /// Merged over the fixture's configuration.
    pub config: Value,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            fixture: "e2e/fixtures/shop",
            repository: None,
            data_planes: &[DataPlane::Calico],
            nodes: 1,
            alone: false,
            real_names: false,
            kustomization: json!({}),
            config: json!({}),
        }
    }
}

/// Everything a scenario needs, up and running: the fixture is in Git and applied by Flux, its pods are ready, the
/// verifier is installed and has not run yet.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// What the names of the scene's namespaces begin with.
    pub prefix: String,
    /// The files it started from.
    pub fixture: Fixture,
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
    /// What scenarios made that no namespace of the fixture takes with it.
    left_over: Mutex<Vec<Value>>,
}

/// Runs one scenario on the cluster: makes its scene, plays `story`, tears down. A failure shows the state of all pods
/// of the scene, the verifier's logs, and the room.
///
/// # Errors
/// There is no cluster, or the story failed.
pub fn scenario(setup: Setup, story: impl AsyncFnOnce(&Scene) -> Result<()> + Send) -> Result<()> {
    let (alone, beside);
    if setup.alone {
        alone = GATE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = &alone;
    } else {
        beside = GATE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = &beside;
    }
    Cluster::enter(async move |cluster: Cluster| {
        if let Some(why) = misfit(&cluster, &setup)? {
            // Past the test harness's capture, so that nobody takes a scenario that did not play for a green one.
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            writeln!(std::io::stderr(), "{name}: not played {why}")?;
            return Ok(());
        }
        let scene = Scene::make(cluster, &setup).await?;
        let result = scene.play(story).await;
        if result.is_err() {
            scene.describe().await;
        }
        let keep = std::env::var_os("E2E_KEEP").is_some() && result.is_err();
        if !keep {
            scene.tear_down().await?;
        }
        result
    })
}

/// Why a scenario makes no sense on this cluster.
fn misfit(cluster: &Cluster, setup: &Setup) -> Result<Option<String>> {
    let (data_plane, nodes) = (cluster.data_plane()?, cluster.nodes()?.len());
    if !setup.data_planes.contains(&data_plane) {
        return Ok(Some(format!("under {data_plane:?}")));
    }
    Ok((nodes < setup.nodes).then(|| format!("on {nodes} node(s): it needs {}", setup.nodes)))
}

fn fresh_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let milliseconds = jiff::Timestamp::now().as_millisecond().rem_euclid(0xff_ffff);
    format!("t{milliseconds:x}{count:x}")
}

impl Scene {
    async fn make(cluster: Cluster, setup: &Setup) -> Result<Self> {
        let prefix = fresh_prefix();
        let calico = cluster.data_plane()? == DataPlane::Calico;
        let mut fixture = Fixture::load(setup.fixture, &prefix, calico)?;
        if let Some(folder) = setup.repository {
            fixture.repository = Fixture::load(folder, &prefix, calico)?.repository;
        }
        let room = Room::create(&cluster, &prefix).await?;
        let (source, kustomization) = if setup.real_names {
            ("infra".to_owned(), "network-policies".to_owned())
        } else {
            (format!("infra-{prefix}"), format!("network-policies-{prefix}"))
        };
        let mut config = fixture.config.clone();
        merge(&mut config, &usual_config(&kustomization, &room));
        merge(&mut config, &with_prefix(&setup.config, &prefix)?);

        let git = Git::create(&cluster, &source).await?;
        fixture.check_in(&git)?;
        objects::apply_all(&cluster.client, &fixture.objects).await?;
        let first_commit = git.merge("The network policies so far").await?;
        let client = &cluster.client;
        let flux =
            Flux::create(client, &git.url, &source, &kustomization, &with_prefix(&setup.kustomization, &prefix)?)
                .await?;
        let verifier = Verifier::install(&cluster, &prefix, &kustomization, config, &room.bot_token).await?;
        flux.apply(&first_commit).await?;
        wait_until_ready(client, &fixture.namespaces()).await?;
        Ok(Self { cluster, prefix, fixture, git, flux, room, verifier, first_commit, left_over: Mutex::default() })
    }

    async fn play(&self, story: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let played = AssertUnwindSafe(story(self)).catch_unwind().await;
        played.unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(&*panic))))
    }

    /// The scene's name of a namespace that the fixture calls `xx-NAME`.
    #[must_use]
    pub fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Replaces `xx-` by the scene's prefix, in YAML and in names such as `xx-shop/web`.
    #[must_use]
    pub fn text(&self, template: &str) -> String {
        template.replace("xx-", &format!("{}-", self.prefix))
    }

    /// Applies objects, written with `xx-` namespaces.
    ///
    /// # Errors
    /// The API server refused one.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        let objects = objects::parse(&self.text(yaml))?;
        let cluster_wide = objects.iter().filter(|object| objects::is_cluster_wide(text(object, "/kind")));
        self.left_over.lock().map_err(|_| anyhow!("an earlier apply panicked"))?.extend(cluster_wide.cloned());
        objects::apply_all(&self.cluster.client, &objects).await
    }

    /// Deletes objects, written with `xx-` namespaces.
    ///
    /// # Errors
    /// The API server refused one.
    pub async fn delete(&self, yaml: &str) -> Result<()> {
        for object in objects::parse(&self.text(yaml))? {
            objects::delete(&self.cluster.client, &object).await?;
        }
        Ok(())
    }

    /// Commits, pushes, and waits until Flux has applied it. Gives the commit.
    ///
    /// # Errors
    /// Git or Flux failed.
    pub async fn merge(&self, message: &str) -> Result<String> {
        let commit = self.git.merge(message).await?;
        self.flux.apply(&commit).await?;
        Ok(commit)
    }

    /// Merges, waits for Flux, and runs the verifier as the watcher does. Gives the run's end.
    ///
    /// # Errors
    /// Git, Flux or the Job failed.
    pub async fn merge_and_run(&self, message: &str) -> Result<Finished> {
        self.verifier.run_for(&self.merge(message).await?).await
    }

    /// The first run, which takes the state that later ones compare with, and which must be green.
    ///
    /// # Errors
    /// It is not green.
    pub async fn first_run(&self) -> Result<Finished> {
        let run = self.verifier.run_for(&self.first_commit).await?;
        run.expect(0)?;
        Ok(run)
    }

    /// The names of the running pods of a workload, by label, in one of the scene's namespaces.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Value>> {
        objects::list(&self.cluster.client, &POD, &self.namespace(namespace), labels).await
    }

    /// The verifier's requests from now on.
    ///
    /// # Errors
    /// There is no audit log.
    pub fn audit(&self) -> Result<Audit> {
        Audit::begin(&self.cluster, self.verifier.namespace())
    }

    /// Whether a connection from one pod to an address opens right now, by `nc` in the pod: the scenario's own eyes.
    ///
    /// # Errors
    /// There is no such pod.
    pub async fn opens(&self, namespace: &str, labels: &str, address: &str, port: u16) -> Result<bool> {
        let pods = self.pods(namespace, labels).await?;
        let Some(pod) = pods.first() else { bail!("no pod `{labels}` in `{namespace}`") };
        let (pod, port) = (text(pod, "/metadata/name"), port.to_string());
        let namespace = self.namespace(namespace);
        let command = ["exec", "-n", &namespace, pod, "--", "nc", "-zvnw1", address, &port];
        Ok(self.cluster.kubectl(&command).await.is_ok())
    }

    /// The address of the pod with these labels on a node.
    ///
    /// # Errors
    /// There is none.
    pub async fn address_on(&self, node: &str, namespace: &str, labels: &str) -> Result<String> {
        let pods = self.pods(namespace, labels).await?;
        let pod = pods.iter().find(|pod| text(pod, "/spec/nodeName") == node);
        let pod = pod.ok_or_else(|| anyhow!("no pod `{labels}` in `{namespace}` on {node}"))?;
        Ok(text(pod, "/status/podIP").to_owned())
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

    async fn describe(&self) {
        let mut namespaces = self.fixture.namespaces();
        namespaces.push(self.verifier.namespace().to_owned());
        for namespace in namespaces {
            let pods =
                self.cluster.kubectl(&["get", "pods,jobs,networkpolicies", "-o", "wide", "-n", &namespace]).await;
            eprintln!("--- {namespace}\n{}", pods.unwrap_or_else(|error| format!("{error:#}")));
        }
        let events = self.cluster.kubectl(&["get", "events", "-n", self.verifier.namespace()]).await;
        eprintln!("--- events of the verifier\n{}", events.unwrap_or_default());
        // Reports are on the other stream, and belong to the error.
        let command = format!("grep -h ' stderr ' /var/log/pods/{}_*/*/*.log", self.verifier.namespace());
        let logs = self.cluster.inside_each(&["sh", "-c", &command]).await.unwrap_or_default();
        eprintln!("--- logs of the verifier\n{}", logs.into_iter().flatten().collect::<String>());
        let conditions = self.flux.status().await.map(|now| now.pointer("/status/conditions").cloned());
        eprintln!(
            "--- Flux\n{}",
            conditions.map_or_else(|error| format!("{error:#}"), |all| all.unwrap_or_default().to_string())
        );
        let controllers = self.flux_log().await;
        eprintln!("--- logs of Flux\n{}", controllers.unwrap_or_else(|error| format!("{error:#}")));
        match self.room.messages().await {
            Ok(messages) => messages.iter().for_each(|one| eprintln!("--- message {:?}\n{}", one.thread, one.body)),
            Err(error) => eprintln!("--- no messages: {error:#}"),
        }
    }

    /// The last that Flux's controllers said of this scene's objects.
    async fn flux_log(&self) -> Result<String> {
        let labels = "app.kubernetes.io/part-of=flux";
        let said = ["logs", "-n", flux::NAMESPACE, "-l", labels, "--tail=-1", "--prefix"];
        let said = self.cluster.kubectl(&said).await?;
        let about = |line: &&str| line.contains(&self.flux.name) || line.contains(&self.flux.source);
        let lines: Vec<&str> = said.lines().filter(about).collect();
        Ok(lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n"))
    }

    async fn tear_down(&self) -> Result<()> {
        self.flux.delete().await?;
        self.verifier.uninstall().await?;
        let left_over = self.left_over.lock().map_err(|_| anyhow!("an earlier apply panicked"))?.clone();
        let is_namespace = |object: &&Value| text(object, "/kind") == "Namespace";
        for object in self.fixture.objects.iter().filter(is_namespace).chain(&left_over) {
            objects::delete(&self.cluster.client, object).await?;
        }
        Ok(())
    }
}

/// A part of a scenario's setup, with the scene's own names of namespaces.
fn with_prefix(value: &Value, prefix: &str) -> Result<Value> {
    Ok(serde_json::from_str(&value.to_string().replace("xx-", &format!("{prefix}-")))?)
}

/// What every scene's verifier is told beside its fixture's configuration: short times, so that a test is short too.
fn usual_config(kustomization: &str, room: &Room) -> Value {
    json!({
        "schema": "netpol-verify/config/v1",
        "cluster": "test",
        "kustomizations": [{"namespace": flux::NAMESPACE, "name": kustomization}],
        "matrix": {"homeserver": room.server(), "room": room.id, "mention": [room.reader]},
        "commitUrl": "https://git.example.org/infra/commit/{sha}",
        "probe": {"settle": "10s"},
        "flux": {"wait": "30s", "stuck": "10s"},
    })
}
