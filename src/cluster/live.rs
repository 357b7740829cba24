//! The snapshot itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::Pod,
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use serde::de::DeserializeOwned;

use crate::{
    model::{
        LivePolicy, NamespaceInfo, NotReadable, NotUnderstood, PodInfo, PodRef, PolicyRef, ServiceEnd, ServiceEnds,
        ServiceInfo, Snapshot, WorkloadInfo,
    },
    verify::seams::{Cluster, Fault},
};

use super::{
    ClusterError, admin, calico,
    discovery::{self, Kinds},
    event, evidence, felix,
    list::Reader,
    others::{self, Others},
    owners::{Owner, Owners},
    pods::{self, Unowned},
    policies, things,
    workloads::{self, Templated},
};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pods asked for at one time.
pub(super) const PODS_AT_ONCE: usize = 8;
/// The group whose absence shows that discovery did not answer in the form that is understood.
const ALWAYS_SERVED: &str = "networking.k8s.io";
const POLICIES: &str = "networkpolicies.networking.k8s.io";

/// The cluster behind an API server.
pub struct LiveCluster {
    pub(super) reader: Reader,
    namespace: String,
    job: Option<String>,
    cron_job: String,
    /// ReplicaSets and Jobs that were seen: [`Cluster::pods`] needs them for every pod again.
    owners: Mutex<Owners>,
}

impl LiveCluster {
    /// The cluster of `client`; `namespace` is the own one, for Events.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            reader: Reader::new(client, PATIENCE),
            namespace: namespace.to_owned(),
            job: None,
            cron_job: "netpol-verify".to_owned(),
            owners: Mutex::default(),
        }
    }

    /// With the own Job, on which Events are written.
    #[must_use]
    pub fn with_job(mut self, job: Option<String>) -> Self {
        self.job = job;
        self
    }

    /// With the name of the own CronJob, on which Events are written when there is no Job.
    #[must_use]
    pub fn with_cron_job(mut self, name: &str) -> Self {
        name.clone_into(&mut self.cron_job);
        self
    }

    /// With another time limit for one request.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.reader.patience = patience;
        self
    }

    async fn typed<K, T>(&self, resource: &str, read: impl FnMut(K) -> Option<T>) -> Result<Vec<T>, ClusterError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.reader.client.clone());
        let api = &api;
        let fetch = |params: ListParams| async move { api.list(&params).await };
        self.reader.list(resource, &ListParams::default(), fetch, read).await
    }

    async fn workloads<K>(&self) -> (&'static str, Result<Vec<WorkloadInfo>, ClusterError>)
    where
        K: Templated + Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        (K::RESOURCE, self.typed(K::RESOURCE, workloads::read::<K>).await)
    }

    async fn owners_of<K>(&self, resource: &str) -> Result<Owners, ClusterError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.reader.client.clone());
        let api = &api;
        let fetch = |params: ListParams| async move { api.list_metadata(&params).await };
        let mut owners = Owners::default();
        let add = |object: kube::core::PartialObjectMeta<K>| {
            owners.add(&object.metadata);
            None::<()>
        };
        self.reader.list(resource, &ListParams::default(), fetch, add).await?;
        Ok(owners)
    }

    async fn policies(&self) -> Result<Vec<(LivePolicy, Option<NotUnderstood>)>, ClusterError> {
        let resource = ApiResource::erase::<NetworkPolicy>(&());
        let api: Api<DynamicObject> = Api::all_with(self.reader.client.clone(), &resource);
        let api = &api;
        let fetch = |params: ListParams| async move { api.list(&params).await };
        self.reader.list(POLICIES, &ListParams::default(), fetch, policies::read).await
    }

    /// The kinds that are served.
    async fn kinds(&self) -> Result<Kinds, ClusterError> {
        let request = self.reader.client.list_api_groups_aggregated();
        let answer = self.reader.ask("get", "/apis", request).await?;
        let list = answer.map_err(|error| ClusterError::new("get", "/apis", &error))?;
        let names = list.items.iter().filter_map(|group| group.metadata.as_ref()?.name.as_deref());
        if !names.into_iter().any(|name| name == ALWAYS_SERVED) {
            return Err(ClusterError::Api {
                verb: "get",
                resource: "/apis".to_owned(),
                reason: "the API server does not serve aggregated discovery (Kubernetes 1.30 and newer do)".to_owned(),
            });
        }
        Ok(discovery::kinds(list))
    }

    /// Policies of other kinds, and what Calico is configured to do with denied packets.
    async fn beside(&self) -> Beside {
        let kinds = match self.kinds().await {
            Ok(kinds) => kinds,
            Err(error) => {
                let (resource, reason, passing) = ("/apis".to_owned(), error.to_string(), error.is_passing());
                let missing = NotReadable { resource, reason, policies: true, passing };
                let others = Others { not_readable: vec![missing], ..Others::default() };
                return Beside { others, ..Beside::default() };
            }
        };
        let (mut others, admin, calico, action) = tokio::join!(
            others::read(&self.reader, kinds.policies),
            admin::read(&self.reader, &kinds.admin),
            calico::read(&self.reader, &kinds.calico),
            felix::deny_action(&self.reader, &kinds.felix)
        );
        others.not_readable.extend(kinds.silent);
        let deny_action = action.unwrap_or_else(|error| {
            let resource = kinds.felix.first().map(discovery::Served::resource).unwrap_or_default();
            let (reason, passing) = (error.to_string(), error.is_passing());
            others.not_readable.push(NotReadable { resource, reason, policies: false, passing });
            None
        });
        Beside { others, admin, calico, deny_action }
    }

    fn remember(&self, owners: Owners) -> Owners {
        let mut known = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(owners);
        known.clone()
    }

    /// Looks up the ReplicaSets and Jobs of these pods that are not known yet.
    async fn learn(&self, pods: &[Unowned]) -> Result<Owners, ClusterError> {
        let known = self.remember(Owners::default());
        let owners = pods.iter().filter_map(|pod| Some((pod.pod.id.namespace.clone(), pod.owner.clone()?)));
        let unknown: BTreeSet<(String, Owner)> =
            owners.filter(|(namespace, owner)| owner.is_intermediate() && !known.knows(namespace, owner)).collect();
        let gets = stream::iter(unknown).map(|(namespace, owner)| async move { self.owner(&namespace, &owner).await });
        let found: Vec<Owners> = gets.buffered(PODS_AT_ONCE).try_collect().await?;
        let mut learnt = Owners::default();
        for owners in found {
            learnt.extend(owners);
        }
        Ok(self.remember(learnt))
    }

    async fn owner(&self, namespace: &str, owner: &Owner) -> Result<Owners, ClusterError> {
        match owner.kind.as_str() {
            "Job" => self.owner_as::<Job>("jobs.batch", namespace, owner).await,
            _ => self.owner_as::<ReplicaSet>("replicasets.apps", namespace, owner).await,
        }
    }

    async fn owner_as<K>(&self, resource: &str, namespace: &str, owner: &Owner) -> Result<Owners, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.reader.client.clone(), namespace);
        let answer = self.reader.ask("get", resource, api.get_metadata_opt(&owner.name)).await?;
        let mut owners = Owners::default();
        if let Some(object) = answer.map_err(|error| ClusterError::new("get", resource, &error))? {
            owners.add(&object.metadata);
        }
        Ok(owners)
    }
}

