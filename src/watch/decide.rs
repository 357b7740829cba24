//! What to do next: statuses × state × Jobs → a Job, a wait, or nothing. Pure; times come in as ages.

use std::time::Duration;

use super::name::Key;
use crate::{
    config::{Config, WatchOn},
    model::{KustomizationRef, KustomizationStatus, NotApplied, Revision, State, Workload},
    verify::trigger::is_checked_one,
};

/// The first pause before a Job that ended without a result gets a successor; it doubles with each.
pub const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// So many Jobs at a time: one runs, one waits for its Lease and sees whatever comes until then.
const AT_ONCE: usize = 2;
/// Flux's reason while it tries.
const TRYING: &str = "Progressing";

/// What the configuration says to the watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Every revision, or only another digest.
    pub on: WatchOn,
    /// How long an apply may fail before that is told, unless no waiting can help.
    pub stuck: Duration,
    /// How long one Kustomization is waited for while another one is ready.
    pub wait: Duration,
}

impl Rules {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { on: config.watch.on, stuck: config.flux.stuck.get(), wait: config.flux.wait.get() }
    }

    /// Whether a failure is to be told, and not merely one of Flux's tries.
    #[must_use]
    pub fn fails(&self, not_applied: &NotApplied, trouble_for: Duration) -> bool {
        not_applied.final_ || trouble_for >= self.stuck
    }
}

/// One Kustomization as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What Flux says.
    pub status: KustomizationStatus,
    /// For how long it has not been applied.
    pub trouble_for: Duration,
    /// Whether that is to be told: [`Rules::fails`].
    pub fails: bool,
}

/// One Job as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSeen {
    /// Its name.
    pub name: String,
    /// How long ago it ended or vanished; `None` while it is active.
    pub ended_ago: Option<Duration>,
}

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The configured Kustomizations.
    pub kustomizations: &'a [Observed],
    /// What runs remember; the default (without an id) before the first.
    pub state: &'a State,
    /// How long ago the last run that wrote ended.
    pub last_run_ago: Duration,
    /// The CronJob's Jobs, however they were started, and those that are gone.
    pub jobs: &'a [JobSeen],
    /// Workloads for which flows wait and of which a pod is Ready now.
    pub arrived: &'a [Workload],
}

/// Where one Kustomization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What is applied is checked.
    Checked,
    /// What is applied is not.
    Waiting,
    /// It is checked, and a failure was told that is over.
    Recovered,
    /// Flux is at it; in so much time it counts as failed.
    Moving(Duration),
    /// Flux cannot apply it, which is not told yet.
    Failed,
    /// Flux cannot apply it, which is told.
    Told,
}

/// Why a Job is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A revision or digest is not checked.
    Merge,
    /// A failed apply is not told.
    NotApplied,
    /// The end of a failed apply is not told.
    Recovered,
    /// A pod that flows wait for is Ready.
    Arrived,
    /// Messages are owed.
    Owed,
}

impl Reason {
    /// In metrics and the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::NotApplied => "not-applied",
            Self::Recovered => "recovered",
            Self::Arrived => "arrived",
            Self::Owed => "owed-messages",
        }
    }
}

/// A Job to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub name: String,
    /// Its `NETPOL_VERIFY_REVISION`.
    pub expected: Vec<(KustomizationRef, Revision)>,
    /// Why.
    pub reason: Reason,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Make this Job.
    Create(Order),
    /// Look again after this time at the latest.
    Wait(Duration, Why),
    /// Until something moves there is nothing to do.
    Nothing(Why),
}

/// Why no Job is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Everything is checked and told.
    Settled,
    /// Flux is about to apply something.
    Moving,
    /// This Job is about it.
    Active(String),
    /// As many Jobs as make sense are active.
    Enough,
    /// This Job ended without a result: a successor after a pause.
    Pause(String),
}

/// Where one Kustomization stands.
#[must_use]
pub fn standing(observed: &Observed, state: &State, rules: &Rules) -> Standing {
    let status = &observed.status;
    if let Some(not_applied) = &status.not_applied {
        if !observed.fails {
            return Standing::Moving(rules.stuck.saturating_sub(observed.trouble_for));
        }
        let attempted = not_applied.attempted.as_ref().or(status.attempted.as_ref());
        let mut told = state.failed.iter().filter(|f| f.id == status.id);
        // Flux tries again and again: that it is at it once more is no news.
        let told = told.any(|f| {
            not_applied.reason == TRYING || (f.attempted.as_ref() == attempted && f.reason == not_applied.reason)
        });
        return if told { Standing::Told } else { Standing::Failed };
    }
    let is_same = rules.on == WatchOn::Digest && is_same_digest(state, status);
    if !is_same && !is_checked_one(state, status) {
        Standing::Waiting
    } else if state.failed.iter().any(|f| f.id == status.id) {
        Standing::Recovered
    } else {
        Standing::Checked
    }
}

/// Whether the digest, known on both sides, is the one that was checked last.
fn is_same_digest(state: &State, status: &KustomizationStatus) -> bool {
    let checked = state.checked.iter().flat_map(|checked| &checked.kustomizations).find(|k| k.id == status.id);
    status.digest.is_some() && checked.is_some_and(|k| k.digest == status.digest)
}

