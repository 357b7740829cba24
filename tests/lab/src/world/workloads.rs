//! Workloads with their pods, as the controllers and the kubelet would have them.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Lab, NODE,
    names::{NODE_ADDRESS, Names},
};
use crate::{
    api::{object::text, store::now},
    flux::artifact::sha256,
    net::{PodSpec, Protocol, Shell, Tools, resolv_conf},
};

/// Whether a kind has pods of its own.
pub(crate) fn is_workload(kind: &str) -> bool {
    ["Deployment", "StatefulSet"].contains(&kind)
}

/// The node.
pub(super) fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": name}]},
    })
}

/// The cluster's name server.
pub(super) fn dns() -> Value {
    let ports = json!([
        {"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
    ]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "kube-system", "name": "coredns"},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "template": {
                "metadata": {"labels": {"k8s-app": "kube-dns"}},
                "spec": {"containers": [{"name": "coredns", "image": "coredns", "ports": ports}]},
            },
        },
    })
}

impl Lab {
    /// Starts the pods of a workload that stands in the API server.
    pub(crate) async fn add_workload(&self, workload: &Value) -> Result<()> {
        let kind = self.api.kind_of(workload).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let (namespace, name) = (text(workload, "/metadata/namespace"), text(workload, "/metadata/name"));
        let stored = self.api.get(&kind.resource(), namespace, name).context("the workload is not there")?;
        let replicas = stored.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        let mut owner = reference(&stored);
        let mut prefix = name.to_owned();
        if kind.kind == "Deployment" {
            let hash = random_looking(&format!("{namespace}/{name}"), 9);
            prefix = format!("{name}-{hash}");
            let set = self.put(&json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"namespace": namespace, "name": prefix, "ownerReferences": [owner]},
                "spec": {"replicas": replicas, "selector": stored.pointer("/spec/selector"), "template": stored.pointer("/spec/template")},
            }))?;
            owner = reference(&set);
        }
        let template = stored.pointer("/spec/template").context("no template")?;
        for number in 0..replicas {
            self.add_pod(namespace, template, &pod_name(&kind.kind, &prefix, number), Some(&owner)).await?;
        }
        Ok(())
    }

    /// Starts a pod that belongs to no workload.
    pub(crate) async fn add_bare_pod(&self, pod: &Value) -> Result<()> {
        self.add_pod(text(pod, "/metadata/namespace"), pod, text(pod, "/metadata/name"), None).await
    }

    /// One pod: its network first, then the object, which has the addresses. A template is as good as a pod.
    async fn add_pod(&self, namespace: &str, template: &Value, name: &str, owner: Option<&Value>) -> Result<()> {
        let dns = name.starts_with("coredns");
        let server: IpAddr = Names::server(&self.api);
        let spec = PodSpec {
            name: format!("{namespace}/{name}"),
            ports: if dns { Vec::new() } else { listens(template)? },
            dns,
            tools: tools(text(template, "/spec/containers/0/image")),
            resolv_conf: resolv_conf(server, namespace),
            ..PodSpec::default()
        };
        let pod = self.net.add_pod(&spec).await?;
        let ips: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        let containers = template.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        let running = containers.map(|container| {
            json!({"name": container.get("name"), "image": container.get("image"), "imageID": "", "ready": true,
                "restartCount": 0, "started": true, "state": {"running": {"startedAt": now()}}})
        });
        let mut spec = template.get("spec").cloned().unwrap_or_default();
        e2e::flux::merge(&mut spec, &json!({ "nodeName": NODE }));
        self.put(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "namespace": namespace, "name": name, "labels": template.pointer("/metadata/labels"),
                "annotations": template.pointer("/metadata/annotations"), "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
            },
            "spec": spec,
            "status": {
                "phase": "Running", "podIP": ips.first(), "hostIP": NODE_ADDRESS, "hostIPs": [{"ip": NODE_ADDRESS}],
                "podIPs": ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>(),
                "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": running.collect::<Vec<_>>(),
            },
        }))?;
        Ok(())
    }

    /// Deletes a pod at once; a Deployment has another one in its place before its address is free again.
    ///
    /// # Errors
    /// There is none.
    pub async fn replace_pod(&self, namespace: &str, name: &str) -> Result<()> {
        let pod = self.api.get("pods", namespace, name).with_context(|| format!("no pod {namespace}/{name}"))?;
        self.delete_object(&pod)?;
        let owner = pod.pointer("/metadata/ownerReferences/0").filter(|owner| text(owner, "/kind") == "ReplicaSet");
        if let Some(owner) = owner {
            self.add_replica(namespace, text(owner, "/name")).await?;
        }
        self.net.remove_pod(&format!("{namespace}/{name}")).await?;
        self.sync().await
    }

    /// Sets a Deployment's replicas, and starts or ends pods.
    ///
    /// # Errors
    /// There is none.
    pub async fn scale(&self, namespace: &str, name: &str, replicas: usize) -> Result<()> {
        let sets = self.api.all("replicasets.apps");
        let of_it = |set: &&Value| {
            text(set, "/metadata/namespace") == namespace && text(set, "/metadata/ownerReferences/0/name") == name
        };
        let set = sets.iter().find(of_it).with_context(|| format!("no Deployment {namespace}/{name}"))?;
        let set = text(set, "/metadata/name");
        for (kind, name) in [("Deployment", name), ("ReplicaSet", set)] {
            let metadata = json!({"namespace": namespace, "name": name});
            let replicas = json!({"replicas": replicas});
            self.put(&json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": replicas}))?;
        }
        let pods = self.api.all("pods");
        let own = |pod: &&Value| text(pod, "/metadata/ownerReferences/0/name") == set;
        let running: Vec<&Value> = pods.iter().filter(own).collect();
        for pod in running.iter().skip(replicas) {
            self.delete_pod(namespace, text(pod, "/metadata/name")).await?;
        }
        for _ in running.len()..replicas {
            self.add_replica(namespace, set).await?;
        }
        self.sync().await
    }

    /// One more pod of a ReplicaSet, under a name that no pod had before.
    async fn add_replica(&self, namespace: &str, set: &str) -> Result<()> {
        let stored = self.api.get("replicasets.apps", namespace, set).context("the ReplicaSet is gone")?;
        let template = stored.pointer("/spec/template").context("no template")?;
        let number = self.api.store(|store| store.version());
        self.add_pod(namespace, template, &pod_name("ReplicaSet", set, number), Some(&reference(&stored))).await
    }

    /// Deletes an object from the API server alone.
    pub(crate) fn delete_object(&self, object: &Value) -> Result<()> {
        let kind = self.api.kind_of(object).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        let deleted = self.api.store(|store| store.delete(&kind, namespace, name));
        deleted.map(drop).map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    /// Deletes a pod from the cluster and the network.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete_pod(&self, namespace: &str, name: &str) -> Result<()> {
        let metadata = json!({"namespace": namespace, "name": name});
        self.delete_object(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))?;
        Ok(self.net.remove_pod(&format!("{namespace}/{name}")).await?)
    }
}

