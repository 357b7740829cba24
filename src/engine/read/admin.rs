//! The network policy API: AdminNetworkPolicy and BaselineAdminNetworkPolicy (`v1alpha1`), ClusterNetworkPolicy
//! (`v1alpha2`).
//!
//! They stand in tiers before and after that of NetworkPolicy, under the names and orders that Calico gives these. Such
//! a tier passes at its end: nothing is denied that no rule denies (semantics: "no implicit deny").

use std::collections::BTreeMap;

use super::{
    Reader,
    fields::{Fields, Read},
};
use crate::model::{Action, Direction, NamespaceMatch, Order, Policy, PolicyDocument, PolicyRef, Rule, Subject, Tier};

mod peer;
mod port;

const V1ALPHA1: &str = "policy.networking.k8s.io/v1alpha1";
const V1ALPHA2: &str = "policy.networking.k8s.io/v1alpha2";

/// The greatest number that `priority` may have.
const LAST_PRIORITY: u64 = 1_000;

/// How a kind says what all of them say.
struct Words {
    /// The action that lets through.
    allow: &'static str,
    /// Whether rules can pass to the next tier.
    passes: bool,
    /// The field with a rule's ports.
    ports: &'static str,
    /// The fields of `spec`.
    spec: &'static [&'static str],
}

const ADMIN: Words =
    Words { allow: "Allow", passes: true, ports: "ports", spec: &["priority", "subject", "ingress", "egress"] };
const BASELINE: Words = Words { passes: false, spec: &["subject", "ingress", "egress"], ..ADMIN };
const CLUSTER: Words = Words {
    allow: "Accept",
    passes: true,
    ports: "protocols",
    spec: &["tier", "priority", "subject", "ingress", "egress"],
};

fn words(document: &PolicyDocument) -> Option<&'static Words> {
    match (document.api_version.as_str(), document.id.kind.as_str()) {
        (V1ALPHA1, "AdminNetworkPolicy") => Some(&ADMIN),
        (V1ALPHA1, "BaselineAdminNetworkPolicy") => Some(&BASELINE),
        (V1ALPHA2, "ClusterNetworkPolicy") => Some(&CLUSTER),
        _ => None,
    }
}

/// Whether [`policy`] reads this kind.
pub(super) fn understands(document: &PolicyDocument) -> bool {
    words(document).is_some()
}

/// Reads a policy into one of `tiers`.
pub(super) fn policy(document: &PolicyDocument, tiers: &BTreeMap<String, Tier>) -> Read<Policy> {
    let reader = Reader { id: &document.id, origins: &document.origins };
    let Some(words) = words(document) else {
        return Err(reader.fault("", format!("kind `{}` is not understood", document.id.kind)));
    };
    let spec = Fields::of(&reader, document.object.get("spec"), "/spec".to_owned())?.only(words.spec)?;
    if document.id.kind == "BaselineAdminNetworkPolicy" && document.id.name != "default" {
        return Err(reader.fault("", "the one BaselineAdminNetworkPolicy is called `default`".to_owned()));
    }
    let name = tier(&document.id, &spec)?;
    let rules = |direction| rules(&reader, &spec, words, direction);
    Ok(Policy {
        id: PolicyRef { namespace: None, ..document.id.clone() },
        origin: document.origins.document.clone(),
        tier: tiers.get(name).cloned().ok_or_else(|| reader.fault("", format!("there is no tier `{name}`")))?,
        order: order(&spec, words)?,
        subject: subject(&spec)?,
        ingress: rules(Direction::Ingress)?,
        egress: rules(Direction::Egress)?,
    })
}

