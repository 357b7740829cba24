#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use proptest::{prelude::*, sample::subsequence};
use serde_json::json;

use super::*;
use crate::model::{Origins, PolicyRef};

fn document(spec: Value) -> PolicyDocument {
    PolicyDocument {
        id: PolicyRef::network_policy("shop", "web"),
        api_version: "networking.k8s.io/v1".to_owned(),
        object: json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}),
        origins: Origins::default(),
        kustomization: None,
    }
}

fn equality(a: Value, b: Value) -> Equality {
    spec_equal(&document(a), &document(b))
}

#[test]
fn what_the_api_fills_in_is_no_difference() {
    for (git, live) in [
        (json!({}), json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
        (json!({"podSelector": {"matchLabels": {}, "matchExpressions": []}}), json!({"podSelector": {}})),
        (json!({"ingress": []}), json!({"ingress": null})),
        (json!({"egress": [{}]}), json!({"egress": [{}], "policyTypes": ["Ingress", "Egress"]})),
        (
            json!({"ingress": [{"ports": [{"port": 80}]}]}),
            json!({"ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}),
        ),
        (json!({"ingress": [{"from": [], "ports": null}]}), json!({"ingress": [{}]})),
    ] {
        assert_eq!(equality(git.clone(), live.clone()), Equality::Same, "{git} / {live}");
    }
}

#[test]
fn order_and_spelling_are_told_apart_from_meaning() {
    let peers = |list: Value| json!({"ingress": [{"from": list}]});
    for (a, b) in [
        (json!({"policyTypes": ["Egress", "Ingress"]}), json!({"policyTypes": ["Ingress", "Egress"]})),
        (
            peers(json!([{"podSelector": {"matchLabels": {"a": "b"}}}])),
            peers(json!([{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}])),
        ),
        (peers(json!([{"ipBlock": {"cidr": "10.1.2.3/8"}}])), peers(json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]))),
        (json!({"ingress": [{}, {}]}), json!({"ingress": [{}]})),
        (
            json!({"ingress": [{"ports": [{"port": 80, "endPort": 80}]}]}),
            json!({"ingress": [{"ports": [{"port": 80}]}]}),
        ),
        (json!({"policyTypes": ["Ingress"], "egress": [{}]}), json!({"policyTypes": ["Ingress"]})),
    ] {
        assert_eq!(equality(a.clone(), b.clone()), Equality::OrderOnly, "{a} / {b}");
    }
}

#[test]
fn what_looks_alike_and_means_something_else_is_different() {
    let peers = |list: Value| json!({"ingress": [{"from": list}]});
    let ports = |list: Value| json!({"ingress": [{"ports": list}]});
    let all = json!({});
    for (a, b) in [
        (json!({"ingress": [{}]}), json!({"ingress": []})),
        (peers(json!([{"podSelector": all}])), peers(json!([{"namespaceSelector": all}]))),
        (peers(json!([{"podSelector": all}])), peers(json!([{"podSelector": all, "namespaceSelector": all}]))),
        (
            peers(json!([{"podSelector": all, "namespaceSelector": all}])),
            peers(json!([{"podSelector": all}, {"namespaceSelector": all}])),
        ),
        (peers(json!([{"podSelector": all}])), peers(json!([]))),
        (ports(json!([{"port": 80}])), ports(json!([{"port": "80"}]))),
        (ports(json!([{"port": 80}])), ports(json!([{"port": 80, "protocol": "UDP"}]))),
        (ports(json!([{"port": 80}])), ports(json!([{"port": 80, "endPort": 81}]))),
        (ports(json!([{"protocol": "TCP"}])), ports(json!([]))),
        (json!({"policyTypes": ["Ingress"]}), json!({"policyTypes": ["Ingress", "Egress"]})),
        (json!({"ingress": [{}]}), json!({"ingress": [{"future": 1}]})),
        (json!({"podSelector": {"matchLabels": {"a": ""}}}), json!({"podSelector": {}})),
        (json!({"ingress": [{"from": "all"}]}), json!({"ingress": [{}]})),
    ] {
        assert_eq!(equality(a.clone(), b.clone()), Equality::Different, "{a} / {b}");
    }
}

#[test]
fn other_kinds_are_compared_in_their_order() {
    let other = |spec: Value| PolicyDocument { api_version: "policy.example.org/v1".to_owned(), ..document(spec) };
    let (a, b) = (json!({"types": ["Ingress", "Egress"]}), json!({"types": ["Egress", "Ingress"]}));
    assert_eq!(spec_equal(&other(a.clone()), &other(b)), Equality::Different, "its rules may be ordered");
    assert_eq!(spec_equal(&other(a.clone()), &other(a)), Equality::Same);
}

fn changed(old: Option<Value>, new: Value) -> Vec<String> {
    let refs = changed_rules(old.map(document).as_ref(), &document(new));
    refs.iter().map(|rule| format!("{}[{}]", rule.direction.word(), rule.index)).collect()
}

#[test]
fn the_rules_of_a_merge_are_the_new_ones_alone() {
    let rule = |port: u16| json!({"ports": [{"port": port}]});
    let spec = |ports: &[u16]| json!({"ingress": ports.iter().map(|port| rule(*port)).collect::<Vec<_>>()});
    assert_eq!(changed(Some(spec(&[1, 2])), spec(&[2, 3, 1])), ["ingress[1]"], "moved rules are not changed");
    assert_eq!(changed(Some(spec(&[1, 2])), spec(&[1])), Vec::<String>::new(), "a removed rule opens nothing");
    assert_eq!(changed(Some(spec(&[1])), spec(&[1, 1])), ["ingress[1]"], "rules are counted");
    assert_eq!(changed(None, spec(&[1, 2])), ["ingress[0]", "ingress[1]"]);
    let spelled = json!({"ingress": [{"ports": [{"port": 1, "protocol": "TCP"}], "from": []}]});
    assert_eq!(changed(Some(spec(&[1])), spelled), Vec::<String>::new(), "defaults are no change");
}

#[test]
fn a_rule_that_now_speaks_for_others_is_changed() {
    let spec = |selector: Value, types: Value| json!({"podSelector": selector, "policyTypes": types, "ingress": [{}], "egress": [{}]});
    let (web, all) = (json!({"matchLabels": {"app": "web"}}), json!({}));
    let (both, one) = (json!(["Ingress", "Egress"]), json!(["Ingress"]));
    let changed_subject = changed(Some(spec(web.clone(), both.clone())), spec(all, both.clone()));
    assert_eq!(changed_subject, ["ingress[0]", "egress[0]"]);
    assert_eq!(changed(Some(spec(web.clone(), one.clone())), spec(web.clone(), both.clone())), ["egress[0]"]);
    assert_eq!(changed(Some(spec(web.clone(), both)), spec(web, one)), Vec::<String>::new());
}

/// A selector, by its matchLabels and its expressions.
fn selectors() -> impl Strategy<Value = Value> {
    let labels = proptest::collection::btree_map("[ab]", "[xy]?", 0..3);
    let values = || subsequence(vec!["x", "y", "z"], 1..3);
    let one = prop_oneof![
        (values(), prop_oneof![Just("In"), Just("NotIn")])
            .prop_map(|(values, operator)| json!({"key": "c", "operator": operator, "values": values})),
        prop_oneof![Just("Exists"), Just("DoesNotExist")]
            .prop_map(|operator| json!({"key": "d", "operator": operator})),
    ];
    (labels, proptest::collection::vec(one, 0..3))
        .prop_map(|(labels, expressions)| json!({"matchLabels": labels, "matchExpressions": expressions}))
}

fn peers() -> impl Strategy<Value = Value> {
    let nets = subsequence(vec!["10.0.1.0/24", "10.0.2.0/24"], 0..3);
    prop_oneof![
        selectors().prop_map(|pods| json!({"podSelector": pods})),
        selectors().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selectors(), selectors()).prop_map(|(a, b)| json!({"podSelector": a, "namespaceSelector": b})),
        nets.prop_map(|except| json!({"ipBlock": {"cidr": "10.0.0.0/16", "except": except}})),
    ]
}

