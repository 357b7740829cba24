//! The network from outside: what a test holds.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use super::nft::Policies;
use super::program::Holder;
use super::wire::{self, Place, ToNode, ToPod};
use super::{Denial, Error, Exec, Name, Names, PodNet, PodSpec, Rules, Seen, Service, Target, nft};

/// Pods that are given no address get one from `10.244.0.0/16`.
const FIRST_PICKED: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
/// A socket's path has at most 107 bytes.
const LONGEST_FOLDER: usize = 60;

/// One lab's network. Everything in it is gone when this is dropped (which waits for that, some milliseconds), and
/// when the process ends, however it does.
#[derive(Debug)]
pub struct Net {
    // The order matters: the processes go before their folder.
    holder: Holder,
    folder: TempDir,
    state: Mutex<State>,
    policies: tokio::sync::Mutex<Policies>,
    /// Held while a table, or the names, are made from the state and sent.
    sending: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    last: u32,
    pods: BTreeMap<String, Pod>,
    names: Names,
}

#[derive(Clone, Debug)]
struct Pod {
    number: u32,
    addresses: Vec<IpAddr>,
    dead: bool,
    dns: bool,
    folder: PathBuf,
}

impl Net {
    /// The node's addresses; whatever a pod connects to there is refused, as nothing listens.
    pub const NODE: [IpAddr; 2] = super::inside::NODE;

    /// Starts it: no pods, and everything may pass.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::NoNode`] and [`Error::Namespaces`] say what to do about it.
    pub async fn start() -> Result<Self, Error> {
        let folder = folder()?;
        let at = folder.path().to_owned();
        let starting = tokio::task::spawn_blocking(move || Holder::start(&at));
        let holder = starting.await.unwrap_or_else(|cause| Err(Error::Namespaces { said: cause.to_string() }))?;
        let (state, policies, sending) = Default::default();
        Ok(Self { holder, folder, state, policies, sending })
    }

