//! A flow that a person names, as probes: which pods and addresses its ends are, and what the policies decide of each
//! pair.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    asked::{self, Asked, Port, Unknown},
    dns,
    explain::{Answer, Question},
    matrix::Matrix,
    plan,
    reach::{Families, Reach},
    touched::{Origin, Outside, Target, TouchedFlow},
    world::{self, End, Family, World},
};
use crate::model::{
    Decision, Endpoint, FlowReport, FlowResult, Outcome, PodInfo, PodRef, Protocol, Snapshot, Unseen, Why,
};

/// An end of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// As it was asked for.
    pub asked: Asked,
    /// The pod that is probed from or to, where there is one; it may be unfit.
    pub pod: Option<PodRef>,
    /// The host name that led to it.
    pub name: Option<String>,
    /// The Service that was asked for, as users write it (`redis.redis`).
    pub service: Option<String>,
}

/// One flow with the answers of the policies, ready to be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What the live policies decide, with reasons.
    pub answer: Answer,
    /// What other policies over the same workloads decide, where they were given.
    pub declared: Option<Answer>,
    /// The flow, over the world of [`Cases::world`].
    pub flow: TouchedFlow,
    /// The host name that was asked for.
    pub name: Option<String>,
    /// The Service that was asked for: what others answer is not the question then.
    pub service: Option<String>,
}

/// What came of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// As a run reports it.
    pub flow: FlowReport,
    /// What the live policies decide; `None` where the destination has no address that they could be asked about.
    pub answer: Option<Answer>,
    /// What the given manifests decide.
    pub declared: Option<Answer>,
    /// The host name that was asked for.
    pub name: Option<String>,
    /// How often the flow was tried.
    pub tries: usize,
    /// The tool's words at the last try.
    pub words: String,
}

impl Shown {
    /// A flow whose end has no address, so that there was nothing to probe.
    #[must_use]
    pub fn nowhere(source: &Stop, name: &str, port: (Protocol, u16), observed: Outcome, why: (Unseen, String)) -> Self {
        let cidrs: Vec<IpNet> = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok()).collect();
        let destination = Endpoint::External { name: Some(name.to_owned()), cidrs };
        let decisions = (Decision::Undefined, Decision::Undefined);
        let flow = FlowReport {
            observed,
            state: Some(why.0),
            note: Some(why.1),
            source_pod: source.pod.clone(),
            ..FlowReport::new((source.asked.endpoint.clone(), destination), port, Why::Manual, decisions)
        };
        let (answer, declared, words) = (None, None, String::new());
        Self { flow, answer, declared, name: Some(name.to_owned()), tries: 0, words }
    }

    /// The exit code that it stands for: 0 as the policies say, 1 otherwise, 3 not told.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self.flow.result {
            FlowResult::Verified => 0,
            FlowResult::Drift | FlowResult::Enforcement | FlowResult::MissingEntry | FlowResult::Excess => 1,
            FlowResult::Inconclusive => 3,
        }
    }
}

impl Case {
    /// Its report before anything was seen.
    #[must_use]
    pub fn report(&self) -> FlowReport {
        let ends = (self.answer.source.clone(), self.answer.destination.clone());
        let flow = &self.flow;
        let entries = self.declared.as_ref().filter(|declared| !declared.is_allowed);
        FlowReport {
            ipv6: flow.ipv6,
            note: flow.note.clone(),
            entries: entries.map(|declared| declared.entries.clone()).unwrap_or_default(),
            ..FlowReport::new(ends, (flow.protocol, flow.port), Why::Manual, (flow.declared, flow.live))
        }
    }
}

/// Whether a destination is a host name, to be resolved where the probe starts (that of a Service too): no address, not
/// even a mistyped one, no node, and nothing that is named with a slash.
#[must_use]
pub fn is_name(text: &str, snapshot: &Snapshot) -> bool {
    let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() || asked::is_bad_address(text);
    !(text.is_empty() || text.contains('/') || is_address || snapshot.nodes.contains_key(text))
}

/// The pods that a source means: one for each part of a workload that the policies tell apart.
///
/// # Errors
/// It is nothing, or no pod.
pub fn starts(text: &str, reach: &Reach<'_>, snapshot: &Snapshot) -> Result<Vec<Stop>, Unknown> {
    let no_pod =
        || Unknown::new(format!("a probe starts in a pod, which `{text}` is not: give NS/POD or NS/KIND/NAME"));
    if is_name(text, snapshot) {
        return Err(no_pod());
    }
    let ends = asked::resolve(text, reach, snapshot)?.ends;
    if ends.iter().any(|end| end.class.is_none()) {
        return Err(no_pod());
    }
    Ok(ends.into_iter().map(|end| stop(end, reach, snapshot)).collect())
}

