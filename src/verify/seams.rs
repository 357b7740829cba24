//! The seams between the use case and the outside: one trait each, in the words of the domain.

use std::{collections::BTreeMap, future::Future, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::shards::{Answer, Task};
use crate::model::{
    Container, Declared, KustomizationRef, KustomizationStatus, ObjectRef, OutboxEntry, Outcome, PodInfo, PodRef,
    PolicyRef, Protocol, Revision, Snapshot, State,
};

/// An adapter's trouble, with what to do about it in its text.
///
/// The use case does not look inside: every trouble makes a run inconclusive, and its text is what people read.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Git, as Flux fetched and applied it.
pub trait Source {
    /// What Flux says of a Kustomization now; `None` where it does not exist.
    fn status(&self, id: &KustomizationRef) -> impl Future<Output = Result<Option<KustomizationStatus>, Fault>> + Send;

    /// Fetches the artifact of `status.applied` and renders it.
    ///
    /// # Errors
    /// The source is ahead of the apply (lag), the artifact is not there or is not what its digest says, or the
    /// renderer failed.
    fn declared(&self, status: &KustomizationStatus) -> impl Future<Output = Result<Declared, Fault>> + Send;

    /// The inventories of all Kustomizations of the cluster, by which a live policy that Git does not declare is told
    /// from somebody else's.
    fn inventories(&self) -> impl Future<Output = Result<BTreeMap<KustomizationRef, Vec<ObjectRef>>, Fault>> + Send;
}

/// The live cluster.
pub trait Cluster {
    /// Lists everything that verdicts depend on, consistently.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, Fault>> + Send;

    /// These pods as they are now; absent ones are absent from the result.
    fn pods(&self, ids: &[PodRef]) -> impl Future<Output = Result<BTreeMap<PodRef, PodInfo>, Fault>> + Send;

    /// The resourceVersion now of each object that decides about packets ([`Snapshot::deciding`]).
    fn policy_versions(&self) -> impl Future<Output = Result<BTreeMap<PolicyRef, String>, Fault>> + Send;

    /// What a container of an enforcer has logged since a moment (RFC 3339), as far as the adapter's bounds go: of a log
    /// that is longer, its end.
    fn log(&self, pod: &PodRef, container: &str, since: &str) -> impl Future<Output = Result<String, Fault>> + Send;

    /// Writes one Event on the own Job or CronJob.
    fn event(&self, reason: &str, message: &str, warning: bool) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// A pod and container to probe from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSource {
    /// The pod.
    pub pod: PodRef,
    /// Its workload: what is learned of one pod's tools holds for the others.
    pub workload: String,
    /// Its running containers in the order in which to look for a tool.
    pub containers: Vec<Container>,
    /// Its node, for the limit of probes per node.
    pub node: Option<String>,
}

/// One thing to try from a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeTarget {
    /// Connect to an address and port (TCP), or send and wait for an answer (UDP).
    Connect {
        /// The protocol.
        protocol: Protocol,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Ask a DNS server for a name of the cluster, over UDP: conclusive only with an answer.
    Dns {
        /// The server.
        server: IpAddr,
        /// Its port.
        port: u16,
    },
    /// Resolve a name with the pod's own resolver.
    Resolve {
        /// The name.
        name: String,
    },
}

/// What one try showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The class of the result.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
    /// The tool's words, one line, bounded; or why there was no try.
    pub text: String,
    /// Addresses, for [`ProbeTarget::Resolve`].
    pub addresses: Vec<IpAddr>,
    /// Whether it was tried from an ephemeral container, and not from one that the pod has.
    pub ephemeral: bool,
}

/// Real packets from inside pods.
pub trait Prober {
    /// Tries each target from `source`; the answers are in the order of `targets`. One that stands twice is tried twice,
    /// the second time after the first has ended. Never hangs: a broken exec gives [`Outcome::Cut`], a pod without tools
    /// [`Outcome::ToolMissing`], an absent pod [`Outcome::NoSource`].
    fn probe(&self, source: &ProbeSource, targets: &[ProbeTarget]) -> impl Future<Output = Vec<Seen>> + Send;

    /// How many ephemeral containers it has added to pods so far; they cannot be removed.
    fn added(&self) -> usize {
        0
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It is in the room as this event.
    Sent {
        /// The event's id.
        event: String,
    },
    /// It will never be: the server's reason. It is dropped and counted.
    Refused {
        /// What the server said, and what to do.
        reason: String,
    },
}

/// The room.
pub trait Notifier {
    /// Delivers one entry of the outbox: once, however often it is called (transaction id; entries of unknown outcome
    /// that are too old for it are looked up in the room first).
    ///
    /// # Errors
    /// It could not be delivered now: the entry stays in the outbox.
    fn send(&self, entry: &OutboxEntry) -> impl Future<Output = Result<Delivery, Fault>> + Send;

    /// A short hash of the token in use, by which an entry tried with another token is recognised.
    fn token_mark(&self) -> String;
}

/// The memory between runs.
pub trait Store {
    /// Reads the state, or an empty one with a fresh `id` where there is none yet (not written by this call).
    fn load(&self) -> impl Future<Output = Result<State, Fault>> + Send;

