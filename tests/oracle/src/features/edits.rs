//! Taking features out of documents.

use serde_json::{Value, json};

use super::Feature;
use crate::tiers::World;
use crate::tiers::json::{list, text};

pub(super) const fn feature(name: &'static str, without: fn(&mut World)) -> Feature {
    Feature { name, without }
}

/// What a policy of Calico's says besides its rules, and what stands beside it.
pub(super) fn policies() -> Vec<Feature> {
    vec![
        feature("NetworkPolicy of Kubernetes", |world| world.plain.policies.clear()),
        feature("NetworkPolicy of Calico", |world| world.others.retain(|one| !calico(one, "NetworkPolicy"))),
        feature("GlobalNetworkPolicy", |world| world.others.retain(|one| !calico(one, "GlobalNetworkPolicy"))),
        feature("NetworkSet", |world| world.others.retain(|one| !calico(one, "NetworkSet"))),
        feature("GlobalNetworkSet", |world| world.others.retain(|one| !calico(one, "GlobalNetworkSet"))),
        feature("order", |world| each_policy(world, |policy| remove(policy, "/spec", "order"))),
        feature("no order", |world| {
            each_policy(world, |policy| {
                if policy.pointer("/spec/order").is_none() {
                    set(policy, "/spec", "order", json!(0));
                }
            });
        }),
        feature("ties by version", |world| {
            let old = ["v3.28.5", "v3.31.4"];
            let is_old = world.others.iter().any(|one| old.contains(&text(one, "/spec/calicoVersion")));
            let other = if is_old { "v3.32.0" } else { "v3.28.0" };
            world.others.retain(|one| !calico(one, "ClusterInformation"));
            let metadata = json!({"name": "default"});
            world.others.push(json!({"apiVersion": "projectcalico.org/v3", "kind": "ClusterInformation",
                "metadata": metadata, "spec": {"calicoVersion": other}}));
        }),
        feature("staged kinds", |world| {
            for one in world.others.iter_mut().filter(|one| text(one, "/kind").starts_with("Staged")) {
                let real = text(one, "/kind").trim_start_matches("Staged").to_owned();
                set(one, "", "kind", json!(real));
            }
        }),
        feature("tier", |world| each_policy(world, |policy| remove(policy, "/spec", "tier"))),
        feature("order of tiers", |world| each_tier(world, |tier| remove(tier, "/spec", "order"))),
        feature("default action of tiers", |world| each_tier(world, |tier| remove(tier, "/spec", "defaultAction"))),
        feature("types", |world| each_policy(world, |policy| remove(policy, "/spec", "types"))),
        feature("types by default", |world| {
            each_policy(world, |policy| {
                if policy.pointer("/spec/types").is_none() {
                    set(policy, "/spec", "types", json!(["Ingress", "Egress"]));
                }
            });
        }),
        feature("selector", |world| each_policy(world, |policy| remove(policy, "/spec", "selector"))),
        feature("namespaceSelector", |world| each_policy(world, |policy| remove(policy, "/spec", "namespaceSelector"))),
        feature("serviceAccountSelector", |world| {
            each_policy(world, |policy| remove(policy, "/spec", "serviceAccountSelector"));
        }),
        feature("policies for hosts", |world| {
            each_policy(world, |policy| {
                remove(policy, "/spec", "doNotTrack");
                remove(policy, "/spec", "preDNAT");
            });
        }),
    ]
}

