//! Flows whose verdict is another one than before.

use std::collections::BTreeMap;

use super::{Collected, Differences, Origin, Target, TouchedFlow, Views, first, ports};
use crate::{
    engine::{
        matrix::{Difference, Matrix},
        world::{End, Family, World, families},
    },
    model::{Decision, Direction, PolicyRef, PortSet, Protocol, Why},
};

/// Finds flips between before and live. Flows on which Git and live disagree are left to the drift.
pub(super) fn collect(views: &Views<'_>, flows: &mut Collected) {
    let Some(before) = &views.before else { return };
    let mut classes: BTreeMap<IsolationKey, Vec<TouchedFlow>> = BTreeMap::new();
    let differences = Differences {
        before_and_live: Difference::new(before, &views.live),
        declared_and_live: Difference::new(&views.declared, &views.live),
    };
    for flow in answered(views, flips(views, before, &differences.before_and_live)) {
        match isolation(views, before, &flow) {
            Some(key) => classes.entry(key).or_default().push(flow),
            None => flows.add(flow),
        }
    }
    let hidden = hidden(views, before, &differences).into_values();
    for members in classes.into_values().chain(hidden) {
        let covers = members.len() - 1;
        if let Some(flow) = members.into_iter().min_by_key(|flow| rank(views, flow)) {
            flows.add(TouchedFlow { covers: covers + flow.covers, ..flow });
        }
    }
}

/// What opens towards pods that do not declare the port is covered by what opens towards pods that do, best from the
/// same source: a policy for all pods opens its port everywhere, and nothing listens on most of them. So is what opens
/// from pods in which no probe may start by what opens from others to the same pods. Each rule of a merge is shown by a
/// flow of its own, whatever is declared.
fn answered(views: &Views<'_>, flips: Vec<TouchedFlow>) -> Vec<TouchedFlow> {
    let key = |flow: &TouchedFlow| (flow.protocol, flow.port, flow.ipv6);
    let is_declared = |flow: &TouchedFlow| match &flow.target {
        Target::Class(index) => ports::is_declared(views.class(*index), (flow.protocol, flow.port)),
        Target::Outside(_) | Target::Range(_) => true,
    };
    let opens = |flow: &TouchedFlow| flow.live == Decision::Allowed && matches!(flow.target, Target::Class(_));
    let is_shown = |flow: &TouchedFlow| !opens(flow) || is_declared(flow) && flow.unseen.is_none();
    let (mut result, rest): (Vec<_>, Vec<_>) = flips.into_iter().partition(is_shown);
    for flow in rest {
        let is_near = |f: &TouchedFlow| key(f) == key(&flow) && (f.target == flow.target || !is_declared(&flow));
        let covering = result.iter_mut().filter(|f| opens(f) && is_declared(f) && f.unseen.is_none() && is_near(f));
        match covering.min_by_key(|f| f.source != flow.source) {
            Some(covering) => covering.covers += 1,
            None => result.push(flow),
        }
    }
    result
}

/// The destination's namespace, what Git decides now, and whether it is over IPv6 alone.
type HiddenKey = (String, bool, bool);

/// Flows that the merge changed in Git while something live holds them as they were: they have to be seen once that is
/// gone. One for each namespace and decision, since a policy of the baseline may hide a whole namespace.
fn hidden(views: &Views<'_>, before: &Matrix<'_>, differences: &Differences) -> BTreeMap<HiddenKey, Vec<TouchedFlow>> {
    let mut found: BTreeMap<HiddenKey, Vec<TouchedFlow>> = BTreeMap::new();
    for (source, destination) in pairs(views, &differences.declared_and_live) {
        for family in views.families(source, destination) {
            let all = [before, &views.declared, &views.live].map(|m| m.between(source, destination, family));
            let [Some(then), Some(declared), Some(live)] = all else { continue };
            if then == declared || declared == live || views.is_as_over_ipv4(source, destination, family) {
                continue;
            }
            let sets = [then.difference(&declared), declared.difference(&then)];
            for port in sets.iter().flat_map(|set| ports::representatives(set, views.class(destination), &[])) {
                let flow = views.flow(source, Target::Class(destination), family, port, Why::Changed);
                let namespace = views.class(destination).map(|c| c.workload.namespace.clone()).unwrap_or_default();
                if flow.declared != flow.live {
                    let key = (namespace, flow.declared == Decision::Allowed, flow.ipv6);
                    found.entry(key).or_default().push(flow);
                }
            }
        }
    }
    found
}

/// Pairs that may be decided otherwise.
fn pairs<'v>(views: &'v Views<'_>, difference: &'v Difference) -> impl Iterator<Item = (usize, usize)> + 'v {
    let count = views.classes().len();
    let all = (0..count).flat_map(move |source| (0..count).map(move |destination| (source, destination)));
    all.filter(|(source, destination)| {
        difference.may_be_between(*source, *destination) && views.is_pair(*source, *destination)
    })
}