fn rules_of(field: &'static str) -> impl Strategy<Value = Value> {
    let port = prop_oneof![
        (1..100_u16).prop_map(|port| json!({"port": port})),
        (1..100_u16).prop_map(|port| json!({"port": port, "endPort": port + 7, "protocol": "UDP"})),
        Just(json!({"port": "http"})),
        Just(json!({"protocol": "SCTP"})),
    ];
    (proptest::collection::vec(peers(), 0..3), proptest::collection::vec(port, 0..3))
        .prop_map(move |(peers, ports)| json!({field: peers, "ports": ports}))
}

fn specs() -> impl Strategy<Value = Value> {
    let types = subsequence(vec!["Ingress", "Egress"], 0..3);
    let lists = |field| proptest::collection::vec(rules_of(field), 0..3);
    (selectors(), types, lists("from"), lists("to")).prop_map(|(pods, types, ingress, egress)| {
        json!({"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress})
    })
}

/// Turns every list round by `seed`, repeats its first element, and drops lists and maps that are empty, as the API may.
fn respelled(value: &Value, seed: usize) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| respelled(item, seed / 2)).collect();
            let turn = seed % items.len().max(1);
            items.rotate_left(turn);
            if seed.is_multiple_of(3) {
                items.extend(items.first().cloned());
            }
            Value::Array(items)
        }
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, value)| {
                let list = value.as_array().is_some_and(Vec::is_empty);
                !(list && seed.is_multiple_of(2)
                    || key.as_str() == "matchLabels" && value.as_object().unwrap().is_empty())
            });
            kept.map(|(key, value)| (key.clone(), respelled(value, seed / 2))).collect()
        }
        scalar => scalar.clone(),
    }
}

