//! Names of hosts outside, as the pods that use them resolve them.
//!
//! The plan begins with what the verifier's own resolver says. Each pod from which a flow to such a host may be probed
//! is then asked itself, once a run: its own resolver and search path decide, address by address.

mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use futures::future::join_all;

use super::{
    findings, ground,
    seams::{Outside, ProbeTarget, Prober, Resolver, Seen},
};
use crate::{
    config::Config,
    engine::{
        dns,
        matrix::Matrix,
        touched::Outside as Host,
        world::{self, End, Family},
    },
    model::{
        Direction, Finding, FindingRule, Outcome, PodInfo, PodRef, PortSet, Protocol, Severity, Snapshot, Unseen,
        Workload,
    },
};
pub use wanted::Wanted;

/// Names asked in one exec, as many as targets (design §5).
const NAMES_PER_EXEC: usize = 64;

/// Broken execs are tried so often.
const TRIES: usize = 2;

/// How the reason begins where a policy keeps a pod from asking: no retry helps until a rule opens it.
pub const DENIED: &str = "no rule lets it ask the cluster's DNS";

/// At most so many workloads are named in one sentence.
const NAMED: usize = 3;

/// What a pod's own resolver says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// These addresses, of the families that the pod has.
    Addresses(Vec<IpAddr>),
    /// None, because: the name has none there, or nobody answered.
    Unresolved(String),
    /// The pod has nothing to ask with: what the verifier sees has to do.
    NoTool,
}

impl Sight {
    /// What two pods of one workload see.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Addresses(mut all), Self::Addresses(more)) => {
                all.extend(more);
                all.sort_unstable();
                all.dedup();
                Self::Addresses(all)
            }
            (Self::Addresses(all), _) => Self::Addresses(all),
            (_, other) => other,
        }
    }
}

/// A pod with the names that it is asked for.
pub type Questions<'s> = BTreeMap<PodRef, (&'s PodInfo, BTreeSet<String>)>;

/// All that a run has learned of names.
#[derive(Debug, Default)]
pub struct Book {
    /// By the verifier's resolver; `None`: it could not be resolved.
    verifier: BTreeMap<String, Option<Vec<IpAddr>>>,
    /// By pods, each by its uid.
    pods: BTreeMap<(String, String), Sight>,
    /// The same by their workloads.
    workloads: BTreeMap<Workload, BTreeMap<String, Sight>>,
}

impl Book {
    /// The configured destinations, as the verifier's own resolver has them.
    pub async fn open<O: Outside>(outside: &O, config: &Config) -> Self {
        let mut book = Self::default();
        for name in config.destinations.iter().flat_map(crate::config::Destination::names) {
            let found = outside.resolver().resolve(name).await;
            if let Err(fault) = &found {
                tracing::warn!(name, error = %fault, "destination could not be resolved");
            }
            book.verifier.insert(name.clone(), found.ok());
        }
        book
    }

    /// Asks pods for names, those that were not asked for them before: all names of a pod in one exec.
    pub async fn ask<O: Outside>(&mut self, outside: &O, questions: &Questions<'_>) {
        let mut execs = Vec::new();
        for (pod, names) in questions.values() {
            let is_new = |name: &&String| !self.pods.contains_key(&(pod.uid.clone(), (*name).clone()));
            let open: Vec<String> = names.iter().filter(is_new).cloned().collect();
            execs.extend(open.chunks(NAMES_PER_EXEC).map(|chunk| resolve(outside, pod, chunk.to_vec())));
        }
        for (pod, name, sight) in join_all(execs).await.into_iter().flatten() {
            if let Sight::Unresolved(why) = &sight {
                tracing::info!(pod = %pod.id, name, why, "name could not be resolved in the pod");
            }
            let seen = self.workloads.entry(pod.workload.clone()).or_default();
            let together = match seen.remove(&name) {
                Some(known) => known.and(sight.clone()),
                None => sight.clone(),
            };
            seen.insert(name.clone(), together);
            self.pods.insert((pod.uid.clone(), name), sight);
        }
    }

    /// What a pod said of a name; `None`: it was not asked.
    #[must_use]
    pub fn of_pod(&self, pod: &PodInfo, name: &str) -> Option<&Sight> {
        self.pods.get(&(pod.uid.clone(), name.to_owned()))
    }

    /// What the verifier's resolver said of a name.
    #[must_use]
    pub fn of_verifier(&self, name: &str) -> &[IpAddr] {
        self.verifier.get(name).and_then(Option::as_deref).unwrap_or_default()
    }

