//! What is asked of a pod and its namespace.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Cluster;

/// "Host networking requested for this pod. Use the host's network namespace. Default to false."
pub(crate) fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true)
}

/// Succeeded: "All containers in the Pod have terminated in success"; Failed: "All containers in the Pod have
/// terminated". A pod that is only being deleted (`deletionTimestamp`) still runs and keeps its address.
pub(crate) fn finished(pod: &Pod) -> bool {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Succeeded" | "Failed") => true,
        Some(_) | None => false,
    }
}

/// "An empty namespace is equivalent to the "default" namespace".
pub(crate) fn namespace(metadata: &ObjectMeta) -> &str {
    match metadata.namespace.as_deref() {
        None | Some("") => "default",
        Some(name) => name,
    }
}

pub(crate) fn same(one: &Pod, other: &Pod) -> bool {
    namespace(&one.metadata) == namespace(&other.metadata) && one.metadata.name == other.metadata.name
}

pub(crate) fn labels(pod: &Pod) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    pod.metadata.labels.as_ref().unwrap_or(&NONE)
}

/// Labels of the namespace that the pod is in.
pub(crate) fn namespace_labels(cluster: &Cluster, pod: &Pod) -> BTreeMap<String, String> {
    let name = namespace(&pod.metadata);
    let mut labels = BTreeMap::new();
    for candidate in &cluster.namespaces {
        if candidate.metadata.name.as_deref() == Some(name) {
            labels = candidate.metadata.labels.clone().unwrap_or_default();
        }
    }
    // "The Kubernetes control plane sets an immutable label kubernetes.io/metadata.name on all namespaces. The
    // value of the label is the namespace name." A namespace as written in Git does not have it yet.
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    labels
}

/// "podIPs holds the IP addresses allocated to the pod. If this field is specified, the 0th entry must match the
/// podIP field."
pub(crate) fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let listed = status.pod_ips.iter().flatten().map(|entry| &entry.ip);
    parsed(listed.chain(&status.pod_ip))
}

/// The addresses of the node that the pod runs on.
pub(crate) fn node_addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let listed = status.host_ips.iter().flatten().map(|entry| &entry.ip);
    parsed(listed.chain(&status.host_ip))
}

fn parsed<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for text in texts {
        if let Ok(address) = text.parse()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}
