//! The parts of a rule: each of its peers with each of its ports, and which of them this merge brought.

use std::collections::BTreeSet;

use serde_json::json;

use super::Views;
use crate::{
    engine::normal,
    model::{Action, Direction, NamespaceMatch, Peer, Policy, PortMatch, PortRange, PortSet, Protocol, Rule, Selector},
};

/// The label by which a selector names a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Which parts of a rule are looked at as brought by this merge: positions of peer and port. A rule without peers or
/// without ports has one of them, at 0.
pub(super) struct Parts {
    new: BTreeSet<(usize, usize)>,
}

impl Parts {
    /// All of them.
    pub(super) fn all(rule: &Rule) -> Self {
        Self::those(rule, |_, _| true)
    }

    /// Those that the same policy did not have when it was checked last. What opens for other pods than then is new.
    pub(super) fn since_before(views: &Views<'_>, policy: &Policy, rule: &Rule, direction: Direction) -> Self {
        let old = views.input.before.and_then(|world| world.policies.iter().find(|old| old.id == policy.id));
        let old = old.filter(|old| {
            namespaces_key(&old.subject.namespaces) == namespaces_key(&policy.subject.namespaces)
                && selector_key(&old.subject.pods) == selector_key(&policy.subject.pods)
        });
        let rules = old.and_then(|old| old.rules(direction)).unwrap_or_default();
        let rules: Vec<&Rule> = rules.iter().filter(|old| old.action == Action::Allow).collect();
        Self::those(rule, |peer, port| !rules.iter().any(|old| has_peer(old, peer) && has_port(old, port)))
    }

    /// Those of these peers or ports, by their keys.
    pub(super) fn named(rule: &Rule, keys: &[String]) -> Self {
        let has = |key: Option<String>| key.is_some_and(|key| keys.contains(&key));
        Self::those(rule, |peer, port| has(peer.map(peer_key)) || has(port.map(port_key)))
    }

    /// Whether this merge brought the peer with the port.
    pub(super) fn is_new(&self, peer: usize, port: usize) -> bool {
        self.new.contains(&(peer, port))
    }

    fn those(rule: &Rule, is_new: impl Fn(Option<&Peer>, Option<&PortMatch>) -> bool) -> Self {
        let mut new = BTreeSet::new();
        for peer in 0..peer_count(rule) {
            for port in 0..port_count(rule) {
                if is_new(peer_at(rule, peer), rule.ports.as_ref().and_then(|ports| ports.get(port))) {
                    new.insert((peer, port));
                }
            }
        }
        Self { new }
    }
}

/// How many peers a rule has; one where it names none.
pub(super) fn peer_count(rule: &Rule) -> usize {
    rule.peers.as_ref().map_or(1, Vec::len)
}

/// How many ports a rule has; one where it names none.
pub(super) fn port_count(rule: &Rule) -> usize {
    rule.ports.as_ref().map_or(1, Vec::len)
}

/// A peer by its position; `None` where the rule names none.
pub(super) fn peer_at(rule: &Rule, position: usize) -> Option<&Peer> {
    rule.peers.as_ref().and_then(|peers| peers.get(position))
}

/// The canonical text of a peer: equal for peers that mean the same.
pub(super) fn peer_key(peer: &Peer) -> String {
    match peer {
        Peer::Pods { namespaces, pods } => format!("pods {} in {}", selector_key(pods), namespaces_key(namespaces)),
        Peer::Block { cidr, except } => {
            let except: BTreeSet<String> = except.iter().map(|net| net.trunc().to_string()).collect();
            let except: Vec<String> = except.into_iter().collect();
            format!("block {} except [{}]", cidr.trunc(), except.join(","))
        }
    }
}

/// The canonical text of a port.
pub(super) fn port_key(port: &PortMatch) -> String {
    match port {
        PortMatch::Protocol(protocol) => format!("port {protocol}"),
        PortMatch::Range { protocol, from, to } => format!("port {from}-{to}/{protocol}"),
        PortMatch::Named { protocol, name } => format!("port {name}/{protocol}"),
    }
}

fn selector_key(selector: &Selector) -> String {
    normal::selector_key(&json!(selector.source()))
}

fn namespaces_key(namespaces: &NamespaceMatch) -> String {
    match namespaces {
        NamespaceMatch::Named(name) => normal::selector_key(&json!({"matchLabels": {NAME_LABEL: name}})),
        NamespaceMatch::Selected(selector) => selector_key(selector),
    }
}

fn has_peer(old: &Rule, peer: Option<&Peer>) -> bool {
    match (&old.peers, peer) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(peers), Some(peer)) => peers.iter().any(|old| peer_key(old) == peer_key(peer)),
    }
}

fn has_port(old: &Rule, port: Option<&PortMatch>) -> bool {
    let Some(ports) = &old.ports else { return true };
    match port {
        None => false,
        Some(named @ PortMatch::Named { .. }) => ports.contains(named),
        Some(port) => {
            let known: PortSet = ports.iter().filter_map(numbers).collect();
            numbers(port).is_some_and(|range| PortSet::from_iter([range]).difference(&known).is_empty())
        }
    }
}

/// The numbers that a port means whatever the destination declares.
fn numbers(port: &PortMatch) -> Option<PortRange> {
    let range = |protocol: Protocol, from, to| Some(PortRange { protocol, from, to });
    match port {
        PortMatch::Protocol(protocol) => range(*protocol, 1, u16::MAX),
        PortMatch::Range { protocol, from, to } => range(*protocol, *from, *to),
        PortMatch::Named { .. } => None,
    }
}
