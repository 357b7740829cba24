//! From what was compared and seen to the report's flows.

use super::{
    compare::{Comparison, Material},
    conclude, findings, recall,
    track::Track,
};
use crate::{
    engine::{
        accept::Acceptances,
        blame,
        judge::Judged,
        touched::{Origin, Target, TouchedFlow},
        verdict::{self, Side},
        world::{End, World},
    },
    model::{
        Direction, Entry, FlowReport, FlowResult, Origin as Place, Outcome, PodInfo, PodRef, RuleRef, Snapshot, Unseen,
        Why,
    },
};

/// Makes the report's flows.
pub struct Assembler<'a> {
    /// What was compared.
    pub comparison: &'a Comparison,
    /// With what.
    pub material: &'a Material<'a>,
    /// What is accepted today.
    pub accepted: Acceptances<'a>,
}

impl Assembler<'_> {
    /// A probed flow.
    #[must_use]
    pub fn probed(&self, track: &Track) -> Option<FlowReport> {
        let flow = &track.planned.flow;
        let mut report = self.base(flow)?;
        seen(&mut report, track, self.material.snapshot);
        if report.result == FlowResult::Verified && flow.missing.is_some() {
            report.result = FlowResult::MissingEntry;
        }
        self.doubt(&mut report);
        Some(self.finished(flow, report))
    }

    /// A flow without a probe.
    #[must_use]
    pub fn unseen(&self, flow: &TouchedFlow, unseen: Unseen, reason: &str) -> Option<FlowReport> {
        let mut report = self.base(flow)?;
        report.observed = if unseen == Unseen::Waiting { Outcome::NoSource } else { Outcome::NotProbed };
        report.result = FlowResult::Inconclusive;
        report.state = Some(unseen);
        report.note = Some(reason.to_owned());
        Some(self.finished(flow, report))
    }

    /// A flow on which Git and live disagree: the drift names the policies, no packet is needed.
    #[must_use]
    pub fn drifted(&self, flow: &TouchedFlow) -> Option<FlowReport> {
        let mut report = self.base(flow)?;
        report.result = FlowResult::Drift;
        Some(self.finished(flow, report))
    }

    /// Whether Git and live disagree on it.
    #[must_use]
    pub fn is_drifted(flow: &TouchedFlow) -> bool {
        flow.declared != flow.live
    }

    fn base(&self, flow: &TouchedFlow) -> Option<FlowReport> {
        let recorded = recall::recorded(&self.comparison.live, flow)?;
        let (ends, port) = ((recorded.source, recorded.destination), (flow.protocol, flow.port));
        Some(FlowReport {
            ipv6: flow.ipv6,
            before: flow.before,
            note: flow.note.clone(),
            covers: flow.covers,
            rules: flow.rules.clone(),
            because: self.because(flow),
            ..FlowReport::new(ends, port, flow.why, (flow.declared, flow.live))
        })
    }

    /// Nothing is called verified that a policy without a reader, or a list that could not be read, may decide.
    fn doubt(&self, report: &mut FlowReport) {
        if report.result != FlowResult::Verified {
            return;
        }
        let ends = [report.source.namespace(), report.destination.namespace()];
        let blind = findings::not_understood(self.material);
        let touches = |namespace: Option<&String>| namespace.is_none_or(|n| ends.contains(&Some(n.as_str())));
        let reason = blind
            .iter()
            .find(|n| touches(n.namespace.as_ref()))
            .map(|n| (Unseen::Unprobeable, format!("{} may decide it and is not understood", n.policy)))
            .or_else(|| {
                // One that no retry can read decides: otherwise the flow would be tried again for ever.
                let unread = self.material.snapshot.not_readable.iter().filter(|n| n.policies);
                unread.min_by_key(|n| n.passing).map(|n| {
                    let state = if n.passing { Unseen::Pending } else { Unseen::Unprobeable };
                    (state, format!("{} may decide it and could not be read", n.resource))
                })
            });
        if let Some((state, reason)) = reason {
            report.result = FlowResult::Inconclusive;
            report.state = Some(state);
            report.note = Some(reason);
        }
    }

    /// Fills in what the state and the configuration know of its trouble.
    fn finished(&self, flow: &TouchedFlow, mut report: FlowReport) -> FlowReport {
        if report.why == Why::Closure {
            report.note = Some(closure(&report.because));
        }
        if report.result == FlowResult::MissingEntry {
            report.entries = self.entries(flow);
        }
        let state = self.material.state;
        report.accepted_until = self.accepted.flow(&report);
        if let Some(key) = finding_key(&report) {
            let open = state.findings.get(&key);
            report.new = conclude::is_new(open, report.accepted_until.as_ref());
            report.since = open.and_then(|f| f.since.clone());
        } else if report.state.is_some() {
            let known = self.comparison.recall.record(state, &report.key(), &report.rules);
            let other = |then: &crate::model::RecordedFlow| then.declared != report.declared;
            report.new = known.is_none_or(|k| Some(k.state) != report.state || k.flow.as_ref().is_some_and(other));
        }
        report
    }

    /// Each side's verdict in words, with place: `egress is open (file:41)`, `ingress at pulse-events is not`.
    fn because(&self, flow: &TouchedFlow) -> Vec<String> {
        let world = &self.comparison.live;
        let Some((from, to)) = ends(world, flow) else { return Vec::new() };
        let sides = verdict::flow(world, from, to, flow.protocol, flow.port);
        [(Direction::Egress, sides.egress), (Direction::Ingress, sides.ingress)]
            .into_iter()
            .filter_map(|(direction, side)| self.words(direction, &side))
            .collect()
    }

    fn words(&self, direction: Direction, side: &Side) -> Option<String> {
        let word = direction.word();
        match side {
            Side::NotIsolated => Some(format!("{word} is open (no policy isolates it)")),
            Side::Undefined => None,
            Side::Allowed(rules) => {
                let (rule, _) = rules.first()?;
                let place = self.rule_place(rule).map_or_else(|| rule.to_string(), |p| p.short());
                Some(format!("{word} is open ({place})"))
            }
            Side::Denied(policies) => {
                let namespace = policies.iter().find_map(|(id, _)| id.namespace.as_ref());
                Some(namespace.map_or_else(|| format!("{word} is not"), |n| format!("{word} at {n} is not")))
            }
            Side::Stopped(rule, _) => {
                let place = self.rule_place(rule).map(|p| format!(" ({})", p.short())).unwrap_or_default();
                Some(format!("{word} is denied by {rule}{place}"))
            }
        }
    }

    fn rule_place(&self, rule: &RuleRef) -> Option<Place> {
        let document = self.comparison.documents.iter().find(|d| d.id == rule.policy)?;
        document.origins.nearest(&format!("/spec/{}/{}", rule.direction.word(), rule.index)).cloned()
    }

    fn entries(&self, flow: &TouchedFlow) -> Vec<Entry> {
        let world = &self.comparison.declared;
        let (Some(side), Some((from, to))) = (flow.missing, ends(world, flow)) else { return Vec::new() };
        let flow_of = blame::Flow { from, to, protocol: flow.protocol, port: flow.port, side };
        blame::entries(world, &self.comparison.documents, flow_of, flow.rules.first())
    }
}

