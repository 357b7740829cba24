//! Policies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::Shape;
use super::pods::{NAMESPACE_KEYS, POD_KEYS, VALUES, namespace_name};
use crate::block::contains;
use crate::port::numbers;
use crate::{Cluster, End, peer_matches, selects};

/// A key that no object has.
const ABSENT_KEY: &str = "absent";

/// Policies, named by their place.
pub(super) fn list(
    shape: &Shape,
    addresses: Vec<IpAddr>,
    count: RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<NetworkPolicy>> + use<> {
    let policy = (0..shape.namespaces.max(1), spec(shape, addresses));
    vec(policy, count).prop_map(|drawn| {
        let named = drawn.into_iter().enumerate();
        named.map(|(number, (namespace, spec))| policy_of(number, namespace, spec)).collect()
    })
}

/// Takes out what the shape excludes and only the pods can tell.
pub(super) fn within(shape: &Shape, cluster: &Cluster, mut policies: Vec<NetworkPolicy>) -> Vec<NetworkPolicy> {
    for policy in &mut policies {
        let before = policy.clone();
        let Some(spec) = &mut policy.spec else {
            continue;
        };
        for rule in spec.ingress.iter_mut().flatten() {
            let selected = |pod: &Pod| selects(&before, pod);
            number_names(shape, rule.ports.as_mut(), |name, protocol| {
                shape.undeclared_named_ports || declared(cluster, name, protocol, selected)
            });
        }
        for rule in spec.egress.iter_mut().flatten() {
            let peers = rule.to.clone().unwrap_or_default();
            let blocks = peers.iter().any(|peer| peer.ip_block.is_some());
            number_names(shape, rule.ports.as_mut(), |name, protocol| {
                (shape.names_beside_egress_blocks || !blocks)
                    && (shape.undeclared_named_ports || destinations_declare(cluster, &before, &peers, name, protocol))
            });
        }
    }
    policies
}

fn destinations_declare(
    cluster: &Cluster,
    policy: &NetworkPolicy,
    peers: &[NetworkPolicyPeer],
    name: &str,
    protocol: &str,
) -> bool {
    let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    // For a rule without peers the policy's own namespace is looked at too: some look no further.
    let own = |pod: &Pod| pod.metadata.namespace == policy.metadata.namespace;
    let matched = |peer: &NetworkPolicyPeer| {
        declared(cluster, name, protocol, |pod| {
            peer.ip_block.is_none() && peer_matches(cluster, policy, peer, End::Pod(pod, unspecified))
        })
    };
    if peers.is_empty() { declared(cluster, name, protocol, own) } else { peers.iter().all(matched) }
}

fn declared(cluster: &Cluster, name: &str, protocol: &str, which: impl Fn(&Pod) -> bool) -> bool {
    cluster.pods.iter().any(|pod| which(pod) && !numbers(pod, name, protocol).is_empty())
}

fn number_names(shape: &Shape, ports: Option<&mut Vec<NetworkPolicyPort>>, keep: impl Fn(&str, &str) -> bool) {
    let number = i32::from(shape.ports.first().copied().unwrap_or(8080));
    for entry in ports.into_iter().flatten() {
        let protocol = entry.protocol.as_deref().unwrap_or("TCP");
        if let Some(IntOrString::String(name)) = &entry.port
            && !keep(name, protocol)
        {
            entry.port = Some(IntOrString::Int(number));
        }
    }
}

fn policy_of(number: usize, namespace: usize, spec: NetworkPolicySpec) -> NetworkPolicy {
    let metadata = ObjectMeta {
        name: Some(format!("policy-{number}")),
        namespace: Some(namespace_name(namespace)),
        ..ObjectMeta::default()
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}

fn spec(shape: &Shape, addresses: Vec<IpAddr>) -> impl Strategy<Value = NetworkPolicySpec> + use<> {
    let types = prop_oneof![
        3 => Just(None),
        1 => Just(Some(vec![])),
        3 => Just(Some(vec!["Ingress"])),
        3 => Just(Some(vec!["Egress"])),
        3 => Just(Some(vec!["Ingress", "Egress"])),
    ];
    let rules = rules(shape, addresses);
    (weighted(0.95, selector(&POD_KEYS)), types, rules.clone(), rules).prop_map(
        |(pod_selector, types, ingress, egress)| {
            let ingress = ingress
                .map(|rules| rules.into_iter().map(|(from, ports)| NetworkPolicyIngressRule { from, ports }).collect());
            let egress = egress
                .map(|rules| rules.into_iter().map(|(to, ports)| NetworkPolicyEgressRule { ports, to }).collect());
            let policy_types = types.map(|types| types.into_iter().map(ToOwned::to_owned).collect());
            NetworkPolicySpec { egress, ingress, pod_selector, policy_types }
        },
    )
}

type Rule = (Option<Vec<NetworkPolicyPeer>>, Option<Vec<NetworkPolicyPort>>);

fn rules(shape: &Shape, addresses: Vec<IpAddr>) -> BoxedStrategy<Option<Vec<Rule>>> {
    let peers = absent_empty_or(peer(shape, addresses).boxed(), 1, 1, 10);
    let ports = absent_empty_or(port(shape).boxed(), 2, 1, 5);
    absent_empty_or((peers, ports).boxed(), 1, 1, 10)
}

/// A list in its three spellings: absent, `[]`, and with one to three items.
fn absent_empty_or<T: std::fmt::Debug + Clone + 'static>(
    item: BoxedStrategy<T>,
    absent: u32,
    empty: u32,
    full: u32,
) -> BoxedStrategy<Option<Vec<T>>> {
    prop_oneof![
        absent => Just(None),
        empty => Just(Some(Vec::new())),
        full => vec(item, 1..=3).prop_map(Some),
    ]
    .boxed()
}

fn peer(shape: &Shape, addresses: Vec<IpAddr>) -> impl Strategy<Value = NetworkPolicyPeer> + use<> {
    let pods = || selector(&POD_KEYS).prop_map(Some);
    let names = (0..shape.namespaces.max(1)).prop_map(|number| {
        let label = ("kubernetes.io/metadata.name".to_owned(), namespace_name(number));
        LabelSelector { match_labels: Some([label].into()), match_expressions: None }
    });
    let namespaces = prop_oneof![4 => selector(&NAMESPACE_KEYS), 1 => names].prop_map(Some).boxed();
    let selectors = prop_oneof![(Just(None), pods()), (namespaces.clone(), Just(None)), (namespaces, pods()),];
    prop_oneof![
        3 => selectors.prop_map(|(namespace_selector, pod_selector)| NetworkPolicyPeer { ip_block: None, namespace_selector, pod_selector }),
        1 => block(addresses).prop_map(|block| NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }),
    ]
}