    /// What a workload's pods see of a name: all of their addresses, else why there are none; `None`: nobody was asked.
    #[must_use]
    pub fn of_workload(&self, workload: &Workload, name: &str) -> Option<&Sight> {
        self.workloads.get(workload)?.get(name)
    }

    /// Why a workload cannot resolve a name, where that is so.
    #[must_use]
    pub fn why_not(&self, workload: &Workload, name: &str) -> Option<&str> {
        match self.of_workload(workload, name)? {
            Sight::Unresolved(why) => Some(why),
            Sight::Addresses(_) | Sight::NoTool => None,
        }
    }

    /// The configured names that nobody has an address of.
    #[must_use]
    pub fn unresolved(&self) -> Vec<String> {
        let sees = |seen: &BTreeMap<String, Sight>, name: &String| matches!(seen.get(name), Some(Sight::Addresses(_)));
        let is_seen = |name: &String| self.workloads.values().any(|seen| sees(seen, name));
        let is_missing = |name: &&String| self.of_verifier(name).is_empty() && !is_seen(name);
        self.verifier.keys().filter(is_missing).cloned().collect()
    }

    /// The configured hosts by their addresses of now, each with the workloads that see it there.
    #[must_use]
    pub fn hosts(&self, config: &Config, workloads: &BTreeSet<Workload>) -> Vec<Host> {
        let mut hosts = Vec::new();
        for destination in &config.destinations {
            for name in destination.names() {
                hosts.extend(self.addresses(name, workloads).into_iter().map(|(address, seen_by)| Host {
                    name: Some(name.clone()),
                    address,
                    ports: destination.ports.clone(),
                    seen_by,
                }));
            }
        }
        hosts
    }

    /// Each address of a name with the workloads that see it; `None`: all of them.
    fn addresses(&self, name: &str, workloads: &BTreeSet<Workload>) -> Vec<(IpAddr, Option<BTreeSet<Workload>>)> {
        let planned: BTreeSet<IpAddr> = self.of_verifier(name).iter().copied().collect();
        let asked: BTreeMap<&Workload, BTreeSet<IpAddr>> = workloads
            .iter()
            .filter_map(|workload| match self.of_workload(workload, name)? {
                Sight::Addresses(addresses) => Some((workload, addresses.iter().copied().collect())),
                Sight::Unresolved(_) | Sight::NoTool => None,
            })
            .collect();
        let all: BTreeSet<IpAddr> = planned.iter().chain(asked.values().flatten()).copied().collect();
        let sees = |workload: &&Workload, address: &IpAddr| {
            asked.get(*workload).map_or_else(|| planned.contains(address), |seen| seen.contains(address))
        };
        let with_sight = |address: IpAddr| {
            let seen_by: BTreeSet<Workload> = workloads.iter().filter(|w| sees(w, &address)).cloned().collect();
            (address, (seen_by.len() < workloads.len()).then_some(seen_by))
        };
        all.into_iter().map(with_sight).collect()
    }

    /// Says where pods see other addresses than the plan began with, one note a name.
    #[must_use]
    pub fn differences(&self, snapshot: &Snapshot) -> Vec<Finding> {
        let mut found = Vec::new();
        for (name, planned) in self.verifier.iter().filter_map(|(name, planned)| Some((name, planned.as_ref()?))) {
            let mut elsewhere: BTreeMap<&[IpAddr], BTreeSet<String>> = BTreeMap::new();
            for pod in &snapshot.pods {
                let Some(Sight::Addresses(seen)) = self.of_pod(pod, name) else { continue };
                let of_pod = planned.iter().filter(|address| has_family(pod, **address));
                if of_pod.collect::<BTreeSet<_>>() != seen.iter().collect() {
                    elsewhere.entry(seen.as_slice()).or_default().insert(pod.workload.to_string());
                }
            }
            found.extend((!elsewhere.is_empty()).then(|| difference(name, planned, &elsewhere)));
        }
        found
    }
}

fn difference(name: &str, planned: &[IpAddr], elsewhere: &BTreeMap<&[IpAddr], BTreeSet<String>>) -> Finding {
    let each = elsewhere.iter().map(|(seen, workloads)| format!("{} in {}", listed(seen), some(workloads)));
    let each: Vec<String> = each.collect();
    let text = format!(
        "{name} is {} to the verifier, and {}: what a pod sees itself is what is looked at from it",
        listed(planned),
        each.join(", ")
    );
    findings::finding(FindingRule::MovedName, &format!("elsewhere {name}"), Severity::Info, text)
}

