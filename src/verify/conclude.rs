//! The verdict, and what stands from before.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    assemble::{finding_key, is_of_merge},
    cleared::Clearing,
    compare::Comparison,
    relabelled,
};
use crate::{
    engine::{accept::Acceptances, through},
    model::{
        Drift, Finding, FindingRule, FlowRecord, FlowReport, FlowResult, KustomizationRef, OpenFinding, RecordedFlow,
        Report, Revision, RuleRef, Severity, Standing, State, Strength, Unseen, Verdict, Why,
    },
};

/// A waiting rule is a finding after so long.
const WAITS_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// Fills in since when each thing stands, what is accepted, what is cleared, the counts and the verdict.
pub struct Conclusion<'a> {
    /// The memory.
    pub state: &'a State,
    /// The comparison; `None` where nothing was compared.
    pub comparison: Option<&'a Comparison>,
    /// What is accepted today.
    pub accepted: Acceptances<'a>,
    /// The revision that new trouble is attributed to.
    pub revision: Option<Revision>,
    /// Now, RFC 3339.
    pub now: &'a str,
}

impl Conclusion<'_> {
    /// Concludes a report whose flows, drift and findings are in.
    pub fn conclude(&self, report: &mut Report) {
        self.waiting_rules(report);
        report.findings.extend(self.relabelled(report));
        for drift in &mut report.drift {
            self.date_drift(drift);
        }
        for finding in report.findings.iter_mut().filter(|f| !f.key.starts_with(WAITING)) {
            self.date_finding(finding);
        }
        for flow in &mut report.flows {
            if flow.new && flow.since.is_none() && finding_key(flow).is_some() {
                flow.since.clone_from(&self.revision);
            }
        }
        report.cleared = Clearing { state: self.state, comparison: self.comparison, report }.cleared();
        report.standing = self.standing(report);
        report.verdict = self.verdict(report);
    }

    fn date_drift(&self, drift: &mut Drift) {
        let known = self.state.findings.get(&drift.key());
        drift.since = known.map_or_else(|| self.revision.clone(), |k| k.since.clone());
        drift.accepted_until = self.accepted.drift(drift);
        drift.new = is_new(known, drift.accepted_until.as_ref());
    }

    fn date_finding(&self, finding: &mut Finding) {
        let known = self.state.findings.get(&finding.key);
        finding.since = known.map_or_else(|| self.revision.clone(), |k| k.since.clone());
        finding.accepted_until = self.accepted.finding(finding);
        if finding.rule == FindingRule::Rendering {
            let id = self.comparison.and_then(|_| finding.key.strip_prefix("rendering/"));
            let id = id.and_then(KustomizationRef::parse);
            finding.accepted_until = id.and_then(|id| self.accepted.rendering(&id));
        }
        finding.new = is_new(known, finding.accepted_until.as_ref());
    }

    /// Rules that wait for something to match: notes at first, findings after a week.
    fn waiting_rules(&self, report: &mut Report) {
        let Some(comparison) = self.comparison else { return };
        for silent in &comparison.touched.waiting {
            let key = waiting_key(&silent.rule);
            // By its content: another rule may stand at its position now.
            let record = comparison.recall.waited.get(&silent.rule).and_then(|then| self.state.flows.get(then));
            let overdue = record.is_some_and(|record| is_older(&record.since, self.now, WAITS_FOR));
            let known = record.is_some();
            // Said with its name by the run that brings it, then counted.
            let said = if known || report.first_run { Severity::Info } else { Severity::Warning };
            let message = format!("{} waits: {}", silent.rule, silent.reason);
            report.findings.push(Finding {
                key: if overdue { format!("no-effect/{}", silent.rule) } else { key },
                rule: FindingRule::NoEffect,
                severity: if overdue { Severity::Error } else { said },
                message: if overdue {
                    format!("{message}, for more than 7 days now: correct or remove it")
                } else {
                    message
                },
                namespace: silent.rule.policy.namespace.clone(),
                origin: None,
                since: None,
                fix: None,
                new: !known,
                accepted_until: None,
                about: Some(silent.rule.clone()),
            });
        }
    }

    /// Labels that flipped flows in an earlier run, as long as that is open.
    fn relabelled(&self, report: &Report) -> Vec<Finding> {
        let Some(comparison) = self.comparison else { return Vec::new() };
        let open = self.state.findings.iter().filter(|(_, finding)| !finding.flips.is_empty());
        let again =
            open.filter_map(|(key, finding)| relabelled::again(key, finding, &comparison.declared, self.state, report));
        again.collect()
    }

    fn standing(&self, report: &Report) -> Standing {
        let cleared: BTreeSet<&String> = report.cleared.iter().map(|c| &c.key).collect();
        let own = told_keys(report, true);
        let older = |key: &String| !cleared.contains(key) && !own.contains(key) && !self.is_accepted(key, report);
        let open = self.state.findings.iter().filter(|(key, f)| f.error && older(key));
        let accepted = accepted_dates(report);
        let flows = || report.flows.iter().filter(|f| f.accepted_until.is_none());
        let carried = self.carried(report);
        let count = |state: Unseen| {
            flows().filter(|f| f.state == Some(state)).count() + carried.get(&state).copied().unwrap_or(0)
        };
        let weak = |f: &&FlowReport| {
            f.result == FlowResult::Verified && f.controls.as_ref().is_some_and(|c| c.strength == Strength::Weak)
        };
        let rules = self.comparison.map_or(0, |c| c.touched.waiting.len());
        let left = self.left(report).filter(|r| is_behind(Some(r.state), Some(&r.reason))).count();
        Standing {
            open: open.map(|(key, f)| (key.clone(), f.since.clone())).collect(),
            pending: count(Unseen::Pending),
            waiting: count(Unseen::Waiting) + rules,
            behind_service: flows().filter(|f| is_behind(f.state, f.note.as_deref())).count() + left,
            unprobeable: count(Unseen::Unprobeable),
            accepted: accepted.len(),
            accepted_until: accepted.into_iter().min(),
            weak: flows().filter(weak).count(),
        }
    }

    /// Flows of the state that this run did not look at, by state.
    fn carried(&self, report: &Report) -> BTreeMap<Unseen, usize> {
        let mut carried = BTreeMap::new();
        for record in self.left(report) {
            *carried.entry(record.state).or_default() += 1;
        }
        carried
    }

    fn left(&self, report: &Report) -> impl Iterator<Item = &FlowRecord> {
        let seen: BTreeSet<String> = report.flows.iter().map(FlowReport::key).collect();
        let gone = |key: &String| self.comparison.is_some_and(|c| c.touched.gone.contains(key));
        let all = self.state.flows.iter();
        all.filter(move |(key, r)| r.flow.is_some() && !seen.contains(*key) && !gone(key)).map(|(_, record)| record)
    }

    fn verdict(&self, report: &Report) -> Verdict {
        if has_error(report) || !report.standing.open.is_empty() {
            return Verdict::Finding;
        }
        if report.verdict == Verdict::NotApplied {
            return Verdict::NotApplied;
        }
        if report.verdict == Verdict::Inconclusive || is_inconclusive(report) {
            return Verdict::Inconclusive;
        }
        let empty = |c: &Comparison| c.product.is_empty() || (c.documents.is_empty() && c.live.policies.is_empty());
        if self.comparison.is_none_or(empty) { Verdict::Nothing } else { Verdict::Verified }
    }

    fn is_accepted(&self, key: &str, report: &Report) -> bool {
        // A flow is accepted whatever could be seen of it in this run.
        let finding = self.state.findings.get(key);
        let flow = finding.and_then(|f| f.flow.as_ref());
        // Where nothing was compared, nothing says that it is not accepted any more.
        let stays = self.comparison.is_none() && finding.is_some_and(|f| f.accepted);
        stays || accepts(report, key) || flow.is_some_and(|flow| self.accepted.flow_key(&flow.key()).is_some())
    }
}