/// The pods and addresses that a destination means, each with its ports: one for each part that the policies tell apart.
///
/// # Errors
/// It is nothing, more than one address, or has no such port.
pub fn goals(
    text: &str,
    port: &(Protocol, Port),
    reach: &Reach<'_>,
    snapshot: &Snapshot,
) -> Result<Vec<(Stop, u16)>, Unknown> {
    let meaning = asked::resolve(text, reach, snapshot)?;
    let service = meaning.service.map(|service| format!("{}.{}", service.name, service.namespace));
    let (mut goals, mut lacking) = (Vec::new(), None);
    for end in meaning.ends {
        match asked::numbers(&end, meaning.service, port, reach) {
            Ok(numbers) => {
                let stop = Stop { service: service.clone(), ..goal(end, text, reach, snapshot)? };
                goals.extend(numbers.into_iter().map(|number| (stop.clone(), number)));
            }
            // A pod without the Service's named port is no endpoint of that port.
            Err(unknown) if meaning.service.is_some() => lacking = Some(unknown),
            Err(unknown) => return Err(unknown),
        }
    }
    match lacking {
        Some(unknown) if goals.is_empty() => Err(unknown),
        _ => Ok(goals),
    }
}

fn goal(end: Asked, text: &str, reach: &Reach<'_>, snapshot: &Snapshot) -> Result<Stop, Unknown> {
    // What uses its node's network has its address, and is one for policies.
    let on_node = end.class.and_then(|class| reach.matrix.class(class)).filter(|class| class.host_network);
    let end = match on_node.and_then(|class| class.ips.first()) {
        Some(address) => asked::of_address(*address, reach, snapshot),
        None => end,
    };
    if end.class.is_none() && !matches!(end.nets.as_slice(), [net] if net.prefix_len() == net.max_prefix_len()) {
        return Err(Unknown::new(format!("a probe goes to one address, and `{text}` has many: give one of them")));
    }
    Ok(stop(end, reach, snapshot))
}

/// An end with its pod, whose class counts then.
fn stop(mut asked: Asked, reach: &Reach<'_>, snapshot: &Snapshot) -> Stop {
    let pod = pick(&asked, reach, snapshot);
    asked.class = pod.as_ref().and_then(|pod| reach.matrix.world.class_of(pod)).or(asked.class);
    Stop { asked, pod, name: None, service: None }
}

/// The pod that was meant, or the best one of a workload.
fn pick(end: &Asked, reach: &Reach<'_>, snapshot: &Snapshot) -> Option<PodRef> {
    if end.pod.is_some() {
        return end.pod.clone();
    }
    let class = end.class?;
    let point = reach.points().iter().find(|point| point.class == class)?;
    let pods = point.pods.iter().filter_map(|id| snapshot.pods.iter().find(|pod| pod.id == *id));
    // Where none is fit, the plan says of any of them why.
    let rank = |pod: &&PodInfo| (!pod.is_usable(), plan::fit(pod).is_err());
    pods.min_by_key(rank).map(|pod| pod.id.clone())
}

/// What is asked of each pair of ends.
pub struct Cases<'q, 'm> {
    /// The live policies.
    pub live: &'q Question<'q>,
    /// Other policies, over the same workloads, with their reachability.
    pub declared: Option<(&'q Question<'q>, &'q Reach<'q>)>,
    /// The workloads.
    pub snapshot: &'q Snapshot,
    /// Reachability in the world of [`Cases::world`].
    pub matrix: &'m Matrix<'m>,
}

