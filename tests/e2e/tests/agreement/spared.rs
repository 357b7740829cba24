//! What a data plane is not asked, since it is known to go wrong there.

use std::net::IpAddr;

use e2e::DataPlane;
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use oracle::random::Shape;

use crate::OUTSIDE;

/// What can be asked of a data plane.
///
/// None of the three knows the named ports of sidecars (Calico 3.28, kube-network-policies 1.1, kube-router 2.1).
/// kube-router mixes the two directions of a policy that selects both ends of a flow, and opens every port for a
/// name that no pod in question declares.
pub fn shape(data_plane: DataPlane) -> Shape {
    let whole = data_plane != DataPlane::KubeRouter;
    Shape {
        addressed: false,
        ipv6: false,
        sctp: false,
        host_network: false,
        finished: false,
        ordinary_init_containers: false,
        sidecars: false,
        outside: OUTSIDE.iter().map(|(_, address)| IpAddr::from(*address)).collect(),
        both_ends_by_one_policy: whole,
        undeclared_named_ports: whole,
        names_beside_egress_blocks: whole,
        image: "registry.local/netcat:test".to_owned(),
        ..Shape::default()
    }
}

/// Features of policies that no flow can hang on here.
///
/// Packets are TCP and UDP over IPv4. Calico got tiers with 3.29 and staged policies with 3.30. Packets to a node do
/// not pass where kube-network-policies looks, and named ports of v1alpha1 are in the API's experimental channel only.
pub fn features(data_plane: &str) -> &'static [&'static str] {
    match data_plane {
        "calico" => {
            &["staged kinds", "tier", "order of tiers", "default action of tiers", "icmp", "notICMP", "ipVersion"]
        }
        "kube-network-policies-anp" => &[
            "ClusterNetworkPolicy in Admin",
            "ClusterNetworkPolicy in Baseline",
            "protocols of v1alpha2",
            "nodes of peers",
            "named ports of the admin kinds",
        ],
        "kube-network-policies-cnp" => {
            &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ports of v1alpha1", "nodes of peers"]
        }
        _ => &[],
    }
}

/// Takes out what [`shape`] cannot say: two more bugs of kube-router 2.1.
///
/// It puts all blocks of a rule into one set, so that an exception of one of them holds against the others too:
/// exceptions beside a second block are taken out. And for a named port in an egress rule without `to` it opens the
/// numbers that pods of the policy's namespace have for it, at every destination: they become plain numbers.
pub fn spare(data_plane: DataPlane, policies: &mut [NetworkPolicy]) {
    if data_plane != DataPlane::KubeRouter {
        return;
    }
    for spec in policies.iter_mut().filter_map(|policy| policy.spec.as_mut()) {
        for rule in spec.egress.iter_mut().flatten() {
            if rule.to.as_ref().is_none_or(Vec::is_empty) {
                rule.ports.iter_mut().flatten().for_each(spare_name);
            }
        }
        let from = spec.ingress.iter_mut().flatten().filter_map(|rule| rule.from.as_mut());
        let to = spec.egress.iter_mut().flatten().filter_map(|rule| rule.to.as_mut());
        from.chain(to).for_each(|peers| spare_exceptions(peers));
    }
}

fn spare_name(entry: &mut NetworkPolicyPort) {
    if let Some(IntOrString::String(_)) = entry.port {
        entry.port = Some(IntOrString::Int(8080));
    }
}

fn spare_exceptions(peers: &mut [NetworkPolicyPeer]) {
    let mut blocks: Vec<_> = peers.iter_mut().filter_map(|peer| peer.ip_block.as_mut()).collect();
    if blocks.len() > 1 {
        for block in &mut blocks {
            block.except = None;
        }
    }
}
