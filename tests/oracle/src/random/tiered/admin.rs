//! Policies of the network policy API, in the words of either version.

use serde_json::{Value, json};

use super::selectors::{kubernetes_namespaces, kubernetes_pods};
use super::{Admin, Dice, Material, put};
use crate::Direction;
use crate::random::policies::around;

/// The policies of both tiers.
pub(super) fn all(dice: &mut Dice, material: &Material) -> Vec<Value> {
    let mix = &material.mix;
    let mut found = Vec::new();
    match mix.admin {
        Admin::Nothing => {}
        Admin::V1alpha1 => {
            let count = 1 + dice.below(mix.admins);
            found.extend(of_tier(dice, material, "AdminNetworkPolicy", count, "admin"));
            // "name must be "default"": there is at most one.
            let count = usize::from(dice.chance(60));
            found.extend(of_tier(dice, material, "BaselineAdminNetworkPolicy", count, "default"));
        }
        Admin::V1alpha2 => {
            let (admin, baseline) = (dice.below(mix.admins + 1), dice.below(mix.admins + 1));
            found.extend(of_tier(dice, material, "Admin", admin, "admin"));
            found.extend(of_tier(dice, material, "Baseline", baseline, "baseline"));
        }
    }
    found
}

/// Priorities differ: what happens otherwise is undefined. They do not grow with the name.
fn of_tier(dice: &mut Dice, material: &Material, which: &str, count: usize, name: &str) -> Vec<Value> {
    let turned = dice.chance(50);
    let mut found = Vec::new();
    for number in 0..count {
        let priority = 10 * if turned { count - number } else { number };
        let mut spec = json!({"subject": either(dice, material)});
        for (key, direction) in [("ingress", Direction::Ingress), ("egress", Direction::Egress)] {
            let rules = dice.below(3);
            if rules > 0 {
                put(&mut spec, key, (0..rules).map(|_| rule(dice, material, which, direction)).collect());
            }
        }
        let (version, kind) = match which {
            "Admin" | "Baseline" => {
                put(&mut spec, "tier", json!(which));
                ("v1alpha2", "ClusterNetworkPolicy")
            }
            _ => ("v1alpha1", which),
        };
        let mut named = name.to_owned();
        if which != "BaselineAdminNetworkPolicy" {
            put(&mut spec, "priority", json!(priority));
            named = format!("{name}-{number}");
        }
        let version = format!("policy.networking.k8s.io/{version}");
        found.push(json!({"apiVersion": version, "kind": kind, "metadata": {"name": named}, "spec": spec}));
    }
    found
}

/// A subject, or a peer that selects pods.
fn either(dice: &mut Dice, material: &Material) -> Value {
    let namespaces = kubernetes_namespaces(dice, material);
    if dice.chance(50) {
        json!({"namespaces": namespaces})
    } else {
        json!({"pods": {"namespaceSelector": namespaces, "podSelector": kubernetes_pods(dice)}})
    }
}

fn rule(dice: &mut Dice, material: &Material, which: &str, direction: Direction) -> Value {
    let allow = if which == "Admin" || which == "Baseline" { "Accept" } else { "Allow" };
    let mut action = *dice.pick(&[allow, "Deny", "Deny", "Pass"]);
    if which == "BaselineAdminNetworkPolicy" && action == "Pass" {
        action = "Deny";
    }
    let mut peers = Vec::new();
    let mut beyond_pods = false;
    for _ in 0..=dice.below(2) {
        let beyond = direction == Direction::Egress && dice.chance(45);
        beyond_pods |= beyond;
        peers.push(if beyond { outside(dice, material, action == allow) } else { either(dice, material) });
    }
    let mut rule = json!({"action": action});
    put(&mut rule, if direction == Direction::Ingress { "from" } else { "to" }, json!(peers));
    if dice.chance(50) {
        // "networks/nodes/domainNames peer cannot be set with namedPorts".
        let entries: Vec<Value> = (0..=dice.below(2)).map(|_| port(dice, material, allow, !beyond_pods)).collect();
        put(&mut rule, if allow == "Accept" { "protocols" } else { "ports" }, json!(entries));
    }
    rule
}

/// "DomainNames is only supported for Accept rules."
fn outside(dice: &mut Dice, material: &Material, allows: bool) -> Value {
    // The first six are of the experimental channel.
    let first = if material.mix.experimental { 0 } else { 6 };
    match first + dice.below(10 - first) {
        0..=4 => json!({"nodes": *dice.pick(&[&json!({}), &json!({"matchLabels": {"zone": "0"}})])}),
        5 if allows => json!({"domainNames": ["*.example.org"]}),
        _ if material.addresses.is_empty() => json!({"networks": ["198.51.100.0/24"]}),
        _ => json!({"networks": [around(*dice.pick(&material.addresses), *dice.pick(&[128, 8, 2, 1, 0]))]}),
    }
}

fn port(dice: &mut Dice, material: &Material, allow: &str, named: bool) -> Value {
    let shape = &material.mix.shape;
    let number = *dice.pick(&shape.ports);
    let end = number.saturating_add(1 + u16::from(dice.chance(50)));
    let protocol = *dice.pick(if shape.sctp { &["TCP", "TCP", "UDP", "SCTP"] } else { &["TCP", "TCP", "UDP", "UDP"] });
    let kind = dice.below(4);
    let named = named && (allow == "Accept" || material.mix.experimental);
    if kind >= 2 && named && !shape.port_names.is_empty() {
        let name = dice.pick(&shape.port_names);
        return if allow == "Accept" { json!({"destinationNamedPort": name}) } else { json!({"namedPort": name}) };
    }
    match (allow, kind) {
        ("Accept", 0) => {
            json!({protocol.to_lowercase(): {"destinationPort": {"range": {"start": number, "end": end}}}})
        }
        ("Accept", _) => json!({protocol.to_lowercase(): {"destinationPort": {"number": number}}}),
        (_, 0) => json!({"portRange": {"protocol": protocol, "start": number, "end": end}}),
        _ => json!({"portNumber": {"protocol": protocol, "port": number}}),
    }
}
