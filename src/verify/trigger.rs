//! Why a run runs, and whether it has to (design §3.1).

use std::time::Duration;

use super::seams::OwnJob;
use crate::model::{KustomizationStatus, RunRecord, State, Trigger, Verdict};

/// Whether every Kustomization's (revision, digest) is the one that was checked last.
#[must_use]
pub fn is_checked(state: &State, statuses: &[KustomizationStatus]) -> bool {
    state.checked.is_some() && statuses.iter().all(|status| is_checked_one(state, status))
}

/// Whether this Kustomization's (revision, digest) is the one that was checked last.
#[must_use]
pub fn is_checked_one(state: &State, status: &KustomizationStatus) -> bool {
    let mut checked = state.checked.iter().flat_map(|checked| &checked.kustomizations);
    status.not_applied.is_none()
        && checked
            .any(|k| k.id == status.id && Some(&k.revision) == status.applied.as_ref() && k.digest == status.digest)
}

/// Whether an apply that was told to fail works now.
fn is_recovered(state: &State, statuses: &[KustomizationStatus]) -> bool {
    state.failed.iter().any(|f| statuses.iter().any(|s| s.id == f.id && s.not_applied.is_none()))
}

/// Why this run runs.
#[must_use]
pub fn trigger(state: &State, statuses: &[KustomizationStatus], job: &OwnJob) -> Trigger {
    if !is_checked(state, statuses) {
        return Trigger::Merge;
    }
    if let Some(trigger) = job.trigger {
        return trigger;
    }
    match (job.expected.is_empty(), job.scheduled) {
        // The watcher named a revision: it is about that merge, even where another run was faster.
        (false, _) => Trigger::Merge,
        (true, true) => Trigger::Schedule,
        (true, false) => Trigger::Manual,
    }
}

/// The verdict of a merge run that has nothing left to do: its revision is checked, no retry was left open, and no
/// failed apply is over that people were told of.
#[must_use]
pub fn already_told(state: &State, statuses: &[KustomizationStatus], trigger: Trigger) -> Option<Verdict> {
    let verdict = state.checked.as_ref()?.verdict;
    let settled = matches!(verdict, Verdict::Verified | Verdict::Finding | Verdict::Nothing);
    let done = settled && is_checked(state, statuses) && !is_recovered(state, statuses);
    (trigger == Trigger::Merge && done).then_some(verdict)
}

/// Whether a scheduled run looks at everything: `schedule.fullEvery` after the last that did.
#[must_use]
pub fn sweep_is_due(state: &State, now: &str, trigger: Trigger, every: Duration) -> bool {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let (Some(last), Some(now)) = (state.last_full.as_deref().and_then(parse), parse(now)) else { return false };
    let since = now.duration_since(last);
    trigger == Trigger::Schedule && Duration::try_from(since).is_ok_and(|since| since >= every)
}

/// The exit code that a Job tries again after (design §2).
const NOT_TOLD: u8 = 3;

