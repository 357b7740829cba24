//! Whom policies and rules select (points 7, 8, 10 and 11 of Calico).

use serde_json::{Value, json};

use super::{
    assert_flow, assert_reached_by, calico, from_client, gnp, kubernetes_default_deny, np, on_server, set, world,
};
use crate::{
    Direction,
    tests::{end, pod_with},
};

const OUTSIDE: &str = "203.0.113.9";

fn from(entity: Value) -> Value {
    json!([{"action": "Allow", "source": entity}])
}

/// Ingress rules for the server, in a policy of namespace `a`.
fn own(rules: Value) -> Value {
    np("a/own", json!({"order": 10, "selector": "app == 'server'", "types": ["Ingress"], "ingress": rules}))
}

#[test]
fn c07_a_policy_selects_pods() {
    let denied = |spec: Value| world([gnp("p", spec)]);
    let spec = |fields: Value| {
        let mut spec = json!({"order": 1, "types": ["Ingress"]});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        spec
    };
    // (fields, whether a/server is selected, whether b/client is)
    for (fields, server, other) in [
        (json!({}), true, true),
        (json!({"selector": "all()"}), true, true),
        (json!({"selector": "app == 'server'"}), true, false),
        (json!({"namespaceSelector": "team == 'y'"}), false, true),
        (json!({"namespaceSelector": "all()"}), true, true),
        (json!({"selector": "has(gw)", "namespaceSelector": "team == 'x'"}), false, false),
        (json!({"serviceAccountSelector": "projectcalico.org/name == 'default'"}), true, true),
        (json!({"serviceAccountSelector": "projectcalico.org/name == 'robot'"}), false, false),
        // A newline is no blank: what the API refuses selects nothing.
        (json!({"selector": "all()\n"}), false, false),
    ] {
        let world = denied(spec(fields.clone()));
        assert_flow(&world, "203.0.113.9", "a/server", "TCP", 80, !server);
        assert_flow(&world, "203.0.113.9", "b/client", "TCP", 80, !other);
    }
    // A policy of a namespace never selects elsewhere.
    let namespaced = world([np("a/p", spec(json!({})))]);
    assert_flow(&namespaced, OUTSIDE, "a/server", "TCP", 80, false);
    assert_flow(&namespaced, OUTSIDE, "b/client", "TCP", 80, true);
}

#[test]
fn c03_a_pod_is_isolated_by_policies_of_any_kind_in_their_directions_alone() {
    let staged = calico("StagedGlobalNetworkPolicy", json!({"name": "s"}), json!({"types": ["Egress"]}));
    let pass = gnp("p", json!({"selector": "app == 'server'", "types": ["Egress"], "egress": [{"action": "Pass"}]}));
    let plain = kubernetes_default_deny(world([staged, pass]));
    for (name, ingress, egress) in
        [("a/server", true, true), ("a/client", true, false), ("b/client", false, false), (OUTSIDE, false, false)]
    {
        let end = end(&plain.plain, name);
        let is = |direction| crate::tiers::isolated(&plain, end, direction);
        assert_eq!((is(Direction::Ingress), is(Direction::Egress)), (ingress, egress), "{name}");
    }
}

#[test]
fn c07_all_and_global_as_namespace_selectors() {
    let sets = [
        set("g", json!({"role": "db"}), json!(["203.0.113.0/24"])),
        set("b/n", json!({"role": "db"}), json!(["198.51.100.0/24"])),
    ];
    let with = |entity: Value| world(sets.clone().into_iter().chain([on_server(from(entity))]));
    assert_reached_by(
        &with(json!({"namespaceSelector": "all()"})),
        &[("b/client", true), ("198.51.100.7", true), (OUTSIDE, false)],
    );
    assert_reached_by(
        &with(json!({"namespaceSelector": "global()"})),
        &[("b/client", false), ("198.51.100.7", false), (OUTSIDE, true)],
    );
    assert_reached_by(
        &with(json!({"selector": "role == 'db'", "namespaceSelector": "global()"})),
        &[(OUTSIDE, true), ("198.51.100.7", false)],
    );
    // Elsewhere global() is refused.
    assert_reached_by(&with(json!({"selector": "global()"})), &[(OUTSIDE, false), ("b/client", false)]);
}

