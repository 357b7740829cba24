//! The difference between two sets, piece by piece.

use serde_json::{Value, json};

use super::{
    flows::{Format, cell, endpoint_text, families_json, families_text, open_json, open_text},
    sarif,
    svg::{Arrow, Picture},
};
use crate::{
    engine::reach::difference::Change,
    model::{Endpoint, Origin, PolicyRef},
};

/// The schema of the JSON form.
const SCHEMA: &str = "netpol-verify/diff/v1";

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only the second set has it.
    Added,
    /// Only the first set has it.
    Removed,
    /// Both have it, otherwise.
    Changed,
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }

    pub(super) const fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }
}

/// A policy that differs in meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// How.
    pub kind: Kind,
    /// Which one.
    pub policy: PolicyRef,
    /// Where it stands in the first set.
    pub before: Option<Origin>,
    /// Where it stands in the second set.
    pub after: Option<Origin>,
}

/// How a flow differs.
#[must_use]
pub fn kind(change: &Change) -> Kind {
    match (change.before.is_empty(), change.after.is_empty()) {
        (true, _) => Kind::Added,
        (_, true) => Kind::Removed,
        _ => Kind::Changed,
    }
}

/// SARIF: a result for each flow, with what makes the difference as its places, and for each policy. A flow that differs
/// for its workload alone is at the file `place`.
#[must_use]
pub fn sarif(changes: &[Change], policies: &[PolicyChange], place: &str, version: &str) -> Value {
    let flow = |change: &Change| {
        let kind = kind(change);
        let [from, to] = [&change.source, &change.destination].map(endpoint_text);
        let (ports, family) = (ports_text(kind, change), families_text(change.families));
        let message = format!("flow {}: {from} -> {to}: {ports}{family}", kind.word());
        sarif::result(kind.word(), "warning", &message, &change.because)
    };
    let policy = |change: &PolicyChange| {
        let message = format!("policy {}: {}", change.kind.word(), change.policy);
        sarif::result(change.kind.word(), "note", &message, change.after.as_ref().or(change.before.as_ref()))
    };
    let results = changes.iter().map(flow).chain(policies.iter().map(policy)).collect();
    let rules = [
        (Kind::Added.word(), "Only the second set allows the flow, or has the policy."),
        (Kind::Removed.word(), "Only the first set allows the flow, or has the policy."),
        (Kind::Changed.word(), "The flow is allowed on other ports, or the policy has another meaning."),
    ];
    sarif::log(rules, results, place, version)
}

/// What stands before the flows.
#[must_use]
pub fn head(format: Format) -> String {
    match format {
        Format::Text => String::new(),
        Format::Json => format!("{{\"schema\":\"{SCHEMA}\",\"flows\":["),
        Format::Markdown => {
            "| Change | Source | Destination | Before | After | Because |\n| --- | --- | --- | --- | --- | --- |\n"
                .to_owned()
        }
    }
}

/// One flow; `is_first` where no other was written before.
#[must_use]
pub fn row(format: Format, change: &Change, is_first: bool) -> String {
    let kind = kind(change);
    if format == Format::Json {
        return format!("{}\n{}", if is_first { "" } else { "," }, flow_json(kind, change));
    }
    let family = families_text(change.families);
    let [from, to] = [&change.source, &change.destination].map(endpoint_text);
    let [before, after] = [&change.before, &change.after].map(open_text);
    let because: Vec<String> = change.because.iter().map(Origin::short).collect();
    if format == Format::Markdown {
        let because = because.join(", ");
        let (from, to, because) = (cell(&from), cell(&to), cell(&because));
        return format!("| {} | {from} | {to}{family} | {before} | {after} | {because} |\n", kind.word());
    }
    let ports = ports_text(kind, change);
    let because = if because.is_empty() { String::new() } else { format!("  [{}]", because.join(", ")) };
    format!("{} {from} -> {to}: {ports}{family}{because}\n", kind.sign())
}

