//! The flows that two sets decide otherwise, endpoint by endpoint.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Families, Open, Point, Reach, outside, outside::Range, points};
use crate::{
    engine::{
        matrix,
        verdict::{FlowVerdict, Side},
        world::{Class, End, Family},
    },
    model::{Direction, Endpoint, Origin, Policy, Workload},
};

/// A flow that the two sets decide otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The source.
    pub source: Endpoint,
    /// The destination.
    pub destination: Endpoint,
    /// The families that it is about.
    pub families: Families,
    /// What was allowed.
    pub before: Open,
    /// What is allowed.
    pub after: Open,
    /// The rules and policies that make the difference.
    pub because: Vec<Origin>,
}

/// An endpoint on both sides, or on one.
struct Pair {
    endpoint: Endpoint,
    workload: Workload,
    before: Option<usize>,
    after: Option<usize>,
}

impl Pair {
    fn is_same_place(&self, other: &Self) -> bool {
        let is_host = |pair: &Self| matches!(pair.endpoint, Endpoint::Host { .. });
        self.workload == other.workload || is_host(self) && is_host(other)
    }
}

/// Two sets over their workloads.
pub struct Comparison<'r, 'w> {
    before: &'r Reach<'w>,
    after: &'r Reach<'w>,
    pairs: Vec<Pair>,
    /// Where the classes are the same: which of them may have another answer at all.
    hint: Option<matrix::Difference>,
}

/// What was and is open, in one family.
type Both = (Family, Open, Open);

impl<'r, 'w> Comparison<'r, 'w> {
    /// Finds the endpoints of both. Where the pods of a workload have to be told apart on one side, they are on both.
    #[must_use]
    pub fn new(before: &'r Reach<'w>, after: &'r Reach<'w>) -> Self {
        let same = before.matrix.world.classes == after.matrix.world.classes;
        let hint = same.then(|| matrix::Difference::new(&before.matrix, &after.matrix));
        Self { before, after, pairs: pairs(before, after), hint }
    }

    /// Workloads and nodes that only one side has; true for those of the second.
    #[must_use]
    pub fn workloads(&self) -> Vec<(bool, Endpoint)> {
        let one_sided = self.pairs.iter().filter(|pair| pair.before.is_none() != pair.after.is_none());
        one_sided.map(|pair| (pair.after.is_some(), pair.endpoint.clone())).collect()
    }

