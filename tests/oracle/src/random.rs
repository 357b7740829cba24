//! Random clusters, for comparing two readings (or a reading and packets) over what nobody thought of.
//!
//! One strategy makes everything. [`arb_cluster`] gives it to a property test, which shrinks what it finds;
//! [`cluster`] and [`policies`] draw from it by seed, for tests that a cluster takes part in.

mod pods;
mod policies;
pub mod tiered;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::{Cluster, End, one_policy_selects_both};

/// What a random cluster is made of.
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each for one thing that may occur")]
#[derive(Clone, Debug)]
pub struct Shape {
    /// Number of namespaces (`ns-0`, `ns-1`, ..); at least one is made.
    pub namespaces: usize,
    /// Number of pods (`pod-0`, ..), spread over the namespaces at random.
    pub pods: usize,
    /// Number of policies (`policy-0`, ..).
    pub policies: usize,
    /// Pods get addresses, phases and node addresses here. Without, `status` is left to a real cluster.
    pub addressed: bool,
    /// Pods that are addressed here get an IPv6 address too.
    pub ipv6: bool,
    /// Addresses that are no pod's; they are ends of flows and material for address blocks.
    pub outside: Vec<IpAddr>,
    /// Numbers that pods listen on and rules speak of.
    pub ports: Vec<u16>,
    /// Names for ports; a pod declares each with a number and protocol of its own, or not at all.
    pub port_names: Vec<String>,
    /// [`flows`] gives flows whose two ends one policy selects. Off for enforcers that mix the two directions of
    /// such a policy.
    pub both_ends_by_one_policy: bool,
    /// Rules may name a port that none of the pods in question declares with that protocol. Off for enforcers
    /// that open every port then.
    pub undeclared_named_ports: bool,
    /// Egress rules may have named ports beside address blocks. The API text leaves little doubt (see `port`),
    /// but implementations differ: off for those that never resolve such a name.
    pub names_beside_egress_blocks: bool,
    /// Rules may speak of SCTP (opening nothing for TCP and UDP). Off where the kernel has no SCTP.
    pub sctp: bool,
    /// Some pods use their node's network.
    pub host_network: bool,
    /// Some pods have Succeeded or Failed. Only where they are addressed here.
    pub finished: bool,
    /// Ports may be declared by init containers that end before the pod is ready, beside those that stay
    /// (`restartPolicy: Always`). Off on a real cluster, unless its images do end.
    pub ordinary_init_containers: bool,
    /// Ports may be declared by init containers that stay (`restartPolicy: Always`). Off for enforcers that look for
    /// named ports at ordinary containers only.
    pub sidecars: bool,
    /// The image of every container.
    pub image: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            namespaces: 3,
            pods: 8,
            policies: 7,
            addressed: true,
            ipv6: true,
            outside: vec![
                IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
                IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)),
            ],
            ports: vec![8080, 8081, 8082, 9090],
            port_names: vec!["web".to_owned(), "admin".to_owned()],
            both_ends_by_one_policy: true,
            undeclared_named_ports: true,
            names_beside_egress_blocks: true,
            sctp: true,
            host_network: true,
            finished: true,
            ordinary_init_containers: true,
            sidecars: true,
            image: "registry.invalid/pause".to_owned(),
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// Who opens the connection.
    pub src: End<'a>,
    /// Who is to answer.
    pub dst: End<'a>,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// The destination's port.
    pub port: u16,
}

/// Draws a cluster of exactly this shape; the same seed gives the same cluster.
#[must_use]
pub fn cluster(seed: u64, shape: &Shape) -> Cluster {
    let pods = draw(seed, pods::cluster(shape.clone(), shape.pods..=shape.pods));
    let policies = policies(seed, shape, &pods);
    Cluster { policies, ..pods }
}

/// Draws policies for a cluster that stands already: its pods' addresses are the material for address blocks.
#[must_use]
pub fn policies(seed: u64, shape: &Shape, standing: &Cluster) -> Vec<NetworkPolicy> {
    let addresses = pool(shape, standing.pods.iter().flat_map(crate::pod::addresses));
    let drawn = draw(seed, policies::list(shape, addresses, shape.policies..=shape.policies));
    policies::within(shape, standing, drawn)
}

/// Clusters of at most the default shape, for property tests; they shrink to fewer and plainer objects.
pub fn arb_cluster() -> impl Strategy<Value = Cluster> {
    arb_cluster_of(Shape::default())
}

/// Clusters of at most this shape.
pub fn arb_cluster_of(shape: Shape) -> impl Strategy<Value = Cluster> {
    // Addresses follow from a pod's number, so policies need not wait for the pods: no `flat_map`, which
    // shrinks badly.
    let addresses = pool(&shape, (0..shape.pods).flat_map(|number| pods::addresses(&shape, number)));
    let drawn = (
        pods::cluster(shape.clone(), 1.min(shape.pods)..=shape.pods),
        policies::list(&shape, addresses, 0..=shape.policies),
    );
    drawn.prop_map(move |(pods, policies)| {
        let policies = policies::within(&shape, &pods, policies);
        Cluster { policies, ..pods }
    })
}

/// Gives every flow that can be asked about: each end to each other, each protocol and port.
///
/// Both ends are of one address family, and at least one is a pod.
#[must_use]
pub fn flows<'a>(cluster: &'a Cluster, shape: &Shape) -> Vec<Flow<'a>> {
    let pods = cluster
        .pods
        .iter()
        .flat_map(|pod| crate::pod::addresses(pod).into_iter().map(move |address| End::Pod(pod, address)));
    let ends: Vec<End<'a>> = pods.chain(shape.outside.iter().copied().map(End::Address)).collect();
    let mut flows = Vec::new();
    for &src in &ends {
        for &dst in &ends {
            if matches!((src, dst), (End::Address(_), End::Address(_)))
                || src.address().is_ipv4() != dst.address().is_ipv4()
            {
                continue;
            }
            if !shape.both_ends_by_one_policy && one_policy_selects_both(cluster, src, dst) {
                continue;
            }
            for protocol in ["TCP", "UDP"] {
                flows.extend(shape.ports.iter().map(|&port| Flow { src, dst, protocol, port }));
            }
        }
    }
    flows
}

fn pool(shape: &Shape, pods: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut pool: Vec<IpAddr> = pods.chain(shape.outside.iter().copied()).collect();
    if pool.is_empty() {
        pool.push(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    }
    pool
}

fn draw<T: std::fmt::Debug + Default>(seed: u64, strategy: impl Strategy<Value = T>) -> T {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *place = byte;
    }
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    // Nothing here rejects a draw, so there always is one.
    strategy.new_tree(&mut runner).map(|tree| tree.current()).unwrap_or_default()
}
