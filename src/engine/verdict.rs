//! The verdict of one flow, with its reasons.

use std::collections::BTreeSet;

use super::{
    conditions::{Answer, Question, Reach, Traffic},
    world::{Class, End, World},
};
use crate::model::{
    Action, Decision, Direction, Origin, Policy, PolicyRef, PortMatch, PortRange, PortSet, Protocol, Rule, RuleRef,
};

mod steps;

pub use steps::{Saying, Step, steps};

/// What decides one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The side is no pod, or no policy applies to it in this direction.
    NotIsolated,
    /// These rules let it through.
    Allowed(Vec<(RuleRef, Option<Origin>)>),
    /// No rule lets it through; these policies isolate.
    Denied(Vec<(PolicyRef, Option<Origin>)>),
    /// This rule denies it, before any that would let it through.
    Stopped(RuleRef, Option<Origin>),
    /// The specification gives no answer: a pod with hostNetwork.
    Undefined,
}

impl Side {
    /// Whether the side lets the flow through.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self {
            Self::NotIsolated | Self::Allowed(_) => Decision::Allowed,
            Self::Denied(_) | Self::Stopped(..) => Decision::Denied,
            Self::Undefined => Decision::Undefined,
        }
    }
}

/// What decides one side, by the policies themselves.
#[derive(Debug, Clone, PartialEq)]
pub enum Deciding<'w> {
    /// As [`Side::NotIsolated`].
    NotIsolated,
    /// As [`Side::Allowed`].
    Allowed(Vec<(&'w Policy, &'w Rule)>),
    /// As [`Side::Denied`]; the policies of the tier whose end denies.
    Denied(Vec<&'w Policy>),
    /// As [`Side::Stopped`].
    Stopped(&'w Policy, &'w Rule),
    /// As [`Side::Undefined`].
    Undefined,
}

impl Deciding<'_> {
    /// By name, with the places.
    fn told(&self, direction: Direction) -> Side {
        let reference =
            |policy: &Policy, rule: &Rule| RuleRef { policy: policy.id.clone(), direction, index: rule.index };
        match self {
            Self::NotIsolated => Side::NotIsolated,
            Self::Allowed(rules) => {
                Side::Allowed(rules.iter().map(|(p, rule)| (reference(p, rule), rule.origin.clone())).collect())
            }
            Self::Denied(tier) => {
                let unique: BTreeSet<_> = tier.iter().map(|p| (p.id.clone(), p.origin.clone())).collect();
                Side::Denied(unique.into_iter().collect())
            }
            Self::Stopped(policy, rule) => {
                Side::Stopped(reference(policy, rule), rule.origin.clone().or_else(|| policy.origin.clone()))
            }
            Self::Undefined => Side::Undefined,
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
    traffic(world, source, destination, &Traffic::to_port(protocol, port))
}

/// The same for any packet that opens a connection.
#[must_use]
pub fn traffic(world: &World, source: End<'_>, destination: End<'_>, traffic: &Traffic) -> FlowVerdict {
    let ask = |direction| {
        let policies = |class: &Class| applying(world, direction, class).collect();
        side(world, direction, (source, destination), traffic, policies)
    };
    FlowVerdict { egress: ask(Direction::Egress), ingress: ask(Direction::Ingress) }
}

/// What one side says; `policies` are those that apply to its pods, in the order of evaluation. What is no pod is not
/// isolated; a pod that uses its node's network is no policy's.
#[must_use]
pub fn side<'p>(
    world: &World,
    direction: Direction,
    (source, destination): (End<'_>, End<'_>),
    traffic: &Traffic,
    policies: impl FnOnce(&Class) -> Vec<&'p Policy>,
) -> Side {
    let subject = match direction {
        Direction::Ingress => destination,
        Direction::Egress => source,
    };
    match subject.class {
        None => Side::NotIsolated,
        Some(class) if class.host_network => Side::Undefined,
        Some(class) => among(world, direction, (source, destination), traffic, &policies(class)),
    }
}

