//! A cluster with Flux, a CronJob, and a state; and a clock that a test turns.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use netpol_verify::{
    config::Config,
    flux::{FluxOptions, FluxSource},
    model::{Checked, CheckedKustomization, FailedApply, KustomizationRef, Revision, RunRecord, State, Verdict},
    state::{ConfigMapStore, encode},
    verify::seams::Clock,
    watch::{Board, Decision, Look, Watcher},
};
use serde_json::{Value, json};

use crate::watch::api::Api;

pub const NAMESPACE: &str = "netpol-verify";
pub const JOBS: &str = "jobs.batch";
pub const KUSTOMIZATIONS: &str = "kustomizations.kustomize.toolkit.fluxcd.io";
const CONFIG: &str = "schema: netpol-verify/config/v1\nproductNamespaces: {names: [shop]}\n\
    matrix: {homeserver: https://matrix.example.org, room: \"!abc:example.org\"}\nflux: {wait: 5m, stuck: 15m}\n";

/// A wall clock and a monotonic one.
#[derive(Clone)]
pub struct TestClock(Arc<Mutex<(jiff::Timestamp, Duration)>>);

impl TestClock {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(("2026-11-20T10:00:00Z".parse().unwrap(), Duration::ZERO))))
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        now.0 += time;
        now.1 += time;
    }

    /// Somebody sets the wall clock.
    pub fn jump(&self, hours: i64) {
        self.0.lock().unwrap().0 += jiff::SignedDuration::from_hours(hours);
    }
}

