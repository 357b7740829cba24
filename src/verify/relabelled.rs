//! Flows that labels flipped, and no merge (design §3.7).
//!
//! Nobody is told why by looking at Git, so that the finding stays open until the labels are back, until a later merge
//! or a person's run has seen those flows under the labels of now, or until it is accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::{compare::Material, findings::finding};
use crate::{
    engine::{
        touched::{self, Flipped},
        verdict,
        world::{Class, End, Family, World},
    },
    model::{
        Decision, Endpoint, Finding, FindingRule, FlowReport, FlowResult, OpenFinding, RecordedFlow, Report, Severity,
        State, Trigger, Unseen,
    },
};

/// At most so many flows, or names, are named in one finding.
const NAMED: usize = 5;

/// So many flows of one finding are looked at again: they stand for the rest.
const KEPT: usize = 20;

/// Findings, by the namespace whose labels or pods' labels changed, and the flows of each as they are now.
#[must_use]
pub fn find(
    material: &Material<'_>,
    (then, now): (&World, &World),
    is_watched: &dyn Fn(&str) -> bool,
) -> Vec<(Finding, Vec<RecordedFlow>)> {
    let open = material.state.findings.values().flat_map(|f| &f.flips);
    let known: BTreeSet<String> = open.map(RecordedFlow::key).collect();
    let mut groups: BTreeMap<&String, Vec<Flipped>> = BTreeMap::new();
    for flipped in touched::relabelled(then, now, is_watched) {
        // What is open is told already, also where it flips back.
        if recorded(now, &flipped).is_none_or(|flow| known.contains(&flow.key())) {
            continue;
        }
        if let Some(namespace) = blamed(then, now, &flipped) {
            groups.entry(namespace).or_default().push(flipped);
        }
    }
    let found = groups.into_iter().map(|(namespace, flipped)| {
        let key = format!("{}/{namespace}", material.state.seq + 1);
        let message = message(then, now, &flipped);
        let finding = finding(FindingRule::Relabelled, &key, Severity::Error, message);
        let flows = flipped.iter().take(KEPT).filter_map(|f| recorded(now, f)).collect();
        (Finding { namespace: Some(namespace.clone()), ..finding }, flows)
    });
    found.collect()
}

fn recorded(world: &World, flipped: &Flipped) -> Option<RecordedFlow> {
    let end = |index: usize| world.classes.get(index).map(|c| Endpoint::Workload(c.workload.clone()));
    Some(RecordedFlow {
        source: end(flipped.source)?,
        destination: end(flipped.destination)?,
        protocol: flipped.port.0,
        port: flipped.port.1,
        ipv6: flipped.ipv6,
        declared: flipped.now,
    })
}

/// Ends of a flipped flow with their classes of then and of now.
fn ends<'w>(
    then: &'w World,
    now: &'w World,
    flipped: &Flipped,
) -> impl Iterator<Item = (&'w Class, &'w Class)> + use<'w> {
    let ends = [flipped.source, flipped.destination];
    ends.into_iter().filter_map(|index| Some((then.classes.get(index)?, now.classes.get(index)?)))
}

fn namespace_changed(then: &World, now: &World, class: &Class) -> bool {
    let namespace = &class.workload.namespace;
    then.namespaces.get(namespace) != now.namespaces.get(namespace)
}

/// Whether a class has another ServiceAccount than then, or its ServiceAccount other labels.
fn account_changed(then: &World, now: &World, (old, new): (&Class, &Class)) -> bool {
    let labels = |world: &World, class: &Class| {
        let account = (class.workload.namespace.clone(), class.service_account.clone());
        world.surroundings.accounts.get(&account).cloned()
    };
    old.service_account != new.service_account || labels(then, old) != labels(now, new)
}

fn blamed<'w>(then: &'w World, now: &'w World, flipped: &Flipped) -> Option<&'w String> {
    let mut changed = ends(then, now, flipped).filter(|(old, new)| {
        let own = old.labels != new.labels || account_changed(then, now, (old, new));
        own || namespace_changed(then, now, new)
    });
    changed.next().map(|(_, new)| &new.workload.namespace)
}

