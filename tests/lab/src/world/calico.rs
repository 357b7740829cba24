//! Calico in the lab: the kinds that its API server serves, and what decides with them.

use anyhow::Result;
use serde_json::{Value, json};

use super::Lab;
use crate::api::Kind;

/// Calico's own API.
const API: &str = "projectcalico.org/v3";
/// Kinds with their plurals, as [`Kind::new`] takes them.
const KINDS: [(&str, &str); 7] = [
    ("Tier", "*tiers"),
    ("NetworkPolicy", "networkpolicies"),
    ("GlobalNetworkPolicy", "*globalnetworkpolicies"),
    ("NetworkSet", "networksets"),
    ("GlobalNetworkSet", "*globalnetworksets"),
    ("ClusterInformation", "*clusterinformations"),
    ("FelixConfiguration", "*felixconfigurations"),
];
/// What Calico looks at beside its own kinds, namespaces and pods.
const BESIDE: [&str; 3] = ["serviceaccounts", "services", "endpointslices.discovery.k8s.io"];

impl Lab {
    /// Serves Calico's kinds, with the objects that are there from its beginning: denied connections are dropped.
    pub(super) fn serve_calico(&self) -> Result<()> {
        for (kind, plural) in KINDS {
            self.api.serve(Kind::new(API, kind, plural));
        }
        for (kind, spec) in [
            ("Tier", json!({"order": 1_000_000})),
            // The first version that serves tiers.
            ("ClusterInformation", json!({"calicoVersion": "v3.29.0"})),
            ("FelixConfiguration", json!({})),
        ] {
            self.put(&json!({"apiVersion": API, "kind": kind, "metadata": {"name": "default"}, "spec": spec}))?;
        }
        Ok(())
    }

    /// Everything but namespaces, pods and NetworkPolicy that decides about a packet.
    pub(super) fn seen_by_calico(&self) -> Vec<Value> {
        let own = KINDS.iter().map(|(kind, plural)| Kind::new(API, kind, plural).resource());
        own.chain(BESIDE.map(str::to_owned)).flat_map(|resource| self.api.all(&resource)).collect()
    }
}
