//! From the oracle's API objects to the engine's model.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::{
    core::v1::{Container as ApiContainer, Pod, PodSpec},
    networking::v1::NetworkPolicy,
};
use netpol_verify::{
    engine::read,
    model::{
        Container, ContainerPort, NamespaceInfo, Origins, Phase, PodInfo, PodRef, Policy, PolicyDocument, PolicyRef,
        Snapshot, Workload,
    },
};
use oracle::Cluster;

/// The key that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces and pods of a cluster. Every second pod of a namespace is of the same workload, so that its pods differ
/// in all that may differ.
pub fn snapshot(cluster: &Cluster) -> Snapshot {
    let namespaces = cluster.namespaces.iter().map(|namespace| {
        let name = namespace.metadata.name.clone().unwrap();
        let mut labels = namespace.metadata.labels.clone().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), name.clone());
        (name, NamespaceInfo { labels, terminating: false })
    });
    Snapshot {
        namespaces: namespaces.collect(),
        pods: cluster.pods.iter().enumerate().map(|(number, pod)| self::pod(number, pod)).collect(),
        ..Snapshot::default()
    }
}

/// The policies of a cluster, as the engine reads them.
pub fn policies(cluster: &Cluster) -> Vec<Policy> {
    cluster.policies.iter().map(|policy| read::policy(&document(policy)).unwrap()).collect()
}

/// A policy as a document without origins.
pub fn document(policy: &NetworkPolicy) -> PolicyDocument {
    PolicyDocument {
        id: PolicyRef::network_policy(
            policy.metadata.namespace.as_deref().unwrap(),
            policy.metadata.name.as_deref().unwrap(),
        ),
        api_version: "networking.k8s.io/v1".to_owned(),
        object: serde_json::to_value(policy).unwrap(),
        origins: Origins::default(),
        kustomization: None,
    }
}

/// The name of a pod.
pub fn id(pod: &Pod) -> PodRef {
    PodRef { namespace: pod.metadata.namespace.clone().unwrap(), name: pod.metadata.name.clone().unwrap() }
}

fn pod(number: usize, pod: &Pod) -> PodInfo {
    let (id, spec, status) = (id(pod), pod.spec.clone().unwrap(), pod.status.clone().unwrap());
    let phase = match status.phase.as_deref() {
        Some("Running") => Phase::Running,
        Some("Succeeded" | "Failed") => Phase::Finished,
        _ => Phase::Unknown,
    };
    let init = spec.init_containers.iter().flatten();
    let ports = spec.containers.iter().flat_map(|c| ports(c, false));
    let ports = ports.chain(init.flat_map(|c| self::ports(c, c.restart_policy.as_deref() != Some("Always"))));
    let container =
        |c: &ApiContainer| Container { name: c.name.clone(), image: c.image.clone().unwrap(), running: true };
    PodInfo {
        uid: format!("uid-{number}"),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
        ips: if phase == Phase::Finished { Vec::new() } else { addresses(pod) },
        phase,
        ready: phase == Phase::Running,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        host_network: spec.host_network == Some(true),
        node: Some("node-1".to_owned()),
        service_account: account(&spec),
        workload: Workload {
            kind: "Deployment".to_owned(),
            namespace: id.namespace.clone(),
            name: format!("app-{}", number % 2),
        },
        ports: ports.collect(),
        containers: spec.containers.iter().map(container).collect(),
        id,
    }
}

/// The API server writes `default` where none is named.
fn account(spec: &PodSpec) -> String {
    spec.service_account_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned())
}

/// The addresses in a pod's status.
pub fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let status = pod.status.as_ref().unwrap();
    status.pod_ips.iter().flatten().map(|entry| entry.ip.parse().unwrap()).collect()
}

fn ports(container: &ApiContainer, init: bool) -> impl Iterator<Item = ContainerPort> + '_ {
    container.ports.iter().flatten().map(move |port| ContainerPort {
        name: port.name.clone(),
        number: port.container_port.try_into().unwrap(),
        protocol: port.protocol.as_deref().unwrap_or("TCP").parse().unwrap(),
        init,
    })
}
