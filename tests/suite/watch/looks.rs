//! Look by look.

use std::time::Duration;

use netpol_verify::{
    cluster::own_job,
    engine::plan::runs_no_pod,
    model::{
        ClassRecord, Decision as NetDecision, Endpoint, FlowRecord, Labels, Protocol, RecordedFlow, State, Trigger,
        Unseen, Verdict, Workload,
    },
    watch::Look,
};
use serde_json::json;

use crate::watch::{
    api::Fault,
    world::{JOBS, NAMESPACE, World, config, created, idle, told},
};

const SECOND: Duration = Duration::from_secs(1);

fn settled() -> (Option<u64>, String) {
    (None, "Settled".to_owned())
}

#[tokio::test]
async fn a_merge_leads_to_one_job_that_the_run_understands() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let first = created(watcher.look().await.unwrap());
    assert_eq!(idle(&watcher.look().await.unwrap()), (None, format!("Active({first:?})")));
    let job = world.api.get(JOBS, NAMESPACE, &first).unwrap();
    assert_eq!(job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"], "manual");
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], "u1");
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let value = |name: &str| {
        let found = env.as_array().unwrap().iter().find(|variable| variable["name"] == name);
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    let (expected, trigger) = (value("NETPOL_VERIFY_REVISION"), value("NETPOL_VERIFY_TRIGGER"));
    let own = own_job(&world.api.client(), NAMESPACE, Some(&first), Some(&expected), Some(&trigger)).await.unwrap();
    assert_eq!((own.trigger, own.scheduled), (Some(Trigger::Merge), false));
    assert_eq!(own.expected[0].1.0, "r0");

    world.check(&first, 1, "r0", "d0");
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
    world.apply("r1", "d0");
    let second = created(watcher.look().await.unwrap());
    world.check(&second, 2, "r1", "d0");
    // Back to where it was before: that is another merge.
    world.apply("r0", "d0");
    let third = created(watcher.look().await.unwrap());
    assert!(third != first && third.ends_with("-2"), "{first} {third}");
    assert_eq!(world.jobs().len(), 3);
    assert_eq!(world.board.now().created.values().sum::<u64>(), 3);
}

#[tokio::test]
async fn two_replicas_and_a_restart_make_no_second_job() {
    let world = World::new().await;
    let (mut one, mut two) = (world.watcher(), world.watcher());
    for n in 0..5_u64 {
        let (a, b) = tokio::join!(one.look(), two.look());
        let looks = [a.unwrap(), b.unwrap()];
        let made = looks.iter().filter(|look| matches!(look, Look::Created(_))).count();
        assert_eq!(made, 1, "{looks:?}");
        // A third one begins, and finds it all as it is.
        let name = world.jobs().into_iter().find(|name| name.ends_with(&format!("-{n}"))).unwrap();
        assert_eq!(idle(&world.watcher().look().await.unwrap()), (None, format!("Active({name:?})")));
        world.check(&name, n + 1, &format!("r{n}"), "d0");
        assert_eq!(idle(&one.look().await.unwrap()), settled());
        world.apply(&format!("r{}", n + 1), "d0");
    }
    assert_eq!(world.jobs().len(), 5);
    // What was merged while none watched: the newest.
    world.apply("r7", "d7");
    world.apply("r8", "d8");
    let caught_up = created(world.watcher().look().await.unwrap());
    let job = world.api.get(JOBS, NAMESPACE, &caught_up).unwrap();
    assert!(job.to_string().contains("@r8") && !job.to_string().contains("@r7"));
}

#[tokio::test]
async fn a_job_that_is_there_counts_only_while_it_is_active_or_when_its_result_stands() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let job = created(watcher.look().await.unwrap());
    // It ended without a result: a successor, after a pause.
    world.end(&job, "Failed");
    assert_eq!(idle(&watcher.look().await.unwrap()), (Some(10), format!("Pause({job:?})")));
    // A watcher that begins now knows the same.
    world.clock.pass(SECOND * 4);
    assert_eq!(idle(&world.watcher().look().await.unwrap()).0, Some(6));
    world.clock.pass(SECOND * 6);
    let successor = created(watcher.look().await.unwrap());
    assert_eq!(successor, format!("{job}-r1"));
    assert_eq!(idle(&watcher.look().await.unwrap()), (None, format!("Active({successor:?})")));
    world.end(&successor, "Failed");
    assert_eq!(idle(&watcher.look().await.unwrap()).0, Some(20));
    world.clock.pass(SECOND * 20);
    let last = created(watcher.look().await.unwrap());
    world.check(&last, 1, "r0", "d0");
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
}

