//! Flows that are open and not intended.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Intent, Kind, Side, Told, far, preposition, workloads};
use crate::{
    engine::{
        asked,
        reach::{Open, Point, outside, outside::Range},
        verdict::Side as Verdict,
        world::{End, Family},
    },
    model::{Direction, Origin, Policy, PortRange, PortSet, Protocol, RuleRef},
};

/// What lets flows through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A rule.
    Rule(RuleRef),
    /// No policy isolates the workload.
    NotIsolated(String),
    /// It hangs on something that is not known beforehand.
    Unknown(String),
}

/// Flows of one cause.
struct Excess {
    origin: Option<Origin>,
    /// The first of them, for people.
    flow: String,
    /// The peer as an entry of the list would name it.
    peer: String,
    ports: PortSet,
    count: usize,
}

/// One for each rule that opens flows which no table of the namespace intends.
pub(super) fn excess(side: &Side<'_>) -> Vec<Told> {
    let mut found: BTreeMap<Cause, Excess> = BTreeMap::new();
    for own in side.own {
        for other in workloads(side.input.reach).filter(|point| point.workload.namespace != side.namespace) {
            side.inside(own, other, &mut found);
        }
        side.outside(own, &mut found);
    }
    found.iter().map(|(cause, excess)| side.told(cause, excess)).collect()
}

impl Side<'_> {
    fn inside(&self, own: &Point, other: &Point, found: &mut BTreeMap<Cause, Excess>) {
        let reach = self.input.reach;
        let (source, destination) = match self.direction {
            Direction::Egress => (own, other),
            Direction::Ingress => (other, own),
        };
        for (family, open) in reach.by_family(source.class, destination.class) {
            let ends = reach.matrix.class(source.class).zip(reach.matrix.class(destination.class));
            let Some((from, to)) = ends.map(|(from, to)| (End::pods(from, family), End::pods(to, family))) else {
                continue;
            };
            let far = match self.direction {
                Direction::Egress => to,
                Direction::Ingress => from,
            };
            let (intended, is_named) = self.intended(other.class, &far, destination);
            let rest = beyond(&open, &intended, is_named);
            let name = format!("{} → {}", source.endpoint, destination.endpoint);
            self.add(own, (from, to), &rest, (&name, &peer_of(self.direction, other)), found);
        }
    }

    /// The ports that are intended with a workload, and whether any entry names it.
    fn intended(&self, class: usize, far: &End<'_>, destination: &Point) -> (PortSet, bool) {
        let to = asked::of_point(destination);
        let mut ports = PortSet::empty();
        let mut is_named = false;
        for (intent, other) in &self.intents {
            let is_it = other.is(class);
            if !is_it && !other.holds(self.input, far) {
                continue;
            }
            is_named = true;
            let service = other.service.filter(|_| is_it && self.direction == Direction::Egress);
            ports = ports.union(&far::ports(self.input, intent, &to, service));
        }
        (ports, is_named)
    }

    fn outside(&self, own: &Point, found: &mut BTreeMap<Cause, Excess>) {
        let reach = self.input.reach;
        let isolating: Vec<&Policy> = reach.matrix.isolating(self.direction, own.class).collect();
        let nets: Vec<_> = self.intents.iter().flat_map(|(_, far)| far.nets.iter().copied()).collect();
        let unknown = self.perhaps();
        let mut rests: Vec<(Rest, Vec<Range>)> = Vec::new();
        for range in reach.outside_ranges(own, &isolating).iter().flat_map(|range| outside::cut(range, &nets)) {
            if reach.is_known(&range) {
                continue;
            }
            let open = reach.outside_open(self.direction, own.class, range.first());
            let (intended, is_named) = self.intended_at(range.first(), own);
            let rest = beyond(&open, &intended.union(&unknown), is_named || !unknown.is_empty());
            match rests.iter_mut().find(|(known, _)| *known == rest) {
                _ if rest.is_nothing() => {}
                Some((_, ranges)) => ranges.push(range),
                None => rests.push((rest, vec![range])),
            }
        }
        for (rest, ranges) in rests {
            self.add_outside(own, &rest, &ranges, found);
        }
    }

    fn add_outside(&self, own: &Point, rest: &Rest, ranges: &[Range], found: &mut BTreeMap<Cause, Excess>) {
        let Some((class, first)) = self.input.reach.matrix.class(own.class).zip(ranges.first()) else { return };
        let blocks: Vec<String> = outside::blocks(ranges).iter().map(ToString::to_string).collect();
        let more = if blocks.len() > 3 { ", …" } else { "" };
        let text = format!("{}{more}", blocks.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", "));
        let (near, far) = (End::pods(class, Family::of(first.first())), End::outside(first.first()));
        let (ends, name) = match self.direction {
            Direction::Egress => ((near, far), format!("{} → {text}", own.endpoint)),
            Direction::Ingress => ((far, near), format!("{text} → {}", own.endpoint)),
        };
        let peer = if blocks.len() == 1 { text } else { "CIDR".to_owned() };
        self.add(own, ends, rest, (&name, &peer), found);
    }

    fn intended_at(&self, address: IpAddr, own: &Point) -> (PortSet, bool) {
        let to = match self.direction {
            Direction::Egress => far::outside(),
            Direction::Ingress => asked::of_point(own),
        };
        let holding: Vec<&Intent> = self
            .intents
            .iter()
            .filter(|(_, far)| far.holds(self.input, &End::outside(address)))
            .map(|(i, _)| *i)
            .collect();
        let ports = holding.iter().map(|intent| far::ports(self.input, intent, &to, None));
        (ports.fold(PortSet::empty(), |all, ports| all.union(&ports)), !holding.is_empty())
    }

    /// The ports of entries whose addresses are not known: what is open there may be theirs.
    fn perhaps(&self) -> PortSet {
        let unknown = self.intents.iter().filter(|(_, far)| !far.untold.is_empty() && far.ends.is_empty());
        let ports = unknown.map(|(intent, _)| far::ports(self.input, intent, &far::outside(), None));
        ports.fold(PortSet::empty(), |all, ports| all.union(&ports))
    }

    /// Puts what is open too much to its causes.
    fn add(
        &self,
        own: &Point,
        ends: (End<'_>, End<'_>),
        rest: &Rest,
        (name, peer): (&str, &str),
        found: &mut BTreeMap<Cause, Excess>,
    ) {
        let workload = own.workload.to_string();
        for range in rest.ranges() {
            let port = (range.protocol, range.from);
            let side = self.input.reach.matrix.one_side(self.direction, Some(own.class), ends, port);
            let causes: Vec<(Cause, Option<Origin>)> = match side {
                Verdict::Allowed(rules) => {
                    rules.into_iter().map(|(rule, origin)| (Cause::Rule(rule), origin)).collect()
                }
                Verdict::NotIsolated => vec![(Cause::NotIsolated(workload.clone()), None)],
                _ => vec![(Cause::Unknown(workload.clone()), None)],
            };
            for (cause, origin) in causes {
                let flow = format!("{name}:{}", ports_text(&rest.ports));
                let fresh = || Excess { origin, flow, peer: peer.to_owned(), ports: rest.ports.clone(), count: 0 };
                found.entry(cause).or_insert_with(fresh).count += 1;
            }
        }
    }

    fn told(&self, cause: &Cause, excess: &Excess) -> Told {
        let Excess { origin, flow, peer, ports, count } = excess;
        let namespace = self.namespace;
        let more = if *count > 1 { format!(" and {} more like it", count - 1) } else { String::new() };
        let entry = format!("- {{{}: {peer}{}, reason: …}}", preposition(self.direction), entry_ports(ports));
        let (file, word) = (&self.input.list.file, self.direction.word());
        let add = format!("add `{entry}` to the {word} of {namespace} in {file}");
        let (about, message) = match cause {
            Cause::Rule(rule) => (
                rule.to_string(),
                format!("{rule} lets through {flow}{more}, which nothing in {file} intends: take it out, or {add}"),
            ),
            Cause::NotIsolated(workload) => (
                format!("{word} of {workload}"),
                format!(
                    "no policy isolates {workload} for {word}, so that {flow}{more} is open, which nothing in {file} intends: add the baseline, or {add}"
                ),
            ),
            Cause::Unknown(workload) => (
                format!("{word} of {workload}, perhaps"),
                format!(
                    "{flow}{more} may be open, depending on what is not known beforehand, and nothing in {file} intends it: close it, or {add}"
                ),
            ),
        };
        Told {
            kind: Kind::Excess,
            key: format!("{namespace} {about}"),
            namespace: Some(namespace.to_owned()),
            message,
            origin: origin.clone(),
            fix: None,
        }
    }
}