#[test]
fn c08_a_rule_of_a_namespace_is_limited_to_it_as_soon_as_it_selects() {
    let with = |entity: Value| world([own(from(entity))]);
    assert_reached_by(&with(json!({})), &[("a/client", true), ("b/client", true), (OUTSIDE, true)]);
    for entity in [
        json!({"selector": "app == 'client'"}),
        json!({"notSelector": "app == 'other'"}),
        json!({"serviceAccounts": {"names": ["default"]}}),
        json!({"serviceAccounts": {"selector": "all()"}}),
    ] {
        assert_reached_by(&with(entity), &[("a/client", true), ("b/client", false), (OUTSIDE, false)]);
    }
    // Blocks and ports do not limit it.
    assert_reached_by(&with(json!({"nets": ["0.0.0.0/0"]})), &[("b/client", true), (OUTSIDE, true)]);
    let elsewhere = json!({"selector": "app == 'client'", "namespaceSelector": "team == 'y'"});
    assert_reached_by(&with(elsewhere), &[("a/client", false), ("b/client", true)]);
    // A global policy's rule has no namespace of its own.
    let global = world([on_server(from(json!({"selector": "app == 'client'"})))]);
    assert_reached_by(&global, &[("a/client", true), ("b/client", true), (OUTSIDE, false)]);
}

#[test]
fn c08_not_selector_alone_matches_who_is_not_known() {
    let with = |entity: Value| world([on_server(from(entity))]);
    let not = with(json!({"notSelector": "has(gw)"}));
    assert_reached_by(&not, &[("a/client", true), ("b/client", false), (OUTSIDE, true)]);
    let negated = with(json!({"selector": "!has(gw)"}));
    assert_reached_by(&negated, &[("a/client", true), ("b/client", false), (OUTSIDE, false)]);
}

/// An address in two sets: one satisfies the whole, the other notSelector.
fn in_two_sets(entity: Value) -> crate::tiers::World {
    world([
        set("good", json!({"role": "db"}), json!(["203.0.113.0/24"])),
        set("bad", json!({"role": "db", "old": ""}), json!(["203.0.113.9/32", "198.51.100.7"])),
        on_server(from(entity)),
    ])
}

#[test]
fn c08_not_selector_is_folded_into_a_positive_match() {
    for entity in [
        json!({"selector": "role == 'db'", "notSelector": "has(old)"}),
        json!({"namespaceSelector": "global()", "notSelector": "has(old)"}),
    ] {
        let world = in_two_sets(entity);
        assert_reached_by(&world, &[(OUTSIDE, true), ("203.0.113.10", true), ("198.51.100.7", false)]);
    }
    // Alone it excludes the address, whatever else holds it.
    let alone = in_two_sets(json!({"notSelector": "has(old)"}));
    assert_reached_by(&alone, &[(OUTSIDE, false), ("203.0.113.10", true), ("198.51.100.7", false)]);
}

#[test]
fn c08_not_selector_alone_looks_into_all_namespaces() {
    let world = world([
        set("b/n", json!({"old": ""}), json!(["203.0.113.0/24"])),
        on_server(from(json!({"notSelector": "has(old)"}))),
    ]);
    assert_reached_by(&world, &[(OUTSIDE, false), ("198.51.100.7", true), ("b/client", true)]);
}

#[test]
fn c10_labels_that_calico_adds() {
    let reaches = |entity: Value| world([on_server(from(entity))]);
    for selector in [
        "projectcalico.org/namespace == 'b'",
        "projectcalico.org/orchestrator == 'k8s' && has(gw)",
        "projectcalico.org/serviceaccount == 'default' && has(gw)",
    ] {
        assert_reached_by(&reaches(json!({"selector": selector})), &[("b/client", true), ("a/client", false)]);
    }
    for selector in [
        "projectcalico.org/name == 'b'",
        "kubernetes.io/metadata.name == 'b'",
        "has(blank)",
        "team == 'y'",
        "team not in {'x'}",
    ] {
        let world = reaches(json!({"namespaceSelector": selector}));
        assert_reached_by(&world, &[("b/client", true), ("a/client", false), (OUTSIDE, false)]);
    }
    // A pod's labels are not the namespace's, nor the other way round.
    assert_reached_by(&reaches(json!({"selector": "team == 'y'"})), &[("b/client", false)]);
    assert_reached_by(&reaches(json!({"namespaceSelector": "has(gw)"})), &[("b/client", false)]);
}

