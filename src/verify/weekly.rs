//! Once a week a line says that all is still watched (design §6).
//!
//! Another message says as much, so that the line is for weeks in which none came by then. It speaks from the state:
//! a run that has nothing to look at can send it too.

use super::{conclude::is_behind, tell};
use crate::{
    config::Config,
    engine::accept::Acceptances,
    model::{FlowRecord, KustomizationRef, OpenFinding, OutboxEntry, RecordedFlow, Standing, State, Unseen, Verdict},
    report::message::{self, Watch},
};

/// The line's part number begins here: apart from those of a run's other messages, and another one each week.
const PART: u32 = 20_000;

const WEEK_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Whether the moment of the week came since a line was told last. Never right after an installation.
#[must_use]
pub fn is_due(config: &Config, state: &State, now: &str) -> bool {
    let told = state.last_weekly.as_ref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let moment = now.parse().ok().and_then(|now| config.matrix.weekly.last(now));
    matches!((told, moment), (Some(told), Some(moment)) if told < moment)
}

/// After a run: puts the line into the outbox where it is due and no root message of the run was told, and remembers
/// that the week is done.
pub fn after_run(config: &Config, accepted: &Acceptances<'_>, next: &mut State, told: bool, now: &str) {
    if !config.matrix.weekly.is_on() {
        next.last_weekly = None;
        return;
    }
    if next.last_weekly.is_none() {
        next.last_weekly = Some(now.to_owned());
    } else if is_due(config, next, now) {
        if !told {
            next.outbox.push(entry(config, accepted, next, now));
        }
        next.last_weekly = Some(now.to_owned());
    }
}

fn entry(config: &Config, accepted: &Acceptances<'_>, state: &State, now: &str) -> OutboxEntry {
    let message = message::weekly(&watch(state, accepted), &tell::options(config, state));
    let week = now.parse::<jiff::Timestamp>().map_or(0, |now| now.as_second() / WEEK_SECONDS);
    let part = PART.saturating_add(u32::try_from(week).unwrap_or_default());
    tell::root(&state.id, state.seq, part, &message, now)
}

/// What stands, as the state has it.
fn watch(state: &State, accepted: &Acceptances<'_>) -> Watch {
    let mut checked: Vec<_> =
        state.checked.iter().flat_map(|c| &c.kustomizations).map(|k| k.revision.clone()).collect();
    checked.dedup();
    let verified = state.verified.iter().filter_map(|(id, verified)| {
        Some((KustomizationRef::parse(id)?, verified.revision.clone(), verified.at.clone()))
    });
    let last = state.runs.first();
    Watch {
        checked,
        verified: verified.collect(),
        failed: state.failed.iter().map(|f| f.attempted.clone()).collect(),
        verdict: last.map_or(Verdict::Inconclusive, |run| run.verdict),
        finished: last.map(|run| run.finished.clone()),
        drift: state.findings.keys().any(|key| key.starts_with("drift/")),
        standing: standing(state, accepted),
    }
}

fn standing(state: &State, accepted: &Acceptances<'_>) -> Standing {
    let flow_is_accepted = |record: &FlowRecord| {
        let key = record.flow.as_ref().map(RecordedFlow::key);
        key.is_some_and(|key| accepted.flow_key(&key).is_some())
    };
    let is_accepted = |finding: &OpenFinding| {
        let key = finding.flow.as_ref().map(RecordedFlow::key);
        finding.accepted || key.is_some_and(|key| accepted.flow_key(&key).is_some())
    };
    let (silent, waiting): (Vec<_>, Vec<_>) = state.flows.values().partition(|record| flow_is_accepted(record));
    let count = |unseen: Unseen| waiting.iter().filter(|record| record.state == unseen).count();
    let open = state.findings.iter().filter(|(_, finding)| finding.error && !is_accepted(finding));
    Standing {
        open: open.map(|(key, finding)| (key.clone(), finding.since.clone())).collect(),
        pending: count(Unseen::Pending),
        waiting: count(Unseen::Waiting),
        behind_service: waiting.iter().filter(|r| is_behind(Some(r.state), Some(&r.reason))).count(),
        unprobeable: count(Unseen::Unprobeable),
        accepted: silent.len() + state.findings.values().filter(|finding| is_accepted(finding)).count(),
        ..Standing::default()
    }
}
