//! Names that lead elsewhere than the rules for them allow: `moved-name`.
//!
//! What a name led to is remembered as long as all of it is let through. A lookup that fails says nothing: it neither
//! brings a finding nor cures one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    compare::{Comparison, Material},
    findings,
    names::{Book, Sight, listed, some},
};
use crate::{
    config::Destination,
    engine::{
        blame,
        matrix::Matrix,
        moved_name::{self, Lack, Standing, Use},
        world::{Class, End},
    },
    model::{Direction, Entry, Finding, FindingRule, NameRecord, Origin, Protocol, RuleRef, Severity, Workload},
};

/// What names are held against.
pub struct Look<'a> {
    /// What was compared.
    pub comparison: &'a Comparison,
    /// Reachability under its live policies.
    pub live: &'a Matrix<'a>,
    /// With what.
    pub material: &'a Material<'a>,
    /// What is known of names.
    pub book: &'a Book,
}

/// What a look shows.
#[derive(Debug, Default)]
pub struct Seen {
    /// Findings.
    pub findings: Vec<Finding>,
    /// What the state keeps.
    pub records: Vec<NameRecord>,
}

/// How a name fails, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It has moved out of the rule.
    Moved,
    /// A part of it lies outside the rule.
    Partly,
    /// No rule was ever for it, although one is expected.
    Expected,
}

/// One finding: a name and the policy that is behind, with all whom it concerns.
struct Trouble {
    kind: Kind,
    name: String,
    severity: Severity,
    namespace: Option<String>,
    rule: Option<(RuleRef, Option<Origin>, String)>,
    ports: Vec<u16>,
    closed: BTreeMap<IpAddr, Vec<u16>>,
    now: BTreeSet<IpAddr>,
    members: BTreeSet<String>,
    fix: Option<Entry>,
}

type Records = BTreeMap<(Workload, String), NameRecord>;

