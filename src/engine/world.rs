//! A policy set over the pods of a cluster: what every verdict is asked of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::surroundings::{OF_ACCOUNT, Surroundings};
use crate::model::{
    ACCOUNT_LABEL, CalicoSelector, ClassRecord, Conditions, ContainerPort, EntityMatch, Labels, NamespaceMatch, Peer,
    Phase, PodInfo, PodRef, Policy, Selector, Snapshot, Subject, Workload,
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

/// Pods of one workload that no policy of the sets at hand can tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The workload.
    pub workload: Workload,
    /// Their labels, without those that are unique to a pod and that no selector uses.
    pub labels: Labels,
    /// Their ports.
    pub ports: Vec<ContainerPort>,
    /// Whether they use the node's network.
    pub host_network: bool,
    /// Their ServiceAccount; the first pod's, where no policy looks at it.
    pub service_account: String,
    /// The pods that have an address now; empty for a workload that runs nothing.
    pub pods: Vec<PodRef>,
    /// The first pod's addresses.
    pub ips: Vec<IpAddr>,
    /// Whether the first pod is Ready, so that it can be probed from and to.
    pub usable: bool,
    /// The first pod's node.
    pub node: Option<String>,
}

impl Class {
    /// What the state remembers of it.
    #[must_use]
    pub fn record(&self) -> ClassRecord {
        ClassRecord { workload: self.workload.clone(), labels: self.labels.clone(), ports: self.ports.clone() }
    }
}

/// The address family of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The first of `addresses` that is of this family.
    #[must_use]
    pub fn pick(self, addresses: &[IpAddr]) -> Option<IpAddr> {
        addresses.iter().copied().find(|a| Self::of(*a) == self)
    }
}

/// One end of a flow, as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct End<'w> {
    /// The pods, or `None` for an outside address.
    pub class: Option<&'w Class>,
    /// The packet's address; `None` for a workload without pods, which no `ipBlock` matches.
    pub address: Option<IpAddr>,
}

impl<'w> End<'w> {
    /// The pods of a class, by their address of `family`.
    #[must_use]
    pub fn pods(class: &'w Class, family: Family) -> Self {
        Self { class: Some(class), address: family.pick(&class.ips) }
    }

    /// An address that no pod has.
    #[must_use]
    pub const fn outside(address: IpAddr) -> Self {
        Self { class: None, address: Some(address) }
    }
}

/// Policies over namespaces and classes of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Labels by namespace.
    pub namespaces: BTreeMap<String, Labels>,
    /// Classes, sorted by workload.
    pub classes: Vec<Class>,
    /// Policies in the order of their evaluation.
    pub policies: Vec<Policy>,
    /// What Calico's policies look at besides.
    pub surroundings: Surroundings,
}

impl World {
    /// Policies over given classes.
    #[must_use]
    pub fn new(namespaces: BTreeMap<String, Labels>, classes: Vec<Class>, policies: Vec<Policy>) -> Self {
        Self::among(Surroundings::default(), namespaces, classes, policies)
    }

    /// The same among network sets, Services and ServiceAccounts, for Calico's policies.
    #[must_use]
    pub fn among(
        surroundings: Surroundings,
        namespaces: BTreeMap<String, Labels>,
        classes: Vec<Class>,
        mut policies: Vec<Policy>,
    ) -> Self {
        // NetworkPolicies alone only allow: no order among them decides anything.
        let ties = policies.iter().any(|policy| !policy.is_network_policy()).then_some(surroundings.ties);
        policies.sort_by_cached_key(|policy| {
            (policy.tier.clone(), policy.order, ties.map(|ties| ties.key(policy)), policy.id.clone())
        });
        Self { namespaces, classes, policies, surroundings }
    }

    /// The same classes and labels under other policies.
    #[must_use]
    pub fn with_policies(&self, policies: Vec<Policy>) -> Self {
        Self::among(self.surroundings.clone(), self.namespaces.clone(), self.classes.clone(), policies)
    }

    /// The same classes under the labels of an earlier moment; what is new since then keeps its labels.
    #[must_use]
    pub fn with_labels_of(&self, namespaces: &BTreeMap<String, Labels>, records: &[ClassRecord]) -> Self {
        let mut then = self.namespaces.clone();
        then.extend(
            namespaces.iter().filter(|(n, _)| self.namespaces.contains_key(*n)).map(|(n, l)| (n.clone(), l.clone())),
        );
        let classes = self.classes.iter().map(|class| earlier(class, records)).collect();
        Self { namespaces: then, classes, ..self.clone() }
    }

