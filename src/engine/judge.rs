//! What an observation amounts to (design §4 and §5): a table, and nothing else.

use crate::model::{Decision, DenialLook, Outcome, Strength, Unseen};

/// What was seen of one flow when its probing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What the policies decide.
    pub expected: Decision,
    /// What the source saw; for a denied flow, the same class twice, at least a second apart.
    pub observed: Outcome,
    /// How a denial looks on the source's node.
    pub look: DenialLook,
    /// What the same address and port said to somebody who may reach it; `None`: nobody could be asked.
    pub target: Option<Outcome>,
    /// Whether the source reached anything at all meanwhile; `None`: there is nothing that it may reach.
    pub source: Option<bool>,
    /// Whether only an answer tells anything: over UDP silence is what a dead target gives, too.
    pub by_answer: bool,
}

/// Over UDP, where nobody gets an answer.
const NO_ANSWER: Judged = Judged::Unknown(
    Unseen::Unprobeable,
    "no answer over UDP, and nobody else is known to get one there, so that silence proves nothing",
);

/// What it amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// Packets do what the policies say.
    AsDeclared {
        /// How much a denied flow's controls prove; `None` for an allowed one, which proves itself.
        strength: Option<Strength>,
        /// A remark for people.
        note: Option<&'static str>,
    },
    /// They do not, and the controls are good.
    Otherwise,
    /// It cannot be told.
    Unknown(Unseen, &'static str),
}

/// Judges one observation.
#[must_use]
pub fn judge(seen: Observation) -> Judged {
    if seen.by_answer && seen.observed == Outcome::ToolMissing {
        return Judged::Unknown(
            Unseen::Unprobeable,
            "its containers have nothing to ask a DNS server with (bash, nc, nslookup; probe.ephemeral adds a container that has)",
        );
    }
    if let Some(unknown) = no_packet(seen.observed) {
        return unknown;
    }
    let is_answered = [Some(seen.observed), seen.target].contains(&Some(Outcome::Open));
    match seen.expected {
        Decision::Allowed | Decision::Denied if seen.by_answer && seen.target.is_some() && !is_answered => NO_ANSWER,
        Decision::Allowed if seen.by_answer => answered(seen),
        Decision::Allowed => allowed(seen),
        Decision::Denied => denied(seen),
        Decision::Undefined => Judged::Unknown(Unseen::Unprobeable, "the specification leaves it undefined"),
    }
}

/// Outcomes that say nothing about packets.
const fn no_packet(outcome: Outcome) -> Option<Judged> {
    Some(match outcome {
        Outcome::Dns => Judged::Unknown(Unseen::Pending, "the name could not be resolved in the pod"),
        Outcome::ToolMissing => Judged::Unknown(
            Unseen::Unprobeable,
            "its containers have neither nc nor bash (probe.ephemeral adds a container that has, or give its image one of them, or accept it in config.yaml)",
        ),
        Outcome::TargetDown => Judged::Unknown(Unseen::Pending, "the target pod is not Ready"),
        Outcome::Cut => Judged::Unknown(Unseen::Pending, "the exec broke before an answer"),
        Outcome::NoSource => Judged::Unknown(Unseen::Waiting, "no pod runs to probe from"),
        Outcome::NotProbed => Judged::Unknown(Unseen::Pending, "it was not probed"),
        Outcome::Open | Outcome::Refused | Outcome::Timeout | Outcome::Unreachable => return None,
    })
}

fn allowed(seen: Observation) -> Judged {
    match (seen.observed, seen.look) {
        (Outcome::Open, _) => Judged::AsDeclared { strength: None, note: None },
        // A denial is silent here, so a refusal came from the target itself: the packet went through.
        (Outcome::Refused, DenialLook::Drop) => {
            Judged::AsDeclared { strength: None, note: Some("nothing listens there") }
        }
        (Outcome::Refused, _) if seen.target == Some(Outcome::Open) => blocked(seen),
        (Outcome::Refused, _) => Judged::Unknown(
            Unseen::Pending,
            "refused: nothing listens there, or it is denied (a denial may look the same here)",
        ),
        _ => match seen.target {
            Some(Outcome::Open | Outcome::Refused) => blocked(seen),
            Some(_) => Judged::Unknown(Unseen::Pending, "the target answers nobody"),
            None => Judged::Unknown(
                Unseen::Pending,
                "no answer, and nobody else could be asked whether the target is alive",
            ),
        },
    }
}

