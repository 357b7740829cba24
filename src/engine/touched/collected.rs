//! The flows that were found, each once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Origin, Target, TouchedFlow};
use crate::{
    engine::world::Family,
    model::{Direction, Protocol},
};

type Key = (Origin, Target, Protocol, u16, bool);

/// Flows by their key: what is found twice is one flow with the reasons of both.
#[derive(Default)]
pub(super) struct Collected {
    flows: BTreeMap<Key, TouchedFlow>,
    /// The keys of those that a class is the source (egress) or the destination (ingress) of.
    ends: BTreeMap<(Direction, usize), BTreeSet<Key>>,
    /// Those that the state wants to see under this very key.
    recorded: BTreeSet<Key>,
}

fn key(flow: &TouchedFlow) -> Key {
    (flow.source, flow.target.clone(), flow.protocol, flow.port, flow.ipv6)
}

impl Collected {
    pub(super) fn add(&mut self, flow: TouchedFlow) {
        let key = key(&flow);
        match self.flows.get_mut(&key) {
            None => {
                if let Origin::Class(source) = key.0 {
                    self.ends.entry((Direction::Egress, source)).or_default().insert(key.clone());
                }
                if let Target::Class(destination) = key.1 {
                    self.ends.entry((Direction::Ingress, destination)).or_default().insert(key.clone());
                }
                self.flows.insert(key, flow);
            }
            Some(known) => {
                known.rules.extend(flow.rules);
                known.rules.sort();
                known.rules.dedup();
                known.covers = known.covers.max(flow.covers);
                known.missing = known.missing.or(flow.missing);
                known.before = known.before.or(flow.before);
                known.note = known.note.take().or(flow.note);
                if flow.missing.is_some() {
                    known.why = flow.why;
                }
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TouchedFlow> {
        self.flows.values()
    }

    /// Those from a class (egress), or to it (ingress).
    pub(super) fn at(&self, direction: Direction, class: usize) -> impl Iterator<Item = &TouchedFlow> {
        let keys = self.ends.get(&(direction, class));
        keys.into_iter().flatten().filter_map(|key| self.flows.get(key))
    }

    /// Adds a flow that the state keeps under its key.
    pub(super) fn add_recorded(&mut self, flow: TouchedFlow) {
        self.recorded.insert(key(&flow));
        self.add(flow);
    }

    /// Each flow once: over IPv6 only where it is not as over IPv4, or where the state asks for it.
    pub(super) fn into_flows(mut self) -> Vec<TouchedFlow> {
        let is_twin = |(key, flow): &(&Key, &TouchedFlow)| flow.ipv6 && !self.recorded.contains(*key);
        let twins: Vec<TouchedFlow> = self.flows.iter().filter(is_twin).map(|(_, flow)| flow.clone()).collect();
        for twin in twins {
            let four = TouchedFlow { family: Family::V4, ipv6: false, ..twin.clone() };
            let verdicts = |f: &TouchedFlow| (f.before, f.declared, f.live, f.missing);
            // Over IPv4 the same is seen.
            if self.flows.get(&key(&four)).is_some_and(|known| verdicts(known) == verdicts(&four)) {
                self.flows.remove(&key(&twin));
                self.add(four);
            }
        }
        self.flows.into_values().collect()
    }
}
