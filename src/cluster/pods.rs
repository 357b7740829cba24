//! Pods as the model knows them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container as ApiContainer, Pod, PodSpec, PodStatus};

use crate::model::{Container, ContainerPort, Phase, PodInfo, PodRef, Protocol, Workload};

use super::owners::{Owner, Owners};

/// Annotations that decide something here; the rest may be large and is left out.
const ANNOTATIONS: [&str; 1] = ["netpol-verify/probe"];

/// A pod whose owner is still to be looked up.
pub(super) struct Unowned {
    /// The pod, as a workload of its own.
    pub pod: PodInfo,
    /// Its owner.
    pub owner: Option<Owner>,
}

impl Unowned {
    /// With its workload.
    pub(super) fn owned(mut self, owners: &Owners) -> PodInfo {
        self.pod.workload = owners.workload(&self.pod.id.namespace, &self.pod.id.name, self.owner.as_ref());
        self.pod
    }
}

/// Reads a pod; `None` for one without a name, which the API server does not give.
pub(super) fn read(pod: Pod) -> Option<Unowned> {
    let owner = Owner::of(&pod.metadata);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let id = PodRef { namespace: pod.metadata.namespace?, name: pod.metadata.name? };
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let phase = phase(&status);
    let annotations = pod.metadata.annotations.unwrap_or_default();
    let pod = PodInfo {
        uid: pod.metadata.uid.unwrap_or_default(),
        labels: pod.metadata.labels.unwrap_or_default(),
        annotations: annotations.into_iter().filter(|(key, _)| ANNOTATIONS.contains(&key.as_str())).collect(),
        // A finished pod has lost its address: another pod may have it by now.
        ips: if phase == Phase::Finished { Vec::new() } else { ips(&status) },
        phase,
        ready: is_ready(&status),
        terminating,
        host_network: spec.host_network == Some(true),
        workload: Workload { kind: "Pod".to_owned(), namespace: id.namespace.clone(), name: id.name.clone() },
        ports: ports(&spec),
        containers: containers(&spec, &status),
        service_account: account(&spec),
        node: spec.node_name,
        id,
    };
    Some(Unowned { pod, owner })
}

/// The ServiceAccount of a pod or template.
pub(super) fn account(spec: &PodSpec) -> String {
    spec.service_account_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned())
}

/// Ports of containers, then of init containers.
///
/// An init container with `restartPolicy: Always` is a sidecar: it runs beside the others, and its ports are served.
pub(super) fn ports(spec: &PodSpec) -> Vec<ContainerPort> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let usual = spec.containers.iter().map(|container| (container, false));
    usual
        .chain(init.iter().map(|container| (container, !is_sidecar(container))))
        .flat_map(|(container, init)| container.ports.iter().flatten().map(move |port| (port, init)))
        .filter_map(|(port, init)| {
            Some(ContainerPort {
                name: port.name.clone().filter(|name| !name.is_empty()),
                number: u16::try_from(port.container_port).ok().filter(|number| *number > 0)?,
                protocol: port.protocol.as_deref().map_or(Some(Protocol::Tcp), |text| text.parse().ok())?,
                init,
            })
        })
        .collect()
}

fn is_sidecar(container: &ApiContainer) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn containers(spec: &PodSpec, status: &PodStatus) -> Vec<Container> {
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let running: BTreeMap<&str, bool> = statuses
        .map(|status| (status.name.as_str(), status.state.as_ref().is_some_and(|state| state.running.is_some())))
        .collect();
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let all = spec.containers.iter().chain(sidecars);
    all.map(|container| Container {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        running: running.get(container.name.as_str()).copied().unwrap_or(false),
    })
    .collect()
}

fn phase(status: &PodStatus) -> Phase {
    match status.phase.as_deref() {
        Some("Pending") | None => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded" | "Failed") => Phase::Finished,
        Some(_) => Phase::Unknown,
    }
}

fn is_ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The addresses, the primary one first.
fn ips(status: &PodStatus) -> Vec<std::net::IpAddr> {
    let primary = status.pod_ip.iter().map(String::as_str);
    let all = primary.chain(status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()));
    let mut ips = Vec::new();
    for ip in all.filter_map(|text| text.parse().ok()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> PodInfo {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": "cart-0", "uid": "u1", "labels": {"app": "cart"},
                "annotations": {"netpol-verify/probe": "disabled", "big": "…"}},
            "spec": {"nodeName": "node-1",
                "containers": [{"name": "cart", "image": "cart:1", "ports": [{"containerPort": 80, "name": "http"},
                    {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 70000}, {"containerPort": 9, "protocol": "QUIC"}]}],
                "initContainers": [{"name": "wait", "image": "w:1", "ports": [{"containerPort": 81}]},
                    {"name": "proxy", "image": "p:1", "restartPolicy": "Always", "ports": [{"containerPort": 82}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "cart", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                    "state": {"running": {}}}]}
        });
        change(&mut object);
        read(serde_json::from_value(object).unwrap()).unwrap().owned(&Owners::default())
    }

    #[test]
    fn a_running_pod_is_usable_with_all_that_probes_need() {
        let pod = pod(|_| ());
        assert!(pod.is_usable());
        assert_eq!(pod.ips, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        let ports: Vec<_> = pod.ports.iter().map(|p| (p.number, p.protocol, p.init)).collect();
        // Impossible ports and unknown protocols are no ports; a sidecar's port is served.
        let expected = [
            (80, Protocol::Tcp, false),
            (53, Protocol::Udp, false),
            (81, Protocol::Tcp, true),
            (82, Protocol::Tcp, false),
        ];
        assert_eq!(ports, expected);
        let containers: Vec<_> = pod.containers.iter().map(|c| (c.name.as_str(), c.running)).collect();
        assert_eq!(containers, [("cart", true), ("proxy", false)]);
        assert_eq!(pod.annotations.keys().collect::<Vec<_>>(), ["netpol-verify/probe"]);
        assert_eq!((pod.service_account.as_str(), pod.node.as_deref()), ("default", Some("node-1")));
        assert_eq!(pod.workload.kind, "Pod");
    }

    #[test]
    fn a_pod_that_is_not_there_yet_or_no_more_is_not_usable() {
        let finished = pod(|object| object["status"]["phase"] = json!("Succeeded"));
        assert_eq!((finished.phase, finished.ips.len(), finished.is_usable()), (Phase::Finished, 0, false));
        let pending = pod(|object| object["status"] = json!({}));
        assert_eq!((pending.phase, pending.ips.len(), pending.is_usable()), (Phase::Pending, 0, false));
        let going = pod(|object| object["metadata"]["deletionTimestamp"] = json!("2026-11-20T09:12:00Z"));
        assert!(going.terminating && !going.is_usable());
        let unready = pod(|object| object["status"]["conditions"][0]["status"] = json!("False"));
        assert!(!unready.is_usable());
        let bad = pod(|object| object["status"]["podIPs"] = json!([{"ip": "not an address"}]));
        assert_eq!(bad.ips.len(), 1, "what is no address is none");
    }
}
