//! Touched flows: those that a merge changed, opened on one side, or left to be seen (design §3.7).
//!
//! ```text
//! before × live ───────▶ [changed] flips, isolation that began or ended collapsed to one flow a class
//! rules of this merge ─▶ [rules]   one flow of each peer and port; one-sided ones; those that match nothing
//! first run, new namespaces ▶ [first] each rule once, one denied flow an isolated workload and direction
//! sweep ───────────────▶ [sweep]   the flows of all rules in turns, and the denied ones of [first]
//! state ───────────────▶ [recorded] pending, waiting, open findings, a person's rerun
//! ```

mod alike;
mod changed;
mod collected;
mod decided;
mod effect;
mod far;
mod first;
mod openings;
mod pairs;
mod parts;
mod pieces;
mod ports;
mod ranges;
mod recorded;
mod rules;
mod sweep;
mod words;

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::plan::runs_no_pod;
use super::{
    dns,
    matrix::{Difference, Matrix},
    world::{Class, End, Family, World, families},
};
use crate::model::{
    Decision, Direction, Endpoint, Finding, PolicyRef, Protocol, RecordedFlow, RuleRef, Unseen, Why, Workload,
};
pub use changed::{Flipped, relabelled};
use collected::Collected;
pub(in crate::engine) use effect::ABSENT;
use pairs::Look;

/// Why a flow that no answer can show is not probed.
pub const SILENT: &str = "silence cannot be told from a drop";

/// A configured host outside the cluster, resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outside {
    /// Its name in the configuration.
    pub name: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// The ports that may be probed there.
    pub ports: Vec<u16>,
    /// The workloads whose pods see it at this address; `None`: all.
    pub seen_by: Option<BTreeSet<Workload>>,
}

impl Outside {
    /// Whether a workload's pods see it at this address.
    #[must_use]
    pub fn is_seen_by(&self, class: &Class) -> bool {
        self.seen_by.as_ref().is_none_or(|workloads| workloads.contains(&class.workload))
    }
}

/// Where a flow goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// Pods of a class, by its index in the world.
    Class(usize),
    /// A configured host.
    Outside(Outside),
    /// A range in which no configured host lies.
    Range(IpNet),
}

/// Where a flow comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Origin {
    /// Pods of a class.
    Class(usize),
    /// Outside the cluster: nothing to probe from.
    Range(IpNet),
}

/// A flow to be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchedFlow {
    /// The source.
    pub source: Origin,
    /// The destination.
    pub target: Target,
    /// The address family.
    pub family: Family,
    /// Whether it is over IPv6 between ends that have IPv4 too: then its key says so.
    pub ipv6: bool,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Why it is here.
    pub why: Why,
    /// The verdict before.
    pub before: Option<Decision>,
    /// The verdict of Git.
    pub declared: Decision,
    /// The verdict of the live policies.
    pub live: Decision,
    /// The side that denies what a rule of this merge opens on the other.
    pub missing: Option<Direction>,
    /// Rules of this merge that it exercises.
    pub rules: Vec<RuleRef>,
    /// Other flows of its class that it stands for.
    pub covers: usize,
    /// Set where it cannot be probed: why, and whether that can change.
    pub unseen: Option<(Unseen, String)>,
    /// A sentence for people.
    pub note: Option<String>,
}

/// A rule that yields no flow, or not for all of its peers and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentRule {
    /// The rule.
    pub rule: RuleRef,
    /// What it does not match, for people.
    pub reason: String,
    /// Keys of the peers and ports that match nothing; empty where all of it does.
    pub parts: Vec<String>,
}

/// A rule of an earlier merge that matched nothing then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// The rule, at its position of now.
    pub rule: RuleRef,
    /// Keys of its peers and ports that matched nothing, as in [`SilentRule::parts`]; empty: all of it.
    pub parts: Vec<String>,
}

/// Everything that a run has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Flows, each once.
    pub flows: Vec<TouchedFlow>,
    /// `no-effect` findings, and notes on rules that open one side for some of their flows.
    pub findings: Vec<Finding>,
    /// Rules that wait for something to match, as a whole or in part.
    pub waiting: Vec<SilentRule>,
    /// Recorded flows whose workload is gone.
    pub gone: Vec<String>,
    /// Flows that a sweep leaves for later ones.
    pub left: usize,
}

