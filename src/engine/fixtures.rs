//! Clusters and policies for tests of the engine.

#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};

use super::{
    matrix::Matrix,
    read,
    world::{self, Class, End, Family, Then, World},
};
use crate::model::{
    ClassRecord, Container, ContainerPort, Decision, Labels, NamespaceInfo, Origin, Origins, Phase, PodInfo, PodRef,
    Policy, PolicyDocument, PolicyRef, Protocol, Snapshot, Workload, WorkloadInfo,
};

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(super) fn port(name: &str, number: u16, protocol: Protocol) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), number, protocol, init: false }
}

/// A policy's document, `namespace/name`; its rules stand at `namespace/name.yaml:10` and `:20`.
pub(super) fn document(name: &str, spec: Value) -> PolicyDocument {
    let (namespace, short) = name.split_once('/').unwrap();
    let file = format!("{name}.yaml");
    let fields = [("/spec/ingress", 10), ("/spec/egress", 20)];
    PolicyDocument {
        id: PolicyRef::network_policy(namespace, short),
        api_version: "networking.k8s.io/v1".to_owned(),
        object: json!({"metadata": {"namespace": namespace, "name": short}, "spec": spec}),
        origins: Origins {
            document: Some(Origin::at(&file, 1, 1)),
            fields: fields.iter().map(|(at, line)| ((*at).to_owned(), Origin::at(&file, *line, 3))).collect(),
            ..Origins::default()
        },
        kustomization: None,
    }
}

/// A document of `projectcalico.org/v3`, `namespace/name` or `name`; its rules stand where those of [`document`] do.
pub(super) fn calico(kind: &str, name: &str, spec: Value) -> PolicyDocument {
    let (namespace, short) = name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
    let like = document(if namespace.is_some() { name } else { "global/x" }, Value::Null);
    PolicyDocument {
        id: PolicyRef { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: short.to_owned() },
        api_version: "projectcalico.org/v3".to_owned(),
        object: json!({"metadata": {"namespace": namespace, "name": short}, "spec": spec}),
        ..like
    }
}

pub(super) fn policy(name: &str, spec: Value) -> Policy {
    read::policy(&document(name, spec)).unwrap()
}

/// Denies all, both ways.
pub(super) fn deny_all(namespace: &str) -> Policy {
    policy(&format!("{namespace}/deny"), json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))
}

/// `namespace/app` may be reached by `peers` on TCP `ports`.
pub(super) fn ingress(app: &str, peers: Value, ports: &[u16]) -> Policy {
    side(app, "Ingress", "ingress", "from", peers, ports)
}

/// `namespace/app` may reach `peers` on TCP `ports`.
pub(super) fn egress(app: &str, peers: Value, ports: &[u16]) -> Policy {
    side(app, "Egress", "egress", "to", peers, ports)
}

fn side(app: &str, kind: &str, section: &str, field: &str, peers: Value, ports: &[u16]) -> Policy {
    let (namespace, name) = app.split_once('/').unwrap();
    let ports: Vec<Value> = ports.iter().map(|port| json!({"port": port})).collect();
    policy(
        &format!("{namespace}/{name}-{section}"),
        json!({"podSelector": {"matchLabels": {"app": name}}, "policyTypes": [kind],
            section: [{field: peers, "ports": ports}]}),
    )
}

/// Peers: the pods `app: NAME` of a namespace.
pub(super) fn app(name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {"app": name}}}])
}

/// Peers: a range of addresses.
pub(super) fn block(cidr: &str) -> Value {
    json!([{"ipBlock": {"cidr": cidr}}])
}

/// A cluster in the making. Pods are Ready, on node `n1`, serve `http` on TCP 8080 and carry `app: NAME`.
#[derive(Clone, Default)]
pub(super) struct Cluster {
    pub snapshot: Snapshot,
}

impl Cluster {
    pub(super) fn new(namespaces: &[&str]) -> Self {
        namespaces.iter().fold(Self::default(), |cluster, name| cluster.namespace(name, &[]))
    }

    pub(super) fn namespace(mut self, name: &str, extra: &[(&str, &str)]) -> Self {
        let mut all = labels(extra);
        all.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        self.snapshot.namespaces.insert(name.to_owned(), NamespaceInfo { labels: all, terminating: false });
        self
    }