fn message(then: &World, now: &World, flipped: &[Flipped]) -> String {
    let name = |index: usize| now.classes.get(index).map(|c| c.workload.to_string()).unwrap_or_default();
    let named = flipped.iter().take(NAMED).map(|f| {
        let word = if f.now == Decision::Allowed { "opened" } else { "closed" };
        let family = if f.ipv6 { " (IPv6)" } else { "" };
        format!("{} → {}:{}{family} {word}", name(f.source), name(f.destination), f.port.1)
    });
    let named: Vec<String> = named.collect();
    let more = flipped.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "labels changed without a merge ({}): {}{rest}; put the labels back, or start a run by hand to see the flows as they are now",
        changed_labels(then, now, flipped),
        named.join(", ")
    )
}

/// Which namespaces and workloads have other labels than before.
fn changed_labels(then: &World, now: &World, flipped: &[Flipped]) -> String {
    let mut changed = BTreeSet::new();
    for (old, new) in flipped.iter().flat_map(|f| ends(then, now, f)) {
        if namespace_changed(then, now, new) {
            changed.insert(format!("namespace {}", new.workload.namespace));
        }
        if old.labels != new.labels {
            changed.insert(new.workload.to_string());
        }
        if account_changed(then, now, (old, new)) {
            changed.insert(format!("ServiceAccount {}/{}", new.workload.namespace, new.service_account));
        }
    }
    changed.into_iter().take(NAMED).collect::<Vec<_>>().join(", ")
}

/// The finding of the state again, if it is open still.
#[must_use]
pub fn again(key: &str, open: &OpenFinding, declared: &World, state: &State, report: &Report) -> Option<Finding> {
    let mut standing = open.flips.iter().filter(|flow| stands(declared, flow)).peekable();
    standing.peek()?;
    if looks_again(state, report) && standing.all(|flow| report.flows.iter().any(|f| is_seen(f, flow))) {
        return None;
    }
    let name = key.strip_prefix("relabelled/")?;
    let namespace = name.rsplit_once('/').map(|(_, namespace)| namespace.to_owned());
    let finding = finding(FindingRule::Relabelled, name, Severity::Error, open.summary.clone());
    Some(Finding { namespace, new: false, ..finding })
}

/// Whether Git decides the flow under the labels of now as it did when they flipped it.
fn stands(declared: &World, flow: &RecordedFlow) -> bool {
    let classes = |endpoint: &Endpoint| {
        let workload = match endpoint {
            Endpoint::Workload(workload) => Some(workload.clone()),
            _ => None,
        };
        declared.classes.iter().filter(move |c| Some(&c.workload) == workload.as_ref())
    };
    let family = if flow.ipv6 { Family::V6 } else { Family::V4 };
    let end = |class| End::pods(class, family);
    classes(&flow.source).any(|from| {
        classes(&flow.destination)
            .any(|to| verdict::flow(declared, end(from), end(to), flow.protocol, flow.port).decision() == flow.declared)
    })
}

/// Whether somebody stands behind what this run sees: a person who started it, or a merge that came since.
fn looks_again(state: &State, report: &Report) -> bool {
    let checked = || state.checked.iter().flat_map(|c| &c.kustomizations);
    let is_new = |k: &crate::model::KustomizationReport| {
        k.applied.is_some() && !checked().any(|c| c.id == k.id() && Some(&c.revision) == k.applied.as_ref())
    };
    match report.trigger {
        Trigger::Manual => true,
        Trigger::Merge => report.kustomizations.iter().any(is_new),
        Trigger::Schedule => false,
    }
}

/// Whether the report saw the flow, or says itself that it waits or can never be seen.
fn is_seen(report: &FlowReport, flow: &RecordedFlow) -> bool {
    let told = matches!(report.state, Some(Unseen::Waiting | Unseen::Unprobeable));
    report.key() == flow.key() && (report.result == FlowResult::Verified || told)
}
