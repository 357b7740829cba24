//! NetworkPolicy and GlobalNetworkPolicy of `projectcalico.org/v3`.

use serde_json::Value;

use super::entity::{self, Place};
use super::expression::{Asked, Malformed, holds};
use super::json::{at, field, is_true, list, text, texts};
use super::{Action, Case, Question};
use crate::Direction;

/// The namespace of a policy; none for a global one.
pub(super) fn namespace(policy: &Value) -> Option<&str> {
    (text(policy, "/kind") == "NetworkPolicy").then(|| match text(policy, "/metadata/namespace") {
        "" => "default",
        given => given,
    })
}

/// The tier that a policy is in.
pub(super) fn tier(policy: &Value) -> &str {
    match text(policy, "/spec/tier") {
        "" => "default",
        given => given,
    }
}

/// Whether a policy is in force at a pod in a direction. One that cannot be read is not.
pub(super) fn applies(case: &Case<'_>, policy: &Value, direction: Direction) -> bool {
    // These concern host endpoints only.
    if is_true(policy, "/spec/doNotTrack") || is_true(policy, "/spec/preDNAT") {
        return false;
    }
    has_type(policy, direction) && selects(case, policy, direction).unwrap_or(false)
}

fn selects(case: &Case<'_>, policy: &Value, direction: Direction) -> Result<bool, Malformed> {
    let known = match direction {
        Direction::Ingress => &case.destination,
        Direction::Egress => &case.source,
    };
    let Some(known) = known.iter().find(|known| known.pod.is_some()) else { return Ok(false) };
    let here = known.labels.get("projectcalico.org/namespace").map(String::as_str);
    let own = namespace(policy).is_none_or(|namespace| here == Some(namespace));
    let (selector, namespaces) = (text(policy, "/spec/selector"), text(policy, "/spec/namespaceSelector"));
    let accounts = text(policy, "/spec/serviceAccountSelector");
    // With a serviceAccountSelector, `all()` in a global policy is everything that has the label of a service account:
    // every pod.
    let labels = holds(selector, &Asked { labels: &known.labels, all: true, global: None })?;
    // Only a global policy has this field.
    let namespaces = holds(namespaces, &Asked { labels: &known.namespace_labels, all: true, global: None })?;
    let accounts = holds(accounts, &Asked { labels: &known.account_labels, all: true, global: None })?;
    Ok(own && labels && namespaces && accounts)
}

/// "When you specify no types, they default to: Ingress if there are no Egress rules, Egress if there are no Ingress
/// rules, both if there are both".
fn has_type(policy: &Value, direction: Direction) -> bool {
    let name = match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    let types = texts(policy, "/spec/types");
    if !types.is_empty() {
        return types.contains(&name);
    }
    // Only Calico's API defaults. An object written past it, without types, is taken for both.
    if text(policy, "/apiVersion").starts_with("crd.") {
        return true;
    }
    let (ingress, egress) = (list(policy, "/spec/ingress"), list(policy, "/spec/egress"));
    match direction {
        Direction::Ingress => egress.is_empty() || !ingress.is_empty(),
        Direction::Egress => !egress.is_empty(),
    }
}

/// The first rule that decides, and how. `Log` only notes the packet: the next rule is asked.
pub(super) fn decide(case: &Case<'_>, policy: &Value, direction: Direction) -> Option<(usize, Action)> {
    let rules = match direction {
        Direction::Ingress => list(policy, "/spec/ingress"),
        Direction::Egress => list(policy, "/spec/egress"),
    };
    for (number, rule) in rules.iter().enumerate() {
        if !rule_matches(case, policy, rule).unwrap_or(false) {
            continue;
        }
        match text(rule, "/action") {
            "Allow" => return Some((number, Action::Allow)),
            "Deny" => return Some((number, Action::Deny)),
            "Pass" => return Some((number, Action::Pass)),
            _ => {}
        }
    }
    None
}

fn rule_matches(case: &Case<'_>, policy: &Value, rule: &Value) -> Result<bool, Malformed> {
    let question = case.question;
    let source = Place {
        case,
        own_namespace: namespace(policy),
        address: question.src.address(),
        known: &case.source,
        port: question.source_port,
        destination: false,
    };
    let destination = Place {
        address: question.dst.address(),
        known: &case.destination,
        port: question.port,
        destination: true,
        ..source
    };
    let none = Value::Null;
    if !version_matches(rule, question) || !protocol_matches(rule, question) || !icmp_matches(rule, question) {
        return Ok(false);
    }
    let from = entity::matches(&source, field(rule, "/source").unwrap_or(&none))?;
    Ok(from && entity::matches(&destination, field(rule, "/destination").unwrap_or(&none))?)
}

/// "IPVersion is an optional field that restricts the rule to only match a specific IP version."
fn version_matches(rule: &Value, question: &Question<'_>) -> bool {
    let version = if question.src.address().is_ipv4() { 4 } else { 6 };
    at(rule, "/ipVersion").and_then(Value::as_i64).is_none_or(|given| given == version)
}

fn protocol_matches(rule: &Value, question: &Question<'_>) -> bool {
    let is = |pointer: &str| field(rule, pointer).map(|given| protocol_number(given) == Some(question.protocol));
    is("/protocol").unwrap_or(true) && !is("/notProtocol").unwrap_or(false)
}

/// "Must be one of these string values: "TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite" or an integer".
fn protocol_number(given: &Value) -> Option<u8> {
    if let Some(number) = given.as_u64() {
        return u8::try_from(number).ok();
    }
    let name = given.as_str()?;
    Some(match name.to_ascii_lowercase().as_str() {
        "tcp" => 6,
        "udp" => 17,
        "icmp" => 1,
        "icmpv6" => 58,
        "sctp" => 132,
        "udplite" => 136,
        digits => return digits.parse().ok(),
    })
}

fn icmp_matches(rule: &Value, question: &Question<'_>) -> bool {
    let is = |pointer: &str| field(rule, pointer).map(|fields| icmp_is(fields, question));
    is("/icmp").unwrap_or(true) && !is("/notICMP").unwrap_or(false)
}

/// A type without a code is any code of it; neither is any message.
fn icmp_is(fields: &Value, question: &Question<'_>) -> bool {
    let Some((kind, code)) = question.icmp else { return false };
    let is = |pointer: &str, value: u8| {
        at(fields, pointer).and_then(Value::as_u64).is_none_or(|given| given == u64::from(value))
    };
    is("/type", kind) && is("/code", code)
}
