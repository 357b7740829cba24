//! The data plane: the naive evaluator over the policies that it follows, and what listens where.

use std::net::IpAddr;

use k8s_openapi::{
    api::{
        core::v1::{Container, ContainerPort, Namespace, Pod, PodIP, PodSpec, PodStatus},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use netpol_verify::model::{Outcome, Phase, PodRef, PolicyDocument, Protocol};
use oracle::{
    Answer, Cluster, End,
    tiers::{self, Question},
};

use super::{Broken, FakePod, World};

/// How a connection from `source` ends; a Service's address is an endpoint's by then.
pub fn outcome(world: &World, source: &PodRef, protocol: Protocol, ip: IpAddr, port: u16) -> Outcome {
    let Some(service) = world.services.iter().find(|service| service.cluster_ips.contains(&ip)) else {
        return direct(world, source, protocol, ip, port);
    };
    let target = service.ports.iter().find(|(own, other, _)| (*own, *other) == (port, protocol));
    let Some(target) = target.filter(|_| !world.lost_services.contains(&ip)) else { return Outcome::Timeout };
    let selector = service.selector.as_ref().unwrap();
    let ends = world.pods.iter().filter(|p| {
        p.info.is_usable()
            && p.info.id.namespace == service.namespace
            && selector.iter().all(|(key, value)| p.info.labels.get(key) == Some(value))
    });
    let ends: Vec<IpAddr> = ends.map(|p| p.info.ips[0]).collect();
    match ends.as_slice() {
        [] => Outcome::Refused,
        _ if world.leaking_services.contains(&ip) => Outcome::Open,
        ends => direct(world, source, protocol, ends[world.execs % ends.len()], target.2.parse().unwrap()),
    }
}

fn direct(world: &World, source: &PodRef, protocol: Protocol, ip: IpAddr, port: u16) -> Outcome {
    let Some(from) = world.pods.iter().find(|p| &p.info.id == source) else { return Outcome::NoSource };
    if !from.has_nc {
        return Outcome::ToolMissing;
    }
    let to = world.pods.iter().find(|p| p.info.ips.contains(&ip) && p.info.phase == Phase::Running);
    let listens = match to {
        Some(pod) => pod.listens.contains(&port),
        None => world.outside.contains(&(ip, port)),
    };
    let dead = to.is_none() && !listens;
    match answer(world, from, ip, protocol, port) {
        Answer::Denied if world.rejects => Outcome::Refused,
        Answer::Denied => Outcome::Timeout,
        Answer::Allowed | Answer::Undefined if dead => Outcome::Timeout,
        Answer::Allowed | Answer::Undefined if listens => Outcome::Open,
        Answer::Allowed | Answer::Undefined => Outcome::Refused,
    }
}

/// How a question to a DNS server over UDP ends: silence is all that a denial or a dead server gives.
pub fn dns(world: &World, source: &PodRef, ip: IpAddr, port: u16) -> Outcome {
    let Some(from) = world.pods.iter().find(|p| &p.info.id == source) else { return Outcome::NoSource };
    if !from.has_nc || !from.can_ask {
        return Outcome::ToolMissing;
    }
    let server = world.pods.iter().find(|p| p.info.ips.contains(&ip) && p.listens.contains(&port));
    let allowed = answer(world, from, ip, Protocol::Udp, port) == Answer::Allowed;
    if server.is_some() && allowed { Outcome::Open } else { Outcome::Timeout }
}

/// What a pod's own resolver says: it has to reach a pod of the cluster's DNS.
pub fn resolve(world: &World, source: &PodRef, name: &str) -> (Outcome, Vec<IpAddr>) {
    let Some(from) = world.pods.iter().find(|p| &p.info.id == source) else { return (Outcome::NoSource, Vec::new()) };
    if !from.can_ask || !from.has_nc {
        return (Outcome::ToolMissing, Vec::new());
    }
    let mut servers = world.pods.iter().filter(|p| p.info.labels.get("k8s-app").is_some_and(|v| v == "kube-dns"));
    let asks = |server: &FakePod| {
        let ip = server.info.ips[0];
        let over = |protocol| answer(world, from, ip, protocol, 53) == Answer::Allowed;
        server.listens.contains(&53) && (over(Protocol::Udp) || over(Protocol::Tcp))
    };
    if !servers.any(asks) {
        return (Outcome::Dns, Vec::new());
    }
    let own = world.pod_names.get(&(from.info.workload.to_string(), name.to_owned()));
    match own.or_else(|| world.names.get(name)) {
        Some(addresses) if !addresses.is_empty() => (Outcome::Open, addresses.clone()),
        _ => (Outcome::Dns, Vec::new()),
    }
}

fn answer(world: &World, from: &FakePod, ip: IpAddr, protocol: Protocol, port: u16) -> Answer {
    let to = world.pods.iter().find(|p| p.info.ips.contains(&ip));
    let broken = |b: &&Broken| {
        b.source == from.info.workload.to_string()
            && to.is_some_and(|p| p.info.workload.to_string() == b.destination && p.info.id != from.info.id)
            && b.port == port
    };
    if let Some(broken) = world.broken.iter().find(broken) {
        return if broken.open { Answer::Allowed } else { Answer::Denied };
    }
    let stale = world.stale.as_ref().filter(|(node, _)| from.info.node.as_ref() == Some(node));
    let enforced = stale.map_or_else(|| world.enforced(), |(_, old)| old.clone());
    let cluster = cluster(world, &enforced);
    let Some(source) = from.info.ips.iter().copied().find(|own| own.is_ipv4() == ip.is_ipv4()) else {
        return Answer::Denied;
    };
    let pod = cluster.pods.iter().find(|p| {
        p.metadata.name.as_ref() == Some(&from.info.id.name)
            && p.metadata.namespace.as_ref() == Some(&from.info.id.namespace)
    });
    if enforced.iter().any(|document| is_tiered(&document.api_version)) {
        let tiered = tiered(&enforced, &cluster);
        let question = Question::new(tiered.end_at(source), tiered.end_at(ip), &protocol.to_string(), port);
        return tiers::verdict(&tiered, &question).answer;
    }
    let end = if from.info.host_network { End::Address(source) } else { End::Pod(pod.unwrap(), source) };
    oracle::allowed(&cluster, end, cluster.end_at(ip), &protocol.to_string(), port)
}

fn is_tiered(version: &str) -> bool {
    version.contains("projectcalico.org") || version.starts_with("policy.networking.k8s.io/")
}

/// The same with policies in tiers.
fn tiered(enforced: &[PolicyDocument], plain: &Cluster) -> tiers::World {
    let others = enforced.iter().filter(|d| is_tiered(&d.api_version)).map(|document| {
        let mut object = document.object.clone();
        object["apiVersion"] = document.api_version.clone().into();
        object["kind"] = document.id.kind.trim_end_matches(".projectcalico.org").into();
        object
    });
    tiers::World { plain: plain.clone(), others: others.collect() }
}

fn cluster(world: &World, enforced: &[PolicyDocument]) -> Cluster {
    let namespaces = world.namespaces.iter().map(|(name, labels)| Namespace {
        metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels.clone()), ..ObjectMeta::default() },
        ..Namespace::default()
    });
    let policies = enforced.iter().filter(|d| d.id.kind == "NetworkPolicy" && d.api_version.starts_with("networking"));
    let policies = policies.map(|document| {
        let mut object = document.object.clone();
        object["metadata"]["namespace"] = document.id.namespace.clone().unwrap_or_default().into();
        object["metadata"]["name"] = document.id.name.clone().into();
        serde_json::from_value::<NetworkPolicy>(object).unwrap()
    });
    Cluster {
        namespaces: namespaces.collect(),
        pods: world.pods.iter().map(pod).collect(),
        policies: policies.collect(),
    }
}

fn pod(pod: &FakePod) -> Pod {
    let info = &pod.info;
    let container = |init: bool| Container {
        name: if init { "init" } else { "main" }.to_owned(),
        ports: Some(
            info.ports
                .iter()
                .filter(|p| p.init == init)
                .map(|p| ContainerPort {
                    container_port: i32::from(p.number),
                    name: p.name.clone(),
                    protocol: Some(p.protocol.to_string()),
                    ..ContainerPort::default()
                })
                .collect(),
        ),
        ..Container::default()
    };
    let phase = if info.phase == Phase::Finished { "Succeeded" } else { "Running" };
    Pod {
        metadata: ObjectMeta {
            name: Some(info.id.name.clone()),
            namespace: Some(info.id.namespace.clone()),
            labels: Some(info.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![container(false)],
            init_containers: Some(vec![container(true)]),
            host_network: info.host_network.then_some(true),
            ..PodSpec::default()
        }),
        status: Some(PodStatus {
            phase: Some(phase.to_owned()),
            pod_ip: info.ips.first().map(ToString::to_string),
            pod_ips: Some(info.ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
            ..PodStatus::default()
        }),
    }
}
