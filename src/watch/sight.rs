//! One look at everything that a decision depends on.

use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use kube::{Api, api::ListParams};

use super::{
    Ages, WatchError,
    decide::{JobSeen, Observed},
    name::PREFIX,
    watcher::Watcher,
};
use crate::{
    model::{KustomizationRef, State},
    state::ConfigMapStore,
    verify::{
        applied::absent,
        seams::{Clock, Source as _},
    },
};

/// What was seen.
pub(super) struct Sight {
    pub kustomizations: Vec<Observed>,
    pub state: State,
    pub jobs: Vec<Job>,
}

/// Two readings of the time, taken once a look.
#[derive(Debug, Clone)]
pub(super) struct Now {
    pub wall: String,
    pub elapsed: std::time::Duration,
}

impl Now {
    pub fn age(&self, ages: &mut Ages, fact: &str, said: Option<&str>) -> std::time::Duration {
        ages.of(fact, said, &self.wall, self.elapsed)
    }
}

impl<C: Clock> Watcher<C> {
    /// Reads everything anew, all at the same time.
    pub(super) async fn see(&self, ages: &mut Ages, now: &Now) -> Result<Sight, WatchError> {
        let statuses = futures::future::try_join_all(self.kustomizations.iter().map(|id| self.status(id)));
        let (statuses, state, jobs) = futures::future::try_join3(statuses, self.state(), self.jobs()).await?;
        let kustomizations = statuses.into_iter().map(|status| {
            let fact = format!("trouble/{}", status.id);
            let Some(not_applied) = &status.not_applied else {
                ages.end(&fact);
                return Observed { status, trouble_for: std::time::Duration::ZERO, fails: false };
            };
            let trouble_for = now.age(ages, &fact, not_applied.since.as_deref());
            let fails = self.rules.fails(not_applied, trouble_for);
            Observed { status, trouble_for, fails }
        });
        Ok(Sight { kustomizations: kustomizations.collect(), state, jobs })
    }

    async fn status(&self, id: &KustomizationRef) -> Result<crate::model::KustomizationStatus, WatchError> {
        Ok(self.source.status(id).await?.unwrap_or_else(|| absent(id)))
    }

    /// The state, or an empty one without an id before the first run.
    async fn state(&self) -> Result<State, WatchError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = format!("ConfigMap {}/{}", self.namespace, ConfigMapStore::NAME);
        let object = api.get_opt(ConfigMapStore::NAME).await.map_err(|error| WatchError::api("get", &what, &error))?;
        let state = object.as_ref().map(ConfigMapStore::state_in).transpose();
        Ok(state.map_err(|error| WatchError::Outside(error.into()))?.flatten().unwrap_or_default())
    }

    /// The CronJob's Jobs, and others that bear such a name.
    async fn jobs(&self) -> Result<Vec<Job>, WatchError> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        let what = format!("Jobs in {}", self.namespace);
        let list = api.list(&ListParams::default()).await.map_err(|error| WatchError::api("list", &what, &error))?;
        let ours = |job: &Job| {
            let owners = job.metadata.owner_references.iter().flatten();
            let owned = owners.into_iter().any(|owner| owner.kind == "CronJob" && owner.name == self.cron_job);
            owned || job.metadata.name.as_deref().is_some_and(|name| name.starts_with(PREFIX))
        };
        Ok(list.items.into_iter().filter(ours).collect())
    }
}

/// The Jobs with their ages, and those that were there within the last hour.
pub(super) fn with_ages(jobs: &[Job], ages: &mut Ages, now: &Now) -> Vec<JobSeen> {
    let mut seen: Vec<JobSeen> = Vec::new();
    for job in jobs {
        let name = job.metadata.name.clone().unwrap_or_default();
        now.age(ages, &format!("job/{name}"), None);
        let ended_ago = match end(job) {
            End::NotYet => None,
            End::At(said) => Some(now.age(ages, &format!("ended/{name}"), said.as_deref())),
        };
        seen.push(JobSeen { name, ended_ago });
    }
    let gone =
        ages.gone("job/", now.elapsed).map(|(name, ago)| JobSeen { name: name.to_owned(), ended_ago: Some(ago) });
    let gone: Vec<_> = gone.filter(|gone| !seen.iter().any(|job| job.name == gone.name)).collect();
    seen.extend(gone);
    seen
}

/// Whether a Job ended, and when, where it says so.
enum End {
    NotYet,
    At(Option<String>),
}

/// One that is being deleted has ended.
fn end(job: &Job) -> End {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ends = conditions.filter(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True");
    if let Some(end) = ends.next() {
        return End::At(end.last_transition_time.as_ref().map(|time| time.0.to_string()));
    }
    job.metadata.deletion_timestamp.as_ref().map_or(End::NotYet, |time| End::At(Some(time.0.to_string())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn job(name: &str, status: &serde_json::Value) -> Job {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
    }

    #[test]
    fn a_job_is_active_until_it_says_that_it_ended_or_goes() {
        let ended_at = |kind: &str, status: &str| {
            json!({"conditions": [{"type": "Suspended", "status": "True"},
                {"type": kind, "status": status, "lastTransitionTime": "2026-11-20T09:00:00Z"}]})
        };
        let mut going = job("going", &json!({}));
        let at = "2026-11-20T09:00:05Z".parse().unwrap();
        going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        let jobs = vec![
            job("new", &json!({})),
            job("running", &json!({"active": 1})),
            job("failing", &ended_at("FailureTarget", "True")),
            job("not-failed", &ended_at("Failed", "False")),
            job("done", &ended_at("Complete", "True")),
            job("failed", &ended_at("Failed", "True")),
            going,
        ];
        let mut ages = Ages::default();
        let at =
            |second: u64| Now { wall: format!("2026-11-20T09:00:{second:02}Z"), elapsed: Duration::from_secs(second) };
        let seen = with_ages(&jobs, &mut ages, &at(10));
        let found: Vec<_> = seen.iter().map(|j| (j.name.as_str(), j.ended_ago.map(|ago| ago.as_secs()))).collect();
        let active = ["new", "running", "failing", "not-failed"].map(|name| (name, None));
        let over = [("done", Some(10)), ("failed", Some(10)), ("going", Some(5))];
        assert_eq!(found, [active.as_slice(), &over].concat());
        // One that vanished before anyone saw it end is not forgotten at once.
        let seen = with_ages(&jobs[1..], &mut ages, &at(12));
        let new = seen.iter().find(|job| job.name == "new").unwrap();
        assert_eq!(new.ended_ago.map(|ago| ago.as_secs()), Some(2));
        assert_eq!(seen.len(), jobs.len());
    }
}
