//! The engine against the oracle's slow reading of NetworkPolicy, over random clusters.
//!
//! Not asked, since the two mean different things by it: a pod and itself (the engine is asked about different pods),
//! and a pod's own node as the source (no flow of the engine starts there).

use crate::support::convert;

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::Pod;
use netpol_verify::{
    engine::{
        matrix::{Difference, Matrix},
        verdict,
        world::{self, End, Family, World},
    },
    model::{Decision, Direction, PodRef, PortSet, Protocol},
};
use oracle::{Answer, Cluster, random};
use proptest::{prelude::*, test_runner::Config};

/// Questions about each pair of ends, of all that there are.
const QUESTIONS: usize = 2;

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    /// One flow's verdict, reachability between classes and the oracle give one answer.
    #[test]
    fn the_engine_answers_as_the_oracle_does(drawn in random::arb_cluster_of(shape()), salt in any::<usize>()) {
        let cluster = with_mixed_families(&with_replicas(&with_unique_labels(&drawn)));
        let policies = convert::policies(&cluster);
        let snapshot = convert::snapshot(&cluster);
        let classes = world::classes(&snapshot, &policies.iter().collect::<Vec<_>>());
        let namespaces = snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        let world = World::new(namespaces.collect(), classes, policies);
        Comparison::new(&cluster, &world).all(salt % 1_000)?;
    }

}

proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    /// What is not asked again after a merge is not decided otherwise by it, whether policies or labels changed.
    #[test]
    fn what_a_merge_does_not_touch_is_as_before(
        drawn in random::arb_cluster_of(shape()),
        cut in any::<prop::sample::Index>(),
        relabelled in any::<bool>(),
    ) {
        let policies = convert::policies(&drawn);
        let snapshot = convert::snapshot(&drawn);
        let classes = world::classes(&snapshot, &policies.iter().collect::<Vec<_>>());
        let namespaces = snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        let all = World::new(namespaces.collect(), classes, policies.clone());
        let mut fewer = policies;
        if !fewer.is_empty() {
            fewer.remove(cut.index(fewer.len()));
        }
        let mut rest = all.with_policies(fewer);
        if relabelled {
            rest.namespaces.values_mut().take(1).for_each(BTreeMap::clear);
        }
        let (before, after) = (Matrix::new(&all), Matrix::new(&rest));
        let difference = Difference::new(&before, &after);
        let count = all.classes.len();
        for (source, destination) in (0..count).flat_map(|s| (0..count).map(move |d| (s, d))) {
            for family in [Family::V4, Family::V6] {
                let same = before.between(source, destination, family) == after.between(source, destination, family);
                prop_assert!(same || difference.may_be_between(source, destination), "{source} to {destination}");
            }
        }
    }
}

fn shape() -> random::Shape {
    random::Shape { pods: 7, policies: 6, ..random::Shape::default() }
}

/// A key that controllers make unique to each pod, in the place of one that they do not.
fn with_unique_labels(cluster: &Cluster) -> Cluster {
    let renamed = |text: String| text.replace("\"tier\"", "\"statefulset.kubernetes.io/pod-name\"");
    Cluster {
        namespaces: cluster.namespaces.clone(),
        pods: serde_json::from_str(&renamed(serde_json::to_string(&cluster.pods).unwrap())).unwrap(),
        policies: serde_json::from_str(&renamed(serde_json::to_string(&cluster.policies).unwrap())).unwrap(),
    }
}

/// Some pods differ from another one of their workload in nothing but the address.
fn with_replicas(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    for number in (2..cluster.pods.len()).filter(|number| number % 3 == 2) {
        let first = cluster.pods[number - 2].clone();
        let pod = &mut cluster.pods[number];
        let life = |pod: &Pod| {
            let (spec, status) = (pod.spec.as_ref().unwrap(), pod.status.as_ref().unwrap());
            (spec.host_network, status.phase.clone())
        };
        if life(pod) == life(&first) {
            pod.metadata.namespace = first.metadata.namespace;
            pod.metadata.labels = first.metadata.labels;
            pod.spec = first.spec;
        }
    }
    cluster
}

/// Every fourth pod has IPv4 only, every other fourth IPv6 only.
fn with_mixed_families(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    for (number, pod) in cluster.pods.iter_mut().enumerate() {
        let Some(status) = &mut pod.status else { continue };
        if let Some(ips) = status.pod_ips.as_mut().filter(|ips| ips.len() == 2) {
            if number % 4 == 1 {
                ips.remove(1);
            } else if number % 4 == 3 {
                ips.remove(0);
            }
            status.pod_ip = Some(ips[0].ip.clone());
        }
    }
    cluster
}

/// What may be asked about two ends: ports that rules speak of, their neighbours, and the bounds of the range.
fn questions() -> Vec<(Protocol, u16)> {
    let tcp = [8080, 8081, 8082, 9090, 8083, 1, 65535].map(|port| (Protocol::Tcp, port));
    let udp = [8080, 8081, 8082, 9090, 8079].map(|port| (Protocol::Udp, port));
    tcp.into_iter().chain(udp).chain([(Protocol::Sctp, 8080), (Protocol::Sctp, 9090)]).collect()
}

