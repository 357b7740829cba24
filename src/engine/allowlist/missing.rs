//! Intended flows that are not open.

use ipnet::IpNet;

use super::{Intent, Kind, Side, Told, far, far::IntendedPeer, preposition};
use crate::{
    engine::{
        asked::{self, Asked, Port},
        blame,
        reach::{Open, Point, outside},
        verdict,
        world::{self, End, Family},
    },
    model::{Decision, Direction, Entry, Policy, Protocol},
};

/// A port; `None` stands for any.
type Wanted<'i> = Option<&'i (Protocol, Port)>;

/// What of an intended flow is not open.
#[derive(Clone, Copy)]
struct Closed<'i> {
    wanted: Wanted<'i>,
    /// The addresses; `None`: the workloads.
    net: Option<IpNet>,
}

/// One flow of many that an entry intends, at its two ends.
#[derive(Clone, Copy)]
struct Example<'w> {
    from: End<'w>,
    to: End<'w>,
    protocol: Protocol,
    port: u16,
    /// Whether one entry can open it: the port and the other end are known one by one.
    is_exact: bool,
}

/// How many flows are looked at for the one that lacks least.
const EXAMPLES: usize = 200;

/// What is said of the ports and addresses of an intended flow that no workload of the namespace may use.
pub(super) fn missing(side: &Side<'_>, intent: &Intent, far: &IntendedPeer<'_>) -> Option<Told> {
    let nets = far::reachable(side.input, side.own, &far.nets);
    let mut closed = Vec::new();
    for wanted in wants(intent) {
        if !far.ends.is_empty() && !side.is_open(far, wanted) {
            closed.push(Closed { wanted, net: None });
        }
        let is_shut = |net: &&IpNet| !matches!(wanted, Some((_, Port::Name(_)))) && !side.is_open_at(**net, wanted);
        closed.extend(nets.iter().filter(is_shut).map(|net| Closed { wanted, net: Some(*net) }));
    }
    let first = *closed.first()?;
    let (why, fix) = side.why(far, first);
    let todo = match &fix {
        Some(Entry { file: Some(file), line, .. }) => {
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            format!("add the entry to {file}{line}")
        }
        Some(_) => "add the policy".to_owned(),
        None => "open it, or take the entry out of the list".to_owned(),
    };
    let flow = side.flow(intent, &closed);
    let (word, to) = (side.direction.word(), preposition(side.direction));
    // Of two entries of one peer each stands by its own ports.
    let ports: Vec<String> = wants(intent).into_iter().map(text).collect();
    Some(Told {
        kind: Kind::Missing,
        key: format!("{} {word} {to} {}:{}", side.namespace, intent.peer, ports.join(",")),
        namespace: Some(side.namespace.to_owned()),
        message: format!("the intended flow {flow} ({}) is not open: {why}: {todo}", intent.reason),
        origin: Some(intent.origin.clone()),
        fix,
    })
}

fn wants(intent: &Intent) -> Vec<Wanted<'_>> {
    if intent.ports.is_empty() { vec![None] } else { intent.ports.iter().map(Some).collect() }
}

fn text(wanted: Wanted<'_>) -> String {
    match wanted {
        None => "any port".to_owned(),
        Some((protocol, Port::Number(number))) => format!("{number}{}", protocol.suffix()),
        Some((protocol, Port::Name(name))) => format!("{name}{}", protocol.suffix()),
    }
}

fn has(open: &Open, wanted: Wanted<'_>, numbers: impl Fn(&(Protocol, Port)) -> Vec<u16>) -> bool {
    match wanted {
        None => !open.is_empty(),
        Some(port) => numbers(port).into_iter().any(|number| open.ports.contains(port.0, number)),
    }
}

