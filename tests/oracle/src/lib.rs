//! A second reading of `networking.k8s.io/v1` `NetworkPolicy`, slow and obviously right.
//!
//! The engine of `netpol-verify` answers the same question fast, for many pods and with reasons. This crate
//! answers it for one flow, from the plain API objects, sentence by sentence: one policy, one rule, one peer
//! at a time, with the sentence of the API reference beside each `if`. Tests ask both and demand the same
//! answer, over material from [`random`]; the same material is held against the packets of a real cluster by
//! the program `oracle-packets` of this package.
//!
//! All kinds of policy together (Calico's, and the admin kinds of the network policy API) are read in [`tiers`], in the
//! same manner, with this reading of NetworkPolicy in their midst.
//!
//! # It shares no code with the engine
//!
//! An error that both readings share is an error that no comparison finds. So this crate does not depend on
//! `netpol-verify`, nor on the libraries that the engine takes its meaning from: label selectors, address
//! blocks and ports are read here again, from the standard library alone. Speed is no argument for a change.
//!
//! # What it is asked
//!
//! Objects that the API server would accept. Content that it refuses (an unknown operator, an address block
//! that is none, a peer without fields) matches nothing.

mod block;
pub mod features;
mod pod;
mod port;
pub mod random;
mod selector;
#[cfg(test)]
mod tests;
pub mod tiers;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};

/// Everything that an answer depends on, as the API server would return it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Namespaces; one that pods name but that is missing here has no labels but its name.
    pub namespaces: Vec<Namespace>,
    /// Pods; `spec`, `metadata` and `status` are all read.
    pub pods: Vec<Pod>,
    /// The policies in force.
    pub policies: Vec<NetworkPolicy>,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod, and the one of its addresses that the packets carry (a pod may have IPv4 and IPv6).
    Pod(&'a Pod, IpAddr),
    /// An address that is no pod's: a node, or a host outside the cluster.
    Address(IpAddr),
}

/// May a new connection be made?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The source may send it and the destination may receive it.
    Allowed,
    /// At least one of the two may not.
    Denied,
    /// The API says nothing: an end is a pod in its node's network, or one that has finished and has no address.
    Undefined,
}

/// The side of a pod that a policy restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Connections to the pod.
    Ingress,
    /// Connections from the pod.
    Egress,
}

impl Cluster {
    /// Gives the end that answers at `address`: the pod that has it, else the bare address.
    #[must_use]
    pub fn end_at(&self, address: IpAddr) -> End<'_> {
        for pod in &self.pods {
            if pod::host_network(pod) || pod::finished(pod) {
                continue;
            }
            if pod::addresses(pod).contains(&address) {
                return End::Pod(pod, address);
            }
        }
        End::Address(address)
    }
}

impl End<'_> {
    /// Gives the address in the packets.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match *self {
            Self::Pod(_, address) | Self::Address(address) => address,
        }
    }
}

/// Answers whether `src` may open a connection to `port` of `dst`.
///
/// `protocol` is `TCP`, `UDP` or `SCTP`. Any other (`ICMP`) has no ports: only rules without ports match it.
#[must_use]
pub fn allowed(cluster: &Cluster, src: End<'_>, dst: End<'_>, protocol: &str, port: u16) -> Answer {
    for end in [src, dst] {
        if let End::Pod(pod, _) = end {
            // "NetworkPolicy behaviour for hostNetwork pods is undefined."
            if pod::host_network(pod) {
                return Answer::Undefined;
            }
            // A pod that has come to its end has given its address back: nobody sends, nobody answers.
            if pod::finished(pod) {
                return Answer::Undefined;
            }
        }
    }
    if let (End::Pod(from, _), End::Pod(to, _)) = (src, dst) {
        // "exception: a pod cannot block access to itself".
        if pod::same(from, to) {
            return Answer::Allowed;
        }
    }
    // "For a connection from a source pod to a destination pod to be allowed, both the egress policy on the
    // source pod and the ingress policy on the destination pod need to allow the connection."
    if !egress_allowed(cluster, src, dst, protocol, port) {
        return Answer::Denied;
    }
    if !ingress_allowed(cluster, src, dst, protocol, port) {
        return Answer::Denied;
    }
    Answer::Allowed
}

/// Answers whether `pod` is isolated: whether only what some rule allows passes in that direction.
///
/// False for pods in their node's network (undefined by the API) and for finished ones.
#[must_use]
pub fn isolated(cluster: &Cluster, pod: &Pod, direction: Direction) -> bool {
    for policy in &cluster.policies {
        // "A pod is isolated for egress if there is any NetworkPolicy that both selects the pod and has
        // "Egress" in its policyTypes"; the same is said of ingress.
        if selects(policy, pod) && has_type(policy, direction) {
            return true;
        }
    }
    false
}

/// Answers whether one policy applies to both pods, in whatever direction.
#[must_use]
pub fn one_policy_selects_both(cluster: &Cluster, src: End<'_>, dst: End<'_>) -> bool {
    match (src, dst) {
        (End::Pod(from, _), End::Pod(to, _)) => {
            cluster.policies.iter().any(|policy| selects(policy, from) && selects(policy, to))
        }
        _ => false,
    }
}

