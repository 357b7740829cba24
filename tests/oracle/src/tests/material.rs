//! The random material: that it is what it says, and that it asks about everything.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use crate::random::{Shape, arb_cluster, cluster, flows, policies};
use crate::{Answer, Cluster, allowed, one_policy_selects_both};

/// Draws per measurement.
const SEEDS: u64 = 40;

fn plain(shape: Shape) -> Shape {
    Shape { ipv6: false, sctp: false, host_network: false, finished: false, ..shape }
}

fn answers(shape: &Shape) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seed in 0..SEEDS {
        let cluster = cluster(seed, shape);
        for flow in flows(&cluster, shape) {
            let answer = allowed(&cluster, flow.src, flow.dst, flow.protocol, flow.port);
            *counts.entry(format!("{answer:?}")).or_default() += 1;
        }
    }
    counts
}

#[test]
fn allowed_and_denied_are_balanced() {
    let large = Shape { pods: 12, policies: 8, ..Shape::default() };
    for (name, shape) in [("default", Shape::default()), ("packets", plain(Shape::default())), ("large", large)] {
        let counts = answers(&shape);
        let of = |answer: Answer| counts.get(&format!("{answer:?}")).copied().unwrap_or_default();
        let (open, closed) = (of(Answer::Allowed), of(Answer::Denied));
        let percent = 100 * open / (open + closed);
        println!("{name}: {counts:?}, {percent} % of the decided flows are allowed");
        assert!((35..=65).contains(&percent), "{name}: {percent} % allowed");
    }
}

#[test]
fn a_seed_is_a_cluster() {
    let shape = Shape::default();
    assert_eq!(cluster(7, &shape), cluster(7, &shape));
    assert_ne!(cluster(7, &shape), cluster(8, &shape));
    let drawn = cluster(7, &shape);
    assert_eq!((drawn.namespaces.len(), drawn.pods.len(), drawn.policies.len()), (3, 8, 7));
}

#[test]
fn a_real_cluster_gives_the_addresses() {
    let shape = plain(Shape { addressed: false, outside: Vec::new(), policies: 40, ..Shape::default() });
    let mut standing = cluster(1, &shape);
    assert!(standing.pods.iter().all(|pod| pod.status.is_none()));
    for (number, pod) in standing.pods.iter_mut().enumerate() {
        pod.status.get_or_insert_default().pod_ip = Some(format!("172.20.0.{}", number + 1));
    }
    let blocks = |policies: &[NetworkPolicy]| {
        let peers = policies.iter().flat_map(peers);
        peers.filter_map(|peer| peer.ip_block).map(|block| block.cidr).collect::<Vec<_>>()
    };
    let drawn = blocks(&policies(2, &shape, &standing));
    assert!(drawn.iter().any(|cidr| cidr.starts_with("172.20.0.") && cidr != "172.20.0.0/16"), "{drawn:?}");
    assert!(drawn.iter().all(|cidr| cidr.starts_with("172.") || cidr == "0.0.0.0/0"), "{drawn:?}");
}

fn peers(policy: &NetworkPolicy) -> Vec<NetworkPolicyPeer> {
    let spec = policy.spec.clone().unwrap();
    let from = spec.ingress.into_iter().flatten().filter_map(|rule| rule.from);
    let to = spec.egress.into_iter().flatten().filter_map(|rule| rule.to);
    from.chain(to).flatten().collect()
}

fn ports(policy: &NetworkPolicy) -> Vec<NetworkPolicyPort> {
    let spec = policy.spec.clone().unwrap();
    let ingress = spec.ingress.into_iter().flatten().filter_map(|rule| rule.ports);
    let egress = spec.egress.into_iter().flatten().filter_map(|rule| rule.ports);
    ingress.chain(egress).flatten().collect()
}

fn named(port: &NetworkPolicyPort) -> bool {
    matches!(port.port, Some(IntOrString::String(_)))
}

/// What drawn policies must hold somewhere, as JSON.
const IN_POLICIES: [&str; 23] = [
    r#""operator":"In""#,
    r#""operator":"NotIn""#,
    r#""operator":"Exists""#,
    r#""operator":"DoesNotExist""#,
    r#""key":"absent""#,
    r#""podSelector":{}"#,
    r#""namespaceSelector":{}"#,
    r#""from":[]"#,
    r#""to":[]"#,
    r#""ports":[]"#,
    r#""ingress":[]"#,
    r#""egress":[]"#,
    r#""policyTypes":[]"#,
    r#""policyTypes":["Ingress"]"#,
    r#""policyTypes":["Egress"]"#,
    r#""policyTypes":["Ingress","Egress"]"#,
    r#""except":["#,
    r#""endPort":"#,
    r#""port":"web""#,
    r#""protocol":"UDP""#,
    r#""protocol":"SCTP""#,
    r#""app":"""#,
    "kubernetes.io/metadata.name",
];

/// What drawn pods must hold somewhere, as JSON.
const IN_PODS: [&str; 7] = [
    "hostNetwork",
    "Succeeded",
    "Failed",
    "deletionTimestamp",
    "initContainers",
    r#""restartPolicy":"Always""#,
    r#""gw":"""#,
];

