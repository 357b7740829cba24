//! By which labels an entry names pods and namespaces.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::Value;

use crate::model::{Labels, NAME_LABEL, PolicyDocument};

const INSTANCE: &str = "app.kubernetes.io/instance";

/// Labels by which people name a workload, best first.
const IDENTITY: [&str; 5] = ["app", "app.kubernetes.io/name", INSTANCE, "k8s-app", "name"];

/// Labels that differ from pod to pod or change with a rollout.
const UNSTABLE: [&str; 13] = [
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "job-name",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "helm.sh/chart",
    "app.kubernetes.io/version",
];

/// The keys by which policies select.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pods: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Keys {
    /// Those of all selectors of these policies.
    pub(super) fn of(documents: &[&PolicyDocument]) -> Self {
        let [pods, namespaces] = ["podSelector", "namespaceSelector"].map(|selector| keys_used(documents, selector));
        Self { pods, namespaces }
    }
}

/// Labels that select the pods: the key that the file's policies use, else a usual one. A key that does not name
/// a workload (`tier`) is joined by one that does, and a chart's name by its instance, so that the entry opens no more
/// than is missing. Empty where the pods have no stable label.
pub(super) fn of_pods(labels: &Labels, keys: &Keys) -> Vec<(String, String)> {
    let used = &keys.pods;
    let stable = |key: &str| labels.get(key).filter(|_| !UNSTABLE.contains(&key));
    let named = IDENTITY.iter().copied().filter(|key| used.contains(*key)).chain(IDENTITY);
    let mut chosen: Vec<&str> = named.filter(|key| stable(key).is_some()).take(1).collect();
    if !chosen.iter().any(|key| used.contains(*key)) {
        chosen.extend(used.iter().map(String::as_str).filter(|key| stable(key).is_some()).take(1));
    }
    if chosen.is_empty() {
        chosen.extend(labels.keys().map(String::as_str).filter(|key| stable(key).is_some()).take(1));
    }
    let name = chosen.first().filter(|key| **key == "app.kubernetes.io/name").and_then(|key| labels.get(*key));
    if name.is_some_and(|name| labels.get(INSTANCE).is_some_and(|instance| instance != name)) {
        chosen.push(INSTANCE);
    }
    chosen.dedup();
    chosen.into_iter().filter_map(|key| Some((key.to_owned(), labels.get(key)?.clone()))).collect()
}

/// The label that selects the namespace. One of the file's own keys only where its value is the namespace's name:
/// others may be shared with further namespaces, and the entry would open those too.
pub(super) fn of_namespace(name: &str, labels: &Labels, keys: &Keys) -> (String, String) {
    let used = &keys.namespaces;
    let own = used.iter().find(|key| labels.get(*key).is_some_and(|value| value == name));
    let key = if used.contains(NAME_LABEL) { NAME_LABEL } else { own.map_or(NAME_LABEL, String::as_str) };
    (key.to_owned(), name.to_owned())
}

/// The block of one address.
pub(super) fn host_block(address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{bits}")
}

/// The keys of `matchLabels` in every selector of that name.
fn keys_used(documents: &[&PolicyDocument], selector: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for document in documents {
        collect(document.object.get("spec").unwrap_or(&Value::Null), selector, &mut keys);
    }
    keys
}

fn collect(value: &Value, selector: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == selector {
                    let labels = value.get("matchLabels").and_then(Value::as_object);
                    keys.extend(labels.into_iter().flatten().map(|(key, _)| key.clone()));
                } else {
                    collect(value, selector, keys);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, selector, keys)),
        _ => {}
    }
}
