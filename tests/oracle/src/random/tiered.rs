//! Random clusters with all kinds of policy, as documents that the API servers accept.
//!
//! Everything is drawn with a `Dice` of one seed. The namespaces, pods and NetworkPolicies are those of
//! [`cluster`](super::cluster), with service accounts and a few more values of labels.

mod admin;
mod dice;
mod policies;
mod rules;
mod selectors;
mod services;
mod shrink;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Shape;
use crate::tiers::{Question, World};
use crate::{Cluster, End, pod};
use dice::Dice;

pub use services::with_services;
pub use shrink::shrunk;

/// Which of the network policy API's versions there is. A cluster has at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// No kind of it is served.
    Nothing,
    /// AdminNetworkPolicy and BaselineAdminNetworkPolicy.
    V1alpha1,
    /// ClusterNetworkPolicy.
    V1alpha2,
}

/// What rules and packets are mostly about: each part of the language needs both to say something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// A bit of everything.
    Everything,
    /// ICMP, and versions of IP.
    Messages,
    /// Ports of all spellings.
    Ports,
    /// Selectors.
    Labels,
    /// Policies of the same order.
    Ties,
}

/// What a random cluster of all kinds is made of.
#[derive(Clone, Debug)]
pub struct Mix {
    /// What it is mostly about.
    pub focus: Focus,
    /// Namespaces, pods, NetworkPolicies, addresses and ports.
    pub shape: Shape,
    /// Calico's policies, at most; none without Calico.
    pub calico: usize,
    /// NetworkSets and GlobalNetworkSets, at most.
    pub sets: usize,
    /// Tiers besides `default`, at most (Calico from 3.29).
    pub tiers: usize,
    /// Staged policies, at most (Calico from 3.30).
    pub staged: usize,
    /// The network policy API.
    pub admin: Admin,
    /// Its policies, at most, in each tier.
    pub admins: usize,
    /// Whether its policies say what only the experimental channel of the API has (nodes, domain names; in v1alpha1
    /// named ports too).
    pub experimental: bool,
    /// Calico's version as ClusterInformation tells it, if it does.
    pub version: Option<&'static str>,
}

impl Mix {
    /// Everything, in proportions that change with the seed: some clusters have Calico alone, some the network policy
    /// API alone, some both, some old rules for ties.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x6d69_7865);
        let calico = dice.below(10) < 7;
        let admin = [Admin::Nothing, Admin::V1alpha1, Admin::V1alpha2];
        let shape = Shape { pods: 6, policies: dice.below(4), ports: vec![8080, 8081, 9090], ..Shape::default() };
        let focus = [Focus::Everything, Focus::Messages, Focus::Ports, Focus::Labels, Focus::Ties];
        let focus = *dice.pick(&focus);
        // Policies tie within a tier.
        let calico_tiers = calico && focus != Focus::Ties && dice.below(2) == 0;
        Self {
            focus,
            shape,
            calico: if calico { 6 } else { 0 },
            sets: if calico { 5 } else { 0 },
            tiers: if calico_tiers { 3 } else { 0 },
            staged: usize::from(calico),
            admin: if calico { *dice.pick(&admin) } else { *dice.pick(&[Admin::V1alpha1, Admin::V1alpha2]) },
            admins: 4,
            experimental: true,
            version: *dice.pick(&[None, Some("v3.28.5"), Some("v3.31.4"), Some("v3.32.0")]),
        }
    }

    /// What Calico 3.28 enforces on a cluster with IPv4 alone. Its pods stand already, so `shape` is that of them.
    #[must_use]
    pub fn calico_3_28(shape: Shape) -> Self {
        Self { calico: 8, sets: 4, version: Some("v3.28.5"), ..Self::kubernetes(shape, Admin::Nothing) }
    }

    /// What an enforcer of Kubernetes' policies, and of one version of the network policy API's, knows of the standard
    /// channel. Its pods stand already, as for Calico.
    #[must_use]
    pub fn kubernetes(shape: Shape, admin: Admin) -> Self {
        Self {
            focus: Focus::Everything,
            shape,
            calico: 0,
            sets: 0,
            tiers: 0,
            staged: 0,
            admin,
            admins: 4,
            experimental: false,
            version: None,
        }
    }
}

