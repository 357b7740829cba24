//! What the two ends of a flow make of it (ports, addresses, hosts, phases), with the case that turns
//! out the other way.

use serde_json::json;

use super::{ask, assert_reached_by, egress, ingress, isolated, pod_with, policy, world};
use crate::Answer::{Allowed, Denied, Undefined};
use crate::{Direction, End};

fn serving(port: &serde_json::Value, place: &str) -> k8s_openapi::api::core::v1::Pod {
    let mut spec = json!({"containers": [{"name": "main"}], "initContainers": [{"name": "first"}]});
    spec[place][0]["ports"] = json!([port]);
    pod_with("a/server", json!({"app": "server"}), spec, json!({"podIPs": [{"ip": "10.0.0.3"}]}))
}

#[test]
fn s07_named_port_is_the_destinations() {
    let http = json!({"name": "http", "containerPort": 8080});
    let rule = json!([{"ports": [{"port": "http"}]}]);
    for place in ["containers", "initContainers"] {
        for policy in [ingress(rule.clone()), egress(rule.clone())] {
            let mut world = world([policy]);
            world.pods[2] = serving(&http, place);
            // The source's own port of that name says nothing, whatever its number.
            world.pods[0].spec.as_mut().unwrap().containers[0].ports =
                serde_json::from_value(json!([{"name": "http", "containerPort": 9999}])).unwrap();
            assert_eq!(ask(&world, "a/client", "a/server", "TCP", 8080), Allowed);
            assert_eq!(ask(&world, "a/client", "a/server", "TCP", 9999), Denied);
            assert_eq!(ask(&world, "a/client", "a/server", "UDP", 8080), Denied);
        }
    }
}

