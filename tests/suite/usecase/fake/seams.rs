//! The seams of the use case, over the world in memory.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use netpol_verify::{
    model::{
        Declared, KustomizationRef, KustomizationStatus, ObjectRef, OutboxEntry, Outcome, PodInfo, PodRef, PolicyRef,
        Snapshot, State,
    },
    state::{decode, encode},
    verify::seams::{
        Clock, Cluster, Delivery, Fault, Lock, Notifier, Outside, ProbeSource, ProbeTarget, Prober, Resolver, Seen,
        Source, Store,
    },
};

use super::{Event, Fake, packets};

impl Outside for Fake {
    type Source = Self;
    type Cluster = Self;
    type Prober = Self;
    type Notifier = Self;
    type Store = Self;
    type Lock = Self;
    type Clock = Self;
    type Resolver = Self;
    type Shards = Self;

    fn source(&self) -> &Self {
        self
    }
    fn cluster(&self) -> &Self {
        self
    }
    fn prober(&self) -> &Self {
        self
    }
    fn notifier(&self) -> &Self {
        self
    }
    fn store(&self) -> &Self {
        self
    }
    fn lock(&self) -> &Self {
        self
    }
    fn clock(&self) -> &Self {
        self
    }
    fn resolver(&self) -> &Self {
        self
    }
    fn shards(&self) -> &Self {
        self
    }
}

impl Source for Fake {
    async fn status(&self, id: &KustomizationRef) -> Result<Option<KustomizationStatus>, Fault> {
        Ok(self.world().kustomizations.get(id).map(|k| k.status.clone()))
    }

    async fn declared(&self, status: &KustomizationStatus) -> Result<Declared, Fault> {
        let world = self.world();
        let kustomization = world.kustomizations.get(&status.id).ok_or("no such Kustomization")?;
        if let Some(fault) = &kustomization.fetch_fault {
            return Err(fault.clone().into());
        }
        if kustomization.status.applied != status.applied {
            return Err("the source is ahead of the apply".into());
        }
        Ok(Declared {
            status: status.clone(),
            rendering: kustomization.rendering.clone(),
            policies: kustomization.documents.clone(),
            namespaces: Vec::new(),
            allowlist: world.allowlist.clone(),
            remembered: false,
        })
    }

    async fn inventories(&self) -> Result<BTreeMap<KustomizationRef, Vec<ObjectRef>>, Fault> {
        let world = self.world();
        let own = world.kustomizations.iter().map(|(id, k)| (id.clone(), k.status.inventory.clone()));
        Ok(own.chain(world.foreign_inventories.clone()).collect())
    }
}

impl Cluster for Fake {
    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        Ok(self.world().snapshot())
    }

    async fn pods(&self, ids: &[PodRef]) -> Result<BTreeMap<PodRef, PodInfo>, Fault> {
        let world = self.world();
        let wanted = world.pods.iter().filter(|p| ids.contains(&p.info.id));
        Ok(wanted.map(|p| (p.info.id.clone(), p.info.clone())).collect())
    }

    async fn policy_versions(&self) -> Result<BTreeMap<PolicyRef, String>, Fault> {
        let snapshot = self.world().snapshot();
        Ok(snapshot.deciding().map(|p| (p.document.id.clone(), p.resource_version.clone())).collect())
    }

    async fn log(&self, pod: &PodRef, container: &str, since: &str) -> Result<String, Fault> {
        let mut world = self.world();
        world.logs_read.push((pod.clone(), container.to_owned(), since.to_owned()));
        world.logs.get(pod).cloned().unwrap_or_else(|| Ok(String::new())).map_err(Into::into)
    }

    async fn event(&self, _: &str, message: &str, _: bool) -> Result<(), Fault> {
        self.world().kubernetes_events.push(message.to_owned());
        Ok(())
    }
}