/// Draws a whole cluster.
#[must_use]
pub fn documents(seed: u64, mix: &Mix) -> Vec<Value> {
    let cluster = standing(seed, mix);
    let mut documents = vec![];
    documents.extend(cluster.namespaces.iter().map(|one| of_kind("v1", "Namespace", json!(one))));
    documents.extend(cluster.pods.iter().map(|one| of_kind("v1", "Pod", json!(one))));
    documents.extend(accounts(mix));
    documents.extend(surroundings(mix));
    documents.extend(policies(seed, mix, &cluster));
    documents
}

/// Draws namespaces and pods alone, to be created where policies follow.
#[must_use]
pub fn standing(seed: u64, mix: &Mix) -> Cluster {
    let shape = Shape { policies: 0, ..mix.shape.clone() };
    let mut cluster = super::cluster(seed, &shape);
    let mut dice = Dice::new(seed ^ 0x706f_6473);
    for pod in &mut cluster.pods {
        let account = *dice.pick(&ACCOUNTS);
        let spec = pod.spec.get_or_insert_default();
        spec.service_account_name = (account != "default" || dice.chance(50)).then(|| account.to_owned());
        // Values that others are a part of, for `contains` and its like.
        if dice.chance(65)
            && let Some(value) = pod.metadata.labels.as_mut().and_then(|labels| labels.get_mut("app"))
        {
            (*dice.pick(&["ab", "ba", "aba"])).clone_into(value);
        }
    }
    cluster
}

/// Service accounts that pods run as; the last one's name is too long to be a label.
pub const ACCOUNTS: [&str; 3] =
    ["default", "robot", "a-name-that-is-too-long-for-a-label-as-it-has-over-sixty-two-characters"];

/// The service accounts of all namespaces (the API server makes `default` by itself).
#[must_use]
pub fn accounts(mix: &Mix) -> Vec<Value> {
    let mut found = Vec::new();
    for number in 0..mix.shape.namespaces.max(1) {
        for (account, role) in ACCOUNTS.iter().zip(["", "a", "b"]) {
            let mut metadata = json!({"name": account, "namespace": super::pods::namespace_name(number)});
            if !role.is_empty() {
                put(&mut metadata, "labels", json!({"role": role}));
            }
            found.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
        }
    }
    found
}

/// What a cluster has by itself: its nodes, and what Calico says of its version.
#[must_use]
pub fn surroundings(mix: &Mix) -> Vec<Value> {
    let mut found: Vec<Value> = NODES
        .iter()
        .enumerate()
        .map(|(number, address)| {
            let metadata = json!({"name": format!("node-{number}"), "labels": {"zone": number.to_string()}});
            let status = json!({"addresses": [{"type": "InternalIP", "address": address}]});
            json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})
        })
        .collect();
    if let Some(version) = mix.version {
        let spec = json!({"calicoVersion": version});
        found.push(policies::calico("ClusterInformation", json!({"name": "default"}), spec));
    }
    found
}

/// The nodes that drawn pods are on.
const NODES: [&str; 2] = ["192.0.2.10", "192.0.2.11"];

/// Draws what there is to enforce over pods that stand: policies of all kinds, tiers, sets and EndpointSlices. The
/// addresses of the pods are material for blocks.
#[must_use]
pub fn policies(seed: u64, mix: &Mix, standing: &Cluster) -> Vec<Value> {
    let shape = &mix.shape;
    let mut dice = Dice::new(seed ^ 0x7275_6c65);
    let mut addresses: Vec<IpAddr> =
        standing.pods.iter().filter(|pod| is_plain(pod)).flat_map(pod::addresses).collect();
    addresses.extend(&shape.outside);
    let plain = super::policies(seed, shape, standing);
    let mut found: Vec<Value> =
        plain.iter().map(|one| of_kind("networking.k8s.io/v1", "NetworkPolicy", json!(one))).collect();
    let material = Material { addresses, namespaces: shape.namespaces.max(1), mix: mix.clone() };
    if mix.calico > 0 {
        found.extend(slices(&mut dice, mix, standing));
        found.extend(policies::all(&mut dice, &material));
    }
    found.extend(admin::all(&mut dice, &material));
    found
}

/// What rules are made of.
struct Material {
    addresses: Vec<IpAddr>,
    namespaces: usize,
    mix: Mix,
}

impl Material {
    fn namespace(&self, dice: &mut Dice) -> String {
        super::pods::namespace_name(dice.below(self.namespaces))
    }
}

