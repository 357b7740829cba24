//! Why one flow is allowed or denied: each side with the rules or policies that decide it, and what to add.

use std::sync::Arc;

use serde_json::Value;

use super::{
    asked::{self, Asked, Meaning, Port, Unknown},
    blame,
    conditions::Traffic,
    reach::{
        Families, Reach,
        outside::{self, Range},
    },
    verdict::{self, Deciding},
    world::{self, Class, End, Family},
};
use crate::model::{
    Direction, Endpoint, Entry, Labels, Origin, Policy, PolicyDocument, PolicyRef, Protocol, Snapshot, Tier,
};

mod declared;
mod reasons;

use declared::Declared;
use reasons::{Flow, Reasons};

/// A flow with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The source.
    pub source: Endpoint,
    /// The destination.
    pub destination: Endpoint,
    /// The families that the answer is for.
    pub families: Families,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Whether it is allowed.
    pub is_allowed: bool,
    /// The source's side.
    pub egress: SideAnswer,
    /// The destination's side.
    pub ingress: SideAnswer,
    /// What to add where a side denies.
    pub entries: Vec<Entry>,
}

/// One side of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideAnswer {
    /// Whether some policy applies to the endpoint in this direction.
    pub isolated: bool,
    /// Whether it lets the flow through.
    pub is_allowed: bool,
    /// What decides it; the same list for all sides that the same decides.
    pub by: Arc<[Reason]>,
    /// Why no policy decides it, where that is not plain.
    pub note: Option<&'static str>,
}

/// What decides a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The policy.
    pub policy: PolicyRef,
    /// The rule, as `egress[2]`; `None` where no rule of the tier matches, so that its end denies.
    pub rule: Option<String>,
    /// The policy's tier.
    pub tier: String,
    /// `allow` or `deny`, which decide, or `pass`: to the next tier.
    pub action: &'static str,
    /// Where the rule or the policy stands.
    pub origin: Option<Origin>,
}

const NODE: &str = "it uses its node's network, which no policy selects (undefined by the API, so in practice)";
const OWN_NODE: &str = "traffic from a pod's own node is always allowed";
const ITSELF: &str = "a pod cannot block access to itself";
const UNKNOWN: &str = "that hangs on what is not known here (HTTP, the port of the source, the endpoints of a Service)";
const OUTSIDE: &str = "no policy applies to addresses outside";

/// What is asked of: a set of policies over its workloads.
pub struct Question<'a> {
    reach: &'a Reach<'a>,
    snapshot: &'a Snapshot,
    declared: Declared<'a>,
    reasons: Reasons,
}

impl<'a> Question<'a> {
    /// About the reachability of a set, its objects, and its policies as they stand.
    #[must_use]
    pub fn new(reach: &'a Reach<'a>, snapshot: &'a Snapshot, documents: &'a [PolicyDocument]) -> Self {
        Self { reach, snapshot, declared: Declared::new(documents), reasons: Reasons::default() }
    }

    /// Explains a flow between two endpoints on a port, as they stand on a command line. A Service has an answer for
    /// each of its endpoints, a block one for each part that the policies tell apart.
    ///
    /// # Errors
    /// A text that means nothing here.
    pub fn explain(&self, source: &str, destination: &str, port: &str) -> Result<Vec<Answer>, Unknown> {
        let port = asked::port(port)?;
        let from = asked::resolve(source, self.reach, self.snapshot)?;
        let to = asked::resolve(destination, self.reach, self.snapshot)?;
        let mut answers = Vec::new();
        for source in &from.ends {
            self.to_each(source, &to, &port, &mut answers)?;
        }
        Ok(answers)
    }