/// Every way to change one scalar or to drop one element, with the pointer of what was changed.
fn perturbed(spec: &Value) -> Vec<Value> {
    fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
        let fields: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
            _ => return into.push(at.to_owned()),
        };
        for (key, value) in fields {
            pointers(value, &format!("{at}/{key}"), into);
        }
    }
    let mut all = Vec::new();
    pointers(spec, "", &mut all);
    let changes = all.iter().map(|pointer| {
        let mut changed = spec.clone();
        let scalar = changed.pointer_mut(pointer).unwrap();
        *scalar = match scalar.clone() {
            Value::Number(number) => json!(number.as_u64().unwrap() + 1000),
            other => json!(format!("{}-other", other.as_str().unwrap_or_default())),
        };
        changed
    });
    changes.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_respelling_is_a_difference(spec in specs(), seed in 0..64_usize) {
        let other = respelled(&spec, seed);
        prop_assert_ne!(equality(spec.clone(), other.clone()), Equality::Different, "{} / {}", spec, other);
        prop_assert!(changed(Some(spec), other.clone()).len() <= 6);
    }

    #[test]
    fn what_the_api_stores_is_the_same(spec in specs()) {
        let stored = defaulted(&document(spec.clone()));
        prop_assert_eq!(equality(spec.clone(), stored.clone()), Equality::Same);
        prop_assert_eq!(defaulted(&document(stored.clone())), stored.clone(), "defaulting twice adds nothing");
        prop_assert_eq!(changed(Some(spec), stored), Vec::<String>::new());
    }

    #[test]
    fn every_other_word_is_a_difference(spec in specs()) {
        // Rules without effect may change without a difference; so every direction is named.
        let mut spec = spec;
        spec["policyTypes"] = json!(["Ingress", "Egress"]);
        for other in perturbed(&spec) {
            prop_assert_eq!(equality(spec.clone(), other.clone()), Equality::Different, "{} / {}", spec, other);
        }
    }
}