fn selector(keys: &'static [&'static str]) -> impl Strategy<Value = LabelSelector> {
    let requirements = || vec(requirement(keys), 1..=2).prop_map(Some);
    let label = (select(keys), select(&VALUES[..])).prop_map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = vec(label, 1..=2).prop_map(|pairs| Some(pairs.into_iter().collect())).boxed();
    prop_oneof![
        2 => (Just(None), Just(None)),
        3 => (labels.clone(), Just(None)),
        4 => (Just(None), requirements()),
        1 => (labels, requirements()),
    ]
    .prop_map(|(match_labels, match_expressions)| LabelSelector { match_expressions, match_labels })
}

fn requirement(keys: &'static [&'static str]) -> impl Strategy<Value = LabelSelectorRequirement> {
    let key = prop_oneof![8 => select(keys), 1 => Just(ABSENT_KEY)].prop_map(ToOwned::to_owned);
    let operator = select(&["In", "NotIn", "Exists", "DoesNotExist"][..]);
    (key, operator, vec(select(&VALUES[..]), 1..=2)).prop_map(|(key, operator, values)| LabelSelectorRequirement {
        key,
        operator: operator.to_owned(),
        values: operator.ends_with("In").then(|| values.into_iter().map(ToOwned::to_owned).collect()),
    })
}

fn port(shape: &Shape) -> impl Strategy<Value = NetworkPolicyPort> + use<> {
    let mut protocols = vec![None, None, Some("TCP"), Some("TCP"), Some("UDP"), Some("UDP"), Some("UDP")];
    if shape.sctp {
        protocols.push(Some("SCTP"));
    }
    let numbers = if shape.ports.is_empty() { vec![8080] } else { shape.ports.clone() };
    let number = select(numbers.clone()).prop_map(i32::from);
    let range = (select(numbers.clone()), select(numbers))
        .prop_map(|(one, other)| (i32::from(one.min(other)), i32::from(one.max(other))));
    let mut kinds = vec![
        (1, Just((None, None)).boxed()),
        (3, number.prop_map(|number| (Some(IntOrString::Int(number)), None)).boxed()),
        (2, range.prop_map(|(first, last)| (Some(IntOrString::Int(first)), Some(last))).boxed()),
    ];
    if !shape.port_names.is_empty() {
        let name = select(shape.port_names.clone());
        kinds.push((3, name.prop_map(|name| (Some(IntOrString::String(name)), None)).boxed()));
    }
    (select(protocols), proptest::strategy::Union::new_weighted(kinds)).prop_map(|(protocol, (port, end_port))| {
        NetworkPolicyPort { end_port, port, protocol: protocol.map(ToOwned::to_owned) }
    })
}

/// Blocks around the addresses that matter, with exceptions around others of them.
fn block(addresses: Vec<IpAddr>) -> impl Strategy<Value = IPBlock> {
    let host_bits = select(vec![128_u8, 16, 8, 3, 2, 1, 0]);
    let except = vec((select(addresses.clone()), select(vec![0_u8, 0, 1, 2])), 0..=2);
    (select(addresses), host_bits, except).prop_map(|(address, host_bits, excepted)| {
        let cidr = around(address, host_bits);
        // "Except values will be rejected if they are outside the cidr range"; and they must be smaller.
        let smaller = excepted.into_iter().filter(|(other, bits)| *bits < host_bits && contains(&cidr, *other));
        let except: Vec<String> = smaller.map(|(other, bits)| around(other, bits)).collect();
        IPBlock { except: (!except.is_empty()).then_some(except), cidr }
    })
}

/// The block with that many free bits (at most all) that contains the address.
pub(super) fn around(address: IpAddr, host_bits: u8) -> String {
    match address {
        IpAddr::V4(address) => {
            let free = u32::from(host_bits.min(32));
            let mask = u32::MAX.checked_shl(free).unwrap_or(0);
            format!("{}/{}", Ipv4Addr::from_bits(address.to_bits() & mask), 32 - free)
        }
        IpAddr::V6(address) => {
            let free = u32::from(host_bits.min(128));
            let mask = u128::MAX.checked_shl(free).unwrap_or(0);
            format!("{}/{}", Ipv6Addr::from_bits(address.to_bits() & mask), 128 - free)
        }
    }
}
