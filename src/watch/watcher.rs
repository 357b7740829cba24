//! The loop: look, decide, act, wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use kube::{
    Api, Client,
    api::PostParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

use super::{
    Ages, Board, Signal, WatchError, alive,
    awaited::{Arrivals, awaited},
    decide::{Decision, Order, Reason, Rules, Situation, decide},
    job,
    sight::{Now, Sight, with_ages},
};
use crate::{
    config::Config,
    flux::FluxSource,
    model::{KustomizationRef, Workload},
    verify::seams::Clock,
};

/// Without any event everything is looked at so often.
const RESYNC: Duration = Duration::from_secs(60);
/// While flows wait for a pod, as often as this.
const AWAITED: Duration = Duration::from_secs(10);
/// Flux writes a status several times in a row: one look for all of them.
const SETTLE: Duration = Duration::from_millis(50);
/// One look may take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What makes Jobs.
pub struct Watcher<C> {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) cron_job: String,
    pub(super) kustomizations: Vec<KustomizationRef>,
    pub(super) rules: Rules,
    pub(super) source: FluxSource,
    pub(super) clock: C,
    board: Arc<Board>,
    ages: Ages,
    sign: alive::Signer,
    arrivals: Arrivals,
    /// Whether flows wait for a pod.
    awaits: bool,
}

/// What one look led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// This Job was made.
    Created(String),
    /// It was there already: another replica, or a look whose answer was lost.
    Exists(String),
    /// Nothing was to be made.
    Idle(Decision),
}

impl<C: Clock> Watcher<C> {
    /// A watcher of the configured Kustomizations that makes Jobs from `cron_job` in `namespace`; `pod` is its name in
    /// its sign of life.
    #[must_use]
    pub fn new(
        client: Client,
        source: FluxSource,
        clock: C,
        config: &Config,
        place: (&str, &str),
        pod: &str,
        board: Arc<Board>,
    ) -> Self {
        let (namespace, cron_job) = place;
        Self {
            sign: alive::Signer::new(client.clone(), namespace, pod),
            client,
            namespace: namespace.to_owned(),
            cron_job: cron_job.to_owned(),
            kustomizations: config.kustomizations.clone(),
            rules: Rules::new(config),
            source,
            clock,
            board,
            ages: Ages::default(),
            arrivals: Arrivals::default(),
            awaits: false,
        }
    }

    /// Looks whenever `signal` is raised, and at least every minute; never ends.
    pub async fn watch(&mut self, signal: &Signal) {
        let policy = ExponentialBuilder::default()
            .with_min_delay(Duration::from_secs(1))
            .with_max_delay(RESYNC)
            .with_jitter()
            .without_max_times();
        let mut pauses = policy.build();
        loop {
            let look = tokio::time::timeout(PATIENCE, self.look()).await;
            self.board.turned();
            let pause = match look.unwrap_or(Err(WatchError::Slow { seconds: PATIENCE.as_secs() })) {
                Ok(look) => {
                    pauses = policy.build();
                    self.sign.renew().await;
                    next(&look).min(if self.awaits { AWAITED } else { RESYNC })
                }
                Err(error) => {
                    self.board.trouble();
                    tracing::error!(%error, "could not look");
                    pauses.next().unwrap_or(RESYNC)
                }
            };
            tokio::select! {
                () = signal.raised() => self.clock.sleep(SETTLE).await,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    /// Looks once, and makes the Job that is due, if one is.
    ///
    /// # Errors
    /// Something could not be read, or the Job not be made.
    pub async fn look(&mut self) -> Result<Look, WatchError> {
        let began = Instant::now();
        let now = Now { wall: self.clock.now(), elapsed: self.clock.elapsed() };
        let mut ages = std::mem::take(&mut self.ages);
        let sight = self.see(&mut ages, &now).await;
        self.ages = ages;
        let sight = sight?;
        let awaited = awaited(&sight.state);
        self.awaits = !awaited.is_empty();
        let arrived = self.arrivals.arrived(&self.client, &awaited, now.elapsed).await;
        let decision = self.judge(&sight, &arrived, &now);
        let Decision::Create(order) = decision else {
            tracing::debug!(?decision, "nothing to make");
            return Ok(Look::Idle(decision));
        };
        let look = self.create(&order).await?;
        now.age(&mut self.ages, &format!("job/{}", order.name), None);
        if order.reason == Reason::Arrived {
            self.arrivals.tried(&arrived, now.elapsed);
        }
        let made = matches!(look, Look::Created(_));
        if made {
            self.board.created(order.reason);
        }
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let revisions: Vec<_> = order.expected.iter().map(|(id, revision)| format!("{id}@{revision}")).collect();
        let (job, reason) = (order.name, order.reason.word());
        tracing::info!(job, reason, made, revisions = revisions.join(","), took_ms = took, "Job was due");
        Ok(look)
    }

    /// Decides on what was seen.
    fn judge(&mut self, sight: &Sight, arrived: &[Workload], now: &Now) -> Decision {
        let state = &sight.state;
        let finished = state.runs.first().map(|run| run.finished.as_str());
        let last_run_ago = now.age(&mut self.ages, &format!("run/{}", state.seq), finished);
        let jobs = with_ages(&sight.jobs, &mut self.ages, now);
        self.ages.tidy(now.elapsed);
        let situation = Situation { kustomizations: &sight.kustomizations, state, last_run_ago, jobs: &jobs, arrived };
        self.board.saw(&situation, &self.rules, &now.wall);
        decide(&situation, &self.rules)
    }

    /// Makes a Job from the CronJob's template as it is now.
    async fn create(&self, order: &Order) -> Result<Look, WatchError> {
        let place = format!("{}/{}", self.namespace, self.cron_job);
        let api = |kind: &str, plural: &str| -> Api<DynamicObject> {
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("batch", "v1", kind), plural);
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        };
        let found = api("CronJob", "cronjobs").get_opt(&self.cron_job).await;
        let found = found.map_err(|error| WatchError::api("get", &format!("CronJob {place}"), &error))?;
        let cron_job = found.ok_or_else(|| WatchError::NoCronJob { place: place.clone() })?;
        let read = |error: serde_json::Error| WatchError::Outside(error.into());
        let job = job::from_template(&serde_json::to_value(cron_job).map_err(read)?, order);
        let job = serde_json::from_value(job.ok_or(WatchError::NoContainer { place })?).map_err(read)?;
        match api("Job", "jobs").create(&PostParams::default(), &job).await {
            Ok(_) => Ok(Look::Created(order.name.clone())),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Look::Exists(order.name.clone())),
            Err(error) => Err(WatchError::api("create", &format!("Job {}/{}", self.namespace, order.name), &error)),
        }
    }
}

/// When to look again though nothing moves.
fn next(look: &Look) -> Duration {
    match look {
        Look::Idle(Decision::Wait(left, _)) => (*left).clamp(Duration::from_millis(100), RESYNC),
        Look::Idle(_) => RESYNC,
        // The Job that is there may have ended without a result.
        Look::Created(_) | Look::Exists(_) => Duration::from_secs(1),
    }
}