/// Whether trouble was not told before, or was accepted then and is not any more.
#[must_use]
pub fn is_new(known: Option<&OpenFinding>, accepted_until: Option<&String>) -> bool {
    known.is_none_or(|known| known.accepted && accepted_until.is_none())
}

/// Whether the report holds what this key names, as accepted.
fn accepts(report: &Report, key: &str) -> bool {
    report.drift.iter().any(|d| d.key() == key && d.accepted_until.is_some())
        || report.findings.iter().any(|f| f.key == key && f.accepted_until.is_some())
        || report.flows.iter().any(|f| finding_key(f).as_deref() == Some(key) && f.accepted_until.is_some())
}

/// Keys of what is open in this report and not accepted; with `new` only what this run tells for the first time.
#[must_use]
pub fn told_keys(report: &Report, new: bool) -> BTreeSet<String> {
    let drift = report.drift.iter().filter(|d| d.severity != Severity::Info && d.accepted_until.is_none());
    let drift = drift.filter(|d| d.new || !new).map(Drift::key);
    let findings = report.findings.iter().filter(|f| is_standing(f) && f.accepted_until.is_none());
    let findings = findings.filter(|f| f.new || !new).map(|f| f.key.clone());
    let flows = report.flows.iter().filter(|f| f.accepted_until.is_none() && (f.new || !new));
    drift.chain(findings).chain(flows.filter_map(finding_key)).collect()
}