impl<'a> Side<'a> {
    /// `plana-odoo-acme → redis.redis:6379`.
    fn flow(&self, intent: &Intent, closed: &[Closed<'_>]) -> String {
        let mut ports: Vec<String> = closed.iter().map(|one| text(one.wanted)).collect();
        ports.dedup();
        let ports = ports.join(", ");
        let mut nets: Vec<IpNet> = closed.iter().filter_map(|one| one.net).collect();
        nets.dedup();
        let named = intent.peer.parse::<IpNet>().is_err() && intent.peer.parse::<std::net::IpAddr>().is_err();
        let at = match nets.as_slice() {
            [net, ..] if named => format!(" at {net}"),
            _ => String::new(),
        };
        match self.direction {
            Direction::Egress => format!("{} → {}{at}:{ports}", self.namespace, intent.peer),
            Direction::Ingress => format!("{}{at} → {}:{ports}", intent.peer, self.namespace),
        }
    }

    /// Whether some workload of the namespace may talk to one of the others.
    fn is_open(&self, far: &IntendedPeer<'_>, wanted: Wanted<'_>) -> bool {
        self.own.iter().any(|own| far.ends.iter().any(|end| self.is_open_between(own, end, far, wanted)))
    }

    fn is_open_between(&self, own: &Point, end: &Asked, far: &IntendedPeer<'_>, wanted: Wanted<'_>) -> bool {
        let Some(class) = end.class else { return false };
        let reach = self.input.reach;
        let same = reach.matrix.class(class).is_some_and(|class| class.workload == own.workload);
        let (source, destination, to, service) = match self.direction {
            Direction::Egress => (own.class, class, end.clone(), far.service),
            Direction::Ingress => (class, own.class, asked::of_point(own), None),
        };
        let numbers = |port: &(Protocol, Port)| {
            far::port_at(self.input, port, &to, service).into_iter().map(|range| range.from).collect()
        };
        !same && reach.by_family(source, destination).iter().any(|(_, open)| has(open, wanted, numbers))
    }

    /// Whether some workload of the namespace may talk to a part of a block.
    fn is_open_at(&self, net: IpNet, wanted: Wanted<'_>) -> bool {
        let reach = self.input.reach;
        let number = |port: &(Protocol, Port)| match port.1 {
            Port::Number(number) => vec![number],
            Port::Name(_) => Vec::new(),
        };
        self.own.iter().any(|own| {
            let isolating: Vec<&Policy> = reach.matrix.isolating(self.direction, own.class).collect();
            let around = &reach.matrix.world.surroundings;
            let parts = outside::within(around, isolating.into_iter(), outside::Range::of(net));
            let mut open = parts.iter().map(|part| reach.outside_open(self.direction, own.class, part.first()));
            open.any(|open| has(&open, wanted, number))
        })
    }

    /// Which side denies it, and what to add there.
    fn why(&self, far: &IntendedPeer<'_>, closed: Closed<'_>) -> (String, Option<Entry>) {
        let examples = self.examples(far, closed);
        let world = self.input.reach.matrix.world;
        let judged = examples.into_iter().take(EXAMPLES).map(|example| {
            let Example { from, to, protocol, port, .. } = example;
            (example, verdict::flow(world, from, to, protocol, port))
        });
        let denials = |sides: &verdict::FlowVerdict| {
            let is_denied = |side: &verdict::Side| usize::from(side.decision() == Decision::Denied);
            is_denied(&sides.egress) + is_denied(&sides.ingress)
        };
        let Some((example, sides)) = judged.min_by_key(|(_, sides)| denials(sides)) else {
            return (format!("nothing there has the port {}", text(closed.wanted)), None);
        };
        let sides = [(Direction::Egress, sides.egress), (Direction::Ingress, sides.ingress)];
        let words: Vec<String> =
            sides.iter().filter_map(|(direction, side)| words(*direction, side, &example)).collect();
        let denied = sides.iter().find(|(_, side)| side.decision() == Decision::Denied);
        let fix = denied.filter(|_| example.is_exact).and_then(|(direction, _)| {
            let Example { from, to, protocol, port, .. } = example;
            let flow = blame::Flow { from, to, protocol, port, side: *direction };
            blame::entries(world, self.input.documents, flow, None).into_iter().next()
        });
        (words.join(", and "), fix)
    }

    fn examples(&self, far: &IntendedPeer<'_>, closed: Closed<'_>) -> Vec<Example<'a>> {
        if let Some(net) = closed.net {
            return self.own.iter().filter_map(|own| self.to_address(own, net, closed.wanted)).collect();
        }
        let pairs = self.own.iter().flat_map(|own| far.ends.iter().map(move |end| (own, end)));
        pairs.take(EXAMPLES).flat_map(|(own, end)| self.between(own, end, far, closed.wanted)).collect()
    }

    fn to_address(&self, own: &Point, net: IpNet, wanted: Wanted<'_>) -> Option<Example<'a>> {
        let outside = End::outside(net.network());
        let own = End::pods(self.input.reach.matrix.class(own.class)?, Family::of(net.addr()));
        let (from, to) = self.ordered(own, outside);
        let (protocol, port) = match wanted {
            Some((protocol, Port::Number(number))) => (*protocol, *number),
            _ => (Protocol::Tcp, 1),
        };
        let is_exact = wanted.is_some() && net.prefix_len() == net.max_prefix_len();
        Some(Example { from, to, protocol, port, is_exact })
    }

    fn between(&self, own: &Point, end: &Asked, far: &IntendedPeer<'_>, wanted: Wanted<'_>) -> Vec<Example<'a>> {
        let matrix = &self.input.reach.matrix;
        let Some((own_class, class)) = matrix.class(own.class).zip(end.class.and_then(|class| matrix.class(class)))
        else {
            return Vec::new();
        };
        if own_class.workload == class.workload {
            return Vec::new();
        }
        let (source, destination) = self.ordered(own_class, class);
        let Some(family) = world::families(source, destination).into_iter().next() else { return Vec::new() };
        let (to, service) = match self.direction {
            Direction::Egress => (end.clone(), far.service),
            Direction::Ingress => (asked::of_point(own), None),
        };
        let declared = || destination.ports.iter().find(|port| !port.init).map(|port| (port.protocol, port.number));
        let ports: Vec<(Protocol, u16)> = match wanted {
            None => vec![declared().unwrap_or((Protocol::Tcp, 1))],
            Some(port) => far::port_at(self.input, port, &to, service)
                .into_iter()
                .map(|range| (range.protocol, range.from))
                .collect(),
        };
        let (from, to) = (End::pods(source, family), End::pods(destination, family));
        let is_exact = wanted.is_some() || declared().is_some();
        ports.into_iter().map(|(protocol, port)| Example { from, to, protocol, port, is_exact }).collect()
    }

    /// Source and destination.
    fn ordered<T>(&self, own: T, other: T) -> (T, T) {
        match self.direction {
            Direction::Egress => (own, other),
            Direction::Ingress => (other, own),
        }
    }
}

/// `egress of shop/web denies it`.
fn words(direction: Direction, side: &verdict::Side, example: &Example<'_>) -> Option<String> {
    let subject = match direction {
        Direction::Egress => example.from,
        Direction::Ingress => example.to,
    };
    let name = subject.class.map(|class| class.workload.to_string()).unwrap_or_default();
    match side {
        verdict::Side::Denied(_) => Some(format!("{} of {name} denies it", direction.word())),
        verdict::Side::Stopped(rule, _) => Some(format!("{} of {name} is denied by {rule}", direction.word())),
        _ => None,
    }
}
