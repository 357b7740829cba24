//! What is remembered between runs.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    ContainerPort, Decision, Direction, Endpoint, KustomizationRef, Labels, PolicyDocument, Protocol, Revision,
    RuleRef, Unseen, Verdict, Workload,
};

/// The state ConfigMap's content (design §7).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The layout's version; a newer one is refused.
    pub version: u32,
    /// Random, made once: two clusters or installations never share message keys.
    pub id: String,
    /// The number of the last run that wrote.
    pub seq: u64,
    /// The last completed check; `None` before the first.
    pub checked: Option<Checked>,
    /// Failed applies that were told.
    pub failed: Vec<FailedApply>,
    /// The last run with exit 0, by Kustomization (`namespace/name`).
    pub verified: BTreeMap<String, Verified>,
    /// Open findings by key.
    pub findings: BTreeMap<String, OpenFinding>,
    /// Flows that could not be told, by key.
    pub flows: BTreeMap<String, FlowRecord>,
    /// The flows of the last merge that had any.
    pub last_merge: Vec<RecordedFlow>,
    /// Product namespaces once seen.
    pub product_namespaces: Vec<String>,
    /// Messages not yet delivered, oldest first.
    pub outbox: Vec<OutboxEntry>,
    /// The verdict and time of recent runs, newest first.
    pub runs: Vec<RunRecord>,
    /// What names of hosts outside led to, by workload.
    pub names: Vec<NameRecord>,
    /// When everything was looked at last.
    pub last_full: Option<String>,
    /// When the weekly line was told last, or a message in its place; on a first installation, when that was made.
    pub last_weekly: Option<String>,
    /// The root event of the last message about trouble, and when its thread was reminded last.
    pub trouble: Option<Trouble>,
}

/// The thread of a standing red.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The room's event.
    pub event: Option<String>,
    /// When a message or reminder about it was last sent, RFC 3339.
    pub told: String,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its number.
    pub seq: u64,
    /// Its Job, where it was one.
    pub job: Option<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// When it ended, RFC 3339.
    pub finished: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its exit code.
    pub exit: u8,
}

/// One Kustomization as it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedKustomization {
    /// Which one.
    pub id: KustomizationRef,
    /// The applied revision.
    pub revision: Revision,
    /// Flux's digest.
    pub digest: Option<String>,
    /// Its policies as declared.
    pub policies: Vec<PolicyDocument>,
}

/// The last completed check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The run's number.
    pub seq: u64,
    /// Each Kustomization.
    pub kustomizations: Vec<CheckedKustomization>,
    /// Live policies of others that counted as declared.
    pub others: Vec<PolicyDocument>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// Labels and ports of workloads.
    pub classes: Vec<ClassRecord>,
    /// Labels of ServiceAccounts (`namespace/name`), where a policy looks at any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<String, Labels>,
    /// The version of Calico that ran, by which it orders policies of the same order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calico: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// When it ended, RFC 3339.
    pub finished: String,
}

/// Pods of one workload that no selector told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClassRecord {
    /// The workload.
    pub workload: Workload,
    /// Its labels, without those that are unique to a pod.
    pub labels: Labels,
    /// Its ports.
    pub ports: Vec<ContainerPort>,
    /// Its ServiceAccount, where a policy looks at that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// An apply that failed, told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedApply {
    /// Which Kustomization.
    pub id: KustomizationRef,
    /// The attempted revision.
    pub attempted: Option<Revision>,
    /// The condition's reason.
    pub reason: String,
    /// The root event of its message.
    pub event: Option<String>,
}

/// The last run that verified a Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The revision.
    pub revision: Revision,
    /// When, RFC 3339.
    pub at: String,
    /// Flows not seen then (waiting, unprobeable).
    pub unseen: usize,
}

/// A finding that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFinding {
    /// The revision since which it stands.
    pub since: Option<Revision>,
    /// When it was first seen, RFC 3339.
    pub at: String,
    /// Whether people were mentioned for it.
    pub mentioned: bool,
    /// Whether it was accepted when it was seen last: once that runs out it is told again.
    #[serde(default)]
    pub accepted: bool,
    /// The root event of the message that told it.
    pub thread: Option<String>,
    /// One line for people.
    pub summary: String,
    /// Whether it changes the verdict.
    pub error: bool,
    /// The flow, where it is about one, so that it is probed until cured.
    pub flow: Option<RecordedFlow>,
    /// The rule, where it is about one, and its content: positions in a list shift.
    pub rule: Option<(RuleRef, String)>,
    /// Flows that changed labels flipped, each with what it became.
    #[serde(default)]
    pub flips: Vec<RecordedFlow>,
}

/// A flow by its workloads, so that later runs can find it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordedFlow {
    /// The source.
    pub source: Endpoint,
    /// The destination.
    pub destination: Endpoint,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// What was declared then.
    pub declared: Decision,
    /// Whether it is the IPv6 one of two: see [`super::flow_key`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
}

impl RecordedFlow {
    /// [`super::flow_key`].
    #[must_use]
    pub fn key(&self) -> String {
        super::flow_key(&self.source, &self.destination, (self.protocol, self.port), self.ipv6)
    }
}

/// A flow or rule that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// Which of the three.
    pub state: Unseen,
    /// Why, for people.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The revision that introduced it.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// The root event of the message that introduced it by name.
    #[serde(default)]
    pub thread: Option<String>,
    /// The flow, or `None` where a whole rule waits.
    pub flow: Option<RecordedFlow>,
    /// The rule, where a rule waits, and its content: positions in a list shift.
    pub rule: Option<(RuleRef, String)>,
    /// Keys of the rule's peers and ports that wait; empty where all of it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// The side that denies what a rule of its merge opened on the other, where that is so.
    pub missing: Option<Direction>,
}

/// What the name of a host outside led to in a workload's pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NameRecord {
    /// The workload.
    pub workload: Workload,
    /// The name.
    pub name: String,
    /// Its addresses when the policies let all of them through; none where they never did.
    pub addresses: Vec<IpAddr>,
    /// The key of the finding that stands on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

/// What kind of message an outbox entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutboxKind {
    /// The root message of a run.
    Root,
    /// A part of its thread.
    Thread,
    /// A reply in the thread of an older message: recovery or reminder.
    Reply,
}

/// One message that is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// The transaction id: hash of state id, seq and part; also a key in the event's content.
    pub txn: String,
    /// The run's number.
    pub seq: u64,
    /// The part, from 0.
    pub part: u32,
    /// What kind it is.
    pub kind: OutboxKind,
    /// The event's content without its relation.
    pub content: serde_json::Value,
    /// For a thread part: the transaction id of its root; the relation is filled in when the root has an event.
    pub root_txn: Option<String>,
    /// For a reply: the event it answers; for a thread part: its root's event, once known.
    pub root_event: Option<String>,
    /// Keys of findings, and of flows and rules that could not be told, whose thread this message becomes.
    pub findings: Vec<String>,
    /// When it was written, RFC 3339.
    pub at: String,
    /// When it was first tried, and with which token (a short hash), if ever.
    pub tried: Option<(String, String)>,
}
