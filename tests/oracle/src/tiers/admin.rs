//! AdminNetworkPolicy and BaselineAdminNetworkPolicy (`v1alpha1`), ClusterNetworkPolicy (`v1alpha2`).

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::json::{field, list, text, texts};
use super::world::{World, net_contains};
use super::{Action, Question, protocol_name};
use crate::port::numbers;
use crate::{Direction, End, pod, selector};

/// The tier that a policy is in: "Policy tiers are evaluated in the following order: Admin tier, NetworkPolicy tier,
/// Baseline tier".
pub(super) fn tier(policy: &Value) -> &'static str {
    match (text(policy, "/kind"), text(policy, "/spec/tier")) {
        ("AdminNetworkPolicy", _) => "adminnetworkpolicy",
        ("BaselineAdminNetworkPolicy", _) => "baselineadminnetworkpolicy",
        (_, "Admin") => "kube-admin",
        _ => "kube-baseline",
    }
}

/// Whether a policy is in force at a pod in a direction.
pub(super) fn applies(world: &World, policy: &Value, pod: &Pod, direction: Direction) -> bool {
    // "CNPs with no ingress rules do not affect ingress traffic."
    !rules(policy, direction).is_empty()
        && field(policy, "/spec/subject").is_some_and(|subject| selects(world, subject, pod) == Some(true))
}

fn rules(policy: &Value, direction: Direction) -> &[Value] {
    match direction {
        Direction::Ingress => list(policy, "/spec/ingress"),
        Direction::Egress => list(policy, "/spec/egress"),
    }
}

/// `namespaces` or `pods`, of a subject or of a peer; nothing if it is neither.
fn selects(world: &World, either: &Value, pod: &Pod) -> Option<bool> {
    // "Note that host-networked pods are not included in subject selection."
    let ordinary = !pod::host_network(pod) && !pod::finished(pod);
    let of_namespace = pod::namespace_labels(&world.plain, pod);
    if let Some(namespaces) = field(either, "/namespaces") {
        return Some(ordinary && selector::matches(&label_selector(Some(namespaces)), &of_namespace));
    }
    let pods = field(either, "/pods")?;
    // "NamespaceSelector follows standard label selector semantics; if empty, it selects all Namespaces."
    let namespaces = label_selector(field(pods, "/namespaceSelector"));
    let labels = label_selector(field(pods, "/podSelector"));
    Some(ordinary && selector::matches(&namespaces, &of_namespace) && selector::matches(&labels, pod::labels(pod)))
}

fn label_selector(written: Option<&Value>) -> LabelSelector {
    written.and_then(|written| serde_json::from_value(written.clone()).ok()).unwrap_or_default()
}

/// The first rule that decides, and how: "a rule that appears at the top of the ingress/egress rules would take the
/// highest precedence".
pub(super) fn decide(
    world: &World,
    policy: &Value,
    direction: Direction,
    question: &Question<'_>,
) -> Option<(usize, Action)> {
    for (number, rule) in rules(policy, direction).iter().enumerate() {
        // v1alpha1 allows, v1alpha2 accepts.
        let action = match text(rule, "/action") {
            "Allow" | "Accept" => Action::Allow,
            "Deny" => Action::Deny,
            "Pass" => Action::Pass,
            _ => continue,
        };
        match peers_match(world, rule, direction, question) {
            // "For "Accept" rules, "fail closed" means: "treat the rule as matching no traffic". For "Deny" and "Pass"
            // rules, "fail closed" means: "treat the rule as a 'Deny all' rule"."
            None if action == Action::Allow => {}
            None => return Some((number, Action::Deny)),
            Some(matched) => {
                if matched && ports_match(rule, question) {
                    return Some((number, action));
                }
            }
        }
    }
    None
}

