//! Rules that match nothing: a mistake, or a policy that came before its app.

use super::{Views, words};
use crate::engine::near_miss;
use crate::model::{Finding, FindingRule, Labels, NamespaceMatch, Policy, Rule, RuleRef, Selector, Severity, Subject};

/// How reasons begin that only say what a set of files does not hold: a cluster may.
pub(in crate::engine) const ABSENT: &str = "not in the input: ";

/// What a selector that yields no flow is, in words.
pub(super) enum Silence {
    /// A mistake: something nearly matches, or its namespace does not exist.
    Mistake(String),
    /// It waits for something to match.
    Waits(String),
}

/// Tells a mistake from a policy that came before its app.
pub(super) fn peer(views: &Views<'_>, namespaces: &NamespaceMatch, pods: &Selector) -> Silence {
    let world = views.input.declared;
    let mut named = views.classes().iter().filter(|c| world.names(namespaces, pods, c)).peekable();
    if named.peek().is_some() {
        let only_host = named.all(|class| class.host_network);
        let reason = if only_host { "only pods with hostNetwork have" } else { "no pod declares its ports that has" };
        return Silence::Waits(format!("{reason} {}", in_words(pods)));
    }
    let matching: Vec<&String> =
        world.namespaces.iter().filter(|(n, l)| namespaces.matches(n, l)).map(|(n, _)| n).collect();
    if matching.is_empty() {
        return no_namespace(views, namespaces);
    }
    let labels: Vec<&Labels> = views
        .classes()
        .iter()
        .filter(|c| matching.contains(&&c.workload.namespace))
        .flat_map(|c| std::iter::repeat_n(&c.labels, c.pods.len().max(1)))
        .collect();
    if world.planned && labels.is_empty() {
        return Silence::Waits(format!("{ABSENT}pods of {}", names(&matching)));
    }
    if let Some(near) = near_miss::near_misses(pods, &labels) {
        let count = if near.pods == 1 { "1 pod".to_owned() } else { format!("{} pods", near.pods) };
        return Silence::Mistake(format!(
            "no pod in {} has label `{}`; `{}` exists ({count})",
            names(&matching),
            near.wanted,
            near.exists
        ));
    }
    Silence::Waits(format!("no pod in {} has {}", names(&matching), in_words(pods)))
}

/// The same for the pods that a policy applies to.
pub(super) fn subject(views: &Views<'_>, subject: &Subject) -> Silence {
    let Some(selector) = &subject.calico else { return peer(views, &subject.namespaces, &subject.pods) };
    match (&subject.namespaces, words::of_kubernetes(selector)) {
        // A policy of a namespace says nothing of others.
        (own @ NamespaceMatch::Named(_), Some((_, pods))) => peer(views, own, &pods),
        (NamespaceMatch::Selected(_), Some((namespaces, pods))) => peer(views, &namespaces, &pods),
        (_, None) => Silence::Waits(format!("no pod matches `{selector}`")),
    }
}

fn no_namespace(views: &Views<'_>, namespaces: &NamespaceMatch) -> Silence {
    let world = views.input.declared;
    Silence::Mistake(match namespaces {
        NamespaceMatch::Named(name) => format!("namespace {name} does not exist"),
        NamespaceMatch::Selected(selector) => {
            let labels: Vec<&Labels> = world.namespaces.values().collect();
            let missing = near_miss::missing_namespace(selector, &world.namespaces);
            match (missing, near_miss::near_misses(selector, &labels)) {
                (Some(missing), _) if world.planned && missing.nearest.is_none() => {
                    return Silence::Waits(format!("{ABSENT}namespace {}", missing.wanted));
                }
                (Some(missing), _) => {
                    let nearest = missing.nearest.map(|n| format!("; {n} does")).unwrap_or_default();
                    format!("namespace {} does not exist{nearest}", missing.wanted)
                }
                (None, Some(near)) => format!("no namespace has label `{}`; `{}` exists", near.wanted, near.exists),
                // A label, and no name, promises namespaces to come.
                (None, None) => return Silence::Waits(format!("no namespace has {}", in_words(selector))),
            }
        }
    })
}

/// The finding that a rule has no effect, or not all of it.
pub(super) fn no_effect(policy: &Policy, rule: &Rule, reference: &RuleRef, text: &str) -> Finding {
    let place = rule.origin.as_ref().map(|o| format!(" ({})", o.short())).unwrap_or_default();
    let name = policy.id.short();
    Finding {
        key: format!("no-effect/{reference}"),
        rule: FindingRule::NoEffect,
        severity: Severity::Error,
        message: format!("{name} {}[{}]{place}: {text}", reference.direction.word(), reference.index),
        namespace: policy.id.namespace.clone(),
        origin: rule.origin.clone(),
        since: None,
        fix: None,
        new: true,
        accepted_until: None,
        about: Some(reference.clone()),
    }
}

fn names(namespaces: &[&String]) -> String {
    match namespaces {
        [one] => (*one).clone(),
        [first, rest @ ..] => format!("{first} and {} more namespaces", rest.len()),
        [] => "any namespace".to_owned(),
    }
}

/// A selector as people read it: `label app: Redis`.
fn in_words(selector: &Selector) -> String {
    let source = selector.source();
    let mut parts: Vec<String> = source.match_labels.iter().flatten().map(|(k, v)| format!("`{k}: {v}`")).collect();
    parts.extend(source.match_expressions.iter().flatten().map(|e| {
        let values = e.values.clone().unwrap_or_default().join(", ");
        format!("`{} {} ({values})`", e.key, e.operator)
    }));
    if parts.is_empty() { "any label".to_owned() } else { format!("label {}", parts.join(", ")) }
}
