//! What is known, and under which labels.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::json::{map, text, texts};
use crate::block::contains;
use crate::{Cluster, End, pod};

/// Everything that an answer depends on, of all kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Namespaces, pods and `networking.k8s.io/v1` policies.
    pub plain: Cluster,
    /// All other documents, as the API server (or Git) has them.
    pub others: Vec<Value>,
}

/// A document of a plain kind that is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {kind} `{name}`")]
pub struct Unreadable {
    kind: String,
    name: String,
    #[source]
    source: serde_json::Error,
}

impl World {
    /// Sorts documents by kind.
    ///
    /// # Errors
    /// A Namespace, Pod or NetworkPolicy has a field of another type than the API gives it.
    pub fn read(documents: impl IntoIterator<Item = Value>) -> Result<Self, Unreadable> {
        let mut world = Self::default();
        for document in documents {
            match (text(&document, "/apiVersion"), text(&document, "/kind")) {
                ("v1", "Namespace") => world.plain.namespaces.push(typed(document)?),
                ("v1", "Pod") => world.plain.pods.push(typed(document)?),
                ("networking.k8s.io/v1", "NetworkPolicy") => world.plain.policies.push(typed(document)?),
                _ => world.others.push(document),
            }
        }
        Ok(world)
    }

    /// Gives the end that answers at `address`: the pod that has it, else the bare address.
    #[must_use]
    pub fn end_at(&self, address: IpAddr) -> End<'_> {
        self.plain.end_at(address)
    }

    /// The documents of one kind, in any of these API groups.
    pub(super) fn of_kind<'a>(&'a self, group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.others
            .iter()
            .filter(move |one| text(one, "/kind") == kind && text(one, "/apiVersion").split('/').next() == Some(group))
    }

    /// The documents of one of Calico's kinds, from whichever API they were read.
    pub(super) fn of_calico<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of_kind("projectcalico.org", kind).chain(self.of_kind("crd.projectcalico.org", kind))
    }
}

fn typed<T: DeserializeOwned>(document: Value) -> Result<T, Unreadable> {
    let (kind, name) = (text(&document, "/kind").to_owned(), text(&document, "/metadata/name").to_owned());
    serde_json::from_value(document).map_err(|source| Unreadable { kind, name, source })
}

/// A pod or a network set, as Calico's selectors see it.
pub(super) struct Known<'a> {
    /// The pod, unless it is a set.
    pub(super) pod: Option<&'a Pod>,
    /// Its own labels and those that Calico adds.
    pub(super) labels: BTreeMap<String, String>,
    /// Whether it is in a namespace: a GlobalNetworkSet is in none.
    pub(super) namespaced: bool,
    /// Labels of its namespace.
    pub(super) namespace_labels: BTreeMap<String, String>,
    /// Labels of its service account; a set has none.
    pub(super) account_labels: BTreeMap<String, String>,
}

/// Everything that has the address of an end: the pod, and each network set that holds it.
pub(super) fn known_at<'a>(world: &World, end: End<'a>) -> Vec<Known<'a>> {
    let address = end.address();
    let mut known = Vec::new();
    if let End::Pod(pod, _) = end {
        known.push(known_pod(world, pod));
    }
    for kind in ["NetworkSet", "GlobalNetworkSet"] {
        for set in world.of_calico(kind) {
            if texts(set, "/spec/nets").iter().any(|net| net_contains(net, address)) {
                known.push(known_set(world, set));
            }
        }
    }
    known
}

/// A block, or an address by itself.
pub(super) fn net_contains(net: &str, address: IpAddr) -> bool {
    if net.contains('/') { contains(net, address) } else { net.parse() == Ok(address) }
}

fn known_pod<'a>(world: &World, pod: &'a Pod) -> Known<'a> {
    let namespace = pod::namespace(&pod.metadata);
    let account = account_of(pod);
    let mut labels = pod::labels(pod).clone();
    labels.insert("projectcalico.org/namespace".to_owned(), namespace.to_owned());
    labels.insert("projectcalico.org/orchestrator".to_owned(), "k8s".to_owned());
    // However long: "it is possible that a serviceaccount name is longer than the allowable character limit for a label",
    // so it is added where endpoints are read.
    labels.insert("projectcalico.org/serviceaccount".to_owned(), account.to_owned());
    Known {
        pod: Some(pod),
        labels,
        namespaced: true,
        namespace_labels: namespace_labels(world, namespace),
        account_labels: account_labels(world, namespace, account),
    }
}

fn known_set<'a>(world: &World, set: &Value) -> Known<'a> {
    let namespace = text(set, "/metadata/namespace");
    let mut labels = labels_of(set);
    let mut of_namespace = BTreeMap::new();
    if !namespace.is_empty() {
        labels.insert("projectcalico.org/namespace".to_owned(), namespace.to_owned());
        of_namespace = namespace_labels(world, namespace);
    }
    Known {
        pod: None,
        labels,
        namespaced: !namespace.is_empty(),
        namespace_labels: of_namespace,
        account_labels: BTreeMap::new(),
    }
}

/// The labels of an object of Calico's. Under `crd.projectcalico.org` they are kept in an annotation.
fn labels_of(object: &Value) -> BTreeMap<String, String> {
    let kept = text(object, "/metadata/annotations/projectcalico.org~1metadata");
    let mut labels = map(object, "/metadata/labels");
    if let Ok(metadata) = serde_json::from_str::<Value>(kept) {
        labels.extend(map(&metadata, "/labels"));
    }
    labels
}

/// Every pod has a service account; the API server writes `default` where none is named.
fn account_of(pod: &Pod) -> &str {
    match pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()) {
        None | Some("") => "default",
        Some(name) => name,
    }
}

fn namespace_labels(world: &World, name: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for namespace in &world.plain.namespaces {
        if namespace.metadata.name.as_deref() == Some(name) {
            labels = namespace.metadata.labels.clone().unwrap_or_default();
        }
    }
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    // Calico adds the name under a key of its own.
    labels.insert("projectcalico.org/name".to_owned(), name.to_owned());
    labels
}

fn account_labels(world: &World, namespace: &str, name: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    // "must be no more than 63 characters": the name is one of the labels, and if it is longer, none of them is taken.
    if name.len() > 63 {
        return labels;
    }
    for account in world.others.iter().filter(|one| text(one, "/kind") == "ServiceAccount") {
        if text(account, "/metadata/namespace") == namespace && text(account, "/metadata/name") == name {
            labels = map(account, "/metadata/labels");
        }
    }
    labels.insert("projectcalico.org/name".to_owned(), name.to_owned());
    labels
}
