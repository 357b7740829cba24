//! The verdict of one flow, with its reasons.

use std::collections::BTreeSet;

use super::world::{Class, End, World};
use crate::model::{
    Action, Decision, Direction, Origin, Policy, PolicyRef, PortMatch, PortRange, PortSet, Protocol, Rule, RuleRef,
};

/// What decides one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The side is no pod, or no policy applies to it in this direction.
    NotIsolated,
    /// These rules let it through.
    Allowed(Vec<(RuleRef, Option<Origin>)>),
    /// No rule lets it through; these policies isolate.
    Denied(Vec<(PolicyRef, Option<Origin>)>),
    /// The specification gives no answer: a pod with hostNetwork.
    Undefined,
}

impl Side {
    /// Whether the side lets the flow through.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self {
            Self::NotIsolated | Self::Allowed(_) => Decision::Allowed,
            Self::Denied(_) => Decision::Denied,
            Self::Undefined => Decision::Undefined,
        }
    }
}

/// The verdict of one flow: both sides must let it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowVerdict {
    /// The source's side.
    pub egress: Side,
    /// The destination's side.
    pub ingress: Side,
}

impl FlowVerdict {
    /// Both sides together; undefined where one of them is.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match (self.egress.decision(), self.ingress.decision()) {
            (Decision::Undefined, _) | (_, Decision::Undefined) => Decision::Undefined,
            (Decision::Allowed, Decision::Allowed) => Decision::Allowed,
            _ => Decision::Denied,
        }
    }

    /// The side that denies while the other lets it through.
    #[must_use]
    pub fn one_sided(&self) -> Option<Direction> {
        match (self.egress.decision(), self.ingress.decision()) {
            (Decision::Allowed, Decision::Denied) => Some(Direction::Ingress),
            (Decision::Denied, Decision::Allowed) => Some(Direction::Egress),
            _ => None,
        }
    }
}

/// The verdict of `world` for one flow between different pods.
#[must_use]
pub fn flow(world: &World, source: End<'_>, destination: End<'_>, protocol: Protocol, port: u16) -> FlowVerdict {
    let ask = |direction, subject: End<'_>, peer: End<'_>| match subject.class {
        None => Side::NotIsolated,
        Some(class) if class.host_network => Side::Undefined,
        Some(class) => side(world, direction, class, peer, destination, protocol, port),
    };
    FlowVerdict {
        egress: ask(Direction::Egress, source, destination),
        ingress: ask(Direction::Ingress, destination, source),
    }
}

fn side(
    world: &World,
    direction: Direction,
    subject: &Class,
    peer: End<'_>,
    destination: End<'_>,
    protocol: Protocol,
    port: u16,
) -> Side {
    let applying: Vec<&Policy> = applying(world, direction, subject).collect();
    if applying.is_empty() {
        return Side::NotIsolated;
    }
    let matching =
        |rule: &Rule| rule_matches_peer(world, rule, &peer) && rule_ports(rule, &destination).contains(protocol, port);
    let mut rest = applying.as_slice();
    while let Some(first) = rest.first() {
        let size = rest.iter().take_while(|p| p.tier == first.tier).count();
        let (tier, later) = rest.split_at(size);
        match in_tier(tier, direction, matching) {
            Some(Action::Allow) => return Side::Allowed(allowing(tier, direction, matching)),
            Some(Action::Pass) => rest = later,
            // The end of a tier that applies to the endpoint denies.
            Some(Action::Deny) | None => return Side::Denied(ids(tier)),
        }
    }
    // Passed out of the last tier: the namespace's profile allows.
    Side::NotIsolated
}

/// The first matching rule's action.
fn in_tier(tier: &[&Policy], direction: Direction, matching: impl Fn(&Rule) -> bool) -> Option<Action> {
    tier.iter().flat_map(|p| p.rules(direction).unwrap_or_default()).find(|rule| matching(rule)).map(|rule| rule.action)
}

/// Every rule that allows, at the order of the first one: NetworkPolicies are additive, each of them is a reason.
fn allowing(
    tier: &[&Policy],
    direction: Direction,
    matching: impl Fn(&Rule) -> bool,
) -> Vec<(RuleRef, Option<Origin>)> {
    let allows = |rule: &Rule| rule.action == Action::Allow && matching(rule);
    let hits = |p: &Policy| p.rules(direction).unwrap_or_default().iter().any(allows);
    let Some(order) = tier.iter().find(|p| hits(p)).map(|p| p.order) else { return Vec::new() };
    let same = tier.iter().filter(|p| p.order == order);
    same.flat_map(|p| {
        let rules = p.rules(direction).unwrap_or_default().iter().filter(|r| allows(r));
        rules.map(|r| (RuleRef { policy: p.id.clone(), direction, index: r.index }, r.origin.clone()))
    })
    .collect()
}

fn ids(tier: &[&Policy]) -> Vec<(PolicyRef, Option<Origin>)> {
    let unique: BTreeSet<_> = tier.iter().map(|p| (p.id.clone(), p.origin.clone())).collect();
    unique.into_iter().collect()
}

/// The policies that apply to `subject` in `direction`, in the order of evaluation.
pub fn applying<'w>(world: &'w World, direction: Direction, subject: &Class) -> impl Iterator<Item = &'w Policy> {
    world.policies.iter().filter(move |policy| {
        policy.rules(direction).is_some() && world.selects(&policy.subject.namespaces, &policy.subject.pods, subject)
    })
}

/// Whether a rule's peers match `peer`.
#[must_use]
pub fn rule_matches_peer(world: &World, rule: &Rule, peer: &End<'_>) -> bool {
    rule.peers.as_ref().is_none_or(|peers| peers.iter().any(|p| world.peer_matches(p, peer)))
}

/// The ports of a rule, named ones resolved on the destination (in both directions, per pod, protocol included;
/// semantics: "no meaning for ipBlock peers", so an outside address has none).
#[must_use]
pub fn rule_ports(rule: &Rule, destination: &End<'_>) -> PortSet {
    let Some(ports) = &rule.ports else { return PortSet::all() };
    ports.iter().flat_map(|port| ranges(port, destination)).collect()
}

/// The same one by one, in the rule's order; one set of all ports where it names none.
#[must_use]
pub fn port_entries(rule: &Rule, destination: &End<'_>) -> Vec<PortSet> {
    let Some(ports) = &rule.ports else { return vec![PortSet::all()] };
    ports.iter().map(|port| ranges(port, destination).into_iter().collect()).collect()
}

fn ranges(port: &PortMatch, destination: &End<'_>) -> Vec<PortRange> {
    match port {
        PortMatch::Protocol(protocol) => vec![PortRange { protocol: *protocol, from: 1, to: u16::MAX }],
        PortMatch::Range { protocol, from, to } => vec![PortRange { protocol: *protocol, from: *from, to: *to }],
        PortMatch::Named { protocol, name } => {
            let declared = destination.class.map(|c| c.ports.as_slice()).unwrap_or_default();
            let named = declared.iter().filter(|p| p.protocol == *protocol && p.name.as_ref() == Some(name));
            named.map(|p| PortRange { protocol: *protocol, from: p.number, to: p.number }).collect()
        }
    }
}

#[cfg(test)]
mod tests;