#[tokio::test]
async fn a_job_that_vanishes_without_a_result_is_not_made_again_at_once() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let job = created(watcher.look().await.unwrap());
    world.api.remove(JOBS, NAMESPACE, &job);
    world.clock.pass(SECOND);
    assert_eq!(idle(&watcher.look().await.unwrap()), (Some(9), format!("Pause({job:?})")));
    world.clock.pass(SECOND * 9);
    assert_eq!(created(watcher.look().await.unwrap()), format!("{job}-r1"));
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_job() {
    for code in [504, 500, 409] {
        let world = World::new().await;
        let mut watcher = world.watcher();
        world.api.fault("POST", "/jobs", Fault::DoneBut(code), 1);
        // kube itself tries again after a 504, and finds the Job there.
        let look = watcher.look().await;
        assert!(!matches!(look, Ok(Look::Created(_))), "{look:?}");
        assert_eq!(world.jobs().len(), 1, "{code}");
        assert!(idle(&watcher.look().await.unwrap()).1.starts_with("Active"), "{code}");
    }
}

#[tokio::test]
async fn a_failed_apply_is_told_once_for_each_reason_and_its_end_too() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let state = {
        let first = created(watcher.look().await.unwrap());
        world.check(&first, 1, "r0", "d0")
    };
    world.fail("bad", "False", "BuildFailed", "2026-11-20T09:59:59Z");
    let job = created(watcher.look().await.unwrap());
    assert!(world.api.get(JOBS, NAMESPACE, &job).unwrap().to_string().contains("@bad"));
    let run = world.record(2, &job, Verdict::NotApplied);
    let mut state = State { seq: 2, failed: vec![told("bad", "BuildFailed")], runs: vec![run], ..state };
    world.save(&state);
    world.end(&job, "Failed");
    for _ in 0..3 {
        world.clock.pass(SECOND * 3600);
        assert_eq!(idle(&watcher.look().await.unwrap()), settled());
        assert_eq!(idle(&world.watcher().look().await.unwrap()), settled(), "nor does a new watcher");
    }
    // Flux goes back to what is checked: the run is to say that it works again.
    world.apply("r0", "d0");
    let recovery = created(watcher.look().await.unwrap());
    state = State { seq: 3, failed: Vec::new(), ..state };
    world.save(&state);
    world.end(&recovery, "Complete");
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
    assert_eq!(world.jobs().len(), 3);
}

#[tokio::test]
async fn what_flux_tries_again_is_told_when_it_is_stuck_whatever_the_clock_does() {
    for jump in [-24, 0, 24] {
        let world = World::new().await;
        let mut watcher = world.watcher();
        let first = created(watcher.look().await.unwrap());
        world.check(&first, 1, "r0", "d0");
        world.fail("bad", "False", "ReconciliationFailed", "2026-11-20T10:00:00Z");
        assert_eq!(idle(&watcher.look().await.unwrap()), (Some(900), "Moving".to_owned()));
        world.clock.jump(jump);
        if jump <= 0 {
            world.clock.pass(SECOND * 600);
            // Each try begins anew for Flux, and not for people.
            world.fail("bad", "Unknown", "Progressing", "2026-11-20T10:10:00Z");
            assert_eq!(idle(&watcher.look().await.unwrap()), (Some(300), "Moving".to_owned()), "{jump}");
            world.clock.pass(SECOND * 300);
            world.fail("bad", "False", "ReconciliationFailed", "2026-11-20T10:15:00Z");
        }
        let job = created(watcher.look().await.unwrap());
        // A clock that is set back delays the successor by no more than its pause; one that is set on hastens it.
        world.end(&job, "Failed");
        world.clock.jump(-jump);
        let look = watcher.look().await.unwrap();
        let successor = if jump < 0 {
            created(look)
        } else {
            // Told too early by a clock that ran ahead: with the right time it is not stuck yet.
            let left = if jump > 0 { 900 } else { 10 };
            assert_eq!(idle(&look).0, Some(left), "clock {jump} h");
            world.clock.pass(Duration::from_secs(left));
            created(watcher.look().await.unwrap())
        };
        assert_eq!(successor, format!("{job}-r1"));
        assert_eq!(world.jobs().len(), 3, "one for each, and no more");
    }
}

#[tokio::test]
async fn suspension_is_told_when_something_waits_behind_it() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let first = created(watcher.look().await.unwrap());
    world.check(&first, 1, "r0", "d0");
    world.suspend("r0");
    assert_eq!(idle(&watcher.look().await.unwrap()), settled(), "nothing waits");
    world.suspend("r1");
    assert_eq!(idle(&watcher.look().await.unwrap()), (Some(900), "Moving".to_owned()));
    world.clock.pass(SECOND * 900);
    created(watcher.look().await.unwrap());
}

#[tokio::test]
async fn only_another_digest_is_a_reason_where_that_is_configured() {
    let world = World::new().await;
    let digest = config("watch: {on: digest}\n");
    let first = created(world.watcher_with(&digest).look().await.unwrap());
    world.check(&first, 1, "r0", "d0");
    world.apply("r1", "d0");
    assert_eq!(idle(&world.watcher_with(&digest).look().await.unwrap()), settled());
    world.apply("r2", "d2");
    created(world.watcher_with(&digest).look().await.unwrap());
}

