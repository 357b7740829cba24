//! Sorts a report into what this merge brought and what stood before, so that the first line judges the merge alone.

use crate::model::{
    Drift, Finding, FindingRule, FlowReport, FlowResult, KustomizationReport, RenderingState, Report, Revision,
    Severity, Trigger, Unseen, Verdict, Why,
};

/// A report, sorted.
#[derive(Debug, Default)]
pub struct Judged<'a> {
    /// Kustomizations whose newest revision is not live.
    pub not_applied: Vec<&'a KustomizationReport>,
    /// Kustomizations whose rendering is not proven, unless that is accepted.
    pub unproven: Vec<&'a KustomizationReport>,
    /// Policies that differ from Git.
    pub drift: Vec<&'a Drift>,
    /// Flows that live policies decide otherwise than Git.
    pub drifted: Vec<&'a FlowReport>,
    /// Flows that the dataplane treats otherwise than the policies.
    pub enforcement: Vec<&'a FlowReport>,
    /// Flows that lack an entry on one side.
    pub missing: Vec<&'a FlowReport>,
    /// Flows that no table intends.
    pub excess: Vec<&'a FlowReport>,
    /// Flows that could not be told.
    pub untold: Vec<&'a FlowReport>,
    /// Rules that match nothing.
    pub no_effect: Vec<&'a Finding>,
    /// Other findings that make the verdict.
    pub errors: Vec<&'a Finding>,
    /// Findings worth a look.
    pub warnings: Vec<&'a Finding>,
    /// What stood before this merge: key and the revision since which it stands.
    pub older: Vec<(String, Option<Revision>)>,
    /// How many flows this merge touched, those that others stand for and those not probed included.
    pub flows: Tally,
}

/// Flows of this merge; the parts add up to `total`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub total: usize,
    /// Probed and seen as declared.
    pub verified: usize,
    /// Covered by those.
    pub covered: usize,
    /// Probed or covered, and not seen as declared.
    pub other: usize,
    /// Not probed.
    pub not_probed: usize,
}

/// How many flows a probed one speaks for, itself included.
pub fn weight(flow: &FlowReport) -> usize {
    flow.covers.saturating_add(1)
}

/// How many flows these speak for.
pub fn weights(flows: &[&FlowReport]) -> usize {
    flows.iter().fold(0, |sum, flow| sum.saturating_add(weight(flow)))
}

impl<'a> Judged<'a> {
    /// Sorts `report`.
    pub fn new(report: &'a Report) -> Self {
        let mut judged = Self {
            not_applied: report.kustomizations.iter().filter(|k| is_not_applied(report, k)).collect(),
            ..Self::default()
        };
        judged.sort_unproven(report);
        judged.sort_flows(report);
        judged.sort_drift(report);
        judged.sort_findings(report);
        judged.add_standing(report);
        judged.flows = judged.tally(report);
        judged
    }

    /// Whether anything of this merge makes the verdict `finding`.
    pub fn has_errors(&self) -> bool {
        !(self.drift.is_empty()
            && self.drifted.is_empty()
            && self.enforcement.is_empty()
            && self.missing.is_empty()
            && self.excess.is_empty()
            && self.no_effect.is_empty()
            && self.errors.is_empty())
    }

    fn sort_unproven(&mut self, report: &'a Report) {
        let accepted = report.findings.iter().any(|f| f.rule == FindingRule::Rendering && f.accepted_until.is_some());
        if accepted || report.verdict == Verdict::Verified {
            return;
        }
        self.unproven = report
            .kustomizations
            .iter()
            .filter(|k| k.rendering == RenderingState::Unproven && !is_not_applied(report, k))
            .collect();
    }

    fn sort_flows(&mut self, report: &'a Report) {
        for flow in report.flows.iter().filter(|flow| flow.accepted_until.is_none()) {
            let own = is_own(report, flow.new, flow.since.as_ref());
            let place = match flow.result {
                // The first line says of how many rules it is seen, and the last line how many are not provable.
                FlowResult::Inconclusive if report.first_run && is_counted(flow) => continue,
                FlowResult::Inconclusive if own || report.trigger == Trigger::Manual => &mut self.untold,
                // What could not be told stands in the last line once it was said.
                FlowResult::Verified | FlowResult::Inconclusive => continue,
                _ if !own => {
                    self.older.push((flow.key(), flow.since.clone()));
                    continue;
                }
                FlowResult::Drift => &mut self.drifted,
                FlowResult::Enforcement => &mut self.enforcement,
                FlowResult::MissingEntry => &mut self.missing,
                FlowResult::Excess => &mut self.excess,
            };
            place.push(flow);
        }
    }

