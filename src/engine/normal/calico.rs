//! The same for Calico's kinds.
//!
//! Completed is what its API fills in (types, tier `default`, empty ends of a rule) and what has no meaning for packets
//! left out (hints, a rule's metadata, labels that Flux writes); selectors, blocks, ports and protocols are in one
//! spelling. Unlike those of a NetworkPolicy, rules are in order: the first that matches decides. The lists within a
//! rule are not.

use std::str::FromStr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{defaulted_spec, list, put_list, sort_list, spec, unknown};
use crate::model::{
    CALICO_API, CALICO_STORE, CalicoSelector, Direction, EntityPort, IpProtocol, PolicyDocument, PolicyRef, api_family,
};

/// Labels that Flux writes on what it applies: Git does not have them.
const FLUX_LABELS: &str = "kustomize.toolkit.fluxcd.io/";
/// Where Calico's store keeps the metadata that its API took.
const STORED_METADATA: &str = "/metadata/annotations/projectcalico.org~1metadata";

/// What a kind of Calico is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalicoKind {
    /// NetworkPolicy and GlobalNetworkPolicy.
    Policy,
    /// Staged forms of these: never enforced.
    StagedPolicy,
    /// A staged NetworkPolicy of Kubernetes: never enforced.
    StagedKubernetes,
    /// NetworkSet and GlobalNetworkSet.
    Set,
    /// A tier.
    Tier,
}

impl CalicoKind {
    /// Whether it is never enforced.
    #[must_use]
    pub const fn is_staged(self) -> bool {
        matches!(self, Self::StagedPolicy | Self::StagedKubernetes)
    }
}

/// What a document of Calico's API or store is; `None` for any other.
#[must_use]
pub fn calico_kind(document: &PolicyDocument) -> Option<CalicoKind> {
    let group = document.api_version.split_once('/').map_or("", |(group, _)| group);
    if api_family(group) != CALICO_API {
        return None;
    }
    match document.id.kind.split('.').next().unwrap_or_default() {
        "NetworkPolicy" | "GlobalNetworkPolicy" => Some(CalicoKind::Policy),
        "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" => Some(CalicoKind::StagedPolicy),
        "StagedKubernetesNetworkPolicy" => Some(CalicoKind::StagedKubernetes),
        "NetworkSet" | "GlobalNetworkSet" => Some(CalicoKind::Set),
        "Tier" => Some(CalicoKind::Tier),
        _ => None,
    }
}

/// The spec as Calico's API completes it; for a set with its labels, which decide like its addresses.
pub(super) fn defaulted(document: &PolicyDocument, kind: CalicoKind) -> Value {
    let spec = spec(document);
    let mut out = match kind {
        CalicoKind::Policy | CalicoKind::StagedPolicy => policy(document),
        CalicoKind::StagedKubernetes => defaulted_spec(spec).as_object().cloned().unwrap_or_default(),
        CalicoKind::Set => set(document),
        CalicoKind::Tier => tier(spec),
    };
    if kind.is_staged() {
        out.entry("stagedAction").or_insert_with(|| "Set".into());
    }
    Value::Object(out)
}

/// The same without an order of lists that have none.
pub(super) fn canonical(full: &Value, kind: CalicoKind) -> Value {
    let mut out = full.as_object().cloned().unwrap_or_default();
    match kind {
        CalicoKind::StagedKubernetes => return super::canonical_spec(full),
        CalicoKind::Tier => {}
        CalicoKind::Set => sort_list(&mut out, "nets", Value::clone),
        CalicoKind::Policy | CalicoKind::StagedPolicy => {
            for direction in [Direction::Ingress, Direction::Egress] {
                let wanted = super::type_word(direction);
                let rules = out.remove(direction.word());
                // Rules of a direction that `types` does not name have no effect.
                if let Some(Value::Array(rules)) = rules.filter(|_| has(full, wanted)) {
                    out.insert(direction.word().to_owned(), rules.iter().map(canonical_rule).collect());
                }
            }
            sort_list(&mut out, "types", Value::clone);
        }
    }
    Value::Object(out)
}

/// Whether `types` of a completed spec names a direction.
fn has(full: &Value, word: &str) -> bool {
    list(full, "types").iter().any(|one| one.as_str() == Some(word))
}

