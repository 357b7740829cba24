//! What Calico's selectors and rules look at besides pods and namespaces, and the labels that endpoints inherit.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::world::{Class, End, World};
use crate::model::{
    ACCOUNT_LABEL, CalicoSelector, ContainerPort, LabelSource, Labels, NAME_LABEL, NAMESPACE_LABEL, NetworkSet, Peer,
    Phase, PodInfo, Policy, Protocol, Rule, Selector, ServiceEnd, ServiceInfo, ServiceName, Snapshot, TieRule,
};

/// The prefix under which an endpoint has the labels of its namespace (semantics: "Injected labels").
pub(super) const OF_NAMESPACE: &str = "pcns.";
/// The prefix under which a pod has the labels of its ServiceAccount.
pub(super) const OF_ACCOUNT: &str = "pcsa.";
/// What a namespace's or ServiceAccount's own name is called among those labels.
pub(super) const OWN_NAME: &str = "projectcalico.org/name";
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";
/// The length of the longest ServiceAccount's name whose labels its pods inherit. The name is one of them: Felix drops
/// all of them when it is too long for a label (`Validation failed; treating as missing`).
const ACCOUNT_LIMIT: usize = 63;

/// The port of an endpoint that is there as an address alone; no packet goes to it.
pub(super) const NO_PORT: u16 = 0;

/// The endpoints of a Service, as a rule's `services` matches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEnds {
    /// Addresses with ports, whether ready or not, and each address once with port 0, for none. The cluster address is
    /// none of them.
    Known(BTreeSet<(IpAddr, Protocol, u16)>),
    /// A Service without a selector whose endpoints, which somebody else writes, are not known.
    Unknown,
}

/// What Calico looks at besides pods and namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Network sets.
    pub sets: Vec<NetworkSet>,
    /// Labels of ServiceAccounts by namespace and name.
    pub accounts: BTreeMap<(String, String), Labels>,
    /// Services.
    pub services: BTreeMap<ServiceName, ServiceEnds>,
    /// Labels and addresses of nodes.
    pub nodes: Vec<(Labels, Vec<IpAddr>)>,
    /// How ties are broken.
    pub ties: TieRule,
    /// Keys by which Services select: they split a workload as those of policies do.
    pub service_keys: BTreeSet<String>,
}

impl Surroundings {
    /// Those of a cluster.
    #[must_use]
    pub fn of(snapshot: &Snapshot, sets: Vec<NetworkSet>, ties: TieRule) -> Self {
        let name = |s: &ServiceInfo| ServiceName { namespace: s.namespace.clone(), name: s.name.clone() };
        let selectors = snapshot.services.iter().filter_map(|service| service.selector.as_ref());
        Self {
            sets,
            accounts: snapshot.service_accounts.clone(),
            services: snapshot.services.iter().map(|s| (name(s), service_ends(snapshot, s))).collect(),
            nodes: snapshot.nodes.iter().map(|(name, ips)| (node_labels(snapshot, name), ips.clone())).collect(),
            ties,
            service_keys: selectors.flat_map(|labels| labels.keys().cloned()).collect(),
        }
    }
}

impl Surroundings {
    /// Whether a node with such labels has the address: "it selects the nodeIPs as the peer type by matching on the IPs
    /// present in the node.Status.Addresses field" (AdminNetworkPolicyEgressPeer.nodes).
    pub(super) fn is_node(&self, selector: &Selector, address: IpAddr) -> bool {
        self.nodes.iter().any(|(labels, ips)| ips.contains(&address) && selector.matches(labels))
    }

    /// The addresses of nodes, where one of `policies` looks at nodes.
    pub(super) fn node_blocks<'s>(&'s self, policies: &[&Policy]) -> impl Iterator<Item = IpNet> + use<'s> {
        let names_nodes = |rule: &Rule| rule.peers.iter().flatten().any(|peer| matches!(peer, Peer::Nodes(_)));
        let are_asked = policies.iter().any(|policy| policy.all_rules().any(names_nodes));
        let nodes = if are_asked { self.nodes.as_slice() } else { &[] };
        nodes.iter().flat_map(|(_, ips)| ips.iter().copied().map(IpNet::from))
    }
}

/// A node that is known by its addresses alone has no labels.
fn node_labels(snapshot: &Snapshot, name: &str) -> Labels {
    snapshot.node_labels.get(name).cloned().unwrap_or_default()
}

