//! When two policies mean the same: API defaults and a canonical form that no order of lists changes.
//!
//! The defaults are those of the API server for `networking.k8s.io/v1` (policyTypes: Ingress always, Egress where
//! there are egress rules; protocol TCP; an absent list is an empty one). Every list of a NetworkPolicySpec is
//! unordered in meaning, and repeating an element adds nothing. Rules of a direction that `policyTypes` does not
//! name have no effect, so they have no place in the canonical form.
//!
//! The canonical form is no decision procedure: two texts that mean the same by deeper reasons (one block split
//! into its halves) come out as different. That errs on the loud side; the number of flows then says 0.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::model::{Direction, PolicyDocument, RuleRef};

mod admin;
mod calico;
#[cfg(test)]
mod tests;

pub use calico::{CalicoKind, calico_kind, is_called};

/// How two policies compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equality {
    /// Alike once the API's defaults are filled in.
    Same,
    /// The same meaning, written in another order or spelling.
    OrderOnly,
    /// Another meaning, or not known to be the same.
    Different,
}

/// Whether the document is a `networking.k8s.io/v1` NetworkPolicy.
#[must_use]
pub fn is_network_policy(document: &PolicyDocument) -> bool {
    document.api_version == "networking.k8s.io/v1" && document.id.kind == "NetworkPolicy"
}

/// Compares two policies' specs, and the labels of Calico's network sets. Kinds other than NetworkPolicy v1 and Calico's
/// are compared as they are, lists in order.
#[must_use]
pub fn spec_equal(a: &PolicyDocument, b: &PolicyDocument) -> Equality {
    let (full_a, full_b) = (defaulted(a), defaulted(b));
    if full_a == full_b {
        Equality::Same
    } else if canonical(a, &full_a) == canonical(b, &full_b) {
        Equality::OrderOnly
    } else {
        Equality::Different
    }
}

/// A completed spec without an order of lists that have none; of other kinds as it is.
#[must_use]
pub(crate) fn canonical(document: &PolicyDocument, full: &Value) -> Value {
    match calico_kind(document) {
        Some(kind) => calico::canonical(full, kind),
        None if is_network_policy(document) => canonical_spec(full),
        None => full.clone(),
    }
}

/// The canonical text of one rule after defaulting: equal for two rules exactly if their canonical forms are.
#[must_use]
pub fn rule_key(rule: &Value) -> String {
    if calico::is_rule(rule) {
        return text(&calico::canonical_rule(rule));
    }
    text(&canonical_rule(&defaulted_rule(rule)))
}

/// The canonical text of a label selector: equal for selectors that list the same requirements.
#[must_use]
pub fn selector_key(selector: &Value) -> String {
    text(&canonical_selector(&defaulted_selector(selector)))
}

/// The spec with the API's defaults filled in, in its own order, and with the labels of a network set; other kinds
/// unchanged.
#[must_use]
pub fn defaulted(document: &PolicyDocument) -> Value {
    match calico_kind(document) {
        Some(kind) => calico::defaulted(document, kind),
        None if is_network_policy(document) => defaulted_spec(spec(document)),
        None if admin::is_admin(document) => admin::defaulted(spec(document)),
        None => spec(document).clone(),
    }
}

/// The rules of one direction as the API server fills them in; `None` where the policy does not isolate in it.
/// For other kinds: the list as it is.
#[must_use]
pub fn rules(document: &PolicyDocument, direction: Direction) -> Option<Vec<Value>> {
    let spec = spec(document);
    match calico_kind(document) {
        Some(CalicoKind::Policy | CalicoKind::StagedPolicy) => return calico::rules(document, direction),
        Some(CalicoKind::Set | CalicoKind::Tier) => return None,
        None if !is_network_policy(document) => return spec.get(direction.word())?.as_array().cloned(),
        None | Some(CalicoKind::StagedKubernetes) => {}
    }
    let wanted = type_word(direction);
    let isolates = policy_types(spec).iter().any(|word| word.as_str() == Some(wanted));
    isolates.then(|| list(spec, direction.word()).iter().map(defaulted_rule).collect())
}

/// Rules of `new` that `old` does not have.
///
/// A rule that only moved is not changed, and one of a staged policy is none. Where the endpoints that the policy applies to changed, or a direction
/// came under it, every rule of that direction counts: it now opens something for others than before.
#[must_use]
pub fn changed_rules(old: Option<&PolicyDocument>, new: &PolicyDocument) -> Vec<RuleRef> {
    if calico_kind(new).is_some_and(CalicoKind::is_staged) {
        return Vec::new();
    }
    let old = old.filter(|old| subject_key(old) == subject_key(new));
    let mut changed = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for rule in old.and_then(|old| rules(old, direction)).unwrap_or_default() {
            *known.entry(key_of(new, &rule)).or_default() += 1;
        }
        for (index, rule) in rules(new, direction).unwrap_or_default().iter().enumerate() {
            match known.get_mut(&key_of(new, rule)) {
                Some(left) if *left > 0 => *left -= 1,
                _ => changed.push(RuleRef { policy: new.id.clone(), direction, index }),
            }
        }
    }
    changed
}