/// "Policy tiers are evaluated in the following order: Admin tier, NetworkPolicy tier, Baseline tier"
/// (ClusterNetworkPolicySpec.tier).
fn tier(id: &PolicyRef, spec: &Fields<'_>) -> Read<&'static str> {
    match (id.kind.as_str(), spec.text("tier")?) {
        ("AdminNetworkPolicy", _) => Ok("adminnetworkpolicy"),
        ("BaselineAdminNetworkPolicy", _) => Ok("baselineadminnetworkpolicy"),
        (_, Some("Admin")) => Ok("kube-admin"),
        (_, Some("Baseline")) => Ok("kube-baseline"),
        (_, Some(other)) => Err(spec.fault("tier", format!("`{other}` is no tier (Admin, Baseline)"))),
        (_, None) => Err(spec.fault("", "the policy has no `tier` (Admin, Baseline)".to_owned())),
    }
}

/// "Policies with lower priority values have higher precedence" (ClusterNetworkPolicySpec.priority). The baseline of
/// v1alpha1 is one policy, without a priority.
fn order(spec: &Fields<'_>, words: &Words) -> Read<Order> {
    if !words.spec.contains(&"priority") {
        return Ok(Order::LAST);
    }
    let Some(value) = spec.value("priority") else {
        return Err(spec.fault("", format!("the policy has no `priority` (0 to {LAST_PRIORITY})")));
    };
    let number = value.as_u64().filter(|number| *number <= LAST_PRIORITY).and_then(|number| u32::try_from(number).ok());
    let number =
        number.ok_or_else(|| spec.fault("priority", format!("`priority` is not between 0 and {LAST_PRIORITY}")))?;
    Ok(Order(f64::from(number)))
}

/// `namespaces` or `pods`. hostNetwork pods are never among them, which the world sees to.
fn subject(spec: &Fields<'_>) -> Read<Subject> {
    let fields = spec.object("subject")?.only(&["namespaces", "pods"])?;
    match peer::selected(&fields)? {
        Some((namespaces, pods)) => {
            Ok(Subject { namespaces: NamespaceMatch::Selected(namespaces), pods, calico: None })
        }
        None => Err(spec.fault("subject", "`subject` has neither `namespaces` nor `pods`".to_owned())),
    }
}

/// "CNPs with no ingress rules do not affect ingress traffic" (ClusterNetworkPolicySpec.ingress).
fn rules(reader: &Reader<'_>, spec: &Fields<'_>, words: &Words, direction: Direction) -> Read<Option<Vec<Rule>>> {
    let one = |(index, fields): (usize, Fields<'_>)| {
        let origin = reader.origins.nearest(&fields.at).cloned();
        let rule = rule(&fields.only(&["name", "action", direction.peer_field(), words.ports])?, words, direction)?;
        Ok(Rule { index, origin, ..rule })
    };
    let all = spec.objects(direction.word())?.into_iter().enumerate().map(one).collect::<Read<Vec<Rule>>>()?;
    Ok((!all.is_empty()).then_some(all))
}

fn rule(fields: &Fields<'_>, words: &Words, direction: Direction) -> Read<Rule> {
    let action = action(fields, words)?;
    let peers = peer::all(fields, direction, action)?;
    let ports = port::all(fields, words.ports)?;
    if peers.beyond_pods && ports.named {
        let message = "a rule for networks, nodes or domain names cannot have named ports";
        return Err(fields.fault(words.ports, message.to_owned()));
    }
    let rule = Rule { index: 0, action, peers: Some(peers.known), ports: ports.list, conditions: None, origin: None };
    Ok(match (peers.fail_closed, action) {
        (false, _) => rule,
        // "For "Accept" rules, "fail closed" means: "treat the rule as matching no traffic". For "Deny" and "Pass" rules,
        // "fail closed" means: "treat the rule as a 'Deny all' rule"" (ClusterNetworkPolicyEgressPeer).
        (true, Action::Allow) => Rule { peers: Some(Vec::new()), ..rule },
        (true, _) => Rule { action: Action::Deny, peers: None, ports: None, ..rule },
    })
}

fn action(fields: &Fields<'_>, words: &Words) -> Read<Action> {
    let known = if words.passes { format!("{}, Deny, Pass", words.allow) } else { format!("{}, Deny", words.allow) };
    match fields.text("action")? {
        Some(text) if text == words.allow => Ok(Action::Allow),
        Some("Deny") => Ok(Action::Deny),
        Some("Pass") if words.passes => Ok(Action::Pass),
        Some(other) => Err(fields.fault("action", format!("`{other}` is no action ({known})"))),
        None => Err(fields.fault("", format!("the rule has no action ({known})"))),
    }
}

#[cfg(test)]
mod tests;
