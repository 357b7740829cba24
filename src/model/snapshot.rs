//! What the cluster holds at one moment.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Labels, NAME_LABEL, ObjectRef, PodRef, PolicyDocument, PolicyRef, Protocol, TieRule, Workload};

/// A pod's phase, as far as policies and probes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not running yet.
    Pending,
    /// Running.
    Running,
    /// Succeeded or Failed: it has lost its address and no policy applies to it.
    Finished,
    /// Unknown to the API server.
    Unknown,
}

/// A declared container port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerPort {
    /// Its name, by which rules may refer to it.
    pub name: Option<String>,
    /// The number.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Whether an init container declares it (it resolves names, but usually nothing listens there).
    pub init: bool,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The name.
    pub name: String,
    /// The image reference.
    pub image: String,
    /// Whether it runs now.
    pub running: bool,
}

/// Whether a container of this name is a service mesh's proxy, which accepts every connection for its pod: nothing can be
/// told from inside or outside.
#[must_use]
pub fn is_mesh_proxy(container: &str) -> bool {
    ["istio-proxy", "linkerd-proxy"].contains(&container)
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInfo {
    /// Its name.
    pub id: PodRef,
    /// Its UID: a pod of the same name may be another one.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its addresses, the primary one first; empty before it has one.
    pub ips: Vec<IpAddr>,
    /// Its phase.
    pub phase: Phase,
    /// Whether its Ready condition is true.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it uses the node's network: the specification leaves policy for it undefined.
    pub host_network: bool,
    /// Its node.
    pub node: Option<String>,
    /// Its ServiceAccount.
    pub service_account: String,
    /// The top-most known owner.
    pub workload: Workload,
    /// Ports of containers and init containers.
    pub ports: Vec<ContainerPort>,
    /// Containers, without init containers.
    pub containers: Vec<Container>,
}

impl PodInfo {
    /// Ready, running and not terminating: fit to be probed from or to.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.ready && !self.terminating && self.phase == Phase::Running && !self.ips.is_empty()
    }
}

/// A workload: what stands in its template, and how many pods it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadInfo {
    /// Its name.
    pub id: Workload,
    /// Wanted pods; `None` where the kind has no such number (Jobs between runs, DaemonSets).
    pub replicas: Option<i32>,
    /// Labels of the template.
    pub labels: Labels,
    /// Ports of the template.
    pub ports: Vec<ContainerPort>,
    /// Whether the template uses the node's network.
    pub host_network: bool,
    /// The template's ServiceAccount.
    pub service_account: String,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceInfo {
    /// Its labels, `kubernetes.io/metadata.name` included.
    pub labels: Labels,
    /// Whether it is being deleted.
    pub terminating: bool,
}

impl NamespaceInfo {
    /// One that no object declares: it has the label of its name alone.
    #[must_use]
    pub fn undeclared(name: &str) -> Self {
        Self { labels: Labels::from([(NAME_LABEL.to_owned(), name.to_owned())]), terminating: false }
    }
}

/// A Service, as far as it names ports of pods and answers DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Its selector; `None` for a Service without one.
    pub selector: Option<Labels>,
    /// Its cluster addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether its name stands for the addresses of its pods (`clusterIP: None`), whose ports are then asked for as they
    /// are.
    pub headless: bool,
    /// Port, protocol and the target port's number or name.
    pub ports: Vec<(u16, Protocol, String)>,
    /// The names of `ports`, in their order; empty for a port without one.
    pub port_names: Vec<String>,
    /// The endpoints that its EndpointSlices have, for a Service without a selector: nobody else knows them. Empty where
    /// there are none, or none are known.
    pub ends: Vec<ServiceEnd>,
}

/// An endpoint of a Service, as an EndpointSlice has it; ready or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceEnd {
    /// Its address.
    pub address: IpAddr,
    /// The name of the Service's port that is there.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The port, whatever number the Service gives it; `None` for an address without one.
    pub port: Option<u16>,
}

/// Endpoints by the namespace and name of their Service.
pub type ServiceEnds = BTreeMap<(String, String), Vec<ServiceEnd>>;

impl ServiceInfo {
    /// Takes what `ends` has for it, if it has no selector: the pods that one selects are known better than through
    /// slices, which follow them.
    pub fn with_ends(&mut self, ends: &mut ServiceEnds) {
        if self.selector.is_none()
            && let Some(mut own) = ends.remove(&(self.namespace.clone(), self.name.clone()))
        {
            own.sort();
            own.dedup();
            self.ends = own;
        }
    }
}