fn service_ends(snapshot: &Snapshot, service: &ServiceInfo) -> ServiceEnds {
    let Some(selector) = service.selector.as_ref().filter(|labels| !labels.is_empty()) else {
        let end = |end: &ServiceEnd| (end.address, end.protocol, end.port.unwrap_or(NO_PORT));
        return match service.ends.as_slice() {
            [] => ServiceEnds::Unknown,
            ends => ServiceEnds::Known(ends.iter().map(end).collect()),
        };
    };
    let selected = |pod: &&PodInfo| {
        pod.id.namespace == service.namespace
            && pod.phase != Phase::Finished
            && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    };
    let mut ends = BTreeSet::new();
    for pod in snapshot.pods.iter().filter(selected) {
        // Also a pod that has none of the ports: EndpointSlices hold it without one.
        ends.extend(pod.ips.iter().map(|ip| (*ip, Protocol::Tcp, NO_PORT)));
        for (_, protocol, target) in &service.ports {
            for number in target_ports(pod, *protocol, target) {
                ends.extend(pod.ips.iter().map(|ip| (*ip, *protocol, number)));
            }
        }
    }
    ServiceEnds::Known(ends)
}

/// The numbers that a Service's target port has at a pod.
pub(super) fn target_ports(pod: &PodInfo, protocol: Protocol, target: &str) -> Vec<u16> {
    if let Ok(number) = target.parse() {
        return vec![number];
    }
    let named = |p: &&ContainerPort| !p.init && p.protocol == protocol && p.name.as_deref() == Some(target);
    pod.ports.iter().filter(named).map(|p| p.number).collect()
}

/// The labels of an endpoint or network set with those that it inherits.
struct Inherited<'w> {
    own: &'w Labels,
    namespace: Option<(&'w str, Option<&'w Labels>)>,
    account: Option<&'w str>,
    accounts: &'w BTreeMap<(String, String), Labels>,
}

impl LabelSource for Inherited<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        let own = || self.own.get(key).map(String::as_str);
        match key {
            NAMESPACE_LABEL => self.namespace.map(|(name, _)| name),
            ORCHESTRATOR_LABEL if self.account.is_some() => Some("k8s"),
            // Also a name that is too long for a label: this one Felix adds itself (projectcalico/calico#4529).
            ACCOUNT_LABEL => self.account.or_else(own),
            _ => own().or_else(|| self.inherited(key)),
        }
    }
}

impl Inherited<'_> {
    fn inherited(&self, key: &str) -> Option<&str> {
        if let Some(key) = key.strip_prefix(OF_NAMESPACE) {
            let (name, labels) = self.namespace?;
            return match (key, labels.and_then(|labels| labels.get(key))) {
                (OWN_NAME, _) | (NAME_LABEL, None) => Some(name),
                (_, label) => label.map(String::as_str),
            };
        }
        let key = key.strip_prefix(OF_ACCOUNT)?;
        let name = self.account.filter(|name| name.len() <= ACCOUNT_LIMIT)?;
        if key == OWN_NAME {
            return Some(name);
        }
        let account = (self.namespace?.0.to_owned(), name.to_owned());
        self.accounts.get(&account)?.get(key).map(String::as_str)
    }
}

/// Whether a Calico selector matches the pods of a namespace, whatever their own labels and ServiceAccounts; `None`
/// where these decide.
pub(super) fn matches_pods_of(selector: &CalicoSelector, namespace: &str, labels: Option<&Labels>) -> Option<bool> {
    let (own, accounts) = (Labels::new(), BTreeMap::new());
    let inherited = Inherited { own: &own, namespace: Some((namespace, labels)), account: None, accounts: &accounts };
    selector.matches_by(&inherited, |key| key == NAMESPACE_LABEL || key.starts_with(OF_NAMESPACE))
}

impl World {
    /// Whether a Calico selector matches the pods of a class, whatever network they use.
    #[must_use]
    pub fn calico_matches(&self, selector: &CalicoSelector, class: &Class) -> bool {
        let namespace = &class.workload.namespace;
        selector.matches(&Inherited {
            own: &class.labels,
            namespace: Some((namespace, self.namespaces.get(namespace))),
            account: Some(&class.service_account),
            accounts: &self.surroundings.accounts,
        })
    }

    /// Whether an endpoint or network set that has the address of `end` matches. A pod with hostNetwork is no endpoint.
    pub(super) fn any_at(&self, selector: &CalicoSelector, end: &End<'_>) -> bool {
        let endpoint = end.class.filter(|class| !class.host_network);
        endpoint.is_some_and(|class| self.calico_matches(selector, class))
            || self.sets_at(end).any(|set| self.set_matches(selector, set))
    }

    fn sets_at(&self, end: &End<'_>) -> impl Iterator<Item = &NetworkSet> {
        let has = move |set: &&NetworkSet| set.nets.iter().any(|net| self.holds(*net, &[], end));
        self.surroundings.sets.iter().filter(has)
    }

    /// A set of a namespace inherits the namespace's labels, as its pods do.
    pub(super) fn set_matches(&self, selector: &CalicoSelector, set: &NetworkSet) -> bool {
        let namespace = set.id.namespace.as_deref();
        selector.matches(&Inherited {
            own: &set.labels,
            namespace: namespace.map(|name| (name, self.namespaces.get(name))),
            account: None,
            accounts: &self.surroundings.accounts,
        })
    }
}
