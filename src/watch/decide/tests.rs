use super::*;
use crate::model::{Checked, CheckedKustomization, FailedApply, OutboxEntry, OutboxKind, RunRecord, Verdict};

pub const SECOND: Duration = Duration::from_secs(1);

pub const RULES: Rules =
    Rules { on: WatchOn::Revision, stuck: Duration::from_secs(900), wait: Duration::from_secs(300) };

pub fn id(name: &str) -> KustomizationRef {
    KustomizationRef { namespace: "flux-system".to_owned(), name: name.to_owned() }
}

pub fn ready(name: &str, revision: &str, digest: &str) -> Observed {
    let status = KustomizationStatus {
        id: id(name),
        attempted: Some(Revision(revision.to_owned())),
        applied: Some(Revision(revision.to_owned())),
        digest: Some(digest.to_owned()),
        inventory: Vec::new(),
        suspended: false,
        not_applied: None,
    };
    Observed { status, trouble_for: Duration::ZERO, fails: false }
}

/// `r0` is applied, and `attempted` cannot be, for so long.
pub fn troubled(name: &str, attempted: &str, reason: &str, trouble_for: Duration) -> Observed {
    let mut observed = ready(name, "r0", "d0");
    observed.status.attempted = Some(Revision(attempted.to_owned()));
    let not_applied = NotApplied {
        attempted: Some(Revision(attempted.to_owned())),
        reason: reason.to_owned(),
        message: String::new(),
        final_: reason == "BuildFailed",
        since: None,
    };
    observed.fails = RULES.fails(&not_applied, trouble_for);
    observed.status.not_applied = Some(not_applied);
    Observed { trouble_for, ..observed }
}

pub fn failing(name: &str, attempted: &str, reason: &str) -> Observed {
    troubled(name, attempted, reason, RULES.stuck)
}

/// The state after run 7, which checked this.
pub fn checked(name: &str, revision: &str, digest: &str) -> State {
    let kustomization = CheckedKustomization {
        id: id(name),
        revision: Revision(revision.to_owned()),
        digest: Some(digest.to_owned()),
        policies: Vec::new(),
    };
    let checked = Checked {
        seq: 7,
        kustomizations: vec![kustomization],
        others: Vec::new(),
        namespaces: std::collections::BTreeMap::new(),
        classes: Vec::new(),
        accounts: std::collections::BTreeMap::new(),
        calico: None,
        verdict: Verdict::Verified,
        finished: "2026-11-20T09:00:00Z".to_owned(),
    };
    State { id: "id".to_owned(), seq: 7, checked: Some(checked), ..State::default() }
}

fn told(state: State, attempted: &str, reason: &str) -> State {
    let failed = FailedApply {
        id: id("a"),
        attempted: Some(Revision(attempted.to_owned())),
        reason: reason.to_owned(),
        event: None,
    };
    State { failed: vec![failed], ..state }
}

fn owing(state: State) -> State {
    let entry = OutboxEntry {
        txn: "t".to_owned(),
        seq: 7,
        part: 0,
        kind: OutboxKind::Root,
        content: serde_json::Value::Null,
        root_txn: None,
        root_event: None,
        findings: Vec::new(),
        at: String::new(),
        tried: None,
    };
    State { outbox: vec![entry], ..state }
}

pub fn run_record(seq: u64, job: &str, verdict: Verdict) -> RunRecord {
    let job = Some(job.to_owned());
    RunRecord { seq, job, started: String::new(), finished: String::new(), verdict, exit: 3 }
}

fn active(name: &str) -> JobSeen {
    JobSeen { name: name.to_owned(), ended_ago: None }
}

fn ended(name: &str, seconds: u64) -> JobSeen {
    JobSeen { name: name.to_owned(), ended_ago: Some(SECOND * u32::try_from(seconds).unwrap()) }
}

fn decided(kustomizations: &[Observed], state: &State, jobs: &[JobSeen], rules: &Rules) -> Decision {
    decide(&Situation { kustomizations, state, last_run_ago: SECOND * 5, jobs, arrived: &[] }, rules)
}

/// What would be made, by reason and name; or why nothing is.
fn words(decision: &Decision) -> String {
    match decision {
        Decision::Create(order) => format!("{} {}", order.reason.word(), order.name),
        Decision::Wait(left, why) => format!("wait {} s: {why:?}", left.as_secs()),
        Decision::Nothing(why) => format!("{why:?}"),
    }
}

fn name(kustomizations: &[Observed], state: &State, turn: u32) -> String {
    Key::new(&state.id, kustomizations).job(state.seq, turn)
}

