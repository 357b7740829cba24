//! From documents to what the engine asks about.

use std::{
    collections::BTreeSet,
    mem,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use foldhash::HashMap;

use super::{
    Fault, Faults, Parsed, Source,
    cursor::Cursor,
    owners::{self, Owners},
    pods::{self, Template},
    policies::{self, Places},
    things,
    understand::{self, Object, Understood, group},
};
use crate::{
    engine::{
        read::PolicySet,
        surroundings::Surroundings,
        world::{self, World},
    },
    flux::manifests::{Document, ManifestError, Node, Place},
    model::{
        NAME_LABEL, NamespaceInfo, NetworkSet, PodInfo, Policy, PolicyDocument, ServiceEnds, Snapshot, TieRule,
        Workload,
    },
    parallel,
};

/// How the schemas of the program's own files begin: its configuration, and the list of intended flows.
const OWN_SCHEMAS: &str = "netpol-verify/";

/// How a set is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Unknown fields inside a NetworkPolicy, and unknown peers of the network policy API, are warnings.
    pub lenient: bool,
    /// How Calico's version orders policies of one order, whatever the set says.
    pub ties: Option<TieRule>,
}

/// A set of objects, understood.
#[derive(Debug, Clone, Default)]
pub struct InputSet {
    /// Namespaces, pods, workloads with templates, Services, ServiceAccounts, nodes. A namespace that something is in, but
    /// that no object declares, has the one label of its name.
    pub snapshot: Snapshot,
    /// Policies, network sets and tiers as they stand, in the order of the files.
    pub documents: Vec<PolicyDocument>,
    /// The same, read.
    pub read: PolicySet,
    /// How Calico's version orders policies of one order, if it is known.
    pub ties: Option<TieRule>,
    /// What is odd, with its place.
    pub warnings: Vec<String>,
    /// Whether Calico connects its pods, but no object of Calico's is in it: they may have been left out.
    pub lacks_calico: bool,
}

impl InputSet {
    /// Whether there is no policy and nothing that a policy could be about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.policies.is_empty() && !self.has_workloads()
    }

    /// Whether there is a pod or a workload.
    #[must_use]
    pub fn has_workloads(&self) -> bool {
        !(self.snapshot.pods.is_empty() && self.snapshot.workloads.is_empty())
    }

    /// This set's policies with the workloads, namespaces and Services of another set in place of its own.
    #[must_use]
    pub fn over(self, on: Self) -> Self {
        let warnings = self.warnings.into_iter().chain(on.warnings).collect();
        let mut set = Self { snapshot: on.snapshot, ties: self.ties.or(on.ties), warnings, ..self };
        declare(&mut set);
        set
    }

    /// This set's policies over the workloads of `on`, told apart as those of `with` need them too.
    #[must_use]
    pub fn world(&self, on: &Self, with: Option<&Self>) -> World {
        let all = || std::iter::once(self).chain(with);
        let told_apart_by: Vec<&Policy> = all().flat_map(|set| &set.read.policies).collect();
        let sets: Vec<NetworkSet> = all().flat_map(|set| set.read.sets.clone()).collect();
        let ties = self.ties.or(on.ties).unwrap_or_default();
        let around = Surroundings::of(&on.snapshot, sets, ties);
        let classes = world::planned_classes(&around, &on.snapshot, &told_apart_by);
        let namespaces = on.snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        let own = Surroundings { sets: self.read.sets.clone(), ..around };
        World { planned: true, ..World::among(own, namespaces.collect(), classes, self.read.policies.clone()) }
    }
}

/// Makes a set of documents; the order of the files decides nothing but the order of what is told.
///
/// # Errors
/// Everything that is no Kubernetes object, cannot be understood, or is declared twice in two ways.
pub fn collect(parsed: &[Parsed], options: Options) -> Result<InputSet, Faults> {
    collected(parsed, understand::each(parsed, options.lenient), options)
}