impl Prober for Fake {
    async fn probe(&self, source: &ProbeSource, targets: &[ProbeTarget]) -> Vec<Seen> {
        let hook = self.world().on_probe.take();
        if let Some(hook) = hook {
            hook(self);
        }
        let hangs = self.world().hangs.clone();
        if hangs.is_some_and(|workload| source.workload.ends_with(&workload) && source.pod.namespace == "shop") {
            std::future::pending::<()>().await;
        }
        let mut world = self.world();
        world.execs += 1;
        let takes = world.exec_takes;
        world.elapsed += takes;
        targets
            .iter()
            .map(|target| {
                let mut addresses = Vec::new();
                let outcome = match target {
                    _ if world.cuts.contains(&world.execs) => Outcome::Cut,
                    ProbeTarget::Connect { protocol, address, port } => {
                        world.asked.insert((source.pod.clone(), *address, *port));
                        packets::outcome(&world, &source.pod, *protocol, *address, *port)
                    }
                    ProbeTarget::Dns { server, port } => {
                        world.asked.insert((source.pod.clone(), *server, *port));
                        packets::dns(&world, &source.pod, *server, *port)
                    }
                    ProbeTarget::Resolve { name } => {
                        *world.resolved.entry((source.pod.clone(), name.clone())).or_default() += 1;
                        let (outcome, found) = packets::resolve(&world, &source.pod, name);
                        addresses = found;
                        outcome
                    }
                };
                Seen {
                    outcome,
                    elapsed: Duration::from_millis(3),
                    text: format!("nc: {outcome}"),
                    addresses,
                    ephemeral: false,
                }
            })
            .collect()
    }
}

impl Notifier for Fake {
    async fn send(&self, entry: &OutboxEntry) -> Result<Delivery, Fault> {
        self.point().await;
        let sent = {
            let mut world = self.world();
            if world.room_is_down {
                return Err("the homeserver does not answer".into());
            }
            assert!(entry.tried.is_some(), "an entry is marked in the state before it is tried");
            let known = world.room.iter().find(|e| e.txn == entry.txn).map(|e| e.id.clone());
            known.unwrap_or_else(|| {
                let id = format!("${}", world.room.len());
                world.room.push(Event::new(&id, entry));
                id
            })
        };
        self.point().await;
        Ok(Delivery::Sent { event: sent })
    }

    fn token_mark(&self) -> String {
        "token".to_owned()
    }
}

impl Store for Fake {
    async fn load(&self) -> Result<State, Fault> {
        let mut world = self.world();
        world.loaded = world.written;
        Ok(match &world.state {
            Some(bytes) => decode(bytes)?,
            None => State { version: 1, id: "5eed".to_owned(), ..State::default() },
        })
    }

    async fn save(&self, state: &State) -> Result<(), Fault> {
        self.point().await;
        {
            let mut world = self.world();
            if world.loaded != world.written {
                return Err("the state was written by somebody else".into());
            }
            assert!(world.lock_held, "only the run that holds the lock writes");
            world.state = Some(encode(state)?);
            world.written += 1;
            world.loaded = world.written;
        }
        self.point().await;
        Ok(())
    }
}

impl Lock for Fake {
    async fn acquire(&self, _: Duration) -> Result<(), Fault> {
        for _ in 0..10_000 {
            if !std::mem::replace(&mut self.world().lock_held, true) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        Err("the Lease was not free".into())
    }

    fn is_held(&self) -> bool {
        self.world().lock_held
    }

    async fn lost(&self) {
        self.lost.notified().await;
    }

    async fn release(&self) {
        self.world().lock_held = false;
    }
}

impl Clock for Fake {
    fn now(&self) -> String {
        self.world().now()
    }

    fn elapsed(&self) -> Duration {
        self.world().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        self.world().elapsed += duration;
        let hook = self.world().on_sleep.take();
        if let Some(hook) = hook {
            hook(self);
        }
        tokio::task::yield_now().await;
    }
}

impl Resolver for Fake {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Fault> {
        let world = self.world();
        world.names.get(name).cloned().ok_or_else(|| format!("{name} has no address").into())
    }
}