/// The completed rules of one direction; `None` where the policy says nothing about it.
pub(super) fn rules(document: &PolicyDocument, direction: Direction) -> Option<Vec<Value>> {
    let full = Value::Object(policy(document));
    has(&full, super::type_word(direction)).then(|| list(&full, direction.word()).to_vec())
}

/// Whether a rule is one of Calico's: those of Kubernetes have no action.
pub(super) fn is_rule(rule: &Value) -> bool {
    rule.get("action").is_some()
}

/// A rule, completed, without an order of lists that have none.
pub(super) fn canonical_rule(rule: &Value) -> Value {
    let Value::Object(mut out) = completed_rule(rule, None) else { return rule.clone() };
    for end in ["source", "destination"] {
        if let Some(Value::Object(entity)) = out.get_mut(end) {
            for field in ["nets", "notNets", "ports", "notPorts"] {
                sort_list(entity, field, Value::clone);
            }
            if let Some(Value::Object(accounts)) = entity.get_mut("serviceAccounts") {
                sort_list(accounts, "names", Value::clone);
            }
        }
    }
    if let Some(Value::Object(http)) = out.get_mut("http") {
        sort_list(http, "methods", Value::clone);
        sort_list(http, "paths", Value::clone);
    }
    Value::Object(out)
}

fn policy(document: &PolicyDocument) -> Map<String, Value> {
    let spec = spec(document);
    let known = ["ingress", "egress", "types", "performanceHints"];
    let mut out = kept(spec, &known);
    out.entry("tier").or_insert_with(|| "default".into());
    out.insert("types".to_owned(), Value::Array(types(document)));
    number(&mut out, "order");
    for field in ["selector", "namespaceSelector", "serviceAccountSelector"] {
        text_field(&mut out, field, selector);
    }
    if out.get("selector").and_then(Value::as_str) == Some("all()") {
        out.remove("selector");
    }
    out.retain(|field, value| {
        !(["doNotTrack", "preDNAT", "applyOnForward"].contains(&field.as_str()) && *value == Value::Bool(false))
    });
    let namespace = document.id.namespace.as_deref();
    for direction in [Direction::Ingress, Direction::Egress] {
        put_list(&mut out, spec, direction.word(), |rule| completed_rule(rule, namespace));
    }
    out
}

/// The API completes absent types by the rules that there are; what is stored without types applies both ways.
fn types(document: &PolicyDocument) -> Vec<Value> {
    let spec = spec(document);
    let written = list(spec, "types");
    if !written.is_empty() {
        return written.to_vec();
    }
    let stored = document.api_version.starts_with(CALICO_STORE);
    let (ingress, egress) = (!list(spec, "ingress").is_empty(), !list(spec, "egress").is_empty());
    let both = [("Ingress", stored || ingress || !egress), ("Egress", stored || egress)];
    both.into_iter().filter(|(_, is_there)| *is_there).map(|(word, _)| word.into()).collect()
}

/// A rule; `namespace` is that of the policy, which a Service without a namespace is in.
fn completed_rule(rule: &Value, namespace: Option<&str>) -> Value {
    if !rule.is_object() {
        return rule.clone();
    }
    let mut out = kept(rule, &["metadata", "source", "destination"]);
    for field in ["protocol", "notProtocol"] {
        field_with(&mut out, field, protocol);
    }
    for field in ["icmp", "notICMP", "http"] {
        field_with(&mut out, field, |value| without_empty(value, &[]));
    }
    for end in ["source", "destination"] {
        if let Some(value) = rule.get(end) {
            out.insert(end.to_owned(), entity(value, namespace));
        }
    }
    out.retain(|_, value| !is_empty(value));
    Value::Object(out)
}

fn entity(entity: &Value, namespace: Option<&str>) -> Value {
    if !entity.is_object() {
        return entity.clone();
    }
    let mut out = kept(entity, &["nets", "notNets", "ports", "notPorts"]);
    for field in ["selector", "notSelector", "namespaceSelector"] {
        text_field(&mut out, field, selector);
    }
    for field in ["nets", "notNets"] {
        put_list(&mut out, entity, field, net);
    }
    for field in ["ports", "notPorts"] {
        put_list(&mut out, entity, field, port);
    }
    field_with(&mut out, "serviceAccounts", |accounts| {
        let mut fields = kept(accounts, &[]);
        text_field(&mut fields, "selector", selector);
        Value::Object(fields)
    });
    field_with(&mut out, "services", |service| {
        let mut fields = kept(service, &[]);
        if let (Some(namespace), false) = (namespace, fields.is_empty()) {
            fields.entry("namespace").or_insert_with(|| namespace.into());
        }
        Value::Object(fields)
    });
    out.retain(|_, value| !is_empty(value));
    Value::Object(out)
}

