//! First sight of a namespace, or a sweep: one denied flow for each isolated workload and direction (design §3.8).

use super::{Collected, Origin, Target, TouchedFlow, Views, changed, ports};
use crate::{
    engine::world::Family,
    model::{Decision, Direction, PortSet, Protocol, Why},
};

/// Adds a denied flow for each isolated workload and direction, on a first run, in new namespaces and in a sweep.
pub(super) fn collect(views: &Views<'_>, flows: &mut Collected) {
    for index in 0..views.classes().len() {
        let is_swept = views.input.sweep.is_some() && views.can_probe_from(index);
        if !is_swept && !is_new(views, index) {
            continue;
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            if views.live.is_isolated(direction, index) && views.class(index).is_some_and(|c| !c.pods.is_empty()) {
                add_denied(views, direction, index, flows);
            }
        }
    }
}

/// Whether a class is looked at for the first time.
pub(super) fn is_new(views: &Views<'_>, index: usize) -> bool {
    let namespace = views.class(index).map(|c| c.workload.namespace.as_str());
    namespace
        .is_some_and(|n| views.input.first_run && (views.input.probe_from)(n) || views.input.new_namespaces.contains(n))
}

fn add_denied(views: &Views<'_>, direction: Direction, index: usize, flows: &mut Collected) {
    let already = flows.iter().any(|f| {
        f.live == Decision::Denied
            && f.unseen.is_none()
            && match direction {
                Direction::Ingress => f.target == Target::Class(index),
                Direction::Egress => f.source == Origin::Class(index),
            }
    });
    if already {
        return;
    }
    let others = (0..views.classes().len()).filter(|other| *other != index);
    let candidates = others.filter_map(|other| {
        let (source, destination) = match direction {
            Direction::Ingress => (other, index),
            Direction::Egress => (index, other),
        };
        Candidate::of(views, source, destination)
    });
    let mut candidates: Vec<Candidate> = candidates.collect();
    candidates.sort_by_key(|candidate| candidate.rank);
    let is_new = is_new(views, index);
    let why = if is_new { Why::FirstRun } else { Why::Sweep };
    let flows_of = candidates.iter().map(|c| c.flow(views, why));
    let mut agreed = flows_of.filter(|flow| flow.declared == flow.live && (is_new || flow.unseen.is_none()));
    if let Some(flow) = agreed.next() {
        flows.add(flow);
    }
}

/// A denied TCP flow, towards a declared port where there is one.
struct Candidate {
    source: usize,
    target: Target,
    family: Family,
    port: (Protocol, u16),
    rank: changed::Rank,
}

impl Candidate {
    fn of(views: &Views<'_>, source: usize, destination: usize) -> Option<Self> {
        let tcp: PortSet = PortSet::all().iter().filter(|r| r.protocol == Protocol::Tcp).collect();
        let (family, port) = views.families(source, destination).into_iter().find_map(|family| {
            let denied = tcp.difference(&views.live.between(source, destination, family)?);
            Some((family, ports::best(&denied, views.class(destination))?))
        })?;
        let target = Target::Class(destination);
        let is_unseen = views.unseen(source, &target, port, Decision::Denied).is_some();
        let rank = changed::rank_of(views, Origin::Class(source), &target, port, is_unseen);
        Some(Self { source, target, family, port, rank })
    }

    fn flow(&self, views: &Views<'_>, why: Why) -> TouchedFlow {
        views.flow(self.source, self.target.clone(), self.family, self.port, why)
    }
}