impl Look<'_> {
    /// Looks at each name that a pod was asked for, or that is remembered.
    #[must_use]
    pub fn look(&self) -> Seen {
        let (mut troubles, mut records): (BTreeMap<String, Trouble>, Records) = Default::default();
        let mut kept: BTreeSet<&String> = BTreeSet::new();
        let state = self.material.state.names.iter();
        let known: BTreeMap<_, _> = state.map(|known| ((&known.workload, known.name.as_str()), known)).collect();
        // Who is not isolated may go anywhere.
        let classes = self.comparison.live.classes.iter().enumerate();
        for (index, class) in classes.filter(|(index, _)| self.live.is_isolated(Direction::Egress, *index)) {
            for destination in &self.material.config.destinations {
                for name in destination.names() {
                    let known = known.get(&(&class.workload, name.as_str())).copied();
                    let asked = Asked { index, class, destination, name, known };
                    if let Some(now) = self.addresses(class, name) {
                        self.one(&asked, &now, (&mut troubles, &mut records));
                    } else {
                        // Nobody could look: what stood stands.
                        kept.extend(known.and_then(|known| known.finding.as_ref()));
                        records.extend(known.map(|known| (asked.key(), known.clone())));
                    }
                }
            }
        }
        let again = kept.into_iter().filter(|key| !troubles.contains_key(*key)).filter_map(|key| self.again(key));
        let again: Vec<Finding> = again.collect();
        let findings = troubles.into_iter().map(|(key, trouble)| trouble.finding(&key)).chain(again).collect();
        Seen { findings, records: records.into_values().collect() }
    }

    /// The addresses that the class has to be let through to; `None`: they are not known now.
    fn addresses(&self, class: &Class, name: &str) -> Option<Vec<IpAddr>> {
        match self.book.of_workload(&class.workload, name)? {
            Sight::Addresses(addresses) => Some(addresses.clone()),
            Sight::Unresolved(_) => None,
            Sight::NoTool => Some(self.book.of_verifier(name).to_vec()).filter(|addresses| !addresses.is_empty()),
        }
    }

    fn one(
        &self,
        asked: &Asked<'_>,
        now: &[IpAddr],
        (troubles, records): (&mut BTreeMap<String, Trouble>, &mut Records),
    ) {
        // What a Service or pods answer is no block's.
        if now.iter().any(|address| self.is_of_cluster(*address)) {
            return;
        }
        let before = asked.known.map(|known| known.addresses.as_slice()).unwrap_or_default();
        let used = Use { class: asked.index, ports: &asked.destination.ports, before, now };
        let trouble = match moved_name::standing(self.live, used) {
            Standing::Open => None,
            Standing::Closed if asked.is_expected() => Some(self.expected(asked, now)),
            Standing::Closed => return,
            Standing::Moved(lack) => Some(self.lacking(asked, (Kind::Moved, Severity::Error), now, &lack)),
            // Whether it ever was let through altogether, nobody knows.
            Standing::Partly(lack) if before.is_empty() => {
                Some(self.lacking(asked, (Kind::Partly, Severity::Warning), now, &lack))
            }
            Standing::Partly(lack) => Some(self.lacking(asked, (Kind::Partly, Severity::Error), now, &lack)),
        };
        let addresses = if trouble.is_some() { before } else { now }.to_vec();
        let finding = trouble.as_ref().map(Trouble::key);
        let (workload, name) = asked.key();
        let record = NameRecord { workload, name, addresses, finding };
        if record.finding.is_some() || !records.contains_key(&asked.key()) {
            records.insert(asked.key(), record);
        }
        if let Some(trouble) = trouble {
            match troubles.get_mut(&trouble.key()) {
                Some(known) => known.join(trouble),
                None => drop(troubles.insert(trouble.key(), trouble)),
            }
        }
    }

    fn is_of_cluster(&self, address: IpAddr) -> bool {
        let snapshot = self.material.snapshot;
        snapshot.services.iter().any(|service| service.cluster_ips.contains(&address))
            || snapshot.pods.iter().any(|pod| !pod.host_network && pod.ips.contains(&address))
    }

    fn expected(&self, asked: &Asked<'_>, now: &[IpAddr]) -> Trouble {
        let port = asked.destination.ports.first().copied();
        let first = now.first().copied().zip(port);
        Trouble {
            kind: Kind::Expected,
            name: asked.name.to_owned(),
            severity: Severity::Error,
            namespace: Some(asked.class.workload.namespace.clone()),
            rule: None,
            ports: asked.destination.ports.clone(),
            closed: BTreeMap::new(),
            now: now.iter().copied().collect(),
            members: BTreeSet::from([asked.class.workload.to_string()]),
            fix: first.and_then(|at| self.entry(asked, at, None)),
        }
    }

    fn lacking(&self, asked: &Asked<'_>, (kind, severity): (Kind, Severity), now: &[IpAddr], lack: &Lack) -> Trouble {
        // Git's form of the rule has its place.
        let of = |world| moved_name::opening(world, asked.index, lack.open);
        let rule = of(&self.comparison.declared).or_else(|| of(&self.comparison.live));
        let rule = rule.map(|(rule, origin, block)| {
            (rule, origin, block.map_or_else(|| lack.open.0.to_string(), |block| block.to_string()))
        });
        let first = lack.closed.first().and_then(|(address, ports)| Some((*address, *ports.first()?)));
        let opening = rule.as_ref().map(|(rule, _, _)| rule);
        Trouble {
            kind,
            name: asked.name.to_owned(),
            severity,
            namespace: opening.and_then(|rule| rule.policy.namespace.clone()),
            ports: Vec::new(),
            closed: lack.closed.iter().cloned().collect(),
            now: now.iter().copied().collect(),
            members: BTreeSet::from([asked.class.workload.to_string()]),
            fix: first.and_then(|at| self.entry(asked, at, opening)),
            rule,
        }
    }

    /// The entry that lets the class through to an address, with the ports of the rule that it stands beside.
    fn entry(&self, asked: &Asked<'_>, (address, port): (IpAddr, u16), beside: Option<&RuleRef>) -> Option<Entry> {
        let to = End::outside(address);
        let world = &self.comparison.declared;
        let from = End::pods(world.classes.get(asked.index)?, to.family);
        let flow = blame::Flow { from, to, protocol: Protocol::Tcp, port, side: Direction::Egress };
        let documents = &self.comparison.documents;
        let entries = match beside {
            Some(rule) => blame::beside(world, documents, flow, rule),
            None => blame::entries(world, documents, flow, None),
        };
        entries.into_iter().next()
    }

    /// A finding of the state that nobody could look at again.
    fn again(&self, key: &str) -> Option<Finding> {
        let open = self.material.state.findings.get(key)?;
        let severity = if open.error { Severity::Error } else { Severity::Warning };
        let name = key.split_once('/')?.1;
        let finding = findings::finding(FindingRule::MovedName, name, severity, open.summary.clone());
        Some(Finding { new: false, namespace: namespace_of(key), ..finding })
    }
}

