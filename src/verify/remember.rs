//! The state after a run.

use std::collections::BTreeMap;

use super::{
    applied,
    assemble::is_of_merge,
    compare::Comparison,
    conclude::{self, open_findings, waiting_key},
};
use crate::config::Config;
use crate::model::{
    Checked, CheckedKustomization, Declared, FailedApply, FlowRecord, FlowResult, KustomizationStatus, Report,
    Revision, RunRecord, State, Trigger, Unseen, Verdict, Verified, Why,
};

/// So many ended runs are remembered.
const RUNS: usize = 20;

/// What a run knows at its end.
pub struct Ended<'a> {
    /// Its report.
    pub report: &'a Report,
    /// What Flux said.
    pub statuses: &'a [KustomizationStatus],
    /// What was declared; empty where nothing was compared.
    pub declared: &'a [Declared],
    /// What was compared.
    pub comparison: Option<&'a Comparison>,
    /// The configuration.
    pub config: &'a Config,
    /// Its Job.
    pub job: Option<String>,
    /// The revision that new trouble is attributed to.
    pub revision: Option<Revision>,
    /// Whether the run may count as a check of its revisions.
    pub counts: bool,
}

/// The state after a run, its outbox still without the run's messages.
#[must_use]
pub fn remember(state: &State, ended: &Ended<'_>) -> State {
    let report = ended.report;
    let mut next = state.clone();
    next.seq = report.seq;
    next.failed = failed(state, ended);
    let run = RunRecord {
        seq: report.seq,
        job: ended.job.clone(),
        started: report.started.clone(),
        finished: report.finished.clone(),
        verdict: report.verdict,
        exit: report.verdict.exit_code(),
    };
    next.runs.insert(0, run);
    next.runs.truncate(RUNS);
    let Some(comparison) = ended.comparison else {
        // What kept it from comparing is told once, too.
        next.findings = open_findings(report, state, None, &report.finished);
        return next;
    };
    next.findings = open_findings(report, state, Some(comparison), &report.finished);
    next.flows = flows(state, ended, comparison);
    next.names.clone_from(&comparison.names);
    if !ended.counts {
        return next;
    }
    next.checked = Some(checked(state, ended, comparison));
    next.product_namespaces = comparison.product.iter().cloned().collect();
    if report.verdict == Verdict::Verified {
        next.verified.extend(verified(ended));
    }
    let of_merge: Vec<_> = report.flows.iter().filter(|f| is_of_merge(f.why)).map(conclude::recorded).collect();
    if report.trigger == Trigger::Merge && !of_merge.is_empty() {
        next.last_merge = of_merge;
    }
    if report.first_run || report.sweep.is_some() {
        next.last_full = Some(report.finished.clone());
    }
    next
}

fn checked(state: &State, ended: &Ended<'_>, comparison: &Comparison) -> Checked {
    let old = |status: &KustomizationStatus| {
        let checked = state.checked.as_ref()?;
        checked.kustomizations.iter().find(|k| k.id == status.id).cloned()
    };
    let kustomizations = ended.declared.iter().filter_map(|declared| {
        if declared.status.not_applied.is_some() {
            return old(&declared.status);
        }
        Some(CheckedKustomization {
            id: declared.status.id.clone(),
            revision: declared.status.applied.clone()?,
            digest: declared.status.digest.clone(),
            policies: declared.policies.clone(),
        })
    });
    let world = &comparison.live;
    let by_account = comparison.looks_at_accounts();
    let mut classes: Vec<_> = world.classes.iter().map(|class| class.record(by_account)).collect();
    let accounts = world.surroundings.accounts.iter().filter(|_| by_account);
    classes.sort();
    classes.dedup();
    Checked {
        seq: ended.report.seq,
        kustomizations: kustomizations.collect(),
        others: comparison.others.clone(),
        namespaces: world.namespaces.clone(),
        classes,
        accounts: accounts.map(|((namespace, name), labels)| (format!("{namespace}/{name}"), labels.clone())).collect(),
        calico: comparison.calico.clone(),
        verdict: ended.report.verdict,
        finished: ended.report.finished.clone(),
    }
}

fn verified(ended: &Ended<'_>) -> BTreeMap<String, Verified> {
    let standing = &ended.report.standing;
    let unseen = standing.waiting + standing.unprobeable;
    let applied = ended.statuses.iter().filter_map(|status| {
        let revision = status.applied.clone()?;
        Some((status.id.to_string(), Verified { revision, at: ended.report.finished.clone(), unseen }))
    });
    applied.collect()
}