/// What was opened or closed, or what was open and what is.
fn ports_text(kind: Kind, change: &Change) -> String {
    let [before, after] = [&change.before, &change.after].map(open_text);
    match kind {
        Kind::Added => after,
        Kind::Removed => before,
        Kind::Changed => format!("{before} => {after}"),
    }
}

/// One flow, for a picture.
#[must_use]
pub fn arrow(change: &Change) -> Arrow {
    let kind = kind(change);
    Arrow {
        source: change.source.clone(),
        destination: change.destination.clone(),
        kind: Some(kind),
        ports: format!("{}{}", ports_text(kind, change), families_text(change.families)),
        words: row(Format::Text, change, false).trim_end().to_owned(),
    }
}

/// The difference as a picture (SVG).
#[must_use]
pub fn picture(arrows: Vec<Arrow>, policies: &[PolicyChange], workloads: &[(Kind, Endpoint)]) -> String {
    let count = |kind| arrows.iter().filter(|arrow| arrow.kind == Some(kind)).count();
    let counts = [Kind::Added, Kind::Removed, Kind::Changed].map(|kind| format!("{} {}", count(kind), kind.word()));
    let title = format!("Flows that differ: {}", counts.join(", "));
    let marks = workloads.iter().map(|(kind, endpoint)| (endpoint.clone(), *kind)).collect();
    let notes = tail(Format::Text, arrows.len(), policies, workloads).lines().map(str::to_owned).collect();
    Picture { title, arrows, marks, notes }.draw()
}

fn flow_json(kind: Kind, change: &Change) -> Value {
    let mut flow = json!({
        "change": kind.word(),
        "source": change.source,
        "destination": change.destination,
        "before": open_json(&change.before),
        "after": open_json(&change.after),
        "because": change.because,
    });
    if let (Some(family), Some(fields)) = (families_json(change.families), flow.as_object_mut()) {
        fields.insert("family".to_owned(), family.into());
    }
    flow
}

/// What stands after the flows: policies and workloads that differ.
#[must_use]
pub fn tail(format: Format, flows: usize, policies: &[PolicyChange], workloads: &[(Kind, Endpoint)]) -> String {
    if format == Format::Json {
        let policies: Vec<Value> = policies.iter().map(policy_json).collect();
        let workloads = workloads.iter().map(|(kind, endpoint)| json!({"change": kind.word(), "endpoint": endpoint}));
        let workloads: Vec<Value> = workloads.collect();
        return format!("\n],\"policies\":{},\"workloads\":{}}}\n", Value::Array(policies), Value::Array(workloads));
    }
    let bullet = if format == Format::Markdown { "- " } else { "" };
    let mut text = if flows == 0 && format == Format::Text { "No flow differs.\n".to_owned() } else { String::new() };
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let lines: Vec<String> = lines.iter().map(|line| format!("{bullet}{line}\n")).collect();
            let gap = if bullet.is_empty() { "" } else { "\n" };
            text = format!("{text}\n{title}:\n{gap}{}", lines.concat());
        }
    };
    section("Policies", policies.iter().map(policy_text).collect());
    section(
        "Workloads",
        workloads.iter().map(|(kind, endpoint)| format!("{} {}", kind.word(), endpoint_text(endpoint))).collect(),
    );
    text
}

fn policy_json(change: &PolicyChange) -> Value {
    json!({
        "change": change.kind.word(),
        "kind": change.policy.kind,
        "namespace": change.policy.namespace,
        "name": change.policy.name,
        "before": change.before,
        "after": change.after,
    })
}

fn policy_text(change: &PolicyChange) -> String {
    let place = change.after.as_ref().or(change.before.as_ref());
    let place = place.map(|origin| format!(" ({})", origin.short())).unwrap_or_default();
    format!("{} {}{place}", change.kind.word(), change.policy)
}
