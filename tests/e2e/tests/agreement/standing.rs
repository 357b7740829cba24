//! Random namespaces and pods, standing in the real cluster.

use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Context, Result, bail};
use e2e::{Cluster, eventually, objects, poll::seconds};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Container, Namespace, Pod},
        networking::v1::NetworkPolicy,
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, PostParams},
};
use oracle::random::Shape;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{OUTSIDE, names::Names};

/// Namespaces and pods as the API server has them, under names of this run.
pub struct Standing {
    /// Where they stand.
    pub cluster: Cluster,
    /// The namespaces.
    pub namespaces: Vec<Namespace>,
    /// The pods.
    pub pods: Vec<Pod>,
    names: Names,
}

impl Standing {
    /// Creates drawn namespaces and pods and what is to be there before the pods, and waits until each pod is Ready and
    /// has an address.
    pub async fn create(cluster: &Cluster, drawn: &oracle::Cluster, before: &[Value]) -> Result<Self> {
        let mut standing =
            Self { cluster: cluster.clone(), names: Names::of_this_run(), namespaces: Vec::new(), pods: Vec::new() };
        let drawn_namespaces: Vec<Namespace> = standing.real(&drawn.namespaces)?;
        let client = &cluster.client;
        for namespace in &drawn_namespaces {
            standing.namespaces.push(Api::all(client.clone()).create(&PostParams::default(), namespace).await?);
        }
        for object in standing.real(before)? {
            objects::create(client, &object).await?;
        }
        let mut pods: Vec<Pod> = standing.real(&drawn.pods)?;
        for pod in &mut pods {
            for_this_cluster(pod);
            let api = Api::namespaced(client.clone(), namespace_of(pod)?);
            eventually("a pod can be created", seconds(20), async || create_if_possible(&api, pod).await).await?;
        }
        standing.pods = eventually("all pods are Ready", seconds(60), async || standing.ready(&pods).await).await?;
        Ok(standing)
    }

    /// Deletes it all, without waiting for the end.
    pub async fn remove(&self) -> Result<()> {
        for namespace in &self.namespaces {
            let api: Api<Namespace> = Api::all(self.cluster.client.clone());
            api.delete(name_of(namespace)?, &DeleteParams::background()).await?;
        }
        Ok(())
    }

    /// The namespaces and pods under the names that they were drawn with.
    pub fn plain(&self) -> Result<oracle::Cluster> {
        Ok(oracle::Cluster {
            namespaces: self.names.drawn(&self.namespaces)?,
            pods: self.names.drawn(&self.pods)?,
            policies: Vec::new(),
        })
    }

    /// Drawn objects under their names in the cluster.
    pub fn real<T: Serialize + DeserializeOwned>(&self, drawn: &[T]) -> Result<Vec<T>> {
        self.names.real(drawn)
    }

    /// Puts these policies in the place of those before, and gives it all as the API server has it.
    pub async fn with_policies(&self, policies: &[NetworkPolicy]) -> Result<oracle::Cluster> {
        let client = &self.cluster.client;
        for namespace in &self.namespaces {
            let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), name_of(namespace)?);
            api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        }
        for policy in policies {
            let api = Api::namespaced(client.clone(), namespace_of(policy)?);
            let created = api.create(&PostParams::default(), policy).await;
            created.with_context(|| format!("the API server refuses {}", json!(policy)))?;
        }
        Ok(oracle::Cluster {
            namespaces: self.namespaces.clone(),
            pods: self.pods.clone(),
            policies: self.list().await?,
        })
    }

    /// What oracle-packets needs to know to listen in each pod and each outside host, and to ask from there.
    pub async fn places(&self, shape: &Shape) -> Result<Vec<Value>> {
        let tasks = self.cluster.inside_each(&["ctr", "--namespace", "k8s.io", "tasks", "ls"]).await?;
        let tasks = tasks.into_iter().collect::<Result<String>>()?;
        let columns = |line: &str| {
            let mut words = line.split_whitespace().map(ToOwned::to_owned);
            Some((words.next()?, words.next()?))
        };
        let processes: BTreeMap<String, String> = tasks.lines().filter_map(columns).collect();
        let place = |address: &str, netns: String| json!({"name": address, "netns": netns, "addresses": [address], "tcp": shape.ports, "udp": shape.ports});
        let mut places = Vec::new();
        for pod in &self.pods {
            let status = pod.status.as_ref().context("a pod has a status")?;
            let container = status.container_statuses.iter().flatten().find_map(|one| one.container_id.as_deref());
            let container =
                container.and_then(|id| id.strip_prefix("containerd://")).context("a pod has containers")?;
            let process = processes.get(container).with_context(|| format!("no task {container} in {tasks}"))?;
            places.push(place(address_of(pod)?, format!("/proc/{process}/ns/net")));
        }
        for (host, address) in OUTSIDE {
            places.push(place(&std::net::Ipv4Addr::from(address).to_string(), format!("/run/netns/{host}")));
        }
        Ok(places)
    }

    async fn ready(&self, pods: &[Pod]) -> Result<Option<Vec<Pod>>> {
        let mut found: Vec<Pod> = self.list().await?;
        found.retain(|pod| is_ready(pod) && address_of(pod).is_ok());
        Ok((found.len() == pods.len()).then_some(found))
    }

    async fn list<T>(&self) -> Result<Vec<T>>
    where
        T: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let mut all = Vec::new();
        for namespace in &self.namespaces {
            all.extend(list_in(&self.cluster.client, name_of(namespace)?).await?);
        }
        Ok(all)
    }
}

async fn list_in<T>(client: &Client, namespace: &str) -> Result<Vec<T>>
where
    T: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let found = Api::<T>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    Ok(found.items)
}

/// A namespace has no ServiceAccount in its first moments, and refuses pods.
async fn create_if_possible(api: &Api<Pod>, pod: &Pod) -> Result<Option<()>> {
    match api.create(&PostParams::default(), pod).await {
        Ok(_) => Ok(Some(())),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => bail!(error),
    }
}

fn for_this_cluster(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.automount_service_account_token = Some(false);
    spec.termination_grace_period_seconds = Some(0);
    let pull = |container: &mut Container| container.image_pull_policy = Some("Never".to_owned());
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(pull);
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The name of a namespace.
pub fn name_of(namespace: &Namespace) -> Result<&str> {
    namespace.metadata.name.as_deref().context("a namespace has a name")
}

fn namespace_of<T: Resource>(object: &T) -> Result<&str> {
    object.meta().namespace.as_deref().context("it has a namespace")
}

fn address_of(pod: &Pod) -> Result<&str> {
    pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).context("the pod has no address")
}
