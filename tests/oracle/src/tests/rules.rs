//! What policies, rules, peers and selectors say: one test a rule of the API, with the case that turns
//! out the other way.

use serde_json::json;

use super::{ask, assert_reached_by, egress, end, ingress, isolated, namespace, pod, policy, world};
use crate::Answer::{Allowed, Denied};
use crate::{Direction, allowed};

#[test]
fn s01_absent_and_empty_lists() {
    for rules in [json!([{}]), json!([{"from": []}]), json!([{"ports": []}]), json!([{"from": [], "ports": []}])] {
        let open = world([ingress(rules.clone())]);
        assert_reached_by(&open, &[("a/client", Allowed), ("b/client", Allowed), ("203.0.113.9", Allowed)]);
    }
    for closed in [json!([]), json!(null)] {
        let closed = world([ingress(closed)]);
        assert_reached_by(&closed, &[("a/client", Denied), ("b/client", Denied), ("203.0.113.9", Denied)]);
    }
    assert_reached_by(&world([]), &[("a/client", Allowed), ("203.0.113.9", Allowed)]);
}

#[test]
fn s02_pod_selector_of_the_policy() {
    for all in [json!({"podSelector": {}}), json!({})] {
        let denied = world([policy("a", all.clone())]);
        assert_reached_by(&denied, &[("b/client", Denied)]);
        assert!(isolated(&denied, "a/client", Direction::Ingress), "{all} selects every pod of a");
        assert!(!isolated(&denied, "b/client", Direction::Ingress), "but none of b");
    }
    let other = world([policy("a", json!({"podSelector": {"matchLabels": {"app": "client"}}}))]);
    assert_reached_by(&other, &[("b/client", Allowed)]);
}

#[test]
fn s02_namespace_and_pod_selectors_of_a_peer() {
    let from = |peers| world([ingress(json!([{"from": peers}]))]);
    let client = json!({"matchLabels": {"app": "client"}});
    let cases = [
        (json!([{"podSelector": client}]), [Allowed, Denied]),
        (json!([{"podSelector": {}}]), [Allowed, Denied]),
        (json!([{"namespaceSelector": {"matchLabels": {"team": "y"}}}]), [Denied, Allowed]),
        (json!([{"namespaceSelector": {}}]), [Allowed, Allowed]),
        (
            json!([{"namespaceSelector": {"matchLabels": {"team": "x"}}, "podSelector": {"matchLabels": {"app": "server"}}}]),
            [Denied, Denied],
        ),
        (json!([{"namespaceSelector": {"matchLabels": {"team": "y"}}, "podSelector": client}]), [Denied, Allowed]),
        // The same two selectors as two items: either will do.
        (json!([{"namespaceSelector": {"matchLabels": {"team": "y"}}}, {"podSelector": client}]), [Allowed, Allowed]),
        (json!([{"namespaceSelector": {}, "podSelector": client}]), [Allowed, Allowed]),
    ];
    for (peers, [own, other]) in cases {
        assert_reached_by(&from(peers), &[("a/client", own), ("b/client", other)]);
    }
}

#[test]
fn s03_selectors_are_not_anyone() {
    let everyone = world([ingress(json!([{"from": [{"namespaceSelector": {}}]}]))]);
    assert_reached_by(&everyone, &[("b/client", Allowed), ("203.0.113.9", Denied)]);
    let out = world([egress(json!([{"to": [{"namespaceSelector": {}}]}]))]);
    assert_eq!(ask(&out, "a/client", "203.0.113.9", "TCP", 443), Denied);
    assert_eq!(ask(&out, "a/client", "b/client", "TCP", 443), Allowed);
}

#[test]
fn s04_policy_types_default() {
    let select = json!({"matchLabels": {"app": "client"}});
    let sides = |spec| {
        let world = world([policy("a", spec)]);
        [Direction::Ingress, Direction::Egress].map(|direction| isolated(&world, "a/client", direction))
    };
    assert_eq!(sides(json!({"podSelector": select})), [true, false]);
    assert_eq!(sides(json!({"podSelector": select, "policyTypes": []})), [true, false]);
    assert_eq!(sides(json!({"podSelector": select, "egress": []})), [true, false]);
    assert_eq!(sides(json!({"podSelector": select, "egress": [{}]})), [true, true]);
    assert_eq!(sides(json!({"podSelector": select, "policyTypes": ["Egress"]})), [false, true]);
    assert_eq!(sides(json!({"podSelector": select, "policyTypes": ["Egress"], "ingress": [{}]})), [false, true]);
    assert_eq!(sides(json!({"podSelector": select, "policyTypes": ["Ingress"], "egress": [{}]})), [true, false]);
    assert_eq!(sides(json!({"podSelector": select, "policyTypes": ["Ingress", "Egress"]})), [true, true]);
}

#[test]
fn s04_rules_of_a_type_not_named_open_nothing() {
    let select = json!({"matchLabels": {"app": "server"}});
    let closing = ingress(json!([]));
    let elsewhere = policy("a", json!({"podSelector": select, "policyTypes": ["Egress"], "ingress": [{}]}));
    assert_reached_by(&world([closing.clone(), elsewhere]), &[("a/client", Denied)]);
    let named = policy("a", json!({"podSelector": select, "policyTypes": ["Ingress"], "ingress": [{}]}));
    assert_reached_by(&world([closing, named]), &[("a/client", Allowed)]);

    let client = json!({"matchLabels": {"app": "client"}});
    let closing = egress(json!([]));
    let elsewhere = policy("a", json!({"podSelector": client, "policyTypes": ["Ingress"], "egress": [{}]}));
    assert_reached_by(&world([closing.clone(), elsewhere]), &[("a/client", Denied)]);
    let named = policy("a", json!({"podSelector": client, "policyTypes": ["Egress"], "egress": [{}]}));
    assert_reached_by(&world([closing, named]), &[("a/client", Allowed)]);
}