    /// Writes the state over the one that was loaded or saved last.
    ///
    /// # Errors
    /// Somebody else wrote in between, it is too large, or the API server refused it.
    fn save(&self, state: &State) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The lock: one run at a time.
pub trait Lock {
    /// Waits (bounded by `wait`) until the Lease is this run's, and keeps it renewed until released or dropped.
    ///
    /// # Errors
    /// It was not free within `wait`, or the API server refused it.
    fn acquire(&self, wait: Duration) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whether it is still this run's; a run that lost it must not write.
    fn is_held(&self) -> bool;

    /// Ends when somebody else has it: whatever the run still does is for nothing. Never ends while it may come back.
    fn lost(&self) -> impl Future<Output = ()> + Send;

    /// Gives it up.
    fn release(&self) -> impl Future<Output = ()> + Send;
}

/// What names one task of one run: an answer to another one is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(pub String);

/// The other pods of the own Job, where it is an Indexed one: each probes what it is given.
pub trait Shards {
    /// How many pods the Job has, this one included: 1 where it is not indexed.
    fn count(&self) -> usize;

    /// Those that can still answer, by their completion index.
    ///
    /// # Errors
    /// The Job could not be read.
    fn alive(&self) -> impl Future<Output = Result<Vec<usize>, Fault>> + Send;

    /// Puts a task before one of them, in place of what stood there.
    ///
    /// # Errors
    /// It could not be written: nobody will answer.
    fn give(&self, index: usize, task: &Task) -> impl Future<Output = Result<Ticket, Fault>> + Send;

    /// Its answer, where it is there.
    ///
    /// # Errors
    /// It could not be read, or is none.
    fn answer(&self, index: usize, ticket: &Ticket) -> impl Future<Output = Result<Option<Answer>, Fault>> + Send;
}

/// The place of one of the other pods.
pub trait Desk {
    /// The task that lies there without an answer.
    ///
    /// # Errors
    /// It could not be read, or is none.
    fn task(&self) -> impl Future<Output = Result<Option<(Ticket, Task)>, Fault>> + Send;

    /// The name of that task, without reading the task itself.
    ///
    /// # Errors
    /// It could not be read.
    fn ticket(&self) -> impl Future<Output = Result<Option<Ticket>, Fault>> + Send;

    /// Puts the answer beside the task, unless another task lies there now.
    ///
    /// # Errors
    /// It could not be written.
    fn answer(&self, ticket: &Ticket, answer: &Answer) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whether the run has ended, so that no task will come.
    ///
    /// # Errors
    /// The Job could not be read.
    fn is_over(&self) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// Time, so that tests can turn it.
pub trait Clock {
    /// Now, RFC 3339 in UTC with seconds.
    fn now(&self) -> String;

    /// Time since some fixed moment, monotonic.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// Names of hosts outside the cluster.
pub trait Resolver {
    /// The addresses of a name, as the cluster's DNS gives them.
    fn resolve(&self, name: &str) -> impl Future<Output = Result<Vec<IpAddr>, Fault>> + Send;
}

/// Everything outside, as one value.
pub trait Outside: Sync {
    /// See [`Source`].
    type Source: Source + Sync;
    /// See [`Cluster`].
    type Cluster: Cluster + Sync;
    /// See [`Prober`].
    type Prober: Prober + Sync;
    /// See [`Notifier`].
    type Notifier: Notifier + Sync;
    /// See [`Store`].
    type Store: Store + Sync;
    /// See [`Lock`].
    type Lock: Lock + Sync;
    /// See [`Clock`].
    type Clock: Clock + Sync;
    /// See [`Resolver`].
    type Resolver: Resolver + Sync;
    /// See [`Shards`].
    type Shards: Shards + Sync;

    /// Git, as Flux fetched and applied it.
    fn source(&self) -> &Self::Source;
    /// The live cluster.
    fn cluster(&self) -> &Self::Cluster;
    /// Real packets.
    fn prober(&self) -> &Self::Prober;
    /// The room.
    fn notifier(&self) -> &Self::Notifier;
    /// The memory.
    fn store(&self) -> &Self::Store;
    /// The lock.
    fn lock(&self) -> &Self::Lock;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// Names.
    fn resolver(&self) -> &Self::Resolver;
    /// The other pods of the own Job.
    fn shards(&self) -> &Self::Shards;
}

/// The part of the outside that probing needs: packets and time. Everything that is an [`Outside`] has it.
pub trait Wire: Sync {
    /// See [`Prober`].
    type Prober: Prober + Sync;
    /// See [`Clock`].
    type Clock: Clock + Sync;

    /// Real packets.
    fn prober(&self) -> &Self::Prober;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
}

impl<O: Outside> Wire for O {
    type Prober = <O as Outside>::Prober;
    type Clock = <O as Outside>::Clock;

    fn prober(&self) -> &<O as Outside>::Prober {
        Outside::prober(self)
    }

    fn clock(&self) -> &<O as Outside>::Clock {
        Outside::clock(self)
    }
}

/// What the run's own Job says of why it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnJob {
    /// The Job's name.
    pub name: Option<String>,
    /// When it was created, RFC 3339.
    pub created: Option<String>,
    /// Whether the CronJob controller made it by schedule.
    pub scheduled: bool,
    /// `NETPOL_VERIFY_REVISION`: what the watcher saw applied.
    pub expected: Vec<(KustomizationRef, Revision)>,
    /// `NETPOL_VERIFY_TRIGGER`, where set.
    pub trigger: Option<crate::model::Trigger>,
    /// Its UID and how many pods it has, where it is an Indexed Job of more than one.
    pub indexed: Option<(String, usize)>,
}
