//! From documents to what the engine asks about.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Fault, Faults, Parsed, Source,
    cursor::Cursor,
    owners::Owners,
    pods::{self, Template},
    policies,
};
use crate::{
    engine::world::{self, World},
    flux::manifests::{Document, ManifestError, Node, Place},
    model::{
        NamespaceInfo, Origins, PodInfo, Policy, PolicyDocument, Protocol, ServiceInfo, Snapshot, Workload,
        WorkloadInfo,
    },
};

/// The label that the API server sets on every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// How a set is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Unknown fields inside a policy are warnings.
    pub lenient: bool,
}

/// A set of objects, understood.
#[derive(Debug, Clone, Default)]
pub struct InputSet {
    /// Namespaces, pods, workloads with templates, Services. A namespace that something is in, but that no object
    /// declares, has the one label of its name.
    pub snapshot: Snapshot,
    /// Policies as they stand, in the order of the files.
    pub documents: Vec<PolicyDocument>,
    /// The same, read.
    pub policies: Vec<Policy>,
    /// What is odd, with its place.
    pub warnings: Vec<String>,
}

impl InputSet {
    /// Whether there is no policy and nothing that a policy could be about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && !self.has_workloads()
    }

    /// Whether there is a pod or a workload.
    #[must_use]
    pub fn has_workloads(&self) -> bool {
        !(self.snapshot.pods.is_empty() && self.snapshot.workloads.is_empty())
    }

    /// This set's policies over the workloads of `on`, told apart as `with` needs them too.
    #[must_use]
    pub fn world(&self, on: &Snapshot, with: &[Policy]) -> World {
        let told_apart_by: Vec<&Policy> = self.policies.iter().chain(with).collect();
        let namespaces = on.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        World::new(namespaces.collect(), world::planned_classes(on, &told_apart_by), self.policies.clone())
    }
}

/// Makes a set of documents; the order of the files decides nothing but the order of what is told.
///
/// # Errors
/// Everything that is no Kubernetes object, cannot be understood, or is declared twice in two ways.
pub fn collect(parsed: &[Parsed], options: Options) -> Result<InputSet, Faults> {
    let mut collector = Collector { options, ..Collector::default() };
    for file in parsed {
        for (index, document) in file.documents.iter().enumerate() {
            collector.document(&file.source, document, file.origins.get(index));
        }
    }
    if collector.faults.is_empty() { Ok(collector.finished()) } else { Err(Faults(collector.faults)) }
}

#[derive(Default)]
struct Collector<'d> {
    options: Options,
    set: InputSet,
    owners: Owners,
    templates: Vec<Template>,
    pods: Vec<(PodInfo, Option<super::owners::Owner>)>,
    seen: BTreeMap<(String, Workload), (&'d Source, &'d Node)>,
    faults: Vec<Fault>,
}

