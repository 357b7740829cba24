//! The parts of a rule: each of its peers with each of its ports, and which of them this merge brought.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    Views,
    pieces::{PeerPart, Pieces},
};
use crate::{
    engine::normal,
    model::{Conditions, Direction, EntityPort, NAME_LABEL, NamespaceMatch, Peer, Policy, PortMatch, Rule, Selector},
};

/// Which parts of a rule are looked at as brought by this merge: positions of peer and port. A rule without peers or
/// without ports has one of them, at 0.
pub(super) struct Parts {
    new: BTreeSet<(usize, usize)>,
}

impl Parts {
    /// All of them.
    pub(super) fn all(pieces: &Pieces<'_>) -> Self {
        Self::those(pieces, |_, _| true)
    }

    /// Those that the same policy did not have when it was checked last. What opens for other pods than then is new.
    pub(super) fn since_before(views: &Views<'_>, policy: &Policy, rule: &Rule, direction: Direction) -> Self {
        let old = views.input.before.and_then(|world| world.policies.iter().find(|old| old.id == policy.id));
        let old = old.filter(|old| {
            namespaces_key(&old.subject.namespaces) == namespaces_key(&policy.subject.namespaces)
                && selector_key(&old.subject.pods) == selector_key(&policy.subject.pods)
                && old.subject.calico == policy.subject.calico
        });
        let rules = old.and_then(|old| old.rules(direction)).unwrap_or_default();
        let rules: Vec<&Rule> = rules.iter().filter(|old| old.action == rule.action).collect();
        let pieces = Pieces::of(rule, direction);
        if let Some(conditions) = &rule.conditions {
            return Self::of_calico(&pieces, conditions, &rules, direction);
        }
        let peer = |at: usize| rule.peers.as_ref().and_then(|peers| peers.get(at));
        let port = |at: usize| rule.ports.as_ref().and_then(|ports| ports.get(at));
        Self::those(&pieces, |p, q| !rules.iter().any(|old| has_peer(old, peer(p)) && old.has_port(port(q))))
    }

    fn of_calico(pieces: &Pieces<'_>, conditions: &Conditions, rules: &[&Rule], direction: Direction) -> Self {
        let frame = frame(conditions, pieces, direction);
        let old = rules.iter().filter_map(|old| {
            let (of, conditions) = (Pieces::of(old, direction), old.conditions.as_deref()?);
            let is_same = self::frame(conditions, &of, direction) == frame;
            is_same.then(|| (of, conditions.destination.ports.clone()))
        });
        let old: Vec<(Pieces<'_>, Vec<EntityPort>)> = old.collect();
        let ports = &conditions.destination.ports;
        Self::those(pieces, |peer, port| {
            let has_peer = |of: &Pieces<'_>| {
                (0..of.peer_count())
                    .any(|at| matches!(of.peer(at), PeerPart::Anyone) || of.peer(at) == pieces.peer(peer))
            };
            let has_port =
                |known: &[EntityPort]| known.is_empty() || ports.get(port).is_some_and(|p| known.contains(p));
            !old.iter().any(|(of, known)| has_peer(of) && has_port(known))
        })
    }

    /// Those of these peers or ports, by their keys.
    pub(super) fn named(pieces: &Pieces<'_>, keys: &[String]) -> Self {
        let has = |key: Option<String>| key.is_some_and(|key| keys.contains(&key));
        Self::those(pieces, |peer, port| has(peer_key(pieces.peer(peer))) || has(pieces.port_key(port)))
    }

    /// Whether this merge brought the peer with the port.
    pub(super) fn is_new(&self, peer: usize, port: usize) -> bool {
        self.new.contains(&(peer, port))
    }

    fn those(pieces: &Pieces<'_>, is_new: impl Fn(usize, usize) -> bool) -> Self {
        let mut new = BTreeSet::new();
        for peer in 0..pieces.peer_count() {
            new.extend((0..pieces.port_count()).filter(|port| is_new(peer, *port)).map(|port| (peer, port)));
        }
        Self { new }
    }
}

/// What a Calico rule asks besides its peers and ports, one by one.
fn frame(conditions: &Conditions, pieces: &Pieces<'_>, direction: Direction) -> Conditions {
    let mut frame = conditions.clone();
    frame.destination.ports.clear();
    let is_by_net = (0..pieces.peer_count()).all(|at| !pieces.is_selected(at));
    let far = match direction {
        Direction::Ingress => &mut frame.source,
        Direction::Egress => &mut frame.destination,
    };
    if is_by_net {
        far.nets.clear();
    }
    frame
}

/// The canonical text of a peer: equal for peers that mean the same; `None` where the rule names none.
pub(super) fn peer_key(peer: &PeerPart) -> Option<String> {
    Some(match peer {
        PeerPart::Anyone => return None,
        PeerPart::Selected { text, .. } => format!("selected {text}"),
        PeerPart::Pods { namespaces, pods } => format!("pods {} in {}", selector_key(pods), namespaces_key(namespaces)),
        PeerPart::Block { cidr, except } => {
            let except: BTreeSet<String> = except.iter().map(|net| net.trunc().to_string()).collect();
            let except: Vec<String> = except.into_iter().collect();
            format!("block {} except [{}]", cidr.trunc(), except.join(","))
        }
    })
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
        (Some(peers), Some(peer)) => {
            let key = |peer: &Peer| peer_key(&PeerPart::from(peer));
            peers.iter().any(|old| key(old) == key(peer))
        }
    }
}