/// What a rule of Calico's says.
pub(super) fn rules() -> Vec<Feature> {
    vec![
        feature("Deny", |world| drop_rules(world, "Deny")),
        feature("Pass", |world| drop_rules(world, "Pass")),
        feature("Log goes on", |world| {
            each_rule(world, |rule| {
                if text(rule, "/action") == "Log" {
                    set(rule, "", "action", json!("Allow"));
                }
            });
        }),
        feature("protocol", |world| each_rule(world, |rule| remove(rule, "", "protocol"))),
        feature("notProtocol", |world| each_rule(world, |rule| remove(rule, "", "notProtocol"))),
        feature("icmp", |world| each_rule(world, |rule| remove(rule, "", "icmp"))),
        feature("notICMP", |world| each_rule(world, |rule| remove(rule, "", "notICMP"))),
        feature("ipVersion", |world| each_rule(world, |rule| remove(rule, "", "ipVersion"))),
        feature("source", |world| each_rule(world, |rule| remove(rule, "", "source"))),
        feature("destination", |world| each_rule(world, |rule| remove(rule, "", "destination"))),
        feature("rule's selector", |world| each_entity(world, |end| remove(end, "", "selector"))),
        feature("rule's notSelector", |world| each_entity(world, |end| remove(end, "", "notSelector"))),
        feature("rule's namespaceSelector", |world| each_entity(world, |end| remove(end, "", "namespaceSelector"))),
        feature("names of service accounts", |world| {
            each_entity(world, |end| remove(end, "/serviceAccounts", "names"));
        }),
        feature("selector of service accounts", |world| {
            each_entity(world, |end| remove(end, "/serviceAccounts", "selector"));
        }),
        feature("a rule's own namespace", |world| {
            each_entity(world, |end| {
                let selects = ["/selector", "/notSelector", "/serviceAccounts"];
                if end.get("namespaceSelector").is_none() && selects.iter().any(|key| end.pointer(key).is_some()) {
                    set(end, "", "namespaceSelector", json!("all()"));
                }
            });
        }),
        feature("nets", |world| each_entity(world, |end| remove(end, "", "nets"))),
        feature("notNets", |world| each_entity(world, |end| remove(end, "", "notNets"))),
        feature("services", |world| each_entity(world, |end| remove(end, "", "services"))),
        feature("ports", |world| each_end(world, "destination", |end| remove(end, "", "ports"))),
        feature("notPorts", |world| each_end(world, "destination", |end| remove(end, "", "notPorts"))),
        feature("ports of the source", |world| {
            each_end(world, "source", |end| {
                remove(end, "", "ports");
                remove(end, "", "notPorts");
            });
        }),
        feature("named ports", |world| each_port(world, |port| port.starts_with(|first: char| first.is_alphabetic()))),
        feature("ranges of ports", |world| each_port(world, |port| port.contains(':'))),
    ]
}

/// What Calico's selector language says.
pub(super) fn selectors() -> Vec<Feature> {
    vec![
        feature("!=", |world| replace(world, " != ", " == ")),
        feature("in", |world| replace(world, " in {", " not in {")),
        feature("not in", |world| replace(world, " not in {", " in {")),
        feature("notin", |world| replace(world, " notin {", " in {")),
        feature("contains", |world| replace(world, " contains ", " == ")),
        feature("starts with", |world| replace(world, " starts with ", " == ")),
        feature("ends with", |world| replace(world, " ends with ", " == ")),
        feature("has()", |world| replace(world, "has(", "has(x")),
        feature("!", |world| replace(world, "!has(", "has(")),
        feature("negated groups", |world| replace(world, "!(", "(")),
        feature("||", |world| replace(world, " || ", " && ")),
        feature("&&", |world| replace(world, "&&", " || ")),
        feature("global()", |world| replace(world, "global()", "all()")),
        feature("label of the namespace", |world| replace(world, "projectcalico.org/namespace", "absent")),
        feature("label of the orchestrator", |world| replace(world, "projectcalico.org/orchestrator", "absent")),
        feature("label of the service account", |world| replace(world, "projectcalico.org/serviceaccount", "absent")),
        feature("label of the name", |world| replace(world, "projectcalico.org/name", "absent")),
    ]
}

/// What the network policy API's kinds say.
pub(super) fn admin() -> Vec<Feature> {
    vec![
        feature("AdminNetworkPolicy", |world| world.others.retain(|one| text(one, "/kind") != "AdminNetworkPolicy")),
        feature("BaselineAdminNetworkPolicy", |world| {
            world.others.retain(|one| text(one, "/kind") != "BaselineAdminNetworkPolicy");
        }),
        feature("ClusterNetworkPolicy in Admin", |world| world.others.retain(|one| text(one, "/spec/tier") != "Admin")),
        feature("ClusterNetworkPolicy in Baseline", |world| {
            world.others.retain(|one| text(one, "/spec/tier") != "Baseline");
        }),
        feature("priority", |world| {
            each_admin(world, |policy| {
                let turned = policy.pointer("/spec/priority").and_then(Value::as_i64).map(|priority| 1000 - priority);
                if let Some(turned) = turned {
                    set(policy, "/spec", "priority", json!(turned));
                }
            });
        }),
        feature("subject", |world| {
            each_admin(world, |policy| set(policy, "/spec", "subject", json!({"namespaces": {}})));
        }),
        feature("Pass of the admin kinds", |world| {
            each_admin_rule(world, |rule| {
                if text(rule, "/action") == "Pass" {
                    set(rule, "", "action", json!("Deny"));
                }
            });
        }),
        feature("ports of v1alpha1", |world| each_admin_rule(world, |rule| remove(rule, "", "ports"))),
        feature("protocols of v1alpha2", |world| each_admin_rule(world, |rule| remove(rule, "", "protocols"))),
        feature("namespaces of peers", |world| each_peer(world, "/namespaces")),
        feature("pods of peers", |world| each_peer(world, "/pods")),
        feature("networks of peers", |world| each_peer(world, "/networks")),
        feature("nodes of peers", |world| each_peer(world, "/nodes")),
        feature("named ports of the admin kinds", |world| {
            each_admin_rule(world, |rule| {
                for list in ["ports", "protocols"] {
                    let entries = rule.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                    for entry in entries.filter(|entry| !text(entry, "/namedPort").is_empty()) {
                        set(entry, "", "namedPort", json!("nobody"));
                    }
                    let entries = rule.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                    for entry in entries.filter(|entry| !text(entry, "/destinationNamedPort").is_empty()) {
                        set(entry, "", "destinationNamedPort", json!("nobody"));
                    }
                }
            });
        }),
    ]
}

