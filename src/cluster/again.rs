//! Pods looked at again when the probes are over.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{ClusterError, LiveCluster, live::PODS_AT_ONCE, pods, pods::Unowned};
use crate::model::PodRef;

/// So many pods of one namespace are asked for one by one: it may hold thousands of others. More come in one list.
const FEW: usize = 8;

impl LiveCluster {
    /// These pods as they are now; absent ones are left out.
    pub(super) async fn again(&self, ids: &[PodRef]) -> Result<Vec<Unowned>, ClusterError> {
        let mut by_namespace: BTreeMap<String, BTreeSet<PodRef>> = BTreeMap::new();
        for id in ids {
            by_namespace.entry(id.namespace.clone()).or_default().insert(id.clone());
        }
        let (few, many): (Vec<_>, Vec<_>) = by_namespace.into_iter().partition(|(_, ids)| ids.len() <= FEW);
        let one_by_one: Vec<PodRef> = few.into_iter().flat_map(|(_, ids)| ids).collect();
        let gets = stream::iter(one_by_one).map(|id| async move { self.pod(&id).await }).buffered(PODS_AT_ONCE);
        let mut found: Vec<Unowned> = gets.try_filter_map(|pod| async move { Ok(pod) }).try_collect().await?;
        for (namespace, ids) in many {
            let all = self.pods_of(&namespace).await?;
            found.extend(all.into_iter().filter(|pod| ids.contains(&pod.pod.id)));
        }
        Ok(found)
    }

    async fn pod(&self, id: &PodRef) -> Result<Option<Unowned>, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.reader.client.clone(), &id.namespace);
        let answer = self.reader.ask("get", "pods", api.get_opt(&id.name)).await?;
        Ok(answer.map_err(|error| ClusterError::new("get", "pods", &error))?.and_then(pods::read))
    }

    async fn pods_of(&self, namespace: &str) -> Result<Vec<Unowned>, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.reader.client.clone(), namespace);
        let api = &api;
        let fetch = |params: ListParams| async move { api.list(&params).await };
        self.reader.list("pods", &ListParams::default(), fetch, pods::read).await
    }
}