/// Decides.
#[must_use]
pub fn decide(situation: &Situation<'_>, rules: &Rules) -> Decision {
    let standings: Vec<Standing> =
        situation.kustomizations.iter().map(|one| standing(one, situation.state, rules)).collect();
    let Some(reason) = reason(&standings, situation) else { return idle(&standings) };
    if let Some(left) = movement(&standings, situation, rules) {
        return Decision::Wait(left, Why::Moving);
    }
    let key = Key::new(&situation.state.id, situation.kustomizations);
    // Before the first run there was no id: a Job of that time may still be active.
    let first = Key::new("", situation.kustomizations);
    let active = || situation.jobs.iter().filter(|job| job.ended_ago.is_none());
    if let Some(job) = active().find(|job| key.is_of(&job.name) || first.is_of(&job.name)) {
        return Decision::Nothing(Why::Active(job.name.clone()));
    }
    if active().count() >= AT_ONCE {
        return Decision::Nothing(Why::Enough);
    }
    next_turn(&key, reason, situation)
}

fn reason(standings: &[Standing], situation: &Situation<'_>) -> Option<Reason> {
    let any = |wanted: Standing| standings.contains(&wanted);
    if any(Standing::Waiting) {
        Some(Reason::Merge)
    } else if any(Standing::Failed) {
        Some(Reason::NotApplied)
    } else if any(Standing::Recovered) {
        Some(Reason::Recovered)
    } else {
        // Every run begins by sending what is owed, and looks at what waits.
        let is_idle = situation.jobs.iter().all(|job| job.ended_ago.is_some());
        let owed = (!situation.state.outbox.is_empty()).then_some(Reason::Owed);
        let arrived = (!situation.arrived.is_empty()).then_some(Reason::Arrived);
        arrived.or(owed).filter(|_| is_idle)
    }
}

/// Nothing is to be done now: until the first Kustomization that Flux is at counts as failed.
fn idle(standings: &[Standing]) -> Decision {
    let left = standings.iter().filter_map(|one| if let Standing::Moving(left) = one { Some(*left) } else { None });
    left.min().map_or(Decision::Nothing(Why::Settled), |left| Decision::Wait(left, Why::Moving))
}

/// How long another Kustomization may yet move: one merge often moves several, and one run is to see them all. The
/// run itself would wait as long.
fn movement(standings: &[Standing], situation: &Situation<'_>, rules: &Rules) -> Option<Duration> {
    let moving = standings.iter().zip(situation.kustomizations).filter(|(one, _)| matches!(one, Standing::Moving(_)));
    let left = moving.map(|(_, observed)| rules.wait.saturating_sub(observed.trouble_for));
    left.filter(|left| !left.is_zero()).min()
}

/// The first Job about something at once; after one that brought nothing a pause that grows.
fn next_turn(key: &Key, reason: Reason, situation: &Situation<'_>) -> Decision {
    let state = situation.state;
    let turns = || situation.jobs.iter().filter_map(|job| Some((job, key.turn(state.seq, &job.name)?)));
    let since = state.checked.as_ref().map_or(0, |checked| checked.seq);
    let in_vain = state.runs.iter().filter(|run| run.seq > since && run.job.as_deref().is_some_and(|j| key.is_of(j)));
    let (in_vain, ended) = (in_vain.count(), turns().count());
    // Who has just failed to send will fail again a moment later.
    let tries = (in_vain + ended).max(usize::from(reason == Reason::Owed));
    let of_run = (in_vain > 0 || reason == Reason::Owed).then_some(situation.last_run_ago);
    let last = turns().filter_map(|(job, _)| job.ended_ago).chain(of_run).min().unwrap_or(Duration::MAX);
    let left = pause(tries).saturating_sub(last);
    let newest = turns().max_by_key(|(_, turn)| *turn);
    if !left.is_zero() {
        let name = newest.map_or_else(|| key.job(state.seq, 0), |(job, _)| job.name.clone());
        return Decision::Wait(left, Why::Pause(name));
    }
    let name = key.job(state.seq, newest.map_or(0, |(_, turn)| turn.saturating_add(1)));
    Decision::Create(Order { name, expected: expected(situation.kustomizations), reason })
}

/// The pause after so many tries that brought nothing.
fn pause(tries: usize) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    let grown = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings));
    if tries == 0 { Duration::ZERO } else { grown.min(LONGEST_PAUSE) }
}

/// What a run is told: the revision that was applied, or that could not be.
fn expected(kustomizations: &[Observed]) -> Vec<(KustomizationRef, Revision)> {
    let revision = |observed: &Observed| {
        let status = &observed.status;
        let failed = status.not_applied.as_ref().filter(|_| observed.fails);
        let attempted = failed.and_then(|f| f.attempted.as_ref().or(status.attempted.as_ref()));
        // A branch's name may hold a comma, which the list cannot: the run sees by itself what is applied.
        attempted.or(status.applied.as_ref()).filter(|revision| !revision.0.contains([',', ' '])).cloned()
    };
    let mut expected: Vec<_> =
        kustomizations.iter().filter_map(|one| Some((one.status.id.clone(), revision(one)?))).collect();
    expected.sort();
    expected
}

#[cfg(test)]
pub(super) mod tests;
