//! One run, from the lock to the exit code (design §3).

mod ask;
mod blind;
mod draft;
mod follow;
mod gather;
mod see;

use std::{
    num::NonZeroUsize,
    pin::pin,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use futures::future::{Either, select};

use super::{
    applied,
    compare::Comparison,
    conclude::Conclusion,
    deliver,
    names::Book,
    remember,
    seams::{Clock, Cluster, Fault, Lock, Outside, OwnJob, Prober, Store},
    tell, trigger, weekly,
};
use crate::{
    config::{Config, NamespaceSet},
    engine::accept::Acceptances,
    model::{Declared, FlowReport, KustomizationRef, KustomizationStatus, Report, State, Trigger, Verdict},
};
use ask::Sight;
use draft::{changed_revision, note_troubles};
pub use follow::{applied_now, has_moved_on, next};

/// A run starts over at most so often when Git, policies or pods move under it.
const ATTEMPTS: usize = 3;

/// Its work is another run's now, which would find its writes in the way.
const LOST: &str = "the Lease was lost during the run: nothing was written since, another run will look again";

/// What a run is given.
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// Its namespaces.
    pub namespaces: NamespaceSet,
    /// What the own Job says.
    pub job: OwnJob,
    /// Whether to look at everything that Git declares, whatever changed.
    pub sweep: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its report; `None` where another run had answered already.
    pub report: Option<Report>,
    /// The process exit code.
    pub exit: u8,
    /// A sentence for the log.
    pub note: String,
}

/// Runs once.
///
/// # Errors
/// The lock or the state cannot be had: nothing was checked and nothing was written.
pub async fn run<O: Outside>(outside: &O, settings: &Settings) -> Result<Ended, Fault> {
    outside.lock().acquire(settings.config.probe.deadline.get() + settings.config.flux.wait.get()).await?;
    let ended = {
        let work = Box::pin(locked(outside, settings));
        match select(work, pin!(outside.lock().lost())).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => Err(LOST.into()),
        }
    };
    outside.lock().release().await;
    ended
}

async fn locked<O: Outside>(outside: &O, settings: &Settings) -> Result<Ended, Fault> {
    let mut state = outside.store().load().await?;
    // What earlier runs owe goes first, whatever this run is about.
    let owed = deliver::deliver(outside, &mut state).await?;
    // Who asked for a sweep is not answered by a run that was none.
    if let Some(done) = trigger::done_meanwhile(&state, &settings.job).filter(|_| !settings.sweep) {
        let (verdict, note) = (done.verdict, format!("run {} answered meanwhile: {}", done.seq, done.verdict.word()));
        return quick(outside, settings, state, verdict, note).await;
    }
    let started = outside.clock().now();
    let statuses = applied::settled(outside, &settings.config).await?;
    let why = trigger::trigger(&state, &statuses, &settings.job);
    if let Some(verdict) = trigger::already_told(&state, &statuses, why).filter(|_| !settings.sweep) {
        return quick(outside, settings, state, verdict, format!("already checked: {}", verdict.word())).await;
    }
    let sweep =
        settings.sweep || trigger::sweep_is_due(&state, &started, why, settings.config.schedule.full_every.get());
    tracing::info!(trigger = ?why, sweep, sent = owed.sent, "run began");
    let run =
        Run { outside, settings, started, trigger: why, sweep, probing: AtomicU64::new(0), added: AtomicUsize::new(0) };
    run.verify(state, statuses).await
}

/// Ends a run that has nothing to look at; the weekly line is sent all the same.
async fn quick<O: Outside>(
    outside: &O,
    settings: &Settings,
    mut state: State,
    verdict: Verdict,
    note: String,
) -> Result<Ended, Fault> {
    let now = outside.clock().now();
    if weekly::is_due(&settings.config, &state, &now) {
        weekly::after_run(&settings.config, &acceptances(&settings.config, &now), &mut state, false, &now);
        send(outside, &mut state).await?;
    }
    Ok(Ended { report: None, exit: with_outbox(verdict, &state), note })
}