    /// A Deployment `namespace/name` with its pods.
    pub(super) fn app(mut self, name: &str, pods: usize) -> Self {
        for _ in 0..pods {
            let number = self.snapshot.pods.len() + 1;
            self.snapshot.pods.push(pod(name, number));
        }
        let (workload, short) = (workload(name), name.split_once('/').unwrap().1);
        self.snapshot.workloads.push(WorkloadInfo {
            id: workload,
            replicas: Some(i32::try_from(pods).unwrap()),
            labels: labels(&[("app", short)]),
            ports: vec![port("http", 8080, Protocol::Tcp)],
            host_network: false,
            service_account: "default".to_owned(),
        });
        self
    }

    /// Changes every pod of a workload.
    pub(super) fn with(mut self, name: &str, change: impl Fn(&mut PodInfo)) -> Self {
        self.snapshot.pods.iter_mut().filter(|p| p.workload == workload(name)).for_each(change);
        self
    }

    /// The classes under these policies, and those alone in force.
    pub(super) fn world(&self, policies: Vec<Policy>) -> World {
        self.world_of(policies, &[])
    }

    /// The classes under these policies and others, of which these are in force.
    pub(super) fn world_of(&self, policies: Vec<Policy>, others: &[&[Policy]]) -> World {
        let all: Vec<&Policy> = policies.iter().chain(others.iter().copied().flatten()).collect();
        let classes = world::classes(&self.snapshot, &all);
        let namespaces = self.snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        World::new(namespaces.collect::<BTreeMap<_, _>>(), classes, policies)
    }
}

/// The same under the labels of an earlier moment.
pub(super) fn earlier(world: &World, namespaces: &BTreeMap<String, Labels>, classes: &[ClassRecord]) -> World {
    world.with_labels_of(&Then { namespaces, classes, accounts: &BTreeMap::new() })
}

pub(super) fn workload(name: &str) -> Workload {
    let (namespace, name) = name.split_once('/').unwrap();
    Workload { kind: "Deployment".to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
}

pub(super) fn pod(name: &str, number: usize) -> PodInfo {
    let (namespace, short) = name.split_once('/').unwrap();
    let address: IpAddr = format!("10.0.{}.{}", number / 250, number % 250 + 1).parse().unwrap();
    PodInfo {
        id: PodRef { namespace: namespace.to_owned(), name: format!("{short}-{number}") },
        uid: format!("uid-{number}"),
        labels: labels(&[("app", short), ("pod-template-hash", &format!("hash{number}"))]),
        annotations: BTreeMap::new(),
        ips: vec![address],
        phase: Phase::Running,
        ready: true,
        terminating: false,
        host_network: false,
        node: Some("n1".to_owned()),
        service_account: "default".to_owned(),
        workload: workload(name),
        ports: vec![port("http", 8080, Protocol::Tcp)],
        containers: vec![Container { name: "main".to_owned(), image: "main:1".to_owned(), running: true }],
    }
}

/// The index of the first class of a workload.
pub(super) fn index(world: &World, name: &str) -> usize {
    world.classes.iter().position(|c| c.workload == workload(name)).unwrap()
}

pub(super) fn class<'w>(world: &'w World, name: &str) -> &'w Class {
    &world.classes[index(world, name)]
}

/// The end at a workload (IPv4), or at an address that no pod has.
pub(super) fn end<'w>(world: &'w World, name: &str) -> End<'w> {
    name.parse().map_or_else(|_| End::pods(class(world, name), Family::V4), End::outside)
}

/// The verdict of a flow on TCP, by both ways of asking where both ends are pods.
#[track_caller]
pub(super) fn tcp(world: &World, source: &str, destination: &str, port: u16) -> Decision {
    ask(world, source, destination, Protocol::Tcp, port)
}

#[track_caller]
pub(super) fn ask(world: &World, source: &str, destination: &str, protocol: Protocol, port: u16) -> Decision {
    let (from, to) = (end(world, source), end(world, destination));
    let decision = super::verdict::flow(world, from, to, protocol, port).decision();
    if from.class.is_some() && to.class.is_some() {
        let (from, to) = (index(world, source), index(world, destination));
        assert_eq!(Matrix::new(world).decision(from, to, Family::V4, protocol, port), decision, "two ways of asking");
    }
    decision
}
