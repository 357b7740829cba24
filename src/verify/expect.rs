//! Configured expectations (design §5): flows that must be as said, whatever the policies are.
//!
//! A name is resolved in the pod, and each of its addresses counts. All of one pod goes into one exec.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use futures::future::join_all;

use super::{
    compare::Comparison,
    findings, ground,
    names::{self, Book, Sight},
    seams::{Outside, ProbeTarget, Prober},
};
use crate::{
    config::{Expectation, Expected, Goal, Host},
    engine::{
        closing::{Closing, closing},
        matrix::Matrix,
        plan::Address,
    },
    model::{Direction, Finding, FindingRule, Outcome, PodInfo, PodRef, Protocol, Severity, Snapshot, State},
};

/// Targets in one exec (design §5).
const TARGETS_PER_EXEC: usize = 64;

/// A look at all expectations.
pub struct Look<'a, O> {
    /// The outside.
    pub outside: &'a O,
    /// The pods.
    pub snapshot: &'a Snapshot,
    /// What was compared.
    pub comparison: &'a Comparison,
    /// Reachability under its live policies.
    pub live: &'a Matrix<'a>,
    /// What pods said of names.
    pub book: &'a Book,
}

/// What a pod saw, by what it was asked.
type Answers = BTreeMap<(PodRef, ProbeTarget), (Outcome, String)>;

/// An expectation that can be looked at: its pod, and what is tried there.
struct Ready<'a> {
    expectation: &'a Expectation,
    pod: &'a PodInfo,
    addresses: Vec<IpAddr>,
}

/// Whether one was not met, or could not be looked at, in an earlier run: it stays open until it was looked at.
#[must_use]
pub fn is_open(state: &State) -> bool {
    let prefix = format!("{}/", FindingRule::Expectation.word());
    state.findings.keys().any(|key| key.starts_with(&prefix))
}

/// A pod of the namespace that may be probed from.
#[must_use]
pub fn source<'s>(namespace: &str, snapshot: &'s Snapshot, comparison: &Comparison) -> Option<&'s PodInfo> {
    let classes =
        comparison.live.classes.iter().filter(|c| c.workload.namespace == namespace && c.usable && !c.host_network);
    let ids = classes.flat_map(|c| &c.pods);
    ids.filter_map(|id| snapshot.pods.iter().find(|p| &p.id == id)).find(|p| p.is_usable())
}