impl Cases<'_, '_> {
    /// The live world with the pods of these ends apart.
    #[must_use]
    pub fn world<'s>(reach: &Reach<'_>, ends: impl IntoIterator<Item = &'s Stop>, snapshot: &Snapshot) -> World {
        let mut apart: Vec<PodRef> = ends.into_iter().filter_map(|stop| stop.pod.clone()).collect();
        apart.sort();
        apart.dedup();
        reach.matrix.world.with_apart(&apart, &snapshot.pods)
    }

    /// The flows from one end to another: one, unless the policies decide address families otherwise.
    #[must_use]
    pub fn of(&self, from: &Stop, to: &Stop, port: (Protocol, u16)) -> Vec<Case> {
        let answers = self.live.between(&from.asked, &to.asked, port);
        let declared = self.declared(from, to, port);
        let both = answers.len() > 1;
        let case = |answer: Answer| {
            let family = self.family(&answer, from, to);
            let of_family = |other: &Answer| other.families == Families::Any || other.families == answer.families;
            let declared = declared.iter().find(|other| of_family(other)).or_else(|| declared.first()).cloned();
            let mut flow = self.flow(from, to, (family, port), declared.as_ref())?;
            flow.ipv6 = both && family == Family::V6;
            Some(Case { answer, declared, flow, name: to.name.clone(), service: to.service.clone() })
        };
        answers.into_iter().filter_map(case).collect()
    }

    /// What the other policies decide; nothing where an end has neither pod nor address.
    fn declared(&self, from: &Stop, to: &Stop, port: (Protocol, u16)) -> Vec<Answer> {
        let Some((question, reach)) = self.declared else { return Vec::new() };
        // Their world has other classes: the ends are found in it by name.
        let end = |stop: &Stop| {
            let text = stop.pod.as_ref().map(ToString::to_string).or_else(|| Some(address(stop)?.to_string()))?;
            asked::resolve(&text, reach, self.snapshot).ok()?.ends.into_iter().next()
        };
        match (end(from), end(to)) {
            (Some(from), Some(to)) => question.between(&from, &to, port),
            _ => Vec::new(),
        }
    }

    /// The class of an end in the world at hand.
    fn class(&self, stop: &Stop) -> Option<usize> {
        stop.pod.as_ref().and_then(|pod| self.matrix.world.class_of(pod)).or(stop.asked.class)
    }

    fn family(&self, answer: &Answer, from: &Stop, to: &Stop) -> Family {
        if let Families::One(family) = answer.families {
            return family;
        }
        let class = |stop| self.class(stop).and_then(|index| self.matrix.class(index));
        match (class(from), class(to)) {
            (Some(start), Some(end)) => {
                let is_meant = |f: &Family| [from, to].iter().all(|stop| stop.asked.family.is_none_or(|own| own == *f));
                world::families(start, end).into_iter().find(is_meant).unwrap_or(Family::V4)
            }
            _ => address(to).map_or(Family::V4, Family::of),
        }
    }

    fn flow(
        &self,
        from: &Stop,
        to: &Stop,
        (family, port): (Family, (Protocol, u16)),
        declared: Option<&Answer>,
    ) -> Option<TouchedFlow> {
        let source = self.class(from)?;
        let start = End::pods(self.matrix.class(source)?, family);
        let index = self.class(to);
        let (target, end) = if let Some(index) = index {
            (Target::Class(index), End::pods(self.matrix.class(index)?, family))
        } else {
            let address = address(to)?;
            let outside = Outside { name: to.name.clone(), address, ports: vec![port.1], seen_by: None };
            (Target::Outside(outside), End::outside(address))
        };
        let live = self.matrix.flow((Some(source), start), (index, end), port).decision();
        let declared =
            declared.map_or(live, |declared| if declared.is_allowed { Decision::Allowed } else { Decision::Denied });
        Some(TouchedFlow {
            source: Origin::Class(source),
            unseen: self.unseen((source, index), (from, to), port, live),
            target,
            family,
            ipv6: false,
            protocol: port.0,
            port: port.1,
            why: Why::Manual,
            before: None,
            declared,
            live,
            missing: None,
            rules: Vec::new(),
            covers: 0,
            note: None,
        })
    }

    /// Whether and why it cannot be probed, as far as is known without trying.
    fn unseen(
        &self,
        (source, target): (usize, Option<usize>),
        (from, to): (&Stop, &Stop),
        (protocol, port): (Protocol, u16),
        live: Decision,
    ) -> Option<(Unseen, String)> {
        let class = |index: usize| self.matrix.class(index);
        let why = if class(source).is_some_and(|class| class.host_network) {
            "it uses its node's network: the specification leaves policy for it undefined".to_owned()
        } else if from.pod.is_some() && from.pod == to.pod {
            "a pod always reaches itself, whatever the policies say".to_owned()
        } else if live == Decision::Undefined {
            "a rule asks for what a connection does not tell beforehand (HTTP, source ports, a Service without selector)"
                .to_owned()
        } else {
            match protocol {
                Protocol::Tcp => return None,
                Protocol::Udp if dns::answers(target.and_then(class), (protocol, port)) => return None,
                _ => format!("{protocol}: silence cannot be told from a drop"),
            }
        };
        Some((Unseen::Unprobeable, why))
    }
}

/// The one address of an end outside.
fn address(stop: &Stop) -> Option<IpAddr> {
    stop.asked.nets.first().map(IpNet::addr)
}
