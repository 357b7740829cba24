//! Policies of the same order: which decides depends on the version of Calico.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Rule};
use crate::{
    engine::{
        conditions::Traffic,
        matrix::Matrix,
        verdict,
        world::{Class, End, World, families},
    },
    model::{PolicyRef, Protocol, Severity},
};

/// Policies whose order among themselves decides a flow, with one such flow.
pub(super) fn ambiguous(world: &World) -> Vec<Finding> {
    if world.policies.iter().all(crate::model::Policy::is_network_policy) {
        return Vec::new();
    }
    let matrix = Matrix::new(world);
    let mut found: BTreeMap<Vec<PolicyRef>, String> = BTreeMap::new();
    for (source, from) in world.classes.iter().enumerate() {
        for (destination, to) in world.classes.iter().enumerate().filter(|(index, _)| *index != source) {
            for (policies, text) in between(world, &matrix, (source, from), (destination, to)) {
                found.entry(policies).or_insert(text);
            }
        }
    }
    found.into_iter().map(|(policies, flow)| finding(world, &policies, &flow)).collect()
}

type Numbered<'c> = (usize, &'c Class);

fn between(
    world: &World,
    matrix: &Matrix<'_>,
    (source, from): Numbered<'_>,
    (destination, to): Numbered<'_>,
) -> Vec<(Vec<PolicyRef>, String)> {
    let mut found = Vec::new();
    for family in families(from, to) {
        let named = matrix.port_entries(source, destination, family);
        let mut ports: BTreeSet<(Protocol, u16)> =
            named.iter().flat_map(crate::model::PortSet::iter).map(|range| (range.protocol, range.from)).collect();
        ports.extend(to.ports.iter().map(|port| (port.protocol, port.number)));
        for (protocol, port) in ports {
            let (from, to) = (End::pods(from, family), End::pods(to, family));
            let mut policies = verdict::ties(world, from, to, &Traffic::to_port(protocol, port));
            policies.sort();
            policies.dedup();
            if !policies.is_empty() {
                let name = |end: End<'_>| end.class.map(|class| class.workload.to_string()).unwrap_or_default();
                found.push((policies, format!("{} → {}:{port}/{protocol}", name(from), name(to))));
            }
        }
    }
    found
}

fn finding(world: &World, policies: &[PolicyRef], flow: &str) -> Finding {
    let first = policies.first().and_then(|id| world.policies.iter().find(|policy| policy.id == *id));
    let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
    Finding {
        origin: first.and_then(|policy| policy.origin.clone()),
        rule: Rule::AmbiguousOrder,
        severity: Severity::Warning,
        message: format!(
            "{} have the same order and decide {flow} otherwise: Calico 3.32 and newer sorts them by name, older ones by namespace and tier first; give them different orders",
            names.join(" and ")
        ),
        fix: None,
    }
}