    /// The id of the process that all others of this network descend from.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.holder.id()
    }

    /// Starts a pod, and waits until it listens. Several can be started at once.
    ///
    /// # Errors
    ///
    /// [`Error::Pod`] where its name or an address is taken, [`Error::Missing`] where one of its tools is not
    /// installed, [`Error::Refused`] where it does not start or cannot listen.
    pub async fn add_pod(&self, spec: &PodSpec) -> Result<PodNet, Error> {
        let pod = self.reserve(spec)?;
        let added = self.add(spec, &pod).await;
        if added.is_err() {
            self.state().pods.remove(&spec.name);
            // The error that is told is the first one.
            drop(fs::remove_dir_all(&pod.folder));
        }
        added?;
        Ok(PodNet { name: spec.name.clone(), addresses: pod.addresses })
    }

    /// Starts a host outside the cluster: the same as a pod, but its addresses are to be given, any number of them.
    ///
    /// # Errors
    ///
    /// Those of [`Net::add_pod`]; and [`Error::Pod`] where it has no address.
    pub async fn add_host(&self, spec: &PodSpec) -> Result<PodNet, Error> {
        if spec.addresses.is_empty() {
            return Err(Error::Pod { pod: spec.name.clone(), why: "a host needs its addresses given".to_owned() });
        }
        self.add_pod(spec).await
    }

    /// Ends a pod or a host with everything that runs in it. Its name and addresses are free again.
    ///
    /// # Errors
    ///
    /// [`Error::Pod`] where there is none.
    pub async fn remove_pod(&self, name: &str) -> Result<(), Error> {
        let pod = self.pod(name)?;
        self.tell(&ToNode::Remove(pod.number), || format!("end pod `{name}`")).await?;
        self.state().pods.remove(name);
        drop(fs::remove_dir_all(&pod.folder));
        if pod.dead { self.send_dead().await } else { Ok(()) }
    }

    /// Makes a pod's addresses dead, or alive again: [`PodSpec::dead`].
    ///
    /// # Errors
    ///
    /// [`Error::Pod`] where there is none.
    pub async fn set_dead(&self, name: &str, dead: bool) -> Result<(), Error> {
        self.pod(name)?;
        if let Some(pod) = self.state().pods.get_mut(name) {
            pod.dead = dead;
        }
        self.send_dead().await
    }

    /// Puts these rules in the place of those before, all at once. Connections that are established stay.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the packet filter does not take them; then those before are still in force.
    pub async fn enforce(&self, rules: &Rules, denial: Denial) -> Result<(), Error> {
        let mut policies = self.policies.lock().await;
        for transaction in policies.next(rules, denial) {
            if let Err(refused) = self.filter(transaction, "policies").await {
                // The error that is told is the first one.
                drop(self.filter(policies.undo(), "policies").await);
                return Err(refused);
            }
        }
        policies.made();
        Ok(())
    }

    /// Puts these Services in the place of those before.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the packet filter does not take them; then those before are still in force.
    pub async fn set_services(&self, services: &[Service]) -> Result<(), Error> {
        self.filter(nft::services(services), "services").await
    }

    /// Puts these names in the place of those before, in every pod with [`PodSpec::dns`], and in those that come.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] where such a pod does not answer.
    pub async fn set_names(&self, names: Names) -> Result<(), Error> {
        let _sending = self.sending.lock().await;
        let pods: Vec<(String, Pod)> = {
            let mut state = self.state();
            state.names = names;
            state.pods.iter().filter(|(_, pod)| pod.dns).map(|(name, pod)| (name.clone(), pod.clone())).collect()
        };
        for (name, pod) in pods {
            self.send_names(&name, &pod).await?;
        }
        Ok(())
    }

    /// Adds one name to those that the name servers know, or changes it.
    ///
    /// # Errors
    ///
    /// Those of [`Net::set_names`].
    pub async fn set_name(&self, name: &str, known: Name) -> Result<(), Error> {
        let mut names = self.state().names.clone();
        names.insert(name.to_owned(), known);
        self.set_names(names).await
    }

    /// Runs a command in a pod as the kubelet does: with the pod's `PATH`, in its root folder, with an empty standard
    /// input, and as the leader of a process group that is killed when [`Exec::process`] is dropped before it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Pod`] where there is no such pod, [`Error::NotStarted`] where it has no such program.
    pub async fn exec(&self, pod: &str, argv: &[String]) -> Result<Exec, Error> {
        let socket = self.pod(pod)?.folder.join(wire::POD_SOCKET);
        let asked = wire::ask(&socket, &ToPod::Exec(argv.to_vec())).await;
        let (frames, answer) = asked.map_err(|cause| Error::Cut { pod: pod.to_owned(), cause })?;
        let program = argv.first().cloned().unwrap_or_default();
        answer.map_err(|said| Error::NotStarted { pod: pod.to_owned(), program, said })?;
        Ok(Exec::new(pod, frames))
    }

    /// Has a pod try connections by itself, all at once: faster than a command for each, and the same packets.
    ///
    /// # Errors
    ///
    /// [`Error::Pod`] where there is no such pod, [`Error::Cut`] where it went away before the end.
    pub async fn try_all(&self, pod: &str, targets: &[Target], limit: Duration) -> Result<Vec<Seen>, Error> {
        let socket = self.pod(pod)?.folder.join(wire::POD_SOCKET);
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let seen = async {
            let (mut stream, _) = wire::ask(&socket, &ToPod::Try(targets.to_vec(), limit)).await?;
            wire::hear(&mut stream).await
        };
        seen.await.map_err(|cause| Error::Cut { pod: pod.to_owned(), cause })
    }

    fn reserve(&self, spec: &PodSpec) -> Result<Pod, Error> {
        let wrong = |why: String| Error::Pod { pod: spec.name.clone(), why };
        let mut state = self.state();
        if state.pods.contains_key(&spec.name) {
            return Err(wrong("the name is taken".to_owned()));
        }
        let mut taken: BTreeSet<IpAddr> = state.pods.values().flat_map(|pod| pod.addresses.iter().copied()).collect();
        taken.extend(Self::NODE);
        let mut addresses = spec.addresses.clone();
        if addresses.is_empty() {
            let mut all = (FIRST_PICKED.to_bits()..).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
            addresses.extend(all.find(|address| !taken.contains(address)));
        }
        if let Some(address) = addresses.iter().find(|address| taken.contains(address)) {
            return Err(wrong(format!("the address {address} is taken")));
        }
        state.last += 1;
        let number = state.last;
        let folder = self.folder.path().join(number.to_string());
        let pod = Pod { number, addresses, dead: spec.dead, dns: spec.dns, folder };
        state.pods.insert(spec.name.clone(), pod.clone());
        Ok(pod)
    }

    async fn add(&self, spec: &PodSpec, pod: &Pod) -> Result<(), Error> {
        spec.tools.write(&pod.folder.join(wire::BIN))?;
        write(&pod.folder.join(wire::RESOLV_CONF), &spec.resolv_conf)?;
        write(&pod.folder.join(wire::HOSTS), &hosts(spec, &pod.addresses))?;
        if pod.dead {
            self.send_dead().await?;
        }
        let place = Place {
            number: pod.number,
            name: spec.name.clone(),
            addresses: pod.addresses.clone(),
            ports: spec.ports.clone(),
            dns: spec.dns,
            folder: pod.folder.clone(),
        };
        self.tell(&ToNode::Add(place), || format!("start pod `{}`", spec.name)).await?;
        if pod.dns {
            let _sending = self.sending.lock().await;
            self.send_names(&spec.name, pod).await?;
        }
        Ok(())
    }

    async fn send_dead(&self) -> Result<(), Error> {
        let _sending = self.sending.lock().await;
        let dead = {
            let state = self.state();
            let dead = state.pods.values().filter(|pod| pod.dead);
            dead.flat_map(|pod| pod.addresses.iter().copied()).collect()
        };
        self.filter(nft::dead(&dead), "dead addresses").await
    }

    async fn send_names(&self, name: &str, pod: &Pod) -> Result<(), Error> {
        let names = self.state().names.clone();
        let socket = pod.folder.join(wire::POD_SOCKET);
        self.send(&socket, &ToPod::Names(names), || format!("give names to pod `{name}`")).await
    }

    async fn filter(&self, table: String, what: &str) -> Result<(), Error> {
        self.tell(&ToNode::Filter(table), || format!("load {what} into the packet filter")).await
    }

    async fn tell(&self, message: &ToNode, what: impl Fn() -> String) -> Result<(), Error> {
        self.send(&self.folder.path().join(wire::NODE_SOCKET), message, what).await
    }

    async fn send(&self, socket: &Path, message: &impl Serialize, what: impl Fn() -> String) -> Result<(), Error> {
        let asked = wire::ask(socket, message).await;
        let (_, answer) = asked.map_err(|cause| Error::Lost { at: socket.to_owned(), cause })?;
        answer.map_err(|said| Error::Refused { what: what(), said })
    }

    fn pod(&self, name: &str) -> Result<Pod, Error> {
        let pod = self.state().pods.get(name).cloned();
        pod.ok_or_else(|| Error::Pod { pod: name.to_owned(), why: "there is none of this name".to_owned() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder whose path is short enough for sockets in it, and that a pod's own `/run` does not hide.
fn folder() -> Result<TempDir, Error> {
    let given = env::temp_dir();
    let usable = given.as_os_str().len() < LONGEST_FOLDER && !given.starts_with("/run");
    let at = if usable { given } else { PathBuf::from("/tmp") };
    tempfile::Builder::new().prefix("lab-").tempdir_in(&at).map_err(|cause| Error::Lost { at, cause })
}

fn hosts(spec: &PodSpec, addresses: &[IpAddr]) -> String {
    let own = spec.name.rsplit('/').next().unwrap_or_default();
    let own = addresses.iter().map(|address| (*address, own.to_owned()));
    let lines = own.chain(spec.hosts.iter().cloned()).map(|(address, name)| format!("{address}\t{name}\n"));
    format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{}", lines.collect::<String>())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let written: io::Result<()> = fs::write(path, text);
    written.map_err(|cause| Error::Lost { at: path.to_owned(), cause })
}