    /// Gives every flow that differs to `visit`, sorted by source and destination; outside addresses come last.
    ///
    /// # Errors
    /// The first one that `visit` has.
    pub fn changes<E>(&self, mut visit: impl FnMut(Change) -> Result<(), E>) -> Result<(), E> {
        let receiving: Vec<&Pair> = self.pairs.iter().filter(|pair| self.may_receive(pair)).collect();
        let all: Vec<&Pair> = self.pairs.iter().collect();
        for source in &self.pairs {
            let destinations = if self.may_send(source) { &all } else { &receiving };
            for destination in destinations.iter().filter(|destination| !source.is_same_place(destination)) {
                for change in self.between(source, destination) {
                    visit(change)?;
                }
            }
            for (cidrs, both) in self.outside(Direction::Egress, source) {
                visit(self.with_outside(Direction::Egress, source, cidrs, both))?;
            }
        }
        let mut incoming = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            let sets = self.outside(Direction::Ingress, pair).into_iter();
            incoming.extend(sets.map(|(cidrs, both)| (cidrs, index, both)));
        }
        incoming.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (cidrs, index, both) in incoming {
            if let Some(pair) = self.pairs.get(index) {
                visit(self.with_outside(Direction::Ingress, pair, cidrs, both))?;
            }
        }
        Ok(())
    }

    /// Whether flows from an endpoint may differ, wherever they go.
    fn may_send(&self, pair: &Pair) -> bool {
        self.hint.as_ref().zip(pair.after).is_none_or(|(hint, class)| hint.may_be_from(class))
    }

    /// Whether flows to an endpoint may differ, wherever they come from.
    fn may_receive(&self, pair: &Pair) -> bool {
        self.hint.as_ref().zip(pair.after).is_none_or(|(hint, class)| hint.may_be_to(class))
    }

    fn between(&self, source: &Pair, destination: &Pair) -> Vec<Change> {
        // The side that few endpoints of one kind have comes first: mostly it is closed, and the other one is not asked.
        let first = if self.may_send(source) { Direction::Egress } else { Direction::Ingress };
        let is_closed = |reach: &Reach<'_>, from: Option<usize>, to: Option<usize>| {
            from.zip(to).is_none_or(|(from, to)| reach.is_closed(first, from, to))
        };
        if is_closed(self.before, source.before, destination.before)
            && is_closed(self.after, source.after, destination.after)
        {
            return Vec::new();
        }
        let on = |reach: &Reach<'_>, from: Option<usize>, to: Option<usize>| -> BTreeMap<Family, Open> {
            from.zip(to).map(|(from, to)| reach.by_family(from, to)).unwrap_or_default().into_iter().collect()
        };
        let mut before = on(self.before, source.before, destination.before);
        let mut after = on(self.after, source.after, destination.after);
        let families: BTreeSet<Family> = before.keys().chain(after.keys()).copied().collect();
        let mut take = |family: Family| -> Both {
            (family, before.remove(&family).unwrap_or_default(), after.remove(&family).unwrap_or_default())
        };
        let all: Vec<Both> = families.into_iter().map(&mut take).collect();
        let same = all.windows(2).all(|pair| matches!(pair, [a, b] if (&a.1, &a.2) == (&b.1, &b.2)));
        let different = all.into_iter().filter(|(_, before, after)| before != after);
        let change = |(family, before, after): Both| {
            let because = self.because(source, destination, family, (&before, &after));
            let families = if same { Families::Any } else { Families::One(family) };
            Change {
                source: source.endpoint.clone(),
                destination: destination.endpoint.clone(),
                families,
                before,
                after,
                because,
            }
        };
        different.take(if same { 1 } else { 2 }).map(change).collect()
    }

    /// Sets of outside addresses with the ports before and after, where these differ.
    fn outside(&self, direction: Direction, pair: &Pair) -> Vec<(Vec<IpNet>, (Open, Open, Range))> {
        let may_be = match direction {
            Direction::Egress => self.may_send(pair),
            Direction::Ingress => self.may_receive(pair),
        };
        if !may_be {
            return Vec::new();
        }
        let sides = [(self.before, pair.before), (self.after, pair.after)];
        let policies: Vec<&Policy> = sides
            .iter()
            .filter_map(|(reach, class)| Some(reach.matrix.isolating(direction, (*class)?)))
            .flatten()
            .collect();
        let mut sets: Vec<(Open, Open, Vec<Range>)> = Vec::new();
        let families = [Family::V4, Family::V6].map(Range::all).into_iter();
        // What tells addresses apart on either side: each has network sets of its own.
        let parts = |all: Range| -> Vec<Range> {
            let [old, new] = [self.before, self.after].map(|reach| &reach.matrix.world.surroundings);
            let parts = outside::within(old, policies.iter().copied(), all).into_iter();
            parts.flat_map(|part| outside::within(new, policies.iter().copied(), part)).collect()
        };
        for range in families.flat_map(parts) {
            let [before, after] = sides.map(|(reach, class)| {
                class.map(|class| reach.outside_part(direction, class, &range)).unwrap_or_default()
            });
            if before == after {
                continue;
            }
            match sets.iter_mut().find(|(b, a, _)| *b == before && *a == after) {
                Some((_, _, ranges)) => ranges.push(range),
                None => sets.push((before, after, vec![range])),
            }
        }
        let told = |(before, after, ranges): (Open, Open, Vec<Range>)| {
            let first = ranges.first().copied()?;
            Some((outside::blocks(&ranges), (before, after, first)))
        };
        let mut sets: Vec<_> = sets.into_iter().filter_map(told).collect();
        sets.sort_by(|a, b| a.0.cmp(&b.0));
        sets
    }

    fn with_outside(
        &self,
        direction: Direction,
        pair: &Pair,
        cidrs: Vec<IpNet>,
        (before, after, range): (Open, Open, Range),
    ) -> Change {
        let other = (None, End::outside(range.first()));
        let ends = |reach: &Reach<'w>, class: Option<usize>| {
            let own = (class, End::pods(reach.matrix.class(class?)?, range.family));
            Some(if direction == Direction::Egress { (own, other) } else { (other, own) })
        };
        let because = reasons(
            (self.before, ends(self.before, pair.before)),
            (self.after, ends(self.after, pair.after)),
            (&before, &after),
        );
        let outside = Endpoint::External { name: None, cidrs };
        let (source, destination) = match direction {
            Direction::Egress => (pair.endpoint.clone(), outside),
            Direction::Ingress => (outside, pair.endpoint.clone()),
        };
        Change { source, destination, families: Families::Any, before, after, because }
    }

    fn because(&self, source: &Pair, destination: &Pair, family: Family, open: (&Open, &Open)) -> Vec<Origin> {
        let ends = |reach: &Reach<'w>, from: Option<usize>, to: Option<usize>| {
            let end = |class: Option<usize>| Some((class, End::pods(reach.matrix.class(class?)?, family)));
            end(from).zip(end(to))
        };
        reasons(
            (self.before, ends(self.before, source.before, destination.before)),
            (self.after, ends(self.after, source.after, destination.after)),
            open,
        )
    }
}