/// The policies on whose order among themselves the verdict hangs, though they name the same order: an upgrade of
/// Calico may turn it round (semantics: "Ties depend on the version").
#[must_use]
pub fn ties(world: &World, source: End<'_>, destination: End<'_>, traffic: &Traffic) -> Vec<PolicyRef> {
    let sides = [(Direction::Egress, source), (Direction::Ingress, destination)];
    let of_side = |(direction, subject): (Direction, End<'_>)| {
        let class = subject.class.filter(|class| !class.host_network);
        class.map(|class| Ask { world, direction, source, destination, traffic }.ties(class)).unwrap_or_default()
    };
    sides.into_iter().flat_map(of_side).collect()
}

/// What one side says, where the policies that apply to its pods are known already. A side with the node's network is
/// no policy's.
#[must_use]
pub fn among(
    world: &World,
    direction: Direction,
    (source, destination): (End<'_>, End<'_>),
    traffic: &Traffic,
    policies: &[&Policy],
) -> Side {
    deciding(world, direction, (source, destination), traffic, policies).told(direction)
}

/// The same by the policies themselves.
#[must_use]
pub fn deciding<'w>(
    world: &World,
    direction: Direction,
    (source, destination): (End<'_>, End<'_>),
    traffic: &Traffic,
    policies: &[&'w Policy],
) -> Deciding<'w> {
    Ask { world, direction, source, destination, traffic }.through(policies)
}

/// One side's question.
struct Ask<'q, 'w> {
    world: &'q World,
    direction: Direction,
    source: End<'w>,
    destination: End<'w>,
    traffic: &'q Traffic,
}

/// What a tier says.
enum Said<'p> {
    /// No rule matches.
    Nothing,
    /// The first rule that matches.
    Decided(&'p Policy, &'p Rule),
    /// A rule may match before any that does.
    Unknown(&'p Policy, &'p Rule),
}

impl Ask<'_, '_> {
    /// Tier by tier, from the first of these policies on.
    fn through<'p>(&self, policies: &[&'p Policy]) -> Deciding<'p> {
        for tier in policies.chunk_by(|a, b| a.tier == b.tier) {
            match self.in_tier(tier) {
                Said::Unknown(..) => return Deciding::Undefined,
                Said::Decided(policy, rule) => match rule.action {
                    Action::Allow => return Deciding::Allowed(self.allowing(tier, policy, rule)),
                    Action::Deny => return Deciding::Stopped(policy, rule),
                    Action::Pass | Action::Log => {}
                },
                // The end of a tier that applies to the endpoint.
                Said::Nothing if tier.iter().any(|p| p.tier.default_action == Action::Deny) => {
                    return Deciding::Denied(tier.to_vec());
                }
                Said::Nothing => {}
            }
        }
        // No policy applies, or all was passed out of the last tier: the namespace's profile allows.
        Deciding::NotIsolated
    }

    /// The policies of one order whose rules would decide otherwise if they stood in another order.
    fn ties(&self, subject: &Class) -> Vec<PolicyRef> {
        let policies: Vec<&Policy> = applying(self.world, self.direction, subject).collect();
        let mut rest = policies.as_slice();
        while let Some(first) = rest.first() {
            let of_order = rest.iter().take_while(|p| p.tier == first.tier && p.order == first.order).count();
            let of_tier = rest.iter().take_while(|p| p.tier == first.tier).count();
            let ((group, later), (_, next)) = (rest.split_at(of_order), rest.split_at(of_tier));
            let deciding: Vec<(&Policy, &Rule)> = group.iter().filter_map(|policy| self.first(policy)).collect();
            let results: BTreeSet<bool> = deciding.iter().map(|(_, rule)| self.allows(rule, next)).collect();
            if results.len() > 1 {
                return deciding.iter().map(|(policy, _)| policy.id.clone()).collect();
            }
            rest = match deciding.first() {
                None => later,
                Some((_, rule)) if rule.action == Action::Pass => next,
                Some(_) => break,
            };
        }
        Vec::new()
    }

    fn allows(&self, rule: &Rule, next: &[&Policy]) -> bool {
        match rule.action {
            Action::Allow => true,
            Action::Deny | Action::Log => false,
            Action::Pass => matches!(self.through(next), Deciding::NotIsolated | Deciding::Allowed(_)),
        }
    }

    /// The first rule of a policy that matches, or may.
    fn first<'p>(&self, policy: &'p Policy) -> Option<(&'p Policy, &'p Rule)> {
        let hits = |rule: &&Rule| rule.action != Action::Log && self.matches(rule) != Answer::No;
        self.rules(policy).iter().find(hits).map(|rule| (policy, rule))
    }

    fn in_tier<'p>(&self, tier: &[&'p Policy]) -> Said<'p> {
        for policy in tier {
            for rule in self.rules(policy).iter().filter(|rule| rule.action != Action::Log) {
                match self.matches(rule) {
                    Answer::Yes => return Said::Decided(policy, rule),
                    Answer::Unknown => return Said::Unknown(policy, rule),
                    Answer::No => {}
                }
            }
        }
        Said::Nothing
    }

    fn rules<'p>(&self, policy: &'p Policy) -> &'p [Rule] {
        policy.rules(self.direction).unwrap_or_default()
    }

    fn matches(&self, rule: &Rule) -> Answer {
        let Self { world, source, destination, traffic, .. } = *self;
        if let Some(conditions) = &rule.conditions {
            return Question { world, conditions, source, destination }.answer(traffic);
        }
        let peer = match self.direction {
            Direction::Ingress => &source,
            Direction::Egress => &destination,
        };
        // "A rule with ports never matches ICMP"; one without matches all.
        let port = || match traffic.protocol.transport() {
            Some(protocol) => rule_ports(rule, &destination).contains(protocol, traffic.port),
            None => rule.ports.is_none(),
        };
        if rule_matches_peer(world, rule, peer) && port() { Answer::Yes } else { Answer::No }
    }

    /// The rule that allows. Where it is a NetworkPolicy's, every rule of such a policy that does: they are additive,
    /// each of them is a reason.
    fn allowing<'p>(&self, tier: &[&'p Policy], first: &'p Policy, rule: &'p Rule) -> Vec<(&'p Policy, &'p Rule)> {
        if !first.is_network_policy() {
            return vec![(first, rule)];
        }
        let allows = |r: &&Rule| self.matches(r) == Answer::Yes;
        let same = tier.iter().filter(|p| p.is_network_policy());
        same.flat_map(|p| self.rules(p).iter().filter(allows).map(|r| (*p, r))).collect()
    }
}

