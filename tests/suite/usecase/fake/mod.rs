//! A cluster, its Flux, its data plane and a room, in memory: everything outside the use case, at once and on demand.

mod act;
pub mod manifests;
mod packets;
mod run;
mod seams;
mod shards;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, MutexGuard, atomic::AtomicBool},
    time::Duration,
};

pub use act::{main, object_ref, revision};
use netpol_verify::{
    engine::read,
    model::{
        Calico, KustomizationRef, KustomizationStatus, Labels, LivePolicy, NamespaceInfo, NotReadable, NotUnderstood,
        ObjectRef, OutboxEntry, OutboxKind, PodInfo, PodRef, PolicyDocument, PolicyRef, Rendering, ServiceInfo,
        Snapshot, WorkloadInfo,
    },
};
pub use run::Ran;
pub use shards::{Others, Seat};

/// Done once, in the middle of a run.
pub type Hook = Box<dyn FnOnce(&Fake) + Send>;

/// A pod, and what a snapshot does not say of it.
#[derive(Debug, Clone)]
pub struct FakePod {
    pub info: PodInfo,
    pub listens: BTreeSet<u16>,
    pub has_nc: bool,
    /// Whether it has something to ask a DNS server with.
    pub can_ask: bool,
}

/// A flow that the data plane gets wrong, whatever the policies are.
#[derive(Debug, Clone)]
pub struct Broken {
    pub source: String,
    pub destination: String,
    pub port: u16,
    pub open: bool,
}

/// A Kustomization.
pub struct Kustomization {
    pub status: KustomizationStatus,
    pub documents: Vec<PolicyDocument>,
    pub rendering: Rendering,
    pub fetch_fault: Option<String>,
}

/// A message in the room.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub txn: String,
    pub seq: u64,
    pub kind: OutboxKind,
    pub thread: Option<String>,
    pub body: String,
    pub mentions: bool,
}

impl Event {
    fn new(id: &str, entry: &OutboxEntry) -> Self {
        let content = &entry.content;
        let is_root = entry.kind == OutboxKind::Root;
        assert_eq!(is_root, entry.root_event.is_none(), "a part of a thread knows its thread: {entry:?}");
        Self {
            id: id.to_owned(),
            txn: entry.txn.clone(),
            seq: entry.seq,
            kind: entry.kind,
            thread: entry.root_event.clone(),
            body: content["body"].as_str().unwrap().to_owned(),
            mentions: content.pointer("/m.mentions/user_ids").is_some(),
        }
    }

    pub fn first_line(&self) -> &str {
        self.body.lines().next().unwrap()
    }
}

/// Everything that there is.
#[derive(Default)]
pub struct World {
    pub kustomizations: BTreeMap<KustomizationRef, Kustomization>,
    pub foreign_inventories: BTreeMap<KustomizationRef, Vec<ObjectRef>>,
    pub live: BTreeMap<(String, PolicyRef), LivePolicy>,
    pub namespaces: BTreeMap<String, Labels>,
    pub pods: Vec<FakePod>,
    pub workloads: Vec<WorkloadInfo>,
    pub not_readable: Vec<NotReadable>,
    /// Whether denied packets are answered.
    pub rejects: bool,
    /// What FelixConfiguration says.
    pub deny_action: Option<String>,
    pub broken: Vec<Broken>,
    /// The policies that the data plane follows until then.
    pub lagging: Option<(Duration, Vec<PolicyDocument>)>,
    pub lag: Duration,
    /// A node whose pods' packets meet these policies still.
    pub stale: Option<(String, Vec<PolicyDocument>)>,
    pub outside: BTreeSet<(IpAddr, u16)>,
    pub services: Vec<ServiceInfo>,
    /// Service addresses that the Service proxy does nothing about.
    pub lost_services: BTreeSet<IpAddr>,
    /// Service addresses through which everything passes, whatever the policies are.
    pub leaking_services: BTreeSet<IpAddr>,
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// What the pods of a workload see in place of that.
    pub pod_names: BTreeMap<(String, String), Vec<IpAddr>>,
    /// Names asked for, by pod, with how often.
    pub resolved: BTreeMap<(PodRef, String), usize>,
    /// The list of intended flows in the artifact.
    pub allowlist: Option<String>,
    pub room: Vec<Event>,
    pub room_is_down: bool,
    pub kubernetes_events: Vec<String>,
    /// What pods have logged, or why that cannot be read.
    pub logs: BTreeMap<PodRef, Result<String, String>>,
    pub logs_read: Vec<(PodRef, String, String)>,
    pub state: Option<Vec<u8>>,
    pub written: u64,
    pub loaded: u64,
    pub lock_held: bool,
    pub elapsed: Duration,
    pub exec_takes: Duration,
    pub execs: usize,
    /// The execs that are cut before they tell anything, by their number from 1.
    pub cuts: BTreeSet<usize>,
    pub asked: BTreeSet<(PodRef, IpAddr, u16)>,
    pub on_probe: Option<Hook>,
    /// A workload whose pods never answer an exec.
    pub hangs: Option<String>,
    pub on_sleep: Option<Hook>,
    pub points: usize,
    pub kill_at: Option<usize>,
    /// The other pods of the Job.
    pub others: Others,
    pub merges: u64,
    pub versions: u64,
    pub uids: u64,
}

