//! Where a Service leads.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::json::{list, map, text, texts};
use super::world::World;
use crate::pod;
use crate::port::numbers;

/// An address and a port behind a Service. An endpoint without ports has the port 0, that nothing is sent to.
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    pub(super) protocol: String,
    pub(super) port: u16,
}

/// The endpoints in the EndpointSlices of a Service, ready or not. Offline, where there are none, the pods that it
/// selects.
pub(super) fn endpoints(world: &World, namespace: &str, name: &str) -> Vec<Endpoint> {
    let here = |one: &&Value| text(one, "/metadata/namespace") == namespace;
    let slices: Vec<&Value> = world
        .of_kind("discovery.k8s.io", "EndpointSlice")
        .filter(here)
        .filter(|slice| text(slice, "/metadata/labels/kubernetes.io~1service-name") == name)
        .collect();
    if !slices.is_empty() {
        return slices.into_iter().flat_map(in_slice).collect();
    }
    let mut services = world.of_kind("v1", "Service").filter(here);
    services.find(|service| text(service, "/metadata/name") == name).map_or_else(Vec::new, |service| {
        let pods = world.plain.pods.iter().filter(|pod| is_behind(pod, service));
        pods.flat_map(|pod| on_pod(pod, service)).collect()
    })
}

fn in_slice(slice: &Value) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for endpoint in list(slice, "/endpoints") {
        for address in texts(endpoint, "/addresses").iter().filter_map(|address| address.parse().ok()) {
            found.push(Endpoint { address, protocol: String::new(), port: 0 });
            for port in list(slice, "/ports") {
                let number = port.pointer("/port").and_then(Value::as_u64);
                let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
                found.push(Endpoint { address, protocol: protocol_of(port), port: number });
            }
        }
    }
    found
}

/// ServicePort and EndpointPort: "Default is TCP."
fn protocol_of(port: &Value) -> String {
    let given = text(port, "/protocol");
    if given.is_empty() { "TCP" } else { given }.to_owned()
}

fn is_behind(pod: &Pod, service: &Value) -> bool {
    let selector = map(service, "/spec/selector");
    !selector.is_empty()
        && !pod::host_network(pod)
        && !pod::finished(pod)
        && pod::namespace(&pod.metadata) == text(service, "/metadata/namespace")
        && selector.iter().all(|(key, value)| pod::labels(pod).get(key) == Some(value))
}

fn on_pod(pod: &Pod, service: &Value) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for address in pod::addresses(pod) {
        found.push(Endpoint { address, protocol: String::new(), port: 0 });
        for port in list(service, "/spec/ports") {
            let protocol = protocol_of(port);
            // "Number or name of the port to access on the pods targeted by the service. [..] If this is not
            // specified, the value of the 'port' field is used".
            let named = text(port, "/targetPort");
            let given = port.pointer("/targetPort").and_then(Value::as_i64);
            let number = given.or_else(|| port.pointer("/port").and_then(Value::as_i64));
            let ports = if named.is_empty() {
                number.and_then(|number| i32::try_from(number).ok()).into_iter().collect()
            } else {
                numbers(pod, named, &protocol)
            };
            let ports = ports.into_iter().filter_map(|port| u16::try_from(port).ok());
            found.extend(ports.map(|port| Endpoint { address, protocol: protocol.clone(), port }));
        }
    }
    found
}
