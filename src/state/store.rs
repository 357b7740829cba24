//! The state's ConfigMap.

use std::{collections::BTreeMap, fmt::Write as _, io::Read as _, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::sync::Mutex;

use crate::{
    cluster::reason,
    model::State,
    verify::seams::{Fault, Store},
};

use super::codec::{self, CodecError, VERSION};

/// The key of the packed state.
const KEY: &str = "state.json.gz";
/// The key of a few lines for people.
const SUMMARY: &str = "summary";
/// What a ConfigMap may hold is 1 MiB; the rest is left for its metadata.
pub(super) const LIMIT: usize = 900 << 10;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Trouble with the state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The API server refused or did not answer.
    #[error("could not {verb} ConfigMap {place}: {reason}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// `namespace/name`.
        place: String,
        /// The API server's words, and the right to add where it is forbidden.
        reason: String,
    },
    /// Somebody else wrote in between.
    #[error(
        "ConfigMap {place} was changed by somebody else during this run: nothing was written; the next run starts from what stands there"
    )]
    Conflict {
        /// `namespace/name`.
        place: String,
    },
    /// It holds something that is not a state of this program.
    #[error(
        "ConfigMap {place}, key {KEY}: {source}; restore it, or delete the ConfigMap to start anew (open findings and unsent messages are then forgotten)"
    )]
    Unreadable {
        /// `namespace/name`.
        place: String,
        /// Why.
        source: CodecError,
    },
    /// The state is gone, but not what stands beside it.
    #[error(
        "ConfigMap {place} has a summary but no {KEY}: restore it, or delete the ConfigMap to start anew (open findings and unsent messages are then forgotten)"
    )]
    Lost {
        /// `namespace/name`.
        place: String,
    },
    /// It does not fit.
    #[error("the state does not fit into ConfigMap {place}: {packed} KiB packed, {} KiB are the limit; largest parts unpacked: {parts}; verify fewer Kustomizations in one installation, or accept or cure what is open", LIMIT >> 10)]
    TooLarge {
        /// `namespace/name`.
        place: String,
        /// Its packed size in KiB.
        packed: usize,
        /// The largest parts with their sizes.
        parts: String,
    },
    /// The state could not be packed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It was to be saved before it was loaded.
    #[error("the state was to be saved before it was loaded")]
    NotLoaded,
    /// The system gave no random numbers.
    #[error("no random numbers for a new id")]
    Random(#[source] std::io::Error),
}

/// What is known of the ConfigMap.
enum Known {
    /// Nothing yet.
    Nothing,
    /// There is none.
    Absent,
    /// As it was read or written last, with its resourceVersion.
    Object(Box<ConfigMap>),
}

/// What this run knows.
struct Memory {
    known: Known,
    /// Bytes whose write got no answer: they may yet come to stand there.
    tried: Option<Vec<u8>>,
}

/// What became of one write.
enum Put {
    /// It stands there.
    Written(Box<ConfigMap>),
    /// Something else does.
    Conflict(Option<Box<ConfigMap>>),
    /// It is not known.
    Unknown(StoreError),
    /// It was refused.
    Refused(StoreError),
}

/// The state in a ConfigMap.
pub struct ConfigMapStore {
    api: Api<ConfigMap>,
    namespace: String,
    name: String,
    memory: Mutex<Memory>,
}

impl ConfigMapStore {
    /// The usual name.
    pub const NAME: &str = "netpol-verify-state";

