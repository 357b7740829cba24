//! Taking features out of NetworkPolicies of Kubernetes.

use serde_json::{Value, json};

use super::Feature;
use super::edits::{feature, remove, set};
use crate::tiers::World;
use crate::tiers::json::text;

/// What nothing matches, in the place of a peer or a port.
const NOBODY: &str = "absent";

/// What a NetworkPolicy says.
pub(super) fn all() -> Vec<Feature> {
    let mut found = rules();
    found.extend(selectors());
    found
}

fn rules() -> Vec<Feature> {
    vec![
        feature("policies", |world| world.plain.policies.clear()),
        feature("policyTypes", |world| each_spec(world, |spec| remove(spec, "", "policyTypes"))),
        feature("policyTypes by default", |world| {
            each_spec(world, |spec| {
                if spec.pointer("/policyTypes/0").is_none() {
                    set(spec, "", "policyTypes", json!(["Ingress", "Egress"]));
                }
            });
        }),
        feature("ports", |world| each_rule(world, |rule| remove(rule, "", "ports"))),
        feature("protocol of ports", |world| {
            each_port(world, |port| {
                let other = if text(port, "/protocol") == "UDP" { "TCP" } else { "UDP" };
                set(port, "", "protocol", json!(other));
            });
        }),
        feature("ports without a number", |world| {
            each_port(world, |port| {
                if port.pointer("/port").is_none() {
                    set(port, "", "port", json!(1));
                }
            });
        }),
        feature("numbers of ports", |world| {
            each_port(world, |port| {
                if port.pointer("/port").is_some_and(Value::is_number) && port.pointer("/endPort").is_none() {
                    set(port, "", "port", json!(1));
                }
            });
        }),
        feature("named ports", |world| {
            each_port(world, |port| {
                if port.pointer("/port").is_some_and(Value::is_string) {
                    set(port, "", "port", json!(NOBODY));
                }
            });
        }),
        feature("endPort", |world| each_port(world, |port| remove(port, "", "endPort"))),
        feature("ipBlock", |world| each_peer(world, "ipBlock")),
        feature("except of ipBlock", |world| each_rule_peer(world, |peer| remove(peer, "/ipBlock", "except"))),
    ]
}

fn selectors() -> Vec<Feature> {
    vec![
        feature("podSelector", |world| each_spec(world, |spec| remove(spec, "", "podSelector"))),
        feature("namespaceSelector of peers", |world| each_peer(world, "namespaceSelector")),
        feature("podSelector of peers", |world| each_peer(world, "podSelector")),
        feature("podSelector beside namespaceSelector", |world| {
            each_rule_peer(world, |peer| {
                if peer.pointer("/namespaceSelector").is_some() {
                    remove(peer, "", "podSelector");
                }
            });
        }),
        feature("a peer's own namespace", |world| {
            each_rule_peer(world, |peer| {
                if peer.pointer("/podSelector").is_some() && peer.pointer("/namespaceSelector").is_none() {
                    set(peer, "", "namespaceSelector", json!({}));
                }
            });
        }),
        feature("matchLabels", |world| each_selector(world, |selector| remove(selector, "", "matchLabels"))),
        feature("In", |world| turn(world, "In", "NotIn")),
        feature("NotIn", |world| turn(world, "NotIn", "In")),
        feature("Exists", |world| turn(world, "Exists", "DoesNotExist")),
        feature("DoesNotExist", |world| turn(world, "DoesNotExist", "Exists")),
    ]
}

/// Policies are edited as documents. One that cannot be read afterwards stays as it was.
fn each_spec(world: &mut World, edit: impl Fn(&mut Value)) {
    for policy in &mut world.plain.policies {
        let mut spec = json!(policy.spec);
        edit(&mut spec);
        if let Ok(spec) = serde_json::from_value(spec) {
            policy.spec = Some(spec);
        }
    }
}

fn each_rule(world: &mut World, edit: impl Fn(&mut Value)) {
    each_spec(world, |spec| {
        for key in ["ingress", "egress"] {
            spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(&edit);
        }
    });
}

fn each_port(world: &mut World, edit: impl Fn(&mut Value)) {
    each_rule(world, |rule| rule.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().for_each(&edit));
}

fn each_rule_peer(world: &mut World, edit: impl Fn(&mut Value)) {
    each_rule(world, |rule| {
        for key in ["from", "to"] {
            rule.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(&edit);
        }
    });
}

/// In the place of peers with such a field there is one that is nobody.
fn each_peer(world: &mut World, field: &str) {
    each_rule_peer(world, |peer| {
        if peer.get(field).is_some() {
            *peer = json!({"podSelector": {"matchLabels": {NOBODY: NOBODY}}});
        }
    });
}

fn each_selector(world: &mut World, edit: impl Fn(&mut Value)) {
    each_spec(world, |spec| spec.get_mut("podSelector").into_iter().for_each(&edit));
    each_rule_peer(world, |peer| {
        for key in ["podSelector", "namespaceSelector"] {
            peer.get_mut(key).into_iter().for_each(&edit);
        }
    });
}

fn turn(world: &mut World, from: &str, to: &str) {
    each_selector(world, |selector| {
        let expressions = selector.get_mut("matchExpressions").and_then(Value::as_array_mut).into_iter().flatten();
        for expression in expressions.filter(|expression| text(expression, "/operator") == from) {
            set(expression, "", "operator", json!(to));
        }
    });
}
