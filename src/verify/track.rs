//! One probe from its first try until it has settled.

mod services;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use self::services::Services;
use super::seams::{ProbeSource, Seen};
use crate::{
    engine::{
        judge::{self, Judged, Observation},
        plan::{Address, Planned},
    },
    model::{Controls, Decision, DenialLook, Outcome, PodRef, Protocol},
};

/// Two looks at a denied flow are at least so far apart, so that a transient cannot fake a denial.
const APART: Duration = Duration::from_secs(1);

/// Broken execs are tried so often.
const TRIES: usize = 3;

/// What a question in a round is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The flow itself.
    Flow,
    /// Whether the target is alive: position in the plan's list.
    Target(usize),
    /// Whether the source is alive: position in the plan's list.
    Source(usize),
    /// What a Service in front of the target answers: position in the plan's list, and whether the source asks.
    Service(usize, bool),
}

/// Something to ask in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The pod to ask from.
    pub from: PodRef,
    /// What to try.
    pub address: Address,
    /// What for.
    pub purpose: Purpose,
    /// Whether to look twice, one after the other: a silence counts only then.
    pub twice: bool,
}

/// One try of the flow. When it began is known within bounds: pods answer for a whole exec at once, and an exec may wait
/// for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// It did not begin before, since probing began.
    pub from: Duration,
    /// It did not begin after.
    pub until: Duration,
    /// What it showed.
    pub outcome: Outcome,
}

/// The course of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// What was planned.
    pub planned: Planned,
    /// Each try of the flow.
    pub seen: Vec<Look>,
    /// The last try's words.
    pub text: String,
    /// Whether it was tried from an ephemeral container.
    pub ephemeral: bool,
    /// How a denial looks at its ends, as far as it is known.
    pub look: DenialLook,
    /// When it was settled, since probing began.
    settled: Option<Duration>,
    target: BTreeMap<usize, Outcome>,
    source: BTreeMap<usize, Outcome>,
    services: Services,
    nodes: Vec<String>,
}

impl Track {
    /// A probe that was not tried yet.
    #[must_use]
    pub fn new(planned: Planned, pods: &BTreeMap<&PodRef, &ProbeSource>) -> Self {
        let ends = [Some(&planned.source), planned.target_pod.as_ref()];
        let nodes = ends.into_iter().flatten().filter_map(|id| pods.get(id).and_then(|p| p.node.clone())).collect();
        Self {
            planned,
            seen: Vec::new(),
            text: String::new(),
            ephemeral: false,
            look: DenialLook::Unknown,
            settled: None,
            target: BTreeMap::new(),
            source: BTreeMap::new(),
            services: Services::default(),
            nodes,
        }
    }

    /// Whether nothing more is asked.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The pods of its ends.
    pub fn pods(&self) -> impl Iterator<Item = &PodRef> {
        std::iter::once(&self.planned.source).chain(&self.planned.target_pod)
    }

    /// The nodes of its ends.
    pub fn nodes(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter()
    }

    /// Whether only an answer tells anything.
    fn is_by_answer(&self) -> bool {
        self.planned.address.protocol == Protocol::Udp
    }

    fn expects(&self) -> Decision {
        self.planned.flow.live
    }