/// The name of a direction in `policyTypes`.
#[must_use]
pub(crate) const fn type_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    }
}

/// JSON with sorted keys, whatever order the map type keeps.
#[must_use]
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let fields: Vec<String> = sorted
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::String((*key).clone()), text(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

/// The canonical text of a rule of a document: equal for rules of the same kind that mean the same.
#[must_use]
pub fn key_of(document: &PolicyDocument, rule: &Value) -> String {
    if is_network_policy(document) || calico_kind(document).is_some() { rule_key(rule) } else { text(rule) }
}

fn subject_key(document: &PolicyDocument) -> String {
    let spec = spec(document);
    if is_network_policy(document) {
        return selector_key(spec.get("podSelector").unwrap_or(&Value::Null));
    }
    let mut rest = canonical(document, &defaulted(document));
    if let Some(rest) = rest.as_object_mut() {
        rest.retain(|field, _| !["ingress", "egress", "types"].contains(&field.as_str()));
    }
    text(&rest)
}

fn spec(document: &PolicyDocument) -> &Value {
    document.object.get("spec").unwrap_or(&Value::Null)
}

/// The elements of a list field; an absent one and `null` are empty.
fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn policy_types(spec: &Value) -> Vec<Value> {
    let written = list(spec, "policyTypes");
    if !written.is_empty() {
        return written.to_vec();
    }
    let mut types = vec![Value::from("Ingress")];
    if !list(spec, "egress").is_empty() {
        types.push(Value::from("Egress"));
    }
    types
}

/// Fields that stand in `object` besides `known`: kept, so that what is not understood never counts as the same.
/// So is a known field that is not of the kind it should be.
fn unknown(object: &Value, known: &[&str]) -> Map<String, Value> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Puts the list `field` of `object` into `out`, unless it is empty; a value that is no list stays as it is.
fn put_list(out: &mut Map<String, Value>, object: &Value, field: &str, each: impl Fn(&Value) -> Value) {
    match object.get(field) {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) if items.is_empty() => {}
        Some(Value::Array(items)) => {
            out.insert(field.to_owned(), Value::Array(items.iter().map(each).collect()));
        }
        Some(other) => {
            out.insert(field.to_owned(), other.clone());
        }
    }
}

fn defaulted_spec(spec: &Value) -> Value {
    let mut out = unknown(spec, &["podSelector", "policyTypes", "ingress", "egress"]);
    let selector = spec.get("podSelector").unwrap_or(&Value::Null);
    out.insert("podSelector".to_owned(), defaulted_selector(selector));
    out.insert("policyTypes".to_owned(), Value::Array(policy_types(spec)));
    put_list(&mut out, spec, "ingress", defaulted_rule);
    put_list(&mut out, spec, "egress", defaulted_rule);
    Value::Object(out)
}

/// A rule with its defaults; `null` in a list is Go's zero value, the rule that allows everything.
fn defaulted_rule(rule: &Value) -> Value {
    if !(rule.is_object() || rule.is_null()) {
        return rule.clone();
    }
    let mut out = unknown(rule, &["from", "to", "ports"]);
    put_list(&mut out, rule, "from", defaulted_peer);
    put_list(&mut out, rule, "to", defaulted_peer);
    put_list(&mut out, rule, "ports", defaulted_port);
    Value::Object(out)
}

fn defaulted_peer(peer: &Value) -> Value {
    if !(peer.is_object() || peer.is_null()) {
        return peer.clone();
    }
    let mut out = unknown(peer, &["podSelector", "namespaceSelector", "ipBlock"]);
    for field in ["podSelector", "namespaceSelector"] {
        // Absent and empty differ here: an empty selector selects all.
        if let Some(selector) = peer.get(field).filter(|value| !value.is_null()) {
            out.insert(field.to_owned(), defaulted_selector(selector));
        }
    }
    if let Some(block) = peer.get("ipBlock").filter(|value| !value.is_null()) {
        let mut fields = unknown(block, &["except"]);
        put_list(&mut fields, block, "except", Value::clone);
        out.insert("ipBlock".to_owned(), if block.is_object() { Value::Object(fields) } else { block.clone() });
    }
    Value::Object(out)
}

fn defaulted_port(port: &Value) -> Value {
    if !(port.is_object() || port.is_null()) {
        return port.clone();
    }
    let mut out = unknown(port, &[]);
    out.entry("protocol").or_insert_with(|| Value::from("TCP"));
    Value::Object(out)
}

