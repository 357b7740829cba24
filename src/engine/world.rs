//! A policy set over the pods of a cluster: what every verdict is asked of.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{read::PolicySet, surroundings::Surroundings};
use crate::model::{
    CalicoSelector, ClassRecord, ContainerPort, Labels, NamespaceInfo, NamespaceMatch, Peer, PodRef, Policy, Selector,
    Subject, TieRule, Workload,
};

mod apart;
mod blocks;
mod group;
mod index;
mod then;

use blocks::in_block;
pub use group::{classes, classes_among, planned_classes};
pub(super) use index::ByNamespace;
pub use then::Then;

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
    /// What the state remembers of it, by its ServiceAccount where a policy looks at that.
    #[must_use]
    pub fn record(&self, by_account: bool) -> ClassRecord {
        ClassRecord {
            workload: self.workload.clone(),
            labels: self.labels.clone(),
            ports: self.ports.clone(),
            service_account: by_account.then(|| self.service_account.clone()),
        }
    }
}

/// The address family of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// The packet's address; `None` for a workload without pods.
    pub address: Option<IpAddr>,
    /// The packet's family.
    pub family: Family,
}

impl<'w> End<'w> {
    /// The pods of a class, by their address of `family`.
    #[must_use]
    pub fn pods(class: &'w Class, family: Family) -> Self {
        Self { class: Some(class), address: family.pick(&class.ips), family }
    }

    /// An address that no pod has.
    #[must_use]
    pub const fn outside(address: IpAddr) -> Self {
        Self { class: None, address: Some(address), family: Family::of(address) }
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
    /// Whether a workload without pods stands for one that it will have (a set of files). What address that gets is not
    /// known, so that no block holds it but one of all addresses; otherwise there is no such pod for blocks to hold.
    pub planned: bool,
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
        Self { namespaces, classes, policies, surroundings, planned: false }
    }

    /// The same classes and labels under other policies.
    #[must_use]
    pub fn with_policies(&self, policies: Vec<Policy>) -> Self {
        Self::among(self.surroundings.clone(), self.namespaces.clone(), self.classes.clone(), policies)
    }

    /// The same classes and labels under what other documents say, ties broken by `ties`.
    #[must_use]
    pub fn with_set(&self, set: PolicySet, ties: TieRule) -> Self {
        let surroundings = Surroundings { sets: set.sets, ties, ..self.surroundings.clone() };
        Self::among(surroundings, self.namespaces.clone(), self.classes.clone(), set.policies)
    }

    /// The labels of a namespace; one that no object declares has its name as its only label.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Cow<'_, Labels> {
        let own = || Cow::Owned(NamespaceInfo::undeclared(name).labels);
        self.namespaces.get(name).map_or_else(own, Cow::Borrowed)
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
        let name = &class.workload.namespace;
        // Most peers are of the policy's own namespace, and most pods are not: that is the cheapest question.
        if let NamespaceMatch::Named(wanted) = namespaces {
            return wanted == name && pods.matches(&class.labels);
        }
        if !pods.matches(&class.labels) {
            return false;
        }
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
            Peer::Block { cidr, except } => self.holds(*cidr, except, end),
            Peer::Nodes(selector) => end.address.is_some_and(|address| self.surroundings.is_node(selector, address)),
        }
    }
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

#[cfg(test)]
mod tests;
