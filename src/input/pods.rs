//! Pods and templates, as far as policies look at them.

use std::net::IpAddr;

use super::{
    cursor::Cursor,
    owners::{self, Owner},
};
use crate::{
    flux::manifests::{Content, ManifestError},
    model::{ContainerPort, Labels, Phase, PodInfo, PodRef, Protocol, Workload},
};

/// A pod or a template with its object's owner, before the top-most one is known.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub object: Workload,
    pub owner: Option<Owner>,
    pub labels: Labels,
    pub ports: Vec<ContainerPort>,
    pub host_network: bool,
    pub service_account: String,
    /// Whether the object wants no pods now: of several templates of one workload, another one counts.
    pub idle: bool,
}

/// Reads an object with a pod template at `path`.
pub(super) fn template<'a>(object: Cursor<'a>, id: Workload, path: &[&'a str]) -> Result<Template, ManifestError> {
    let template = object.at(path)?;
    let labels = template.map(|t| t.labels(&["metadata", "labels"])).transpose()?.unwrap_or_default();
    let spec = template.map(|t| t.get("spec")).transpose()?.flatten();
    let replicas = object.at(&["spec", "replicas"])?.map(Cursor::number).transpose()?;
    Ok(Template {
        object: id,
        owner: owners::owner(object)?,
        labels,
        ports: spec.map(ports).transpose()?.unwrap_or_default(),
        host_network: spec.map(|s| s.is_true(&["hostNetwork"])).transpose()?.unwrap_or_default(),
        service_account: spec.map(account).transpose()?.unwrap_or_default(),
        idle: replicas == Some(0),
    })
}

/// Whether a Job has ended, well or not ("terminal" conditions of JobStatus).
pub(super) fn is_over(job: Cursor<'_>) -> Result<bool, ManifestError> {
    let Some(status) = job.get("status")? else { return Ok(false) };
    for condition in status.items("conditions")? {
        let is_end = matches!(condition.text_at(&["type"])?, Some("Complete" | "Failed"));
        if is_end && condition.text_at(&["status"])? == Some("True") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether Calico's CNI plugin gave the pod its network: it notes that in annotations (`podIP`, `containerID`).
pub(super) fn is_of_calico(object: Cursor<'_>) -> Result<bool, ManifestError> {
    let annotations = object.at(&["metadata", "annotations"])?;
    let Some(Content::Mapping(fields)) = annotations.map(|found| &found.node.content) else { return Ok(false) };
    Ok(fields.iter().any(|(key, _)| key.starts_with("cni.projectcalico.org/")))
}

/// Reads a pod; its workload is its own name until the owners are known.
pub(super) fn pod(object: Cursor<'_>, id: &Workload) -> Result<(PodInfo, Option<Owner>), ManifestError> {
    let spec = object.get("spec")?;
    let phase = phase(object)?;
    let pod = PodInfo {
        id: PodRef { namespace: id.namespace.clone(), name: id.name.clone() },
        uid: object.text_at(&["metadata", "uid"])?.unwrap_or_default().to_owned(),
        labels: object.labels(&["metadata", "labels"])?,
        annotations: std::collections::BTreeMap::new(),
        // A finished pod has lost its address: another pod may have it by now.
        ips: if phase == Phase::Finished { Vec::new() } else { addresses(object, "podIP", "podIPs")? },
        phase,
        ready: true,
        terminating: object.at(&["metadata", "deletionTimestamp"])?.is_some(),
        host_network: spec.map(|s| s.is_true(&["hostNetwork"])).transpose()?.unwrap_or_default(),
        node: spec.map(|s| s.text_at(&["nodeName"])).transpose()?.flatten().map(str::to_owned),
        service_account: spec.map(account).transpose()?.unwrap_or_default(),
        workload: id.clone(),
        ports: spec.map(ports).transpose()?.unwrap_or_default(),
        containers: Vec::new(),
    };
    Ok((pod, owners::owner(object)?))
}

/// "serviceAccount … is a deprecated alias for serviceAccountName" (PodSpec): the API takes it where the other is empty.
fn account(spec: Cursor<'_>) -> Result<String, ManifestError> {
    let (name, alias) = (spec.text_at(&["serviceAccountName"])?, spec.text_at(&["serviceAccount"])?);
    Ok(name.or(alias).unwrap_or("default").to_owned())
}

/// Ports of containers and of init containers; one that keeps running (a sidecar) serves like a container.
fn ports(spec: Cursor<'_>) -> Result<Vec<ContainerPort>, ManifestError> {
    let mut all = Vec::new();
    for (list, is_init) in [("containers", false), ("initContainers", true)] {
        for container in spec.items(list)? {
            let init = is_init && container.text_at(&["restartPolicy"])? != Some("Always");
            for port in container.items("ports")? {
                all.push(self::port(port, init)?);
            }
        }
    }
    Ok(all)
}

fn port(port: Cursor<'_>, init: bool) -> Result<ContainerPort, ManifestError> {
    let number = port.get("containerPort")?.ok_or_else(|| port.fault("a port without `containerPort`"))?;
    let value = u16::try_from(number.number()?).ok().filter(|value| *value > 0);
    let protocol = port.get("protocol")?.map(|p| p.parsed("protocol (TCP, UDP, SCTP)")).transpose()?;
    Ok(ContainerPort {
        name: port.text_at(&["name"])?.map(str::to_owned),
        number: value.ok_or_else(|| number.fault("`containerPort` is not between 1 and 65535"))?,
        protocol: protocol.unwrap_or(Protocol::Tcp),
        init,
    })
}

fn phase(object: Cursor<'_>) -> Result<Phase, ManifestError> {
    Ok(match object.text_at(&["status", "phase"])? {
        Some("Pending") | None => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded" | "Failed") => Phase::Finished,
        Some(_) => Phase::Unknown,
    })
}

/// The addresses of the pod's node.
pub(super) fn node_ips(pod: Cursor<'_>) -> Result<Vec<IpAddr>, ManifestError> {
    addresses(pod, "hostIP", "hostIPs")
}

/// The addresses, the primary one first.
fn addresses<'a>(object: Cursor<'a>, one: &'a str, all: &'a str) -> Result<Vec<IpAddr>, ManifestError> {
    let Some(status) = object.get("status")? else { return Ok(Vec::new()) };
    let mut fields: Vec<Cursor<'_>> = status.get(one)?.into_iter().collect();
    for entry in status.items(all)? {
        fields.extend(entry.get("ip")?);
    }
    let mut ips = Vec::new();
    for field in fields {
        if field.text()?.is_empty() {
            continue;
        }
        let ip = field.parsed("IP address")?;
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    Ok(ips)
}
