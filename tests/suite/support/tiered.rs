//! Random clusters of all kinds of policy, as the engine takes them.

use std::collections::{BTreeMap, BTreeSet};

use oracle::{
    random::tiered::{Mix, documents},
    tiers::World,
};
use serde_json::{Value, json};

pub use super::evaluation::evaluation;
use super::evaluation::{kind, text};

/// What a cluster of this seed is made of: policies of Kubernetes and Calico, and often of the network policy API.
pub fn mix(seed: u64) -> Mix {
    Mix { calico: 6, sets: 5, staged: 1, ..Mix::of_seed(seed) }
}

/// A random cluster of all kinds of policy.
pub fn world(seed: u64) -> World {
    World::read(with_services(documents(seed, &mix(seed)))).unwrap()
}

/// Services in the place of EndpointSlices, since the engine finds the pods of a Service by its selector: pods whose
/// address is in a slice of that name get a label for it.
fn with_services(documents: Vec<Value>) -> Vec<Value> {
    let (slices, mut rest): (Vec<Value>, Vec<Value>) =
        documents.into_iter().partition(|one| kind(one) == "EndpointSlice");
    let mut behind: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for slice in &slices {
        let name = service_of(slice);
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let addresses = endpoints.flat_map(|one| one["addresses"].as_array().into_iter().flatten());
        behind.entry(label_of(&name)).or_default().extend(addresses.map(text));
        let (port, protocol) = (&slice["ports"][0]["port"], &slice["ports"][0]["protocol"]);
        rest.push(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": slice["metadata"]["namespace"]},
            "spec": {"selector": {(label_of(&name)): "yes"},
                "ports": [{"port": 80, "targetPort": port, "protocol": protocol}]}}));
    }
    for pod in rest.iter_mut().filter(|one| kind(one) == "Pod") {
        let address = text(&pod["status"]["podIP"]);
        for (label, _) in behind.iter().filter(|(_, addresses)| addresses.contains(&address)) {
            pod["metadata"]["labels"][label] = json!("yes");
        }
    }
    rest
}

fn service_of(slice: &Value) -> String {
    text(&slice["metadata"]["labels"]["kubernetes.io/service-name"])
}

fn label_of(service: &str) -> String {
    format!("behind-{service}")
}
