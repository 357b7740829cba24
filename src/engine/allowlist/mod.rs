//! Intended flows against what policies allow: the tables of an operations page as data (formats.md, `allowlist.yaml`).
//!
//! A table speaks of a namespace's flows with others, not of those inside it. An intended flow is open where some
//! workload of the namespace has it; every flow that no table intends is in excess. A direction that no table of a
//! namespace has is not looked at. What a name stands for and is not known is told ([`Kind::Untold`]), and nothing that
//! it may stand for is called an excess.

mod excess;
mod far;
mod missing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use self::far::IntendedPeer;
use super::{
    asked::Port,
    reach::{Point, Reach},
};
use crate::model::{Direction, Endpoint, Entry, Origin, PolicyDocument, Protocol, Snapshot};

pub use far::{Host, Names};

/// The list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowlist {
    /// Its file, as messages name it.
    pub file: String,
    /// Its tables, in the file's order.
    pub tables: Vec<Table>,
}

/// The intended flows of the namespaces that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// A namespace, or a pattern with `*` and `?`. Tables that match the same namespace count together.
    pub pattern: String,
    /// Where it stands.
    pub origin: Origin,
    /// What the namespace may reach; `None`: not told of.
    pub egress: Option<Vec<Intent>>,
    /// By whom it may be reached; `None`: not told of.
    pub ingress: Option<Vec<Intent>>,
}

/// An intended flow, from or to the table's namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The other end: a namespace (or a pattern of them), `service.namespace`, a host name, an address or a block.
    pub peer: String,
    /// What a host name stands for, where the list says so itself.
    pub addresses: Vec<IpNet>,
    /// Ports: a Service's where the peer is one; empty: any.
    pub ports: Vec<(Protocol, Port)>,
    /// Why, for people.
    pub reason: String,
    /// Where it stands.
    pub origin: Origin,
}

/// What is told of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An intended flow is not open.
    Missing,
    /// A flow is open that is not intended.
    Excess,
    /// What the list names is not known here.
    Untold,
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it is.
    pub kind: Kind,
    /// The same for the same trouble the next time.
    pub key: String,
    /// The namespace that it concerns, where it concerns one.
    pub namespace: Option<String>,
    /// What is wrong and what to do, in one line.
    pub message: String,
    /// The list's entry; of an excess the rule that lets it through.
    pub origin: Option<Origin>,
    /// What to add so that an intended flow is open.
    pub fix: Option<Entry>,
}

/// What is compared.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The list.
    pub list: &'a Allowlist,
    /// What the policies allow.
    pub reach: &'a Reach<'a>,
    /// Services, by which the list names workloads.
    pub snapshot: &'a Snapshot,
    /// The policies' documents, for entries to add.
    pub documents: &'a [PolicyDocument],
    /// Hosts outside the cluster.
    pub names: &'a Names,
}

/// Compares each namespace that a table matches.
#[must_use]
pub fn compare(input: &Input<'_>) -> Vec<Told> {
    let mut told = Vec::new();
    let mut by_namespace: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
    let all = namespaces(input);
    for table in &input.list.tables {
        let pattern = wildmatch::WildMatch::new(&table.pattern);
        let mut matched = all.iter().filter(|name| pattern.matches(name)).peekable();
        if matched.peek().is_none() {
            told.push(no_namespace(table));
        }
        for name in matched {
            by_namespace.entry(name).or_default().push(table);
        }
    }
    for (namespace, tables) in by_namespace {
        let own: Vec<&Point> = workloads(input.reach).filter(|p| p.workload.namespace == namespace).collect();
        if own.is_empty() {
            told.push(no_workload(namespace, &tables));
            continue;
        }
        for direction in [Direction::Egress, Direction::Ingress] {
            let Some(intents) = intents(&tables, direction) else { continue };
            Side { input, namespace, direction, own: &own, intents: far::all(input, &intents) }.tell(&mut told);
        }
    }
    // A name is as unknown to one namespace as to the next.
    let mut seen = BTreeSet::new();
    told.retain(|one| seen.insert(one.key.clone()));
    told
}

/// Both kinds of trouble of one namespace in one direction.
struct Side<'a> {
    input: &'a Input<'a>,
    namespace: &'a str,
    direction: Direction,
    own: &'a [&'a Point],
    intents: Vec<(&'a Intent, IntendedPeer<'a>)>,
}

impl Side<'_> {
    fn tell(&self, told: &mut Vec<Told>) {
        for (intent, far) in &self.intents {
            told.extend(far.untold.iter().map(|reason| self.untold(intent, reason)));
            told.extend(missing::missing(self, intent, far));
        }
        told.extend(excess::excess(self));
    }

    fn untold(&self, intent: &Intent, reason: &str) -> Told {
        let Intent { peer, origin, .. } = intent;
        let message = format!("the intended flow {} `{peer}` is not looked at: {reason}", preposition(self.direction));
        // What follows names what there is instead, which is another thing tomorrow.
        let about = reason.split(':').next().unwrap_or_default();
        let key = format!("{} {peer}: {about}", self.direction.word());
        Told { kind: Kind::Untold, key, namespace: None, message, origin: Some(origin.clone()), fix: None }
    }
}

/// How the list calls the other end.
const fn preposition(direction: Direction) -> &'static str {
    match direction {
        Direction::Egress => "to",
        Direction::Ingress => "from",
    }
}

fn intents<'a>(tables: &[&'a Table], direction: Direction) -> Option<Vec<&'a Intent>> {
    let of = |table: &'a Table| match direction {
        Direction::Egress => table.egress.as_ref(),
        Direction::Ingress => table.ingress.as_ref(),
    };
    let lists: Vec<&Vec<Intent>> = tables.iter().filter_map(|table| of(table)).collect();
    (!lists.is_empty()).then(|| lists.into_iter().flatten().collect())
}

/// The endpoints that policies are about: a pod in its node's network is the node.
fn workloads<'r>(reach: &'r Reach<'_>) -> impl Iterator<Item = &'r Point> {
    reach.points().iter().filter(|point| matches!(point.endpoint, Endpoint::Workload(_)))
}

fn namespaces(input: &Input<'_>) -> BTreeSet<String> {
    let known = input.reach.matrix.world.namespaces.keys().cloned();
    known.chain(input.reach.points().iter().map(|point| point.workload.namespace.clone())).collect()
}

fn no_namespace(table: &Table) -> Told {
    let pattern = &table.pattern;
    Told {
        kind: Kind::Untold,
        key: format!("match {pattern}"),
        namespace: None,
        message: format!("`match: {pattern}` matches no namespace: correct it, or take the table out"),
        origin: Some(table.origin.clone()),
        fix: None,
    }
}

fn no_workload(namespace: &str, tables: &[&Table]) -> Told {
    Told {
        kind: Kind::Untold,
        key: format!("namespace {namespace}"),
        namespace: Some(namespace.to_owned()),
        message: format!("no workload of namespace {namespace} is known: its intended flows are not looked at"),
        origin: tables.first().map(|table| table.origin.clone()),
        fix: None,
    }
}