#[tokio::test]
async fn trouble_is_named_with_what_to_do_and_makes_no_job() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    for (method, path, words) in [
        ("GET", "/jobs", "could not list Jobs in netpol-verify: forbidden: add list"),
        ("GET", "/cronjobs/netpol-verify", "could not get CronJob netpol-verify/netpol-verify: forbidden: add get"),
        ("GET", "/configmaps/netpol-verify-state", "could not get ConfigMap netpol-verify/netpol-verify-state"),
        ("GET", "/kustomizations/network-policies", "Kustomization flux-system/network-policies"),
        ("GET", "/gitrepositories/infra", "GitRepository flux-system/infra"),
        ("POST", "/jobs", "could not create Job netpol-verify/netpol-verify-"),
    ] {
        world.api.fault(method, path, Fault::Status(403), 1);
        let error = watcher.look().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    world.api.put(
        "configmaps",
        json!({"metadata": {"namespace": NAMESPACE, "name": "netpol-verify-state"},
            "binaryData": {"state.json.gz": "AAAA"}}),
    );
    let error = watcher.look().await.unwrap_err().to_string();
    assert!(error.contains("netpol-verify/netpol-verify-state") && error.contains("damaged"), "{error}");
    world.api.remove("configmaps", NAMESPACE, "netpol-verify-state");
    world.api.remove("cronjobs.batch", NAMESPACE, "netpol-verify");
    let error = watcher.look().await.unwrap_err().to_string();
    assert!(
        error.contains("there is no CronJob netpol-verify/netpol-verify") && error.contains("--cron-job"),
        "{error}"
    );
    assert_eq!(world.jobs(), [""; 0]);
}

/// A run that could not see a flow from a CronJob between its runs.
fn waits(world: &World, job: &str, seq: u64) -> State {
    let mut state = world.check(job, seq, "r0", "d0");
    let end = |kind: &str, name: &str| {
        let (kind, namespace, name) = (kind.to_owned(), "shop".to_owned(), name.to_owned());
        Workload { kind, namespace, name }
    };
    let report = end("CronJob", "report");
    state.checked.as_mut().unwrap().classes.push(ClassRecord {
        workload: report.clone(),
        labels: Labels::from([("app".to_owned(), "report".to_owned())]),
        ports: Vec::new(),
        service_account: None,
    });
    let flow = RecordedFlow {
        source: Endpoint::Workload(report.clone()),
        destination: Endpoint::Workload(end("StatefulSet", "db")),
        protocol: Protocol::Tcp,
        port: 5432,
        declared: NetDecision::Allowed,
        ipv6: false,
    };
    let record = FlowRecord {
        state: Unseen::Waiting,
        reason: runs_no_pod(&report),
        since: String::new(),
        revision: None,
        thread: None,
        flow: Some(flow.clone()),
        rule: None,
        parts: Vec::new(),
        missing: None,
    };
    state.flows.insert(flow.key(), record);
    world.save(&state);
    state
}

fn pod(ready: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "report-29384712-x7x", "labels": {"app": "report"}, "ownerReferences":
            [{"apiVersion": "batch/v1", "kind": "Job", "name": "report-29384712", "uid": "u", "controller": true}]},
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
}

#[tokio::test]
async fn a_pod_that_flows_wait_for_starts_one_run_that_retries_them() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let first = created(watcher.look().await.unwrap());
    world.check(&first, 1, "r0", "d0");
    world.api.put("pods", pod("True"));
    assert_eq!(idle(&watcher.look().await.unwrap()), settled(), "nobody waits for it");
    assert!(world.api.requests("/pods").is_empty(), "and nobody asks");

    waits(&world, &first, 1);
    world.api.put("pods", pod("False"));
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
    world.api.put("pods", pod("True"));
    let second = created(watcher.look().await.unwrap());
    let job = world.api.get(JOBS, NAMESPACE, &second).unwrap();
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let trigger = env.as_array().unwrap().iter().find(|variable| variable["name"] == "NETPOL_VERIFY_TRIGGER").unwrap();
    assert_eq!(trigger["value"], "schedule", "a merge's run has nothing to do where its revision is checked");

    // The pod was gone before the run came to it, and the next one is there a moment later: not a run for each.
    waits(&world, &second, 2);
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
    world.clock.pass(SECOND * 61);
    let third = created(watcher.look().await.unwrap());
    waits(&world, &third, 3);
    world.clock.pass(SECOND * 61);
    assert_eq!(idle(&watcher.look().await.unwrap()), settled(), "the pause grows");
    // Seen at last.
    world.check(&third, 4, "r0", "d0");
    world.clock.pass(SECOND * 3600);
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
}

#[tokio::test]
async fn a_merge_does_not_wait_for_pods_that_cannot_be_listed() {
    let world = World::new().await;
    let mut watcher = world.watcher();
    let first = created(watcher.look().await.unwrap());
    waits(&world, &first, 1);
    world.api.fault("GET", "/pods", Fault::Status(403), usize::MAX);
    assert_eq!(idle(&watcher.look().await.unwrap()), settled());
    world.apply("r1", "d1");
    created(watcher.look().await.unwrap());
}
