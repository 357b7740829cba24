//! Where the pods of an Indexed Job put tasks and answers: one ConfigMap for each but the first.
//!
//! `job` is the Job's UID, `ticket` the task's name; `task.json.gz` and `answer.json.gz` are [`Task`] and [`Answer`],
//! packed. Who gives a task clears the answer in the same write; an answer is written over the very object that held its
//! task, so that one which comes too late is refused. What stands there from another Job is nothing.

use std::{collections::BTreeMap, time::Duration};

use backon::{ConstantBuilder, Retryable as _};
use k8s_openapi::{
    ByteString,
    api::{batch::v1::Job, core::v1::ConfigMap},
};
use kube::{Api, Client, api::PostParams};
use serde::de::DeserializeOwned;

use super::{
    codec,
    indexes::Progress,
    store::{LIMIT, random_id, within},
};
use crate::{
    cluster::reason,
    verify::{
        seams::{Desk, Fault, Shards, Ticket},
        shards::{Answer, Task},
    },
};

/// The key of the Job's UID.
const JOB: &str = "job";
/// The key of the task's name.
const TICKET: &str = "ticket";
/// The key of the packed task.
const TASK: &str = "task.json.gz";
/// The key of the packed answer.
const ANSWER: &str = "answer.json.gz";

/// How the reason begins where a right is missing.
const FORBIDDEN: &str = "forbidden";

/// A write is tried again so often, after such a pause.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// Trouble with the places.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The API server refused or did not answer.
    #[error("could not {verb} {what}: {reason}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The kind, `namespace/name`.
        what: String,
        /// The API server's words, and the right to add where it is forbidden.
        reason: String,
    },
    /// The installation has no place for it.
    #[error("ConfigMap {0} is not there: an Indexed Job needs one for each pod but the first (job/sharded)")]
    Missing(String),
    /// It does not fit.
    #[error("a share of {probes} probes does not fit into ConfigMap {place}: give the Job more pods (completions)")]
    TooLarge {
        /// `namespace/name`.
        place: String,
        /// How many.
        probes: usize,
    },
    /// What stands there was not written by this version.
    #[error("ConfigMap {place}, key {key}, was not written by this version: {source}")]
    Unreadable {
        /// `namespace/name`.
        place: String,
        /// The key.
        key: &'static str,
        /// Why.
        source: codec::CodecError,
    },
    /// Another task came meanwhile.
    #[error("ConfigMap {0} holds another task now: the answer to the one before is not wanted any more")]
    Replaced(String),
    /// It could not be packed.
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
    /// The system gave no random numbers.
    #[error("no random numbers for a new task")]
    Random(#[source] std::io::Error),
}

/// The own Job's places.
#[derive(Clone)]
pub struct Places {
    client: Client,
    namespace: String,
    job: String,
    uid: String,
    count: usize,
}

impl Places {
    /// How the ConfigMaps' names begin; the pod's completion index follows.
    pub const PREFIX: &str = "netpol-verify-shard-";

    /// The places of a Job of so many pods.
    #[must_use]
    pub fn new(client: Client, namespace: &str, job: &str, uid: &str, count: usize) -> Self {
        Self { client, namespace: namespace.to_owned(), job: job.to_owned(), uid: uid.to_owned(), count }
    }

    /// The places of a run that stands alone.
    #[must_use]
    pub fn none(client: Client) -> Self {
        Self::new(client, "", "", "", 1)
    }

    /// The place of one pod.
    #[must_use]
    pub const fn desk(self, index: usize) -> JobDesk {
        JobDesk { places: self, index }
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn place(&self, index: usize) -> String {
        format!("{}/{}", self.namespace, name(index))
    }

    fn trouble(&self, verb: &'static str, index: usize, error: &kube::Error) -> PlaceError {
        let reason = match error {
            kube::Error::Api(status) if status.is_forbidden() => format!(
                "{FORBIDDEN}: an Indexed Job needs the component job/sharded, which allows {verb} on it ({})",
                reason(error)
            ),
            other => reason(other),
        };
        PlaceError::Api { verb, what: format!("ConfigMap {}", self.place(index)), reason }
    }

    async fn get(&self, index: usize) -> Result<Option<ConfigMap>, PlaceError> {
        within(self.maps().get_opt(&name(index))).await.map_err(|error| self.trouble("get", index, &error))
    }

    /// What a pod finds at its place: the ticket of this Job's task, with the object.
    async fn at(&self, index: usize) -> Result<Option<(Ticket, ConfigMap)>, PlaceError> {
        let Some(object) = self.get(index).await? else { return Ok(None) };
        let text = |key: &str| object.data.as_ref().and_then(|data| data.get(key)).cloned();
        let ticket = text(TICKET).filter(|_| text(JOB).as_ref() == Some(&self.uid));
        Ok(ticket.map(|ticket| (Ticket(ticket), object)))
    }

    fn part<T: DeserializeOwned>(
        &self,
        index: usize,
        object: &ConfigMap,
        key: &'static str,
    ) -> Result<Option<T>, PlaceError> {
        let bytes = object.binary_data.as_ref().and_then(|data| data.get(key));
        let read = bytes.map(|bytes| codec::unpack_as(&bytes.0)).transpose();
        read.map_err(|source| PlaceError::Unreadable { place: self.place(index), key, source })
    }

    /// What the Job says; `None` where it is gone.
    async fn progress(&self) -> Result<Option<Progress>, PlaceError> {
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        let job = within(jobs.get_opt(&self.job)).await.map_err(|error| PlaceError::Api {
            verb: "get",
            what: format!("Job {}/{}", self.namespace, self.job),
            reason: reason(&error),
        })?;
        let own = |job: &Job| job.metadata.uid.as_ref() == Some(&self.uid) && job.metadata.deletion_timestamp.is_none();
        Ok(job.filter(own).map(|job| Progress::of(&job)))
    }

    /// Writes a task in place of whatever stands there.
    async fn put(&self, index: usize, ticket: &Ticket, packed: &[u8]) -> Result<(), PlaceError> {
        let mut object = self.get(index).await?.ok_or_else(|| PlaceError::Missing(self.place(index)))?;
        let texts = [(JOB, &self.uid), (TICKET, &ticket.0)];
        object.data = Some(texts.map(|(key, text)| (key.to_owned(), text.clone())).into());
        object.binary_data = Some(BTreeMap::from([(TASK.to_owned(), ByteString(packed.to_owned()))]));
        self.replace(index, &object).await
    }

    /// Writes over what was read, and nothing else.
    async fn replace(&self, index: usize, object: &ConfigMap) -> Result<(), PlaceError> {
        let (maps, name, post) = (self.maps(), name(index), PostParams::default());
        let written = within(maps.replace(&name, &post, object)).await;
        written.map(drop).map_err(|error| self.trouble("update", index, &error))
    }
}

fn name(index: usize) -> String {
    format!("{}{index}", Places::PREFIX)
}

impl PlaceError {
    /// Whether trying again may help: the API server was away, or somebody wrote in between.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Api { reason, .. } if !reason.starts_with(FORBIDDEN))
    }
}