/// Both ends, with their classes; `None` is outside.
type Ends<'e> = Option<((Option<usize>, End<'e>), (Option<usize>, End<'e>))>;

/// The places that make the difference, asked of one port that was added and one that was taken away.
fn reasons(
    (before, ends_before): (&Reach<'_>, Ends<'_>),
    (after, ends_after): (&Reach<'_>, Ends<'_>),
    (old, new): (&Open, &Open),
) -> Vec<Origin> {
    let mut origins = BTreeSet::new();
    for ports in [new.ports.difference(&old.ports), old.ports.difference(&new.ports)] {
        let Some(port) = ports.iter().next() else { continue };
        let ask = |reach: &Reach<'_>, ends: Ends<'_>| {
            ends.map(|(from, to)| reach.matrix.flow(from, to, (port.protocol, port.from)))
        };
        let (was, is) = (ask(before, ends_before), ask(after, ends_after));
        for side in [|v: &FlowVerdict| v.egress.clone(), |v: &FlowVerdict| v.ingress.clone()] {
            origins.extend(of_side(was.as_ref().map(side).as_ref(), is.as_ref().map(side).as_ref()));
        }
    }
    origins.into_iter().collect()
}

/// What decides a side now, if it is decided otherwise than before; where nothing does, what did.
fn of_side(was: Option<&Side>, is: Option<&Side>) -> Vec<Origin> {
    if let (Some(was), Some(is)) = (was, is)
        && was.decision() == is.decision()
    {
        return Vec::new();
    }
    let places = |side: Option<&Side>| -> Vec<Origin> {
        match side {
            Some(Side::Allowed(rules)) => rules.iter().filter_map(|(_, origin)| origin.clone()).collect(),
            Some(Side::Denied(policies)) => policies.iter().filter_map(|(_, origin)| origin.clone()).collect(),
            Some(Side::Stopped(_, origin)) => origin.iter().cloned().collect(),
            Some(Side::NotIsolated | Side::Undefined) | None => Vec::new(),
        }
    };
    let now = places(is);
    if now.is_empty() { places(was) } else { now }
}

fn pairs(before: &Reach<'_>, after: &Reach<'_>) -> Vec<Pair> {
    let mut places: BTreeMap<points::Place, [Vec<&Point>; 2]> = BTreeMap::new();
    for (side, reach) in [before, after].into_iter().enumerate() {
        for point in reach.points() {
            if let Some(list) = places.entry(point.place()).or_default().get_mut(side) {
                list.push(point);
            }
        }
    }
    let mut pairs = Vec::new();
    for [old, new] in places.values() {
        if let ([] | [_], [] | [_]) = (old.as_slice(), new.as_slice())
            && [old, new].iter().all(|side| side.iter().all(|point| point.is_whole()))
        {
            let Some(point) = new.first().or_else(|| old.first()) else { continue };
            pairs.push(Pair {
                endpoint: point.endpoint.clone(),
                workload: point.workload.clone(),
                before: old.first().map(|point| point.class),
                after: new.first().map(|point| point.class),
            });
        } else {
            pairs.extend(apart((before, old), (after, new)));
        }
    }
    pairs
}

/// Pod by pod. A side that has only a template of the workload has it for each pod.
fn apart((before, old): (&Reach<'_>, &[&Point]), (after, new): (&Reach<'_>, &[&Point])) -> Vec<Pair> {
    let Some(workload) = new.first().or_else(|| old.first()).map(|point| &point.workload) else { return Vec::new() };
    let classes = |reach: &Reach<'_>| -> (BTreeMap<Endpoint, usize>, Option<usize>) {
        let of = |(_, class): &(usize, &Class)| class.workload == *workload && !class.host_network;
        let all: Vec<_> = reach.matrix.world.classes.iter().enumerate().filter(of).collect();
        let template = all.iter().find(|(_, class)| class.pods.is_empty()).map(|(index, _)| *index);
        let pods = points::pods(&all).into_iter().map(|point| (point.endpoint, point.class));
        (pods.collect(), template)
    };
    let (was, is) = (classes(before), classes(after));
    let names: BTreeSet<&Endpoint> = was.0.keys().chain(is.0.keys()).collect();
    let pair = |endpoint: &&Endpoint| Pair {
        endpoint: (*endpoint).clone(),
        workload: workload.clone(),
        before: was.0.get(*endpoint).copied().or(was.1),
        after: is.0.get(*endpoint).copied().or(is.1),
    };
    names.iter().map(pair).collect()
}