impl Clock for TestClock {
    fn now(&self) -> String {
        self.0.lock().unwrap().0.to_string()
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().1
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

pub struct World {
    pub api: Api,
    pub clock: TestClock,
    pub board: Arc<Board>,
}

pub fn config(more: &str) -> Config {
    Config::parse("config.yaml", &format!("{CONFIG}{more}")).unwrap()
}

fn id() -> KustomizationRef {
    KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() }
}

impl World {
    /// `r0` is applied; nothing was checked yet.
    pub async fn new() -> Self {
        // A second call finds it installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let world = Self { api: Api::start().await, clock: TestClock::new(), board: Arc::default() };
        world.api.put(
            "cronjobs.batch",
            json!({
                "apiVersion": "batch/v1", "kind": "CronJob",
                "metadata": {"namespace": NAMESPACE, "name": "netpol-verify", "uid": "u1"},
                "spec": {"jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"backoffLimit": 0, "template":
                    {"spec": {"containers": [{"name": "netpol-verify", "image": "i"}]}}}}},
            }),
        );
        world.api.put(
            "leases.coordination.k8s.io",
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"namespace": NAMESPACE, "name": "netpol-verify-watch"}, "spec": {}}),
        );
        world.apply("r0", "d0");
        world
    }

    pub fn source(&self) -> FluxSource {
        FluxSource::new(self.api.client(), reqwest::Client::new(), FluxOptions::default())
    }

    /// A watcher that begins now.
    pub fn watcher(&self) -> Watcher<TestClock> {
        self.watcher_with(&config(""))
    }

    pub fn watcher_with(&self, config: &Config) -> Watcher<TestClock> {
        let place = (NAMESPACE, "netpol-verify");
        let board = Arc::clone(&self.board);
        // Each process counts its own time: what the clock says was passed before it began counts for nothing.
        Watcher::new(self.api.client(), self.source(), self.clock.clone(), config, place, "pod", board)
    }

    fn serve(&self, revision: &str) {
        let artifact = json!({"url": "http://s/a.tar.gz", "revision": revision, "digest": "sha256:0"});
        let ready = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": ""});
        self.api.put(
            "gitrepositories.source.toolkit.fluxcd.io",
            json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"namespace": "flux-system", "name": "infra", "generation": 1}, "spec": {},
                "status": {"artifact": artifact, "conditions": [ready]}}),
        );
    }

    fn kustomization(&self, suspend: bool, status: &Value) {
        self.api.put(
            KUSTOMIZATIONS,
            json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"namespace": "flux-system", "name": "network-policies", "generation": 1},
                "spec": {"suspend": suspend, "sourceRef": {"kind": "GitRepository", "name": "infra"}},
                "status": status}),
        );
    }

    fn applied(revision: &str, digest: &str) -> Value {
        json!({"observedGeneration": 1, "lastAppliedRevision": revision, "lastAttemptedRevision": revision,
            "conditions": [{"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": ""}],
            "history": [{"digest": digest, "lastReconciledStatus": "ReconciliationSucceeded",
                "metadata": {"revision": revision}}]})
    }

    /// Flux fetches and applies a revision.
    pub fn apply(&self, revision: &str, digest: &str) {
        self.serve(revision);
        self.kustomization(false, &Self::applied(revision, digest));
    }

    /// The source has `revision`; `r0` is still what is applied, and Flux says why.
    pub fn fail(&self, revision: &str, status: &str, reason: &str, since: &str) {
        self.serve(revision);
        let mut report = Self::applied("r0", "d0");
        report["lastAttemptedRevision"] = json!(revision);
        report["conditions"] = json!([{"type": "Ready", "status": status, "reason": reason, "message": "x",
            "lastTransitionTime": since}]);
        self.kustomization(false, &report);
    }

    /// The source has `revision`, and the Kustomization, at `r0`, is suspended.
    pub fn suspend(&self, revision: &str) {
        self.serve(revision);
        self.kustomization(true, &Self::applied("r0", "d0"));
    }

    pub fn jobs(&self) -> Vec<String> {
        self.api.all(JOBS).iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The Job ends, with this condition.
    pub fn end(&self, job: &str, condition: &str) {
        let mut object = self.api.get(JOBS, NAMESPACE, job).unwrap();
        let at = self.clock.now();
        object["status"] = json!({"conditions": [{"type": condition, "status": "True", "lastTransitionTime": at}]});
        self.api.put(JOBS, object);
    }

    pub fn save(&self, state: &State) {
        use base64::Engine as _;
        let packed = base64::engine::general_purpose::STANDARD.encode(encode(state).unwrap());
        self.api.put(
            "configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"namespace": NAMESPACE, "name": ConfigMapStore::NAME},
                "binaryData": {"state.json.gz": packed}}),
        );
    }

    /// A Job's run checks a revision, writes that, and ends.
    pub fn check(&self, job: &str, seq: u64, revision: &str, digest: &str) -> State {
        let kustomization = CheckedKustomization {
            id: id(),
            revision: Revision(revision.to_owned()),
            digest: Some(digest.to_owned()),
            policies: Vec::new(),
        };
        let checked = Checked {
            seq,
            kustomizations: vec![kustomization],
            others: Vec::new(),
            namespaces: std::collections::BTreeMap::new(),
            classes: Vec::new(),
            accounts: std::collections::BTreeMap::new(),
            calico: None,
            verdict: Verdict::Verified,
            finished: self.clock.now(),
        };
        let state = State { id: "id".to_owned(), seq, checked: Some(checked), ..State::default() };
        let state = State { runs: vec![self.record(seq, job, Verdict::Verified)], ..state };
        self.save(&state);
        self.end(job, "Complete");
        state
    }

    pub fn record(&self, seq: u64, job: &str, verdict: Verdict) -> RunRecord {
        let now = self.clock.now();
        RunRecord { seq, job: Some(job.to_owned()), started: now.clone(), finished: now, verdict, exit: 0 }
    }
}

/// What a run remembers of a failed apply that it told.
pub fn told(revision: &str, reason: &str) -> FailedApply {
    FailedApply { id: id(), attempted: Some(Revision(revision.to_owned())), reason: reason.to_owned(), event: None }
}

/// The name of the Job that a look made.
pub fn created(look: Look) -> String {
    let Look::Created(name) = look else { panic!("no Job was made: {look:?}") };
    name
}

/// Why a look made none, and for how long, in seconds.
pub fn idle(look: &Look) -> (Option<u64>, String) {
    match look {
        Look::Idle(Decision::Nothing(why)) => (None, format!("{why:?}")),
        Look::Idle(Decision::Wait(left, why)) => (Some(left.as_secs()), format!("{why:?}")),
        other => panic!("{other:?}"),
    }
}
