//! The words of this program: what a policy, a flow, a snapshot and a report are.
//!
//! Plain values without I/O, clock or environment. Adapters turn API objects and files into these
//! types once, at the rim; past that point every state is legal.

mod calico;
mod declared;
mod drift;
mod endpoint;
mod finding;
mod name;
mod origin;
mod outcome;
mod policy;
mod port;
mod report;
mod selector;
mod snapshot;
mod standing;
mod state;
mod sweep;

pub use calico::{
    ACCOUNT_LABEL, CALICO_API, CALICO_STORE, CalicoSelector, Conditions, EntityMatch, EntityPort, IcmpMatch,
    InvalidCalicoSelector, IpProtocol, IpVersion, LabelSource, NAMESPACE_LABEL, NetworkSet, ServiceName, TieRule,
    api_family, is_calico_copy,
};
pub use declared::{Declared, KustomizationStatus, NotApplied, PolicyDocument, Rendering};
pub use drift::{Drift, DriftClass};
pub use endpoint::{Endpoint, Labels, Workload, flow_key, without_family};
pub use finding::{Entry, Finding, Rule as FindingRule, Severity};
pub use name::{KustomizationRef, ObjectRef, PodRef, PolicyRef, Revision};
pub use origin::{Origin, Origins, Via};
pub use outcome::{Decision, Outcome, ServiceSeen, Strength};
pub use policy::{
    Action, Direction, NAME_LABEL, NamespaceMatch, Order, Peer, Policy, PortMatch, Rule, RuleRef, Subject, Tier,
};
pub use port::{PortRange, PortSet, Protocol};
pub use report::{
    ComparedWith, Controls, DenialLook, FlowReport, FlowResult, KustomizationReport, NotProbed, RenderingState, Report,
    SCHEMA, Trigger, Unseen, Verdict, Why,
};
pub use selector::{InvalidSelector, Selector, is_label_key};
pub use snapshot::{
    Calico, Container, ContainerPort, LivePolicy, Manager, NamespaceInfo, NotReadable, NotUnderstood, Phase, PodInfo,
    ServiceEnd, ServiceEnds, ServiceInfo, Snapshot, WorkloadInfo, is_mesh_proxy,
};
pub use standing::{Cleared, Standing};
pub use state::{
    Checked, CheckedKustomization, ClassRecord, FailedApply, FlowRecord, NameRecord, OpenFinding, OutboxEntry,
    OutboxKind, RecordedFlow, RunRecord, State, Trouble, Verified,
};
pub use sweep::Sweep;