/// State with the messages first, then the room.
async fn send<O: Outside>(outside: &O, state: &mut State) -> Result<deliver::Delivered, Fault> {
    if !outside.lock().is_held() {
        return Err(LOST.into());
    }
    deliver::mark_tried(outside, state);
    outside.store().save(state).await?;
    deliver::deliver(outside, state).await
}

/// What is accepted on the day of this moment.
fn acceptances<'a>(config: &'a Config, at: &str) -> Acceptances<'a> {
    let today = at.parse::<jiff::Timestamp>().unwrap_or_default();
    Acceptances::new(&config.accept, today.to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// A message that is still owed makes any verdict but `nothing` exit 3 (design §2).
fn with_outbox(verdict: Verdict, state: &State) -> u8 {
    if state.outbox.is_empty() || verdict == Verdict::Nothing {
        verdict.exit_code()
    } else {
        Verdict::Inconclusive.exit_code()
    }
}

struct Run<'a, O: Outside> {
    outside: &'a O,
    settings: &'a Settings,
    started: String,
    trigger: Trigger,
    /// Whether everything is looked at, not only what changed.
    sweep: bool,
    /// Milliseconds that all probing of this run has taken so far: its looks share one deadline.
    probing: AtomicU64,
    /// Ephemeral containers that the Job's other pods have added.
    added: AtomicUsize,
}

/// What one attempt yields.
struct Attempt {
    report: Report,
    declared: Vec<Declared>,
    comparison: Option<Comparison>,
    /// Whether every applied Kustomization was looked at as it is: what could not be had is not checked.
    whole: bool,
}

