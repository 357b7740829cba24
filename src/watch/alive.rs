//! The watcher's sign of life: a Lease that it renews after a look that told it everything.
//!
//! `job/` ships the Lease, so that the watcher needs no right but to patch this one. Nobody competes for it: of
//! several replicas the last one's sign stands there.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::WatchError;

/// The Lease's name.
pub const LEASE: &str = "netpol-verify-watch";

/// Renewed so often.
const EVERY: Duration = Duration::from_secs(30);
/// A sign that is older than this many seconds is none: three looks failed.
const HOLDS: i32 = 200;

pub(super) struct Signer {
    api: Api<Lease>,
    place: String,
    pod: String,
    last: Option<Instant>,
}

impl Signer {
    pub fn new(client: Client, namespace: &str, pod: &str) -> Self {
        let place = format!("Lease {namespace}/{LEASE}");
        Self { api: Api::namespaced(client, namespace), place, pod: pod.to_owned(), last: None }
    }

    /// Renews it if it is time to. That it cannot is no reason not to watch.
    pub async fn renew(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let spec = LeaseSpec {
            holder_identity: Some(self.pod.clone()),
            lease_duration_seconds: Some(HOLDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        };
        let patch = Patch::Merge(json!({"spec": spec}));
        let patched =
            tokio::time::timeout(EVERY / 3, async { self.api.patch(LEASE, &PatchParams::default(), &patch).await });
        if let Ok(Err(error)) = patched.await {
            tracing::warn!(error = %WatchError::api("patch", &self.place, &error), "sign of life was not written");
        }
    }
}

/// The last sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// The pod.
    pub holder: String,
    /// When, RFC 3339.
    pub renewed: String,
    /// How long ago that was at `now`, in seconds.
    pub age: i64,
    /// Whether that is recent enough.
    pub is_alive: bool,
}

/// What its Lease says of a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// There is no Lease, so that there is no watcher either: `job/` ships them together.
    Absent,
    /// It never gave a sign: it has just been made, or it cannot start.
    Silent,
    /// It gave one.
    Sign(Sign),
}

/// Reads the watcher's last sign of life.
///
/// # Errors
/// The Lease could not be read.
pub async fn last_sign(client: Client, namespace: &str, now: Timestamp) -> Result<Life, WatchError> {
    let api: Api<Lease> = Api::namespaced(client, namespace);
    let what = format!("Lease {namespace}/{LEASE}");
    let lease = api.get_opt(LEASE).await.map_err(|error| WatchError::api("get", &what, &error))?;
    let Some(lease) = lease else { return Ok(Life::Absent) };
    Ok(lease.spec.and_then(|spec| sign(spec, now)).map_or(Life::Silent, Life::Sign))
}

fn sign(spec: LeaseSpec, now: Timestamp) -> Option<Sign> {
    let renewed = spec.renew_time?.0;
    let age = now.duration_since(renewed).as_secs();
    let holds = i64::from(spec.lease_duration_seconds.unwrap_or(HOLDS));
    let holder = spec.holder_identity.unwrap_or_default();
    Some(Sign { holder, renewed: renewed.to_string(), age, is_alive: age <= holds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_is_recent() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let spec = || LeaseSpec {
            holder_identity: Some("netpol-verify-watch-x".to_owned()),
            lease_duration_seconds: Some(200),
            renew_time: Some(MicroTime(at("2026-11-20T09:00:00Z"))),
            ..LeaseSpec::default()
        };
        let alive = sign(spec(), at("2026-11-20T09:03:20Z")).unwrap();
        assert_eq!((alive.age, alive.is_alive, alive.holder.as_str()), (200, true, "netpol-verify-watch-x"));
        assert!(!sign(spec(), at("2026-11-20T09:03:21Z")).unwrap().is_alive);
        // This machine's clock is behind the watcher's.
        assert!(sign(spec(), at("2026-11-20T08:59:00Z")).unwrap().is_alive);
        assert_eq!(sign(LeaseSpec::default(), at("2026-11-20T09:00:00Z")), None, "as job/ ships it");
    }
}
