//! The explanation of one flow.

use serde::Serialize;

use super::{
    clean,
    flows::{endpoint_text, families_json, families_text},
};
use crate::{
    engine::explain::{Answer, Reason, SideAnswer},
    model::{Direction, Endpoint, Entry, Origin, PolicyRef, Protocol},
};

/// The schema of the JSON form.
pub const SCHEMA: &str = "netpol-verify/explain/v1";

/// The tier of NetworkPolicy, which need not be named.
const DEFAULT_TIER: &str = "default";

pub(super) const fn decision(is_allowed: bool) -> &'static str {
    if is_allowed { "allowed" } else { "denied" }
}

/// The documented JSON, as it is written.
#[derive(Serialize)]
struct Told<'a> {
    schema: &'static str,
    flow: Flow<'a>,
    decision: &'static str,
    egress: Sided<'a>,
    ingress: Sided<'a>,
    entries: &'a [Entry],
}

#[derive(Serialize)]
struct Flow<'a> {
    source: &'a Endpoint,
    destination: &'a Endpoint,
    protocol: Protocol,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
}

/// One side of a flow.
#[derive(Serialize)]
pub(super) struct Sided<'a> {
    isolated: bool,
    decision: &'static str,
    by: Vec<By<'a>>,
    note: Option<&'static str>,
}

#[derive(Serialize)]
struct By<'a> {
    policy: &'a PolicyRef,
    rule: Option<&'a str>,
    tier: &'a str,
    action: &'static str,
    origin: Option<&'a Origin>,
}

/// The documented JSON.
///
/// # Errors
/// None that an answer could give rise to.
pub fn to_json(answer: &Answer) -> serde_json::Result<String> {
    serde_json::to_string(&Told {
        schema: SCHEMA,
        flow: Flow {
            source: &answer.source,
            destination: &answer.destination,
            protocol: answer.protocol,
            port: answer.port,
            family: families_json(answer.families),
        },
        decision: decision(answer.is_allowed),
        egress: sided(&answer.egress),
        ingress: sided(&answer.ingress),
        entries: &answer.entries,
    })
}

pub(super) fn sided(side: &SideAnswer) -> Sided<'_> {
    Sided {
        isolated: side.isolated,
        decision: decision(side.is_allowed),
        by: side.by.iter().map(By::of).collect(),
        note: side.note,
    }
}

impl<'a> By<'a> {
    fn of(reason: &'a Reason) -> Self {
        let Reason { policy, rule, tier, action, origin } = reason;
        Self { policy, rule: rule.as_deref(), tier, action, origin: origin.as_ref() }
    }
}

/// Some lines for people.
#[must_use]
pub fn to_text(answer: &Answer) -> String {
    let [from, to] = [&answer.source, &answer.destination].map(endpoint_text);
    let family = families_text(answer.families);
    let mut lines =
        vec![format!("{}: {from} -> {to}:{}/{}{family}", decision(answer.is_allowed), answer.port, answer.protocol)];
    for (direction, side) in [(Direction::Egress, &answer.egress), (Direction::Ingress, &answer.ingress)] {
        lines.extend(side_text(direction, side));
    }
    for entry in &answer.entries {
        lines.push(entry_head(entry));
        lines.extend(entry.entry.lines().map(|line| format!("    {line}")));
    }
    lines.join("\n") + "\n"
}

pub(super) fn side_text(direction: Direction, side: &SideAnswer) -> Vec<String> {
    let word = direction.word();
    let what = decision(side.is_allowed);
    let line = |reason: &Reason| {
        let what = if reason.action == "pass" { "passed on" } else { what };
        format!("  {word:<7} {what}: {}", reason_text(reason))
    };
    let mut lines: Vec<String> = side.by.iter().map(line).collect();
    // What is passed on, and decided by nothing after that, is let through by the last tier.
    let is_decided = side.by.iter().any(|reason| reason.action != "pass");
    if !is_decided || side.note.is_some() {
        let why = side.note.unwrap_or(if side.isolated { "every tier passes it on" } else { "no policy isolates it" });
        lines.push(format!("  {word:<7} {what}: {why}"));
    }
    lines
}

fn reason_text(reason: &Reason) -> String {
    let place = reason.origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
    let what = match (&reason.rule, reason.action) {
        (Some(rule), "deny") => format!(" {rule} denies it"),
        (Some(rule), _) => format!(" {rule}"),
        (None, _) => " isolates it and no rule lets it through".to_owned(),
    };
    let tier = if reason.tier == DEFAULT_TIER { String::new() } else { format!(", in tier {}", reason.tier) };
    clean::line(&format!("{}{what}{tier}{place}", reason.policy), 600)
}

pub(super) fn entry_head(entry: &Entry) -> String {
    let side = entry.side.word();
    let file = entry.file.as_ref().map(|file| format!(" to {file}")).unwrap_or_default();
    let policy = entry.policy.as_ref().map(|policy| format!(", policy {policy}")).unwrap_or_default();
    let line = entry.line.map(|line| format!(", after line {line}")).unwrap_or_default();
    format!("To open {side}, add{file}{policy}{line}:")
}
