//! `NetworkPolicyPort`: numbers, ranges and names.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicyPort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::End;

/// Answers whether an entry of `ports` matches traffic to `port` of `dst`.
pub(crate) fn matches(entry: &NetworkPolicyPort, dst: End<'_>, protocol: &str, port: u16) -> bool {
    // "protocol represents the protocol (TCP, UDP, or SCTP) which traffic must match. If not specified, this
    // field defaults to TCP."
    if entry.protocol.as_deref().unwrap_or("TCP") != protocol {
        return false;
    }
    match &entry.port {
        // "If this field is not provided, this matches all port names and numbers."
        None => true,
        // "endPort indicates that the range of ports from port to endPort if set, inclusive, should be allowed".
        Some(IntOrString::Int(first)) => {
            let last = entry.end_port.unwrap_or(*first);
            *first <= i32::from(port) && i32::from(port) <= last
        }
        // "This can either be a numerical or named port on a pod." The pod is the one that the traffic goes to,
        // in both directions; an address that is no pod's names no ports, so the name never matches there. Which
        // kind of peer matched the pod makes no difference: the traffic must match ports and peers, each alone.
        Some(IntOrString::String(name)) => match dst {
            End::Pod(pod, _) => numbers(pod, name, protocol).contains(&i32::from(port)),
            End::Address(_) => false,
        },
    }
}

/// Gives the ports that the pod's containers (of any kind that can declare ports) call so.
pub(crate) fn numbers(pod: &Pod, name: &str, protocol: &str) -> Vec<i32> {
    let mut numbers = Vec::new();
    let Some(spec) = &pod.spec else {
        return numbers;
    };
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for declared in container.ports.iter().flatten() {
            // ContainerPort: "Protocol for port. Must be UDP, TCP, or SCTP. Defaults to "TCP"."
            let same_protocol = declared.protocol.as_deref().unwrap_or("TCP") == protocol;
            if same_protocol && declared.name.as_deref() == Some(name) {
                numbers.push(declared.container_port);
            }
        }
    }
    numbers
}