/// The run that began after this run's Job was created: it saw everything that this one was made for.
#[must_use]
pub fn done_meanwhile<'s>(state: &'s State, job: &OwnJob) -> Option<&'s RunRecord> {
    let created: jiff::Timestamp = job.created.as_ref()?.parse().ok()?;
    let later = |run: &&RunRecord| run.started.parse::<jiff::Timestamp>().is_ok_and(|started| started > created);
    // A pod of the same Job that could not tell is what this one was started for: to try again.
    let retried = |run: &RunRecord| run.job.is_some() && run.job == job.name && run.exit == NOT_TOLD;
    state.runs.iter().find(later).filter(|run| !retried(run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Checked, CheckedKustomization, KustomizationRef, Revision};

    fn status(revision: &str, digest: &str) -> KustomizationStatus {
        KustomizationStatus {
            id: KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() },
            attempted: Some(Revision(revision.to_owned())),
            applied: Some(Revision(revision.to_owned())),
            digest: Some(digest.to_owned()),
            inventory: Vec::new(),
            suspended: false,
            not_applied: None,
        }
    }

    fn state(revision: &str, digest: &str, verdict: Verdict) -> State {
        let of = status(revision, digest);
        let kustomization = CheckedKustomization {
            id: of.id,
            revision: Revision(revision.to_owned()),
            digest: of.digest,
            policies: Vec::new(),
        };
        let checked = Checked {
            seq: 1,
            kustomizations: vec![kustomization],
            others: Vec::new(),
            namespaces: std::collections::BTreeMap::new(),
            classes: Vec::new(),
            accounts: std::collections::BTreeMap::new(),
            calico: None,
            verdict,
            finished: "2026-11-20T09:00:00Z".to_owned(),
        };
        State { checked: Some(checked), ..State::default() }
    }

    #[test]
    fn an_unchecked_revision_or_digest_is_a_merge_however_the_run_was_started() {
        let known = state("main@sha1:a", "sha256:1", Verdict::Verified);
        let scheduled = OwnJob { scheduled: true, ..OwnJob::default() };
        for (revision, digest) in [("main@sha1:b", "sha256:1"), ("main@sha1:a", "sha256:2")] {
            assert_eq!(trigger(&known, &[status(revision, digest)], &scheduled), Trigger::Merge);
        }
        let same = [status("main@sha1:a", "sha256:1")];
        assert_eq!(trigger(&known, &same, &scheduled), Trigger::Schedule);
        assert_eq!(trigger(&known, &same, &OwnJob::default()), Trigger::Manual);
        assert_eq!(trigger(&State::default(), &same, &scheduled), Trigger::Merge);
    }

    #[test]
    fn a_checked_merge_is_not_run_again_unless_something_was_left_to_retry() {
        let same = [status("main@sha1:a", "sha256:1")];
        for (verdict, expected) in [
            (Verdict::Verified, Some(Verdict::Verified)),
            (Verdict::Finding, Some(Verdict::Finding)),
            (Verdict::Nothing, Some(Verdict::Nothing)),
            (Verdict::Inconclusive, None),
        ] {
            let known = state("main@sha1:a", "sha256:1", verdict);
            assert_eq!(already_told(&known, &same, Trigger::Merge), expected, "{verdict:?}");
            assert_eq!(already_told(&known, &same, Trigger::Manual), None, "a person's run always looks");
            assert_eq!(already_told(&known, &[status("main@sha1:b", "sha256:1")], Trigger::Merge), None);
        }
    }

    #[test]
    fn the_end_of_a_failed_apply_is_told_though_the_revision_is_checked() {
        let same = [status("main@sha1:a", "sha256:1")];
        let mut known = state("main@sha1:a", "sha256:1", Verdict::Verified);
        let failed = |name: &str| crate::model::FailedApply {
            id: KustomizationRef { namespace: "flux-system".to_owned(), name: name.to_owned() },
            attempted: Some(Revision("main@sha1:b".to_owned())),
            reason: "ReconciliationFailed".to_owned(),
            event: None,
        };
        known.failed = vec![failed("another")];
        assert_eq!(already_told(&known, &same, Trigger::Merge), Some(Verdict::Verified));
        known.failed = vec![failed("network-policies")];
        assert_eq!(already_told(&known, &same, Trigger::Merge), None);
    }

    #[test]
    fn a_run_that_began_after_the_job_was_created_answers_for_it() {
        let run = RunRecord {
            seq: 3,
            job: None,
            started: "2026-11-20T09:00:05Z".to_owned(),
            finished: "2026-11-20T09:00:09Z".to_owned(),
            verdict: Verdict::Verified,
            exit: 0,
        };
        let state = State { runs: vec![run], ..State::default() };
        let job = |created: &str| OwnJob { created: Some(created.to_owned()), ..OwnJob::default() };
        assert_eq!(done_meanwhile(&state, &job("2026-11-20T09:00:04Z")).map(|r| r.seq), Some(3));
        assert_eq!(done_meanwhile(&state, &job("2026-11-20T09:00:05Z")), None, "the same second proves nothing");
        assert_eq!(done_meanwhile(&state, &job("2026-11-20T09:00:06Z")), None);
        assert_eq!(done_meanwhile(&state, &OwnJob::default()), None);
    }

    #[test]
    fn a_second_pod_of_a_job_that_could_not_tell_tries_again() {
        let run = |verdict: Verdict, exit| RunRecord {
            seq: 3,
            job: Some("merge-1".to_owned()),
            started: "2026-11-20T09:00:05Z".to_owned(),
            finished: "2026-11-20T09:00:09Z".to_owned(),
            verdict,
            exit,
        };
        let answered = |run: RunRecord, job: &str| {
            let created = Some("2026-11-20T09:00:00Z".to_owned());
            let own = OwnJob { name: Some(job.to_owned()), created, ..OwnJob::default() };
            done_meanwhile(&State { runs: vec![run], ..State::default() }, &own).is_some()
        };
        assert!(!answered(run(Verdict::Inconclusive, 3), "merge-1"));
        assert!(answered(run(Verdict::Verified, 0), "merge-1"), "killed after it had answered");
        assert!(answered(run(Verdict::Inconclusive, 3), "merge-2"), "another Job that waited for the Lease");
    }
}
