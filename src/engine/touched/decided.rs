//! Rules of ordered policies: those that deny or pass on, and those that another rule decides before.

use super::{
    Collected, Touched, Views, effect,
    openings::{Opening, Openings},
};
use crate::{
    engine::{
        verdict::{self, Side},
        world::End,
    },
    model::{Action, Decision, Direction, Finding, Severity, Why},
};

impl Openings<'_> {
    /// A rule that denies: one flow that shows it. One that passes on decides nothing itself: one flow that it lets
    /// reach the next tier. One that logs changes no packet.
    pub(super) fn decided(&self, views: &Views<'_>, why: Why, flows: &mut Collected, result: &mut Touched) {
        if self.rule.action == Action::Log {
            return;
        }
        let is_shown = |o: &Opening| self.rule.action == Action::Pass || o.decision == Decision::Denied;
        let is_seen = self.exercise(views, why, &is_shown, flows).is_some();
        // One that denies only what another rule let through before is as intended: nothing of it can be seen.
        if !is_seen && self.all.is_empty() {
            self.nothing(views, why, flows, result);
        }
    }

    /// That another rule decides before this one all that this one would let through: it has no effect.
    pub(super) fn overruled(&self, views: &Views<'_>, why: Why) -> Option<Finding> {
        if self.all.is_empty() || !self.all.iter().all(|o| o.is_overruled) {
            return None;
        }
        let by = self.all.iter().find_map(|opening| self.overruling(views, opening));
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        let text = format!("all that it lets through is denied before{by}: order it first, or take it out");
        // On a first run no rule is of this merge.
        let severity = if why == Why::FirstRun { Severity::Info } else { Severity::Error };
        Some(Finding { severity, ..effect::no_effect(self.policy, self.rule, &self.reference, &text) })
    }

    /// The rule that decides an opening before this one, with its place.
    fn overruling(&self, views: &Views<'_>, opening: &Opening) -> Option<String> {
        let (world, family) = (views.input.declared, opening.family);
        let from = End::pods(views.class(opening.source)?, family);
        let to = views.end(&opening.target, family)?;
        let sides = verdict::flow(world, from, to, opening.port.0, opening.port.1);
        let side = match self.reference.direction {
            Direction::Ingress => sides.ingress,
            Direction::Egress => sides.egress,
        };
        match side {
            Side::Stopped(rule, origin) => {
                let place = origin.map(|o| format!(" ({})", o.short())).unwrap_or_default();
                Some(format!("{rule}{place}"))
            }
            Side::Denied(policies) => policies.first().map(|(id, _)| format!("the end of the tier of {id}")),
            Side::Allowed(_) | Side::NotIsolated | Side::Undefined => None,
        }
    }
}
