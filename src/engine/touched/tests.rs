//! A merge in a small cluster, and the flows that it touches as lines of text.

mod alike;
mod changed;
mod families;
mod ordered;
mod peers;
mod ranges;
mod recorded;
mod rules;
mod silent;
mod work;

use std::collections::BTreeMap;

use super::*;
use crate::{
    engine::{fixtures::Cluster, surroundings::Surroundings},
    model::{NetworkSet, Policy, Rule, Severity, TieRule, Workload},
};

/// A merge from one policy set to another.
struct Merge {
    cluster: Cluster,
    before: Option<Vec<Policy>>,
    declared: Vec<Policy>,
    /// Where they are not as declared.
    live: Option<Vec<Policy>>,
    outside: Vec<Outside>,
    /// All configured names, resolved or not.
    names: BTreeSet<String>,
    known: Vec<(IpAddr, u16)>,
    new: BTreeSet<String>,
    recorded: Vec<(RecordedFlow, Why)>,
    retried: Vec<Retried>,
    sets: Vec<NetworkSet>,
}

impl Merge {
    fn new(cluster: Cluster, before: Vec<Policy>, declared: Vec<Policy>) -> Self {
        Self {
            cluster,
            before: Some(before),
            declared,
            live: None,
            outside: Vec::new(),
            names: BTreeSet::new(),
            known: Vec::new(),
            new: BTreeSet::new(),
            recorded: Vec::new(),
            retried: Vec::new(),
            sets: Vec::new(),
        }
    }

    /// Without a check before.
    fn first(cluster: Cluster, declared: Vec<Policy>) -> Self {
        Self { before: None, ..Self::new(cluster, Vec::new(), declared) }
    }

    /// With `pg01` at an address, port 5432.
    fn host(mut self, address: &str) -> Self {
        let address = address.parse().unwrap();
        self.names.insert("pg01".to_owned());
        self.outside.push(Outside { name: Some("pg01".to_owned()), address, ports: vec![5432], seen_by: None });
        self
    }

    fn run(&self) -> Ran {
        let live_policies = self.live.clone().unwrap_or_else(|| self.declared.clone());
        let others = [self.declared.as_slice(), self.before.as_deref().unwrap_or_default()];
        let live = self.cluster.world_of(live_policies, &others);
        let surroundings = Surroundings::of(&self.cluster.snapshot, self.sets.clone(), TieRule::default());
        let live = World { surroundings, ..live };
        let declared = live.with_policies(self.declared.clone());
        let before = self.before.as_ref().map(|before| live.with_policies(before.clone()));
        let touched = touched(&Input {
            before: before.as_ref(),
            declared: &declared,
            live: &live,
            changed_rules: &self.changed(),
            outside: &self.outside,
            names: &self.names,
            known: &self.known,
            git: &declared.policies.iter().map(|p| p.id.clone()).collect(),
            probe_from: &|name| name != "elsewhere",
            new_namespaces: &self.new,
            recorded: &self.recorded,
            retried_rules: &self.retried,
            first_run: self.before.is_none(),
            sweep: None,
        });
        Ran { live, touched }
    }

    /// Rules that the set before does not have.
    fn changed(&self) -> Vec<RuleRef> {
        let rules = |policies: &[Policy]| -> Vec<(RuleRef, Rule)> {
            let each = |p: &Policy, direction: Direction| {
                let id = p.id.clone();
                let rules = p.rules(direction).unwrap_or_default().to_vec();
                rules.into_iter().map(move |r| (RuleRef { policy: id.clone(), direction, index: r.index }, r))
            };
            let both = [Direction::Ingress, Direction::Egress];
            policies.iter().flat_map(|p| both.into_iter().flat_map(move |d| each(p, d))).collect()
        };
        let old = rules(self.before.as_deref().unwrap_or_default());
        rules(&self.declared).into_iter().filter(|r| !old.contains(r)).map(|(r, _)| r).collect()
    }

    /// The flows, as lines.
    #[track_caller]
    fn flows(&self) -> Vec<String> {
        let ran = self.run();
        assert_eq!(ran.touched.findings, [], "findings");
        assert_eq!(ran.touched.waiting, [], "waiting rules");
        ran.flows()
    }
}

struct Ran {
    live: World,
    touched: Touched,
}

impl Ran {
    fn flows(&self) -> Vec<String> {
        self.touched.flows.iter().map(|flow| self.line(flow)).collect()
    }

    /// `SOURCE -> TARGET:PORT/PROTOCOL WHY BEFORE>NOW`, and what else there is.
    fn line(&self, flow: &TouchedFlow) -> String {
        let source = match flow.source {
            Origin::Class(index) => Target::Class(index),
            Origin::Range(net) => Target::Range(net),
        };
        let name = |target: &Target| endpoint(&self.live, target).unwrap().to_string();
        let before = flow.before.map(|d| format!("{d}>")).unwrap_or_default();
        let mut line = format!(
            "{} -> {}:{}/{}{} {:?} {before}{}",
            name(&source),
            name(&flow.target),
            flow.port,
            flow.protocol,
            if flow.ipv6 { " (IPv6)" } else { "" },
            flow.why,
            flow.live
        );
        if flow.declared != flow.live {
            line = format!("{line} (Git: {})", flow.declared);
        }
        line += &flow.missing.map(|side| format!(", lacks {}", side.word())).unwrap_or_default();
        if flow.covers > 0 {
            line = format!("{line}, covers {}", flow.covers);
        }
        line += &flow.note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
        line + &flow.unseen.as_ref().map(|(state, reason)| format!(" [{state:?}: {reason}]")).unwrap_or_default()
    }

    fn findings(&self) -> Vec<(Severity, &str)> {
        self.touched.findings.iter().map(|f| (f.severity, f.message.as_str())).collect()
    }

    fn waiting(&self) -> Vec<String> {
        self.touched.waiting.iter().map(|s| format!("{}: {}", s.rule, s.reason)).collect()
    }
}

fn rule(policy: &str, direction: Direction, index: usize) -> RuleRef {
    let (namespace, name) = policy.split_once('/').unwrap();
    RuleRef { policy: crate::model::PolicyRef::network_policy(namespace, name), direction, index }
}

fn at(workload: Workload) -> Endpoint {
    Endpoint::Workload(workload)
}