fn api(document: &Value, group: &str) -> bool {
    text(document, "/apiVersion").split('/').next() == Some(group)
}

fn calico(document: &Value, kind: &str) -> bool {
    api(document, "projectcalico.org") && text(document, "/kind") == kind
}

fn each_policy(world: &mut World, edit: impl Fn(&mut Value)) {
    let kinds = ["NetworkPolicy", "GlobalNetworkPolicy"];
    world.others.iter_mut().filter(|one| kinds.iter().any(|kind| calico(one, kind))).for_each(edit);
}

fn each_tier(world: &mut World, edit: impl Fn(&mut Value)) {
    world.others.iter_mut().filter(|one| calico(one, "Tier")).for_each(edit);
}

fn each_admin(world: &mut World, edit: impl Fn(&mut Value)) {
    world.others.iter_mut().filter(|one| api(one, "policy.networking.k8s.io")).for_each(edit);
}

/// All rules of one policy, of both directions.
fn rules_of(policy: &mut Value) -> impl Iterator<Item = &mut Value> {
    let spec = policy.get_mut("spec").and_then(Value::as_object_mut).into_iter().flatten();
    let rules = spec.filter(|(key, _)| key.as_str() == "ingress" || key.as_str() == "egress").map(|(_, rules)| rules);
    rules.filter_map(Value::as_array_mut).flatten()
}

fn each_rule(world: &mut World, edit: impl Fn(&mut Value)) {
    each_policy(world, |policy| rules_of(policy).for_each(&edit));
}

fn each_admin_rule(world: &mut World, edit: impl Fn(&mut Value)) {
    each_admin(world, |policy| rules_of(policy).for_each(&edit));
}

/// In the place of such a peer there is one that is all pods.
fn each_peer(world: &mut World, kind: &str) {
    each_admin_rule(world, |rule| {
        for key in ["from", "to"] {
            let peers = rule.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten();
            for peer in peers.filter(|peer| peer.pointer(kind).is_some()) {
                *peer = json!({"namespaces": {"matchLabels": {"absent": "absent"}}});
            }
        }
    });
}

fn each_entity(world: &mut World, edit: impl Fn(&mut Value)) {
    each_end(world, "source", &edit);
    each_end(world, "destination", &edit);
}

fn each_end(world: &mut World, end: &str, edit: impl Fn(&mut Value)) {
    each_rule(world, |rule| {
        if let Some(entity) = rule.get_mut(end) {
            edit(entity);
        }
    });
}

fn drop_rules(world: &mut World, action: &str) {
    each_policy(world, |policy| {
        for key in ["ingress", "egress"] {
            let kept: Vec<Value> = list(policy, &format!("/spec/{key}"))
                .iter()
                .filter(|rule| text(rule, "/action") != action)
                .cloned()
                .collect();
            if policy.pointer(&format!("/spec/{key}")).is_some() {
                set(policy, "/spec", key, json!(kept));
            }
        }
    });
}

/// Written ports of such a kind become one that nothing is sent to.
fn each_port(world: &mut World, such: impl Fn(&str) -> bool) {
    each_end(world, "destination", |end| {
        for key in ["ports", "notPorts"] {
            let ports = end.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten();
            ports.filter(|port| port.as_str().is_some_and(&such)).for_each(|port| *port = json!(1));
        }
    });
}

/// Replaces a text in every selector.
fn replace(world: &mut World, from: &str, to: &str) {
    let edit = |holder: &mut Value, key: &str| {
        let changed = holder.get(key).and_then(Value::as_str).map(|written| written.replace(from, to));
        if let Some(changed) = changed {
            set(holder, "", key, json!(changed));
        }
    };
    each_policy(world, |policy| {
        if let Some(spec) = policy.get_mut("spec") {
            for key in ["selector", "namespaceSelector", "serviceAccountSelector"] {
                edit(spec, key);
            }
        }
    });
    each_entity(world, |end| {
        for key in ["selector", "notSelector", "namespaceSelector"] {
            edit(end, key);
        }
        if let Some(accounts) = end.get_mut("serviceAccounts") {
            edit(accounts, "selector");
        }
    });
}

pub(super) fn set(object: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(fields) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}

pub(super) fn remove(object: &mut Value, pointer: &str, key: &str) {
    if let Some(fields) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        fields.remove(key);
    }
}
