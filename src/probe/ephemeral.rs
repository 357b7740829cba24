//! A container to probe from, for pods of which no container has a tool (semantics §8).
//!
//! ```text
//! pod ──[standing]──▶ runs already ───────────────────────────▶ its name
//!                 └─▶ absent ──[container]──▶ PATCH ──▶ wait ──▶ its name, or an EphemeralFault
//! ```
//!
//! It shares the pod's network, so that policies see the pod itself. It can be neither removed nor changed: so there is
//! at most one at a time in a pod, later runs use it too, it ends by itself, and a pod gets a few in its life.

pub mod container;
mod fault;
mod standing;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use tokio::time::{Instant, sleep, timeout};

use super::ProbePod;
use crate::config::NamespaceSet;
pub use fault::EphemeralFault;
use standing::{Standing, standing};

/// How long one may take to start, its image's way to the node included, before the next round asks again.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long the API server may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at whether it runs.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// The kubelet's mark of a static pod's image in the API.
const STATIC: &str = "kubernetes.io/config.mirror";

/// Adds containers to probe from.
pub struct Ephemeral {
    client: kube::Client,
    image: String,
    namespaces: NamespaceSet,
    pods: Mutex<BTreeMap<PodKey, Arc<tokio::sync::Mutex<Known>>>>,
    added: AtomicUsize,
}

/// Namespace and name.
type PodKey = (String, String);

/// What this run knows of a pod.
#[derive(Debug, Default)]
enum Known {
    #[default]
    Nothing,
    Runs(String),
    Never(EphemeralFault),
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ephemeral").field("image", &self.image).finish_non_exhaustive()
    }
}

impl Ephemeral {
    /// Containers of this image, in these namespaces alone.
    #[must_use]
    pub fn new(client: kube::Client, image: &str, namespaces: NamespaceSet) -> Self {
        Self { client, image: image.to_owned(), namespaces, pods: Mutex::default(), added: AtomicUsize::new(0) }
    }

    /// How many were added so far.
    #[must_use]
    pub fn added(&self) -> usize {
        self.added.load(Ordering::Relaxed)
    }

    /// The container of a pod that was found to run in this run, where there is one.
    pub async fn known(&self, pod: &ProbePod) -> Option<String> {
        match &*self.of(pod).lock().await {
            Known::Runs(name) => Some(name.clone()),
            Known::Nothing | Known::Never(_) => None,
        }
    }

    /// Forgets one that runs no more.
    pub async fn forget(&self, pod: &ProbePod) {
        *self.of(pod).lock().await = Known::Nothing;
    }

    /// The name of a container that runs in the pod, added if there is none. Whoever else wants one of the same pod
    /// waits for the same one.
    ///
    /// # Errors
    /// It may not be added, or does not run within a bounded time.
    pub async fn container(&self, pod: &ProbePod) -> Result<String, EphemeralFault> {
        let known = self.of(pod);
        let mut known = known.lock().await;
        match &*known {
            Known::Runs(name) => return Ok(name.clone()),
            Known::Never(fault) => return Err(fault.clone()),
            Known::Nothing => {}
        }
        let found = self.find(pod).await;
        match &found {
            Ok(name) => *known = Known::Runs(name.clone()),
            Err(fault) if fault.outcome() == super::Outcome::ToolMissing => *known = Known::Never(fault.clone()),
            Err(_) => {}
        }
        found
    }

    fn of(&self, pod: &ProbePod) -> Arc<tokio::sync::Mutex<Known>> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pods.entry((pod.namespace.clone(), pod.name.clone())).or_default())
    }

    async fn find(&self, pod: &ProbePod) -> Result<String, EphemeralFault> {
        self.check(&pod.namespace).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let id = format!("{}/{}", pod.namespace, pod.name);
        let began = Instant::now();
        let mut pause = PAUSES.0;
        let mut asked = None;
        loop {
            let live = answer("get", &id, pods.get(&pod.name)).await?;
            if live.metadata.deletion_timestamp.is_some() {
                return Err(EphemeralFault::Gone(id));
            }
            let late = began.elapsed() >= START_LIMIT;
            match standing(&live, &self.image) {
                Standing::Running(name) => return Ok(name),
                Standing::Spent => return Err(EphemeralFault::Spent(id)),
                Standing::Broken(name, reason) => return Err(EphemeralFault::Broken { pod: id, name, reason }),
                Standing::Stuck(name, reason) => return Err(EphemeralFault::NotStarted { pod: id, name, reason }),
                Standing::Starting(name) if late => {
                    let reason = format!("it is still starting after {} s", START_LIMIT.as_secs());
                    return Err(EphemeralFault::NotStarted { pod: id, name, reason });
                }
                Standing::Starting(_) => {}
                // It ended between two looks, or the API server lost it: once a call.
                Standing::Absent(name) if asked.is_some() => {
                    let reason = "it is not in the pod although it was added".to_owned();
                    return Err(EphemeralFault::NotStarted { pod: id, name, reason });
                }
                Standing::Absent(name) => {
                    self.add(&pods, &live, &id, &name).await?;
                    asked = Some(name);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn add(&self, pods: &Api<Pod>, live: &Pod, id: &str, name: &str) -> Result<(), EphemeralFault> {
        if live.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(STATIC)) {
            return Err(EphemeralFault::Static(id.to_owned()));
        }
        // By its name: what others add to the same pod meanwhile stays, and the same one twice is one.
        let container = container::container(name, &self.image);
        let patch = Patch::Strategic(serde_json::json!({"spec": {"ephemeralContainers": [container]}}));
        let pod = live.metadata.name.as_deref().unwrap_or_default();
        answer("patch", id, pods.patch_ephemeral_containers(pod, &PatchParams::default(), &patch)).await?;
        self.added.fetch_add(1, Ordering::Relaxed);
        tracing::info!(pod = id, container = name, image = self.image, "added an ephemeral container to probe from");
        Ok(())
    }

    /// Whether probes may start in a namespace. The API server is asked for its labels only where those can decide.
    async fn check(&self, namespace: &str) -> Result<(), EphemeralFault> {
        let none = BTreeMap::new();
        if self.namespaces.may_probe(namespace) || self.namespaces.is_product(namespace, &none) {
            return Ok(());
        }
        let elsewhere = || EphemeralFault::Elsewhere(namespace.to_owned());
        if self.namespaces.selector().is_none() {
            return Err(elsewhere());
        }
        // A list: the right that the verifier has.
        let all: Api<Namespace> = Api::all(self.client.clone());
        let one = ListParams::default().fields(&format!("metadata.name={namespace}"));
        let found = answer("list", namespace, all.list(&one)).await?;
        let labels = found.items.into_iter().next().and_then(|n| n.metadata.labels).unwrap_or_default();
        if self.namespaces.is_product(namespace, &labels) { Ok(()) } else { Err(elsewhere()) }
    }
}

async fn answer<T>(
    verb: &'static str,
    pod: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, EphemeralFault> {
    let answered = timeout(ANSWER_LIMIT, request).await;
    answered
        .map_err(|_| EphemeralFault::slow(verb, pod, ANSWER_LIMIT))?
        .map_err(|error| EphemeralFault::of(verb, pod, &error))
}