/// Makes two sets, as [`collect`] does; files that both have are understood once.
pub fn collect_both([before, after]: [&[Parsed]; 2], options: Options) -> [Result<InputSet, Faults>; 2] {
    let [was, is] = understand::both([before, after], options.lenient);
    let was = Mutex::new(was);
    let taken = || mem::take(&mut *was.lock().unwrap_or_else(PoisonError::into_inner));
    let (before, after) = parallel::both(|| collected(before, taken(), options), || collected(after, is, options));
    [before, after]
}

fn collected(parsed: &[Parsed], understood: Vec<Vec<Understood>>, options: Options) -> Result<InputSet, Faults> {
    let mut collector = Collector { options, ..Collector::default() };
    for (file, understood) in parsed.iter().zip(understood) {
        for ((index, document), understood) in file.documents.iter().enumerate().zip(understood) {
            match understood {
                Understood::Policy(policy, warnings) => {
                    let is_rendered = file.origins.get(index).is_some();
                    collector.policy(&file.source, document, is_rendered, (policy, warnings));
                }
                Understood::Object(object) => collector.document(&file.source, document, object),
            }
        }
    }
    collector.finished()
}

#[derive(Default)]
struct Collector<'d> {
    options: Options,
    set: InputSet,
    owners: Owners,
    templates: Vec<Template>,
    pods: Vec<(PodInfo, Option<super::owners::Owner>)>,
    places: Places,
    ends: ServiceEnds,
    seen: HashMap<(String, Workload), (&'d Source, &'d Node)>,
    faults: Vec<Fault>,
}

