//! What people, Flux and Kubernetes do to the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv4Addr},
};

use netpol_verify::model::{
    Container, ContainerPort, KustomizationRef, KustomizationStatus, Labels, LivePolicy, Manager, NotApplied,
    ObjectRef, Phase, PodInfo, PodRef, PolicyDocument, PolicyRef, Protocol, Rendering, Revision, ServiceInfo, Workload,
    WorkloadInfo,
};

use super::{Fake, FakePod, Kustomization, World, manifests};

pub fn revision(number: u64) -> Revision {
    Revision(format!("main@sha1:{number:07x}{:033x}", 0))
}

pub fn main() -> KustomizationRef {
    KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

impl Fake {
    pub fn namespace(&self, name: &str, pairs: &[(&str, &str)]) {
        let mut all = labels(pairs);
        all.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        self.world().namespaces.insert(name.to_owned(), all);
    }

    /// A Deployment with one pod that listens on its ports, labelled `app: NAME`.
    pub fn app(&self, namespace: &str, name: &str, ports: &[u16]) {
        self.app_with(namespace, name, &[("app", name)], ports);
    }

    pub fn app_with(&self, namespace: &str, name: &str, pairs: &[(&str, &str)], ports: &[u16]) {
        let mut world = self.world();
        let workload =
            Workload { kind: "Deployment".to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
        let ports: Vec<ContainerPort> = ports
            .iter()
            .map(|number| ContainerPort { name: None, number: *number, protocol: Protocol::Tcp, init: false })
            .collect();
        world.workloads.push(WorkloadInfo {
            id: workload.clone(),
            replicas: Some(1),
            labels: labels(pairs),
            ports: ports.clone(),
            host_network: false,
            service_account: "default".to_owned(),
        });
        world.start(&workload, &labels(pairs), &ports);
    }

    /// A Service of the pods that are labelled `app: APP`, at 10.96.0.N.
    pub fn service(&self, (namespace, name): (&str, &str), app: &str, port: u16, target: u16) -> IpAddr {
        let mut world = self.world();
        world.services.retain(|known| (known.namespace.as_str(), known.name.as_str()) != (namespace, name));
        let address = IpAddr::from([10, 96, 0, u8::try_from(world.services.len() + 1).unwrap()]);
        world.services.push(ServiceInfo {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            selector: Some(labels(&[("app", app)])),
            cluster_ips: vec![address],
            headless: false,
            ports: vec![(port, Protocol::Tcp, target.to_string())],
            port_names: vec![String::new()],
            ends: Vec::new(),
        });
        address
    }

    /// Scales a Deployment.
    pub fn scale(&self, name: &str, replicas: i32) {
        let mut world = self.world();
        let found = world.workloads.iter_mut().find(|w| w.id.to_string() == name).unwrap();
        found.replicas = Some(replicas);
        let (id, labels, ports) = (found.id.clone(), found.labels.clone(), found.ports.clone());
        world.pods.retain(|p| p.info.workload != id);
        for _ in 0..replicas {
            world.start(&id, &labels, &ports);
        }
    }

    /// The pod of a workload is gone, and its controller starts another one.
    pub fn replace(&self, name: &str) {
        let replicas = self.world().pods.iter().filter(|p| p.info.workload.to_string() == name).count();
        self.scale(name, i32::try_from(replicas).unwrap());
    }

    pub fn pod_of(&self, name: &str, change: impl Fn(&mut FakePod)) {
        let mut world = self.world();
        world.pods.iter_mut().filter(|p| p.info.workload.to_string() == name).for_each(change);
    }

    /// A new revision that Flux applies.
    pub fn merge(&self, files: &[(&str, &str)]) -> Revision {
        let number = {
            let mut world = self.world();
            world.merges += 1;
            world.merges
        };
        self.apply(&main(), &revision(number), files);
        revision(number)
    }

    pub fn apply(&self, id: &KustomizationRef, revision: &Revision, files: &[(&str, &str)]) {
        let documents = manifests::documents(files, Some(id));
        let mut world = self.world();
        if !world.lag.is_zero() {
            world.lagging = Some((world.elapsed + world.lag, world.enforced()));
        }
        let old = world.kustomizations.remove(id).map(|k| k.status.inventory).unwrap_or_default();
        let inventory: Vec<ObjectRef> = documents.iter().map(object_ref).collect();
        let gone: BTreeSet<&ObjectRef> = old.iter().filter(|o| !inventory.contains(o)).collect();
        world.live.retain(|_, policy| !gone.contains(&object_ref(&policy.document)));
        for document in &documents {
            world.put(document, "kustomize-controller");
        }
        let status = KustomizationStatus {
            id: id.clone(),
            attempted: Some(revision.clone()),
            applied: Some(revision.clone()),
            digest: Some(digest(&documents)),
            inventory,
            suspended: false,
            not_applied: None,
        };
        let kustomization = Kustomization { status, documents, rendering: Rendering::Proven, fetch_fault: None };
        world.kustomizations.insert(id.clone(), kustomization);
    }

    /// A new revision that Flux does not get applied.
    pub fn merge_fails(&self, reason: &str, message: &str) -> Revision {
        let mut world = self.world();
        world.merges += 1;
        let tried = revision(world.merges);
        let since = Some(world.now());
        let status = &mut world.kustomizations.get_mut(&main()).unwrap().status;
        status.attempted = Some(tried.clone());
        status.not_applied = Some(NotApplied {
            attempted: Some(tried.clone()),
            reason: reason.to_owned(),
            message: message.to_owned(),
            final_: true,
            since,
        });
        tried
    }

    pub fn kustomization(&self, change: impl Fn(&mut Kustomization)) {
        self.world().kustomizations.get_mut(&main()).map(change).unwrap();
    }

    /// `kubectl apply`, by a manager's name.
    pub fn kubectl(&self, manager: &str, yaml: &str) {
        for document in manifests::documents(&[("-", yaml)], None) {
            self.world().put(&document, manager);
        }
    }

    pub fn kubectl_delete(&self, namespace: &str, name: &str) {
        let id = PolicyRef::network_policy(namespace, name);
        self.world().live.retain(|(_, policy), _| policy != &id);
    }

    pub fn label_namespace(&self, name: &str, key: &str, value: &str) {
        self.world().namespaces.get_mut(name).unwrap().insert(key.to_owned(), value.to_owned());
    }
}

impl World {
    fn start(&mut self, workload: &Workload, labels: &Labels, ports: &[ContainerPort]) {
        self.uids += 1;
        let number = self.uids;
        let ip = Ipv4Addr::new(10, 244, u8::try_from(number / 200).unwrap(), u8::try_from(number % 200 + 2).unwrap());
        let info = PodInfo {
            id: PodRef { namespace: workload.namespace.clone(), name: format!("{}-{number}", workload.name) },
            uid: format!("uid-{number}"),
            labels: labels.clone(),
            annotations: BTreeMap::new(),
            ips: vec![IpAddr::V4(ip)],
            phase: Phase::Running,
            ready: true,
            terminating: false,
            host_network: false,
            node: Some("node-1".to_owned()),
            service_account: "default".to_owned(),
            workload: workload.clone(),
            ports: ports.to_vec(),
            containers: vec![Container { name: "main".to_owned(), image: "app".to_owned(), running: true }],
        };
        let listens = ports.iter().map(|p| p.number).collect();
        self.pods.push(FakePod { info, listens, has_nc: true, can_ask: true });
    }

    fn put(&mut self, document: &PolicyDocument, manager: &str) {
        let kept = manifests::live(document);
        let group = kept.api_version.split('/').next().unwrap().to_owned();
        let key = (group, kept.id.clone());
        let old = self.live.get(&key);
        if old.is_some_and(|old| old.document == kept) {
            return;
        }
        self.versions += 1;
        let written = Manager { name: manager.to_owned(), time: Some(self.now()), fields: vec!["/spec".to_owned()] };
        let mut managers = vec![written];
        managers.extend(old.iter().flat_map(|old| old.managers.clone()).filter(|m| m.name != manager));
        if manager == "kustomize-controller" {
            // Flux takes every field back.
            managers.truncate(1);
        }
        let policy = LivePolicy {
            document: kept,
            uid: format!("policy-{}", self.versions),
            resource_version: self.versions.to_string(),
            managers,
            owners: Vec::new(),
            created: Some(self.now()),
        };
        self.live.insert(key, policy);
    }
}

pub fn object_ref(document: &PolicyDocument) -> ObjectRef {
    ObjectRef {
        group: document.api_version.split('/').next().unwrap().to_owned(),
        kind: document.id.kind.trim_end_matches(".projectcalico.org").to_owned(),
        namespace: document.id.namespace.clone(),
        name: document.id.name.clone(),
    }
}

fn digest(documents: &[PolicyDocument]) -> String {
    let mut hasher = DefaultHasher::new();
    for document in documents {
        document.object.to_string().hash(&mut hasher);
    }
    format!("sha256:{:064x}", hasher.finish())
}
