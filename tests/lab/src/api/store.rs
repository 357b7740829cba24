//! Objects with uids, resourceVersions and generations, and what became of them.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{
    kinds::Kind,
    object::{defaulted, merge_patch, set, text},
    refusal::Refusal,
    valid,
};

/// Changes that are remembered for watches.
const HISTORY: usize = 4096;
/// What the API server takes of one object: etcd's limit of a request.
const LARGEST: usize = 1_500_000;
/// The bound of a ConfigMap's data.
const LARGEST_CONFIG_MAP: usize = 1 << 20;

/// Where an object is: resource, namespace ("" for none), name.
pub type Key = (String, String, String);

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// The resourceVersion that it made.
    pub version: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub what: &'static str,
    /// The resource.
    pub resource: String,
    /// The object after it; a deleted one as it was.
    pub object: Value,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Value>,
    version: u64,
    history: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    floor: u64,
    newest: watch::Sender<u64>,
}

impl Default for Store {
    fn default() -> Self {
        let (objects, history) = (BTreeMap::new(), VecDeque::new());
        Self { objects, version: 1, history, floor: 0, newest: watch::Sender::new(1) }
    }
}

impl Store {
    /// The newest resourceVersion.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Tells when there is something newer.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&key(resource, namespace, name))
    }

    /// The objects of a resource, of one namespace or ("") of all.
    #[must_use]
    pub fn all(&self, resource: &str, namespace: &str) -> Vec<&Value> {
        let from = key(resource, namespace, "");
        let objects = self.objects.range(from..).take_while(|((of, _, _), _)| of == resource);
        objects.filter(|((_, of, _), _)| namespace.is_empty() || of == namespace).map(|(_, object)| object).collect()
    }

    /// The changes of a resource after `version`.
    ///
    /// # Errors
    /// 410: they are not known any more.
    pub fn since(&self, resource: &str, version: u64) -> Result<Vec<Change>, Refusal> {
        if version < self.floor {
            return Err(Refusal::new(410, format!("too old resource version: {version} ({})", self.floor)));
        }
        let newer = self.history.iter().filter(|change| change.version > version && change.resource == resource);
        Ok(newer.cloned().collect())
    }

    /// Forgets all changes so far, as compaction does.
    pub fn compact(&mut self) {
        self.history.clear();
        self.floor = self.version;
    }

    /// Creates an object.
    ///
    /// # Errors
    /// 409: it exists; 413, 422: it cannot be.
    pub fn create(&mut self, kind: &Kind, namespace: &str, mut object: Value) -> Result<Value, Refusal> {
        let next = self.version + 1;
        let metadata = metadata(&mut object);
        if !metadata.contains_key("name")
            && let Some(prefix) = metadata.get("generateName").and_then(Value::as_str)
        {
            let name = format!("{prefix}{:05x}", next * 7919 % 0xf_ffff);
            metadata.insert("name".to_owned(), name.into());
        }
        let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Refusal::new(422, "metadata.name: Required value: name or generateName is required"));
        }
        if kind.namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        metadata.insert("uid".to_owned(), format!("00000000-0000-4000-8000-{next:012x}").into());
        metadata.insert("creationTimestamp".to_owned(), now().into());
        metadata.insert("generation".to_owned(), 1.into());
        let key = key(&kind.resource(), namespace, &name);
        if self.objects.contains_key(&key) {
            return Err(Refusal::new(409, format!("{} \"{name}\" already exists", kind.resource())));
        }
        self.write(kind, key, "ADDED", object)
    }

    /// Replaces an object, or with `status` its status alone.
    ///
    /// # Errors
    /// 404; 409: it was changed since `metadata.resourceVersion`, or has another uid.
    pub fn update(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        new: Value,
        status: bool,
    ) -> Result<Value, Refusal> {
        let key = key(&kind.resource(), namespace, name);
        let old = self.objects.get(&key).ok_or_else(|| Refusal::not_found(&kind.resource(), name))?;
        for field in ["resourceVersion", "uid"] {
            let wanted = text(&new, &format!("/metadata/{field}"));
            if !wanted.is_empty() && wanted != text(old, &format!("/metadata/{field}")) {
                let message = "the object has been modified; please apply your changes to the latest version";
                return Err(Refusal::new(409, message));
            }
        }
        let mut object = old.clone();
        if status {
            set(&mut object, "status", new.get("status").cloned());
        } else {
            object = new;
            // An update of a main object leaves its status alone.
            set(&mut object, "status", old.get("status").cloned());
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1);
            let changed = old.get("spec") != defaulted(kind, object.clone()).get("spec");
            let kept = ["uid", "creationTimestamp", "name", "namespace"];
            let kept = kept.map(|field| (field, old.pointer(&format!("/metadata/{field}")).cloned()));
            let metadata = metadata(&mut object);
            for (field, value) in kept {
                match value {
                    Some(value) => metadata.insert(field.to_owned(), value),
                    None => metadata.remove(field),
                };
            }
            metadata.insert("generation".to_owned(), (generation + i64::from(changed)).into());
        }
        self.write(kind, key, "MODIFIED", object)
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub fn patch(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
        status: bool,
    ) -> Result<Value, Refusal> {
        let old = self.get(&kind.resource(), namespace, name);
        let mut object = old.cloned().ok_or_else(|| Refusal::not_found(&kind.resource(), name))?;
        merge_patch(&mut object, patch);
        self.update(kind, namespace, name, object, status)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// 404.
    pub fn delete(&mut self, kind: &Kind, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let key = key(&kind.resource(), namespace, name);
        let object = self.objects.remove(&key).ok_or_else(|| Refusal::not_found(&kind.resource(), name))?;
        self.version += 1;
        self.note(kind.resource(), "DELETED", object.clone());
        Ok(object)
    }

    fn write(&mut self, kind: &Kind, key: Key, what: &'static str, object: Value) -> Result<Value, Refusal> {
        let mut object = defaulted(kind, object);
        check(kind, &object)?;
        self.version += 1;
        set(&mut object, "apiVersion", Some(kind.api_version().into()));
        set(&mut object, "kind", Some(kind.kind.clone().into()));
        metadata(&mut object).insert("resourceVersion".to_owned(), self.version.to_string().into());
        self.objects.insert(key, object.clone());
        self.note(kind.resource(), what, object.clone());
        Ok(object)
    }

    fn note(&mut self, resource: String, what: &'static str, object: Value) {
        self.history.push_back(Change { version: self.version, what, resource, object });
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.floor = oldest.version;
        }
        self.newest.send_replace(self.version);
    }
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    (resource.to_owned(), namespace.to_owned(), name.to_owned())
}

/// Now, to the second, as the API writes it.
#[must_use]
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn check(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    valid::check(kind, object)?;
    let size = object.to_string().len();
    if size > LARGEST {
        return Err(Refusal::new(413, format!("Request entity too large: limit is {LARGEST}")));
    }
    let data = ["data", "binaryData"].map(|field| object.get(field).map_or(0, |data| data.to_string().len()));
    if kind.kind == "ConfigMap" && data.iter().sum::<usize>() * 3 / 4 > LARGEST_CONFIG_MAP {
        return Err(Refusal::new(422, "ConfigMap is invalid: []: Too long: may not be more than 1048576 bytes"));
    }
    Ok(())
}

/// The metadata, made where there is none.
fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    super::object::member(object, "metadata")
}

/// An object for [`Store::create`].
#[must_use]
pub fn named(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}})
}