#[test]
fn everything_occurs() {
    let drawn: Vec<Cluster> = (0..SEEDS).map(|seed| cluster(seed, &Shape::default())).collect();
    let text = serde_json::to_string(&drawn.iter().flat_map(|cluster| &cluster.policies).collect::<Vec<_>>()).unwrap();
    for needle in IN_POLICIES {
        assert!(text.contains(needle), "no policy has {needle}");
    }
    let pods = serde_json::to_string(&drawn.iter().flat_map(|cluster| &cluster.pods).collect::<Vec<_>>()).unwrap();
    for needle in IN_PODS {
        assert!(pods.contains(needle), "no pod has {needle}");
    }
    let spec = |check: fn(&NetworkPolicy) -> bool| drawn.iter().flat_map(|cluster| &cluster.policies).any(check);
    assert!(spec(|policy| policy.spec.as_ref().unwrap().policy_types.is_none()));
    assert!(spec(|policy| policy.spec.as_ref().unwrap().pod_selector.is_none()));
    assert!(spec(|policy| policy.spec.as_ref().unwrap().ingress.is_none()));
    assert!(spec(|policy| peers(policy)
        .iter()
        .any(|peer| peer.namespace_selector.is_some() && peer.pod_selector.is_some())));
}

#[test]
fn both_ends_by_one_policy_can_be_left_out() {
    let with = Shape::default();
    let without = Shape { both_ends_by_one_policy: false, ..with.clone() };
    let mixed = |shape: &Shape| {
        let drawn: Vec<_> = (0..20).map(|seed| cluster(seed, shape)).collect();
        let both = |cluster: &Cluster| {
            flows(cluster, shape).iter().any(|flow| one_policy_selects_both(cluster, flow.src, flow.dst))
        };
        (drawn.iter().any(both), drawn.iter().any(|cluster| !flows(cluster, shape).is_empty()))
    };
    assert_eq!(mixed(&with), (true, true));
    assert_eq!(mixed(&without), (false, true));
}

#[test]
fn undeclared_named_ports_can_be_left_out() {
    let with = Shape { port_names: vec!["web".to_owned(), "nowhere".to_owned()], ..Shape::default() };
    let strip = |seed, shape: &Shape| {
        let mut standing = cluster(seed, shape);
        for pod in &mut standing.pods {
            for container in &mut pod.spec.as_mut().unwrap().containers {
                container.ports = None;
            }
            pod.spec.as_mut().unwrap().init_containers = None;
        }
        policies(seed, shape, &standing).iter().flat_map(ports).filter(named).count()
    };
    let without = Shape { undeclared_named_ports: false, ..with.clone() };
    assert!((0..20).map(|seed| strip(seed, &with)).sum::<usize>() > 0);
    assert_eq!((0..20).map(|seed| strip(seed, &without)).sum::<usize>(), 0, "no pod declares anything");
    let kept: usize = (0..20)
        .flat_map(|seed| cluster(seed, &without).policies)
        .map(|policy| ports(&policy).iter().filter(|port| named(port)).count())
        .sum();
    assert!(kept > 0, "names that pods declare stay");
}

#[test]
fn names_beside_egress_blocks_can_be_left_out() {
    let beside = |shape: &Shape| {
        let drawn = (0..40).flat_map(|seed| cluster(seed, shape).policies);
        let rules = drawn.flat_map(|policy| policy.spec.unwrap().egress.into_iter().flatten());
        let mut rules = rules.filter(|rule| rule.to.iter().flatten().any(|peer| peer.ip_block.is_some()));
        rules.any(|rule| rule.ports.iter().flatten().any(named))
    };
    assert!(beside(&Shape::default()));
    assert!(!beside(&Shape { names_beside_egress_blocks: false, ..Shape::default() }));
}

proptest! {
    /// The API server's own rules for what it accepts, as far as random material could break them.
    #[test]
    fn material_is_valid(cluster in arb_cluster()) {
        for policy in &cluster.policies {
            for peer in peers(policy) {
                let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
                prop_assert!(selects != peer.ip_block.is_some());
                if let Some(block) = peer.ip_block {
                    for except in block.except.iter().flatten() {
                        let (address, length) = except.split_once('/').unwrap();
                        let (_, outer) = block.cidr.split_once('/').unwrap();
                        prop_assert!(crate::block::contains(&block.cidr, address.parse().unwrap()));
                        prop_assert!(length.parse::<u8>().unwrap() > outer.parse::<u8>().unwrap());
                    }
                }
            }
            for port in ports(policy) {
                let Some(end) = port.end_port else { continue };
                prop_assert!(matches!(port.port, Some(IntOrString::Int(first)) if first <= end));
            }
        }
    }

    /// More rules never close anything: a policy may be taken away only where it isolates nobody.
    #[test]
    fn an_open_policy_only_opens(cluster in arb_cluster()) {
        let shape = Shape::default();
        let mut opened = cluster.clone();
        for namespace in &cluster.namespaces {
            let name = namespace.metadata.name.as_deref().unwrap();
            let open = serde_json::json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]});
            opened.policies.push(super::policy(name, open));
        }
        for flow in flows(&cluster, &shape) {
            let answer = allowed(&opened, flow.src, flow.dst, flow.protocol, flow.port);
            prop_assert_ne!(answer, Answer::Denied);
        }
    }
}