/// The policies that apply to `subject` in `direction`, in the order of evaluation.
pub fn applying<'w>(world: &'w World, direction: Direction, subject: &Class) -> impl Iterator<Item = &'w Policy> {
    world
        .policies
        .iter()
        .filter(move |policy| policy.rules(direction).is_some() && world.applies_to(&policy.subject, subject))
}

/// Whether a rule's peers match `peer`.
#[must_use]
pub fn rule_matches_peer(world: &World, rule: &Rule, peer: &End<'_>) -> bool {
    rule.peers.as_ref().is_none_or(|peers| peers.iter().any(|p| world.peer_matches(p, peer)))
}

/// The ports of the destination that a rule matches, of any kind of policy.
#[must_use]
pub fn rule_reach(
    world: &World,
    rule: &Rule,
    direction: Direction,
    (source, destination): (End<'_>, End<'_>),
) -> Reach {
    if let Some(conditions) = &rule.conditions {
        return Question { world, conditions, source, destination }.reach();
    }
    let peer = match direction {
        Direction::Ingress => source,
        Direction::Egress => destination,
    };
    let yes = if rule_matches_peer(world, rule, &peer) { rule_ports(rule, &destination) } else { PortSet::empty() };
    Reach { yes, unknown: PortSet::empty() }
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
            // A pod in its node's network is that node to policies: an address, which names no ports.
            let pods = destination.class.filter(|class| !class.host_network);
            let declared = pods.map(|class| class.ports.as_slice()).unwrap_or_default();
            let named = declared.iter().filter(|p| p.protocol == *protocol && p.name.as_ref() == Some(name));
            named.map(|p| PortRange { protocol: *protocol, from: p.number, to: p.number }).collect()
        }
    }
}

#[cfg(test)]
mod tests;
