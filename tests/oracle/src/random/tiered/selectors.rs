//! Selectors in Calico's language, and those of Kubernetes.

use serde_json::{Value, json};

use super::{ACCOUNTS, Dice, Material};

const VALUES: [&str; 6] = ["a", "a", "b", "ab", "ba", ""];

/// A selector of pods and sets.
pub(super) fn of_labels(dice: &mut Dice, material: &Material) -> String {
    let added = |dice: &mut Dice| match dice.below(4) {
        0 | 1 => format!("projectcalico.org/namespace == \"{}\"", material.namespace(dice)),
        2 => "projectcalico.org/orchestrator == 'k8s'".to_owned(),
        _ => format!("projectcalico.org/serviceaccount == '{}'", dice.pick(&ACCOUNTS)),
    };
    let one = |dice: &mut Dice| if dice.chance(20) { added(dice) } else { comparison(dice, &["app", "tier", "gw"]) };
    combined(dice, one)
}

/// A selector of namespaces, without `global()`.
pub(super) fn of_namespaces(dice: &mut Dice, material: &Material) -> String {
    let one = |dice: &mut Dice| match dice.below(8) {
        0 => format!("projectcalico.org/name == \"{}\"", material.namespace(dice)),
        1 => format!("kubernetes.io/metadata.name in {{\"{}\"}}", material.namespace(dice)),
        2 => format!("projectcalico.org/name != \"{}\"", material.namespace(dice)),
        3 => "all()".to_owned(),
        _ => comparison(dice, &["team", "gw"]),
    };
    combined(dice, one)
}

/// A selector of service accounts.
pub(super) fn of_accounts(dice: &mut Dice) -> String {
    let one = |dice: &mut Dice| match dice.below(3) {
        0 => format!("projectcalico.org/name == '{}'", dice.pick(&ACCOUNTS)),
        _ => comparison(dice, &["role"]),
    };
    combined(dice, one)
}

fn combined(dice: &mut Dice, one: impl Fn(&mut Dice) -> String) -> String {
    let (first, second) = (one(dice), one(dice));
    match dice.below(14) {
        0 => format!("{first} && {second}"),
        1 => format!("{first} || {second}"),
        2 => format!("!({first} || {second})"),
        3 => format!("{first} || {second} && {}", one(dice)),
        4 => format!("({first} || {second})&&{}", one(dice)),
        5 => format!("!{first}"),
        6 => "all()".to_owned(),
        _ => first,
    }
}

fn comparison(dice: &mut Dice, keys: &[&str]) -> String {
    let key = if dice.chance(6) { "absent" } else { *dice.pick(keys) };
    let (value, other) = (*dice.pick(&VALUES), *dice.pick(&VALUES));
    match dice.below(16) {
        0..=2 => format!("{key} == '{value}'"),
        3 | 4 => format!("{key} != '{value}'"),
        5 => format!("{key} in {{'{value}', '{other}'}}"),
        6 => format!("{key} not in {{ '{value}' , '{other}' }}"),
        7 => format!("has({key})"),
        8 => format!("!has({key})"),
        // Of the key whose values are parts of each other.
        9 | 13 => format!("{} contains '{}'", keys.first().unwrap_or(&key), dice.pick(&["a", "b"])),
        10 | 14 => format!("{} starts with '{}'", keys.first().unwrap_or(&key), dice.pick(&["a", "b"])),
        11 | 15 => format!("{} ends with '{}'", keys.first().unwrap_or(&key), dice.pick(&["a", "b"])),
        _ => format!("{key} notin {{'{value}',}}"),
    }
}

/// A LabelSelector of namespaces.
pub(super) fn kubernetes_namespaces(dice: &mut Dice, material: &Material) -> Value {
    match dice.below(6) {
        0 => json!({}),
        1 => json!({"matchLabels": {"kubernetes.io/metadata.name": material.namespace(dice)}}),
        _ => kubernetes(dice, &["team", "gw"]),
    }
}

/// A LabelSelector of pods.
pub(super) fn kubernetes_pods(dice: &mut Dice) -> Value {
    if dice.chance(15) { json!({}) } else { kubernetes(dice, &["app", "tier", "gw"]) }
}

fn kubernetes(dice: &mut Dice, keys: &[&str]) -> Value {
    let (key, value, other) = (*dice.pick(keys), *dice.pick(&VALUES), *dice.pick(&VALUES));
    match dice.below(6) {
        0 | 1 => json!({"matchLabels": {key: value}}),
        2 => json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value, other]}]}),
        3 => json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}),
        4 => json!({"matchExpressions": [{"key": key, "operator": "Exists"}]}),
        _ => json!({"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]}),
    }
}