#[test]
fn c10_service_accounts() {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"namespace": "a", "name": "robot", "labels": {"role": "bot"}}});
    let with = |entity: Value, name: &str| {
        let mut world = world([account.clone(), on_server(from(entity))]);
        let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]});
        let spec = json!({"containers": [], "serviceAccountName": name});
        world.plain.pods[0] = pod_with("a/client", json!({"app": "client"}), spec, status);
        world
    };
    for (accounts, robot, other) in [
        (json!({"names": ["robot"]}), true, false),
        (json!({"names": ["robot", "default"]}), true, true),
        (json!({"selector": "role == 'bot'"}), true, false),
        (json!({"selector": "role != 'bot'"}), false, true),
        (json!({"selector": "projectcalico.org/name == 'robot'"}), true, false),
        (json!({"names": ["default"], "selector": "role == 'bot'"}), false, false),
    ] {
        let world = with(json!({"serviceAccounts": accounts}), "robot");
        assert_reached_by(&world, &[("a/client", robot), ("b/client", other), (OUTSIDE, false)]);
    }
    // One that is too long for a label is the pod's all the same, but nothing of the account itself is known.
    for (length, known) in [(63, true), (64, false)] {
        let name = "r".repeat(length);
        assert_reached_by(&with(json!({"serviceAccounts": {"names": [name]}}), &name), &[("a/client", true)]);
        let by_name = json!({"serviceAccounts": {"selector": format!("projectcalico.org/name == '{name}'")}});
        assert_reached_by(&with(by_name, &name), &[("a/client", known)]);
    }
}

#[test]
fn c10_all_beside_a_service_account_selector_is_every_pod() {
    // A name that is too long for a label.
    let pod_spec = json!({"containers": [], "serviceAccountName": "r".repeat(64)});
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]});
    let client = pod_with("a/client", json!({"app": "client"}), pod_spec, status);
    let other = "!projectcalico.org/name == 'x'";
    for fields in [
        json!({"serviceAccountSelector": "all()"}),
        json!({"serviceAccountSelector": other}),
        json!({"selector": "has(app)", "serviceAccountSelector": other}),
        json!({"selector": "all()", "serviceAccountSelector": other}),
        json!({"selector": "all()", "namespaceSelector": "all()", "serviceAccountSelector": other}),
    ] {
        let mut spec = fields.clone();
        spec["types"] = json!(["Egress"]);
        for policy in [gnp("p", spec.clone()), np("a/p", spec.clone())] {
            let mut world = world([policy]);
            world.plain.pods[0] = client.clone();
            assert_flow(&world, "a/client", OUTSIDE, "TCP", 80, false);
        }
    }
}

#[test]
fn c11_selectors_match_network_sets() {
    let sets = [
        set("partners", json!({"app": "client"}), json!(["203.0.113.0/24", "2001:db8::/64"])),
        set("b/local", json!({"app": "client", "team": "z"}), json!(["198.51.100.7"])),
    ];
    let with = |policy: Value| world(sets.clone().into_iter().chain([policy]));
    let global = with(on_server(from(json!({"selector": "app == 'client'"}))));
    assert_reached_by(&global, &[("a/client", true), (OUTSIDE, true), ("198.51.100.7", true), ("198.51.100.8", false)]);
    // A NetworkSet is in its namespace, a GlobalNetworkSet in none.
    assert_reached_by(
        &with(own(from(json!({"selector": "app == 'client'"})))),
        &[("a/client", true), (OUTSIDE, false), ("198.51.100.7", false)],
    );
    assert_reached_by(
        &with(on_server(from(json!({"selector": "app == 'client'", "namespaceSelector": "team == 'y'"})))),
        &[("b/client", true), ("198.51.100.7", true), (OUTSIDE, false), ("a/client", false)],
    );
    // One without a namespace has none of a namespace's labels: what matches absent labels matches it.
    assert_reached_by(
        &with(on_server(from(json!({"namespaceSelector": "team != 'y'"})))),
        &[("a/client", true), (OUTSIDE, true), ("b/client", false), ("198.51.100.7", false)],
    );
    // The same as a destination.
    let egress = with(from_client(
        json!([{"action": "Deny", "destination": {"selector": "team == 'z'", "namespaceSelector": "all()"}}, {"action": "Allow"}]),
    ));
    assert_flow(&egress, "a/client", "198.51.100.7", "TCP", 443, false);
    assert_flow(&egress, "a/client", OUTSIDE, "TCP", 443, true);
}

#[test]
fn c11_kubernetes_selectors_do_not_match_network_sets() {
    let mut world = world([set("b/local", json!({"app": "client"}), json!([OUTSIDE]))]);
    let peers = json!([{"from": [{"namespaceSelector": {}}, {"podSelector": {"matchLabels": {"app": "client"}}}]}]);
    world.plain.policies = vec![crate::tests::ingress(peers)];
    assert_reached_by(&world, &[("a/client", true), ("b/client", true), (OUTSIDE, false)]);
}
