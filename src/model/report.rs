//! The result of one run: everything that the log, the message and the exit code are derived from.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::{Deserialize, Serialize};

use super::{
    Cleared, Decision, Drift, Endpoint, Entry, Finding, KustomizationRef, Outcome, PodRef, Protocol, Revision, RuleRef,
    ServiceSeen, Standing, Strength, Sweep,
};

/// The schema name of [`Report`]'s JSON.
pub const SCHEMA: &str = "netpol-verify/report/v1";

/// Why a run runs (design §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A revision that is not checked yet.
    Merge,
    /// The CronJob's own schedule.
    Schedule,
    /// A person.
    Manual,
}

/// The whole run's verdict; design §2 has the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every touched flow was seen as declared, rendering proven, nothing open.
    Verified,
    /// At least one open finding or drift of severity error.
    Finding,
    /// Something could not be told.
    Inconclusive,
    /// Flux did not apply a revision.
    NotApplied,
    /// There was nothing to look at.
    Nothing,
}

impl Verdict {
    /// The process exit code of a run with this verdict (design §2).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Finding => 1,
            Self::Inconclusive | Self::NotApplied => 3,
            Self::Nothing => 4,
        }
    }

    /// The word in JSON and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Finding => "finding",
            Self::Inconclusive => "inconclusive",
            Self::NotApplied => "not-applied",
            Self::Nothing => "nothing",
        }
    }
}

/// Whether a rendering was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RenderingState {
    /// Its digest is Flux's.
    Proven,
    /// It is not, or could not be compared.
    Unproven,
}

/// One Kustomization in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KustomizationReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The revision attempted last.
    pub attempted: Option<Revision>,
    /// The revision applied last.
    pub applied: Option<Revision>,
    /// Flux's digest of the applied rendering.
    pub digest: Option<String>,
    /// Whether ours is the same.
    pub rendering: RenderingState,
    /// Why it is not proven, or not applied.
    pub reason: Option<String>,
}

impl KustomizationReport {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> KustomizationRef {
        KustomizationRef { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// Why a flow is in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its verdict changed.
    Changed,
    /// It exercises a rule of this merge.
    Rule,
    /// A rule of this merge opens one side only.
    OneSided,
    /// It was allowed and lost one side.
    Closure,
    /// It was pending or waiting.
    Retried,
    /// It has an open finding.
    OpenFinding,
    /// It exercises a rule on the first run.
    FirstRun,
    /// A periodic look at everything.
    Sweep,
    /// A person asked.
    Manual,
}

/// What a flow's probe amounts to (design §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowResult {
    /// Seen as declared.
    Verified,
    /// Live policies decide otherwise than Git.
    Drift,
    /// The dataplane does otherwise than the live policies.
    Enforcement,
    /// One side lacks an entry.
    MissingEntry,
    /// Open although no table intends it.
    Excess,
    /// It could not be told.
    Inconclusive,
}

impl FlowResult {
    /// Its place where the worst comes first.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Enforcement => 0,
            Self::Drift => 1,
            Self::MissingEntry => 2,
            Self::Excess => 3,
            Self::Inconclusive => 4,
            Self::Verified => 5,
        }
    }
}

/// Why an inconclusive flow stays so (design §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unseen {
    /// A retry can help.
    Pending,
    /// Nothing runs that it could be seen with yet.
    Waiting,
    /// No retry can help.
    Unprobeable,
}

/// The controls of a flow's probe, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// How the target was seen alive: `open from redis/redis itself`.
    pub target: Option<String>,
    /// How the source was seen alive: `reached kube-dns`.
    pub source: Option<String>,
    /// What they prove together.
    pub strength: Strength,
}