/// A list that a verdict can do without, named when it is missing.
fn optional<T>(not_readable: &mut Vec<NotReadable>, resource: &str, list: Result<Vec<T>, ClusterError>) -> Vec<T> {
    list.unwrap_or_else(|error| {
        tracing::warn!(resource, reason = %error, "list could not be read");
        let (resource, reason, passing) = (resource.to_owned(), error.to_string(), error.is_passing());
        not_readable.push(NotReadable { resource, reason, policies: false, passing });
        Vec::new()
    })
}

/// What there is besides NetworkPolicy v1.
#[derive(Default)]
struct Beside {
    others: Others,
    admin: admin::Found,
    calico: calico::Found,
    deny_action: Option<String>,
}

/// What no verdict can do without: namespaces, policies, pods, and what owns pods.
type Core = (Vec<(String, NamespaceInfo)>, Vec<(LivePolicy, Option<NotUnderstood>)>, Vec<Unowned>, Owners, Owners);

impl LiveCluster {
    async fn core(&self) -> Result<Core, ClusterError> {
        tokio::try_join!(
            self.typed("namespaces", things::namespace),
            self.policies(),
            self.typed::<Pod, _>("pods", pods::read),
            self.owners_of::<ReplicaSet>("replicasets.apps"),
            self.owners_of::<Job>("jobs.batch"),
        )
    }

