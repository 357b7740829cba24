//! From the tiers that were asked to the reasons that are told.

use std::sync::{Arc, Mutex, PoisonError};

use foldhash::HashMap;

use super::Reason;
use crate::{
    engine::{
        conditions::Traffic,
        verdict::{Deciding, Saying, Step},
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

/// The lists of reasons that were told, each once: many flows are decided by the same.
#[derive(Default)]
pub(super) struct Reasons(Mutex<HashMap<Key, Arc<[Reason]>>>);

/// Policies and rules by their addresses, and what they do.
type Key = (Direction, Vec<(usize, usize, &'static str)>);

/// A policy, the rule of it that matches, and what that does.
type Deed<'w> = (&'w Policy, Option<&'w Rule>, &'static str);

impl Reasons {
    /// What the tiers that were asked say.
    pub(super) fn of(&self, direction: Direction, steps: &[Step<'_>], deciding: &Deciding<'_>) -> Arc<[Reason]> {
        let deeds = deeds(steps, deciding);
        let address = |rule: Option<&Rule>| rule.map_or(0, |rule| std::ptr::from_ref(rule).addr());
        let places =
            deeds.iter().map(|(policy, rule, deed)| (std::ptr::from_ref(*policy).addr(), address(*rule), *deed));
        let key = (direction, places.collect());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || -> Arc<[Reason]> {
            let mut reasons: Vec<Reason> = deeds.iter().map(|deed| reason(direction, *deed)).collect();
            if matches!(deciding, Deciding::Denied(_)) {
                // Those before are of other tiers.
                let passed = reasons.iter().take_while(|reason| reason.action == PASS).count();
                let (_, own) = reasons.split_at_mut(passed);
                own.sort_by(|a, b| (&a.policy, &a.origin).cmp(&(&b.policy, &b.origin)));
            }
            Arc::from(reasons)
        };
        Arc::clone(known.entry(key).or_insert_with(made))
    }
}

const PASS: &str = "pass";

/// The rules by which tiers are left, and those or the policies that decide in the last one.
fn deeds<'w>(steps: &[Step<'w>], deciding: &Deciding<'w>) -> Vec<Deed<'w>> {
    let passing = |step: &Step<'w>| match step.said {
        Saying::Rule(policy, rule) if rule.action == Action::Pass => Some((policy, Some(rule), PASS)),
        _ => None,
    };
    let mut deeds: Vec<Deed<'w>> = steps.iter().filter_map(passing).collect();
    match deciding {
        Deciding::NotIsolated => {}
        Deciding::Allowed(rules) => deeds.extend(rules.iter().map(|(policy, rule)| (*policy, Some(*rule), "allow"))),
        Deciding::Denied(policies) => deeds.extend(policies.iter().map(|policy| (*policy, None, "deny"))),
        Deciding::Stopped(policy, rule) => deeds.push((*policy, Some(*rule), "deny")),
        Deciding::Undefined => deeds.extend(steps.last().and_then(unknown)),
    }
    deeds
}

fn unknown<'w>(step: &Step<'w>) -> Option<Deed<'w>> {
    let Saying::Unknown(policy, rule) = step.said else { return None };
    let action = match rule.action {
        Action::Allow | Action::Log => "allow",
        Action::Deny => "deny",
        Action::Pass => PASS,
    };
    Some((policy, Some(rule), action))
}

fn reason(direction: Direction, (policy, rule, action): Deed<'_>) -> Reason {
    Reason {
        policy: policy.id.clone(),
        rule: rule.map(|rule| format!("{}[{}]", direction.word(), rule.index)),
        tier: policy.tier.name.clone(),
        action,
        origin: rule.and_then(|rule| rule.origin.clone()).or_else(|| policy.origin.clone()),
    }
}