/// Whether a flow waits for a Service that leads elsewhere than to the pod that answers.
#[must_use]
pub fn is_behind(state: Option<Unseen>, reason: Option<&str>) -> bool {
    state == Some(Unseen::Waiting) && reason.is_some_and(through::is_silent)
}

/// How the keys of waiting rules begin: they are kept among the flows, not among the findings.
pub const WAITING: &str = "waiting/";

/// Whether a finding stands until it is cured.
fn is_standing(finding: &Finding) -> bool {
    finding.severity != Severity::Info && !finding.key.starts_with(WAITING)
}

/// The key under which a waiting rule is kept.
#[must_use]
pub fn waiting_key(rule: &RuleRef) -> String {
    format!("{WAITING}{rule}")
}

fn accepted_dates(report: &Report) -> Vec<String> {
    let drift = report.drift.iter().filter_map(|d| d.accepted_until.clone());
    let findings = report.findings.iter().filter_map(|f| f.accepted_until.clone());
    let flows = report.flows.iter().filter_map(|f| f.accepted_until.clone());
    drift.chain(findings).chain(flows).collect()
}

fn has_error(report: &Report) -> bool {
    let drift = report.drift.iter().any(|d| d.severity == Severity::Error && d.accepted_until.is_none());
    let finding = report.findings.iter().any(|f| f.severity == Severity::Error && f.accepted_until.is_none());
    let flow = report.flows.iter().any(|f| finding_key(f).is_some() && f.accepted_until.is_none());
    drift || finding || flow
}

/// Pending flows keep a run yellow until they are seen; waiting and unprobeable ones only the run that brings them.
fn is_inconclusive(report: &Report) -> bool {
    let flow = |f: &FlowReport| {
        f.accepted_until.is_none()
            && match f.state {
                Some(Unseen::Pending) => true,
                // What this merge touched is asked anew, even where the same was not told before; what a retry shows to
                // be beyond any is told by that run.
                Some(Unseen::Waiting | Unseen::Unprobeable) => {
                    is_of_merge(f.why) && f.why != Why::FirstRun || f.new && f.why == Why::Retried
                }
                None => false,
            }
    };
    let blind = |f: &Finding| {
        f.accepted_until.is_none()
            && match f.rule {
                FindingRule::Rendering | FindingRule::Flux => true,
                FindingRule::NotUnderstood | FindingRule::NotReadable | FindingRule::AllowlistUntold => f.new,
                // One that is seen otherwise is an error; a warning is one that nobody could look at.
                FindingRule::Expectation => f.severity == Severity::Warning,
                FindingRule::NoEffect => f.new && f.key.starts_with(WAITING) && !report.first_run,
                _ => false,
            }
    };
    report.flows.iter().any(flow) || report.findings.iter().any(blind) || report.standing.pending > 0
}

