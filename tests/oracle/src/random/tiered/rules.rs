//! Rules of Calico's policies.

use serde_json::{Value, json};

use super::selectors::{of_accounts, of_labels, of_namespaces};
use super::services::SERVICES;
use super::{ACCOUNTS, Dice, Focus, Material, put};
use crate::Direction;
use crate::random::policies::around;

/// A rule. Blocks of a rule are of one family, as Calico demands.
pub(super) fn rule(dice: &mut Dice, material: &Material, direction: Direction) -> Value {
    let action = *dice.pick(&["Allow", "Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"]);
    let mut rule = json!({"action": action});
    let ipv4 = !material.mix.shape.ipv6 || dice.chance(70);
    let with_ports = protocol(dice, material, &mut rule, ipv4);
    let peer = peer(dice, material, ipv4);
    let (peer_key, own_key) = match direction {
        Direction::Ingress => ("source", "destination"),
        Direction::Egress => ("destination", "source"),
    };
    put(&mut rule, peer_key, peer);
    // What a rule says of the pod that the policy selects.
    let mut own = json!({});
    match dice.below(12) {
        0 => put(&mut own, "selector", json!(of_labels(dice, material))),
        1 => put(&mut own, "nets", json!([block(dice, material, ipv4)])),
        _ => {}
    }
    put(&mut rule, own_key, own);
    if with_ports {
        ports(dice, material, &mut rule);
    }
    rule
}

/// Gives whether ports may stand beside it.
fn protocol(dice: &mut Dice, material: &Material, rule: &mut Value, ipv4: bool) -> bool {
    let focus = material.mix.focus;
    if dice.chance(if focus == Focus::Messages { 40 } else { 3 }) {
        put(rule, "ipVersion", json!(if ipv4 { 4 } else { 6 }));
    }
    let sctp = if material.mix.shape.sctp { "SCTP" } else { "TCP" };
    let roll = match focus {
        Focus::Messages => 10 + dice.below(4),
        Focus::Ports => dice.below(12),
        Focus::Everything | Focus::Labels => dice.below(20),
        Focus::Ties => 14,
    };
    match roll {
        0..=4 => put(rule, "protocol", json!("TCP")),
        5..=7 => put(rule, "protocol", json!("UDP")),
        8 => put(rule, "protocol", json!(sctp)),
        9 => put(rule, "protocol", json!(*dice.pick(&[6, 17]))),
        10 | 11 => {
            put(rule, "notProtocol", json!(*dice.pick(&["TCP", "UDP"])));
            return false;
        }
        12 | 13 => {
            icmp(dice, rule, ipv4);
            return false;
        }
        _ => return false,
    }
    true
}

fn icmp(dice: &mut Dice, rule: &mut Value, ipv4: bool) {
    put(rule, "protocol", json!(if ipv4 { "ICMP" } else { "ICMPv6" }));
    let fields = dice
        .pick(&[json!({"type": 8}), json!({"type": 3}), json!({"type": 3, "code": 1}), json!({"type": 128})])
        .clone();
    match dice.below(3) {
        0 => put(rule, "icmp", fields),
        1 => put(rule, "notICMP", fields),
        _ => {}
    }
}