fn egress_allowed(cluster: &Cluster, src: End<'_>, dst: End<'_>, protocol: &str, port: u16) -> bool {
    // NetworkPolicy speaks of pods: an address that is none is never isolated.
    let End::Pod(pod, _) = src else { return true };
    // "Outgoing traffic is allowed if there are no NetworkPolicies selecting the pod".
    if !isolated(cluster, pod, Direction::Egress) {
        return true;
    }
    for policy in &cluster.policies {
        if !selects(policy, pod) || !has_type(policy, Direction::Egress) {
            continue;
        }
        // "OR if the traffic matches at least one egress rule across all of the NetworkPolicy objects whose
        // podSelector matches the pod."
        for rule in spec(policy).egress.iter().flatten() {
            // "The traffic must match both ports and to."
            if peers_match(cluster, policy, rule.to.as_deref(), dst)
                && ports_match(rule.ports.as_deref(), dst, protocol, port)
            {
                return true;
            }
        }
    }
    // "If this field is empty then this NetworkPolicy limits all outgoing traffic".
    false
}

fn ingress_allowed(cluster: &Cluster, src: End<'_>, dst: End<'_>, protocol: &str, port: u16) -> bool {
    let End::Pod(pod, _) = dst else { return true };
    // "Traffic is allowed to a pod if there are no NetworkPolicies selecting the pod".
    if !isolated(cluster, pod, Direction::Ingress) {
        return true;
    }
    // "OR if the traffic source is the pod's local node".
    if pod::node_addresses(pod).contains(&src.address()) {
        return true;
    }
    for policy in &cluster.policies {
        if !selects(policy, pod) || !has_type(policy, Direction::Ingress) {
            continue;
        }
        // "OR if the traffic matches at least one ingress rule across all of the NetworkPolicy objects whose
        // podSelector matches the pod."
        for rule in spec(policy).ingress.iter().flatten() {
            // "The traffic must match both ports and from."
            if peers_match(cluster, policy, rule.from.as_deref(), src)
                && ports_match(rule.ports.as_deref(), dst, protocol, port)
            {
                return true;
            }
        }
    }
    // "If this field is empty then this NetworkPolicy does not allow any traffic".
    false
}

fn peers_match(cluster: &Cluster, policy: &NetworkPolicy, peers: Option<&[NetworkPolicyPeer]>, end: End<'_>) -> bool {
    let peers = peers.unwrap_or(&[]);
    // "If this field is empty or missing, this rule matches all sources (traffic not restricted by source)."
    if peers.is_empty() {
        return true;
    }
    for peer in peers {
        // "Items in this list are combined using a logical OR operation."
        if peer_matches(cluster, policy, peer, end) {
            return true;
        }
    }
    false
}

fn peer_matches(cluster: &Cluster, policy: &NetworkPolicy, peer: &NetworkPolicyPeer, end: End<'_>) -> bool {
    // "If this field is set then neither of the other fields can be." Blocks are held against the address in
    // the packet, whoever has it.
    if let Some(block) = &peer.ip_block {
        return block::matches(block, end.address());
    }
    // The other two select pods: an address that is none has no labels.
    let End::Pod(pod, _) = end else { return false };
    if pod::host_network(pod) || pod::finished(pod) {
        return false;
    }
    match (&peer.namespace_selector, &peer.pod_selector) {
        // "the NetworkPolicyPeer as a whole selects the pods matching podSelector in the namespaces selected by
        // namespaceSelector."
        (Some(namespaces), Some(pods)) => {
            selector::matches(namespaces, &pod::namespace_labels(cluster, pod))
                && selector::matches(pods, pod::labels(pod))
        }
        // "Otherwise it selects all pods in the namespaces selected by namespaceSelector."
        (Some(namespaces), None) => selector::matches(namespaces, &pod::namespace_labels(cluster, pod)),
        // "Otherwise it selects the pods matching podSelector in the policy's own namespace."
        (None, Some(pods)) => {
            pod::namespace(&pod.metadata) == pod::namespace(&policy.metadata)
                && selector::matches(pods, pod::labels(pod))
        }
        (None, None) => false,
    }
}

fn ports_match(ports: Option<&[NetworkPolicyPort]>, dst: End<'_>, protocol: &str, port: u16) -> bool {
    let ports = ports.unwrap_or(&[]);
    // "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)."
    if ports.is_empty() {
        return true;
    }
    for entry in ports {
        // "Each item in this list is combined using a logical OR."
        if port::matches(entry, dst, protocol, port) {
            return true;
        }
    }
    false
}

fn selects(policy: &NetworkPolicy, pod: &Pod) -> bool {
    // Undefined by the API; ignored wherever policies are enforced, as are pods that have finished.
    if pod::host_network(pod) || pod::finished(pod) {
        return false;
    }
    // A policy is namespaced: "An empty selector matches all pods in the policy's namespace."
    if pod::namespace(&pod.metadata) != pod::namespace(&policy.metadata) {
        return false;
    }
    match &spec(policy).pod_selector {
        Some(selector) => selector::matches(selector, pod::labels(pod)),
        // "If it is not specified, it defaults to an empty selector."
        None => true,
    }
}

fn has_type(policy: &NetworkPolicy, direction: Direction) -> bool {
    let spec = spec(policy);
    let types = spec.policy_types.as_deref().unwrap_or(&[]);
    if types.is_empty() {
        return match direction {
            // "all policies (whether or not they contain an ingress section) are assumed to affect ingress".
            Direction::Ingress => true,
            // "policies that contain an egress section are assumed to affect egress"; a list without rules is
            // dropped on its way through the API server, and is no section.
            Direction::Egress => !spec.egress.as_deref().unwrap_or(&[]).is_empty(),
        };
    }
    let name = match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    types.iter().any(|given| given == name)
}

fn spec(policy: &NetworkPolicy) -> &NetworkPolicySpec {
    static EMPTY: NetworkPolicySpec =
        NetworkPolicySpec { egress: None, ingress: None, pod_selector: None, policy_types: None };
    policy.spec.as_ref().unwrap_or(&EMPTY)
}
