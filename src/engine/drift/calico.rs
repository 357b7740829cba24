//! The fields in which two objects of Calico differ, in words.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::difference::{Difference, escaped, joined, plain, unpaired_rules};
use crate::{
    engine::normal::{CalicoKind, calico_kind, canonical, defaulted, rule_key, rules},
    model::{Direction, PolicyDocument},
};

/// Every difference: the fields of the spec first, then the rules.
pub(super) fn differences(kind: CalicoKind, declared: &PolicyDocument, live: &PolicyDocument) -> Vec<Difference> {
    let [git, now] = [declared, live].map(|document| canonical(document, &defaulted(document)));
    let mut all = Vec::new();
    for name in names(&git, &now) {
        if ![Direction::Ingress, Direction::Egress].iter().any(|direction| direction.word() == name) {
            // The labels of a set are no part of its spec.
            let above = if kind == CalicoKind::Set && name == "labels" { "/metadata" } else { "/spec" };
            all.extend(field(&format!("{above}/{}", escaped(name)), name, git.get(name), now.get(name)));
        }
    }
    if matches!(kind, CalicoKind::Policy | CalicoKind::StagedPolicy) {
        for direction in [Direction::Ingress, Direction::Egress] {
            all.extend(rule_differences(direction, declared, live));
        }
    }
    all
}

/// The names of all fields of both, sorted.
fn names<'v>(git: &'v Value, live: &'v Value) -> BTreeSet<&'v str> {
    let fields = [git, live].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    fields.map(String::as_str).collect()
}

fn field(pointer: &str, name: &str, git: Option<&Value>, live: Option<&Value>) -> Option<Difference> {
    let text = |value: Option<&Value>| value.map_or_else(|| "lacks it".to_owned(), shown);
    (git != live).then(|| Difference::of(pointer.to_owned(), name, &text(git), &text(live)))
}

/// `a+b` for a list, `x: 1, y: 2` for an object.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => joined(items.iter().map(shown), "none"),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {}", shown(value))).collect();
            fields.join(", ")
        }
        scalar => plain(scalar),
    }
}

/// Rules that have no partner on the other side, paired in their order; else that the order is another one.
fn rule_differences(direction: Direction, declared: &PolicyDocument, live: &PolicyDocument) -> Vec<Difference> {
    // A direction that came or went is told by the types.
    let (Some(git), Some(now)) = (rules(declared, direction), rules(live, direction)) else { return Vec::new() };
    let word = direction.word();
    let pair = |index, git: &Value, live: &Value| rule_pair(word, index, git, live);
    let mut found = unpaired_rules(word, &git, &now, pair, rule_text);
    let keys = |rules: &[Value]| rules.iter().map(rule_key).collect::<Vec<_>>();
    if found.is_empty() && keys(&git) != keys(&now) {
        let summary = format!("{word}: live has the same rules in another order, and the first that matches decides");
        found.push(Difference { pointer: format!("/spec/{word}"), summary });
    }
    found
}

/// The first field in which two rules differ: `ingress[0].source.selector`.
fn rule_pair(word: &str, index: usize, git: &Value, live: &Value) -> Difference {
    let (git, live) = (canonical_rule(git), canonical_rule(live));
    let (pointer, shown_as) = (format!("/spec/{word}/{index}"), format!("{word}[{index}]"));
    for name in names(&git, &live) {
        let (a, b) = (git.get(name), live.get(name));
        if a == b {
            continue;
        }
        if matches!(name, "source" | "destination") {
            let none = Value::Object(Map::new());
            let (a, b) = (a.unwrap_or(&none), b.unwrap_or(&none));
            for inner in names(a, b) {
                let at = format!("{pointer}/{name}/{}", escaped(inner));
                if let Some(found) = field(&at, &format!("{shown_as}.{name}.{inner}"), a.get(inner), b.get(inner)) {
                    return found;
                }
            }
        }
        if let Some(found) = field(&format!("{pointer}/{}", escaped(name)), &format!("{shown_as}.{name}"), a, b) {
            return found;
        }
    }
    Difference::of(pointer, &shown_as, &rule_text(&git), &rule_text(&live))
}

/// The rule behind its key.
fn canonical_rule(rule: &Value) -> Value {
    serde_json::from_str(&rule_key(rule)).unwrap_or_else(|_| rule.clone())
}

/// `Allow, protocol TCP, destination.ports 80+443`.
fn rule_text(rule: &Value) -> String {
    let mut parts = vec![rule.get("action").map(plain).unwrap_or_default()];
    for (name, value) in rule.as_object().into_iter().flatten().filter(|(name, _)| *name != "action") {
        match value {
            Value::Object(fields) if matches!(name.as_str(), "source" | "destination") => {
                parts.extend(fields.iter().map(|(inner, value)| format!("{name}.{inner} {}", shown(value))));
            }
            other => parts.push(format!("{name} {}", shown(other))),
        }
    }
    parts.join(", ")
}

/// Tiers that are there without anybody who declares them.
const OWN_TIERS: [&str; 5] =
    ["default", "kube-admin", "kube-baseline", "adminnetworkpolicy", "baselineadminnetworkpolicy"];

/// Whether Calico itself makes the object.
pub(super) fn is_made_by_calico(document: &PolicyDocument) -> bool {
    calico_kind(document) == Some(CalicoKind::Tier) && OWN_TIERS.contains(&document.id.name.as_str())
}

/// Why an object opens no flow; `None` where it may.
pub(super) fn opens_nothing(document: &PolicyDocument, kind: CalicoKind) -> Option<&'static str> {
    let opening = |rule: &Value| rule.get("action").and_then(Value::as_str).is_none_or(|a| a == "Allow" || a == "Pass");
    let any = |direction| rules(document, direction).is_some_and(|rules| rules.iter().any(opening));
    let has_addresses = || defaulted(document).get("nets").is_some();
    match kind {
        CalicoKind::Policy => (!any(Direction::Ingress) && !any(Direction::Egress)).then_some("it only isolates"),
        CalicoKind::Set => (!has_addresses()).then_some("it has no addresses"),
        CalicoKind::Tier => Some("a tier does nothing by itself"),
        CalicoKind::StagedPolicy | CalicoKind::StagedKubernetes => Some("it is staged, and never enforced"),
    }
}

#[cfg(test)]
mod tests;