/// Where a kind has its pod template.
fn template_path(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    match (group, kind) {
        ("apps" | "extensions", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some(&["spec", "template"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

impl<'d> Collector<'d> {
    fn document(&mut self, source: &'d Source, document: &'d Document, origins: Option<&Origins>) {
        if document.root.is_null() {
            return;
        }
        let cursor = Cursor { file: &source.shown, node: &document.root, name: "the document" };
        let text = |key| cursor.node.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            let what =
                "not a Kubernetes object: it lacks `apiVersion` or `kind` (give only manifests, or another folder)";
            self.faults.push(cursor.fault(what).into());
            return;
        };
        let group = version.split_once('/').map_or("", |(group, _)| group);
        if policies::is_policy(kind) {
            self.policy(source, document, (version, group), origins);
        } else if let Err(fault) = self.object(source, document, cursor, group) {
            self.faults.push(fault.into());
        }
    }

    fn policy(
        &mut self,
        source: &'d Source,
        document: &'d Document,
        (version, group): (&str, &str),
        origins: Option<&Origins>,
    ) {
        let mut warnings = Vec::new();
        match policies::read((source, document, origins), version, self.options.lenient, &mut warnings) {
            Err(faults) => self.faults.extend(faults),
            Ok((policy, read)) => {
                let id = Workload {
                    kind: policy.id.kind.clone(),
                    namespace: policy.id.namespace.clone().unwrap_or_default(),
                    name: policy.id.name.clone(),
                };
                match self.is_new(source, document, group, &id) {
                    Err(fault) => self.faults.push(fault.into()),
                    Ok(true) => {
                        self.set.documents.push(policy);
                        self.set.policies.push(read);
                    }
                    Ok(false) => {}
                }
            }
        }
        self.set.warnings.extend(warnings.iter().map(ToString::to_string));
    }

    fn object(
        &mut self,
        source: &'d Source,
        document: &'d Document,
        cursor: Cursor<'d>,
        group: &str,
    ) -> Result<(), ManifestError> {
        let kind = document.kind();
        let path = template_path(group, kind);
        if path.is_none() && !(group.is_empty() && matches!(kind, "Namespace" | "Pod" | "Service")) {
            return Ok(());
        }
        let name = cursor.text_at(&["metadata", "name"])?;
        let name = name.map_or_else(|| cursor.text_at(&["metadata", "generateName"]), |name| Ok(Some(name)))?;
        let Some(name) = name else { return Err(cursor.fault(format!("a {kind} without `metadata.name`"))) };
        let namespace = cursor.text_at(&["metadata", "namespace"])?.unwrap_or("default");
        let namespace = if kind == "Namespace" { "" } else { namespace };
        let id = Workload { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
        if !self.is_new(source, document, group, &id)? {
            return Ok(());
        }
        match (kind, path) {
            ("Namespace", _) => self.namespace(cursor, name)?,
            ("Service", _) => self.set.snapshot.services.push(service(cursor, &id)?),
            (_, Some(path)) => {
                let template = pods::template(cursor, id.clone(), path)?;
                self.owners.add(id, template.owner.clone());
                self.templates.push(template);
            }
            (_, None) => self.pod(cursor, &id)?,
        }
        Ok(())
    }

    fn pod(&mut self, cursor: Cursor<'_>, id: &Workload) -> Result<(), ManifestError> {
        let (pod, owner) = pods::pod(cursor, id)?;
        if let Some(node) = &pod.node {
            let known = self.set.snapshot.nodes.entry(node.clone()).or_default();
            for address in pods::node_ips(cursor)? {
                if !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        self.pods.push((pod, owner));
        Ok(())
    }

    fn namespace(&mut self, cursor: Cursor<'_>, name: &str) -> Result<(), ManifestError> {
        let mut labels = cursor.labels(&["metadata", "labels"])?;
        labels.insert(NAME_LABEL.to_owned(), name.to_owned());
        let terminating = cursor.at(&["metadata", "deletionTimestamp"])?.is_some();
        self.set.snapshot.namespaces.insert(name.to_owned(), NamespaceInfo { labels, terminating });
        Ok(())
    }

    /// Whether the object was not there before. Twice the same is once; two of one name that differ cannot both be.
    fn is_new(
        &mut self,
        source: &'d Source,
        document: &'d Document,
        group: &str,
        id: &Workload,
    ) -> Result<bool, ManifestError> {
        let Some((first, node)) = self.seen.insert((group.to_owned(), id.clone()), (source, &document.root)) else {
            return Ok(true);
        };
        if node.to_value() == document.root.to_value() {
            return Ok(false);
        }
        let Place { line, column } = node.place;
        let at = Cursor { file: &source.shown, node: &document.root, name: "" };
        let name = if id.namespace.is_empty() { id.name.clone() } else { id.to_string() };
        Err(at.fault(format!(
            "{} {name} is declared once more, otherwise, at {}:{line}:{column}: give one of them",
            id.kind, first.shown
        )))
    }

    fn finished(self) -> InputSet {
        let Self { mut set, owners, templates, pods, .. } = self;
        let owned = |(mut pod, owner): (PodInfo, Option<super::owners::Owner>)| {
            pod.workload = owners.top(&pod.workload, owner.as_ref());
            pod
        };
        set.snapshot.pods = pods.into_iter().map(owned).collect();
        set.snapshot.pods.sort_by(|a, b| a.id.cmp(&b.id));
        set.snapshot.workloads = workloads(templates, &owners);
        set.snapshot.services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        declare(&mut set);
        set
    }
}

/// The templates by their top-most owners: the owner's own where it has one, else that of an object which wants pods.
fn workloads(templates: Vec<Template>, owners: &Owners) -> Vec<WorkloadInfo> {
    let mut best: BTreeMap<Workload, ((bool, bool), Template)> = BTreeMap::new();
    for template in templates {
        let top = owners.top(&template.object, template.owner.as_ref());
        let rank = (top == template.object, !template.idle);
        // Of two equals the first by name, so that the order of the files decides nothing.
        let is_better = |(known, other): &((bool, bool), Template)| {
            rank > *known || rank == *known && template.object < other.object
        };
        if best.get(&top).is_none_or(is_better) {
            best.insert(top, (rank, template));
        }
    }
    let info = |(id, (_, template)): (Workload, (_, Template))| WorkloadInfo {
        id,
        replicas: None,
        labels: template.labels,
        ports: template.ports,
        host_network: template.host_network,
        service_account: template.service_account,
    };
    best.into_iter().map(info).collect()
}

/// "A namespace that no object declares exists with the one label `kubernetes.io/metadata.name`."
fn declare(set: &mut InputSet) {
    let pods = set.snapshot.pods.iter().map(|pod| &pod.id.namespace);
    let workloads = set.snapshot.workloads.iter().map(|workload| &workload.id.namespace);
    let policies = set.documents.iter().filter_map(|document| document.id.namespace.as_ref());
    let names: BTreeSet<String> = pods.chain(workloads).chain(policies).cloned().collect();
    for name in names {
        set.snapshot.namespaces.entry(name).or_insert_with_key(|name| NamespaceInfo {
            labels: [(NAME_LABEL.to_owned(), name.clone())].into(),
            terminating: false,
        });
    }
}

fn service(object: Cursor<'_>, id: &Workload) -> Result<ServiceInfo, ManifestError> {
    let spec = object.get("spec")?;
    let mut ports = Vec::new();
    let mut cluster_ips = Vec::new();
    if let Some(spec) = spec {
        for port in spec.items("ports")? {
            ports.push(service_port(port)?);
        }
        let texts = spec.get("clusterIP")?.into_iter().chain(spec.items("clusterIPs")?);
        // A headless Service has the word `None` in place of an address.
        cluster_ips.extend(texts.filter_map(|field| field.text().ok()?.parse::<IpAddr>().ok()));
        cluster_ips.sort_unstable();
        cluster_ips.dedup();
    }
    let selector = object.labels(&["spec", "selector"])?;
    Ok(ServiceInfo {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        selector: (!selector.is_empty()).then_some(selector),
        cluster_ips,
        ports,
    })
}

fn service_port(port: Cursor<'_>) -> Result<(u16, Protocol, String), ManifestError> {
    let field = port.get("port")?.ok_or_else(|| port.fault("a port without `port`"))?;
    let number = u16::try_from(field.number()?).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| field.fault("`port` is not between 1 and 65535"))?;
    let protocol = port.get("protocol")?.map(|p| p.parsed("protocol (TCP, UDP, SCTP)")).transpose()?;
    let target = match port.get("targetPort")? {
        None => number.to_string(),
        Some(target) => match target.text() {
            Ok(name) => name.to_owned(),
            Err(_) => target.number()?.to_string(),
        },
    };
    Ok((number, protocol.unwrap_or(Protocol::Tcp), target))
}
