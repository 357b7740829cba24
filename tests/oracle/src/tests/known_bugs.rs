//! Where other evaluators were seen to go wrong; named after the list of those bugs.

use serde_json::json;

use super::{ask, assert_reached_by, egress, ingress, isolated, pod, pod_with, policy, world};
use crate::Answer::{Allowed, Denied, Undefined};
use crate::Direction;

#[test]
fn n1_a_protocol_without_a_port_is_still_a_protocol() {
    let world = world([ingress(json!([{"ports": [{"protocol": "UDP"}]}]))]);
    assert_eq!(ask(&world, "a/client", "a/server", "TCP", 80), Denied);
    assert_eq!(ask(&world, "a/client", "a/server", "UDP", 80), Allowed);
}

#[test]
fn n2_an_outside_source_can_be_asked_about() {
    let world = world([ingress(json!([{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]))]);
    assert_reached_by(&world, &[("203.0.113.9", Allowed), ("198.51.100.7", Denied)]);
}

#[test]
fn n3_the_node_is_exempt() {
    let mut world = world([ingress(json!([]))]);
    assert_reached_by(&world, &[("192.0.2.10", Denied)]);
    world.pods[2].status.as_mut().unwrap().host_ips = serde_json::from_value(json!([{"ip": "192.0.2.10"}])).unwrap();
    assert_reached_by(&world, &[("192.0.2.10", Allowed), ("192.0.2.11", Denied)]);
}

#[test]
fn n4_host_network_phase_deletion_and_init_containers_are_modelled() {
    let rule = json!([{"ports": [{"port": "http"}]}]);
    let mut world = world([ingress(rule)]);
    let labels = json!({"app": "server"});
    let ports = json!([{"name": "http", "containerPort": 8080}]);
    let running = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.3"}]});
    let init = json!({"containers": [{"name": "main"}], "initContainers": [{"name": "proxy", "ports": ports}]});

    world.pods[2] = pod_with("a/server", labels.clone(), init.clone(), running.clone());
    assert_reached_by(&world, &[("a/client", Allowed)]);
    world.pods[2].metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_reached_by(&world, &[("a/client", Allowed)]);
    world.pods[2] = pod_with("a/server", labels.clone(), json!({"containers": [{"name": "main"}]}), running.clone());
    assert_reached_by(&world, &[("a/client", Denied)]);

    let done = json!({"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.3"}]});
    world.pods[2] = pod_with("a/server", labels.clone(), init, done);
    assert_reached_by(&world, &[("a/client", Undefined)]);
    let host = json!({"containers": [{"name": "main", "ports": ports}], "hostNetwork": true});
    world.pods[2] = pod_with("a/server", labels, host, running);
    assert_reached_by(&world, &[("a/client", Undefined)]);
    assert!(!isolated(&world, "a/server", Direction::Ingress));
}

#[test]
fn n5_pods_of_one_owner_may_differ_in_their_labels() {
    let select = json!({"matchLabels": {"statefulset.kubernetes.io/pod-name": "db-0"}});
    let mut world = world([policy("a", json!({"podSelector": select}))]);
    for (number, address) in ["10.0.1.0", "10.0.1.1"].into_iter().enumerate() {
        let labels = json!({"app": "db", "statefulset.kubernetes.io/pod-name": format!("db-{number}")});
        world.pods.push(pod(&format!("a/db-{number}"), labels, address));
    }
    assert_eq!(ask(&world, "a/client", "a/db-0", "TCP", 5432), Denied);
    assert_eq!(ask(&world, "a/client", "a/db-1", "TCP", 5432), Allowed);
}

#[test]
fn n6_a_pending_pod_without_an_address_disturbs_nobody() {
    let mut world = world([ingress(json!([{"from": [{"podSelector": {}}]}]))]);
    world
        .pods
        .insert(0, pod_with("a/new", json!({"app": "server"}), json!({"containers": []}), json!({"phase": "Pending"})));
    assert_reached_by(&world, &[("a/client", Allowed), ("b/client", Denied)]);
    assert!(isolated(&world, "a/new", Direction::Ingress), "and policies select it already");
}

#[test]
fn n7_blocks_match_pods_and_ipv6() {
    let world = world([ingress(
        json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/31"}}, {"ipBlock": {"cidr": "2001:db8::/32"}}]}]),
    )]);
    assert_reached_by(&world, &[("a/client", Allowed), ("b/client", Denied)]);
    assert_eq!(ask(&world, "2001:db8::1", "a/server@fd00::3", "TCP", 80), Allowed);
    assert_eq!(ask(&world, "2001:db9::1", "a/server@fd00::3", "TCP", 80), Denied);
}

#[test]
fn p1_not_in_matches_an_absent_key() {
    let from = |operator, values| {
        let selector = json!({"matchExpressions": [{"key": "gw", "operator": operator, "values": values}]});
        world([ingress(json!([{"from": [{"podSelector": selector}]}]))])
    };
    assert_reached_by(&from("NotIn", json!(["x"])), &[("a/client", Allowed)]);
    assert_reached_by(&from("In", json!(["x"])), &[("a/client", Denied)]);
}

#[test]
fn p2_an_empty_value_is_not_an_absent_key() {
    let gw = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"gw": ""}}});
    assert_reached_by(&world([ingress(json!([{"from": [gw]}]))]), &[("a/client", Denied), ("b/client", Allowed)]);
}

#[test]
fn p4_a_policy_without_policy_types() {
    let select = json!({"matchLabels": {"app": "server"}});
    let client = json!([{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]);
    let world = world([policy("a", json!({"podSelector": select, "ingress": client}))]);
    assert_reached_by(&world, &[("a/client", Allowed), ("b/client", Denied)]);
}

#[test]
fn p6_named_ports_match() {
    for policy in [ingress(json!([{"ports": [{"port": "http"}]}])), egress(json!([{"ports": [{"port": "http"}]}]))] {
        let mut world = world([policy]);
        let spec = json!({"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}]});
        world.pods[2] = pod_with("a/server", json!({"app": "server"}), spec, json!({"podIPs": [{"ip": "10.0.0.3"}]}));
        assert_reached_by(&world, &[("a/client", Allowed)]);
        assert_eq!(ask(&world, "a/client", "a/server", "TCP", 8081), Denied);
    }
}

#[test]
fn p7_every_pod_and_every_address_is_asked_about_by_itself() {
    let mut world = world([ingress(json!([{"from": [{"ipBlock": {"cidr": "fd00::/64"}}]}]))]);
    let ips = json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]});
    world.pods[0] = pod_with("a/client", json!({"app": "client"}), json!({"containers": []}), ips);
    assert_eq!(ask(&world, "a/client@fd00::1", "a/server@fd00::3", "TCP", 80), Allowed);
    assert_eq!(ask(&world, "a/client", "a/server", "TCP", 80), Denied);
}
