//! Where other evaluators were seen to go wrong, with kinds beyond NetworkPolicy.

use serde_json::{Value, json};

use super::{assert_flow, assert_reached_by, on_server, world};
use crate::tests::{egress, ingress};
use crate::tiers::World;

fn baseline_deny() -> Value {
    json!({"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "BaselineAdminNetworkPolicy",
        "metadata": {"name": "default"},
        "spec": {"subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}})
}

#[test]
fn k1_a_policy_for_the_other_direction_leaves_baseline_to_decide() {
    let mut world = world([baseline_deny()]);
    world.plain.policies = vec![egress(json!([{}]))];
    // `a/client` is isolated for egress only.
    assert_flow(&world, "b/client", "a/client", "TCP", 80, false);
    world.plain.policies.push(ingress(json!([{}])));
    assert_flow(&world, "b/client", "a/server", "TCP", 80, true);
}

#[test]
fn n1_a_protocol_without_ports_is_still_a_protocol() {
    let world = world([on_server(json!([{"action": "Allow", "protocol": "UDP"}]))]);
    assert_flow(&world, "a/client", "a/server", "TCP", 80, false);
    assert_flow(&world, "a/client", "a/server", "UDP", 80, true);
}

#[test]
fn n3_the_own_node_is_exempt_from_all_kinds() {
    let deny = on_server(json!([{"action": "Deny"}]));
    let admin = json!({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "a"}, "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
        "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}});
    let mut world = world([deny, admin]);
    world.plain.pods[2].status.as_mut().unwrap().host_ip = Some("192.0.2.10".to_owned());
    assert_reached_by(&world, &[("192.0.2.10", true), ("192.0.2.11", false), ("a/server", true), ("a/client", false)]);
}

#[test]
fn n7_blocks_match_pods() {
    let world =
        world([on_server(json!([{"action": "Deny", "source": {"nets": ["10.0.0.0/24"]}}, {"action": "Allow"}]))]);
    assert_reached_by(&world, &[("a/client", false), ("203.0.113.9", true)]);
}

#[test]
fn p1_and_p2_absent_and_empty_labels() {
    let from = |selector: &str| world([on_server(json!([{"action": "Allow", "source": {"selector": selector}}]))]);
    assert_reached_by(&from("gw not in {'x'}"), &[("a/client", true), ("b/client", true)]);
    assert_reached_by(&from("gw != ''"), &[("a/client", true), ("b/client", false)]);
    assert_reached_by(&from("gw == ''"), &[("a/client", false), ("b/client", true)]);
}

#[test]
fn p3_all_documents_are_read() {
    let documents = |spec: Value| {
        vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "p"}, "spec": spec}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "a", "name": "n"}, "spec": {}}),
            on_server(json!([])),
            baseline_deny(),
        ]
    };
    let world = World::read(documents(json!({"containers": []}))).unwrap();
    let plain = &world.plain;
    assert_eq!((plain.namespaces.len(), plain.pods.len(), plain.policies.len(), world.others.len()), (1, 1, 1, 2));
    // What cannot be read is said, not skipped.
    let error = World::read(documents(json!({"containers": "none"}))).unwrap_err();
    assert_eq!(error.to_string(), "cannot read Pod `p`");
}

#[test]
fn nil_and_empty_lists_are_alike() {
    for rules in [json!(null), json!([])] {
        let spec = json!({"selector": "app == 'server'", "types": ["Ingress"], "ingress": rules});
        assert_reached_by(&world([super::gnp("p", spec)]), &[("a/client", false)]);
        let empty =
            json!([{"action": "Allow", "source": {"nets": rules, "notNets": rules}, "destination": {"ports": rules}}]);
        assert_reached_by(&world([on_server(empty)]), &[("a/client", true), ("203.0.113.9", true)]);
    }
}
