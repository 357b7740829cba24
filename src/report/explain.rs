//! The explanation of one flow.

use serde_json::{Value, json};

use super::{
    clean,
    flows::{endpoint_text, families_json, families_text},
};
use crate::{
    engine::explain::{Answer, Reason, SideAnswer},
    model::{Direction, Entry},
};

/// The schema of the JSON form.
pub const SCHEMA: &str = "netpol-verify/explain/v1";

/// The tier of NetworkPolicy, which need not be named.
const DEFAULT_TIER: &str = "default";

const fn decision(is_allowed: bool) -> &'static str {
    if is_allowed { "allowed" } else { "denied" }
}

/// The documented JSON.
#[must_use]
pub fn to_json(answer: &Answer) -> Value {
    let mut flow = json!({
        "source": answer.source,
        "destination": answer.destination,
        "protocol": answer.protocol,
        "port": answer.port,
    });
    if let (Some(family), Some(fields)) = (families_json(answer.families), flow.as_object_mut()) {
        fields.insert("family".to_owned(), family.into());
    }
    json!({
        "schema": SCHEMA,
        "flow": flow,
        "decision": decision(answer.is_allowed),
        "egress": side_json(&answer.egress),
        "ingress": side_json(&answer.ingress),
        "entries": answer.entries,
    })
}

fn side_json(side: &SideAnswer) -> Value {
    let by = side.by.iter().map(|reason| {
        json!({
            "policy": reason.policy,
            "rule": reason.rule,
            "tier": reason.tier,
            "action": reason.action,
            "origin": reason.origin,
        })
    });
    json!({
        "isolated": side.isolated,
        "decision": decision(side.is_allowed),
        "by": by.collect::<Vec<_>>(),
        "note": side.note,
    })
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

fn side_text(direction: Direction, side: &SideAnswer) -> Vec<String> {
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

fn entry_head(entry: &Entry) -> String {
    let side = entry.side.word();
    let file = entry.file.as_ref().map(|file| format!(" to {file}")).unwrap_or_default();
    let policy = entry.policy.as_ref().map(|policy| format!(", policy {policy}")).unwrap_or_default();
    let line = entry.line.map(|line| format!(", after line {line}")).unwrap_or_default();
    format!("To open {side}, add{file}{policy}{line}:")
}