    fn sort_drift(&mut self, report: &'a Report) {
        for drift in &report.drift {
            if drift.severity != Severity::Error || drift.accepted_until.is_some() {
                continue;
            }
            if is_own(report, drift.new, drift.since.as_ref()) {
                self.drift.push(drift);
            } else {
                self.older.push((drift.key(), drift.since.clone()));
            }
        }
    }

    fn sort_findings(&mut self, report: &'a Report) {
        for finding in report.findings.iter().filter(|finding| finding.accepted_until.is_none()) {
            let own = is_own(report, finding.new, finding.since.as_ref());
            match (finding.severity, own) {
                (Severity::Error, true) if self.tells(finding) => {}
                (Severity::Error, true) if finding.rule == FindingRule::NoEffect => self.no_effect.push(finding),
                (Severity::Error, true) => self.errors.push(finding),
                (Severity::Error, false) => self.older.push((finding.key.clone(), finding.since.clone())),
                (Severity::Warning, true) => self.warnings.push(finding),
                (Severity::Warning | Severity::Info, _) => {}
            }
        }
    }

    /// Whether a finding about Flux is what the first line says already.
    fn tells(&self, finding: &Finding) -> bool {
        finding.rule == FindingRule::Flux
            && self.not_applied.iter().any(|k| k.reason.as_ref().is_some_and(|r| finding.message.contains(r.as_str())))
    }

    /// Adds what the state says is open, once each.
    fn add_standing(&mut self, report: &Report) {
        let told: Vec<String> = self.own_keys();
        for (key, since) in &report.standing.open {
            let same = |other: &String| other == key || key.ends_with(other.as_str());
            if !told.iter().any(same) && !self.older.iter().any(|(other, _)| same(other)) {
                self.older.push((key.clone(), since.clone()));
            }
        }
        self.older.sort();
    }

    fn own_keys(&self) -> Vec<String> {
        let flows = [&self.drifted, &self.enforcement, &self.missing, &self.excess].into_iter().flatten();
        let findings = self.no_effect.iter().chain(&self.errors);
        flows
            .map(|flow| flow.key())
            .chain(self.drift.iter().map(|drift| drift.key()))
            .chain(findings.map(|finding| finding.key.clone()))
            .collect()
    }

    fn tally(&self, report: &Report) -> Tally {
        let mut tally = Tally::default();
        let own: Vec<&FlowReport> = [&self.drifted, &self.enforcement, &self.missing, &self.excess, &self.untold]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for flow in &report.flows {
            if !is_of_merge(flow) && !own.iter().any(|other| std::ptr::eq(*other, flow)) {
                continue;
            }
            if flow.result == FlowResult::Verified {
                tally.verified += 1;
                tally.covered = tally.covered.saturating_add(flow.covers);
            } else {
                tally.other = tally.other.saturating_add(weight(flow));
            }
        }
        tally.not_probed = report.not_probed.iter().fold(0, |sum, part| sum.saturating_add(part.flows));
        tally.total =
            tally.verified.saturating_add(tally.covered).saturating_add(tally.other).saturating_add(tally.not_probed);
        tally
    }
}

/// Whether a flow is in the report for this merge's sake.
pub fn is_of_merge(flow: &FlowReport) -> bool {
    matches!(flow.why, Why::Changed | Why::Rule | Why::OneSided | Why::Closure | Why::FirstRun | Why::Manual)
}

/// Whether a first run counts a flow without being in doubt for it: no retry helps, and nobody changed it (design §4).
fn is_counted(flow: &FlowReport) -> bool {
    flow.why == Why::FirstRun && matches!(flow.state, Some(Unseen::Waiting | Unseen::Unprobeable))
}

/// Whether trouble was first seen in this run, or came with a revision that is the applied one still.
pub fn is_own(report: &Report, new: bool, since: Option<&Revision>) -> bool {
    new || since.is_some_and(|since| report.kustomizations.iter().any(|k| k.applied.as_ref() == Some(since)))
}

fn is_not_applied(report: &Report, kustomization: &KustomizationReport) -> bool {
    let behind = kustomization.attempted.is_some() && kustomization.attempted != kustomization.applied;
    // A suspended Kustomization attempted nothing newer.
    let alone = report.verdict == Verdict::NotApplied
        && kustomization.reason.is_some()
        && !report.kustomizations.iter().any(|k| k.attempted.is_some() && k.attempted != k.applied);
    behind || alone
}