/// EndpointSlices of the services `web` and `db` of each namespace, over pods of wherever.
fn slices(dice: &mut Dice, mix: &Mix, standing: &Cluster) -> Vec<Value> {
    let mut found = Vec::new();
    for namespace in (0..mix.shape.namespaces.max(1)).map(super::pods::namespace_name) {
        for service in services::SERVICES {
            let pods = standing.pods.iter().filter(|pod| is_plain(pod) && dice.chance(40));
            let addresses = pods.flat_map(pod::addresses).filter(IpAddr::is_ipv4);
            let endpoints: Vec<Value> = addresses.map(|address| json!({"addresses": [address]})).collect();
            let port = dice.pick(&mix.shape.ports);
            let protocol = dice.pick(&["TCP", "TCP", "UDP"]);
            let metadata = json!({"name": format!("{service}-1"), "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service}});
            found.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
                "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": port, "protocol": protocol}]}));
        }
    }
    found
}

/// Whether a pod has an address that is its own.
fn is_plain(pod: &Pod) -> bool {
    !pod::host_network(pod) && !pod::finished(pod)
}

/// One packet, by addresses; see [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub src: IpAddr,
    /// Whom it is for.
    pub dst: IpAddr,
    /// Its protocol, by number.
    pub protocol: u8,
    /// The port that it comes from.
    pub source_port: Option<u16>,
    /// The port that it goes to.
    pub port: Option<u16>,
    /// Type and code of an ICMP message.
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    /// The question that it is in a world.
    #[must_use]
    pub fn in_world<'a>(&self, world: &'a World) -> Question<'a> {
        let (src, dst) = (world.end_at(self.src), world.end_at(self.dst));
        Question { src, dst, protocol: self.protocol, source_port: self.source_port, port: self.port, icmp: self.icmp }
    }
}

/// Draws packets between pods, outside addresses and nodes: one end at least is a pod, and both are of one family.
#[must_use]
pub fn packets(seed: u64, mix: &Mix, world: &World, count: usize) -> Vec<Packet> {
    let mut dice = Dice::new(seed ^ 0x7061_636b);
    let pods: Vec<IpAddr> = world.plain.pods.iter().filter(|pod| is_plain(pod)).flat_map(pod::addresses).collect();
    if pods.is_empty() {
        return Vec::new();
    }
    let nodes = NODES.iter().filter_map(|node| node.parse().ok());
    let others: Vec<IpAddr> = mix.shape.outside.iter().copied().chain(nodes).collect();
    let mut drawn = Vec::new();
    for _ in 0..20 * count {
        let pod = *dice.pick(&pods);
        let other = if dice.chance(65) { *dice.pick(&pods) } else { *dice.pick(&others) };
        if other == pod || other.is_ipv4() != pod.is_ipv4() || drawn.len() == count {
            continue;
        }
        let (src, dst) = if dice.chance(50) { (pod, other) } else { (other, pod) };
        drawn.push(packet(&mut dice, mix, src, dst));
    }
    drawn
}

fn packet(dice: &mut Dice, mix: &Mix, src: IpAddr, dst: IpAddr) -> Packet {
    let mut packet = Packet { src, dst, protocol: 6, source_port: None, port: None, icmp: None };
    if dice.chance(if mix.focus == Focus::Messages { 60 } else { 6 }) {
        packet.protocol = if src.is_ipv4() { 1 } else { 58 };
        packet.icmp = Some(*dice.pick(&[(8, 0), (3, 1), (3, 2), (128, 0)]));
        return packet;
    }
    packet.protocol = *dice.pick(if mix.shape.sctp { &[6, 6, 6, 17, 17, 132] } else { &[6, 6, 6, 17, 17, 17] });
    packet.source_port = Some(*dice.pick(&[40_000, 51_111, 700]));
    packet.port = Some(if dice.chance(90) { *dice.pick(&mix.shape.ports) } else { 8083 });
    packet
}

impl<'a> From<super::Flow<'a>> for Question<'a> {
    fn from(flow: super::Flow<'a>) -> Self {
        let (src, dst): (End<'a>, End<'a>) = (flow.src, flow.dst);
        Question::new(src, dst, flow.protocol, flow.port)
    }
}

fn of_kind(version: &str, kind: &str, mut object: Value) -> Value {
    put(&mut object, "apiVersion", json!(version));
    put(&mut object, "kind", json!(kind));
    object
}

/// Sets a field of an object.
fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}
