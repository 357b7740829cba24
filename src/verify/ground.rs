//! What probing knows of the cluster: as much as a pod needs that probes a share of another one's plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::seams::ProbeSource;
use crate::{
    engine::plan::Planned,
    model::{DenialLook, PodInfo, PodRef, Snapshot},
};

/// The pods of a plan, and what is known of how their nodes deny.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ground {
    /// The pods that the plan names, as they are probed from.
    pods: Vec<ProbeSource>,
    /// All nodes that run pods.
    nodes: BTreeSet<String>,
    /// How a denial looks everywhere, where the enforcer's configuration says so.
    configured: Option<DenialLook>,
}

impl Ground {
    /// What a snapshot says of a plan's pods.
    #[must_use]
    pub fn new(snapshot: &Snapshot, plan: &[Planned]) -> Self {
        let named: BTreeSet<&PodRef> = plan.iter().flat_map(named).collect();
        let configured = snapshot.deny_action.as_deref().and_then(|action| match action {
            "Drop" => Some(DenialLook::Drop),
            "Reject" => Some(DenialLook::Reject),
            _ => None,
        });
        Self {
            pods: snapshot.pods.iter().filter(|pod| named.contains(&pod.id)).map(source).collect(),
            nodes: snapshot.pods.iter().filter_map(|pod| pod.node.clone()).collect(),
            configured,
        }
    }

    /// As much of it as a part of the plan needs.
    #[must_use]
    pub fn of(&self, plan: &[Planned]) -> Self {
        let named: BTreeSet<&PodRef> = plan.iter().flat_map(named).collect();
        let pods: Vec<_> = self.pods.iter().filter(|source| named.contains(&source.pod)).cloned().collect();
        let nodes = pods.iter().filter_map(|source| source.node.clone()).collect();
        Self { pods, nodes, configured: self.configured }
    }

    /// The pods by name.
    pub(super) fn by_name(&self) -> BTreeMap<&PodRef, &ProbeSource> {
        self.pods.iter().map(|source| (&source.pod, source)).collect()
    }

    /// How a denial looks on each node, before anything was probed.
    pub(super) fn looks(&self) -> Looks {
        let look = self.configured.unwrap_or(DenialLook::Unknown);
        Looks { nodes: self.nodes.iter().map(|node| (node.clone(), look)).collect(), configured: self.configured }
    }
}

/// The pods that a probe names.
fn named(planned: &Planned) -> impl Iterator<Item = &PodRef> {
    let controls = planned.target_controls.iter().map(|control| &control.from);
    std::iter::once(&planned.source).chain(&planned.target_pod).chain(controls)
}

/// A pod to probe from: its running containers, in their order.
#[must_use]
pub fn source(pod: &PodInfo) -> ProbeSource {
    let containers = pod.containers.iter().filter(|c| c.running).cloned().collect();
    let workload = format!("{}/{}", pod.workload.kind, pod.workload.name);
    ProbeSource { pod: pod.id.clone(), workload, containers, node: pod.node.clone() }
}

/// How a denial looks on each node: as configured, else as a denied flow with good controls showed.
pub(super) struct Looks {
    pub(super) nodes: BTreeMap<String, DenialLook>,
    configured: Option<DenialLook>,
}

impl Looks {
    /// Takes what denied flows showed.
    pub(super) fn learn(&mut self, shown: impl Iterator<Item = (String, DenialLook)>) {
        if self.configured.is_none() {
            self.nodes.extend(shown.filter(|(_, look)| *look != DenialLook::Unknown));
        }
    }

    /// Both ends' nodes have their say: a silent denial is certain only where neither rejects.
    pub(super) fn of<'n>(&self, ends: impl Iterator<Item = &'n String>) -> DenialLook {
        let known = |node: &String| self.nodes.get(node).copied().unwrap_or(DenialLook::Unknown);
        let looks: Vec<DenialLook> = ends.map(known).collect();
        if looks.contains(&DenialLook::Reject) {
            DenialLook::Reject
        } else if !looks.is_empty() && looks.iter().all(|look| *look == DenialLook::Drop) {
            DenialLook::Drop
        } else {
            DenialLook::Unknown
        }
    }
}
