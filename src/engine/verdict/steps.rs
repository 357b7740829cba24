//! How one side of a flow is decided, tier by tier.

use super::{Ask, Said, Traffic};
use crate::{
    engine::world::{End, World},
    model::{Action, Direction, Policy, Rule, Tier},
};

/// What one tier says of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'w> {
    /// The tier; policies of it apply to the endpoint.
    pub tier: &'w Tier,
    /// What it says.
    pub said: Saying<'w>,
}

/// A tier's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Saying<'w> {
    /// The first rule that matches, with its policy.
    Rule(&'w Policy, &'w Rule),
    /// No rule of these policies matches: the tier's default action.
    End(Vec<&'w Policy>),
    /// A rule that matches or not by something that is not known, before any that does.
    Unknown(&'w Policy, &'w Rule),
}

/// The tiers that are asked on one side, up to the one that decides, of the policies that apply to its pods.
#[must_use]
pub fn steps<'w>(
    world: &'w World,
    direction: Direction,
    (source, destination): (End<'w>, End<'w>),
    traffic: &Traffic,
    policies: &[&'w Policy],
) -> Vec<Step<'w>> {
    let subject = match direction {
        Direction::Ingress => destination,
        Direction::Egress => source,
    };
    if subject.class.is_none_or(|class| class.host_network) {
        return Vec::new();
    }
    let ask = Ask { world, direction, source, destination, traffic };
    let mut steps = Vec::new();
    for policies in policies.chunk_by(|a, b| a.tier == b.tier) {
        let Some(first) = policies.first() else { continue };
        let (said, goes_on) = match ask.in_tier(policies) {
            Said::Decided(policy, rule) => (Saying::Rule(policy, rule), rule.action == Action::Pass),
            Said::Unknown(policy, rule) => (Saying::Unknown(policy, rule), false),
            Said::Nothing => (Saying::End(policies.to_vec()), first.tier.default_action == Action::Pass),
        };
        steps.push(Step { tier: &first.tier, said });
        if !goes_on {
            break;
        }
    }
    steps
}