fn defaulted_selector(selector: &Value) -> Value {
    if !(selector.is_object() || selector.is_null()) {
        return selector.clone();
    }
    let mut out = unknown(selector, &["matchLabels", "matchExpressions"]);
    match selector.get("matchLabels") {
        Some(Value::Object(labels)) if !labels.is_empty() => {
            let filled = labels.iter().map(|(key, value)| (key.clone(), label_value(value))).collect();
            out.insert("matchLabels".to_owned(), Value::Object(filled));
        }
        None | Some(Value::Null | Value::Object(_)) => {}
        Some(other) => {
            out.insert("matchLabels".to_owned(), other.clone());
        }
    }
    put_list(&mut out, selector, "matchExpressions", |expression| {
        if !expression.is_object() {
            return expression.clone();
        }
        let mut fields = unknown(expression, &["values"]);
        put_list(&mut fields, expression, "values", Value::clone);
        Value::Object(fields)
    });
    Value::Object(out)
}

/// `null` as a label's value is Go's zero value.
fn label_value(value: &Value) -> Value {
    if value.is_null() { Value::from("") } else { value.clone() }
}

fn canonical_spec(full: &Value) -> Value {
    let mut out = full.as_object().cloned().unwrap_or_default();
    for direction in [Direction::Ingress, Direction::Egress] {
        let wanted = type_word(direction);
        if list(full, "policyTypes").iter().any(|word| word.as_str() == Some(wanted)) {
            sort_list(&mut out, direction.word(), canonical_rule);
        } else {
            out.remove(direction.word());
        }
    }
    sort_list(&mut out, "policyTypes", Value::clone);
    map_field(&mut out, "podSelector", canonical_selector);
    Value::Object(out)
}

fn canonical_rule(rule: &Value) -> Value {
    let Some(fields) = rule.as_object() else { return rule.clone() };
    let mut out = fields.clone();
    sort_list(&mut out, "from", canonical_peer);
    sort_list(&mut out, "to", canonical_peer);
    sort_list(&mut out, "ports", canonical_port);
    Value::Object(out)
}

fn canonical_peer(peer: &Value) -> Value {
    let Some(fields) = peer.as_object() else { return peer.clone() };
    let mut out = fields.clone();
    map_field(&mut out, "podSelector", canonical_selector);
    map_field(&mut out, "namespaceSelector", canonical_selector);
    map_field(&mut out, "ipBlock", |block| {
        let Some(fields) = block.as_object() else { return block.clone() };
        let mut block = fields.clone();
        map_field(&mut block, "cidr", canonical_net);
        sort_list(&mut block, "except", canonical_net);
        Value::Object(block)
    });
    Value::Object(out)
}

/// A range of one port is that port.
fn canonical_port(port: &Value) -> Value {
    let Some(fields) = port.as_object() else { return port.clone() };
    let mut out = fields.clone();
    if out.get("endPort").is_some() && out.get("endPort") == out.get("port") {
        out.remove("endPort");
    }
    Value::Object(out)
}

fn canonical_net(net: &Value) -> Value {
    let parsed = net.as_str().and_then(|text| text.parse::<IpNet>().ok());
    parsed.map_or_else(|| net.clone(), |net| Value::from(net.trunc().to_string()))
}

/// A selector as its sorted requirements; `matchLabels` is `In` with one value (LabelSelector, API reference).
fn canonical_selector(selector: &Value) -> Value {
    let Some(fields) = selector.as_object() else { return selector.clone() };
    let mut out = fields.clone();
    let mut requirements: Vec<Value> = list(selector, "matchExpressions").to_vec();
    if let Some(Value::Object(labels)) = fields.get("matchLabels") {
        out.remove("matchLabels");
        for (key, value) in labels {
            let mut requirement = Map::new();
            requirement.insert("key".to_owned(), Value::from(key.clone()));
            requirement.insert("operator".to_owned(), Value::from("In"));
            requirement.insert("values".to_owned(), Value::Array(vec![value.clone()]));
            requirements.push(Value::Object(requirement));
        }
    }
    if !requirements.is_empty() {
        out.insert("matchExpressions".to_owned(), Value::Array(requirements));
    }
    sort_list(&mut out, "matchExpressions", |requirement| {
        let Some(fields) = requirement.as_object() else { return requirement.clone() };
        let mut requirement = fields.clone();
        sort_list(&mut requirement, "values", Value::clone);
        Value::Object(requirement)
    });
    Value::Object(out)
}

fn map_field(object: &mut Map<String, Value>, field: &str, with: impl Fn(&Value) -> Value) {
    if let Some(value) = object.get_mut(field) {
        *value = with(value);
    }
}

/// Brings the elements of a list into canonical form, sorts them and drops repeated ones.
fn sort_list(object: &mut Map<String, Value>, field: &str, each: impl Fn(&Value) -> Value) {
    if let Some(Value::Array(items)) = object.get_mut(field) {
        let unique: BTreeMap<String, Value> = items.iter().map(each).map(|item| (text(&item), item)).collect();
        *items = unique.into_values().collect();
    }
}