/// Who last wrote fields of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Manager {
    /// The field manager, such as `kubectl-edit`.
    pub name: String,
    /// When, RFC 3339.
    pub time: Option<String>,
    /// JSON pointers of the fields below `spec` that it owns, at the first level (`/spec/egress`).
    pub fields: Vec<String>,
}

/// A live policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePolicy {
    /// The object, with empty origins.
    pub document: PolicyDocument,
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion, to see that it did not change during a run.
    pub resource_version: String,
    /// Field managers, newest first.
    pub managers: Vec<Manager>,
    /// Owner references.
    pub owners: Vec<ObjectRef>,
    /// When it was created, RFC 3339.
    pub created: Option<String>,
}

/// A policy that this program cannot evaluate: of a kind without a reader, or with content that no reader takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotUnderstood {
    /// `group/Kind`.
    pub kind: String,
    /// One of its objects.
    pub policy: PolicyRef,
    /// The namespace whose pods it may touch; `None`: any.
    pub namespace: Option<String>,
    /// What its content has that is not understood; `None` where the whole kind is not.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A kind that could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotReadable {
    /// `resource.group`.
    pub resource: String,
    /// The API server's reason, and the right to add where it is forbidden.
    pub reason: String,
    /// Whether it is a policy kind, so that no verdict may be called verified.
    pub policies: bool,
    /// Whether it may be read the next time: everything but a missing right or an API that is left behind broken.
    #[serde(default)]
    pub passing: bool,
}

/// What Calico keeps beside its policies; empty where the cluster serves none of it.
///
/// They are objects with owners and managers like policies: network sets and tiers decide flows too, and may differ
/// from Git.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calico {
    /// NetworkSets and GlobalNetworkSets.
    pub sets: Vec<LivePolicy>,
    /// Tiers, those that Calico makes itself included.
    pub tiers: Vec<LivePolicy>,
    /// Staged policies: never enforced.
    pub staged: Vec<LivePolicy>,
    /// The version of Calico, as its ClusterInformation has it (`v3.28.5`).
    pub version: Option<String>,
}

impl Calico {
    /// How policies of the same order are sorted: by the version that runs, else by the newest rule.
    #[must_use]
    pub fn ties(&self) -> TieRule {
        self.version.as_deref().map(TieRule::of_version).unwrap_or_default()
    }
}

/// One consistent look at the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, NamespaceInfo>,
    /// All pods, sorted by name.
    pub pods: Vec<PodInfo>,
    /// Workloads with templates, sorted.
    pub workloads: Vec<WorkloadInfo>,
    /// Services.
    pub services: Vec<ServiceInfo>,
    /// Labels of ServiceAccounts by namespace and name; empty where nothing asks for them.
    pub service_accounts: BTreeMap<(String, String), Labels>,
    /// Nodes: name and addresses.
    pub nodes: BTreeMap<String, Vec<IpAddr>>,
    /// Labels of nodes by name.
    pub node_labels: BTreeMap<String, Labels>,
    /// Policies of kinds that have a reader; one whose content no reader takes also stands in `not_understood`.
    pub policies: Vec<LivePolicy>,
    /// What Calico keeps beside them.
    pub calico: Calico,
    /// Policies that are not.
    pub not_understood: Vec<NotUnderstood>,
    /// Kinds that could not be read.
    pub not_readable: Vec<NotReadable>,
    /// The dataplane's configured action for denied packets (`Drop`, `Reject`), where it says so.
    pub deny_action: Option<String>,
}

impl Snapshot {
    /// Every object that decides about packets: policies, then Calico's tiers and network sets.
    pub fn deciding(&self) -> impl Iterator<Item = &LivePolicy> {
        self.policies.iter().chain(&self.calico.tiers).chain(&self.calico.sets)
    }

    /// These, then the staged policies, which decide nothing.
    pub fn objects(&self) -> impl Iterator<Item = &LivePolicy> {
        self.deciding().chain(&self.calico.staged)
    }

    /// The documents of all of them.
    pub fn documents(&self) -> impl Iterator<Item = &PolicyDocument> {
        self.objects().map(|object| &object.document)
    }
}
