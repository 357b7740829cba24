//! Running the program over the world.

use std::{sync::atomic::Ordering, time::Duration};

use netpol_verify::{
    config::{Config, NamespaceSet},
    model::{FlowReport, FlowResult, OutboxKind, Report, State, Verdict},
    state::decode,
    verify::{
        run::{Settings, run},
        seams::OwnJob,
    },
};

use super::{Event, Fake};
use crate::support::schemas;

/// How a run ended, and what it left in the room.
#[derive(Debug)]
pub struct Ran {
    pub exit: u8,
    pub report: Option<Report>,
    pub note: String,
    /// What came into the room during the run, in order.
    pub events: Vec<Event>,
}

impl Ran {
    pub fn verdict(&self) -> Verdict {
        self.report.as_ref().unwrap().verdict
    }

    pub fn flows(&self) -> &[FlowReport] {
        &self.report.as_ref().unwrap().flows
    }

    /// The flow of this key.
    pub fn flow(&self, key: &str) -> &FlowReport {
        let found = self.flows().iter().find(|f| f.key() == key);
        found.unwrap_or_else(|| panic!("no flow {key} in {:?}", self.keys()))
    }

    pub fn keys(&self) -> Vec<String> {
        self.flows().iter().map(FlowReport::key).collect()
    }

    pub fn results(&self) -> Vec<(String, FlowResult)> {
        self.flows().iter().map(|f| (f.key(), f.result)).collect()
    }

    pub fn roots(&self) -> Vec<&Event> {
        self.events.iter().filter(|e| e.kind == OutboxKind::Root).collect()
    }

    pub fn replies(&self) -> Vec<&Event> {
        self.events.iter().filter(|e| e.kind == OutboxKind::Reply).collect()
    }

    /// The one message of this run.
    pub fn root(&self) -> &Event {
        let roots = self.roots();
        assert_eq!(roots.len(), 1, "messages of a run: {roots:?}");
        roots[0]
    }

    pub fn headline(&self) -> &str {
        self.root().first_line()
    }
}

impl Fake {
    pub fn settings(&self, job: OwnJob) -> Settings {
        let config = Config::parse("config.yaml", &self.config.lock().unwrap()).unwrap();
        let namespaces = NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces).unwrap();
        Settings { config, namespaces, job, sweep: self.sweep.load(Ordering::Relaxed) }
    }

    /// As the watcher starts it: for the revision that is applied.
    pub async fn run(&self) -> Ran {
        self.run_as(self.watched()).await
    }

    pub fn watched(&self) -> OwnJob {
        let applied = |k: &super::Kustomization| Some((k.status.id.clone(), k.status.applied.clone()?));
        OwnJob { expected: self.world().kustomizations.values().filter_map(applied).collect(), ..OwnJob::default() }
    }

    /// As a person starts it: `kubectl create job --from`.
    pub async fn person(&self) -> Ran {
        self.run_as(OwnJob::default()).await
    }

    /// As the CronJob controller starts it.
    pub async fn scheduled(&self) -> Ran {
        self.run_as(OwnJob { scheduled: true, ..OwnJob::default() }).await
    }

    /// As the CronJob controller starts it when a sweep is due.
    pub async fn swept(&self) -> Ran {
        self.sweep.store(true, Ordering::Relaxed);
        let ran = self.scheduled().await;
        self.sweep.store(false, Ordering::Relaxed);
        ran
    }

    pub async fn run_as(&self, job: OwnJob) -> Ran {
        self.try_run(job).await.unwrap_or_else(|fault| panic!("the run failed: {fault}"))
    }

    pub async fn try_run(&self, job: OwnJob) -> Result<Ran, String> {
        self.world().elapsed += Duration::from_secs(60);
        let before = self.world().room.len();
        {
            let mut world = self.world();
            world.asked.clear();
            world.execs = 0;
            world.resolved.clear();
        }
        let created = self.world().now();
        let job = OwnJob { created: job.created.clone().or(Some(created)), ..job };
        let ended = run(self, &self.settings(job)).await.map_err(|fault| fault.to_string())?;
        assert!(!self.world().lock_held, "the lock is given back");
        if let Some(report) = &ended.report {
            schemas::assert_documented("report", &serde_json::to_value(report).unwrap());
        }
        let events = self.world().room[before..].to_vec();
        Ok(Ran { exit: ended.exit, report: ended.report, note: ended.note, events })
    }

    /// Another run has taken the Lease over.
    pub fn lose_the_lease(&self) {
        self.world().lock_held = false;
        self.lost.notify_one();
    }

    /// A run that is killed at its n-th moment; `true` if it came that far.
    pub async fn killed_at(&self, moment: usize) -> bool {
        {
            let mut world = self.world();
            world.elapsed += Duration::from_secs(60);
            world.points = 0;
            world.kill_at = Some(moment);
        }
        let settings = self.settings(self.watched());
        let killed = tokio::select! {
            biased;
            ended = run(self, &settings) => { ended.unwrap(); false }
            () = self.killed.notified() => true,
        };
        let mut world = self.world();
        world.kill_at = None;
        // The Lease of the dead runs out.
        world.lock_held = false;
        killed
    }

    pub fn state(&self) -> State {
        decode(self.world().state.as_ref().unwrap()).unwrap()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.world().elapsed += time;
    }

    /// Puts more into the configuration.
    pub fn configure(&self, more: &str) {
        let mut config = self.config.lock().unwrap();
        config.push('\n');
        config.push_str(more);
    }
}
