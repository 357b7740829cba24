//! One run at a time, by a Lease.
//!
//! As client-go's leader election does it: a Lease of somebody else is taken over only when it was seen unchanged for
//! its duration by the own monotonic clock, so that clocks of different machines are never compared; and every write
//! names the resourceVersion that it replaces, so that of two that try at the same time one is refused.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use crate::{
    cluster::reason,
    verify::seams::{Fault, Lock},
};

use super::{renewal, store::random_id};

/// How long a Lease holds that is not renewed.
const DURATION: Duration = Duration::from_secs(30);
/// The shortest and longest duration that is believed of somebody else's Lease.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// Trouble with the Lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else held it all the time.
    #[error("Lease {place} was held by `{holder}` for all of the {waited} s that this run waited")]
    Busy {
        /// `namespace/name`.
        place: String,
        /// Who.
        holder: String,
        /// Seconds.
        waited: u64,
    },
    /// The API server refused or did not answer.
    #[error("could not {verb} Lease {place}: {reason}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// `namespace/name`.
        place: String,
        /// The API server's words, and the right to add where it is forbidden.
        reason: String,
    },
    /// The system gave no random numbers.
    #[error("no random numbers for the Lease's holder: {0}")]
    Random(String),
}

/// What is held.
pub(super) struct Held {
    /// The object as it was written last.
    pub lease: Lease,
    /// When it counts as lost unless it is renewed.
    pub until: Instant,
}

/// What the lock and its renewal share.
pub(super) struct Shared {
    pub api: Api<Lease>,
    pub namespace: String,
    pub name: String,
    pub identity: String,
    pub duration: Duration,
    held: Mutex<Option<Held>>,
    /// Told once the Lease is somebody else's.
    pub gone: Notify,
}

/// The lock over a Lease.
pub struct LeaseLock {
    shared: Arc<Shared>,
    renewal: Mutex<Option<JoinHandle<()>>>,
}

/// Somebody else's Lease, and since when it was seen like this.
struct Observed {
    version: (Option<String>, Option<String>),
    since: Instant,
}

/// What one look led to.
enum Round {
    Ours,
    Busy(String),
    Raced,
    Failed { error: LeaseError, for_good: bool },
}

impl LeaseLock {
    /// The usual name.
    pub const NAME: &str = "netpol-verify";

    /// A lock over Lease `name` in `namespace`; `holder` (a Job or pod name) is what people see, made unique.
    /// `duration` is how long it stays locked when its holder is gone.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        holder: &str,
        duration: Option<Duration>,
    ) -> Result<Self, LeaseError> {
        let unique = random_id().map_err(|error| LeaseError::Random(error.to_string()))?;
        let shared = Shared {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: format!("{holder}_{unique}"),
            duration: duration.unwrap_or(DURATION).max(Duration::from_secs(1)),
            held: Mutex::new(None),
            gone: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared), renewal: Mutex::new(None) })
    }

    async fn wait_for(&self, wait: Duration) -> Result<(), LeaseError> {
        if self.shared.is_held() {
            return Ok(());
        }
        self.stop_renewal().await;
        let start = Instant::now();
        let poll = (self.shared.duration / 5).max(Duration::from_millis(500));
        let mut observed = None;
        loop {
            let trouble = match self.shared.round(&mut observed).await {
                Round::Ours => break,
                Round::Failed { error, for_good: true } => return Err(error),
                Round::Failed { error, .. } => error,
                Round::Busy(holder) => self.shared.busy(holder, wait),
                Round::Raced => self.shared.busy("another run that starts".to_owned(), wait),
            };
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(trouble);
            }
            tracing::debug!(reason = %trouble, "Lease was not free");
            tokio::time::sleep(poll.min(left)).await;
        }
        tracing::info!(lease = %self.shared.place(), identity = %self.shared.identity, "Lease was acquired");
        let renewal = tokio::spawn(renewal::keep(Arc::clone(&self.shared)));
        *self.renewal.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewal);
        Ok(())
    }

    async fn stop_renewal(&self) {
        let renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(renewal) = renewal {
            renewal.abort();
            // It ends at its next await; that it was cancelled is no news.
            let _ = renewal.await;
        }
    }
}

impl Drop for LeaseLock {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            renewal.abort();
        }
    }
}

impl Shared {
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn busy(&self, holder: String, wait: Duration) -> LeaseError {
        LeaseError::Busy { place: self.place(), holder, waited: wait.as_secs() }
    }

