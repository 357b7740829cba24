//! A probe by hand, for people in a hurry and for programs.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use serde::Serialize;

use super::{
    clean,
    explain::{Sided, decision, entry_head, side_text, sided},
    flows::endpoint_text,
    words::{self, NAME, SENTENCE, count, does},
};
use crate::{
    engine::by_hand::Shown,
    model::{Decision, DenialLook, Direction, Endpoint, FlowReport, FlowResult, Outcome, ServiceSeen},
};

/// The schema of the JSON form.
pub const SCHEMA: &str = "netpol-verify/probe/v1";

/// The documented JSON, as it is written.
#[derive(Serialize)]
struct Told<'a> {
    schema: &'static str,
    results: Vec<Result<'a>>,
    denial: &'a BTreeMap<String, DenialLook>,
    started: &'a str,
    finished: &'a str,
}

#[derive(Serialize)]
struct Result<'a> {
    flow: &'a FlowReport,
    name: Option<&'a str>,
    decision: Decision,
    egress: Option<Sided<'a>>,
    ingress: Option<Sided<'a>>,
    declared: Option<&'static str>,
    tries: usize,
    words: &'a str,
}

impl<'a> Result<'a> {
    fn of(shown: &'a Shown) -> Self {
        let Shown { flow, answer, declared, name, tries, words } = shown;
        Self {
            flow,
            name: name.as_deref(),
            decision: flow.live,
            egress: answer.as_ref().map(|answer| sided(&answer.egress)),
            ingress: answer.as_ref().map(|answer| sided(&answer.ingress)),
            declared: declared.as_ref().map(|declared| decision(declared.is_allowed)),
            tries: *tries,
            words,
        }
    }
}

/// The documented JSON; the times are when it began and ended, RFC 3339.
///
/// # Errors
/// None that a result could give rise to.
pub fn to_json(
    shown: &[Shown],
    denial: &BTreeMap<String, DenialLook>,
    (started, finished): (&str, &str),
) -> serde_json::Result<String> {
    let results = shown.iter().map(Result::of).collect();
    serde_json::to_string_pretty(&Told { schema: SCHEMA, results, denial, started, finished })
}