/// What is open beyond what is intended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    ports: PortSet,
    /// Whether packets without ports are let through, and no entry names the other end.
    others: bool,
}

impl Rest {
    fn is_nothing(&self) -> bool {
        self.ports.is_empty() && !self.others
    }

    /// The ports to ask for causes; packets without ports have none, and stand as port 0 of no rule.
    fn ranges(&self) -> Vec<PortRange> {
        let nothing = PortRange { protocol: Protocol::Tcp, from: 0, to: 0 };
        if self.ports.is_empty() && self.others { vec![nothing] } else { self.ports.iter().collect() }
    }
}

fn beyond(open: &Open, intended: &PortSet, is_named: bool) -> Rest {
    Rest { ports: open.ports.difference(intended), others: !is_named && !open.others.allowed.is_empty() }
}

/// The other end as an entry of the list would name it.
fn peer_of(direction: Direction, other: &Point) -> String {
    let workload = &other.workload;
    match direction {
        Direction::Egress => format!("{}.{}", workload.name, workload.namespace),
        Direction::Ingress => workload.namespace.clone(),
    }
}

fn ports_text(ports: &PortSet) -> String {
    if ports.is_empty() {
        return "packets without ports".to_owned();
    }
    if *ports == PortSet::all() {
        return "every port".to_owned();
    }
    ports.iter().map(|range| range.to_string()).collect::<Vec<_>>().join(", ")
}

/// `, ports: [5432]`; nothing where only a range could say it.
fn entry_ports(ports: &PortSet) -> String {
    let is_single = |range: &PortRange| range.from == range.to;
    if ports.is_empty() || !ports.iter().all(|range| is_single(&range)) {
        return String::new();
    }
    format!(", ports: [{}]", ports_text(ports))
}