    pub(super) fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_held(&self) -> bool {
        self.held().as_ref().is_some_and(|held| Instant::now() < held.until)
    }

    /// A request with a time limit that leaves room for two more before the Lease is lost.
    pub(super) async fn within<T>(&self, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let patience = (self.duration / 4).max(Duration::from_secs(1));
        let silent = || kube::Error::Service(format!("no answer within {} ms", patience.as_millis()).into());
        tokio::time::timeout(patience, request).await.unwrap_or_else(|_| Err(silent()))
    }

    fn failed(&self, verb: &'static str, error: &kube::Error) -> Round {
        let forbidden = matches!(error, kube::Error::Api(status) if status.is_forbidden());
        let reason = if forbidden {
            format!("forbidden: add {verb} on leases.coordination.k8s.io to Role netpol-verify in {}", self.namespace)
        } else {
            reason(error)
        };
        Round::Failed { error: LeaseError::Api { verb, place: self.place(), reason }, for_good: forbidden }
    }

    /// Looks once, and takes the Lease if it may be taken.
    async fn round(&self, observed: &mut Option<Observed>) -> Round {
        let lease = match self.within(self.api.get_opt(&self.name)).await {
            Ok(lease) => lease,
            Err(error) => return self.failed("get", &error),
        };
        let Some(lease) = lease else { return self.take("create", self.new_lease()).await };
        let holder = holder(&lease);
        if holder.is_none_or(|holder| holder == self.identity) || self.is_expired(&lease, observed) {
            return self.take("update", self.taken_over(lease)).await;
        }
        Round::Busy(holder.unwrap_or_default().chars().take(100).collect())
    }

    /// Whether somebody else's Lease was seen unchanged for its duration, by the own clock.
    fn is_expired(&self, lease: &Lease, observed: &mut Option<Observed>) -> bool {
        let version = (lease.metadata.uid.clone(), lease.metadata.resource_version.clone());
        match observed {
            Some(seen) if seen.version == version => {
                let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
                let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let duration = seconds.map_or(self.duration, Duration::from_secs).clamp(BELIEVED.0, BELIEVED.1);
                seen.since.elapsed() >= duration
            }
            _ => {
                *observed = Some(Observed { version, since: Instant::now() });
                false
            }
        }
    }

    fn new_lease(&self) -> Lease {
        let name = Some(self.name.clone());
        let metadata = ObjectMeta { name, namespace: Some(self.namespace.clone()), ..ObjectMeta::default() };
        self.taken_over(Lease { metadata, ..Lease::default() })
    }

    /// The Lease with this holder.
    fn taken_over(&self, mut lease: Lease) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let before = holder(&lease).map(str::to_owned);
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if before.as_deref() != Some(&self.identity) {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            spec.acquire_time.clone_from(&now);
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.renew_time = now;
        let seconds = self.duration.as_millis().div_ceil(1_000);
        spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        lease
    }

    async fn take(&self, verb: &'static str, lease: Lease) -> Round {
        match self.write(verb, &lease).await {
            Ok(()) => Round::Ours,
            Err(kube::Error::Api(status)) if status.code == 409 => Round::Raced,
            Err(error) => self.failed(verb, &error),
        }
    }

    /// Writes the Lease, and holds it from the moment before the request was sent.
    pub(super) async fn write(&self, verb: &'static str, lease: &Lease) -> kube::Result<()> {
        let sent = Instant::now();
        let post = PostParams::default();
        let written = match verb {
            "create" => self.within(self.api.create(&post, lease)).await?,
            _ => self.within(self.api.replace(&self.name, &post, lease)).await?,
        };
        // The margin is for what is under way when the Lease ends.
        let until = sent + self.duration - self.duration / 5;
        *self.held() = Some(Held { lease: written, until });
        Ok(())
    }
}

/// Who holds it.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

impl Lock for LeaseLock {
    async fn acquire(&self, wait: Duration) -> Result<(), Fault> {
        Ok(self.wait_for(wait).await?)
    }

    fn is_held(&self) -> bool {
        self.shared.is_held()
    }

    async fn lost(&self) {
        self.shared.gone.notified().await;
    }

    async fn release(&self) {
        self.stop_renewal().await;
        let held = self.shared.held().take();
        if let Some(held) = held {
            renewal::give_up(&self.shared, held.lease).await;
        }
    }
}
