//! Reachability: the ports that a policy set allows between classes.
//!
//! Which policies apply to a class is worked out once; a pair then costs only the rules that apply to its two ends.

use super::{
    conditions::{Question, Reach, Traffic},
    verdict::{self, FlowVerdict, Side},
    world::{ByNamespace, Class, End, Family, World},
};
use crate::model::{Action, Conditions, Decision, Direction, EntityPort, Policy, PortSet, Protocol, Rule};

/// Reachability of one [`World`].
pub struct Matrix<'w> {
    /// The policies and classes.
    pub world: &'w World,
    ingress: Vec<Vec<usize>>,
    egress: Vec<Vec<usize>>,
}

impl<'w> Matrix<'w> {
    /// Works out which policies apply to which class.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        let none = || vec![Vec::new(); world.classes.len()];
        let mut matrix = Self { world, ingress: none(), egress: none() };
        let namespaces = ByNamespace::new(world);
        for (index, policy) in world.policies.iter().enumerate() {
            for class in namespaces.classes(&policy.subject.namespaces) {
                matrix.put(index, policy, class);
            }
        }
        matrix
    }

    fn put(&mut self, index: usize, policy: &Policy, class: usize) {
        if !self.class(class).is_some_and(|class| self.world.applies_to(&policy.subject, class)) {
            return;
        }
        for (direction, side) in [(Direction::Ingress, &mut self.ingress), (Direction::Egress, &mut self.egress)] {
            if let (true, Some(applied)) = (policy.rules(direction).is_some(), side.get_mut(class)) {
                applied.push(index);
            }
        }
    }

    /// A class by index.
    #[must_use]
    pub fn class(&self, index: usize) -> Option<&'w Class> {
        self.world.classes.get(index)
    }

    /// Whether some policy applies to the class in this direction.
    #[must_use]
    pub fn is_isolated(&self, direction: Direction, class: usize) -> bool {
        !self.applied(direction, class).is_empty()
    }

    /// The policies that apply to a class in this direction.
    pub fn isolating(&self, direction: Direction, class: usize) -> impl Iterator<Item = &'w Policy> {
        self.applied(direction, class).iter().filter_map(|&p| self.world.policies.get(p))
    }

    /// The ports that one side allows; `None` where it is undefined (hostNetwork, or a rule that may match some port
    /// by something that is not known).
    #[must_use]
    pub fn side(&self, direction: Direction, subject: usize, peer: End<'_>, destination: End<'_>) -> Option<PortSet> {
        self.told(direction, subject, (peer, destination), Unknown::IsUndefined)
    }

    /// The ports that one side may allow: all that it surely allows, and those that hang on something that is not known
    /// (HTTP, the port of the source, the endpoints of a Service without a selector). `None` where the pods use their
    /// node's network.
    #[must_use]
    pub fn side_at_most(
        &self,
        direction: Direction,
        subject: usize,
        peer: End<'_>,
        destination: End<'_>,
    ) -> Option<PortSet> {
        self.told(direction, subject, (peer, destination), Unknown::MayAllow)
    }

    fn told(
        &self,
        direction: Direction,
        subject: usize,
        (peer, destination): (End<'_>, End<'_>),
        unknown: Unknown,
    ) -> Option<PortSet> {
        let class = self.class(subject)?;
        if class.host_network {
            return None;
        }
        let applied = self.applied(direction, subject);
        if applied.is_empty() {
            return Some(PortSet::all());
        }
        let policies: Vec<&Policy> = applied.iter().filter_map(|&p| self.world.policies.get(p)).collect();
        let source = match direction {
            Direction::Ingress => peer,
            Direction::Egress => End::pods(class, destination.family),
        };
        self.through_tiers(&policies, Ends { direction, source, destination }, unknown)
    }

    /// The ports allowed from one class to another; `None` where undefined.
    #[must_use]
    pub fn between(&self, source: usize, destination: usize, family: Family) -> Option<PortSet> {
        #[cfg(test)]
        work::count();
        let (from, to) = (End::pods(self.class(source)?, family), End::pods(self.class(destination)?, family));
        let egress = self.side(Direction::Egress, source, to, to)?;
        if egress.is_empty() && self.class(destination).is_some_and(|c| !c.host_network) {
            return Some(egress);
        }
        let ingress = self.side(Direction::Ingress, destination, from, to)?;
        Some(egress.intersection(&ingress))
    }

    /// The ports that rules at either end name, one by one; those of rules without ports are left out.
    #[must_use]
    pub fn port_entries(&self, source: usize, destination: usize, family: Family) -> Vec<PortSet> {
        let ends = self.class(source).zip(self.class(destination));
        let Some((from, to)) = ends.map(|(from, to)| (End::pods(from, family), End::pods(to, family))) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (direction, subject, peer) in [(Direction::Egress, source, to), (Direction::Ingress, destination, from)] {
            for rule in self.isolating(direction, subject).flat_map(|p| p.rules(direction).unwrap_or_default()) {
                if let Some(conditions) = &rule.conditions {
                    entries.extend(condition_entries(self.world, conditions, from, to));
                } else if rule.ports.is_some() && verdict::rule_matches_peer(self.world, rule, &peer) {
                    entries.extend(verdict::port_entries(rule, &to));
                }
            }
        }
        entries
    }

    /// The ports allowed from a class to an outside address; `None` where undefined.
    #[must_use]
    pub fn to_outside(&self, source: usize, destination: End<'_>) -> Option<PortSet> {
        self.side(Direction::Egress, source, destination, destination)
    }

    /// The verdict for one port, as [`verdict::flow`], between ends whose classes are known by index; `None` is outside.
    #[must_use]
    pub fn flow(
        &self,
        (source, from): (Option<usize>, End<'_>),
        (destination, to): (Option<usize>, End<'_>),
        (protocol, port): (Protocol, u16),
    ) -> FlowVerdict {
        let ask = |direction, subject| self.one_side(direction, subject, (from, to), (protocol, port));
        FlowVerdict { egress: ask(Direction::Egress, source), ingress: ask(Direction::Ingress, destination) }
    }

    /// One side of the same: that of the end whose class is `subject`.
    #[must_use]
    pub fn one_side(
        &self,
        direction: Direction,
        subject: Option<usize>,
        ends: (End<'_>, End<'_>),
        (protocol, port): (Protocol, u16),
    ) -> Side {
        let policies = |_: &Class| subject.map(|index| self.isolating(direction, index).collect()).unwrap_or_default();
        verdict::side(self.world, direction, ends, &Traffic::to_port(protocol, port), policies)
    }

    /// The decision for one port between classes.
    #[must_use]
    pub fn decision(
        &self,
        source: usize,
        destination: usize,
        family: Family,
        protocol: Protocol,
        port: u16,
    ) -> Decision {
        match self.between(source, destination, family) {
            None => Decision::Undefined,
            Some(ports) if ports.contains(protocol, port) => Decision::Allowed,
            Some(_) => Decision::Denied,
        }
    }

    /// The places of the policies that apply to a class, in the order of evaluation.
    pub(super) fn applied(&self, direction: Direction, class: usize) -> &[usize] {
        let side = match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        };
        side.get(class).map(Vec::as_slice).unwrap_or_default()
    }

    fn through_tiers(&self, policies: &[&Policy], ends: Ends<'_>, unknown: Unknown) -> Option<PortSet> {
        let mut allowed = PortSet::empty();
        let mut asked = PortSet::all();
        for tier in policies.chunk_by(|a, b| a.tier == b.tier) {
            let mut passed = PortSet::empty();
            for rule in tier.iter().flat_map(|p| p.rules(ends.direction).unwrap_or_default()) {
                if asked.is_empty() {
                    break;
                }
                let reach = self.reach(rule, ends);
                if reach.yes.is_empty() && reach.unknown.is_empty() {
                    continue;
                }
                let open = asked.intersection(&reach.unknown);
                if rule.action != Action::Log && !open.is_empty() && unknown == Unknown::IsUndefined {
                    return None;
                }
                // What may match is let through as far as the rule does, and asked on.
                match rule.action {
                    Action::Allow => allowed = allowed.union(&open),
                    Action::Pass => passed = passed.union(&open),
                    Action::Deny | Action::Log => {}
                }
                let matched = asked.intersection(&reach.yes);
                match rule.action {
                    Action::Allow => allowed = allowed.union(&matched),
                    Action::Pass => passed = passed.union(&matched),
                    Action::Deny => {}
                    Action::Log => continue,
                }
                asked = asked.difference(&matched);
            }
            // What no rule of the tier matched gets its default action; what was passed goes on.
            let is_denied = tier.iter().any(|policy| policy.tier.default_action == Action::Deny);
            asked = if is_denied { passed } else { asked.union(&passed) };
        }
        Some(allowed.union(&asked))
    }

    fn reach(&self, rule: &Rule, ends: Ends<'_>) -> Reach {
        let Ends { direction, source, destination } = ends;
        verdict::rule_reach(self.world, rule, direction, (source, destination))
    }
}