/// Some lines for people: the result first, then what it rests on, then what to do.
#[must_use]
pub fn to_text(shown: &Shown) -> String {
    let mut lines = vec![headline(shown)];
    if let Some(answer) = &shown.answer {
        for (direction, side) in [(Direction::Egress, &answer.egress), (Direction::Ingress, &answer.ingress)] {
            lines.extend(side_text(direction, side));
        }
    }
    lines.extend(seen(shown));
    lines.extend(shown.flow.services.iter().map(service));
    lines.extend(controls(&shown.flow));
    lines.extend(to_do(shown).map(|what| format!("  {what}")));
    for entry in &shown.flow.entries {
        lines.push(entry_head(entry));
        lines.extend(entry.entry.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n") + "\n"
}

/// An end as the command line takes it; one address without the length of its block.
fn end(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::External { name: None, cidrs } if cidrs.len() == 1 && cidrs.iter().all(is_one) => {
            cidrs.iter().map(|net| net.addr().to_string()).collect()
        }
        other => endpoint_text(other),
    }
}

fn is_one(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// `as the policies say: shop/web-0 -> redis/redis-0:6379/TCP is open`.
fn headline(shown: &Shown) -> String {
    let flow = &shown.flow;
    let [from, to] = [&flow.source, &flow.destination].map(end);
    let by_name = shown.name.as_ref().filter(|name| **name != to);
    let by_name = by_name.map(|name| format!(" ({})", clean::line(name, NAME)));
    let family = if flow.ipv6 { " (IPv6)" } else { "" };
    let ends = format!("{from} -> {to}:{}/{}{family}{}", flow.port, flow.protocol, by_name.unwrap_or_default());
    let note = flow.note.as_ref().map(|note| format!(": {}", clean::line(note, SENTENCE))).unwrap_or_default();
    match flow.result {
        FlowResult::Verified => {
            let closed = if flow.live == Decision::Denied { "is closed, " } else { "" };
            format!("as the policies say: {ends} {closed}{}{note}", does(flow.observed))
        }
        FlowResult::Drift => {
            let [given, live] = [flow.declared, flow.live].map(words::state);
            format!(
                "NOT as the manifests say: {ends} is {given} there, {live} by the live policies, and {}{note}",
                does(flow.observed)
            )
        }
        FlowResult::Inconclusive => format!("NOT TOLD: {ends} {}{note}", does(flow.observed)),
        FlowResult::Enforcement | FlowResult::MissingEntry | FlowResult::Excess => {
            format!(
                "NOT as the policies say: {ends} should be {}, {}{note}",
                words::state(flow.live),
                does(flow.observed)
            )
        }
    }
}

/// From where to where, how often, and in which words.
fn seen(shown: &Shown) -> Option<String> {
    let flow = &shown.flow;
    let (pod, target) = (flow.source_pod.as_ref()?, flow.target.as_ref()?);
    let node = flow.node.as_ref().map(|node| format!(" on {}", clean::line(node, NAME))).unwrap_or_default();
    let tries = if shown.tries == 1 { String::new() } else { format!(", {} tries", shown.tries) };
    let settled = flow
        .converged_ms
        .filter(|ms| *ms >= 100)
        .map(|ms| format!(", settled after {:.1} s", Duration::from_millis(ms).as_secs_f64()));
    let is_told = |words: &str| words.is_empty() || flow.note.as_ref().is_some_and(|note| note.contains(words));
    let words = Some(&shown.words).filter(|words| !is_told(words) && flow.observed != Outcome::Open);
    let words = words.map(|words| format!(" ({})", clean::line(words, SENTENCE / 3))).unwrap_or_default();
    Some(format!(
        "  seen    {} from {pod}{node} to {target}:{}{tries}{}{words}",
        flow.observed,
        flow.port,
        settled.unwrap_or_default()
    ))
}

/// What users get who connect to the Service.
fn service(seen: &ServiceSeen) -> String {
    let ServiceSeen { service, address, port, leads_to, observed } = seen;
    let leads = leads_to.map(|target| format!(", its target port is {target}")).unwrap_or_default();
    format!("  service {observed} at {}:{port} ({address}){leads}", clean::line(service, NAME))
}

fn controls(flow: &FlowReport) -> Vec<String> {
    let Some(controls) = &flow.controls else { return Vec::new() };
    let line = |what: &str, told: &Option<String>, none: &str| {
        format!(
            "  control {what}: {}",
            told.as_ref().map_or_else(|| none.to_owned(), |told| clean::line(told, SENTENCE / 3))
        )
    };
    let mut lines = vec![
        line("the target is", &controls.target, "not asked: nobody else may reach it"),
        line("the source is", &controls.source, "not asked: there is nothing that it may reach"),
    ];
    if flow.result == FlowResult::Verified {
        let strength = serde_json::to_value(controls.strength).ok();
        let strength = strength.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        lines.push(format!("  proof   {strength}"));
    }
    lines
}

/// What to do about it, where it is not simply as the policies say.
fn to_do(shown: &Shown) -> Option<String> {
    let flow = &shown.flow;
    Some(match (flow.result, flow.live) {
        (FlowResult::Verified, _) => return None,
        (FlowResult::Drift, _) => {
            "do      look at Flux, and at who changed the live policies (netpol-verify diff live DIR)".to_owned()
        }
        (FlowResult::Inconclusive, _) if flow.observed == Outcome::ToolMissing => {
            "do      probe from another pod under the same policies, or give the image nc or bash".to_owned()
        }
        (FlowResult::Inconclusive, _) => match flow.state {
            Some(crate::model::Unseen::Unprobeable) => "do      no retry can help: look by hand".to_owned(),
            _ => "do      cure what is said above, and probe again".to_owned(),
        },
        (_, decision) => {
            let node = flow
                .node
                .as_ref()
                .map_or_else(|| "its node".to_owned(), |node| format!("node {}", clean::line(node, NAME)));
            let also =
                if decision == Decision::Allowed { ", and at firewalls on the way: no policy forbids it" } else { "" };
            format!("do      look at the policy agent (calico-node) of {node}{also}")
        }
    })
}

/// The last line, where a question came to several flows.
#[must_use]
pub fn summary(shown: &[Shown]) -> Option<String> {
    if shown.len() < 2 {
        return None;
    }
    let of = |code: u8| shown.iter().filter(|one| one.exit_code() == code).count();
    Some(format!("{}: {} as the policies say, {} not, {} not told", count(shown.len(), "flow"), of(0), of(1), of(3)))
}