impl<O: Outside> Look<'_, O> {
    /// Looks at each; one that is met gives nothing, except that what is closed is said to be closed by nobody knows
    /// whom: no policy is verified by it.
    pub async fn at(&self, expectations: &[Expectation]) -> Vec<Finding> {
        let (mut found, mut ready) = (Vec::new(), Vec::new());
        for expectation in expectations {
            match self.ready(expectation) {
                Ok(one) => ready.push(one),
                Err(finding) => found.push(*finding),
            }
        }
        let answers = self.ask(&ready).await;
        found.extend(ready.iter().filter_map(|one| self.judge(one, &answers)));
        found
    }

    fn ready<'e>(&'e self, expectation: &'e Expectation) -> Result<Ready<'e>, Box<Finding>> {
        let key = key(expectation);
        let namespace = &expectation.from.namespace;
        let Some(pod) = source(namespace, self.snapshot, self.comparison) else {
            return Err(blind(&key, format!("expectation {key}: no pod in {namespace} to look from")));
        };
        let addresses = match &expectation.to.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match self.book.of_pod(pod, name) {
                Some(Sight::Addresses(addresses)) => addresses.clone(),
                Some(Sight::NoTool) => {
                    let text =
                        format!("expectation {key}: {} has neither getent nor nslookup to resolve {name}", pod.id);
                    return Err(blind(&key, text));
                }
                Some(Sight::Unresolved(why)) => return Err(untold(&key, &self.unresolved(pod, name, why))),
                None => return Err(untold(&key, "its pod was not asked for the name, the next run does")),
            },
        };
        Ok(Ready { expectation, pod, addresses })
    }

    fn unresolved(&self, pod: &PodInfo, name: &str, why: &str) -> String {
        match self.class(pod) {
            Some(class) => names::reason(self.live, class, name, why).1,
            None => format!("{name} could not be resolved in the pod: {why}"),
        }
    }

    /// The class of a pod, in the live world.
    fn class(&self, pod: &PodInfo) -> Option<usize> {
        self.live.world.class_of(&pod.id)
    }

    /// One exec a pod, with all that is to be tried there.
    async fn ask(&self, ready: &[Ready<'_>]) -> Answers {
        let mut asked: BTreeMap<&PodRef, (&PodInfo, BTreeSet<ProbeTarget>)> = BTreeMap::new();
        for one in ready {
            asked.entry(&one.pod.id).or_insert_with(|| (one.pod, BTreeSet::new())).1.extend(one.targets());
        }
        let mut execs = Vec::new();
        for (pod, targets) in asked.values() {
            let targets: Vec<ProbeTarget> = targets.iter().cloned().collect();
            execs.extend(targets.chunks(TARGETS_PER_EXEC).map(|chunk| self.exec(pod, chunk.to_vec())));
        }
        join_all(execs).await.into_iter().flatten().collect()
    }

    async fn exec(&self, pod: &PodInfo, targets: Vec<ProbeTarget>) -> Vec<((PodRef, ProbeTarget), (Outcome, String))> {
        let seen = self.outside.prober().probe(&ground::source(pod), &targets).await;
        let answers = seen.into_iter().map(|seen| (seen.outcome, seen.text));
        targets.into_iter().zip(answers).map(|(target, answer)| ((pod.id.clone(), target), answer)).collect()
    }

    /// What was seen, against what is expected; `None`: it is met.
    fn judge(&self, one: &Ready<'_>, answers: &Answers) -> Option<Finding> {
        let key = key(one.expectation);
        let of = |target: &ProbeTarget| answers.get(&(one.pod.id.clone(), target.clone()));
        let seen: Vec<(IpAddr, Outcome, &str)> = one
            .addresses
            .iter()
            .zip(one.targets())
            .map(|(address, target)| of(&target).map_or((*address, Outcome::Cut, ""), |(o, text)| (*address, *o, text)))
            .collect();
        if let Some((_, _, text)) = seen.iter().find(|(_, outcome, _)| *outcome == Outcome::ToolMissing) {
            let with = if one.expectation.to.protocol == Protocol::Udp { "to ask a DNS server" } else { "to look" };
            let text = format!(
                "expectation {key}: {} has no `nc` and no bash {with} with (probe.ephemeral adds a container that has): {text}",
                one.pod.id
            );
            return Some(*blind(&key, text));
        }
        if let Some((address, outcome, text)) = seen.iter().find(|(_, outcome, _)| !is_seen(*outcome)) {
            return Some(*untold(&key, &format!("{} could not be looked at: {outcome} {text}", at(*address, one))));
        }
        let (severity, text) = self.verdict(one, &key, &seen)?;
        Some(findings::finding(FindingRule::Expectation, &key, severity, text))
    }

    fn verdict(&self, one: &Ready<'_>, key: &str, seen: &[(IpAddr, Outcome, &str)]) -> Option<(Severity, String)> {
        let (open, closed): (Vec<_>, Vec<_>) = seen.iter().partition(|(_, outcome, _)| *outcome == Outcome::Open);
        let ends = |some: &[&(IpAddr, Outcome, &str)]| {
            some.iter().map(|(address, outcome, _)| format!("{outcome} at {}", at(*address, one))).collect::<Vec<_>>()
        };
        match one.expectation.is {
            Expected::Reachable if closed.is_empty() => None,
            Expected::Reachable => {
                let partly = if open.is_empty() { "" } else { "partly " };
                let text = format!(
                    "{key} should be reachable from {}, is {partly}closed ({}): {}, or correct `expectations`",
                    one.pod.id,
                    ends(&closed).join(", "),
                    closed.first().map(|(address, ..)| self.advice(one, *address)).unwrap_or_default()
                );
                Some((Severity::Error, text))
            }
            Expected::Unreachable if open.is_empty() => {
                Some((Severity::Info, format!("{key} is closed, as expected (by whom: unknown)")))
            }
            Expected::Unreachable => {
                let text = format!(
                    "{key} should be unreachable, is open from {} ({}): close it, or correct `expectations`",
                    one.pod.id,
                    ends(&open).join(", ")
                );
                Some((Severity::Error, text))
            }
        }
    }

    /// What to mend, as far as the live policies say. Where they isolate the pod, nothing is open implicitly: neither
    /// DNS, nor the API server.
    fn advice(&self, one: &Ready<'_>, address: IpAddr) -> String {
        let Some(class) = self.class(one.pod) else { return "look at the other end".to_owned() };
        let Goal { port, protocol, .. } = one.expectation.to;
        let isolated = self.live.is_isolated(Direction::Egress, class);
        match closing(self.snapshot, self.live, class, Address { ip: address, port, protocol }) {
            Some(Closing::Isolated(Direction::Egress, by)) => format!(
                "its egress is isolated ({by}), which under Calico closes DNS and the API server too until a rule opens them; add one"
            ),
            Some(Closing::Isolated(Direction::Ingress, by)) => {
                format!("its egress is open, the ingress at the other end is not ({by}): add a rule there")
            }
            Some(Closing::Denied(rule)) => {
                format!("{rule} denies it, before any rule that lets it through: change that")
            }
            Some(Closing::Nobody) if isolated => "the policies let it through; look at the other end".to_owned(),
            None if isolated => "policies isolate its egress; look at them, and at the other end".to_owned(),
            Some(Closing::Nobody) | None => "no policy isolates its egress; look at the other end".to_owned(),
        }
    }
}

impl Ready<'_> {
    /// What is tried, one for each address.
    fn targets(&self) -> Vec<ProbeTarget> {
        let Goal { port, protocol, .. } = self.expectation.to;
        let target = |address: &IpAddr| match protocol {
            Protocol::Udp => ProbeTarget::Dns { server: *address, port },
            Protocol::Tcp | Protocol::Sctp => ProbeTarget::Connect { protocol, address: *address, port },
        };
        self.addresses.iter().map(target).collect()
    }
}

fn key(expectation: &Expectation) -> String {
    format!("{} -> {}", expectation.from.namespace, expectation.to)
}

fn at(address: IpAddr, one: &Ready<'_>) -> String {
    std::net::SocketAddr::new(address, one.expectation.to.port).to_string()
}

const fn is_seen(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Open | Outcome::Refused | Outcome::Timeout | Outcome::Unreachable)
}

/// What the next run cannot cure either is said once: another rule than that of what is tried again.
fn blind(key: &str, text: String) -> Box<Finding> {
    Box::new(findings::finding(FindingRule::NotReadable, key, Severity::Warning, text))
}

/// What is tried again.
fn untold(key: &str, why: &str) -> Box<Finding> {
    let text = format!("expectation {key}: {why}");
    Box::new(findings::finding(FindingRule::Expectation, key, Severity::Warning, text))
}