/// What each of the ports that a Calico rule names matches.
fn condition_entries(world: &World, conditions: &Conditions, source: End<'_>, destination: End<'_>) -> Vec<PortSet> {
    let of_port = |port: &EntityPort| {
        let mut one = conditions.clone();
        one.destination.ports = vec![port.clone()];
        Question { world, conditions: &one, source, destination }.reach().at_most()
    };
    conditions.destination.ports.iter().map(of_port).collect()
}

/// What becomes of a rule that hangs on something that is not known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    IsUndefined,
    MayAllow,
}

/// The ends of a flow, and the side that is asked.
#[derive(Clone, Copy)]
struct Ends<'w> {
    direction: Direction,
    source: End<'w>,
    destination: End<'w>,
}

/// Where two policy sets over the same classes may decide otherwise: elsewhere the one need not be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    egress: Vec<bool>,
    ingress: Vec<bool>,
    ends: Vec<bool>,
}

impl Difference {
    /// Compares what applies to each class, and its labels and ports.
    #[must_use]
    pub fn new(a: &Matrix<'_>, b: &Matrix<'_>) -> Self {
        let classes = || 0..a.world.classes.len().max(b.world.classes.len());
        let namespace = |world: &World, class: &Class| world.namespaces.get(&class.workload.namespace).cloned();
        // Network sets, ServiceAccounts and Services bear on what the same rules mean.
        let around = a.world.surroundings != b.world.surroundings;
        let is_other = |index: usize| match (a.class(index), b.class(index)) {
            (Some(x), Some(y)) => around || x != y || namespace(a.world, x) != namespace(b.world, y),
            _ => true,
        };
        let rules = |direction| classes().map(|index| !a.has_rules_of(b, direction, index)).collect();
        Self {
            egress: rules(Direction::Egress),
            ingress: rules(Direction::Ingress),
            ends: classes().map(is_other).collect(),
        }
    }