impl<'d> Collector<'d> {
    fn document(&mut self, source: &'d Source, document: &'d Document, object: Result<Option<Object>, ManifestError>) {
        if document.root.is_null() {
            return;
        }
        let cursor = Cursor { file: &source.shown, node: &document.root, name: "the document" };
        let text = |key| cursor.node.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        // The program's own files may stand beside the policies that they are about.
        if text("schema").is_some_and(|schema| schema.starts_with(OWN_SCHEMAS)) {
            return;
        }
        let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            let what =
                "not a Kubernetes object: it lacks `apiVersion` or `kind` (give only manifests, or another folder)";
            self.faults.push(cursor.fault(what).into());
            return;
        };
        // The items of a list are documents of their own. What is no list of objects has a name.
        let has_none = cursor.node.get("items").is_some_and(Node::is_null);
        if kind.ends_with("List") && document.name().is_empty() && !has_none {
            self.faults.push(cursor.fault(format!("a {kind} whose `items` is no list")).into());
            return;
        }
        let done = object.and_then(|object| match object {
            Some(object) => self.object((source, document), cursor, group(version), object),
            None => Ok(()),
        });
        if let Err(fault) = done {
            self.faults.push(fault.into());
        }
    }

    fn policy(
        &mut self,
        source: &'d Source,
        document: &'d Document,
        is_rendered: bool,
        (policy, warnings): (Result<PolicyDocument, Vec<Fault>>, Vec<ManifestError>),
    ) {
        match policy {
            Err(faults) => self.faults.extend(faults),
            Ok(policy) => {
                let id = Workload {
                    kind: policy.id.kind.clone(),
                    namespace: policy.id.namespace.clone().unwrap_or_default(),
                    name: policy.id.name.clone(),
                };
                match self.is_new(source, document, group(document.api_version()), &id) {
                    Err(fault) => self.faults.push(fault.into()),
                    Ok(true) => {
                        self.places.add(&policy.id, source, document, is_rendered);
                        self.set.documents.push(policy);
                    }
                    Ok(false) => {}
                }
            }
        }
        self.set.warnings.extend(warnings.iter().map(ToString::to_string));
    }

    fn object(
        &mut self,
        (source, document): (&'d Source, &'d Document),
        cursor: Cursor<'d>,
        group: &str,
        (id, template): Object,
    ) -> Result<(), ManifestError> {
        if self.is_new(source, document, group, &id)? { self.put(cursor, id, template) } else { Ok(()) }
    }

    /// Takes an object that was not there before.
    fn put(
        &mut self,
        cursor: Cursor<'_>,
        id: Workload,
        template: Option<Result<Template, ManifestError>>,
    ) -> Result<(), ManifestError> {
        match (id.kind.as_str(), template) {
            ("Namespace", _) => self.namespace(cursor, &id.name)?,
            ("Service", _) => self.set.snapshot.services.push(things::service(cursor, &id)?),
            ("ServiceAccount", _) => {
                let labels = cursor.labels(&["metadata", "labels"])?;
                self.set.snapshot.service_accounts.insert((id.namespace, id.name), labels);
            }
            ("EndpointSlice", _) => {
                if let Some((service, ends)) = things::slice(cursor)? {
                    self.ends.entry((id.namespace, service)).or_default().extend(ends);
                }
            }
            ("Node", _) => self.node(cursor, &id.name)?,
            ("ClusterInformation", _) => {
                let version = cursor.text_at(&["spec", "calicoVersion"])?;
                self.set.ties = version.map(TieRule::of_version);
            }
            (_, Some(template)) => {
                let template = template?;
                self.owners.add(id, template.owner.clone());
                // A Job that has ended starts no pod any more.
                if template.object.kind != "Job" || !pods::is_over(cursor)? {
                    self.templates.push(template);
                }
            }
            (_, None) => self.pod(cursor, &id)?,
        }
        Ok(())
    }

    fn pod(&mut self, cursor: Cursor<'_>, id: &Workload) -> Result<(), ManifestError> {
        let (pod, owner) = pods::pod(cursor, id)?;
        if let Some(node) = &pod.node {
            self.node_has(node, pods::node_ips(cursor)?);
        }
        self.set.lacks_calico |= pods::is_of_calico(cursor)?;
        self.pods.push((pod, owner));
        Ok(())
    }

    fn node(&mut self, cursor: Cursor<'_>, name: &str) -> Result<(), ManifestError> {
        self.node_has(name, things::node_addresses(cursor)?);
        let labels = cursor.labels(&["metadata", "labels"])?;
        self.set.snapshot.node_labels.insert(name.to_owned(), labels);
        Ok(())
    }

    fn node_has(&mut self, name: &str, addresses: Vec<IpAddr>) {
        let known = self.set.snapshot.nodes.entry(name.to_owned()).or_default();
        for address in addresses {
            if !known.contains(&address) {
                known.push(address);
            }
        }
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

    fn finished(self) -> Result<InputSet, Faults> {
        let Self { mut set, owners, templates, pods, places, mut ends, mut faults, options, .. } = self;
        match policies::read(&set.documents, &places) {
            Ok(read) => set.read = read,
            Err(errors) => faults.extend(errors),
        }
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let owned = |(mut pod, owner): (PodInfo, Option<super::owners::Owner>)| {
            pod.workload = owners.top(&pod.workload, owner.as_ref());
            pod
        };
        set.snapshot.pods = pods.into_iter().map(owned).collect();
        set.snapshot.pods.sort_by(|a, b| a.id.cmp(&b.id));
        set.snapshot.workloads = owners::workloads(templates, &owners);
        for service in &mut set.snapshot.services {
            service.with_ends(&mut ends);
        }
        set.snapshot.services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let is_calico = |document: &PolicyDocument| policies::CALICO.contains(&group(&document.api_version));
        set.lacks_calico &= set.ties.is_none() && !set.documents.iter().any(is_calico);
        set.ties = options.ties.or(set.ties);
        declare(&mut set);
        set.warnings.extend(policies::notes(&set.read, &set.documents, &set.snapshot, &places));
        Ok(set)
    }
}

/// "A namespace that no object declares exists with the one label `kubernetes.io/metadata.name`."
fn declare(set: &mut InputSet) {
    let pods = set.snapshot.pods.iter().map(|pod| &pod.id.namespace);
    let workloads = set.snapshot.workloads.iter().map(|workload| &workload.id.namespace);
    let policies = set.documents.iter().filter_map(|document| document.id.namespace.as_ref());
    let names: BTreeSet<String> = pods.chain(workloads).chain(policies).cloned().collect();
    for name in names {
        set.snapshot.namespaces.entry(name).or_insert_with_key(|name| NamespaceInfo::undeclared(name));
    }
}
