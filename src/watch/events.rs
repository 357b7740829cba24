//! Watches that say when it is time to look.
//!
//! What they bring is not kept: only that something moved counts, so that a lost event, an expired version (410) or a
//! closed stream need no more than another list.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{StreamExt as _, pin_mut};
use kube::{
    Api, Client,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::WatchError;
use crate::model::KustomizationRef;
use crate::state::ConfigMapStore;

/// A server that ends its watches at once is not asked more often than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// Raised when it is time to look; raised again before anyone looked, it is raised once.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Notify>);

impl Signal {
    /// Something moved.
    pub fn raise(&self) {
        self.0.notify_one();
    }

    /// Waits until something moved since the last time.
    pub async fn raised(&self) {
        self.0.notified().await;
    }
}

/// What is watched.
#[derive(Debug, Clone)]
pub struct Places {
    /// The own namespace: its Jobs and the state.
    pub namespace: String,
    /// The Kustomizations.
    pub kustomizations: Vec<KustomizationRef>,
}

/// One watch.
struct Place {
    api: Api<DynamicObject>,
    what: String,
    fields: Option<String>,
}

/// Watches until the result is dropped; each event raises `signal`, and `note` hears of each and of each trouble.
pub fn follow<N>(client: &Client, places: &Places, signal: &Signal, note: N) -> JoinSet<()>
where
    N: Fn(Result<(), WatchError>) + Clone + Send + Sync + 'static,
{
    let mut watches = JoinSet::new();
    for place in all(client, places) {
        watches.spawn(keep(place, signal.clone(), note.clone()));
    }
    watches
}

fn all(client: &Client, places: &Places) -> Vec<Place> {
    let place = |group: &str, version: &str, kind: &str, plural: &str, namespace: &str, name: Option<&str>| {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Place {
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            what: format!("{kind} {namespace}/{}", name.unwrap_or("*")),
            // With it a right that is bound to the name is enough.
            fields: name.map(|name| format!("metadata.name={name}")),
        }
    };
    let own = &places.namespace;
    let mut all = vec![
        place("batch", "v1", "Job", "jobs", own, None),
        place("", "v1", "ConfigMap", "configmaps", own, Some(ConfigMapStore::NAME)),
    ];
    all.extend(places.kustomizations.iter().map(|id| {
        place("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations", &id.namespace, Some(&id.name))
    }));
    all
}

async fn keep<N: Fn(Result<(), WatchError>)>(place: Place, signal: Signal, note: N) {
    let policy = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times();
    let mut pauses = policy.build();
    loop {
        let began = Instant::now();
        match session(&place, &signal, &note).await {
            // The version expired: from the start, at once unless that happens again and again.
            Ok(()) => tokio::time::sleep(SHORTEST.saturating_sub(began.elapsed())).await,
            Err(error) => {
                note(Err(error));
                if began.elapsed() > SHORTEST * 60 {
                    pauses = policy.build();
                }
                tokio::time::sleep(pauses.next().unwrap_or(SHORTEST)).await;
            }
        }
    }
}

/// Lists, and watches from there on until the version expires.
async fn session<N: Fn(Result<(), WatchError>)>(place: &Place, signal: &Signal, note: &N) -> Result<(), WatchError> {
    // One object is enough: what counts is the list's version.
    let list = ListParams { field_selector: place.fields.clone(), limit: Some(1), ..ListParams::default() };
    let listed = place.api.list_metadata(&list).await.map_err(|error| WatchError::api("list", &place.what, &error))?;
    let mut version = listed.metadata.resource_version.unwrap_or_default();
    signal.raise();
    let params = WatchParams { field_selector: place.fields.clone(), ..WatchParams::default() };
    let trouble = |error: &kube::Error| WatchError::api("watch", &place.what, error);
    loop {
        let began = Instant::now();
        let stream = match place.api.watch_metadata(&params, &version).await {
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
            other => other.map_err(|error| trouble(&error))?,
        };
        pin_mut!(stream);
        while let Some(event) = stream.next().await {
            let moved = match event.map_err(|error| trouble(&error))? {
                WatchEvent::Added(o) | WatchEvent::Modified(o) | WatchEvent::Deleted(o) => {
                    note(Ok(()));
                    signal.raise();
                    o.metadata.resource_version
                }
                WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => return Err(trouble(&kube::Error::Api(status))),
            };
            version = moved.unwrap_or(version);
        }
        tokio::time::sleep(SHORTEST.saturating_sub(began.elapsed())).await;
    }
}