    /// Whether a flow between these classes may be decided otherwise.
    #[must_use]
    pub fn may_be_between(&self, source: usize, destination: usize) -> bool {
        self.may_be_from(source) || self.may_be_to(destination)
    }

    /// Whether a flow from this class to the world outside may be decided otherwise.
    #[must_use]
    pub fn may_be_from(&self, source: usize) -> bool {
        at(&self.egress, source) || at(&self.ends, source)
    }

    /// Whether a flow from the world outside to this class may be decided otherwise.
    #[must_use]
    pub fn may_be_to(&self, destination: usize) -> bool {
        at(&self.ingress, destination) || at(&self.ends, destination)
    }
}

fn at(list: &[bool], index: usize) -> bool {
    list.get(index).copied().unwrap_or(true)
}

impl Matrix<'_> {
    /// Whether the same rules apply to a class, in the same order, wherever they stand.
    fn has_rules_of(&self, other: &Matrix<'_>, direction: Direction, class: usize) -> bool {
        fn rules(policy: &Policy, direction: Direction) -> &[Rule] {
            policy.rules(direction).unwrap_or_default()
        }
        let means = |x: &Rule, y: &Rule| {
            x.action == y.action && x.peers == y.peers && x.ports == y.ports && x.conditions == y.conditions
        };
        let same = |(x, y): (&Policy, &Policy)| {
            let (left, right) = (rules(x, direction), rules(y, direction));
            x.tier == y.tier && left.len() == right.len() && left.iter().zip(right).all(|(l, r)| means(l, r))
        };
        self.applied(direction, class).len() == other.applied(direction, class).len()
            && self.isolating(direction, class).zip(other.isolating(direction, class)).all(same)
    }
}

/// How often pairs were asked about: what a test can bound without a clock.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local! {
        static ASKED: Cell<usize> = const { Cell::new(0) };
    }

    pub(in crate::engine) fn count() {
        ASKED.set(ASKED.get() + 1);
    }

    /// How many questions `of` asks, and its result.
    pub(in crate::engine) fn asked<T>(of: impl FnOnce() -> T) -> (usize, T) {
        let before = ASKED.get();
        let result = of();
        (ASKED.get() - before, result)
    }
}