    fn to_each(
        &self,
        source: &Asked,
        to: &Meaning<'_>,
        port: &(Protocol, Port),
        answers: &mut Vec<Answer>,
    ) -> Result<(), Unknown> {
        let before = answers.len();
        let mut lacking = None;
        for destination in &to.ends {
            if source.class.is_none() && destination.class.is_none() {
                let [from, to] = [source, destination].map(|end| end.endpoint.to_string());
                return Err(Unknown::new(format!(
                    "neither `{from}` nor `{to}` is in the cluster: no policy decides that"
                )));
            }
            match asked::numbers(destination, to.service, port, self.reach) {
                Ok(numbers) => {
                    let flows =
                        numbers.into_iter().flat_map(|number| self.between(source, destination, (port.0, number)));
                    answers.extend(flows);
                }
                // A pod without the Service's named port is no endpoint of that port.
                Err(unknown) if to.service.is_some() => lacking = Some(unknown),
                Err(unknown) => return Err(unknown),
            }
        }
        match lacking {
            Some(unknown) if answers.len() == before => Err(unknown),
            _ => Ok(()),
        }
    }

    /// The answers for one pair: one, unless the policies tell addresses or families apart.
    #[must_use]
    pub fn between(&self, source: &Asked, destination: &Asked, port: (Protocol, u16)) -> Vec<Answer> {
        match (self.class(source), self.class(destination)) {
            (Some(from), Some(to)) => {
                let is_meant =
                    |f: &Family| [source, destination].iter().all(|end| end.family.is_none_or(|own| own == *f));
                let families: Vec<Family> = world::families(from, to).into_iter().filter(is_meant).collect();
                // Two that have no family in common: asked all the same, as the labels decide.
                let families = if families.is_empty() { vec![Family::V4] } else { families };
                let each = families.iter().map(|family| {
                    let ends = (End::pods(from, *family), End::pods(to, *family));
                    (*family, self.answer((source, ends.0), (destination, ends.1), port))
                });
                by_family(each.collect())
            }
            (Some(class), None) => self.outside(Direction::Egress, (source, class), destination, port),
            (None, Some(class)) => self.outside(Direction::Ingress, (destination, class), source, port),
            (None, None) => Vec::new(),
        }
    }

    fn class(&self, end: &Asked) -> Option<&Class> {
        end.class.and_then(|class| self.reach.matrix.class(class))
    }

    /// Answers for the parts of the outside addresses that the policies tell apart.
    fn outside(
        &self,
        direction: Direction,
        (subject, class): (&Asked, &Class),
        peer: &Asked,
        port: (Protocol, u16),
    ) -> Vec<Answer> {
        let policies = self.policies(direction, subject.class);
        let mut parts: Vec<(Answer, Vec<Range>)> = Vec::new();
        let all = peer.nets.iter().map(|net| Range::of(*net));
        let around = &self.reach.matrix.world.surroundings;
        let cut = |range: Range| outside::within(around, policies.iter().copied(), range);
        // Pods in a block are not outside: they are asked about by themselves.
        let ranges: Vec<Range> = all.flat_map(cut).collect();
        let is_outside = |range: &&Range| !self.reach.is_known(range) || ranges.len() == 1;
        for range in ranges.iter().filter(is_outside).copied() {
            let (own, other) = (End::pods(class, range.family), End::outside(range.first()));
            let answer = match direction {
                Direction::Egress => self.answer((subject, own), (peer, other), port),
                Direction::Ingress => self.answer((peer, other), (subject, own), port),
            };
            // An entry names one address: for a block, or a name, it would open too little.
            let is_one = peer.nets.iter().all(|net| net.prefix_len() == net.max_prefix_len());
            let answer = if is_one { answer } else { Answer { entries: Vec::new(), ..answer } };
            match parts.iter_mut().find(|(known, _)| *known == answer) {
                Some((_, ranges)) => ranges.push(range),
                None => parts.push((answer, vec![range])),
            }
        }
        if let [(_, _)] = parts.as_slice() {
            return parts.into_iter().map(|(answer, _)| answer).collect();
        }
        let told = |(answer, ranges): (Answer, Vec<Range>)| match direction {
            Direction::Egress => Answer { destination: part(&peer.endpoint, &ranges), ..answer },
            Direction::Ingress => Answer { source: part(&peer.endpoint, &ranges), ..answer },
        };
        parts.into_iter().map(told).collect()
    }