#[test]
fn s05_both_sides_must_allow() {
    let (closed_in, closed_out) = (ingress(json!([])), egress(json!([])));
    let (open_in, open_out) = (ingress(json!([{}])), egress(json!([{}])));
    for (policies, expected) in [
        ([open_in.clone(), open_out.clone()], Allowed),
        ([open_in.clone(), closed_out.clone()], Denied),
        ([closed_in.clone(), open_out.clone()], Denied),
        ([closed_in.clone(), closed_out.clone()], Denied),
        // Additive: what one policy opens no other closes.
        ([closed_in, open_in], Allowed),
        ([closed_out, open_out], Allowed),
    ] {
        assert_reached_by(&world(policies), &[("a/client", expected)]);
    }
    // Isolation is per direction: the server may still call.
    assert_eq!(ask(&world([ingress(json!([]))]), "a/server", "b/client", "TCP", 80), Allowed);
}

#[test]
fn s06_protocol_and_port() {
    let on = |ports, protocol, port| {
        ask(&world([ingress(json!([{"ports": ports}]))]), "a/client", "a/server", protocol, port)
    };
    assert_eq!(on(json!([{"protocol": "UDP"}]), "UDP", 1), Allowed);
    assert_eq!(on(json!([{"protocol": "UDP"}]), "TCP", 1), Denied);
    assert_eq!(on(json!([{"port": 53}]), "TCP", 53), Allowed);
    assert_eq!(on(json!([{"port": 53}]), "UDP", 53), Denied);
    assert_eq!(on(json!([{}]), "TCP", 65535), Allowed);
    assert_eq!(on(json!([{}]), "UDP", 53), Denied);
    assert_eq!(on(json!([{"port": 53}, {"port": 53, "protocol": "UDP"}]), "UDP", 53), Allowed);
    assert_eq!(on(json!([{"protocol": "TCP"}, {"protocol": "UDP"}, {"protocol": "SCTP"}]), "ICMP", 0), Denied);
    assert_eq!(on(json!([]), "ICMP", 0), Allowed);
}

#[test]
fn s16_namespace_labels() {
    let from = |selector| world([ingress(json!([{"from": [{"namespaceSelector": selector}]}]))]);
    let by_name = from(json!({"matchLabels": {"kubernetes.io/metadata.name": "b"}}));
    assert_reached_by(&by_name, &[("b/client", Allowed), ("a/client", Denied)]);
    let blank = from(json!({"matchLabels": {"blank": ""}}));
    assert_reached_by(&blank, &[("b/client", Allowed), ("a/client", Denied)]);
    let mut relabelled = from(json!({"matchLabels": {"team": "y"}}));
    assert_reached_by(&relabelled, &[("b/client", Allowed)]);
    relabelled.namespaces[1] = namespace("b", json!({}));
    assert_reached_by(&relabelled, &[("b/client", Denied)]);
}

#[test]
fn every_operator_on_present_absent_and_empty_values() {
    // Answers for: `gw` absent, `gw: ""`, `gw: x`.
    for (requirement, expected) in [
        (json!({"key": "gw", "operator": "In", "values": ["x"]}), [Denied, Denied, Allowed]),
        (json!({"key": "gw", "operator": "In", "values": [""]}), [Denied, Allowed, Denied]),
        (json!({"key": "gw", "operator": "In", "values": ["", "x"]}), [Denied, Allowed, Allowed]),
        (json!({"key": "gw", "operator": "NotIn", "values": ["x"]}), [Allowed, Allowed, Denied]),
        (json!({"key": "gw", "operator": "NotIn", "values": [""]}), [Allowed, Denied, Allowed]),
        (json!({"key": "gw", "operator": "Exists"}), [Denied, Allowed, Allowed]),
        (json!({"key": "gw", "operator": "DoesNotExist"}), [Allowed, Denied, Denied]),
    ] {
        let mut world = world([ingress(json!([{"from": [{"podSelector": {"matchExpressions": [requirement]}}]}]))]);
        for (labels, expected) in [json!({}), json!({"gw": ""}), json!({"gw": "x"})].into_iter().zip(expected) {
            world.pods[0] = pod("a/client", labels.clone(), "10.0.0.1");
            assert_eq!(ask(&world, "a/client", "a/server", "TCP", 80), expected, "{requirement} on {labels}");
        }
    }
}

#[test]
fn requirements_and_labels_are_all_needed() {
    let selector = json!({"matchLabels": {"app": "client"}, "matchExpressions": [{"key": "gw", "operator": "Exists"}]});
    let world = world([ingress(json!([{"from": [{"namespaceSelector": {}, "podSelector": selector}]}]))]);
    assert_reached_by(&world, &[("b/client", Allowed), ("a/client", Denied)]);
    assert_eq!(allowed(&world, end(&world, "a/server"), end(&world, "a/client"), "TCP", 1), Allowed);
}
