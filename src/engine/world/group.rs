//! Pods grouped into classes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Class, in_block};
use crate::{
    engine::surroundings::{OF_ACCOUNT, Surroundings},
    model::{
        ACCOUNT_LABEL, CalicoSelector, Conditions, ContainerPort, EntityMatch, Labels, Peer, Phase, PodInfo, Policy,
        Snapshot, Workload, WorkloadInfo,
    },
};

/// Labels that controllers give each pod: they split a workload only where a selector uses them.
const UNIQUE_LABELS: [&str; 10] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// Groups the pods of a snapshot into classes under all policy sets that will be asked about them.
#[must_use]
pub fn classes(snapshot: &Snapshot, policies: &[&Policy]) -> Vec<Class> {
    classes_among(&Surroundings::default(), snapshot, policies)
}

/// The same for a set of files, where a pod seldom has an address yet: each that has not finished counts.
#[must_use]
pub fn planned_classes(surroundings: &Surroundings, snapshot: &Snapshot, policies: &[&Policy]) -> Vec<Class> {
    grouped(surroundings, snapshot, policies, |pod| pod.phase != Phase::Finished)
}

/// The classes among network sets, Services and ServiceAccounts, for Calico's policies.
#[must_use]
pub fn classes_among(surroundings: &Surroundings, snapshot: &Snapshot, policies: &[&Policy]) -> Vec<Class> {
    grouped(surroundings, snapshot, policies, has_identity)
}

fn grouped(
    surroundings: &Surroundings,
    snapshot: &Snapshot,
    policies: &[&Policy],
    counts: impl Fn(&PodInfo) -> bool,
) -> Vec<Class> {
    let mut used = used_keys(policies);
    let by_account = used.iter().any(|key| is_of_account(key));
    if policies.iter().any(|policy| conditions(policy).any(|c| c.ends().iter().any(|end| end.service.is_some()))) {
        used.extend(surroundings.service_keys.iter().cloned());
    }
    let mut blocks = blocks(policies);
    blocks.extend(surroundings.node_blocks(policies).map(|net| (net, Vec::new())));
    blocks.extend(surroundings.sets.iter().flat_map(|set| &set.nets).map(|net| (*net, Vec::new())));
    let mut groups: BTreeMap<GroupKey, Vec<&PodInfo>> = BTreeMap::new();
    for pod in snapshot.pods.iter().filter(|p| counts(p)) {
        groups.entry(group_key(pod, &used, &blocks, by_account)).or_default().push(pod);
    }
    let mut seen: BTreeSet<Workload> = BTreeSet::new();
    let mut result: Vec<Class> = Vec::new();
    for (key, pods) in groups {
        seen.insert(key.workload.clone());
        result.push(class_of(key, &pods));
    }
    // A workload that runs nothing still counts: a rule for it waits, it is not without effect.
    for workload in snapshot.workloads.iter().filter(|w| !seen.contains(&w.id)) {
        result.push(idle(workload, stripped(&workload.labels, &used)));
    }
    result.sort_by(|a, b| (&a.workload, &a.labels, &a.pods).cmp(&(&b.workload, &b.labels, &b.pods)));
    result
}

/// A workload that runs nothing.
fn idle(workload: &WorkloadInfo, labels: Labels) -> Class {
    Class {
        workload: workload.id.clone(),
        labels,
        ports: workload.ports.clone(),
        host_network: workload.host_network,
        service_account: workload.service_account.clone(),
        pods: Vec::new(),
        ips: Vec::new(),
        usable: false,
        node: None,
    }
}

/// Finished pods have lost their address (semantics: "Succeeded/Failed lose the IP"); pods without one are not there yet.
fn has_identity(pod: &PodInfo) -> bool {
    pod.phase != Phase::Finished && !pod.ips.is_empty()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    workload: Workload,
    labels: Labels,
    ports: Vec<ContainerPort>,
    host_network: bool,
    /// Where a policy looks at it.
    account: Option<String>,
    in_blocks: Vec<bool>,
}

fn group_key(pod: &PodInfo, used: &BTreeSet<String>, blocks: &[(IpNet, Vec<IpNet>)], by_account: bool) -> GroupKey {
    let mut ports = pod.ports.clone();
    ports.sort();
    ports.dedup();
    let inside = |(cidr, except): &(IpNet, Vec<IpNet>)| pod.ips.iter().any(|ip| in_block(*ip, *cidr, except));
    GroupKey {
        workload: pod.workload.clone(),
        labels: stripped(&pod.labels, used),
        ports,
        host_network: pod.host_network,
        account: by_account.then(|| pod.service_account.clone()),
        in_blocks: blocks.iter().map(inside).collect(),
    }
}

fn class_of(key: GroupKey, pods: &[&PodInfo]) -> Class {
    // Usable pods first: the first pod's addresses stand for the class.
    let mut order: Vec<&&PodInfo> = pods.iter().collect();
    order.sort_by_key(|p| (!p.is_usable(), p.id.clone()));
    Class {
        workload: key.workload,
        labels: key.labels,
        ports: key.ports,
        host_network: key.host_network,
        service_account: order.first().map(|p| p.service_account.clone()).unwrap_or_default(),
        ips: order.first().map(|p| p.ips.clone()).unwrap_or_default(),
        usable: order.first().is_some_and(|p| p.is_usable()),
        node: order.first().and_then(|p| p.node.clone()),
        pods: order.iter().map(|p| p.id.clone()).collect(),
    }
}

fn stripped(labels: &Labels, used: &BTreeSet<String>) -> Labels {
    let keep = |key: &str| !UNIQUE_LABELS.contains(&key) || used.contains(key);
    labels.iter().filter(|(key, _)| keep(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

pub(super) fn is_of_account(key: &str) -> bool {
    key == ACCOUNT_LABEL || key.starts_with(OF_ACCOUNT)
}

/// Every selector of Calico's.
pub(super) fn selectors<'p>(policies: &[&'p Policy]) -> impl Iterator<Item = &'p CalicoSelector> {
    policies.iter().copied().flat_map(|policy| {
        let of_rules = conditions(policy).flat_map(Conditions::ends).flat_map(EntityMatch::selectors);
        of_rules.chain(&policy.subject.calico)
    })
}

fn used_keys(policies: &[&Policy]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    selectors(policies).for_each(|selector| selector.keys(&mut keys));
    for policy in policies {
        keys.extend(policy.subject.pods.keys().map(str::to_owned));
        for peer in peers(policy) {
            if let Peer::Pods { pods, .. } = peer {
                keys.extend(pods.keys().map(str::to_owned));
            }
        }
    }
    keys
}

/// The distinct address blocks of all policies: pods that differ in one of them are told apart.
fn blocks(policies: &[&Policy]) -> Vec<(IpNet, Vec<IpNet>)> {
    let all = policies.iter().flat_map(|p| peers(p)).filter_map(|peer| match peer {
        Peer::Block { cidr, except } => Some((*cidr, except.clone())),
        Peer::Pods { .. } | Peer::Nodes(_) => None,
    });
    let calico = policies.iter().flat_map(|p| conditions(p)).flat_map(Conditions::ends);
    let calico = calico.flat_map(EntityMatch::blocks).map(|block| (block, Vec::new()));
    all.chain(calico).collect::<BTreeSet<_>>().into_iter().collect()
}

fn conditions(policy: &Policy) -> impl Iterator<Item = &Conditions> {
    policy.all_rules().filter_map(|rule| rule.conditions.as_deref())
}

fn peers(policy: &Policy) -> impl Iterator<Item = &Peer> {
    policy.all_rules().flat_map(|rule| rule.peers.iter().flatten())
}