/// The end that is not the policy's pod.
fn peer(dice: &mut Dice, material: &Material, ipv4: bool) -> Value {
    let mut peer = json!({});
    let form = match material.mix.focus {
        Focus::Messages | Focus::Ports | Focus::Ties => dice.below(30).saturating_sub(10),
        Focus::Labels => 4 + dice.below(11),
        Focus::Everything => dice.below(20),
    };
    match form {
        0..=3 => {}
        4..=7 => put(&mut peer, "selector", json!(of_labels(dice, material))),
        8 => put(&mut peer, "notSelector", json!(of_labels(dice, material))),
        9 | 10 => {
            put(&mut peer, "selector", json!(of_labels(dice, material)));
            put(&mut peer, "notSelector", json!(of_labels(dice, material)));
        }
        11 | 12 => {
            let global = dice.chance(35);
            let namespaces = if global { "global()".to_owned() } else { of_namespaces(dice, material) };
            put(&mut peer, "namespaceSelector", json!(namespaces));
            match dice.below(4) {
                0 | 1 => put(&mut peer, "selector", json!(of_labels(dice, material))),
                2 => put(&mut peer, "notSelector", json!(of_labels(dice, material))),
                _ => {}
            }
        }
        13 | 14 => put(&mut peer, "serviceAccounts", accounts(dice)),
        15 | 16 => put(&mut peer, "nets", json!([block(dice, material, ipv4)])),
        17 => put(&mut peer, "notNets", json!([block(dice, material, ipv4)])),
        18 => {
            let (one, other) = (block(dice, material, ipv4), block(dice, material, ipv4));
            let nets = if one == other { vec![one] } else { vec![one, other] };
            put(&mut peer, "nets", json!(nets));
            put(&mut peer, "notNets", json!([block(dice, material, ipv4)]));
        }
        _ => put(&mut peer, "services", json!({"name": *dice.pick(&SERVICES), "namespace": material.namespace(dice)})),
    }
    // Beside a selector, now and then.
    if (4..=10).contains(&form) && dice.chance(8) {
        put(&mut peer, "notNets", json!([block(dice, material, ipv4)]));
    }
    peer
}

fn accounts(dice: &mut Dice) -> Value {
    let names = json!([*dice.pick(&ACCOUNTS)]);
    match dice.below(4) {
        0 => json!({"selector": of_accounts(dice)}),
        1 => json!({"names": names, "selector": of_accounts(dice)}),
        _ => json!({"names": names}),
    }
}

/// A block around an address that matters.
fn block(dice: &mut Dice, material: &Material, ipv4: bool) -> String {
    let of_family: Vec<_> = material.addresses.iter().filter(|address| address.is_ipv4() == ipv4).collect();
    if of_family.is_empty() {
        return if ipv4 { "198.51.100.0/24" } else { "2001:db8::/32" }.to_owned();
    }
    around(**dice.pick(&of_family), *dice.pick(&[128, 8, 3, 2, 1, 0, 0]))
}

fn ports(dice: &mut Dice, material: &Material, rule: &mut Value) {
    if dice.chance(if material.mix.focus == Focus::Ports { 60 } else { 8 }) {
        let field = *dice.pick(&["ports", "notPorts"]);
        let range = *dice.pick(&["1024:65535", "1:1023"]);
        if let Some(source) = rule.get_mut("source").filter(|source| source.get("services").is_none()) {
            put(source, field, json!([range]));
        }
    }
    let several = |dice: &mut Dice| {
        let count = 1 + dice.below(2);
        (0..count).map(|_| port(dice, material)).collect::<Vec<_>>()
    };
    let Some(destination) = rule.get_mut("destination") else { return };
    // "cannot specify ports with a service selector"
    if destination.get("services").is_some() {
        return;
    }
    match dice.below(10) {
        0..=4 => put(destination, "ports", json!(several(dice))),
        5 | 6 => put(destination, "notPorts", json!(several(dice))),
        7 => {
            put(destination, "ports", json!(["8000:9999"]));
            put(destination, "notPorts", json!(several(dice)));
        }
        _ => {}
    }
}

fn port(dice: &mut Dice, material: &Material) -> Value {
    let shape = &material.mix.shape;
    let (one, other) = (*dice.pick(&shape.ports), *dice.pick(&shape.ports));
    match dice.below(8) {
        0 | 1 => json!(one),
        2 => json!(format!("{}:{}", one.min(other), one.max(other))),
        3 => json!(one.to_string()),
        _ if shape.port_names.is_empty() => json!(other),
        _ => json!(*dice.pick(&shape.port_names)),
    }
}