fn node_of(pods: &[PodInfo], id: &PodRef) -> Option<String> {
    pods.iter().find(|p| &p.id == id)?.node.clone()
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Takes what a probe showed into a flow's report.
pub fn seen(report: &mut FlowReport, track: &Track, snapshot: &Snapshot) {
    report.node = node_of(&snapshot.pods, &track.planned.source);
    report.target_node = track.planned.target_pod.as_ref().and_then(|id| node_of(&snapshot.pods, id));
    report.source_pod = Some(track.planned.source.clone());
    report.target = Some(track.planned.address.ip.to_string());
    report.via = Some(if track.ephemeral { "ephemeral" } else { "exec" }.to_owned());
    report.observed = track.observed();
    report.controls = track.controls();
    report.converged_ms = track.converged().map(milliseconds);
    report.open_ms = track.open_until().map(milliseconds);
    match track.judged() {
        Judged::AsDeclared { note, .. } => {
            report.result = FlowResult::Verified;
            report.note = note.map(str::to_owned).or_else(|| report.note.take());
        }
        Judged::Otherwise => {
            report.result = FlowResult::Enforcement;
            report.evidence.extend(Some(track.text.clone()).filter(|t| !t.is_empty()));
        }
        Judged::Unknown(unseen, reason) => {
            report.result = FlowResult::Inconclusive;
            report.state = Some(unseen);
            // Where no packet says it, the tool's or the API server's own words do.
            let words = Some(&track.text).filter(|t| report.observed != Outcome::Timeout && !t.is_empty());
            report.note = Some(words.map_or_else(|| reason.to_owned(), |words| format!("{reason}: {words}")));
        }
    }
    track.tell_services(report);
}

/// What a closure leaves open, with its place: an entry that nothing needs any more.
fn closure(because: &[String]) -> String {
    let open = because.iter().find(|side| side.contains(" is open "));
    match open {
        Some(side) => format!("one side was closed, the other is still open: {side}"),
        None => "one side was closed".to_owned(),
    }
}

fn ends<'w>(world: &'w World, flow: &TouchedFlow) -> Option<(End<'w>, End<'w>)> {
    let Origin::Class(source) = flow.source else { return None };
    let from = End::pods(world.classes.get(source)?, flow.family);
    let to = match &flow.target {
        Target::Class(index) => End::pods(world.classes.get(*index)?, flow.family),
        Target::Outside(outside) => End::outside(outside.address),
        Target::Range(net) => End::outside(net.network()),
    };
    Some((from, to))
}

/// The key under which the state keeps a flow's finding, where its result is one.
#[must_use]
pub fn finding_key(report: &FlowReport) -> Option<String> {
    let word = match report.result {
        FlowResult::MissingEntry => "missing-entry",
        FlowResult::Enforcement => "enforcement",
        FlowResult::Excess => "excess",
        FlowResult::Verified | FlowResult::Drift | FlowResult::Inconclusive => return None,
    };
    Some(format!("{word}/{}", report.key()))
}

/// Whether a flow is of this merge and not of an earlier one.
#[must_use]
pub const fn is_of_merge(why: Why) -> bool {
    matches!(why, Why::Changed | Why::Rule | Why::OneSided | Why::Closure | Why::FirstRun)
}
