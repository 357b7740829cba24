//! Fixtures, and the tests by what they are about.

#![expect(clippy::needless_pass_by_value, reason = "literals of json! read best as they are")]

mod ends;
mod known_bugs;
mod material;
mod rules;
mod tiers;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::{Answer, Cluster, Direction, End, allowed};

/// Two namespaces with a client each; the server is in `a`.
fn world(policies: impl IntoIterator<Item = NetworkPolicy>) -> Cluster {
    Cluster {
        namespaces: vec![namespace("a", json!({"team": "x"})), namespace("b", json!({"team": "y", "blank": ""}))],
        pods: vec![
            pod("a/client", json!({"app": "client"}), "10.0.0.1"),
            pod("b/client", json!({"app": "client", "gw": ""}), "10.0.0.2"),
            pod("a/server", json!({"app": "server"}), "10.0.0.3"),
        ],
        policies: policies.into_iter().collect(),
    }
}

fn namespace(name: &str, labels: Value) -> Namespace {
    serde_json::from_value(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
    )
    .unwrap()
}

fn pod(name: &str, labels: Value, address: &str) -> Pod {
    pod_with(
        name,
        labels,
        json!({"containers": [{"name": "main"}]}),
        json!({"phase": "Running", "podIPs": [{"ip": address}]}),
    )
}

fn pod_with(name: &str, labels: Value, spec: Value, status: Value) -> Pod {
    let (namespace, name) = name.split_once('/').unwrap();
    let metadata = json!({"namespace": namespace, "name": name, "labels": labels});
    serde_json::from_value(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}),
    )
    .unwrap()
}

fn policy(namespace: &str, spec: Value) -> NetworkPolicy {
    let metadata = json!({"namespace": namespace, "name": "policy"});
    let kind =
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
    serde_json::from_value(kind).unwrap()
}

/// A policy on `a/server` with these ingress rules.
fn ingress(rules: Value) -> NetworkPolicy {
    policy(
        "a",
        json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": rules}),
    )
}

/// A policy on `a/client` with these egress rules.
fn egress(rules: Value) -> NetworkPolicy {
    policy("a", json!({"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"], "egress": rules}))
}

/// An end by `namespace/name` (its first address), `namespace/name@address`, or as an address that is no pod's.
fn end<'a>(cluster: &'a Cluster, text: &str) -> End<'a> {
    if let Ok(address) = text.parse() {
        return End::Address(address);
    }
    let (name, address) = text.split_once('@').map_or((text, None), |(name, address)| (name, Some(address)));
    let pod = find(cluster, name);
    let address = address.map_or_else(|| crate::pod::addresses(pod)[0], |address| address.parse().unwrap());
    End::Pod(pod, address)
}

fn ask(cluster: &Cluster, src: &str, dst: &str, protocol: &str, port: u16) -> Answer {
    allowed(cluster, end(cluster, src), end(cluster, dst), protocol, port)
}

/// Asserts which of the sources may reach `a/server` on TCP 8080.
#[track_caller]
fn assert_reached_by(cluster: &Cluster, sources: &[(&str, Answer)]) {
    for (src, expected) in sources {
        assert_eq!(ask(cluster, src, "a/server", "TCP", 8080), *expected, "{src} to a/server");
    }
}

fn isolated(cluster: &Cluster, pod: &str, direction: Direction) -> bool {
    crate::isolated(cluster, find(cluster, pod), direction)
}

fn find<'a>(cluster: &'a Cluster, name: &str) -> &'a Pod {
    let (namespace, name) = name.split_once('/').unwrap();
    let named =
        |pod: &&Pod| pod.metadata.namespace.as_deref() == Some(namespace) && pod.metadata.name.as_deref() == Some(name);
    cluster.pods.iter().find(named).unwrap()
}
