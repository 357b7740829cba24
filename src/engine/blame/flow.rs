//! What a denied flow lacks, from the world that denies it.

use serde_json::Value;

use super::{Missing, Peer, Pods, Port, missing_entry};
use crate::{
    engine::{
        verdict::{self, Side},
        world::{Class, End, World},
    },
    model::{Direction, Entry, Labels, Origin, PolicyDocument, PolicyRef, Protocol, RuleRef},
};

/// A flow that one side denies.
#[derive(Debug, Clone, Copy)]
pub struct Flow<'w> {
    /// Where it comes from.
    pub from: End<'w>,
    /// Where it goes to.
    pub to: End<'w>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its port.
    pub port: u16,
    /// The side that denies.
    pub side: Direction,
}

/// The entries that open the side; none where a rule denies the flow, which no entry cures, or where nothing names its
/// other end. `opening` is the rule that opens the other side.
#[must_use]
pub fn entries(world: &World, documents: &[PolicyDocument], flow: Flow<'_>, opening: Option<&RuleRef>) -> Vec<Entry> {
    among(world, documents, flow, (opening, None))
}

/// The entry that opens the side in the policy of a rule that opens the same to somebody else, with that rule's ports.
#[must_use]
pub fn beside(world: &World, documents: &[PolicyDocument], flow: Flow<'_>, rule: &RuleRef) -> Vec<Entry> {
    among(world, documents, flow, (Some(rule), Some(&rule.policy)))
}

/// In one policy, if it is among those that isolate; else in the best of them.
fn among(
    world: &World,
    documents: &[PolicyDocument],
    flow: Flow<'_>,
    (opening, home): (Option<&RuleRef>, Option<&PolicyRef>),
) -> Vec<Entry> {
    let Flow { from, to, protocol, port, side } = flow;
    let (subject, peer) = match side {
        Direction::Ingress => (to, from),
        Direction::Egress => (from, to),
    };
    let sides = verdict::flow(world, from, to, protocol, port);
    let denying = match side {
        Direction::Ingress => sides.ingress,
        Direction::Egress => sides.egress,
    };
    let (Some(class), Side::Denied(policies)) = (subject.class, denying) else { return Vec::new() };
    let isolating = isolating(documents, &policies, home);
    let namespace = &class.workload.namespace;
    let in_namespace: Vec<&PolicyDocument> =
        documents.iter().filter(|d| d.id.namespace.as_ref() == Some(namespace)).collect();
    let subject_labels = world.namespace_labels(namespace);
    let peer_labels = peer.class.map(|c| world.namespace_labels(&c.workload.namespace)).unwrap_or_default();
    let peer = match (peer.class, peer.address) {
        // No selector names what uses its node's network.
        (Some(class), _) if !class.host_network => Peer::Pods(pods(class, &peer_labels)),
        (_, Some(address)) => Peer::Outside(address),
        (_, None) => return Vec::new(),
    };
    missing_entry(&Missing {
        side,
        subject: pods(class, &subject_labels),
        peer,
        protocol,
        port: Port::Number(port),
        isolating: &isolating,
        namespace_policies: &in_namespace,
        other_rule: opening.and_then(|rule| value(documents, rule)),
    })
}

/// The documents of the policies that isolate; that of `home` alone, where it is one of them.
fn isolating<'d>(
    documents: &'d [PolicyDocument],
    policies: &[(PolicyRef, Option<Origin>)],
    home: Option<&PolicyRef>,
) -> Vec<&'d PolicyDocument> {
    let document = |id: &PolicyRef| documents.iter().find(|document| document.id == *id);
    let mut found: Vec<&PolicyDocument> = policies.iter().filter_map(|(id, _)| document(id)).collect();
    if let Some(home) = home.filter(|home| found.iter().any(|document| document.id == **home)) {
        found.retain(|document| document.id == *home);
    }
    found
}

/// A rule as its document has it.
fn value<'d>(documents: &'d [PolicyDocument], rule: &RuleRef) -> Option<&'d Value> {
    let document = documents.iter().find(|document| document.id == rule.policy)?;
    document.object.pointer(&format!("/spec/{}/{}", rule.direction.word(), rule.index))
}

fn pods<'a>(class: &'a Class, namespace_labels: &'a Labels) -> Pods<'a> {
    Pods { namespace: &class.workload.namespace, namespace_labels, labels: &class.labels }
}