/// How a write is tried again.
fn patiently() -> ConstantBuilder {
    ConstantBuilder::new().with_delay(PAUSE).with_max_times(TRIES)
}

impl Shards for Places {
    fn count(&self) -> usize {
        self.count
    }

    async fn alive(&self) -> Result<Vec<usize>, Fault> {
        let progress = self.progress().await?;
        Ok((1..self.count).filter(|index| progress.as_ref().is_some_and(|p| !p.has_ended(*index))).collect())
    }

    async fn give(&self, index: usize, task: &Task) -> Result<Ticket, Fault> {
        let packed = codec::pack(task).map_err(PlaceError::from)?;
        if packed.len() > LIMIT {
            return Err(PlaceError::TooLarge { place: self.place(index), probes: task.probes.len() }.into());
        }
        let ticket = Ticket(random_id().map_err(PlaceError::Random)?);
        let put = || self.put(index, &ticket, &packed);
        put.retry(patiently()).when(PlaceError::is_passing).await?;
        Ok(ticket)
    }

    async fn answer(&self, index: usize, ticket: &Ticket) -> Result<Option<Answer>, Fault> {
        match self.at(index).await? {
            Some((now, object)) if now == *ticket => Ok(self.part(index, &object, ANSWER)?),
            _ => Err(PlaceError::Replaced(self.place(index)).into()),
        }
    }
}

/// The place of one pod of the Job.
pub struct JobDesk {
    places: Places,
    index: usize,
}

impl JobDesk {
    /// What lies there without an answer.
    async fn open(&self) -> Result<Option<(Ticket, ConfigMap)>, PlaceError> {
        let is_answered =
            |object: &ConfigMap| object.binary_data.as_ref().is_some_and(|data| data.contains_key(ANSWER));
        Ok(self.places.at(self.index).await?.filter(|(_, object)| !is_answered(object)))
    }

    async fn write(&self, ticket: &Ticket, packed: &[u8]) -> Result<(), PlaceError> {
        let place = || self.places.place(self.index);
        let Some((_, mut object)) = self.places.at(self.index).await?.filter(|(now, _)| now == ticket) else {
            return Err(PlaceError::Replaced(place()));
        };
        let bytes = ByteString(packed.to_owned());
        object.binary_data.get_or_insert_default().insert(ANSWER.to_owned(), bytes);
        self.places.replace(self.index, &object).await
    }
}

impl Desk for JobDesk {
    async fn task(&self) -> Result<Option<(Ticket, Task)>, Fault> {
        let Some((ticket, object)) = self.open().await? else { return Ok(None) };
        Ok(self.places.part(self.index, &object, TASK)?.map(|task| (ticket, task)))
    }

    async fn ticket(&self) -> Result<Option<Ticket>, Fault> {
        Ok(self.open().await?.map(|(ticket, _)| ticket))
    }

    async fn answer(&self, ticket: &Ticket, answer: &Answer) -> Result<(), Fault> {
        let packed = codec::pack(answer).map_err(PlaceError::from)?;
        let write = || self.write(ticket, &packed);
        match write.retry(patiently()).when(PlaceError::is_passing).await {
            // Somebody begun anew wants something else: that is no trouble.
            Err(replaced @ PlaceError::Replaced(_)) => {
                tracing::info!("{replaced}");
                Ok(())
            }
            done => Ok(done?),
        }
    }

    async fn is_over(&self) -> Result<bool, Fault> {
        Ok(self.places.progress().await?.is_none_or(|progress| progress.has_ended(0)))
    }
}