#[test]
fn s07_named_port_differs_per_pod_and_protocol_must_match() {
    let mut world = world([ingress(json!([{"ports": [{"port": "dns", "protocol": "UDP"}]}]))]);
    world.pods[2] = serving(&json!({"name": "dns", "containerPort": 5353, "protocol": "UDP"}), "containers");
    world.pods.push(pod_with(
        "a/other",
        json!({"app": "server"}),
        json!({"containers": [{"name": "main", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}),
        json!({"podIPs": [{"ip": "10.0.0.4"}]}),
    ));
    for (dst, port, expected) in
        [("a/server", 5353, Allowed), ("a/server", 53, Denied), ("a/other", 53, Allowed), ("a/other", 5353, Denied)]
    {
        assert_eq!(ask(&world, "a/client", dst, "UDP", port), expected, "{dst} {port}");
        assert_eq!(ask(&world, "a/client", dst, "TCP", port), Denied, "{dst} {port}");
    }
    world.pods[2] = serving(&json!({"name": "dns", "containerPort": 5353, "protocol": "TCP"}), "containers");
    assert_eq!(ask(&world, "a/client", "a/server", "UDP", 5353), Denied);
}

#[test]
fn s07_named_port_means_nothing_where_no_pod_answers() {
    let rule = json!([{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "http"}]}]);
    let mut world = world([egress(rule)]);
    world.pods[2] = serving(&json!({"name": "http", "containerPort": 8080}), "containers");
    assert_eq!(ask(&world, "a/client", "203.0.113.9", "TCP", 8080), Denied);
    assert_eq!(ask(&world, "a/client", "a/server", "TCP", 8080), Allowed, "ports and peers match each alone");
    // As the source of an ingress rule a block is nothing special: the name is the selected pod's.
    world.policies =
        vec![ingress(json!([{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": "http"}]}]))];
    assert_reached_by(&world, &[("203.0.113.9", Allowed), ("198.51.100.7", Denied)]);
}

#[test]
fn s08_end_port() {
    let world = world([ingress(json!([{"ports": [{"port": 8000, "endPort": 8002}]}]))]);
    for (port, expected) in [(7999, Denied), (8000, Allowed), (8001, Allowed), (8002, Allowed), (8003, Denied)] {
        assert_eq!(ask(&world, "a/client", "a/server", "TCP", port), expected, "{port}");
        assert_eq!(ask(&world, "a/client", "a/server", "UDP", port), Denied, "{port}");
    }
}

#[test]
fn s09_ip_block_is_held_against_the_packet() {
    let block = |cidr, except| world([ingress(json!([{"from": [{"ipBlock": {"cidr": cidr, "except": except}}]}]))]);
    assert_reached_by(
        &block("203.0.113.0/24", json!(null)),
        &[("203.0.113.9", Allowed), ("203.0.114.9", Denied), ("a/client", Denied)],
    );
    assert_reached_by(
        &block("10.0.0.0/24", json!(null)),
        &[("a/client", Allowed), ("b/client", Allowed), ("203.0.113.9", Denied)],
    );
    assert_reached_by(&block("10.0.0.0/24", json!(["10.0.0.1/32"])), &[("a/client", Denied), ("b/client", Allowed)]);
    assert_reached_by(
        &block("0.0.0.0/0", json!(["10.0.0.0/31", "203.0.113.8/29"])),
        &[("a/client", Denied), ("b/client", Allowed), ("203.0.113.9", Denied), ("203.0.113.16", Allowed)],
    );
    // Bits beyond the mask are ignored.
    assert_reached_by(&block("203.0.113.77/24", json!(null)), &[("203.0.113.9", Allowed)]);
}

#[test]
fn s09_ip_block_of_the_family_of_the_packet() {
    let mut world = world([ingress(json!([{"from": [{"ipBlock": {"cidr": "fd00::/64"}}]}]))]);
    for (number, name) in ["a/client", "b/client", "a/server"].into_iter().enumerate() {
        let ips = json!([{"ip": format!("10.0.0.{}", number + 1)}, {"ip": format!("fd00::{}", number + 1)}]);
        let labels = serde_json::to_value(&world.pods[number].metadata.labels).unwrap();
        world.pods[number] = pod_with(name, labels, json!({"containers": []}), json!({"podIPs": ips}));
    }
    assert_eq!(ask(&world, "a/client@fd00::1", "a/server@fd00::3", "TCP", 80), Allowed);
    assert_eq!(ask(&world, "a/client@10.0.0.1", "a/server@10.0.0.3", "TCP", 80), Denied);
    assert_eq!(ask(&world, "fd01::1", "a/server@fd00::3", "TCP", 80), Denied);
    // `::/0` is not everyone.
    world.policies = vec![ingress(json!([{"from": [{"ipBlock": {"cidr": "::/0"}}]}]))];
    assert_eq!(ask(&world, "203.0.113.9", "a/server", "TCP", 80), Denied);
    assert_eq!(ask(&world, "2001:db8::1", "a/server@fd00::3", "TCP", 80), Allowed);
}

#[test]
fn s10_host_network_is_undefined() {
    let mut world = world([policy("a", json!({})), policy("b", json!({}))]);
    let spec = json!({"containers": [], "hostNetwork": true});
    world.pods.push(pod_with("a/agent", json!({"app": "server"}), spec, json!({"podIPs": [{"ip": "192.0.2.10"}]})));
    assert_eq!(ask(&world, "a/agent", "a/server", "TCP", 80), Undefined);
    assert_eq!(ask(&world, "a/client", "a/agent", "TCP", 80), Undefined);
    assert!(!isolated(&world, "a/agent", Direction::Ingress));
    assert!(matches!(world.end_at("192.0.2.10".parse().unwrap()), End::Address(_)));
    world.pods[3].spec.as_mut().unwrap().host_network = Some(false);
    assert_eq!(ask(&world, "a/client", "a/agent", "TCP", 80), Denied);
    assert!(isolated(&world, "a/agent", Direction::Ingress));
    assert!(matches!(world.end_at("192.0.2.10".parse().unwrap()), End::Pod(_, _)));
}

#[test]
fn s11_a_pod_reaches_itself() {
    let world = world([policy("a", json!({"policyTypes": ["Ingress", "Egress"]}))]);
    assert_eq!(ask(&world, "a/server", "a/server", "TCP", 80), Allowed);
    assert_eq!(ask(&world, "a/client", "a/server", "TCP", 80), Denied);
}

#[test]
fn s11_a_namesake_elsewhere_is_another_pod() {
    let world = world([policy("a", json!({}))]);
    assert_eq!(ask(&world, "b/client", "a/client", "TCP", 80), Denied);
    assert_eq!(ask(&world, "a/client", "a/client", "TCP", 80), Allowed);
}

#[test]
fn s12_the_local_node_reaches_its_pods() {
    let mut world = world([policy("a", json!({"policyTypes": ["Ingress", "Egress"]}))]);
    world.pods[2].status.as_mut().unwrap().host_ip = Some("192.0.2.10".to_owned());
    assert_reached_by(&world, &[("192.0.2.10", Allowed), ("192.0.2.11", Denied)]);
    // That sentence stands with ingress alone.
    assert_eq!(ask(&world, "a/server", "192.0.2.10", "TCP", 10250), Denied);
}

#[test]
fn s13_finished_pods_are_gone_and_terminating_ones_are_not() {
    let closed = || world([policy("a", json!({}))]);
    for (phase, gone) in
        [("Succeeded", true), ("Failed", true), ("Running", false), ("Pending", false), ("Unknown", false)]
    {
        let mut world = closed();
        world.pods[2].status.as_mut().unwrap().phase = Some(phase.to_owned());
        let expected = if gone { Undefined } else { Denied };
        assert_reached_by(&world, &[("b/client", expected)]);
        assert_eq!(isolated(&world, "a/server", Direction::Ingress), !gone, "{phase}");
        // Its address may be another's by now.
        assert_eq!(matches!(world.end_at("10.0.0.3".parse().unwrap()), End::Address(_)), gone, "{phase}");
    }
    let mut world = closed();
    world.pods[2].metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_reached_by(&world, &[("b/client", Denied)]);
}