/// Keys of everything that is open in this report, error or not.
#[must_use]
pub fn open_keys(report: &Report) -> BTreeSet<String> {
    let drift = report.drift.iter().filter(|d| d.severity != Severity::Info).map(Drift::key);
    let findings = report.findings.iter().filter(|f| is_standing(f)).map(|f| f.key.clone());
    drift.chain(findings).chain(report.flows.iter().filter_map(finding_key)).collect()
}

/// Whether `then` is more than `age` before `now`.
#[must_use]
pub fn is_older(then: &str, now: &str, age: jiff::SignedDuration) -> bool {
    match (then.parse::<jiff::Timestamp>(), now.parse::<jiff::Timestamp>()) {
        (Ok(then), Ok(now)) => now.duration_since(then) > age,
        _ => false,
    }
}

/// What the state keeps open after this report.
#[must_use]
pub fn open_findings(
    report: &Report,
    state: &State,
    comparison: Option<&Comparison>,
    now: &str,
) -> BTreeMap<String, OpenFinding> {
    let cleared: BTreeSet<&String> = report.cleared.iter().map(|c| &c.key).collect();
    let kept = state.findings.iter().filter(|(key, _)| !cleared.contains(key));
    let mut open: BTreeMap<String, OpenFinding> = kept.map(|(k, f)| (k.clone(), f.clone())).collect();
    let mut put = |key: String, finding: OpenFinding| {
        open.entry(key).or_insert(finding);
    };
    let make = |summary: String, error: bool, since: &Option<Revision>| fresh(summary, error, since.clone(), now);
    for drift in report.drift.iter().filter(|d| d.severity != Severity::Info) {
        put(drift.key(), make(drift.summary.clone(), drift.severity == Severity::Error, &drift.since));
    }
    let content = |rule: &RuleRef| comparison.and_then(|c| c.rule_keys.get(rule)).cloned();
    for finding in report.findings.iter().filter(|f| is_standing(f)) {
        let rule = finding.about.as_ref().and_then(|r| Some((r.clone(), content(r)?)));
        let flips = comparison.and_then(|c| c.flips.get(&finding.key)).cloned().unwrap_or_default();
        let open = make(finding.message.clone(), finding.severity == Severity::Error, &finding.since);
        put(finding.key.clone(), OpenFinding { rule, flips, ..open });
    }
    for flow in &report.flows {
        let Some(key) = finding_key(flow) else { continue };
        let recorded = recorded(flow);
        put(key, OpenFinding { flow: Some(recorded), ..make(flow.key(), true, &flow.since) });
    }
    let seen = open_keys(report);
    for (key, finding) in open.iter_mut().filter(|(key, _)| seen.contains(*key)) {
        finding.accepted = accepts(report, key);
        finding.mentioned &= !finding.accepted;
    }
    open
}

/// A finding that was not told to anybody yet.
fn fresh(summary: String, error: bool, since: Option<Revision>, now: &str) -> OpenFinding {
    OpenFinding {
        since,
        at: now.to_owned(),
        mentioned: false,
        accepted: false,
        thread: None,
        summary,
        error,
        flow: None,
        rule: None,
        flips: Vec::new(),
    }
}

/// A reported flow as the state keeps it.
#[must_use]
pub fn recorded(flow: &FlowReport) -> RecordedFlow {
    RecordedFlow {
        source: flow.source.clone(),
        destination: flow.destination.clone(),
        protocol: flow.protocol,
        port: flow.port,
        declared: flow.declared,
        ipv6: flow.ipv6,
    }
}