impl World {
    /// 2026-11-20T09:00:00Z and what has passed since.
    pub fn now(&self) -> String {
        let start: jiff::Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        let passed = jiff::SignedDuration::from_secs(i64::try_from(self.elapsed.as_secs()).unwrap());
        start.checked_add(passed).unwrap().to_string()
    }

    /// The policies that packets meet now.
    pub fn enforced(&self) -> Vec<PolicyDocument> {
        match &self.lagging {
            Some((until, old)) if self.elapsed < *until => old.clone(),
            _ => self.live.values().map(|p| p.document.clone()).collect(),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let understood = |p: &&LivePolicy| read::understands(&p.document);
        let is = |kind: &'static str| move |p: &&LivePolicy| p.document.id.kind.ends_with(kind);
        let of = |kind| self.live.values().filter(understood).filter(is(kind)).cloned().collect::<Vec<_>>();
        let mut pods: Vec<PodInfo> = self.pods.iter().map(|p| p.info.clone()).collect();
        pods.sort_by(|a, b| a.id.cmp(&b.id));
        Snapshot {
            namespaces: self
                .namespaces
                .iter()
                .map(|(n, l)| (n.clone(), NamespaceInfo { labels: l.clone(), terminating: false }))
                .collect(),
            pods,
            workloads: self.workloads.clone(),
            services: self.services.clone(),
            policies: of("NetworkPolicy").into_iter().chain(of("NetworkPolicy.projectcalico.org")).collect(),
            calico: Calico {
                sets: of("NetworkSet"),
                tiers: of("Tier"),
                staged: Vec::new(),
                version: Some("v3.28.5".to_owned()),
            },
            not_understood: self
                .live
                .values()
                .filter(|p| !understood(p))
                .map(|p| NotUnderstood {
                    kind: p.document.id.kind.clone(),
                    policy: p.document.id.clone(),
                    namespace: p.document.id.namespace.clone(),
                    reason: None,
                })
                .collect(),
            not_readable: self.not_readable.clone(),
            deny_action: self.deny_action.clone(),
            ..Snapshot::default()
        }
    }
}

/// The world behind its lock, with the configuration of the program.
pub struct Fake {
    world: Mutex<World>,
    pub config: Mutex<String>,
    /// Whether the next runs look at everything.
    pub sweep: AtomicBool,
    killed: tokio::sync::Notify,
    lost: tokio::sync::Notify,
}

impl Fake {
    pub fn new(config: &str) -> Self {
        Self {
            world: Mutex::new(World { deny_action: Some("Drop".to_owned()), ..World::default() }),
            config: Mutex::new(config.to_owned()),
            sweep: AtomicBool::new(false),
            killed: tokio::sync::Notify::new(),
            lost: tokio::sync::Notify::new(),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A moment at which a SIGKILL may come.
    async fn point(&self) {
        let dies = {
            let mut world = self.world();
            world.points += 1;
            world.kill_at == Some(world.points)
        };
        if dies {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