/// The namespace of a finding by its key, which ends with a policy or with a namespace.
fn namespace_of(key: &str) -> Option<String> {
    let parts: Vec<&str> = key.rsplit_once(' ')?.1.split('/').collect();
    match parts[..] {
        [namespace] | [_, namespace, _] => Some(namespace.to_owned()),
        _ => None,
    }
}

/// A name, as one class uses it.
struct Asked<'a> {
    index: usize,
    class: &'a Class,
    destination: &'a Destination,
    name: &'a str,
    known: Option<&'a NameRecord>,
}

impl Asked<'_> {
    fn key(&self) -> (Workload, String) {
        (self.class.workload.clone(), self.name.to_owned())
    }

    fn is_expected(&self) -> bool {
        self.destination.is_expected_from(&self.class.workload.namespace)
    }
}

impl Trouble {
    /// The same trouble in the next run has the same key: neither who it concerns nor to which address it is.
    fn key(&self) -> String {
        let word = FindingRule::MovedName.word();
        let policy = self.rule.as_ref().map(|(rule, _, _)| rule.policy.to_string());
        let whose = policy.or_else(|| self.namespace.clone()).unwrap_or_default();
        match self.kind {
            Kind::Moved => format!("{word}/{} {whose}", self.name),
            Kind::Partly => format!("{word}/{} partly {whose}", self.name),
            Kind::Expected => format!("{word}/{} expected {whose}", self.name),
        }
    }

    fn join(&mut self, other: Self) {
        self.members.extend(other.members);
        self.now.extend(other.now);
        self.closed.extend(other.closed);
        self.severity = self.severity.max(other.severity);
        self.fix = self.fix.take().or(other.fix);
    }

    fn finding(self, key: &str) -> Finding {
        let name = key.split_once('/').map_or(key, |(_, name)| name);
        let finding = findings::finding(FindingRule::MovedName, name, self.severity, self.text());
        // Its rule is not named as what to look at again: it matches what it always did.
        let origin = self.rule.and_then(|(_, origin, _)| origin);
        Finding { namespace: self.namespace, origin, fix: self.fix, ..finding }
    }

    fn text(&self) -> String {
        let (name, members) = (&self.name, some(&self.members));
        let now = listed(&self.now.iter().copied().collect::<Vec<_>>());
        let rule = self.rule.as_ref().map(|(rule, origin, block)| {
            let place = origin.as_ref().map_or_else(|| rule.to_string(), Origin::short);
            format!("{} {} still allows {block} ({place})", rule.policy.kind, rule.policy.short())
        });
        let rule = rule.unwrap_or_else(|| "a rule still allows where it was".to_owned());
        match self.kind {
            Kind::Moved => format!(
                "{name} moved to {now}, {rule} and nothing lets {members} through to it: let the policy follow, or correct the name"
            ),
            Kind::Partly => format!(
                "{name} is {now}, and {members} may not reach all of it: {} is closed, {rule}; connections fail by turns until each address is allowed",
                self.closed_ends()
            ),
            Kind::Expected => {
                let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
                format!(
                    "{name} ({now}) should be reachable from {members} (`from` of its destination), and no rule allows it on {}: add one, or correct `from`",
                    ports.join(", ")
                )
            }
        }
    }

    fn closed_ends(&self) -> String {
        let ends = self.closed.iter().flat_map(|(address, ports)| {
            ports.iter().map(move |port| std::net::SocketAddr::new(*address, *port).to_string())
        });
        ends.collect::<Vec<_>>().join(", ")
    }
}