/// Flows and rules that could not be told: those of this run, and those of earlier ones that it did not look at.
fn flows(state: &State, ended: &Ended<'_>, comparison: &Comparison) -> BTreeMap<String, FlowRecord> {
    let report = ended.report;
    let mut next: BTreeMap<String, FlowRecord> = BTreeMap::new();
    let looked: Vec<String> = report.flows.iter().map(crate::model::FlowReport::key).collect();
    for (key, record) in &state.flows {
        let gone = comparison.touched.gone.contains(key) || comparison.recall.gone_rules.contains(key);
        if record.flow.is_some() && !gone && !looked.contains(key) {
            next.insert(key.clone(), record.clone());
        }
    }
    for flow in &report.flows {
        // What Git and live disagree on is seen once they agree: until then nobody has seen what was merged.
        let hidden = flow.result == FlowResult::Drift && flow.why != Why::OpenFinding;
        let Some(unseen) = flow.state.or_else(|| hidden.then_some(Unseen::Pending)) else { continue };
        let key = flow.key();
        let reason = flow.note.clone().unwrap_or_else(|| "Git and live disagreed on it".to_owned());
        let missing = touched_missing(comparison, &key);
        // Decided otherwise it is another question, told by another message.
        let same = |then: &&FlowRecord| then.flow.as_ref().is_none_or(|then| then.declared == flow.declared);
        let known = comparison.recall.record(state, &key, &flow.rules).filter(same);
        let flow = Some(conclude::recorded(flow));
        let record = FlowRecord { flow, missing, ..record(ended, known, unseen, reason) };
        next.insert(key, record);
    }
    next.extend(waiting(state, ended, comparison));
    next
}

/// What stays as it was introduced, and what is new.
fn record(ended: &Ended<'_>, known: Option<&FlowRecord>, state: Unseen, reason: String) -> FlowRecord {
    let (since, revision, thread) = match known {
        Some(known) => (known.since.clone(), known.revision.clone(), known.thread.clone()),
        None => (ended.report.finished.clone(), ended.revision.clone(), None),
    };
    FlowRecord { state, reason, since, revision, thread, flow: None, rule: None, parts: Vec::new(), missing: None }
}

/// Rules that match no pod yet.
fn waiting(state: &State, ended: &Ended<'_>, comparison: &Comparison) -> impl Iterator<Item = (String, FlowRecord)> {
    comparison.touched.waiting.iter().filter_map(move |silent| {
        let content = comparison.rule_keys.get(&silent.rule)?;
        let key = waiting_key(&silent.rule);
        // Its own record of then, wherever it stood: another rule may stand under its key.
        let known = comparison.recall.waited.get(&silent.rule).and_then(|then| state.flows.get(then));
        let rule = Some((silent.rule.clone(), content.clone()));
        let record = record(ended, known, Unseen::Waiting, silent.reason.clone());
        Some((key, FlowRecord { rule, parts: silent.parts.clone(), ..record }))
    })
}

fn touched_missing(comparison: &Comparison, key: &str) -> Option<crate::model::Direction> {
    let world = &comparison.live;
    let same = |f: &&crate::engine::touched::TouchedFlow| super::recall::key(world, f).as_deref() == Some(key);
    comparison.touched.flows.iter().find(same).and_then(|f| f.missing)
}

/// Failed applies that were told, without those that are applied now; the message's event is kept.
///
/// Flux tries again and again, and may fail for two reasons by turns: each is told once for a revision.
fn failed(state: &State, ended: &Ended<'_>) -> Vec<FailedApply> {
    let mut failed: Vec<FailedApply> = Vec::new();
    for status in ended.statuses {
        let Some(not_applied) = &status.not_applied else { continue };
        let is_told = applied::is_worth_telling(not_applied, ended.config, &ended.report.finished);
        let attempted = not_applied.attempted.clone().or_else(|| status.attempted.clone());
        let known = state.failed.iter().filter(|f| f.id == status.id && (!is_told || f.attempted == attempted));
        failed.extend(known.cloned());
        let id = &status.id;
        if is_told && !failed.iter().any(|f| f.id == *id && f.reason == not_applied.reason) {
            failed.push(FailedApply { id: id.clone(), attempted, reason: not_applied.reason.clone(), event: None });
        }
    }
    failed
}