fn reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner.get("apiVersion"), "kind": owner.get("kind"), "name": owner.pointer("/metadata/name"),
        "uid": owner.pointer("/metadata/uid"), "controller": true,
    })
}

/// The ports that the fixture's containers listen on: `/serve 8080/tcp 53/udp` (tests/cluster/tools/pod-programs).
fn listens(template: &Value) -> Result<Vec<(Protocol, u16)>> {
    let arguments = template.pointer("/spec/containers/0/args").and_then(Value::as_array).into_iter().flatten();
    let words = arguments.filter_map(Value::as_str).flat_map(str::split_whitespace);
    let ports = words.filter_map(|word| word.split_once('/')).filter(|(port, _)| !port.is_empty());
    ports
        .map(|(port, protocol)| {
            let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
            Ok((protocol, port.parse().with_context(|| format!("`{port}` is no port"))?))
        })
        .collect()
}

/// What an image of tests/cluster/images.sh holds.
fn tools(image: &str) -> Tools {
    match image {
        "registry.local/netcat-traditional:test" => Tools::traditional(Shell::Dash),
        "registry.local/ncat:test" => Tools::ncat(Shell::Dash),
        "registry.local/busybox:test" => Tools::busybox(),
        "registry.local/bash:test" => Tools::bash(),
        "registry.local/shell:test" => Tools::shell(),
        "registry.local/distroless:test" => Tools::none(),
        _ => Tools::openbsd(Shell::Dash),
    }
}

/// As the controllers name pods: by number in a StatefulSet, else at random (here: the same in every lab).
fn pod_name(kind: &str, prefix: &str, number: u64) -> String {
    let suffix =
        if kind == "StatefulSet" { number.to_string() } else { random_looking(&format!("{prefix}/{number}"), 5) };
    format!("{prefix}-{suffix}")
}

fn random_looking(of: &str, length: usize) -> String {
    sha256(of.as_bytes()).chars().rev().take(length).collect()
}
