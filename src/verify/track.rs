//! One probe from its first try until it has settled.

use std::{collections::BTreeMap, time::Duration};

use super::seams::Seen;
use crate::{
    engine::{
        judge::{self, Judged, Observation},
        plan::{Address, Planned},
    },
    model::{Controls, Decision, DenialLook, Outcome, PodInfo, PodRef, Protocol},
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
}

/// The course of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What was planned.
    pub planned: Planned,
    /// When each try began, since probing began, and what it showed.
    pub seen: Vec<(Duration, Outcome)>,
    /// The last try's words.
    pub text: String,
    /// How a denial looks at its ends, as far as it is known.
    pub look: DenialLook,
    /// When it was settled, since probing began.
    settled: Option<Duration>,
    target: BTreeMap<usize, Outcome>,
    source: BTreeMap<usize, Outcome>,
    nodes: Vec<String>,
}

impl Track {
    /// A probe that was not tried yet.
    #[must_use]
    pub fn new(planned: Planned, pods: &BTreeMap<&PodRef, &PodInfo>) -> Self {
        let ends = [Some(&planned.source), planned.target_pod.as_ref()];
        let nodes = ends.into_iter().flatten().filter_map(|id| pods.get(id).and_then(|p| p.node.clone())).collect();
        Self {
            planned,
            seen: Vec::new(),
            text: String::new(),
            look: DenialLook::Unknown,
            settled: None,
            target: BTreeMap::new(),
            source: BTreeMap::new(),
            nodes,
        }
    }

    /// Whether nothing more is asked.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The nodes of its ends.
    pub fn nodes(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter()
    }

    fn expects(&self) -> Decision {
        self.planned.flow.live
    }

    /// What the next round has to ask, and from which pod.
    #[must_use]
    pub fn questions(&self) -> Vec<(PodRef, Address, Purpose)> {
        let planned = &self.planned;
        let mut questions = vec![(planned.source.clone(), planned.address, Purpose::Flow)];
        // An open flow proves itself; a silent one needs to know whether its ends are alive.
        let doubtful = self.expects() == Decision::Denied || !self.seen.is_empty();
        if doubtful {
            let targets = planned.target_controls.iter().enumerate();
            questions.extend(targets.map(|(i, control)| (control.from.clone(), planned.address, Purpose::Target(i))));
            let sources = planned.source_controls.iter().enumerate();
            questions.extend(sources.map(|(i, (address, _))| (planned.source.clone(), *address, Purpose::Source(i))));
        }
        questions
    }

    /// Takes an answer of the round that began at `at`.
    pub fn note(&mut self, purpose: &Purpose, seen: &Seen, at: Duration) {
        match purpose {
            Purpose::Flow => {
                self.seen.push((at, seen.outcome));
                self.text.clone_from(&seen.text);
            }
            Purpose::Target(index) => {
                self.target.insert(*index, seen.outcome);
            }
            Purpose::Source(index) => {
                self.source.insert(*index, seen.outcome);
            }
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
            Outcome::Refused => look == DenialLook::Drop,
            Outcome::Timeout | Outcome::Unreachable => false,
        };
        if done || over {
            self.settled = Some(now);
        }
    }

    fn broken(&self) -> usize {
        let real = |o: Outcome| matches!(o, Outcome::Open | Outcome::Refused | Outcome::Timeout | Outcome::Unreachable);
        self.seen.iter().rev().take_while(|(_, o)| !real(*o)).count()
    }

    /// Two tries in a row, far enough apart, were not open.
    fn is_steadily_denied(&self) -> bool {
        let silent = |o: Outcome| matches!(o, Outcome::Refused | Outcome::Timeout | Outcome::Unreachable);
        let run: Vec<Duration> = self.seen.iter().rev().take_while(|(_, o)| silent(*o)).map(|(at, _)| *at).collect();
        match (run.first(), run.last()) {
            (Some(last), Some(first)) => last.saturating_sub(*first) >= APART,
            _ => false,
        }
    }

    /// Whether it was tried twice, far enough apart: one look, with its controls only in the second, is none.
    #[must_use]
    pub fn was_tried_twice(&self) -> bool {
        match (self.seen.first(), self.seen.last()) {
            (Some((first, _)), Some((last, _))) => last.saturating_sub(*first) >= APART,
            _ => false,
        }
    }

    fn controls_are_good(&self) -> bool {
        let target = self.target_outcome().is_some_and(|o| matches!(o, Outcome::Open | Outcome::Refused));
        target && self.source_alive() != Some(false)
    }

    /// What the source saw last; a denied flow that was silent only once does not count as denied.
    #[must_use]
    pub fn observed(&self) -> Outcome {
        self.seen.last().map_or(Outcome::NotProbed, |(_, outcome)| *outcome)
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
        let silent = matches!(observed, Outcome::Refused | Outcome::Timeout | Outcome::Unreachable);
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

    /// When it was first seen as declared for good, since probing began.
    #[must_use]
    pub fn converged(&self) -> Option<Duration> {
        if !matches!(self.judged(), Judged::AsDeclared { .. }) {
            return None;
        }
        let last = self.observed();
        self.seen.iter().rev().take_while(|(_, o)| *o == last).last().map(|(at, _)| *at)
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