    /// The labels of a namespace; one that no object declares has its name as its only label.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Labels {
        self.namespaces
            .get(name)
            .cloned()
            .unwrap_or_else(|| BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]))
    }

    /// Whether a policy's subject is pods of `class`.
    #[must_use]
    pub fn applies_to(&self, subject: &Subject, class: &Class) -> bool {
        let calico = |selector: &CalicoSelector| self.calico_matches(selector, class);
        self.selects(&subject.namespaces, &subject.pods, class) && subject.calico.as_ref().is_none_or(calico)
    }

    /// Whether pods of `class` are among `namespaces` × `pods`. hostNetwork pods never are: policies see them as
    /// their node.
    #[must_use]
    pub fn selects(&self, namespaces: &NamespaceMatch, pods: &Selector, class: &Class) -> bool {
        !class.host_network && self.names(namespaces, pods, class)
    }

    /// Whether `namespaces` × `pods` name pods of `class`, whatever network they use.
    #[must_use]
    pub fn names(&self, namespaces: &NamespaceMatch, pods: &Selector, class: &Class) -> bool {
        if !pods.matches(&class.labels) {
            return false;
        }
        let name = &class.workload.namespace;
        match self.namespaces.get(name) {
            Some(labels) => namespaces.matches(name, labels),
            None => namespaces.matches(name, &self.namespace_labels(name)),
        }
    }

    /// Whether `peer` matches `end`.
    #[must_use]
    pub fn peer_matches(&self, peer: &Peer, end: &End<'_>) -> bool {
        match peer {
            Peer::Pods { namespaces, pods } => end.class.is_some_and(|class| self.selects(namespaces, pods, class)),
            Peer::Block { cidr, except } => end.address.is_some_and(|address| in_block(address, *cidr, except)),
        }
    }
}

fn in_block(address: IpAddr, cidr: IpNet, except: &[IpNet]) -> bool {
    cidr.contains(&address) && !except.iter().any(|net| net.contains(&address))
}

/// `class` with the labels and ports that its workload had in `records`.
fn earlier(class: &Class, records: &[ClassRecord]) -> Class {
    let mut of_workload = records.iter().filter(|r| r.workload == class.workload);
    let Some(first) = of_workload.next() else { return class.clone() };
    // Several classes then: the one with the same labels now, if it is still there, is the same class.
    let then = std::iter::once(first).chain(of_workload).find(|r| r.labels == class.labels).unwrap_or(first);
    Class { labels: then.labels.clone(), ports: then.ports.clone(), ..class.clone() }
}

/// The address families that both classes have; IPv4 for workloads without pods.
#[must_use]
pub fn families(source: &Class, destination: &Class) -> Vec<Family> {
    let has = |class: &Class, other: &Class, family: Family| {
        if class.ips.is_empty() {
            // It will have the family of the other.
            return family == Family::V4 || !other.ips.is_empty() && Family::V4.pick(&other.ips).is_none();
        }
        family.pick(&class.ips).is_some()
    };
    let both = |f: &Family| has(source, destination, *f) && has(destination, source, *f);
    [Family::V4, Family::V6].into_iter().filter(both).collect()
}

/// Groups the pods of a snapshot into classes under all policy sets that will be asked about them.
#[must_use]
pub fn classes(snapshot: &Snapshot, policies: &[&Policy]) -> Vec<Class> {
    classes_among(&Surroundings::default(), snapshot, policies)
}

/// The same for a set of files, where a pod seldom has an address yet: each that has not finished counts.
#[must_use]
pub fn planned_classes(snapshot: &Snapshot, policies: &[&Policy]) -> Vec<Class> {
    grouped(&Surroundings::default(), snapshot, policies, |pod| pod.phase != Phase::Finished)
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
    let by_account = used.iter().any(|key| key == ACCOUNT_LABEL || key.starts_with(OF_ACCOUNT));
    if policies.iter().any(|policy| conditions(policy).any(|c| c.ends().iter().any(|end| end.service.is_some()))) {
        used.extend(surroundings.service_keys.iter().cloned());
    }
    let mut blocks = blocks(policies);
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
        result.push(Class {
            workload: workload.id.clone(),
            labels: stripped(&workload.labels, &used),
            ports: workload.ports.clone(),
            host_network: workload.host_network,
            service_account: workload.service_account.clone(),
            pods: Vec::new(),
            ips: Vec::new(),
            usable: false,
            node: None,
        });
    }
    result.sort_by(|a, b| (&a.workload, &a.labels, &a.pods).cmp(&(&b.workload, &b.labels, &b.pods)));
    result
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

fn used_keys(policies: &[&Policy]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for policy in policies {
        keys.extend(policy.subject.pods.keys().map(str::to_owned));
        let selectors = conditions(policy).flat_map(Conditions::ends).flat_map(EntityMatch::selectors);
        selectors.chain(&policy.subject.calico).for_each(|selector| selector.keys(&mut keys));
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
        Peer::Pods { .. } => None,
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

#[cfg(test)]
mod tests;