/// Flows that flipped only because isolation began or ended: the policies, the direction, the node whose dataplane has
/// to follow, whether it began, and whether it is over IPv6 alone.
type IsolationKey = (Vec<PolicyRef>, Direction, Option<String>, bool, bool);

fn flips(views: &Views<'_>, before: &Matrix<'_>, difference: &Difference) -> Vec<TouchedFlow> {
    let mut result = Vec::new();
    for (source, destination) in pairs(views, difference) {
        if views.is_watched(source) || views.is_watched(destination) {
            pair_flips(views, before, source, destination, &mut result);
        }
    }
    for source in (0..views.classes().len()).filter(|s| difference.may_be_from(*s) && views.is_watched(*s)) {
        for outside in views.hosts(source) {
            outside_flips(views, before, source, &Target::Outside(outside.clone()), &mut result);
        }
    }
    result
}

fn pair_flips(
    views: &Views<'_>,
    before: &Matrix<'_>,
    source: usize,
    destination: usize,
    result: &mut Vec<TouchedFlow>,
) {
    for family in views.families(source, destination) {
        let (then, now) =
            (before.between(source, destination, family), views.live.between(source, destination, family));
        let (Some(then), Some(now)) = (then, now) else { continue };
        if then == now || views.is_as_over_ipv4(source, destination, family) {
            continue;
        }
        let entries = [before, &views.live].map(|matrix| matrix.port_entries(source, destination, family)).concat();
        for set in [then.difference(&now), now.difference(&then)] {
            for port in ports::representatives(&set, views.class(destination), &entries) {
                push(views, source, Target::Class(destination), family, port, result);
            }
        }
    }
}

fn outside_flips(
    views: &Views<'_>,
    before: &Matrix<'_>,
    source: usize,
    target: &Target,
    result: &mut Vec<TouchedFlow>,
) {
    let Target::Outside(outside) = target else { return };
    let (family, end) = (Family::of(outside.address), End::outside(outside.address));
    let (Some(then), Some(now)) = (before.to_outside(source, end), views.live.to_outside(source, end)) else { return };
    for &port in &outside.ports {
        if then.contains(Protocol::Tcp, port) != now.contains(Protocol::Tcp, port) {
            push(views, source, target.clone(), family, (Protocol::Tcp, port), result);
        }
    }
}

fn push(
    views: &Views<'_>,
    source: usize,
    target: Target,
    family: Family,
    port: (Protocol, u16),
    result: &mut Vec<TouchedFlow>,
) {
    let mut flow = views.flow(source, target, family, port, Why::Changed);
    // Where Git and live disagree the drift speaks; a new namespace is looked at as on a first run.
    let is_new = |target: &Target| matches!(target, Target::Class(index) if first::is_new(views, *index));
    let is_left = flow.declared != flow.live || first::is_new(views, source) || is_new(&flow.target);
    if is_left || !flipped_on_a_watched_side(views, &flow) {
        return;
    }
    // Towards a host outside there is one side only, so none is left open.
    let has_two_sides = matches!(flow.target, Target::Class(_));
    if has_two_sides && flow.live == Decision::Denied && lost_one_side(views, &flow) {
        flow.why = Why::Closure;
        flow.note = Some("one side was closed, the other is still open".to_owned());
    }
    result.push(flow);
}

/// Whether a side that decides otherwise than before is this verifier's concern: what others open or close at their own
/// pods is theirs, even towards ours.
fn flipped_on_a_watched_side(views: &Views<'_>, flow: &TouchedFlow) -> bool {
    let (Some(before), Origin::Class(source)) = (&views.before, flow.source) else { return true };
    let ([egress_then, ingress_then], [egress_now, ingress_now]) =
        (sides(before, views, flow), sides(&views.live, views, flow));
    let destination_is_watched = matches!(flow.target, Target::Class(index) if views.is_watched(index));
    (egress_then != egress_now && views.is_watched(source)) || (ingress_then != ingress_now && destination_is_watched)
}

/// Whether exactly one side of a flow that was allowed denies it now.
fn lost_one_side(views: &Views<'_>, flow: &TouchedFlow) -> bool {
    let [egress, ingress] = sides(&views.live, views, flow);
    egress != ingress
}

/// Whether each side (egress, ingress) allows the flow in this view.
fn sides(matrix: &Matrix<'_>, views: &Views<'_>, flow: &TouchedFlow) -> [bool; 2] {
    let (Origin::Class(source), Some(to)) = (flow.source, views.end(&flow.target, flow.family)) else {
        return [false, false];
    };
    let has = |ports: Option<PortSet>| ports.is_some_and(|p| p.contains(flow.protocol, flow.port));
    let egress = has(matrix.side(Direction::Egress, source, to, to));
    let ingress = match (&flow.target, views.class(source)) {
        (Target::Class(destination), Some(class)) => {
            has(matrix.side(Direction::Ingress, *destination, End::pods(class, flow.family), to))
        }
        _ => true,
    };
    [egress, ingress]
}

