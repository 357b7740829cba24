//! Policies of the same order: which decides depends on the version of Calico.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Rule as Kind};
use crate::{
    engine::{
        conditions::Traffic,
        matrix::Matrix,
        reach::outside,
        verdict,
        world::{Class, End, Family, World, families},
    },
    model::{Direction, Policy, PolicyRef, PortSet, Protocol, Severity},
};

/// Policies whose order among themselves decides a flow, with one such flow.
pub(super) fn ambiguous(world: &World) -> Vec<Finding> {
    if world.policies.iter().all(Policy::is_network_policy) {
        return Vec::new();
    }
    let matrix = Matrix::new(world);
    let equals = Equals { world, matrix: &matrix, sides: sides(&matrix) };
    let mut found: BTreeMap<Vec<PolicyRef>, String> = BTreeMap::new();
    for (source, from) in world.classes.iter().enumerate() {
        for (destination, to) in world.classes.iter().enumerate().filter(|(index, _)| *index != source) {
            for (policies, text) in equals.between((source, from), (destination, to)) {
                found.entry(policies).or_insert(text);
            }
        }
    }
    for (policies, text) in equals.sides.iter().flat_map(|side| equals.outside(*side)) {
        found.entry(policies).or_insert(text);
    }
    found.into_iter().map(|(policies, flow)| finding(world, &policies, &flow)).collect()
}

/// A direction of a class, by its index.
type Side = (Direction, usize);
type Numbered<'c> = (usize, &'c Class);
/// Policies, and a flow that they decide otherwise.
type Found = (Vec<PolicyRef>, String);

/// The sides to which policies of the same order apply, not all of them of Kubernetes, which only allow: nothing hangs on the others' order.
fn sides(matrix: &Matrix<'_>) -> BTreeSet<Side> {
    let classes = 0..matrix.world.classes.len();
    let all = classes.flat_map(|class| [(Direction::Ingress, class), (Direction::Egress, class)]);
    let has_equals = |(direction, class): &Side| {
        let policies: Vec<&Policy> = matrix.isolating(*direction, *class).collect();
        let groups = policies.chunk_by(|a, b| a.tier == b.tier && a.order == b.order);
        groups.into_iter().any(|group| group.len() > 1 && !group.iter().all(|policy| policy.is_network_policy()))
    };
    all.filter(has_equals).collect()
}

/// Where policies of the same order are.
struct Equals<'m, 'w> {
    world: &'w World,
    matrix: &'m Matrix<'w>,
    sides: BTreeSet<Side>,
}

impl Equals<'_, '_> {
    fn between(&self, (source, from): Numbered<'_>, (destination, to): Numbered<'_>) -> Vec<Found> {
        let sides = [(Direction::Egress, source), (Direction::Ingress, destination)];
        let sides: Vec<Side> = sides.into_iter().filter(|side| self.sides.contains(side)).collect();
        if sides.is_empty() {
            return Vec::new();
        }
        let of_family = |family| {
            let mut ports: Vec<(Protocol, u16)> = Vec::new();
            let named = self.matrix.port_entries(source, destination, family);
            ports.extend(named.iter().flat_map(PortSet::iter).map(|range| (range.protocol, range.from)));
            ports.extend(to.ports.iter().map(|port| (port.protocol, port.number)));
            let names = (from.workload.to_string(), to.workload.to_string());
            self.ask(&sides, (End::pods(from, family), End::pods(to, family)), ports, &names)
        };
        families(from, to).into_iter().flat_map(of_family).collect()
    }

    fn outside(&self, side @ (direction, index): Side) -> Vec<Found> {
        let Some(class) = self.world.classes.get(index).filter(|class| !class.host_network) else {
            return Vec::new();
        };
        let known = self.world.classes.iter().flat_map(|class| class.ips.iter().copied()).collect();
        let has = |family: &Family| match family.pick(&class.ips) {
            Some(_) => true,
            None => class.ips.is_empty() && *family == Family::V4,
        };
        let mut found = Vec::new();
        for family in [Family::V4, Family::V6].into_iter().filter(has) {
            let policies = self.matrix.isolating(direction, index);
            for range in outside::ranges(&self.world.surroundings, policies, family, &known) {
                let (own, other) = (End::pods(class, family), End::outside(range.first()));
                let name = outside::blocks(&[range]).first().map(ToString::to_string).unwrap_or_default();
                let (ends, names) = match direction {
                    Direction::Egress => ((own, other), (class.workload.to_string(), name)),
                    Direction::Ingress => ((other, own), (name, class.workload.to_string())),
                };
                found.extend(self.ask(&[side], ends, Vec::new(), &names));
            }
        }
        found
    }

    /// Asks about ports that people know by name or number, and then about one of each set of ports that the rules do
    /// not tell apart.
    fn ask(
        &self,
        sides: &[Side],
        (from, to): (End<'_>, End<'_>),
        mut ports: Vec<(Protocol, u16)>,
        names: &(String, String),
    ) -> Vec<Found> {
        let mut cuts: BTreeSet<(Protocol, u16)> = BTreeSet::new();
        for (direction, class) in sides {
            let rules = self.matrix.isolating(*direction, *class).flat_map(|p| p.rules(*direction).unwrap_or_default());
            let ports = |rule| verdict::rule_reach(self.world, rule, *direction, (from, to)).at_most();
            for range in rules.flat_map(|rule| ports(rule).iter().collect::<Vec<_>>()) {
                cuts.insert((range.protocol, range.from));
                cuts.extend(range.to.checked_add(1).map(|after| (range.protocol, after)));
            }
        }
        ports.extend(cuts);
        let mut found: BTreeMap<Vec<PolicyRef>, String> = BTreeMap::new();
        for (protocol, port) in ports {
            let mut policies = verdict::ties(self.world, from, to, &Traffic::to_port(protocol, port));
            policies.sort();
            policies.dedup();
            if !policies.is_empty() {
                let text = || format!("{} → {}:{port}/{protocol}", names.0, names.1);
                found.entry(policies).or_insert_with(text);
            }
        }
        found.into_iter().collect()
    }
}

fn finding(world: &World, policies: &[PolicyRef], flow: &str) -> Finding {
    let first = policies.first().and_then(|id| world.policies.iter().find(|policy| policy.id == *id));
    let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
    Finding {
        origin: first.and_then(|policy| policy.origin.clone()),
        rule: Kind::AmbiguousOrder,
        severity: Severity::Warning,
        message: format!(
            "{} have the same order and decide {flow} otherwise: Calico 3.32 and newer sorts them by name, older ones by namespace and tier first; give them different orders",
            names.join(" and ")
        ),
        fix: None,
    }
}