    fn answer(
        &self,
        (source, from): (&Asked, End<'_>),
        (destination, to): (&Asked, End<'_>),
        port: (Protocol, u16),
    ) -> Answer {
        let is_itself = source.pod.is_some() && source.pod == destination.pod;
        let own_node = if is_itself { Some(ITSELF) } else { self.own_node(source, from, destination, to) };
        let flow = Flow {
            ends: (from, to),
            classes: (source.class, destination.class),
            traffic: Traffic::to_port(port.0, port.1),
            port,
        };
        let [out, into] = [Direction::Egress, Direction::Ingress].map(|direction| self.deciding(direction, &flow));
        let egress = self.side(Direction::Egress, &out, &flow, is_itself.then_some(ITSELF));
        let ingress = self.side(Direction::Ingress, &into, &flow, own_node);
        let mut entries = Vec::new();
        for (direction, side, deciding, other) in
            [(Direction::Egress, &egress, &out, &into), (Direction::Ingress, &ingress, &into, &out)]
        {
            if !side.is_allowed && is_left_closed(deciding) {
                entries.extend(self.entries(direction, &flow, other));
            }
        }
        Answer {
            source: source.endpoint.clone(),
            destination: destination.endpoint.clone(),
            families: Families::Any,
            protocol: port.0,
            port: port.1,
            is_allowed: egress.is_allowed && ingress.is_allowed,
            egress,
            ingress,
            entries,
        }
    }

    /// "Traffic is allowed … if the traffic source is the pod's local node" (NetworkPolicySpec.ingress).
    fn own_node(&self, source: &Asked, from: End<'_>, destination: &Asked, to: End<'_>) -> Option<&'static str> {
        let class = to.class?;
        let pod = destination.pod.as_ref().and_then(|id| self.snapshot.pods.iter().find(|pod| pod.id == *id));
        let node = pod.map_or(class.node.as_ref(), |pod| pod.node.as_ref())?;
        let is_there = match (&source.endpoint, from.class) {
            (Endpoint::Host { name }, _) => name == node,
            (_, None) => from
                .address
                .is_some_and(|address| self.snapshot.nodes.get(node).is_some_and(|all| all.contains(&address))),
            _ => false,
        };
        is_there.then_some(OWN_NODE)
    }

    fn deciding(&self, direction: Direction, flow: &Flow<'_>) -> Deciding<'a> {
        match flow.subject(direction).class {
            None => Deciding::NotIsolated,
            Some(class) if class.host_network => Deciding::Undefined,
            Some(_) => {
                let policies = self.policies(direction, flow.class(direction));
                verdict::deciding(self.reach.matrix.world, direction, flow.ends, &flow.traffic, &policies)
            }
        }
    }

    fn side(
        &self,
        direction: Direction,
        deciding: &Deciding<'_>,
        flow: &Flow<'_>,
        exempt: Option<&'static str>,
    ) -> SideAnswer {
        let open = |note| SideAnswer { isolated: false, is_allowed: true, by: Arc::default(), note };
        let subject = flow.subject(direction);
        let Some(class) = subject.class else { return open(Some(OUTSIDE)) };
        let policies = self.policies(direction, flow.class(direction));
        let isolated = !policies.is_empty();
        if exempt.is_some() || class.host_network {
            return SideAnswer { isolated: isolated && exempt.is_some(), ..open(exempt.or(Some(NODE))) };
        }
        let steps = || verdict::steps(self.reach.matrix.world, direction, flow.ends, &flow.traffic, &policies);
        // Where the only tier decides, none was left before.
        let is_first = policies.first().zip(policies.last()).is_some_and(|(first, last)| first.tier == last.tier);
        let is_told = matches!(deciding, Deciding::Allowed(_) | Deciding::Denied(_) | Deciding::Stopped(..));
        let steps = if is_first && is_told { Vec::new() } else { steps() };
        let (is_allowed, note) = match deciding {
            Deciding::NotIsolated | Deciding::Allowed(_) => (true, None),
            Deciding::Denied(_) | Deciding::Stopped(..) => (false, None),
            Deciding::Undefined => (self.may(direction, flow), Some(UNKNOWN)),
        };
        SideAnswer { isolated, is_allowed, by: self.reasons.of(direction, &steps, deciding), note }
    }

    /// What a list says of a flow that hangs on something unknown.
    fn may(&self, direction: Direction, flow: &Flow<'_>) -> bool {
        let (from, to) = flow.ends;
        let peer = if direction == Direction::Egress { to } else { from };
        let allows = |class| self.reach.side(direction, class, peer, to).contains(flow.port.0, flow.port.1);
        flow.class(direction).is_some_and(allows)
    }

    /// The policies that apply to a class, in the order of evaluation.
    fn policies(&self, direction: Direction, class: Option<usize>) -> Vec<&'a Policy> {
        class.map(|class| self.reach.matrix.isolating(direction, class).collect()).unwrap_or_default()
    }

    fn entries(&self, side: Direction, flow: &Flow<'_>, other: &Deciding<'_>) -> Vec<Entry> {
        let world = self.reach.matrix.world;
        let (from, to) = flow.ends;
        let (subject, peer) = match side {
            Direction::Ingress => (to, from),
            Direction::Egress => (from, to),
        };
        let Some((class, index)) = subject.class.zip(flow.class(side)) else { return Vec::new() };
        let home = self.declared.home(side, self.reach.matrix.applied(side, index), || {
            self.policies(side, Some(index)).iter().filter_map(|policy| self.declared.get(&policy.id)).collect()
        });
        let namespace = &class.workload.namespace;
        let own_labels = world.namespace_labels(namespace);
        let peer_labels = peer.class.map(|c| world.namespace_labels(&c.workload.namespace)).unwrap_or_default();
        let peer = match (peer.class, peer.address) {
            // No selector names what uses its node's network.
            (Some(class), _) if !class.host_network => blame::Peer::Pods(pods(class, &peer_labels)),
            (_, Some(address)) => blame::Peer::Outside(address),
            (_, None) => return Vec::new(),
        };
        let missing = blame::Missing {
            side,
            subject: pods(class, &own_labels),
            peer,
            protocol: flow.port.0,
            port: blame::Port::Number(flow.port.1),
            isolating: &home.isolating,
            namespace_policies: self.declared.of_namespace(namespace),
            other_rule: self.opening(side.opposite(), other),
        };
        blame::entry_in(&missing, home.best.as_ref())
    }

    /// The rule that lets the flow through on a side: an entry for the other side opens the same ports.
    fn opening(&self, direction: Direction, deciding: &Deciding<'_>) -> Option<&'a Value> {
        let Deciding::Allowed(rules) = deciding else { return None };
        let (policy, rule) = rules.first()?;
        self.declared.get(&policy.id)?.object.get("spec")?.get(direction.word())?.get(rule.index)
    }
}

/// Whether the end of NetworkPolicies' own tier denies and no rule does: then one more rule of a NetworkPolicy opens the
/// side, also where policies of Calico's alone isolate.
fn is_left_closed(deciding: &Deciding<'_>) -> bool {
    matches!(deciding, Deciding::Denied(policies) if policies.iter().any(|policy| policy.tier == Tier::default_tier()))
}

/// Some of an endpoint's addresses.
fn part(endpoint: &Endpoint, ranges: &[Range]) -> Endpoint {
    match endpoint {
        Endpoint::External { name, .. } => Endpoint::External { name: name.clone(), cidrs: outside::blocks(ranges) },
        other => other.clone(),
    }
}

fn pods<'a>(class: &'a Class, namespace_labels: &'a Labels) -> blame::Pods<'a> {
    blame::Pods { namespace: &class.workload.namespace, namespace_labels, labels: &class.labels }
}

/// One answer where both families have the same, else one for each.
fn by_family(answers: Vec<(Family, Answer)>) -> Vec<Answer> {
    match answers.as_slice() {
        [(_, first), (_, second)] if first != second => {
            answers.into_iter().map(|(family, answer)| Answer { families: Families::One(family), ..answer }).collect()
        }
        _ => answers.into_iter().map(|(_, answer)| answer).take(1).collect(),
    }
}