/// What [`touched`] needs to know.
pub struct Input<'a> {
    /// The policies of the last check over the labels of then; `None` on a first run.
    pub before: Option<&'a World>,
    /// Git's policies over the live labels.
    pub declared: &'a World,
    /// The live policies over the live labels.
    pub live: &'a World,
    /// Rules that this merge added or changed.
    pub changed_rules: &'a [RuleRef],
    /// Configured hosts, resolved.
    pub outside: &'a [Outside],
    /// All names that the configuration has for them, resolved or not.
    pub names: &'a BTreeSet<String>,
    /// Addresses and ports that the configuration names beside them: in a range without a host, the ports to speak of.
    pub known: &'a [(IpAddr, u16)],
    /// The policies of Git: rules of others are not this run's to exercise.
    pub git: &'a BTreeSet<PolicyRef>,
    /// Namespaces that probes may start in.
    pub probe_from: &'a dyn Fn(&str) -> bool,
    /// Product namespaces that are new since the last check.
    pub new_namespaces: &'a BTreeSet<String>,
    /// Flows of the state, each with why it is looked at again.
    pub recorded: &'a [(RecordedFlow, Why)],
    /// Rules of earlier merges that matched nothing then.
    pub retried_rules: &'a [Retried],
    /// Whether there was no check before.
    pub first_run: bool,
    /// Set where everything is looked at: the number of the run, by which sweeps take turns.
    pub sweep: Option<u64>,
}

/// The worlds' reachability, side by side.
struct Views<'a> {
    input: &'a Input<'a>,
    before: Option<Matrix<'a>>,
    declared: Matrix<'a>,
    live: Matrix<'a>,
}

/// What changed between two views, and where Git and live may disagree.
struct Differences {
    before_and_live: Difference,
    declared_and_live: Difference,
}

/// Finds all flows that a run has to see.
#[must_use]
pub fn touched(input: &Input<'_>) -> Touched {
    found(input, Look::Together)
}

fn found(input: &Input<'_>, look: Look) -> Touched {
    let views = Views::new(input);
    let mut result = Touched::default();
    let mut flows = Collected::default();
    if !input.first_run {
        changed::collect(&views, &mut flows);
    }
    rules::collect(&views, look, &mut flows, &mut result);
    first::collect(&views, &mut flows);
    result.gone = recorded::collect(&views, &mut flows);
    if let Some(turn) = input.sweep {
        result.left = sweep::collect(&views, turn, &mut flows);
    }
    result.flows = flows.into_flows();
    result
}

impl Input<'_> {
    /// Whether a namespace is this verifier's concern: probes may start there, or Git has a policy for it. What happens
    /// between other namespaces is other people's.
    #[must_use]
    pub fn is_watched(&self, namespace: &str) -> bool {
        (self.probe_from)(namespace) || self.git.iter().any(|p| p.namespace.as_deref() == Some(namespace))
    }
}