    /// The state in ConfigMap `name` of `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            memory: Mutex::new(Memory { known: Known::Nothing, tried: None }),
        }
    }

    /// The state in an object that was read otherwise; `None` where no run has written one yet.
    ///
    /// # Errors
    /// It holds something that is not a state of this program.
    pub fn state_in(object: &ConfigMap) -> Result<Option<State>, StoreError> {
        let metadata = &object.metadata;
        let place = || {
            let [namespace, name] =
                [&metadata.namespace, &metadata.name].map(|part| part.as_deref().unwrap_or_default());
            format!("{namespace}/{name}")
        };
        match stored(object) {
            Some(bytes) => {
                codec::decode(bytes).map(Some).map_err(|source| StoreError::Unreadable { place: place(), source })
            }
            // An empty ConfigMap is what an installation ships, so that no right to create one is needed.
            None if !object.data.iter().flatten().any(|(key, _)| key == SUMMARY) => Ok(None),
            None => Err(StoreError::Lost { place: place() }),
        }
    }

    fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn trouble(&self, verb: &'static str, error: &kube::Error) -> StoreError {
        let reason = match error {
            kube::Error::Api(status) if status.is_forbidden() => format!(
                "forbidden: add {verb} on configmaps (resourceNames: {}) to Role netpol-verify in {}",
                self.name, self.namespace
            ),
            other => reason(other),
        };
        StoreError::Api { verb, place: self.place(), reason }
    }

    async fn get(&self) -> Result<Option<ConfigMap>, StoreError> {
        within(self.api.get_opt(&self.name)).await.map_err(|error| self.trouble("get", &error))
    }

    async fn read(&self) -> Result<State, StoreError> {
        let mut memory = self.memory.lock().await;
        let object = self.get().await?;
        let state = object.as_ref().map(Self::state_in).transpose()?.flatten();
        let state = state.map_or_else(fresh, Ok)?;
        let known = object.map_or(Known::Absent, |object| Known::Object(Box::new(object)));
        *memory = Memory { known, tried: None };
        Ok(state)
    }

    async fn write(&self, state: &State) -> Result<(), StoreError> {
        let mut memory = self.memory.lock().await;
        let packed = codec::encode(state)?;
        let summary = summary(state);
        if packed.len() + summary.len() > LIMIT {
            let parts = largest(state);
            return Err(StoreError::TooLarge { place: self.place(), packed: packed.len() >> 10, parts });
        }
        // A second round only where an earlier write of this run, thought lost, turns out to stand there.
        for _ in 0..2 {
            match self.put(&memory.known, &packed, &summary).await {
                Put::Written(object) => {
                    *memory = Memory { known: Known::Object(object), tried: None };
                    return Ok(());
                }
                Put::Conflict(Some(object)) if memory.tried.is_some() && stored(&object) == memory.tried.as_deref() => {
                    *memory = Memory { known: Known::Object(object), tried: None };
                }
                Put::Conflict(_) => break,
                Put::Unknown(trouble) => {
                    memory.tried = Some(packed);
                    return Err(trouble);
                }
                Put::Refused(trouble) => return Err(trouble),
            }
        }
        Err(StoreError::Conflict { place: self.place() })
    }

    /// One write over what is known.
    async fn put(&self, known: &Known, packed: &[u8], summary: &str) -> Put {
        let mut object = match known {
            Known::Nothing => return Put::Refused(StoreError::NotLoaded),
            Known::Absent => self.new_object(),
            Known::Object(object) => (**object).clone(),
        };
        object.binary_data.get_or_insert_default().insert(KEY.to_owned(), ByteString(packed.to_owned()));
        object.data.get_or_insert_default().insert(SUMMARY.to_owned(), summary.to_owned());
        let post = PostParams::default();
        let (verb, written) = match known {
            Known::Object(_) => ("update", within(self.api.replace(&self.name, &post, &object)).await),
            Known::Nothing | Known::Absent => ("create", within(self.api.create(&post, &object)).await),
        };
        let error = match written {
            Ok(written) => return Put::Written(Box::new(written)),
            Err(error) => error,
        };
        let conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
        if matches!(&error, kube::Error::Api(status) if status.code < 500) && !conflict {
            return Put::Refused(self.trouble(verb, &error));
        }
        // An answer that was lost, or a retry by kube itself, looks like a conflict with oneself: the same bytes
        // stand there, and no other run can have written them.
        match self.get().await {
            Ok(Some(object)) if stored(&object) == Some(packed) => Put::Written(Box::new(object)),
            Ok(object) if conflict => Put::Conflict(object.map(Box::new)),
            _ => Put::Unknown(self.trouble(verb, &error)),
        }
    }

    fn new_object(&self) -> ConfigMap {
        let label = ("app.kubernetes.io/name".to_owned(), "netpol-verify".to_owned());
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([label])),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }
}

impl Store for ConfigMapStore {
    async fn load(&self) -> Result<State, Fault> {
        Ok(self.read().await?)
    }

    async fn save(&self, state: &State) -> Result<(), Fault> {
        self.write(state).await?;
        tracing::debug!(seq = state.seq, "state was written");
        Ok(())
    }
}

/// A request with a time limit: kube's own retries go on for minutes.
pub(super) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let silent = || kube::Error::Service(format!("no answer within {} s", PATIENCE.as_secs()).into());
    tokio::time::timeout(PATIENCE, request).await.unwrap_or_else(|_| Err(silent()))
}

fn stored(object: &ConfigMap) -> Option<&[u8]> {
    object.binary_data.as_ref()?.get(KEY).map(|bytes| bytes.0.as_slice())
}

/// An empty state with an id of its own.
fn fresh() -> Result<State, StoreError> {
    Ok(State { version: VERSION, id: random_id().map_err(StoreError::Random)?, ..State::default() })
}

/// 16 hexadecimal digits that nobody else has.
pub(super) fn random_id() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// A few lines for `kubectl get configmap -o yaml`; never read back.
fn summary(state: &State) -> String {
    let mut text = format!("version: {VERSION}\nseq: {}\n", state.seq);
    let mut line = |key: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{key}: {value}");
    };
    if let Some(checked) = &state.checked {
        line("verdict", checked.verdict.word());
        line("finished", &checked.finished);
        for kustomization in &checked.kustomizations {
            line(&format!("checked {}", kustomization.id), &kustomization.revision.0);
        }
    }
    for (id, verified) in &state.verified {
        line(&format!("verified {id}"), &format!("{} at {}", verified.revision, verified.at));
    }
    line("open findings", &state.findings.len().to_string());
    line("unsent messages", &state.outbox.len().to_string());
    text.chars().take(8_000).collect()
}

/// The three largest parts of a state with their sizes as JSON.
fn largest(state: &State) -> String {
    let value = serde_json::to_value(state).unwrap_or_default();
    let mut sizes = Vec::new();
    for (name, part) in value.as_object().into_iter().flatten() {
        match (name.as_str(), part.as_object()) {
            ("checked", Some(parts)) => {
                sizes.extend(parts.iter().map(|(inner, part)| (part.to_string().len(), format!("checked.{inner}"))));
            }
            _ => sizes.push((part.to_string().len(), name.clone())),
        }
    }
    sizes.sort_by(|a, b| b.cmp(a));
    let texts: Vec<_> =
        sizes.iter().take(3).map(|(size, name)| format!("{name} {} KiB", size.div_ceil(1024))).collect();
    texts.join(", ")
}
