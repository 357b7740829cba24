//! Random clusters of all kinds of policy, from the oracle's documents to the engine's model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netpol_verify::{
    engine::{evaluate::Evaluation, read::Unreadable},
    model::{Labels, Origins, PolicyDocument, PolicyRef, ServiceInfo, Snapshot, TieRule},
};
use oracle::{
    random::tiered::{Mix, documents},
    tiers::World,
};
use serde_json::{Value, json};

use super::convert;

/// Kinds that the oracle takes and the engine gets by other ways.
const SURROUNDINGS: [&str; 4] = ["Node", "Service", "ServiceAccount", "ClusterInformation"];

/// What a cluster of this seed is made of: policies of Kubernetes and Calico, and often of the network policy API.
pub fn mix(seed: u64) -> Mix {
    Mix { calico: 6, sets: 5, staged: 1, ..Mix::of_seed(seed) }
}

/// A random cluster of all kinds of policy.
pub fn world(seed: u64) -> World {
    World::read(with_services(documents(seed, &mix(seed)))).unwrap()
}

/// The engine's evaluation of the same documents.
pub fn evaluation(world: &World) -> Result<Evaluation, Vec<Unreadable>> {
    let policies = world.plain.policies.iter().map(convert::document);
    let others = world.others.iter().filter(|one| !SURROUNDINGS.contains(&kind(one))).map(document);
    Evaluation::of(&snapshot(world), &policies.chain(others).collect::<Vec<_>>(), ties(world))
}

fn snapshot(world: &World) -> Snapshot {
    let of = |wanted: &'static str| world.others.iter().filter(move |one| kind(one) == wanted);
    let accounts = of("ServiceAccount").map(|one| {
        let metadata = &one["metadata"];
        ((text(&metadata["namespace"]), text(&metadata["name"])), labels(&metadata["labels"]))
    });
    let named = |one: &Value| text(&one["metadata"]["name"]);
    Snapshot {
        nodes: of("Node").map(|one| (named(one), node_addresses(one))).collect(),
        node_labels: of("Node").map(|one| (named(one), labels(&one["metadata"]["labels"]))).collect(),
        service_accounts: accounts.collect(),
        services: of("Service").map(service).collect(),
        ..convert::snapshot(&world.plain)
    }
}

fn node_addresses(node: &Value) -> Vec<IpAddr> {
    let all = node["status"]["addresses"].as_array().into_iter().flatten();
    all.filter_map(|one| text(&one["address"]).parse().ok()).collect()
}

fn ties(world: &World) -> TieRule {
    let information = world.others.iter().find(|one| kind(one) == "ClusterInformation");
    information.map(|one| TieRule::of_version(&text(&one["spec"]["calicoVersion"]))).unwrap_or_default()
}

fn document(object: &Value) -> PolicyDocument {
    PolicyDocument {
        id: PolicyRef {
            kind: kind(object).to_owned(),
            namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
            name: text(&object["metadata"]["name"]),
        },
        api_version: text(&object["apiVersion"]),
        object: object.clone(),
        origins: Origins::default(),
        kustomization: None,
    }
}

fn service(object: &Value) -> ServiceInfo {
    let port = |port: &Value| {
        let number = port["port"].as_u64().unwrap().try_into().unwrap();
        (number, text(&port["protocol"]).parse().unwrap(), port["targetPort"].to_string())
    };
    ServiceInfo {
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
        selector: Some(labels(&object["spec"]["selector"])),
        cluster_ips: Vec::new(),
        headless: false,
        ports: object["spec"]["ports"].as_array().into_iter().flatten().map(port).collect(),
    }
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

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn labels(value: &Value) -> Labels {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}