/// Addresses in one line.
#[must_use]
pub fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Some of these by name, the rest by number.
#[must_use]
pub fn some(names: &BTreeSet<String>) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

async fn resolve<'p, O: Outside>(
    outside: &O,
    pod: &'p PodInfo,
    names: Vec<String>,
) -> Vec<(&'p PodInfo, String, Sight)> {
    let targets: Vec<ProbeTarget> = names.iter().map(|name| ProbeTarget::Resolve { name: name.clone() }).collect();
    let mut seen = outside.prober().probe(&ground::source(pod), &targets).await;
    for _ in 1..TRIES {
        if seen.iter().any(|seen| seen.outcome == Outcome::Cut) {
            seen = outside.prober().probe(&ground::source(pod), &targets).await;
        }
    }
    let sights = seen
        .iter()
        .map(|seen| sight(pod, seen))
        .chain(std::iter::repeat_with(|| Sight::Unresolved("the exec broke before an answer".to_owned())));
    names.into_iter().zip(sights).map(|(name, sight)| (pod, name, sight)).collect()
}

fn sight(pod: &PodInfo, seen: &Seen) -> Sight {
    let (mut own, others): (Vec<IpAddr>, Vec<IpAddr>) = seen.addresses.iter().partition(|a| has_family(pod, **a));
    match seen.outcome {
        Outcome::ToolMissing => Sight::NoTool,
        Outcome::Open if !own.is_empty() => {
            own.sort_unstable();
            own.dedup();
            Sight::Addresses(own)
        }
        Outcome::Open => Sight::Unresolved(format!("it has only {}, and the pod none of that family", listed(&others))),
        outcome if seen.text.is_empty() => Sight::Unresolved(outcome.to_string()),
        _ => Sight::Unresolved(seen.text.clone()),
    }
}

fn has_family(pod: &PodInfo, address: IpAddr) -> bool {
    pod.ips.iter().any(|own| own.is_ipv4() == address.is_ipv4())
}

/// Whether the live policies let a class ask the cluster's DNS; `None` where no pod is known to be it.
#[must_use]
pub fn may_ask(matrix: &Matrix<'_>, class: usize) -> Option<bool> {
    of_servers(matrix, class, |server, family| matrix.between(class, server, family))
}

/// Whether its own side lets it, whatever the servers' side says.
fn may_send(matrix: &Matrix<'_>, class: usize) -> bool {
    let egress = |server: usize, family: Family| {
        let end = End::pods(matrix.class(server)?, family);
        matrix.side(Direction::Egress, class, end, end)
    };
    of_servers(matrix, class, egress) == Some(true)
}

/// Whether port 53 of any of the cluster's DNS servers is among what is told of it.
fn of_servers(matrix: &Matrix<'_>, class: usize, told: impl Fn(usize, Family) -> Option<PortSet>) -> Option<bool> {
    let live = matrix.world;
    let servers = live.classes.iter().enumerate().filter(|(_, server)| dns::is_server(server) && !server.host_network);
    let asks = |server: usize| {
        let families = match (live.classes.get(class), live.classes.get(server)) {
            (Some(from), Some(to)) => world::families(from, to),
            _ => Vec::new(),
        };
        let ports = families.into_iter().filter_map(|family| told(server, family));
        ports.into_iter().any(|ports| ports.contains(Protocol::Udp, 53) || ports.contains(Protocol::Tcp, 53))
    };
    servers.map(|(server, _)| asks(server)).reduce(|any, one| any || one)
}

/// Why a class could not resolve a name: a way to DNS that is closed says nothing about the name.
#[must_use]
pub fn reason(matrix: &Matrix<'_>, source: usize, name: &str, text: &str) -> (Unseen, String) {
    if may_ask(matrix, source) == Some(false) {
        let cure = if may_send(matrix, source) {
            "its egress is open, the ingress of the DNS pods is not: open port 53 there"
        } else {
            "under Calico nothing is allowed implicitly; open port 53 to it"
        };
        let reason = format!("{DENIED}, so that {name} cannot be resolved there ({cure})");
        return (Unseen::Unprobeable, reason);
    }
    (Unseen::Pending, format!("{name} could not be resolved in the pod: {text}"))
}