/// One probed flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowReport {
    /// The source.
    pub source: Endpoint,
    /// The pod probed from.
    pub source_pod: Option<PodRef>,
    /// The destination.
    pub destination: Endpoint,
    /// The address probed.
    pub target: Option<String>,
    /// The source pod's node.
    pub node: Option<String>,
    /// The target pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_node: Option<String>,
    /// Where it was looked at on several nodes and some did otherwise than declared: those that every such look has in
    /// common and no other has. Empty: no node stands out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_on: Vec<String>,
    /// Where it was looked at on several nodes: those on which it was as declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub as_declared_on: Vec<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Whether it is the IPv6 one of two flows between the same ends: see [`super::flow_key`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
    /// `exec` or `ephemeral`.
    pub via: Option<String>,
    /// Why it is here.
    pub why: Why,
    /// The verdict before this merge.
    pub before: Option<Decision>,
    /// The verdict of Git.
    pub declared: Decision,
    /// The verdict of the live policies.
    pub live: Decision,
    /// What was seen.
    pub observed: Outcome,
    /// The controls, for a denied flow.
    pub controls: Option<Controls>,
    /// What it amounts to.
    pub result: FlowResult,
    /// Why it could not be told.
    pub state: Option<Unseen>,
    /// A sentence on why: `nothing listens on 8000`, `the pod was replaced during the probe`.
    pub note: Option<String>,
    /// How long it took until it was seen as declared, in milliseconds.
    pub converged_ms: Option<u64>,
    /// How long a denied flow was still seen open, in milliseconds since probing began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ms: Option<u64>,
    /// What the Services in front of the target answered, where their endpoints have one verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceSeen>,
    /// Other flows of the same class that this one stands for.
    pub covers: usize,
    /// Rules that it exercises: those of the merge, on a first run all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleRef>,
    /// Lines of the dataplane's log that match.
    pub evidence: Vec<String>,
    /// Which side decides against it, with its policy and place: for messages.
    pub because: Vec<String>,
    /// What to add.
    pub entries: Vec<Entry>,
    /// The revision since which a finding on it stands.
    pub since: Option<Revision>,
    /// Whether its trouble was seen for the first time in this run.
    pub new: bool,
    /// Accepted until this date.
    pub accepted_until: Option<String>,
}

impl FlowReport {
    /// One of which nothing was seen yet: a flow between source and destination to a port, and what Git and the live
    /// policies decide of it.
    #[must_use]
    pub fn new(
        (source, destination): (Endpoint, Endpoint),
        (protocol, port): (Protocol, u16),
        why: Why,
        (declared, live): (Decision, Decision),
    ) -> Self {
        Self {
            source,
            source_pod: None,
            destination,
            target: None,
            node: None,
            target_node: None,
            only_on: Vec::new(),
            as_declared_on: Vec::new(),
            protocol,
            port,
            ipv6: false,
            via: None,
            why,
            before: None,
            declared,
            live,
            observed: Outcome::NotProbed,
            controls: None,
            result: FlowResult::Inconclusive,
            state: None,
            note: None,
            converged_ms: None,
            open_ms: None,
            services: Vec::new(),
            covers: 0,
            rules: Vec::new(),
            evidence: Vec::new(),
            because: Vec::new(),
            entries: Vec::new(),
            since: None,
            new: true,
            accepted_until: None,
        }
    }

    /// [`super::flow_key`]: the key in the state and in `accept`.
    #[must_use]
    pub fn key(&self) -> String {
        super::flow_key(&self.source, &self.destination, (self.protocol, self.port), self.ipv6)
    }
}

/// Flows that were not probed, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotProbed {
    /// Why.
    pub reason: String,
    /// How many.
    pub flows: usize,
}

/// How a denied connection looks on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenialLook {
    /// It times out.
    Drop,
    /// It is refused.
    Reject,
    /// Not settled.
    Unknown,
}

/// The report of one run; formats.md `netpol-verify/report/v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The cluster's name.
    pub cluster: String,
    /// The run's number, from the state.
    pub seq: u64,
    /// Why it ran.
    pub trigger: Trigger,
    /// Its verdict.
    pub verdict: Verdict,
    /// Each Kustomization.
    pub kustomizations: Vec<KustomizationReport>,
    /// What it was compared with; `None` on a first run.
    pub compared_with: Option<ComparedWith>,
    /// Policies that differ from Git.
    pub drift: Vec<Drift>,
    /// Probed flows.
    pub flows: Vec<FlowReport>,
    /// Everything else that is wrong or worth a note.
    pub findings: Vec<Finding>,
    /// Flows that were not probed.
    pub not_probed: Vec<NotProbed>,
    /// How a denial looks, by node.
    pub denial: BTreeMap<String, DenialLook>,
    /// How long it took until all flows that were seen as declared were so, in milliseconds since probing began; `None`
    /// where none was.
    #[serde(default)]
    pub converged_ms: Option<u64>,
    /// Set where everything was looked at, not only what changed.
    #[serde(default)]
    pub sweep: Option<Sweep>,
    /// Ephemeral containers that this run added to pods, to probe from; nobody can remove them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_containers: Option<NonZeroUsize>,
    /// Whether this was the first run.
    pub first_run: bool,
    /// Whether Flux's digest is the one that was checked last: the merge did not touch the policies.
    pub same_digest: bool,
    /// Counts for the message's last line.
    pub standing: Standing,
    /// What this run cleared: key and the revision since which it stood.
    pub cleared: Vec<Cleared>,
    /// When it began, RFC 3339.
    pub started: String,
    /// When it ended, RFC 3339.
    pub finished: String,
}

/// What a run was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedWith {
    /// That run's number.
    pub seq: u64,
    /// Its Kustomizations and revisions.
    pub kustomizations: Vec<(KustomizationRef, Revision)>,
}