#[test]
fn each_situation_has_its_job_or_its_reason_for_none() {
    let old = checked("a", "r0", "d0");
    let both = |second: Observed| vec![ready("a", "r1", "d1"), second];
    let both_old = || {
        let mut state = old.clone();
        let more = checked("b", "r0", "d0").checked.unwrap().kustomizations;
        state.checked.as_mut().unwrap().kustomizations.extend(more);
        state
    };
    // What, Kustomizations, state, and what is decided.
    let table: Vec<(&str, Vec<Observed>, State, &str)> = vec![
        ("nothing was checked yet", vec![ready("a", "r0", "d0")], State::default(), "merge"),
        ("it is checked", vec![ready("a", "r0", "d0")], old.clone(), "Settled"),
        ("another revision", vec![ready("a", "r1", "d0")], old.clone(), "merge"),
        ("another digest of the same revision", vec![ready("a", "r0", "d1")], old.clone(), "merge"),
        ("Flux is at it", vec![troubled("a", "r1", "Progressing", SECOND)], old.clone(), "wait 899 s: Moving"),
        ("no waiting can help", vec![troubled("a", "r1", "BuildFailed", SECOND)], old.clone(), "not-applied"),
        ("stuck", vec![failing("a", "r1", "ReconciliationFailed")], old.clone(), "not-applied"),
        ("suspended for long", vec![failing("a", "r1", "Suspended")], old.clone(), "not-applied"),
        ("told", vec![failing("a", "r1", "BuildFailed")], told(old.clone(), "r1", "BuildFailed"), "Settled"),
        ("told, and tried again", vec![failing("a", "r1", "Progressing")], told(old.clone(), "r1", "X"), "Settled"),
        ("another reason", vec![failing("a", "r1", "X")], told(old.clone(), "r1", "BuildFailed"), "not-applied"),
        ("the next one fails too", vec![failing("a", "r2", "X")], told(old.clone(), "r1", "X"), "not-applied"),
        ("it works again", vec![ready("a", "r0", "d0")], told(old.clone(), "r1", "X"), "recovered"),
        ("the next one works", vec![ready("a", "r2", "d2")], told(old.clone(), "r1", "X"), "merge"),
        ("one is ready, the other moves", both(troubled("b", "r1", "Lag", SECOND)), both_old(), "wait 299 s: Moving"),
        ("the other moves for too long", both(troubled("b", "r1", "Lag", RULES.wait)), both_old(), "merge"),
        ("one is ready, the other fails", both(failing("b", "r1", "X")), both_old(), "merge"),
        ("a second Kustomization is new", both(ready("b", "r1", "d1")), old.clone(), "merge"),
        ("messages are owed", vec![ready("a", "r0", "d0")], owing(old.clone()), "wait 5 s"),
    ];
    for (what, kustomizations, state, expected) in table {
        let decision = words(&decided(&kustomizations, &state, &[], &RULES));
        let expected = match expected {
            reason @ ("merge" | "not-applied" | "recovered") => {
                format!("{reason} {}", name(&kustomizations, &state, 0))
            }
            other => other.to_owned(),
        };
        assert!(decision.starts_with(&expected), "{what}: {decision} instead of {expected}");
    }
}

#[test]
fn only_another_digest_counts_where_that_is_configured() {
    let rules = Rules { on: WatchOn::Digest, ..RULES };
    let state = checked("a", "r0", "d0");
    assert_eq!(words(&decided(&[ready("a", "r1", "d0")], &state, &[], &rules)), "Settled");
    assert!(words(&decided(&[ready("a", "r1", "d1")], &state, &[], &rules)).starts_with("merge"));
    // Flux before 2.7 gives none: then nobody knows, and every revision counts.
    let mut unknown = ready("a", "r1", "d0");
    unknown.status.digest = None;
    let mut without = state.clone();
    without.checked.as_mut().unwrap().kustomizations[0].digest = None;
    assert!(words(&decided(&[unknown.clone()], &state, &[], &rules)).starts_with("merge"));
    assert!(words(&decided(&[unknown], &without, &[], &rules)).starts_with("merge"));
}

#[test]
fn a_job_that_is_active_is_waited_for_and_a_newer_revision_gets_its_own_at_once() {
    let state = checked("a", "r0", "d0");
    let (first, second, third) = ([ready("a", "r1", "d1")], [ready("a", "r2", "d2")], [ready("a", "r3", "d3")]);
    let (one, two) = (name(&first, &state, 0), name(&second, &state, 0));
    assert_eq!(words(&decided(&first, &state, &[active(&one)], &RULES)), format!("Active({one:?})"));
    assert_eq!(words(&decided(&second, &state, &[active(&one)], &RULES)), format!("merge {two}"));
    assert_eq!(words(&decided(&third, &state, &[active(&one), active(&two)], &RULES)), "Enough");
    let third_job = name(&third, &state, 0);
    assert_eq!(words(&decided(&third, &state, &[ended(&one, 0), active(&two)], &RULES)), format!("merge {third_job}"));
    // A scheduled run wrote meanwhile: the Job keeps its name, and is still the one for this revision.
    let later = State { seq: 8, ..state };
    assert_eq!(words(&decided(&first, &later, &[active(&one)], &RULES)), format!("Active({one:?})"));
}