impl<O: Outside> Run<'_, O> {
    async fn verify(&self, state: State, mut statuses: Vec<KustomizationStatus>) -> Result<Ended, Fault> {
        for attempt in 1..=ATTEMPTS {
            let done = self.attempt(&state, &statuses).await?;
            let after = applied::now(self.outside, &self.settings.config).await?;
            if !applied::moved(&statuses, &after) {
                let whole = done.whole;
                return self.finish(&state, &statuses, done, whole).await;
            }
            tracing::info!(attempt, "a newer revision was applied meanwhile");
            if attempt == ATTEMPTS {
                let mut done = done;
                done.report.verdict = Verdict::Inconclusive;
                return self.finish(&state, &statuses, done, false).await;
            }
            statuses = applied::settled(self.outside, &self.settings.config).await?;
        }
        Err("no attempt was made".into())
    }

    async fn attempt(&self, state: &State, statuses: &[KustomizationStatus]) -> Result<Attempt, Fault> {
        if statuses.iter().all(|s| s.not_applied.is_some()) {
            let mut report = self.report(state, statuses, &[]);
            report.verdict = Verdict::NotApplied;
            self.conclude(state, None, &mut report);
            return Ok(Attempt { report, declared: Vec::new(), comparison: None, whole: false });
        }
        let mut troubles = Vec::new();
        let declared = self.declared(state, statuses, &mut troubles).await;
        if declared.is_empty() {
            let mut report = self.report(state, statuses, &declared);
            report.verdict = Verdict::Inconclusive;
            note_troubles(&mut report, &troubles, statuses);
            self.conclude(state, None, &mut report);
            return Ok(Attempt { report, declared, comparison: None, whole: false });
        }
        self.look(state, statuses, declared, troubles).await
    }

    /// Compares, probes, and looks again where pods or policies changed meanwhile.
    async fn look(
        &self,
        state: &State,
        statuses: &[KustomizationStatus],
        declared: Vec<Declared>,
        troubles: Vec<(KustomizationRef, String)>,
    ) -> Result<Attempt, Fault> {
        let inventories = self.inventories().await;
        let mut book = Book::open(self.outside, &self.settings.config).await;
        let mut lost: Vec<FlowReport> = Vec::new();
        for round in 1.. {
            let snapshot = self.outside.cluster().snapshot().await?;
            let sight = Sight { state, declared: &declared, snapshot: &snapshot, inventories: inventories.as_ref() };
            let (mut comparison, hosts) = self.compared(&sight, &mut book).await;
            let material = self.material(state, &declared, &snapshot, inventories.as_ref(), &hosts);
            let seen = self.see(&material, &comparison, &book).await?;
            if seen.changed && round < ATTEMPTS {
                tracing::info!(round, "pods or policies changed during the probes");
                lost.extend(seen.flows.into_iter().filter(see::is_lost));
                continue;
            }
            let mut report = self.report(state, statuses, &declared);
            report.drift.clone_from(&comparison.drift);
            report.findings.clone_from(&comparison.findings);
            let named = self.named(&material, &comparison, &book).await;
            comparison.names = named.records;
            report.findings.extend(named.findings);
            report.flows = see::with_lost(seen.flows, &lost);
            report.converged_ms = report.flows.iter().filter_map(|flow| flow.converged_ms).max();
            report.denial = seen.denial;
            report.sweep = seen.sweep;
            report.ephemeral_containers =
                NonZeroUsize::new(self.outside.prober().added() + self.added.load(Ordering::Relaxed));
            report.findings.extend(seen.unread);
            let all_named = gather::note_unresolved(&mut report, &book.unresolved());
            if statuses.iter().any(|s| s.not_applied.is_some()) {
                report.verdict = Verdict::NotApplied;
            }
            note_troubles(&mut report, &troubles, statuses);
            self.conclude(state, Some(&comparison), &mut report);
            let whole = troubles.is_empty() && all_named;
            return Ok(Attempt { report, declared, comparison: Some(comparison), whole });
        }
        Err("no look was taken".into())
    }

    fn acceptances(&self) -> Acceptances<'_> {
        acceptances(&self.settings.config, &self.started)
    }

    fn conclude(&self, state: &State, comparison: Option<&Comparison>, report: &mut Report) {
        report.finished = self.outside.clock().now();
        let conclusion = Conclusion {
            state,
            comparison,
            accepted: self.acceptances(),
            revision: changed_revision(state, report),
            now: &report.finished.clone(),
        };
        conclusion.conclude(report);
    }

    /// Remembers the run and tells it.
    async fn finish(
        &self,
        before: &State,
        statuses: &[KustomizationStatus],
        done: Attempt,
        counts: bool,
    ) -> Result<Ended, Fault> {
        let report = done.report;
        let ended = remember::Ended {
            report: &report,
            statuses,
            declared: &done.declared,
            comparison: done.comparison.as_ref(),
            config: &self.settings.config,
            job: self.settings.job.name.clone(),
            revision: changed_revision(before, &report),
            counts,
        };
        let mut next = remember::remember(before, &ended);
        let new_revision = !trigger::is_checked(before, statuses) && report.verdict != Verdict::NotApplied;
        let telling = tell::Telling {
            config: &self.settings.config,
            before,
            report: &report,
            statuses,
            // What could not be looked at is told with its reason, which is new only once.
            new_revision: new_revision && done.whole,
        };
        let told = telling.tell(&mut next);
        weekly::after_run(&self.settings.config, &self.acceptances(), &mut next, told, &report.finished);
        let delivered = send(self.outside, &mut next).await?;
        let exit = with_outbox(report.verdict, &next);
        let note = delivered.trouble.unwrap_or_else(|| report.verdict.word().to_owned());
        self.event(&report).await;
        Ok(Ended { report: Some(report), exit, note })
    }

    /// For people who look at the Job: the run does not depend on it.
    async fn event(&self, report: &Report) {
        let event = format!("run {}: {}", report.seq, report.verdict.word());
        if let Err(fault) = self.outside.cluster().event("Verified", &event, report.verdict != Verdict::Verified).await
        {
            tracing::warn!(error = %fault, "event not written");
        }
    }
}
