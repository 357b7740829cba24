//! Fixtures for all kinds of policy together, and the tests by what they are about.

mod admin;
mod expression;
mod known_bugs;
mod material;
mod order;
mod rules;
mod selecting;

use serde_json::{Value, json};

use super::{end, policy};
use crate::Answer;
use crate::tiers::{By, Question, Verdict, World, verdict};

/// The two namespaces and three pods of the first reading's tests, with these documents.
fn world(others: impl IntoIterator<Item = Value>) -> World {
    World { plain: super::world([]), others: others.into_iter().collect() }
}

fn calico(kind: &str, metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})
}

/// A GlobalNetworkPolicy.
fn gnp(name: &str, spec: Value) -> Value {
    calico("GlobalNetworkPolicy", json!({"name": name}), spec)
}

/// A NetworkPolicy of Calico's, `namespace/name`.
fn np(name: &str, spec: Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    calico("NetworkPolicy", json!({"namespace": namespace, "name": name}), spec)
}

/// A GlobalNetworkSet, or the NetworkSet `namespace/name`.
fn set(name: &str, labels: Value, nets: Value) -> Value {
    match name.split_once('/') {
        Some((namespace, name)) => {
            calico("NetworkSet", json!({"namespace": namespace, "name": name, "labels": labels}), json!({"nets": nets}))
        }
        None => calico("GlobalNetworkSet", json!({"name": name, "labels": labels}), json!({"nets": nets})),
    }
}

fn tier(name: &str, spec: Value) -> Value {
    calico("Tier", json!({"name": name}), spec)
}

/// Ingress rules for the server, in a global policy of order 10.
fn on_server(rules: Value) -> Value {
    gnp("on-server", json!({"order": 10, "selector": "app == 'server'", "types": ["Ingress"], "ingress": rules}))
}

/// Egress rules for `a/client`, in a policy of its namespace.
fn from_client(rules: Value) -> Value {
    np("a/from-client", json!({"order": 10, "selector": "app == 'client'", "types": ["Egress"], "egress": rules}))
}

fn ask(world: &World, src: &str, dst: &str, protocol: &str, port: u16) -> Verdict {
    verdict(world, &Question::new(end(&world.plain, src), end(&world.plain, dst), protocol, port))
}

#[track_caller]
fn assert_flow(world: &World, src: &str, dst: &str, protocol: &str, port: u16, allowed: bool) {
    let verdict = ask(world, src, dst, protocol, port);
    let expected = if allowed { Answer::Allowed } else { Answer::Denied };
    assert_eq!(verdict.answer, expected, "{src} to {dst} {protocol}/{port}: {verdict:?}");
}

/// Asserts which of the sources may reach `a/server` on TCP 8080.
#[track_caller]
fn assert_reached_by(world: &World, sources: &[(&str, bool)]) {
    for &(src, allowed) in sources {
        assert_flow(world, src, "a/server", "TCP", 8080, allowed);
    }
}

/// What decides whether `a/server` may receive from `a/client`.
fn decider(world: &World) -> By {
    ask(world, "a/client", "a/server", "TCP", 8080).ingress.by
}

/// Whether a rule of the policy of this name decides.
fn is_by(by: &By, name: &str, rule: usize) -> bool {
    matches!(by, By::Rule(policy, number) if policy.name == name && *number == rule)
}

/// The default-deny of Kubernetes in namespace `a`.
fn kubernetes_default_deny(mut world: World) -> World {
    world.plain.policies.push(policy("a", json!({"podSelector": {}, "policyTypes": ["Ingress"]})));
    world
}
