//! From the tiers that were asked to the reasons that are told.

use super::Reason;
use crate::{
    engine::{
        conditions::Traffic,
        verdict::{Saying, Step},
        world::End,
    },
    model::{Action, Direction, Policy, Protocol, Rule},
};

/// One flow as both sides are asked about it.
pub(super) struct Flow<'w> {
    pub(super) ends: (End<'w>, End<'w>),
    /// The classes of both by index; `None` is outside.
    pub(super) classes: (Option<usize>, Option<usize>),
    pub(super) traffic: Traffic,
    pub(super) port: (Protocol, u16),
}

impl<'w> Flow<'w> {
    pub(super) const fn class(&self, direction: Direction) -> Option<usize> {
        match direction {
            Direction::Egress => self.classes.0,
            Direction::Ingress => self.classes.1,
        }
    }

    pub(super) const fn subject(&self, direction: Direction) -> End<'w> {
        match direction {
            Direction::Egress => self.ends.0,
            Direction::Ingress => self.ends.1,
        }
    }
}

fn reason(direction: Direction, policy: &Policy, rule: Option<&Rule>, action: &'static str) -> Reason {
    Reason {
        policy: policy.id.clone(),
        rule: rule.map(|rule| format!("{}[{}]", direction.word(), rule.index)),
        tier: policy.tier.name.clone(),
        action,
        origin: rule.and_then(|rule| rule.origin.clone()).or_else(|| policy.origin.clone()),
    }
}

/// The rule by which a tier is left.
pub(super) fn passing(direction: Direction, step: &Step<'_>) -> Option<Reason> {
    match step.said {
        Saying::Rule(policy, rule) if rule.action == Action::Pass => {
            Some(reason(direction, policy, Some(rule), "pass"))
        }
        _ => None,
    }
}

/// The rule that denies, or the policies of the tier whose end does.
pub(super) fn denying(direction: Direction, step: &Step<'_>) -> Vec<Reason> {
    match &step.said {
        Saying::Rule(policy, rule) => vec![reason(direction, policy, Some(rule), "deny")],
        Saying::End(policies) => {
            let mut reasons: Vec<Reason> =
                policies.iter().map(|policy| reason(direction, policy, None, "deny")).collect();
            reasons.sort_by(|a, b| (&a.policy, &a.origin).cmp(&(&b.policy, &b.origin)));
            reasons
        }
        Saying::Unknown(..) => Vec::new(),
    }
}

pub(super) fn unknown(direction: Direction, step: &Step<'_>) -> Option<Reason> {
    let Saying::Unknown(policy, rule) = step.said else { return None };
    let action = match rule.action {
        Action::Allow | Action::Log => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
    };
    Some(reason(direction, policy, Some(rule), action))
}