#[test]
fn a_job_that_brought_nothing_gets_successors_after_growing_pauses() {
    let state = checked("a", "r0", "d0");
    let now = [ready("a", "r1", "d1")];
    let turn = |n: u32| name(&now, &state, n);
    let mut jobs = vec![ended(&turn(0), 9)];
    assert_eq!(words(&decided(&now, &state, &jobs, &RULES)), format!("wait 1 s: Pause({:?})", turn(0)));
    jobs[0] = ended(&turn(0), 10);
    assert_eq!(words(&decided(&now, &state, &jobs, &RULES)), format!("merge {}", turn(1)));
    jobs.push(ended(&turn(1), 3));
    assert_eq!(words(&decided(&now, &state, &jobs, &RULES)), format!("wait 17 s: Pause({:?})", turn(1)));
    jobs.extend((2..40).map(|n| ended(&turn(n), 1)));
    assert_eq!(words(&decided(&now, &state, &jobs, &RULES)), format!("wait 599 s: Pause({:?})", turn(39)));
    // The control: Jobs about something else, or of an earlier time, are no reason to wait.
    let others = [ended(&Key::new("id", &now).job(6, 0), 1), ended("netpol-verify-29384712", 1), ended("by-hand", 1)];
    assert_eq!(words(&decided(&now, &state, &others, &RULES)), format!("merge {}", turn(0)));
}

#[test]
fn runs_that_could_not_check_are_tries_too_and_a_return_to_an_older_revision_is_not() {
    let now = [ready("a", "r1", "d1")];
    let key = Key::new("id", &now);
    let mut state = checked("a", "r0", "d0");
    state.seq = 9;
    state.runs = vec![
        run_record(9, &key.job(8, 0), Verdict::Inconclusive),
        run_record(8, &key.job(7, 0), Verdict::Inconclusive),
    ];
    assert_eq!(words(&decided(&now, &state, &[], &RULES)), format!("wait 15 s: Pause({:?})", key.job(9, 0)));
    // r1 was checked as run 6, r0 as run 7: now r1 again.
    state.runs = vec![run_record(7, "x", Verdict::Verified), run_record(6, &key.job(5, 0), Verdict::Verified)];
    state.seq = 7;
    assert_eq!(words(&decided(&now, &state, &[ended(&key.job(5, 0), 1)], &RULES)), format!("merge {}", key.job(7, 0)));
}

#[test]
fn owed_messages_start_a_job_only_where_none_is_active() {
    let state = owing(checked("a", "r0", "d0"));
    let now = [ready("a", "r0", "d0")];
    let late = |jobs: &[JobSeen]| {
        let last_run_ago = SECOND * 11;
        words(&decide(&Situation { kustomizations: &now, state: &state, last_run_ago, jobs, arrived: &[] }, &RULES))
    };
    assert_eq!(late(&[]), format!("owed-messages {}", name(&now, &state, 0)));
    assert_eq!(late(&[active("by-hand")]), "Settled");
    assert_eq!(late(&[ended("by-hand", 1)]), format!("owed-messages {}", name(&now, &state, 0)));
}

#[test]
fn a_pod_that_flows_wait_for_starts_a_job_after_everything_else_and_beside_none() {
    let arrived = [Workload { kind: "CronJob".to_owned(), namespace: "shop".to_owned(), name: "report".to_owned() }];
    let said = |kustomizations: &[Observed], state: &State, jobs: &[JobSeen]| {
        words(&decide(&Situation { kustomizations, state, last_run_ago: SECOND, jobs, arrived: &arrived }, &RULES))
    };
    let (same, state) = ([ready("a", "r0", "d0")], checked("a", "r0", "d0"));
    assert_eq!(said(&same, &state, &[]), format!("arrived {}", name(&same, &state, 0)));
    assert_eq!(said(&same, &owing(state.clone()), &[]), format!("arrived {}", name(&same, &state, 0)), "it sends, too");
    assert_eq!(said(&same, &state, &[active("by-hand")]), "Settled", "a run looks at what waits");
    let merged = [ready("a", "r1", "d1")];
    assert_eq!(said(&merged, &state, &[]), format!("merge {}", name(&merged, &state, 0)));
}

#[test]
fn a_run_is_told_what_is_applied_or_could_not_be() {
    let mut comma = ready("c", "feat,x@sha1:1", "d");
    comma.status.attempted = None;
    let now = [ready("b", "r1", "d1"), comma, failing("a", "r2", "X")];
    let Decision::Create(order) = decided(&now, &State::default(), &[], &RULES) else { panic!("nothing is made") };
    let expected = [(id("a"), Revision("r2".to_owned())), (id("b"), Revision("r1".to_owned()))];
    assert_eq!(order.expected, expected, "sorted; a comma cannot stand in the list");
}

mod random;
