//! Policies of all kinds, as documents, in a cluster that stands.

use anyhow::Result;
use e2e::{
    eventually,
    objects::{self, Kind, NETWORK_POLICY, text},
    poll::seconds,
};
use futures::future::try_join_all;
use oracle::{
    random::tiered::{Admin, Mix},
    tiers::World,
};
use serde_json::Value;

use crate::standing::{Standing, name_of};

const CALICO: &str = "projectcalico.org/v3";
const V1ALPHA1: &str = "policy.networking.k8s.io/v1alpha1";
const V1ALPHA2: &str = "policy.networking.k8s.io/v1alpha2";
const ENDPOINTS: Kind<'static> = Kind("discovery.k8s.io/v1", "EndpointSlice");
const SERVICE: Kind<'static> = Kind("v1", "Service");

/// The kinds of which policies are drawn.
fn kinds(mix: &Mix) -> Vec<Kind<'static>> {
    let mut found = vec![NETWORK_POLICY];
    if mix.calico > 0 {
        let kinds = ["NetworkPolicy", "GlobalNetworkPolicy", "NetworkSet", "GlobalNetworkSet"];
        found.extend(kinds.map(|kind| Kind(CALICO, kind)));
    }
    match mix.admin {
        Admin::Nothing => {}
        Admin::V1alpha1 => {
            found.extend(["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"].map(|kind| Kind(V1ALPHA1, kind)));
        }
        Admin::V1alpha2 => found.push(Kind(V1ALPHA2, "ClusterNetworkPolicy")),
    }
    found
}

/// Policies and what they look at, twice.
pub struct Worlds {
    /// As somebody wrote the policies.
    pub declared: World,
    /// As the API server has them, with what it writes by default.
    pub live: World,
}

impl Standing {
    /// Puts these policies in the place of those before, and gives everything there is then.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn with_documents(&self, mix: &Mix, policies: &[Value]) -> Result<Worlds> {
        let client = &self.cluster.client;
        for kind in kinds(mix) {
            let old = self.all_of(&kind).await?;
            try_join_all(old.iter().map(|object| objects::delete(client, object))).await?;
        }
        try_join_all(policies.iter().map(|object| objects::create(client, object))).await?;
        let mut live = Vec::new();
        for kind in kinds(mix) {
            live.extend(self.all_of(&kind).await?);
        }
        let surroundings = self.surroundings(mix).await?;
        let world = |policies: Vec<Value>| {
            let mut world = World::read(policies.into_iter().chain(surroundings.clone()))?;
            world.plain.namespaces.clone_from(&self.namespaces);
            world.plain.pods.clone_from(&self.pods);
            anyhow::Ok(world)
        };
        Ok(Worlds { declared: world(policies.to_vec())?, live: world(live)? })
    }

    /// What policies look at besides pods and namespaces.
    async fn surroundings(&self, mix: &Mix) -> Result<Vec<Value>> {
        let mut found = self.all_of(&Kind("v1", "ServiceAccount")).await?;
        found.extend(self.all_of(&SERVICE).await?);
        found.extend(self.all_of(&ENDPOINTS).await?);
        if mix.calico > 0 {
            found.extend(self.all_of(&Kind(CALICO, "ClusterInformation")).await?);
        }
        Ok(found)
    }

    /// Waits until the EndpointSlices hold every pod that a Service selects.
    ///
    /// # Errors
    /// They do not, in the end.
    pub async fn wait_for_endpoints(&self) -> Result<()> {
        let services = self.all_of(&SERVICE).await?;
        let wanted: usize = services.iter().map(|service| self.behind(service)).sum();
        let complete = async || {
            let slices = self.all_of(&ENDPOINTS).await?;
            let endpoints = |slice: &Value| slice.pointer("/endpoints").and_then(Value::as_array).map_or(0, Vec::len);
            Ok((slices.iter().map(endpoints).sum::<usize>() == wanted).then_some(()))
        };
        eventually("EndpointSlices are complete", seconds(20), complete).await
    }

    /// How many pods a Service selects.
    fn behind(&self, service: &Value) -> usize {
        let selector = service.pointer("/spec/selector").and_then(Value::as_object).cloned().unwrap_or_default();
        let is_behind = |pod: &&k8s_openapi::api::core::v1::Pod| {
            let labels = pod.metadata.labels.as_ref();
            let has = |(key, value): (&String, &Value)| {
                labels.and_then(|labels| labels.get(key)).is_some_and(|label| value == label)
            };
            pod.metadata.namespace.as_deref() == Some(text(service, "/metadata/namespace")) && selector.iter().all(has)
        };
        self.pods.iter().filter(is_behind).count()
    }

    /// The objects of a kind: in the namespaces of this run, or in the whole cluster.
    async fn all_of(&self, kind: &Kind<'_>) -> Result<Vec<Value>> {
        let client = &self.cluster.client;
        let mut found = Vec::new();
        if objects::is_cluster_wide(kind.1) {
            found = objects::list(client, kind, "", "").await?;
        } else {
            for namespace in &self.namespaces {
                found.extend(objects::list(client, kind, name_of(namespace)?, "").await?);
            }
        }
        Ok(found)
    }
}