/// An allowed flow to somebody who answers others, if anybody could be asked.
fn answered(seen: Observation) -> Judged {
    match (seen.observed, seen.target) {
        (Outcome::Open, _) => Judged::AsDeclared { strength: None, note: None },
        (_, Some(_)) => blocked(seen),
        (_, None) => NO_ANSWER,
    }
}

/// An allowed flow that does not get through while its target is alive.
const fn blocked(seen: Observation) -> Judged {
    match seen.source {
        Some(false) => Judged::Unknown(Unseen::Pending, "the source reaches nothing at all"),
        Some(true) | None => Judged::Otherwise,
    }
}

fn denied(seen: Observation) -> Judged {
    if seen.observed == Outcome::Open {
        return Judged::Otherwise;
    }
    let alive = match (seen.target, seen.observed) {
        // Others get a refusal where this source gets silence: the target is alive, nothing listens.
        (Some(Outcome::Open), _) | (Some(Outcome::Refused), Outcome::Timeout | Outcome::Unreachable) => true,
        (Some(Outcome::Refused), Outcome::Refused) if seen.look == DenialLook::Drop => return Judged::Otherwise,
        _ => false,
    };
    match (alive, seen.source) {
        (false, _) if seen.target.is_none() => Judged::Unknown(
            Unseen::Unprobeable,
            "nobody who may reach it could be asked whether the target is alive, so that its silence proves nothing",
        ),
        (false, _) => Judged::Unknown(Unseen::Pending, "the target answers nobody, so that its silence proves nothing"),
        (true, Some(false)) => Judged::Unknown(Unseen::Pending, "the source reaches nothing at all"),
        (true, Some(true)) => Judged::AsDeclared { strength: Some(Strength::Full), note: None },
        (true, None) => Judged::AsDeclared { strength: Some(Strength::Weak), note: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Decision::{Allowed, Denied},
        DenialLook::{Drop, Reject, Unknown as Unsettled},
        Outcome::{Cut, Open, Refused, Timeout, ToolMissing, Unreachable},
    };

    const FULL: Judged = Judged::AsDeclared { strength: Some(Strength::Full), note: None };

    fn ask(
        expected: Decision,
        observed: Outcome,
        look: DenialLook,
        target: Option<Outcome>,
        source: Option<bool>,
    ) -> Judged {
        judge(Observation { expected, observed, look, target, source, by_answer: false })
    }

    fn word(judged: &Judged) -> &'static str {
        match judged {
            Judged::AsDeclared { strength: Some(Strength::Weak), .. } => "weak",
            Judged::AsDeclared { .. } => "as declared",
            Judged::Otherwise => "otherwise",
            Judged::Unknown(..) => "unknown",
        }
    }

    #[test]
    fn an_allowed_flow_is_seen_open_or_explained() {
        for (observed, look, target, source, expected) in [
            (Open, Unsettled, None, None, "as declared"),
            (Refused, Drop, None, None, "as declared"),
            (Refused, Reject, None, None, "unknown"),
            (Refused, Unsettled, None, None, "unknown"),
            (Refused, Unsettled, Some(Refused), Some(true), "unknown"),
            (Refused, Reject, Some(Open), Some(true), "otherwise"),
            (Timeout, Drop, Some(Open), Some(true), "otherwise"),
            (Timeout, Drop, Some(Open), Some(false), "unknown"),
            (Timeout, Drop, Some(Timeout), Some(true), "unknown"),
            (Timeout, Drop, None, Some(true), "unknown"),
            (Unreachable, Drop, Some(Open), Some(true), "otherwise"),
            (Cut, Drop, Some(Open), Some(true), "unknown"),
            (ToolMissing, Drop, Some(Open), Some(true), "unknown"),
        ] {
            let judged = ask(Allowed, observed, look, target, source);
            assert_eq!(word(&judged), expected, "{observed} {look:?} {target:?} {source:?}");
        }
    }

    #[test]
    fn a_denied_flow_needs_its_controls() {
        for (observed, look, target, source, expected) in [
            (Timeout, Drop, Some(Open), Some(true), "as declared"),
            (Timeout, Drop, Some(Open), None, "weak"),
            (Timeout, Drop, Some(Open), Some(false), "unknown"),
            (Timeout, Drop, None, Some(true), "unknown"),
            (Timeout, Drop, Some(Timeout), Some(true), "unknown"),
            (Timeout, Drop, Some(Refused), Some(true), "as declared"),
            (Refused, Reject, Some(Open), Some(true), "as declared"),
            (Refused, Unsettled, Some(Open), Some(true), "as declared"),
            (Refused, Reject, Some(Refused), Some(true), "unknown"),
            (Refused, Drop, Some(Refused), Some(true), "otherwise"),
            (Open, Drop, Some(Open), Some(true), "otherwise"),
            (Cut, Drop, Some(Open), Some(true), "unknown"),
        ] {
            let judged = ask(Denied, observed, look, target, source);
            assert_eq!(word(&judged), expected, "{observed} {look:?} {target:?} {source:?}");
        }
        assert_eq!(ask(Denied, Timeout, Drop, Some(Open), Some(true)), FULL);
    }

    /// Over UDP a refusal shows as little as silence: who sent it is not known, and nothing was answered.
    #[test]
    fn over_udp_only_an_answer_tells_anything() {
        for (expected, observed, target, source, word_of) in [
            (Allowed, Open, None, None, "as declared"),
            (Allowed, Timeout, None, Some(true), "unknown"),
            (Allowed, Refused, None, Some(true), "unknown"),
            (Allowed, Refused, Some(Refused), Some(true), "unknown"),
            (Allowed, Timeout, Some(Timeout), Some(true), "unknown"),
            (Allowed, Timeout, Some(Open), Some(true), "otherwise"),
            (Allowed, Timeout, Some(Open), Some(false), "unknown"),
            (Denied, Open, None, None, "otherwise"),
            (Denied, Timeout, Some(Open), Some(true), "as declared"),
            (Denied, Timeout, Some(Open), None, "weak"),
            (Denied, Timeout, Some(Refused), Some(true), "unknown"),
            (Denied, Timeout, Some(Timeout), Some(true), "unknown"),
            (Denied, Timeout, None, Some(true), "unknown"),
            (Denied, Cut, Some(Timeout), Some(true), "unknown"),
        ] {
            let judged = judge(Observation { expected, observed, look: Drop, target, source, by_answer: true });
            assert_eq!(word(&judged), word_of, "{expected} {observed} {target:?} {source:?}");
            let is_silent = !matches!(observed, Cut) && target != Some(Open);
            if let Judged::Unknown(unseen, _) = judged
                && is_silent
            {
                assert_eq!(unseen, Unseen::Unprobeable, "no retry cures silence: {expected} {observed} {target:?}");
            }
        }
    }

    #[test]
    fn a_denied_flow_whose_target_nobody_may_reach_is_not_waited_for() {
        let state = |target| match ask(Denied, Timeout, Drop, target, Some(true)) {
            Judged::Unknown(unseen, _) => unseen,
            other => panic!("{other:?}"),
        };
        assert_eq!(state(None), Unseen::Unprobeable);
        assert_eq!(state(Some(Timeout)), Unseen::Pending, "it may come back");
    }

    #[test]
    fn an_undefined_flow_is_never_as_declared() {
        for observed in [Open, Refused, Timeout] {
            assert_eq!(word(&ask(Decision::Undefined, observed, Drop, Some(Open), Some(true))), "unknown");
        }
    }
}
