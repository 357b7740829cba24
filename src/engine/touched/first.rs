//! First sight of a namespace: one denied flow for each isolated workload and direction (design §3.8).

use super::{Collected, Origin, Target, TouchedFlow, Views, changed, ports};
use crate::{
    engine::world::Family,
    model::{Decision, Direction, PortSet, Protocol, Why},
};

/// Adds a denied flow for each isolated workload and direction, on a first run and in new namespaces.
pub(super) fn collect(views: &Views<'_>, flows: &mut Collected) {
    for index in 0..views.classes().len() {
        if !is_new(views, index) {
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
        candidate(views, source, destination)
    });
    if let Some(flow) = candidates.min_by_key(|flow| changed::rank(views, flow)) {
        flows.add(flow);
    }
}

/// A denied TCP flow, towards a declared port where there is one.
fn candidate(views: &Views<'_>, source: usize, destination: usize) -> Option<TouchedFlow> {
    let allowed = views.live.between(source, destination, Family::V4)?;
    let tcp: PortSet = PortSet::all().iter().filter(|r| r.protocol == Protocol::Tcp).collect();
    let denied = tcp.difference(&allowed);
    let port = ports::best(&denied, views.class(destination))?;
    let flow = views.flow(source, Target::Class(destination), Family::V4, port, Why::FirstRun);
    (flow.declared == flow.live).then_some(flow)
}
