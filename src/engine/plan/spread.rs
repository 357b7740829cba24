//! One flow from and to pods of every node: the data plane of each node enforces for its own pods, and may be stale alone.

use std::collections::{BTreeMap, BTreeSet};

use super::Planned;
use crate::{
    engine::touched::TouchedFlow,
    model::{PodInfo, PodRef, Why},
};

/// Whether each node is looked at. A finding may be one node's alone, and is not cured by what another node does.
pub(super) const fn is_everywhere(flow: &TouchedFlow) -> bool {
    matches!(flow.why, Why::Sweep | Why::OpenFinding | Why::Retried | Why::Manual)
}

/// One pod of each node, the first that is there; `turn` turns round which ones meet.
pub(super) fn by_node<'p>(pods: impl Iterator<Item = &'p PodInfo>, turn: u64) -> Vec<&'p PodInfo> {
    let mut nodes = BTreeSet::new();
    let mut found: Vec<&PodInfo> = pods.filter(|pod| nodes.insert(pod.node.clone())).collect();
    let by = usize::try_from(turn).unwrap_or(0).checked_rem(found.len()).unwrap_or(0);
    found.rotate_left(by);
    found
}

/// Pairs in which each of both lists stands at least once; no pod with itself.
pub(super) fn pairs<'p>(sources: &[&'p PodInfo], targets: &[&'p PodInfo]) -> Vec<(&'p PodInfo, &'p PodInfo)> {
    let count = sources.len().max(targets.len());
    let at = |all: &[&'p PodInfo], index: usize| index.checked_rem(all.len()).and_then(|index| all.get(index).copied());
    let pair = |index: usize| {
        let from = at(sources, index)?;
        let to = at(targets, index).filter(|to| to.id != from.id).or_else(|| at(targets, index + 1))?;
        (from.id != to.id).then_some((from, to))
    };
    (0..count).filter_map(pair).collect()
}

/// The probes of a sweep in an order in which the first ones are from all nodes: what does not fit into a run is cut off
/// its end.
pub(super) fn interleaved(probes: Vec<Planned>, node_of: impl Fn(&PodRef) -> Option<String>) -> Vec<Planned> {
    let mut of_node: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, Planned)> = probes
        .into_iter()
        .map(|planned| {
            let rank = of_node.entry(node_of(&planned.source)).or_insert(0);
            *rank += 1;
            (*rank, planned)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, planned)| planned).collect()
}