struct Comparison<'a> {
    cluster: &'a Cluster,
    world: &'a World,
    matrix: Matrix<'a>,
    class_of: BTreeMap<PodRef, usize>,
}

impl<'a> Comparison<'a> {
    fn new(cluster: &'a Cluster, world: &'a World) -> Self {
        let pods =
            world.classes.iter().enumerate().flat_map(|(i, class)| class.pods.iter().map(move |p| (p.clone(), i)));
        Self { cluster, world, matrix: Matrix::new(world), class_of: pods.collect() }
    }

    /// Every pair of ends of one family, a part of the questions each.
    fn all(&self, salt: usize) -> Result<(), TestCaseError> {
        let ends = self.ends();
        let questions = questions();
        let mut turn = salt;
        for &src in &ends {
            for &dst in ends.iter().filter(|dst| dst.address().is_ipv4() == src.address().is_ipv4()) {
                if is_asked(src, dst) {
                    let asked = (0..QUESTIONS).map(|n| questions[(turn + n) % questions.len()]);
                    self.pair(src, dst, asked)?;
                    turn += QUESTIONS;
                }
            }
        }
        Ok(())
    }

    fn ends(&self) -> Vec<oracle::End<'a>> {
        let of = |pod: &'a Pod| convert::addresses(pod).into_iter().map(move |ip| oracle::End::Pod(pod, ip));
        let outside = shape().outside.into_iter().map(oracle::End::Address);
        self.cluster.pods.iter().flat_map(of).chain(outside).collect()
    }

    fn pair(
        &self,
        src: oracle::End<'a>,
        dst: oracle::End<'a>,
        asked: impl Iterator<Item = (Protocol, u16)>,
    ) -> Result<(), TestCaseError> {
        let (Some(source), Some(destination)) = (self.end(src), self.end(dst)) else {
            // A finished pod is in no class.
            prop_assert_eq!(oracle::allowed(self.cluster, src, dst, "TCP", 8080), Answer::Undefined);
            return Ok(());
        };
        let ports = self.ports(src, dst);
        for (protocol, port) in asked {
            let expected = match oracle::allowed(self.cluster, src, dst, &protocol.to_string(), port) {
                Answer::Allowed => Decision::Allowed,
                Answer::Denied => Decision::Denied,
                Answer::Undefined => Decision::Undefined,
            };
            let place = || format!("{} -> {} {protocol}/{port} in {}", name(src), name(dst), self.text());
            let verdict = verdict::flow(self.world, source, destination, protocol, port);
            prop_assert_eq!(verdict.decision(), expected, "verdict {:?} of {}", verdict, place());
            let by_ports = match &ports {
                None => Decision::Undefined,
                Some(ports) if ports.contains(protocol, port) => Decision::Allowed,
                Some(_) => Decision::Denied,
            };
            prop_assert_eq!(by_ports, expected, "ports of {}", place());
        }
        Ok(())
    }

    fn class(&self, end: oracle::End<'_>) -> Option<usize> {
        match end {
            oracle::End::Pod(pod, _) => self.class_of.get(&convert::id(pod)).copied(),
            oracle::End::Address(_) => None,
        }
    }

    fn end(&self, end: oracle::End<'_>) -> Option<End<'a>> {
        match end {
            oracle::End::Pod(_, ip) => Some(End::pods(&self.world.classes[self.class(end)?], Family::of(ip))),
            oracle::End::Address(ip) => Some(End::outside(ip)),
        }
    }

    fn ports(&self, src: oracle::End<'_>, dst: oracle::End<'_>) -> Option<PortSet> {
        let family = Family::of(src.address());
        match (self.class(src), self.class(dst)) {
            (Some(from), Some(to)) => self.matrix.between(from, to, family),
            (Some(from), None) => self.matrix.to_outside(from, End::outside(dst.address())),
            (None, Some(to)) => {
                let destination = End::pods(&self.world.classes[to], family);
                self.matrix.side(Direction::Ingress, to, End::outside(src.address()), destination)
            }
            (None, None) => None,
        }
    }

    fn text(&self) -> String {
        serde_json::json!({"namespaces": self.cluster.namespaces, "pods": self.cluster.pods,
            "policies": self.cluster.policies})
        .to_string()
    }
}

/// Different pods, or a pod and an outside address.
fn is_asked(src: oracle::End<'_>, dst: oracle::End<'_>) -> bool {
    match (src, dst) {
        (oracle::End::Pod(from, _), oracle::End::Pod(to, _)) => convert::id(from) != convert::id(to),
        (oracle::End::Address(_), oracle::End::Address(_)) => false,
        _ => true,
    }
}

fn name(end: oracle::End<'_>) -> String {
    let address: IpAddr = end.address();
    match end {
        oracle::End::Pod(pod, _) => format!("{}@{address}", convert::id(pod)),
        oracle::End::Address(_) => address.to_string(),
    }
}
