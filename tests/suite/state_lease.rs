//! The lock, against an API server in memory. Durations are short and real: two clocks are compared here.

use crate::support::api;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use api::{Api, Fault};
use netpol_verify::{state::LeaseLock, verify::seams::Lock};
use serde_json::{Value, json};

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(20);

fn lock(api: &Api, holder: &str) -> LeaseLock {
    LeaseLock::new(api.client(), "n", LeaseLock::NAME, holder, Some(SHORT)).unwrap()
}

fn lease(api: &Api) -> Value {
    api.get("leases.coordination.k8s.io", "n", LeaseLock::NAME).unwrap()
}

/// Waits until `done`, at most ten seconds.
async fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn it_is_renewed_while_held_and_free_at_once_when_released() {
    let api = Api::start().await;
    let (first, second) = (lock(&api, "run-1"), lock(&api, "run-2"));
    assert!(!first.is_held());
    first.acquire(Duration::ZERO).await.unwrap();
    assert!(first.is_held());
    assert!(lease(&api)["spec"]["holderIdentity"].as_str().unwrap().starts_with("run-1_"));
    assert_eq!(lease(&api)["spec"]["leaseDurationSeconds"], 2);
    // Longer than its duration: only renewals keep the second one out.
    let error = second.acquire(SHORT * 2).await.unwrap_err().to_string();
    assert!(error.contains("Lease n/netpol-verify was held by `run-1_") && error.contains("4 s"), "{error}");
    assert!(first.is_held() && !second.is_held());
    assert!(api.requests("PUT").len() >= 4, "{:?}", api.requests("PUT"));

    first.release().await;
    assert!(!first.is_held());
    assert_eq!(lease(&api)["spec"]["holderIdentity"], "");
    second.acquire(Duration::ZERO).await.unwrap();
    assert_eq!(lease(&api)["spec"]["leaseTransitions"], 2);
    second.acquire(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_dead_holder_is_followed_after_its_duration_and_not_before() {
    let api = Api::start().await;
    let first = lock(&api, "run-1");
    first.acquire(Duration::ZERO).await.unwrap();
    let died = Instant::now();
    drop(first);
    let second = lock(&api, "run-2");
    second.acquire(LONG).await.unwrap();
    let waited = died.elapsed();
    assert!(waited >= SHORT && waited < SHORT * 3, "{waited:?}");
    assert!(lease(&api)["spec"]["holderIdentity"].as_str().unwrap().starts_with("run-2_"));
}

#[tokio::test]
async fn other_machines_clocks_do_not_matter() {
    for (renewed, alive) in [("1970-01-01T00:00:00.000000Z", true), ("2199-01-01T00:00:00.000000Z", false)] {
        let api = Arc::new(Api::start().await);
        let held = json!({"metadata": {"namespace": "n", "name": LeaseLock::NAME}, "spec":
            {"holderIdentity": "skewed", "leaseDurationSeconds": 2, "renewTime": renewed}});
        api.put("leases.coordination.k8s.io", held.clone());
        let other = Arc::clone(&api);
        let renewal = tokio::spawn(async move {
            if !alive {
                return;
            }
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                other.put("leases.coordination.k8s.io", held.clone());
            }
        });
        let taken = lock(&api, "run-1").acquire(SHORT * 2).await;
        renewal.abort();
        assert_eq!(taken.is_err(), alive, "renewed at {renewed}, alive: {alive}");
    }
}

#[tokio::test]
async fn it_counts_as_lost_before_anybody_else_may_have_it() {
    let api = Api::start().await;
    let first = lock(&api, "run-1");
    first.acquire(Duration::ZERO).await.unwrap();
    api.fault("PUT", "/leases/", Fault::Status(500), 1_000);
    let start = Instant::now();
    until("the lock is lost", || !first.is_held()).await;
    assert!(start.elapsed() < SHORT, "{:?}", start.elapsed());
    // Nobody took it: when the API server is well again, so is the lock.
    api.no_faults();
    until("the lock is held again", || first.is_held()).await;
}

#[tokio::test]
async fn a_lock_that_somebody_else_took_is_lost_and_left_alone() {
    let api = Api::start().await;
    let first = lock(&api, "run-1");
    first.acquire(Duration::ZERO).await.unwrap();
    // The control: a write that leaves the holder alone loses nothing.
    let mut labelled = lease(&api);
    *labelled.pointer_mut("/metadata").unwrap() =
        json!({"namespace": "n", "name": LeaseLock::NAME, "labels": {"a": "b"}});
    api.put("leases.coordination.k8s.io", labelled.clone());
    let renewed = lease(&api)["spec"]["renewTime"].clone();
    until("the lock is renewed", || lease(&api)["spec"]["renewTime"] != renewed).await;
    assert!(first.is_held());

    *labelled.pointer_mut("/spec/holderIdentity").unwrap() = json!("thief");
    api.put("leases.coordination.k8s.io", labelled);
    until("the lock is lost", || !first.is_held()).await;
    first.release().await;
    assert_eq!(lease(&api)["spec"]["holderIdentity"], "thief");
}

#[tokio::test]
async fn trouble_is_waited_out_and_a_missing_right_is_not() {
    let api = Api::start().await;
    api.fault("GET", "/leases/", Fault::Status(500), 2);
    api.fault("POST", "/leases", Fault::DoneBut(500), 1);
    let first = lock(&api, "run-1");
    first.acquire(LONG).await.unwrap();
    first.release().await;
    api.fault("PUT", "/leases/", Fault::Status(403), 1);
    let start = Instant::now();
    let error = first.acquire(LONG).await.unwrap_err().to_string();
    assert!(error.contains("add update on leases.coordination.k8s.io to Role netpol-verify in n"), "{error}");
    assert!(start.elapsed() < SHORT, "{:?}", start.elapsed());
}

/// How often somebody must have held it for the next test to say anything.
const TURNS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_never_hold_it_at_the_same_time() {
    let api = Arc::new(Api::start().await);
    let holders = Arc::new(AtomicUsize::new(0));
    let turns = Arc::new(AtomicUsize::new(0));
    // Late and lost answers, so that renewals fail and Leases expire under their holders.
    api.fault("PUT", "/leases/", Fault::DoneBut(500), 3);
    api.fault("PUT", "/leases/", Fault::Late(Duration::from_millis(900)), 6);
    api.fault("GET", "/leases/", Fault::Late(Duration::from_millis(700)), 6);
    let runs = (0..4).map(|run| {
        let (api, holders, turns) = (Arc::clone(&api), Arc::clone(&holders), Arc::clone(&turns));
        tokio::spawn(async move {
            let start = Instant::now();
            for turn in 0.. {
                // On a busy machine they need longer to go round.
                let enough = turns.load(Ordering::SeqCst) >= TURNS;
                if start.elapsed() >= Duration::from_secs(if enough { 8 } else { 60 }) {
                    break;
                }
                let lock = lock(&api, &format!("run-{run}"));
                if lock.acquire(Duration::from_secs(3)).await.is_err() {
                    continue;
                }
                let work = Instant::now() + Duration::from_millis(400);
                while lock.is_held() && Instant::now() < work {
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "held twice");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    holders.fetch_sub(1, Ordering::SeqCst);
                }
                turns.fetch_add(1, Ordering::SeqCst);
                // Every third holder dies.
                if (run + turn) % 3 != 0 {
                    lock.release().await;
                }
            }
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    assert!(turns.load(Ordering::SeqCst) >= TURNS, "it went round");
}