    async fn all_workloads(&self) -> [(&'static str, Result<Vec<WorkloadInfo>, ClusterError>); 4] {
        tokio::join!(
            self.workloads::<Deployment>(),
            self.workloads::<StatefulSet>(),
            self.workloads::<DaemonSet>(),
            self.workloads::<CronJob>(),
        )
        .into()
    }

    async fn look(&self) -> Result<Snapshot, ClusterError> {
        let (core, workloads, services, slices, nodes, Beside { others, admin, calico, deny_action }) = tokio::join!(
            self.core(),
            self.all_workloads(),
            self.typed("services", things::service),
            self.typed("endpointslices.discovery.k8s.io", things::slice),
            self.typed("nodes", things::node),
            self.beside()
        );
        let (namespaces, policies, pods, mut owners, jobs) = core?;
        owners.extend(jobs);
        let owners = self.remember(owners);
        let unread = others.not_readable.into_iter().chain(admin.not_readable).chain(calico.not_readable);
        let mut not_readable: Vec<_> = unread.collect();
        let lists = workloads.into_iter();
        let workloads = lists.flat_map(|(resource, list)| optional(&mut not_readable, resource, list)).collect();
        let nodes = optional(&mut not_readable, "nodes", nodes).into_iter();
        let (nodes, node_labels) = nodes.map(|(name, ips, labels)| ((name.clone(), ips), (name, labels))).unzip();
        let slices = optional(&mut not_readable, "endpointslices.discovery.k8s.io", slices);
        let services = with_ends(optional(&mut not_readable, "services", services), slices);
        let (policies, unknown): (Vec<_>, Vec<_>) = policies.into_iter().unzip();
        let unknown = unknown.into_iter().flatten().chain(admin.not_understood).chain(calico.not_understood);
        let snapshot = Snapshot {
            namespaces: namespaces.into_iter().collect(),
            pods: pods.into_iter().map(|pod| pod.owned(&owners)).collect(),
            workloads,
            services,
            nodes,
            node_labels,
            policies: policies.into_iter().chain(admin.policies).chain(calico.policies).collect(),
            calico: calico.calico,
            not_understood: others.not_understood.into_iter().chain(unknown).collect(),
            not_readable,
            deny_action,
            service_accounts: calico.accounts,
        };
        Ok(sorted(snapshot))
    }
}

/// Services without a selector with the endpoints that somebody else gives them.
fn with_ends(mut services: Vec<ServiceInfo>, slices: Vec<((String, String), Vec<ServiceEnd>)>) -> Vec<ServiceInfo> {
    let mut ends = ServiceEnds::new();
    for (service, of_slice) in slices {
        ends.entry(service).or_default().extend(of_slice);
    }
    for service in &mut services {
        service.with_ends(&mut ends);
    }
    services
}

/// In an order that does not depend on the API server's.
fn sorted(mut snapshot: Snapshot) -> Snapshot {
    snapshot.pods.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot.workloads.sort_by(|a, b| a.id.cmp(&b.id));
    snapshot.services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    snapshot.policies.sort_by(|a, b| a.document.id.cmp(&b.document.id));
    snapshot.not_understood.sort();
    snapshot.not_readable.sort();
    snapshot.not_readable.dedup_by(|later, first| later.resource == first.resource);
    snapshot
}

impl Cluster for LiveCluster {
    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        let snapshot = Box::pin(self.look()).await?;
        tracing::info!(
            namespaces = snapshot.namespaces.len(),
            pods = snapshot.pods.len(),
            workloads = snapshot.workloads.len(),
            policies = snapshot.policies.len(),
            not_understood = snapshot.not_understood.len(),
            not_readable = snapshot.not_readable.len(),
            "snapshot was taken"
        );
        Ok(snapshot)
    }

    async fn pods(&self, ids: &[PodRef]) -> Result<BTreeMap<PodRef, PodInfo>, Fault> {
        let found = self.again(ids).await?;
        let owners = self.learn(&found).await?;
        Ok(found.into_iter().map(|pod| pod.owned(&owners)).map(|pod| (pod.id.clone(), pod)).collect())
    }

    async fn policy_versions(&self) -> Result<BTreeMap<PolicyRef, String>, Fault> {
        let api: Api<NetworkPolicy> = Api::all(self.reader.client.clone());
        let api = &api;
        let fetch = |params: ListParams| async move { api.list_metadata(&params).await };
        let read = |object: kube::core::PartialObjectMeta<NetworkPolicy>| {
            let id = PolicyRef::network_policy(&object.metadata.namespace?, &object.metadata.name?);
            Some((id, object.metadata.resource_version.unwrap_or_default()))
        };
        // What cannot be read now and was read before has no version: that, too, is a change.
        let others = async {
            let kinds = self.kinds().await.unwrap_or_default();
            tokio::join!(admin::read(&self.reader, &kinds.admin), calico::versions(&self.reader, &kinds.calico))
        };
        let params = ListParams::default();
        let (versions, (admin, calico)) = tokio::join!(self.reader.list(POLICIES, &params, fetch, read), others);
        let others = admin.policies.into_iter().chain(calico);
        let others = others.map(|object| (object.document.id, object.resource_version));
        Ok(versions?.into_iter().chain(others).collect())
    }

    async fn log(&self, pod: &PodRef, container: &str, since: &str) -> Result<String, Fault> {
        Ok(evidence::log(&self.reader, pod, container, since).await?)
    }

    async fn event(&self, reason: &str, message: &str, warning: bool) -> Result<(), Fault> {
        let job = self.job.as_deref();
        let written =
            event::write(&self.reader.client, &self.namespace, job, &self.cron_job, (reason, message, warning));
        let silent = |_| ClusterError::Silent {
            verb: "create",
            resource: "events.events.k8s.io".to_owned(),
            seconds: self.reader.patience.as_secs(),
        };
        tokio::time::timeout(self.reader.patience, written).await.map_err(silent)??;
        Ok(())
    }
}
