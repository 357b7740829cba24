//! What is wrong with a rule by itself.

use serde_json::Value;

use super::{Finding, Rule as Kind};
use crate::model::{
    Action, CalicoSelector, Conditions, Direction, NAMESPACE_LABEL, NamespaceMatch, Origin, Peer, Policy,
    PolicyDocument, PortMatch, Rule, Severity,
};

/// Rules of a policy that are too broad, or that another one makes unnecessary.
pub(super) fn of_policy(policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules = policy.rules(direction).unwrap_or_default();
        for rule in rules.iter().filter(|rule| rule.action == Action::Allow) {
            let name = format!("{} {}[{}]", policy.id, direction.word(), rule.index);
            let origin = rule.origin.clone().or_else(|| policy.origin.clone());
            findings.extend(broad(rule, direction).map(|text| finding(Kind::Broad, &name, &text, origin.as_ref())));
            findings.extend(shadowed(rules, rule).map(|by| {
                let text = format!("{}[{by}] lets all of it through already: take one of them out", direction.word());
                finding(Kind::Shadowed, &name, &text, origin.as_ref())
            }));
            findings.extend(useless_names(rule).map(|text| finding(Kind::Ignored, &name, &text, origin.as_ref())));
        }
    }
    findings
}

fn finding(rule: Kind, name: &str, text: &str, origin: Option<&Origin>) -> Finding {
    let message = format!("{name}: {text}");
    Finding { origin: origin.cloned(), rule, severity: Severity::Warning, message, fix: None }
}

const EVERY_POD: &str = "every port of every pod of every namespace: name the ports, or the namespaces";

/// Rules without ports towards every address, or from or to every namespace.
fn broad(rule: &Rule, direction: Direction) -> Option<String> {
    if let Some(conditions) = &rule.conditions {
        return broad_conditions(conditions, direction);
    }
    if rule.ports.is_some() {
        return None;
    }
    let Some(peers) = &rule.peers else {
        return Some("every port of every peer, the Internet included: name the peers or the ports".to_owned());
    };
    peers.iter().find_map(|peer| match peer {
        Peer::Block { cidr, .. } if cidr.prefix_len() == 0 => Some(format!("every port of {cidr}: name the ports")),
        Peer::Pods { namespaces: NamespaceMatch::Selected(namespaces), pods }
            if namespaces.is_everything() && pods.is_everything() =>
        {
            Some(EVERY_POD.to_owned())
        }
        _ => None,
    })
}

fn broad_conditions(conditions: &Conditions, direction: Direction) -> Option<String> {
    let far = conditions.far(direction);
    let has_ports = !conditions.destination.ports.is_empty() || conditions.destination.service.is_some();
    let is_open = far.service.is_none() && far.nets.iter().all(|net| net.prefix_len() == 0);
    let is_other = conditions.protocol.is_some_and(|protocol| protocol.transport().is_none());
    if !is_open || has_ports || is_other || conditions.http {
        return None;
    }
    match &far.selector {
        None => Some("every port of every address: name the ports, or what it is for".to_owned()),
        // What `namespaceSelector: all()` means.
        Some(CalicoSelector::All) => Some(EVERY_POD.to_owned()),
        Some(CalicoSelector::Has(key)) if key == NAMESPACE_LABEL => Some(EVERY_POD.to_owned()),
        Some(_) => None,
    }
}

/// The rule of the same policy that lets through all that this one does.
fn shadowed(rules: &[Rule], rule: &Rule) -> Option<usize> {
    // Rules that deny or pass are asked in their order: one of them in between needs the earlier one.
    let is_between = |other: &Rule, between: &Rule| {
        (rule.index..other.index).contains(&between.index) && matches!(between.action, Action::Deny | Action::Pass)
    };
    let is_more = |other: &&Rule| {
        // Of two equal ones the second is too many.
        let twin = rule.peers == other.peers && rule.ports == other.ports && rule.conditions == other.conditions;
        other.index != rule.index
            && other.action == Action::Allow
            && covers(other, rule)
            && (!twin || other.index < rule.index)
            && !rules.iter().any(|between| is_between(other, between))
    };
    rules.iter().find(is_more).map(|other| other.index)
}

fn covers(wide: &Rule, narrow: &Rule) -> bool {
    if wide.conditions.is_some() || narrow.conditions.is_some() {
        return wide.conditions == narrow.conditions;
    }
    let peers = match (&wide.peers, &narrow.peers) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|peer| wide.contains(peer)),
    };
    let ports = match &narrow.ports {
        None => wide.has_port(None),
        Some(narrow) => narrow.iter().all(|port| wide.has_port(Some(port))),
    };
    peers && ports
}

/// "A named port has no meaning for addresses": a rule of names for blocks alone opens nothing.
fn useless_names(rule: &Rule) -> Option<String> {
    let names: Vec<&str> = rule
        .ports
        .iter()
        .flatten()
        .filter_map(|port| match port {
            PortMatch::Named { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let only_blocks = rule.peers.as_ref().is_some_and(|peers| peers.iter().all(|p| matches!(p, Peer::Block { .. })));
    (only_blocks && !names.is_empty())
        .then(|| format!("port `{}` is a name, which addresses do not have: write its number", names.join("`, `")))
}

/// Sections that `policyTypes` leaves out: what stands in them is not in force.
pub(super) fn of_document(document: &PolicyDocument) -> Vec<Finding> {
    let spec = document.object.get("spec");
    let list = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(Value::as_array);
    let key = if document.api_version.starts_with("networking.k8s.io") { "policyTypes" } else { "types" };
    let Some(types) = list(key).filter(|types| !types.is_empty()) else { return Vec::new() };
    let left_out = |direction: &Direction| {
        let word = match direction {
            Direction::Ingress => "Ingress",
            Direction::Egress => "Egress",
        };
        let is_named = types.iter().any(|one| one.as_str() == Some(word));
        !is_named && list(direction.word()).is_some_and(|rules| !rules.is_empty())
    };
    let one = |direction: Direction| {
        let word = direction.word();
        let origin = document.origins.nearest(&format!("/spec/{word}"));
        let text = format!("`{key}` does not name this direction, so that its rules are not in force: add it there");
        finding(Kind::Ignored, &format!("{} {word}", document.id), &text, origin)
    };
    [Direction::Ingress, Direction::Egress].into_iter().filter(left_out).map(one).collect()
}
