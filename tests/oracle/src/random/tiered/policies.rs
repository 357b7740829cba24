//! Calico's policies, tiers and network sets.

use serde_json::{Value, json};

use super::rules::rule;
use super::selectors::{of_accounts, of_labels, of_namespaces};
use super::{Admin, Dice, Focus, Material, put};
use crate::Direction;
use crate::random::policies::around;

/// A document of Calico's API.
#[expect(clippy::needless_pass_by_value, reason = "literals of json! read best as they are")]
pub(super) fn calico(kind: &str, metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Tiers, sets, policies and staged policies.
pub(super) fn all(dice: &mut Dice, material: &Material) -> Vec<Value> {
    let mix = &material.mix;
    let tiers = tiers(dice, mix.tiers);
    let mut names: Vec<String> =
        tiers.iter().filter_map(|tier| Some(tier.pointer("/metadata/name")?.as_str()?.to_owned())).collect();
    if mix.tiers > 0 && mix.admin == Admin::V1alpha2 {
        names.push("kube-admin".to_owned());
    }
    let mut found = tiers;
    found.extend((0..mix.sets.min(1) + dice.below(mix.sets)).map(|number| set(dice, material, number)));
    let count = 1 + dice.below(mix.calico);
    found.extend((0..count).map(|number| policy(dice, material, number, &names)));
    found.extend((0..dice.below(mix.staged + 1)).map(|number| staged(dice, material, number)));
    found
}

/// Orders before and after those of the tiers that there are by themselves (1,000; 1,000,000; 10,000,000); equal
/// ones are told apart by name.
fn tiers(dice: &mut Dice, most: usize) -> Vec<Value> {
    let one = |number: usize, dice: &mut Dice| {
        let mut spec = json!({});
        let orders = [json!(100), json!(2_000), json!(2_000), json!(1_500_000), json!(20_000_000), json!(null)];
        let order = dice.pick(&orders).clone();
        if !order.is_null() {
            put(&mut spec, "order", order);
        }
        match dice.below(3) {
            0 => put(&mut spec, "defaultAction", json!("Pass")),
            1 => put(&mut spec, "defaultAction", json!("Deny")),
            _ => {}
        }
        calico("Tier", json!({"name": format!("{}-tier-{number}", dice.pick(&["a", "k", "z"]))}), spec)
    };
    (0..dice.below(most + 1)).map(|number| one(number, dice)).collect()
}

fn set(dice: &mut Dice, material: &Material, number: usize) -> Value {
    let mut labels = json!({});
    for key in ["app", "tier", "gw"] {
        if dice.chance(60) {
            put(&mut labels, key, json!(*dice.pick(&["a", "b", "ab", ""])));
        }
    }
    let count = 1 + dice.below(2);
    let mut nets = Vec::new();
    for _ in 0..count {
        // Around outside addresses rather than pods; a pod's address may be in a set too.
        let outside = &material.mix.shape.outside;
        let pool = if outside.is_empty() || dice.chance(30) { &material.addresses } else { outside };
        if !pool.is_empty() {
            let net = around(*dice.pick(pool), *dice.pick(&[0, 0, 1, 8]));
            // It is a set: twice the same is refused.
            if !nets.contains(&net) {
                nets.push(net);
            }
        }
    }
    let name = format!("set-{number}");
    if dice.chance(50) {
        calico("GlobalNetworkSet", json!({"name": name, "labels": labels}), json!({"nets": nets}))
    } else {
        let namespace = material.namespace(dice);
        calico("NetworkSet", json!({"name": name, "namespace": namespace, "labels": labels}), json!({"nets": nets}))
    }
}

fn policy(dice: &mut Dice, material: &Material, number: usize, tiers: &[String]) -> Value {
    let global = dice.chance(50);
    let mut spec = json!({});
    for (key, direction) in [("ingress", Direction::Ingress), ("egress", Direction::Egress)] {
        let count = dice.below(4);
        if count > 0 || dice.chance(30) {
            put(&mut spec, key, (0..count).map(|_| rule(dice, material, direction)).collect());
        }
    }
    selects(dice, material, global, &mut spec);
    match dice.below(6) {
        0 => put(&mut spec, "types", json!(["Ingress"])),
        1 => put(&mut spec, "types", json!(["Egress"])),
        2 => put(&mut spec, "types", json!(["Ingress", "Egress"])),
        _ => {}
    }
    // Many of them tie, also with Kubernetes' 1000.
    let orders = [json!(null), json!(null), json!(10), json!(10), json!(999.5), json!(1000), json!(1000), json!(1001)];
    let order = if material.mix.focus == Focus::Ties { json!(1000) } else { dice.pick(&orders).clone() };
    if !order.is_null() {
        put(&mut spec, "order", order);
    }
    let mut name = format!("{}-{number}", dice.pick(&["a", "default", "k", "z"]));
    if !tiers.is_empty() && dice.chance(50) {
        let tier = dice.pick(tiers);
        put(&mut spec, "tier", json!(tier));
        name = format!("{tier}.{name}");
        if tier == "kube-admin" {
            // Between the priorities of that tier's own policies, and no two alike.
            put(&mut spec, "order", json!(number * 10 + 5));
        }
    }
    if global && dice.chance(10) {
        for_hosts(dice, &mut spec);
    }
    if global {
        calico("GlobalNetworkPolicy", json!({"name": name}), spec)
    } else {
        calico("NetworkPolicy", json!({"name": name, "namespace": material.namespace(dice)}), spec)
    }
}

fn selects(dice: &mut Dice, material: &Material, global: bool, spec: &mut Value) {
    let wide = match material.mix.focus {
        Focus::Everything | Focus::Labels => 40,
        Focus::Messages | Focus::Ports | Focus::Ties => 70,
    };
    if !dice.chance(wide) {
        put(spec, "selector", json!(of_labels(dice, material)));
    }
    if global && dice.chance(25) {
        put(spec, "namespaceSelector", json!(of_namespaces(dice, material)));
    }
    if dice.chance(12) {
        put(spec, "serviceAccountSelector", json!(of_accounts(dice)));
    }
}

/// "PreDNAT PolicySpec cannot have any Egress rules", nor that type; both need applyOnForward.
fn for_hosts(dice: &mut Dice, spec: &mut Value) {
    put(spec, "applyOnForward", json!(true));
    if dice.chance(50) {
        put(spec, "doNotTrack", json!(true));
        return;
    }
    put(spec, "preDNAT", json!(true));
    put(spec, "types", json!(["Ingress"]));
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("egress");
    }
}

/// Something that would decide much, if it were in force.
fn staged(dice: &mut Dice, material: &Material, number: usize) -> Value {
    let action = *dice.pick(&["Allow", "Deny"]);
    let rules = json!([{"action": action}]);
    let spec = json!({"order": 1, "types": ["Ingress", "Egress"], "ingress": rules, "egress": rules});
    let name = format!("staged-{number}");
    if dice.chance(50) {
        calico("StagedGlobalNetworkPolicy", json!({"name": name}), spec)
    } else {
        let metadata = json!({"name": name, "namespace": material.namespace(dice)});
        calico("StagedNetworkPolicy", metadata, spec)
    }
}