/// The isolation that began or ended and that alone explains the flip, if there is one.
fn isolation(views: &Views<'_>, before: &Matrix<'_>, flow: &TouchedFlow) -> Option<IsolationKey> {
    let Origin::Class(source) = flow.source else { return None };
    let began = flow.live == Decision::Denied;
    // The view in which the flow is denied, and the one in which the same side must not be isolated at all.
    let (denying, other) = if began { (&views.live, before) } else { (before, &views.live) };
    let [egress, ingress] = sides(denying, views, flow);
    let mut subjects = Vec::new();
    if !egress {
        subjects.push((Direction::Egress, source));
    }
    if let (false, Target::Class(destination)) = (ingress, &flow.target) {
        subjects.push((Direction::Ingress, *destination));
    }
    // A side that denied by its rules is a change of its own.
    if subjects.iter().any(|(direction, class)| other.is_isolated(*direction, *class)) {
        return None;
    }
    let (direction, class) = *subjects.first()?;
    let policies = denying.isolating(direction, class).map(|p| p.id.clone()).collect();
    Some((policies, direction, views.class(class)?.node.clone(), began, flow.ipv6))
}

/// Which flow represents a class best: one that can be probed, towards a port that something declares.
pub(super) fn rank(views: &Views<'_>, flow: &TouchedFlow) -> Rank {
    rank_of(views, flow.source, &flow.target, (flow.protocol, flow.port), flow.unseen.is_some())
}

/// Less is better: not to be seen, target not usable, target without a control, port not declared, only an answer tells
/// (UDP), the port.
pub(super) type Rank = (bool, bool, bool, bool, bool, u16);

/// The rank of a flow whose verdicts nobody asked for yet.
pub(super) fn rank_of(
    views: &Views<'_>,
    source: Origin,
    target: &Target,
    port: (Protocol, u16),
    is_unseen: bool,
) -> Rank {
    let from = matches!(source, Origin::Class(index) if views.can_probe_from(index));
    let (usable, declared) = match target {
        Target::Class(index) => {
            let class = views.class(*index);
            (class.is_some_and(|c| c.usable), ports::is_declared(class, port))
        }
        Target::Outside(_) => (true, true),
        Target::Range(_) => (false, false),
    };
    // A denied flow proves nothing where its target cannot show that it is alive.
    let controlled = match target {
        Target::Class(index) => views.can_probe_from(*index),
        Target::Outside(_) | Target::Range(_) => true,
    };
    (is_unseen || !from, !usable, !controlled, !declared, port.0 != Protocol::Tcp, port.1)
}

/// Flows that one set of policies decides otherwise under other labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flipped {
    /// The source's class.
    pub source: usize,
    /// The destination's class.
    pub destination: usize,
    /// A port.
    pub port: (Protocol, u16),
    /// Whether it flips over IPv6 only.
    pub ipv6: bool,
    /// What it is under the labels of now.
    pub now: Decision,
}

/// The flows that the same policies decide otherwise over the labels of `then` and of `now`: nobody merged that.
#[must_use]
pub fn relabelled(then: &World, now: &World, is_watched: &dyn Fn(&str) -> bool) -> Vec<Flipped> {
    let (before, after) = (Matrix::new(then), Matrix::new(now));
    let mut result = Vec::new();
    let same_accounts = then.surroundings.accounts == now.surroundings.accounts;
    for source in 0..now.classes.len() {
        for destination in (0..now.classes.len()).filter(|d| *d != source) {
            let (from, to) = (now.classes.get(source), now.classes.get(destination));
            let (Some(from), Some(to)) = (from, to) else { continue };
            let same = |a: &World| a.classes.get(source) == Some(from) && a.classes.get(destination) == Some(to);
            let namespaces = [&from.workload.namespace, &to.workload.namespace];
            if !namespaces.iter().any(|n| is_watched(n)) {
                continue;
            }
            if same_accounts
                && same(then)
                && namespaces.iter().all(|n| then.namespaces.get(*n) == now.namespaces.get(*n))
            {
                continue;
            }
            let (mut lost, mut gained) = (PortSet::empty(), PortSet::empty());
            for family in families(from, to) {
                let ports = [&before, &after].map(|matrix| matrix.between(source, destination, family));
                let [Some(old), Some(new)] = ports else { continue };
                let ipv6 = family == Family::V6;
                for (set, known, now) in [
                    (old.difference(&new), &mut lost, Decision::Denied),
                    (new.difference(&old), &mut gained, Decision::Allowed),
                ] {
                    let port = ports::best(&set.difference(known), Some(to));
                    result.extend(port.map(|port| Flipped { source, destination, port, ipv6, now }));
                    *known = known.union(&set);
                }
            }
        }
    }
    result
}