    /// What the next round has to ask, and from which pod.
    ///
    /// The first control that was planned is asked first, the others only where it did not show enough: each costs other
    /// people's pods a process.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let planned = &self.planned;
        let denied = self.expects() == Decision::Denied;
        let twice = denied && !self.seen.last().is_some_and(|look| is_silent(look.outcome));
        let ask = |from: &PodRef, address, purpose, twice| Question { from: from.clone(), address, purpose, twice };
        let mut questions = vec![ask(&planned.source, planned.address, Purpose::Flow, twice)];
        // An open flow proves itself; a silent one needs to know whether its ends are alive.
        let doubtful = denied || !self.seen.is_empty();
        if doubtful {
            for (index, control) in
                planned.target_controls.iter().enumerate().filter(|(i, _)| is_asked(&self.target, *i))
            {
                questions.push(ask(&control.from, planned.address, Purpose::Target(index), false));
            }
            for (index, (to, _)) in
                planned.source_controls.iter().enumerate().filter(|(i, _)| is_asked(&self.source, *i))
            {
                questions.push(ask(&planned.source, *to, Purpose::Source(index), false));
            }
        }
        questions.extend(self.service_questions(doubtful));
        questions
    }

    /// Takes an answer.
    pub fn note(&mut self, purpose: &Purpose, seen: &Seen, (from, until): (Duration, Duration)) {
        match purpose {
            Purpose::Flow => {
                self.seen.push(Look { from, until, outcome: seen.outcome });
                self.text.clone_from(&seen.text);
                self.ephemeral = seen.ephemeral;
            }
            Purpose::Target(index) => learn(&mut self.target, *index, seen.outcome),
            Purpose::Source(index) => learn(&mut self.source, *index, seen.outcome),
            Purpose::Service(index, own) => self.services.note(*index, *own, seen.outcome),
        }
    }

    /// Ends it if nothing more is to be learned, or if the time is `over`.
    pub fn settle(&mut self, look: DenialLook, now: Duration, over: bool) {
        self.look = look;
        let last = self.observed();
        let done = match last {
            Outcome::ToolMissing | Outcome::NoSource => true,
            Outcome::Cut | Outcome::Dns | Outcome::TargetDown | Outcome::NotProbed => self.broken() >= TRIES,
            _ if self.expects() == Decision::Denied => {
                self.is_steadily_denied() && (self.controls_are_good() || self.planned.target_controls.is_empty())
            }
            Outcome::Open => true,
            Outcome::Refused => look == DenialLook::Drop && !self.is_by_answer(),
            Outcome::Timeout | Outcome::Unreachable => false,
        };
        if done && self.services_are_settled() || over {
            self.settled = Some(now);
        }
        if over && self.seen.is_empty() {
            "the time for probing was over before its turn came (probe.deadline)".clone_into(&mut self.text);
        }
    }

    /// Ends it without a look: who was to take it did not answer.
    #[must_use]
    pub fn lost(self, now: Duration, why: String) -> Self {
        Self { settled: Some(now), text: why, ..self }
    }

    fn broken(&self) -> usize {
        let real = |o: Outcome| matches!(o, Outcome::Open | Outcome::Refused | Outcome::Timeout | Outcome::Unreachable);
        self.seen.iter().rev().take_while(|look| !real(look.outcome)).count()
    }

    /// Two tries, far enough apart, were not open, and none between them was.
    fn is_steadily_denied(&self) -> bool {
        let silent = || self.told().rev().take_while(|look| is_silent(look.outcome));
        are_apart(silent().last(), silent().next())
    }

    /// Whether it was tried twice, far enough apart: one look, with its controls only in the second, is none. A control
    /// that was cut each time is waited for, but not for ever.
    #[must_use]
    pub fn was_tried_twice(&self) -> bool {
        let is_waited_for = !self.target.is_empty() && !self.target.values().any(|outcome| tells(*outcome));
        are_apart(self.told().next(), self.told().next_back()) && (!is_waited_for || self.told().count() > TRIES)
    }

    /// The tries that showed something. One that was cut, or not made, is none: a node under load cuts many.
    fn told(&self) -> impl DoubleEndedIterator<Item = &Look> {
        self.seen.iter().filter(|look| tells(look.outcome))
    }

    fn controls_are_good(&self) -> bool {
        let target = self.target_outcome().is_some_and(|o| matches!(o, Outcome::Open | Outcome::Refused));
        target && self.source_alive() != Some(false)
    }

    /// What the source saw last; a denied flow that was silent only once does not count as denied.
    #[must_use]
    pub fn observed(&self) -> Outcome {
        self.seen.last().map_or(Outcome::NotProbed, |look| look.outcome)
    }

    /// The best that anybody saw at the target.
    fn target_outcome(&self) -> Option<Outcome> {
        let best = |wanted: Outcome| self.target.values().any(|o| *o == wanted).then_some(wanted);
        best(Outcome::Open).or_else(|| best(Outcome::Refused)).or_else(|| self.target.values().next().copied())
    }

    /// Whether the source reached anything; `None` where there is nothing to reach or no tool to ask with, or where only
    /// refusals came that may be denials: where a denial is silent, a refusal is a packet that went there and back.
    fn source_alive(&self) -> Option<bool> {
        let any = |wanted: Outcome| self.source.values().any(|o| *o == wanted);
        if any(Outcome::Open) || any(Outcome::Refused) && self.look == DenialLook::Drop {
            return Some(true);
        }
        let asked = self.source.iter().any(|(index, outcome)| !self.is_absent(*index, *outcome));
        (asked && !any(Outcome::Refused)).then_some(false)
    }

    /// Whether a control of the source could not be asked at all: no tool, or one that cannot ask over UDP.
    fn is_absent(&self, index: usize, outcome: Outcome) -> bool {
        let udp = self.planned.source_controls.get(index).is_some_and(|(a, _)| a.protocol == Protocol::Udp);
        outcome == Outcome::ToolMissing || udp && outcome == Outcome::Cut
    }

    /// What it amounts to.
    #[must_use]
    pub fn judged(&self) -> Judged {
        let observed = self.observed();
        let silent = is_silent(observed);
        if self.expects() == Decision::Denied && silent && !self.is_steadily_denied() {
            return Judged::Unknown(crate::model::Unseen::Pending, "it was seen denied only once");
        }
        if self.expects() == Decision::Denied && silent && self.planned.target_controls.is_empty() {
            let why = "no pod that may be probed from can show that the target is alive (probeNamespaces)";
            return Judged::Unknown(crate::model::Unseen::Unprobeable, why);
        }
        judge::judge(Observation {
            expected: self.expects(),
            observed,
            look: self.look,
            target: self.target_outcome(),
            source: self.source_alive(),
            by_answer: self.is_by_answer(),
        })
    }

    /// The controls in words, where there were any.
    #[must_use]
    pub fn controls(&self) -> Option<Controls> {
        let Judged::AsDeclared { strength: Some(strength), .. } = self.judged() else { return self.failed_controls() };
        Some(Controls { target: self.target_words(), source: self.source_words(), strength })
    }

    fn failed_controls(&self) -> Option<Controls> {
        let (target, source) = (self.target_words(), self.source_words());
        let any = target.is_some() || source.is_some();
        any.then_some(Controls { target, source, strength: crate::model::Strength::Weak })
    }

    fn target_words(&self) -> Option<String> {
        let best = self.target_outcome()?;
        let (index, _) = self.target.iter().find(|(_, o)| **o == best)?;
        let control = self.planned.target_controls.get(*index)?;
        let who = if control.itself { "itself".to_owned() } else { control.from.to_string() };
        Some(format!("{best} from {who}"))
    }

    fn source_words(&self) -> Option<String> {
        let open = self.source.iter().find(|(_, o)| **o == Outcome::Open);
        let (index, outcome) = open.or_else(|| self.source.iter().next())?;
        let (_, name) = self.planned.source_controls.get(*index)?;
        Some(match outcome {
            Outcome::ToolMissing => format!("no tool to ask {name} with"),
            _ => format!("{outcome} to {name}"),
        })
    }

    /// When it was first seen as declared for good, at the latest, since probing began.
    #[must_use]
    pub fn converged(&self) -> Option<Duration> {
        if !matches!(self.judged(), Judged::AsDeclared { .. }) {
            return None;
        }
        let last = self.observed();
        self.seen.iter().rev().take_while(|look| look.outcome == last).last().map(|look| look.until)
    }

    /// Until when a denied flow was still seen open, since probing began, where it was: policies that close something
    /// leave a window until the data plane has them.
    #[must_use]
    pub fn open_until(&self) -> Option<Duration> {
        let open = self.seen.iter().rev().find(|look| look.outcome == Outcome::Open)?;
        (self.expects() == Decision::Denied).then_some(open.until)
    }

    /// What it shows about the look of a denial: a denied flow to a target that is open for others.
    #[must_use]
    pub fn shown_look(&self) -> Option<(String, DenialLook)> {
        let node = self.nodes.first().filter(|_| self.expects() == Decision::Denied)?;
        if self.target_outcome() != Some(Outcome::Open) {
            return None;
        }
        match self.observed() {
            Outcome::Timeout => Some((node.clone(), DenialLook::Drop)),
            Outcome::Refused => Some((node.clone(), DenialLook::Reject)),
            _ => None,
        }
    }
}

/// Whether a try showed something.
const fn tells(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Cut | Outcome::NotProbed)
}

/// Takes what a control showed; a try that shows nothing takes nothing away.
fn learn(known: &mut BTreeMap<usize, Outcome>, index: usize, outcome: Outcome) {
    let is_better = |known: &Outcome| tells(outcome) || !tells(*known);
    if known.get(&index).is_none_or(is_better) {
        known.insert(index, outcome);
    }
}

const fn is_silent(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refused | Outcome::Timeout | Outcome::Unreachable)
}

/// Whether so much time lies between two looks for sure.
fn are_apart(first: Option<&Look>, last: Option<&Look>) -> bool {
    matches!((first, last), (Some(first), Some(last)) if last.from.saturating_sub(first.until) >= APART)
}

/// Whether a control is asked: the first one, those that are open, or all where none is.
fn is_asked(known: &BTreeMap<usize, Outcome>, index: usize) -> bool {
    if known.is_empty() {
        return index == 0;
    }
    let any_open = known.values().any(|outcome| *outcome == Outcome::Open);
    !any_open || known.get(&index) == Some(&Outcome::Open)
}