/// "If any element matches the source of incoming traffic then the specified action is applied." Nothing, if a peer
/// is of a kind that is not known.
fn peers_match(world: &World, rule: &Value, direction: Direction, question: &Question<'_>) -> Option<bool> {
    let (peers, end) = match direction {
        Direction::Ingress => (list(rule, "/from"), question.src),
        Direction::Egress => (list(rule, "/to"), question.dst),
    };
    let mut any = false;
    for peer in peers {
        any |= peer_matches(world, peer, direction, end)?;
    }
    Some(any)
}

fn peer_matches(world: &World, peer: &Value, direction: Direction, end: End<'_>) -> Option<bool> {
    if field(peer, "/namespaces").is_some() || field(peer, "/pods").is_some() {
        return match end {
            End::Pod(pod, _) => selects(world, peer, pod),
            End::Address(_) => Some(false),
        };
    }
    if direction == Direction::Ingress {
        return None;
    }
    // "cluster-internal traffic will be checked against the rule as well".
    if field(peer, "/networks").is_some() {
        return Some(texts(peer, "/networks").iter().any(|net| net_contains(net, end.address())));
    }
    if let Some(nodes) = field(peer, "/nodes") {
        return Some(node_matches(world, nodes, end));
    }
    // Which addresses a name has, nothing here tells: it matches none.
    field(peer, "/domainNames").map(|_| false)
}

/// "It selects the nodeIPs as the peer type by matching on the IPs present in the node.Status.Addresses field".
fn node_matches(world: &World, nodes: &Value, end: End<'_>) -> bool {
    let wanted = label_selector(Some(nodes));
    world.of_kind("v1", "Node").any(|node| {
        let here = list(node, "/status/addresses").iter();
        let mut here = here.filter_map(|address| text(address, "/address").parse::<std::net::IpAddr>().ok());
        selector::matches(&wanted, &super::json::map(node, "/metadata/labels")) && here.any(|ip| ip == end.address())
    })
}

/// "If Ports is not set then the rule does not filter traffic via port."
fn ports_match(rule: &Value, question: &Question<'_>) -> bool {
    let ports = list(rule, "/ports");
    let protocols = list(rule, "/protocols");
    let limited = !ports.is_empty() || !protocols.is_empty();
    !limited
        || ports.iter().any(|port| port_matches(port, question))
        || protocols.iter().any(|protocol| protocol_matches(protocol, question))
}

/// An entry of `ports` (v1alpha1).
fn port_matches(entry: &Value, question: &Question<'_>) -> bool {
    // "If not specified, this field defaults to TCP."
    let protocol_is = |given: &Value| match text(given, "/protocol") {
        "" => question.protocol == 6,
        name => name == protocol_name(question.protocol),
    };
    if let Some(number) = field(entry, "/portNumber") {
        return protocol_is(number) && between(number, "/port", "/port", question);
    }
    if let Some(range) = field(entry, "/portRange") {
        return protocol_is(range) && between(range, "/start", "/end", question);
    }
    names(text(entry, "/namedPort"), question)
}

/// An entry of `protocols` (v1alpha2).
fn protocol_matches(entry: &Value, question: &Question<'_>) -> bool {
    for (key, number) in [("/tcp", 6), ("/udp", 17), ("/sctp", 132)] {
        let Some(protocol) = field(entry, key) else { continue };
        if question.protocol != number {
            return false;
        }
        let Some(port) = field(protocol, "/destinationPort") else { return true };
        return between(port, "/number", "/number", question) || between(port, "/range/start", "/range/end", question);
    }
    names(text(entry, "/destinationNamedPort"), question)
}

fn between(value: &Value, first: &str, last: &str, question: &Question<'_>) -> bool {
    let at = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64);
    match (at(first), at(last), question.port) {
        (Some(first), Some(last), Some(port)) => first <= u64::from(port) && u64::from(port) <= last,
        _ => false,
    }
}

/// "NamedPort selects a port on a pod(s) based on name": the destination's, with the protocol that it has there.
fn names(name: &str, question: &Question<'_>) -> bool {
    match (question.dst, question.port) {
        (End::Pod(pod, _), Some(port)) => {
            numbers(pod, name, protocol_name(question.protocol)).contains(&i32::from(port))
        }
        _ => false,
    }
}
