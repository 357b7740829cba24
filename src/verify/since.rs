//! Whether pods or policies are others than when the probes were planned: what was seen then proves nothing.

use std::collections::BTreeMap;

use super::{
    seams::{Cluster, Fault},
    track::Track,
};
use crate::model::{PodRef, PolicyRef, Snapshot};

/// The probed pods that are not as they were: gone, replaced, not Ready, under other labels or another address.
///
/// # Errors
/// The API server cannot be asked.
pub async fn pods<C: Cluster>(cluster: &C, snapshot: &Snapshot, tracks: &[Track]) -> Result<Vec<PodRef>, Fault> {
    let mut ids: Vec<PodRef> = tracks.iter().flat_map(Track::pods).cloned().collect();
    ids.sort();
    ids.dedup();
    let now = cluster.pods(&ids).await?;
    let then = |id: &PodRef| snapshot.pods.iter().find(|p| &p.id == id);
    let same = |id: &PodRef| match (then(id), now.get(id)) {
        (Some(then), Some(now)) => {
            then.uid == now.uid && then.ips == now.ips && now.is_usable() && then.labels == now.labels
        }
        _ => false,
    };
    Ok(ids.into_iter().filter(|id| !same(id)).collect())
}

/// Whether an object among `ours` that decides about packets was changed, added or removed.
///
/// # Errors
/// The API server cannot be asked.
pub async fn policies<C: Cluster>(
    cluster: &C,
    snapshot: &Snapshot,
    ours: impl Fn(&PolicyRef) -> bool,
) -> Result<bool, Fault> {
    let mut versions = cluster.policy_versions().await?;
    versions.retain(|id, _| ours(id));
    let planned = snapshot.deciding().map(|p| (p.document.id.clone(), p.resource_version.clone()));
    let planned: BTreeMap<_, _> = planned.filter(|(id, _)| ours(id)).collect();
    Ok(versions != planned)
}
