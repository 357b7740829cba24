//! What the state wants looked at again.

use std::collections::BTreeMap;

use super::compare::Material;
use crate::{
    engine::{
        touched::{Origin, Retried, Target, TouchedFlow, endpoint},
        verdict,
        world::{End, World},
    },
    model::{Decision, FlowRecord, RecordedFlow, RuleRef, State, Trigger, Why},
};

/// Flows and rules of earlier runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recall {
    /// Flows, each with why it is looked at again.
    pub flows: Vec<(RecordedFlow, Why)>,
    /// Rules that matched nothing then, under their position of now.
    pub rules: Vec<Retried>,
    /// The keys of rules that wait in the state, under their position of now.
    pub waited: BTreeMap<RuleRef, String>,
    /// Keys of rules that are not declared any more.
    pub gone_rules: Vec<String>,
    /// Keys of flows whose blocked side stands as a missing entry.
    missing: Vec<String>,
}

/// Collects them (design §3.7, §3.1): open findings and pending flows always, the last merge's flows for a person.
#[must_use]
pub fn recall(material: &Material<'_>, rule_keys: &BTreeMap<RuleRef, String>) -> Recall {
    let mut recall = Recall::default();
    let state = material.state;
    for (key, finding) in &state.findings {
        if let Some(flow) = &finding.flow {
            recall.flows.push((flow.clone(), Why::OpenFinding));
            if key.starts_with("missing-entry/") {
                recall.missing.push(flow.key());
            }
        }
        recall.rule(key, finding.rule.as_ref(), &[], rule_keys);
        if material.trigger != Trigger::Schedule {
            recall.flows.extend(finding.flips.iter().map(|flow| (flow.clone(), Why::OpenFinding)));
        }
    }
    for (key, record) in &state.flows {
        if let Some(flow) = &record.flow {
            recall.flows.push((flow.clone(), Why::Retried));
            if record.missing.is_some() {
                recall.missing.push(flow.key());
            }
        }
        if let Some(now) = recall.rule(key, record.rule.as_ref(), &record.parts, rule_keys) {
            recall.waited.insert(now, key.clone());
        }
    }
    if material.trigger == Trigger::Manual {
        recall.flows.extend(state.last_merge.iter().map(|f| (f.clone(), Why::Manual)));
    } else if material.sweep.is_some() {
        // A data plane that is stale lacks what was merged last, and no rule names what it closed.
        recall.flows.extend(state.last_merge.iter().map(|f| (f.clone(), Why::Sweep)));
    }
    recall
}

impl Recall {
    /// Finds a rule of then among those of now by its content, nearest to its old position; `parts` are what matched
    /// nothing, none of them: all of it.
    fn rule(
        &mut self,
        key: &str,
        rule: Option<&(RuleRef, String)>,
        parts: &[String],
        now: &BTreeMap<RuleRef, String>,
    ) -> Option<RuleRef> {
        let (then, content) = rule?;
        let same =
            now.iter().filter(|(r, k)| r.policy == then.policy && r.direction == then.direction && *k == content);
        let found = same.map(|(r, _)| r).min_by_key(|r| r.index.abs_diff(then.index));
        match found {
            Some(found) => match self.rules.iter_mut().find(|known| known.rule == *found) {
                None => self.rules.push(Retried { rule: found.clone(), parts: parts.to_vec() }),
                Some(known) if known.parts.is_empty() => {}
                Some(known) if parts.is_empty() => known.parts.clear(),
                Some(known) => known.parts.extend(parts.iter().cloned()),
            },
            None => self.gone_rules.push(key.to_owned()),
        }
        found.cloned()
    }

    /// What the state has of a flow that could not be told: its own record, or that of a rule that waited for it.
    #[must_use]
    pub fn record<'s>(&self, state: &'s State, key: &str, rules: &[RuleRef]) -> Option<&'s FlowRecord> {
        let of_rule = || rules.iter().find_map(|rule| state.flows.get(self.waited.get(rule)?));
        state.flows.get(key).or_else(of_rule)
    }

    /// Flows that stand as a missing entry are still one while exactly one side denies them.
    pub fn mark_missing(&self, live: &World, flows: &mut [TouchedFlow]) {
        for flow in flows.iter_mut().filter(|f| f.missing.is_none() && f.live == Decision::Denied) {
            let (Origin::Class(source), Target::Class(target)) = (flow.source, &flow.target) else { continue };
            let Some(key) = key(live, flow) else { continue };
            if !self.missing.contains(&key) {
                continue;
            }
            if let (Some(from), Some(to)) = (live.classes.get(source), live.classes.get(*target)) {
                let (from, to) = (End::pods(from, flow.family), End::pods(to, flow.family));
                flow.missing = verdict::flow(live, from, to, flow.protocol, flow.port).one_sided();
            }
        }
    }
}

/// The key under which the state keeps a flow.
#[must_use]
pub fn key(world: &World, flow: &TouchedFlow) -> Option<String> {
    recorded(world, flow).map(|r| r.key())
}

/// A flow by its workloads.
#[must_use]
pub fn recorded(world: &World, flow: &TouchedFlow) -> Option<RecordedFlow> {
    let source = match flow.source {
        Origin::Class(index) => endpoint(world, &Target::Class(index))?,
        Origin::Range(net) => endpoint(world, &Target::Range(net))?,
    };
    let destination = endpoint(world, &flow.target)?;
    Some(RecordedFlow {
        source,
        destination,
        protocol: flow.protocol,
        port: flow.port,
        declared: flow.declared,
        ipv6: flow.ipv6,
    })
}
