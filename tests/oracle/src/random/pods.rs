//! Namespaces and pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use k8s_openapi::api::core::v1::{Container, ContainerPort, HostIP, Namespace, Pod, PodIP, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::Shape;
use crate::Cluster;

/// Keys that pods may carry.
pub(super) const POD_KEYS: [&str; 3] = ["app", "tier", "gw"];
/// Keys that namespaces may carry.
pub(super) const NAMESPACE_KEYS: [&str; 2] = ["team", "gw"];
/// Values of both; the empty one is a value like any other.
pub(super) const VALUES: [&str; 3] = ["a", "b", ""];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Running,
    HostNetwork,
    Terminating,
    Finished(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Container,
    Sidecar,
    InitContainer,
}

#[derive(Clone, Debug)]
struct Draft {
    namespace: usize,
    labels: BTreeMap<String, String>,
    ports: Vec<Option<(u16, &'static str, Place)>>,
    life: Life,
}

/// A cluster without policies.
pub(super) fn cluster(shape: Shape, count: RangeInclusive<usize>) -> impl Strategy<Value = Cluster> {
    let namespaces = vec(labels(&NAMESPACE_KEYS), shape.namespaces.max(1));
    (namespaces, vec(draft(&shape), count)).prop_map(move |(namespaces, drafts)| Cluster {
        namespaces: namespaces.into_iter().enumerate().map(|(number, labels)| namespace(number, labels)).collect(),
        pods: drafts.into_iter().enumerate().map(|(number, draft)| pod(&shape, number, draft)).collect(),
        policies: Vec::new(),
    })
}

/// The addresses that the pod of this number gets.
pub(super) fn addresses(shape: &Shape, number: usize) -> Vec<IpAddr> {
    if !shape.addressed {
        return Vec::new();
    }
    let number = u32::try_from(number).unwrap_or_default();
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(10, 244, 0, 2).to_bits() + number))];
    if shape.ipv6 {
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(
            Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 2).to_bits() + u128::from(number),
        )));
    }
    addresses
}

pub(super) fn namespace_name(number: usize) -> String {
    format!("ns-{number}")
}

fn labels(keys: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, String>> {
    vec(weighted(0.7, select(&VALUES[..])), keys.len()).prop_map(move |values| {
        let pairs = keys.iter().zip(values);
        pairs.filter_map(|(key, value)| Some(((*key).to_owned(), value?.to_owned()))).collect()
    })
}

fn draft(shape: &Shape) -> impl Strategy<Value = Draft> + use<> {
    let mut lives = vec![(20, Just(Life::Running)), (1, Just(Life::Terminating))];
    if shape.host_network {
        lives.push((1, Just(Life::HostNetwork)));
    }
    if shape.finished && shape.addressed {
        lives.push((1, Just(Life::Finished("Succeeded"))));
        lives.push((1, Just(Life::Finished("Failed"))));
    }
    if !shape.addressed {
        lives.retain(|(_, life)| life.0 != Life::Terminating);
    }
    let mut places = vec![Place::Container];
    if shape.sidecars {
        places.push(Place::Sidecar);
    }
    if shape.ordinary_init_containers {
        places.push(Place::InitContainer);
    }
    let numbers = if shape.ports.is_empty() { vec![8080] } else { shape.ports.clone() };
    let port = weighted(0.75, (select(numbers), select(vec!["TCP", "TCP", "UDP"]), select(places)));
    let ports = vec(port, shape.port_names.len());
    let lives = proptest::strategy::Union::new_weighted(lives);
    (0..shape.namespaces.max(1), labels(&POD_KEYS), ports, lives).prop_map(|(namespace, labels, ports, life)| Draft {
        namespace,
        labels,
        ports,
        life,
    })
}

fn namespace(number: usize, labels: BTreeMap<String, String>) -> Namespace {
    let metadata = ObjectMeta { name: Some(namespace_name(number)), labels: Some(labels), ..ObjectMeta::default() };
    Namespace { metadata, ..Namespace::default() }
}

fn pod(shape: &Shape, number: usize, draft: Draft) -> Pod {
    let metadata = ObjectMeta {
        name: Some(format!("pod-{number}")),
        namespace: Some(namespace_name(draft.namespace)),
        labels: Some(draft.labels.clone()),
        deletion_timestamp: (draft.life == Life::Terminating).then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
        ..ObjectMeta::default()
    };
    let status = shape.addressed.then(|| status(shape, number, draft.life));
    Pod { metadata, spec: Some(spec(shape, draft)), status }
}

fn spec(shape: &Shape, draft: Draft) -> PodSpec {
    let mut main = container(shape, "main");
    let mut init = Vec::new();
    let host_network = draft.life == Life::HostNetwork;
    for (name, drawn) in shape.port_names.iter().zip(draft.ports) {
        let Some((number, protocol, place)) = drawn else {
            continue;
        };
        // On the node's network two pods cannot declare the same port.
        if host_network {
            continue;
        }
        let port = ContainerPort {
            container_port: i32::from(number),
            name: Some(name.clone()),
            // Now and then left to its default.
            protocol: (protocol != "TCP" || number.is_multiple_of(2)).then(|| protocol.to_owned()),
            ..ContainerPort::default()
        };
        match place {
            Place::Container => main.ports.get_or_insert_default().push(port),
            Place::Sidecar | Place::InitContainer => {
                let mut extra = container(shape, &format!("with-{name}"));
                extra.ports = Some(vec![port]);
                extra.restart_policy = matches!(place, Place::Sidecar).then(|| "Always".to_owned());
                init.push(extra);
            }
        }
    }
    PodSpec {
        containers: vec![main],
        init_containers: (!init.is_empty()).then_some(init),
        host_network: host_network.then_some(true),
        ..PodSpec::default()
    }
}

fn container(shape: &Shape, name: &str) -> Container {
    Container { name: name.to_owned(), image: Some(shape.image.clone()), ..Container::default() }
}

fn status(shape: &Shape, number: usize, life: Life) -> PodStatus {
    let node = if number.is_multiple_of(2) { "192.0.2.10" } else { "192.0.2.11" }.to_owned();
    let own: Vec<String> = match life {
        Life::HostNetwork => vec![node.clone()],
        Life::Running | Life::Terminating | Life::Finished(_) => {
            addresses(shape, number).iter().map(ToString::to_string).collect()
        }
    };
    PodStatus {
        phase: Some(if let Life::Finished(phase) = life { phase } else { "Running" }.to_owned()),
        pod_ip: own.first().cloned(),
        pod_ips: Some(own.into_iter().map(|ip| PodIP { ip }).collect()),
        host_ip: Some(node.clone()),
        host_ips: Some(vec![HostIP { ip: node }]),
        ..PodStatus::default()
    }
}