fn set(document: &PolicyDocument) -> Map<String, Value> {
    let spec = spec(document);
    let mut out = kept(spec, &["nets"]);
    put_list(&mut out, spec, "nets", net);
    let mut labels: Map<String, Value> = Map::new();
    let stored = document.object.pointer(STORED_METADATA).and_then(Value::as_str);
    let stored = stored.filter(|_| document.api_version.starts_with(CALICO_STORE));
    let stored: Option<Value> = stored.and_then(|text| serde_json::from_str(text).ok());
    for metadata in stored.iter().chain(document.object.get("metadata")) {
        labels.extend(metadata.get("labels").and_then(Value::as_object).cloned().unwrap_or_default());
    }
    labels.retain(|key, _| !key.starts_with(FLUX_LABELS));
    if !labels.is_empty() {
        out.insert("labels".to_owned(), Value::Object(labels));
    }
    out
}

fn tier(spec: &Value) -> Map<String, Value> {
    let mut out = kept(spec, &[]);
    number(&mut out, "order");
    out.entry("defaultAction").or_insert_with(|| "Deny".into());
    out
}

/// The fields of an object besides `without`, except those that say nothing: null and empty ones are absent.
fn kept(object: &Value, without: &[&str]) -> Map<String, Value> {
    let mut out = unknown(object, without);
    out.retain(|_, value| !is_empty(value));
    out
}

fn without_empty(value: &Value, without: &[&str]) -> Value {
    if value.is_object() { Value::Object(kept(value, without)) } else { value.clone() }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn field_with(object: &mut Map<String, Value>, field: &str, with: impl Fn(&Value) -> Value) {
    if let Some(value) = object.get_mut(field) {
        *value = with(value);
    }
}

fn text_field(object: &mut Map<String, Value>, field: &str, with: impl Fn(&str) -> String) {
    field_with(object, field, |value| value.as_str().map_or_else(|| value.clone(), |text| with(text).into()));
}

/// 100 and 100.0 are one number.
fn number(object: &mut Map<String, Value>, field: &str) {
    field_with(object, field, |value| value.as_f64().map_or_else(|| value.clone(), |number| (number + 0.0).into()));
}

/// As Calico normalises it; what is no selector stays as it is.
fn selector(text: &str) -> String {
    CalicoSelector::parse(text).map_or_else(|_| text.to_owned(), |selector| selector.to_string())
}

/// Without host bits; an address is a block of one.
fn net(net: &Value) -> Value {
    let text = net.as_str().unwrap_or_default();
    let one = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let block = text.parse::<IpNet>().ok().or_else(one);
    block.map_or_else(|| net.clone(), |block| block.trunc().to_string().into())
}

/// `80` and 80 are one port, and a range of one is that port.
fn port(port: &Value) -> Value {
    let text = port.as_str().map_or_else(|| port.to_string(), str::to_owned);
    match EntityPort::from_str(&text) {
        Ok(EntityPort::Range { from, to }) if from == to => from.into(),
        Ok(EntityPort::Range { from, to }) => format!("{from}:{to}").into(),
        Ok(EntityPort::Named(name)) => name.into(),
        Err(_) => port.clone(),
    }
}

/// By its name, where it has one.
fn protocol(protocol: &Value) -> Value {
    let text = protocol.as_str().map_or_else(|| protocol.to_string(), str::to_owned);
    let number = text.parse().ok().map(IpProtocol);
    number.or_else(|| IpProtocol::named(&text, true)).map_or_else(|| protocol.clone(), |known| known.to_string().into())
}

/// Whether an inventory's name of an object is that of a document, with the tier before it or without.
#[must_use]
pub fn is_called(document: &PolicyDocument, kind: &str, name: &str) -> bool {
    let tier = spec(document).get("tier").and_then(Value::as_str);
    let id = &document.id;
    PolicyRef::of_object(&document.api_version, kind, id.namespace.as_deref(), name, tier) == *id
}

#[cfg(test)]
mod tests;
