//! From the oracle's documents of all kinds of policy to the engine's model.

use std::net::IpAddr;

use netpol_verify::{
    engine::{evaluate::Evaluation, read::Unreadable},
    model::{Labels, Origins, PolicyDocument, PolicyRef, ServiceInfo, Snapshot, TieRule},
};
use oracle::tiers::World;
use serde_json::Value;

use super::convert;

/// Kinds that the oracle takes and the engine gets by other ways.
const SURROUNDINGS: [&str; 5] = ["Node", "Service", "ServiceAccount", "ClusterInformation", "EndpointSlice"];

/// The engine's evaluation of documents.
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
        (number, text(&port["protocol"]).parse().unwrap(), target(&port["targetPort"]))
    };
    ServiceInfo {
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
        selector: Some(labels(&object["spec"]["selector"])),
        cluster_ips: Vec::new(),
        headless: false,
        ports: object["spec"]["ports"].as_array().into_iter().flatten().map(port).collect(),
        port_names: Vec::new(),
        ends: Vec::new(),
    }
}

/// A target port by number or name.
fn target(port: &Value) -> String {
    port.as_str().map_or_else(|| port.to_string(), str::to_owned)
}

/// The kind of a document.
pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// A text, or "".
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn labels(value: &Value) -> Labels {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}
