//! Rules that match nothing: a mistake, or a policy that came before its app.

use super::Views;
use crate::engine::near_miss;
use crate::model::{Finding, FindingRule, Labels, NamespaceMatch, Peer, Policy, Rule, RuleRef, Selector, Severity};

/// What a rule that yields no flow is.
pub(super) enum Effect {
    /// A mistake: something nearly matches, or its namespace does not exist.
    None(Box<Finding>),
    /// It waits for something to match, in words.
    Waits(String),
}

/// Tells a mistake from a policy that came before its app.
pub(super) fn judge(views: &Views<'_>, policy: &Policy, rule: &Rule, reference: &RuleRef) -> Effect {
    let world = views.input.declared;
    let subjects = views.classes().iter().any(|c| world.selects(&policy.subject.namespaces, &policy.subject.pods, c));
    if !subjects {
        return selector(views, policy, rule, reference, &policy.subject.namespaces, &policy.subject.pods);
    }
    let mut reasons = Vec::new();
    for (namespaces, pods) in selectors(rule) {
        match selector(views, policy, rule, reference, namespaces, pods) {
            Effect::Waits(reason) => reasons.push(reason),
            mistake @ Effect::None(_) => return mistake,
        }
    }
    if reasons.is_empty() {
        reasons.push("no pod declares its ports".to_owned());
    }
    Effect::Waits(reasons.join("; "))
}

/// A peer that is a mistake, beside others that are none.
pub(super) fn mistaken_peer(views: &Views<'_>, policy: &Policy, rule: &Rule, reference: &RuleRef) -> Option<Finding> {
    selectors(rule).find_map(|(namespaces, pods)| match selector(views, policy, rule, reference, namespaces, pods) {
        Effect::None(finding) => Some(*finding),
        Effect::Waits(_) => None,
    })
}

fn selectors(rule: &Rule) -> impl Iterator<Item = (&NamespaceMatch, &Selector)> {
    rule.peers.iter().flatten().filter_map(|peer| match peer {
        Peer::Pods { namespaces, pods } => Some((namespaces, pods)),
        Peer::Block { .. } => None,
    })
}

fn selector(
    views: &Views<'_>,
    policy: &Policy,
    rule: &Rule,
    reference: &RuleRef,
    namespaces: &NamespaceMatch,
    pods: &Selector,
) -> Effect {
    let world = views.input.declared;
    let mut named = views.classes().iter().filter(|c| world.names(namespaces, pods, c)).peekable();
    if named.peek().is_some() {
        let only_host = named.all(|class| class.host_network);
        let reason = if only_host { "only pods with hostNetwork have" } else { "no pod declares its ports that has" };
        return Effect::Waits(format!("{reason} {}", words(pods)));
    }
    let matching: Vec<&String> =
        world.namespaces.iter().filter(|(n, l)| namespaces.matches(n, l)).map(|(n, _)| n).collect();
    if matching.is_empty() {
        return no_namespace(views, policy, rule, reference, namespaces);
    }
    let labels: Vec<&Labels> = views
        .classes()
        .iter()
        .filter(|c| matching.contains(&&c.workload.namespace))
        .flat_map(|c| std::iter::repeat_n(&c.labels, c.pods.len().max(1)))
        .collect();
    if let Some(near) = near_miss::near_misses(pods, &labels) {
        let count = if near.pods == 1 { "1 pod".to_owned() } else { format!("{} pods", near.pods) };
        let text =
            format!("no pod in {} has label `{}`; `{}` exists ({count})", names(&matching), near.wanted, near.exists);
        return Effect::None(Box::new(no_effect(policy, rule, reference, &text)));
    }
    Effect::Waits(format!("no pod in {} has {}", names(&matching), words(pods)))
}

fn no_namespace(
    views: &Views<'_>,
    policy: &Policy,
    rule: &Rule,
    reference: &RuleRef,
    namespaces: &NamespaceMatch,
) -> Effect {
    let world = views.input.declared;
    let text = match namespaces {
        NamespaceMatch::Named(name) => format!("namespace {name} does not exist"),
        NamespaceMatch::Selected(selector) => {
            let labels: Vec<&Labels> = world.namespaces.values().collect();
            let missing = near_miss::missing_namespace(selector, &world.namespaces);
            match (missing, near_miss::near_misses(selector, &labels)) {
                (Some(missing), _) => {
                    let nearest = missing.nearest.map(|n| format!("; {n} does")).unwrap_or_default();
                    format!("namespace {} does not exist{nearest}", missing.wanted)
                }
                (None, Some(near)) => format!("no namespace has label `{}`; `{}` exists", near.wanted, near.exists),
                // A label, and no name, promises namespaces to come.
                (None, None) => return Effect::Waits(format!("no namespace has {}", words(selector))),
            }
        }
    };
    Effect::None(Box::new(no_effect(policy, rule, reference, &text)))
}

fn no_effect(policy: &Policy, rule: &Rule, reference: &RuleRef, text: &str) -> Finding {
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
fn words(selector: &Selector) -> String {
    let source = selector.source();
    let mut parts: Vec<String> = source.match_labels.iter().flatten().map(|(k, v)| format!("`{k}: {v}`")).collect();
    parts.extend(source.match_expressions.iter().flatten().map(|e| {
        let values = e.values.clone().unwrap_or_default().join(", ");
        format!("`{} {} ({values})`", e.key, e.operator)
    }));
    if parts.is_empty() { "any label".to_owned() } else { format!("label {}", parts.join(", ")) }
}