impl<'a> Views<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let (declared, live) = (Matrix::new(input.declared), Matrix::new(input.live));
        Self { input, before: input.before.map(Matrix::new), declared, live }
    }

    fn is_watched(&self, class: usize) -> bool {
        self.class(class).is_some_and(|c| self.input.is_watched(&c.workload.namespace))
    }

    fn classes(&self) -> &'a [Class] {
        &self.input.live.classes
    }

    fn class(&self, index: usize) -> Option<&'a Class> {
        self.classes().get(index)
    }

    /// Whether probes may and can start at this class.
    fn can_probe_from(&self, index: usize) -> bool {
        self.class(index).is_some_and(|c| c.usable && !c.host_network && (self.input.probe_from)(&c.workload.namespace))
    }

    /// Pairs of a class with itself count only where two pods can talk to each other: a pod always reaches itself.
    fn is_pair(&self, source: usize, destination: usize) -> bool {
        source != destination || self.class(source).is_some_and(|c| c.pods.len() > 1)
    }

    fn families(&self, source: usize, destination: usize) -> Vec<Family> {
        match (self.class(source), self.class(destination)) {
            (Some(source), Some(destination)) => families(source, destination),
            _ => Vec::new(),
        }
    }

    /// The configured hosts as a class sees them.
    fn hosts(&self, source: usize) -> impl Iterator<Item = &'a Outside> + use<'a> {
        let class = self.class(source);
        self.input.outside.iter().filter(move |host| class.is_some_and(|class| host.is_seen_by(class)))
    }

    /// Whether a flow over this family has a twin over IPv4.
    fn is_second(&self, source: usize, target: &Target, family: Family) -> bool {
        family == Family::V6
            && match target {
                Target::Class(index) => self.families(source, *index).contains(&Family::V4),
                Target::Outside(outside) => {
                    let mut twins = self.hosts(source).filter(|o| o.name.is_some() && o.name == outside.name);
                    twins.any(|twin| Family::of(twin.address) == Family::V4)
                }
                // Its name has the family.
                Target::Range(_) => false,
            }
    }

    /// Whether all policy sets decide the same over IPv4 as over `family`.
    fn is_as_over_ipv4(&self, source: usize, destination: usize, family: Family) -> bool {
        let same = |matrix: &Matrix<'a>| {
            matrix.between(source, destination, family) == matrix.between(source, destination, Family::V4)
        };
        self.is_second(source, &Target::Class(destination), family)
            && [self.before.as_ref(), Some(&self.declared), Some(&self.live)].into_iter().flatten().all(same)
    }

    fn end(&self, target: &Target, family: Family) -> Option<End<'a>> {
        match target {
            Target::Class(index) => Some(End::pods(self.class(*index)?, family)),
            Target::Outside(outside) => Some(End::outside(outside.address)),
            Target::Range(_) => None,
        }
    }

    /// A flow between a class and a target, with the verdicts of all views.
    fn flow(&self, source: usize, target: Target, family: Family, port: (Protocol, u16), why: Why) -> TouchedFlow {
        let ask = |matrix: &Matrix<'a>| decision(matrix, (source, &target), family, port);
        let (before, declared, live) = (self.before.as_ref().map(ask), ask(&self.declared), ask(&self.live));
        TouchedFlow {
            source: Origin::Class(source),
            family,
            ipv6: self.is_second(source, &target, family),
            protocol: port.0,
            port: port.1,
            why,
            before,
            declared,
            live,
            missing: None,
            rules: Vec::new(),
            covers: 0,
            unseen: self.unseen(source, &target, port, declared),
            note: None,
            target,
        }
    }

    /// Whether and why a flow cannot be probed, as far as the snapshot tells.
    fn unseen(
        &self,
        source: usize,
        target: &Target,
        port: (Protocol, u16),
        declared: Decision,
    ) -> Option<(Unseen, String)> {
        let from = self.class(source)?;
        let to = match target {
            Target::Class(index) => self.class(*index),
            Target::Outside(_) | Target::Range(_) => None,
        };
        let unprobeable = |text: String| Some((Unseen::Unprobeable, text));
        if from.host_network || to.is_some_and(|c| c.host_network) {
            return unprobeable("hostNetwork: the specification leaves policy for it undefined".to_owned());
        }
        if declared == Decision::Undefined {
            let text = "a rule asks for what a connection does not tell beforehand (HTTP, source ports, a Service without selector)";
            return unprobeable(text.to_owned());
        }
        if !(self.input.probe_from)(&from.workload.namespace) {
            return unprobeable(format!("no probe may start in {} (probeNamespaces)", from.workload.namespace));
        }
        if let Target::Range(net) = target {
            return unprobeable(format!("no configured destination lies in {net} (destinations)"));
        }
        if port.0 != Protocol::Tcp && !dns::answers(to, port) {
            return unprobeable(format!("{}: {SILENT}", port.0));
        }
        for class in [Some(from), to].into_iter().flatten() {
            if class.pods.is_empty() {
                return Some((Unseen::Waiting, runs_no_pod(&class.workload)));
            }
        }
        None
    }
}

fn decision(matrix: &Matrix<'_>, flow: (usize, &Target), family: Family, port: (Protocol, u16)) -> Decision {
    let ports = match flow.1 {
        Target::Class(destination) => matrix.between(flow.0, *destination, family),
        Target::Outside(outside) => matrix.to_outside(flow.0, End::outside(outside.address)),
        Target::Range(net) => matrix.to_outside(flow.0, End::outside(net.network())),
    };
    match ports {
        None => Decision::Undefined,
        Some(ports) if ports.contains(port.0, port.1) => Decision::Allowed,
        Some(_) => Decision::Denied,
    }
}

/// How a class or host is named in reports.
#[must_use]
pub fn endpoint(world: &World, target: &Target) -> Option<Endpoint> {
    match target {
        Target::Class(index) => world.classes.get(*index).map(|c| Endpoint::Workload(c.workload.clone())),
        Target::Outside(outside) => {
            Some(Endpoint::External { name: outside.name.clone(), cidrs: vec![IpNet::from(outside.address)] })
        }
        Target::Range(net) => Some(Endpoint::External { name: None, cidrs: vec![*net] }),
    }
}

#[cfg(test)]
mod tests;
