//! The explanation of one flow.

use std::{collections::hash_map::Entry, sync::Arc};

use foldhash::HashMap;
use serde::Serialize;

use super::{
    clean,
    flows::{endpoint_text, families_json, families_text},
};
use crate::{
    engine::explain::{Answer, Reason, SideAnswer},
    model::{Direction, Endpoint, Origin, PolicyRef, Protocol},
};

/// The schema of the JSON form.
pub const SCHEMA: &str = "netpol-verify/explain/v1";

/// The tier of NetworkPolicy, which need not be named.
const DEFAULT_TIER: &str = "default";

pub(super) const fn decision(is_allowed: bool) -> &'static str {
    if is_allowed { "allowed" } else { "denied" }
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

/// Answers as text, one after the other. What decides many of them is written once and kept.
#[derive(Debug, Default)]
pub struct Printer {
    /// By the address and length of the list, which is kept so that no other one gets it.
    reasons: HashMap<(usize, usize), Kept>,
}

/// Reasons, and how they are written.
type Kept = (Arc<[Reason]>, String);

impl Printer {
    /// Appends the documented JSON on one line.
    ///
    /// # Errors
    /// None that an answer could give rise to.
    pub fn json(&mut self, answer: &Answer, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let flow = Flow {
            source: &answer.source,
            destination: &answer.destination,
            protocol: answer.protocol,
            port: answer.port,
            family: families_json(answer.families),
        };
        add(out, &["{\"schema\":\"", SCHEMA, "\",\"flow\":"]);
        serde_json::to_writer(&mut *out, &flow)?;
        add(out, &[",\"decision\":\"", decision(answer.is_allowed), "\",\"egress\":"]);
        self.side(&answer.egress, out)?;
        add(out, &[",\"ingress\":"]);
        self.side(&answer.ingress, out)?;
        add(out, &[",\"entries\":"]);
        serde_json::to_writer(&mut *out, &answer.entries)?;
        add(out, &["}\n"]);
        Ok(())
    }

    /// Appends one side, as [`Sided`] is written.
    fn side(&mut self, side: &SideAnswer, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let SideAnswer { isolated, is_allowed, by, note } = side;
        let known = match self.reasons.entry((by.as_ptr().addr(), by.len())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let text = serde_json::to_string(&by.iter().map(By::of).collect::<Vec<_>>())?;
                new.insert((Arc::clone(by), text))
            }
        };
        let isolated = if *isolated { "true" } else { "false" };
        add(out, &["{\"isolated\":", isolated, ",\"decision\":\"", decision(*is_allowed), "\",\"by\":", &known.1]);
        add(out, &[",\"note\":"]);
        serde_json::to_writer(&mut *out, note)?;
        add(out, &["}"]);
        Ok(())
    }
}

fn add(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
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

pub(super) fn entry_head(entry: &crate::model::Entry) -> String {
    let side = entry.side.word();
    let file = entry.file.as_ref().map(|file| format!(" to {file}")).unwrap_or_default();
    let policy = entry.policy.as_ref().map(|policy| format!(", policy {policy}")).unwrap_or_default();
    let line = entry.line.map(|line| format!(", after line {line}")).unwrap_or_default();
    format!("To open {side}, add{file}{policy}{line}:")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{engine::reach::Families, model::Workload};

    fn reasons(rule: &str) -> Arc<[Reason]> {
        let reason = |action| Reason {
            policy: PolicyRef::network_policy("shop", "web"),
            rule: Some(rule.to_owned()),
            tier: "default".to_owned(),
            action,
            origin: Some(Origin::at("a \"b\".yaml", 7, 3)),
        };
        Arc::from([reason("pass"), reason("allow")])
    }

    #[test]
    fn what_is_kept_of_one_answer_is_told_of_no_other() {
        let end = Endpoint::Workload(Workload {
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        });
        let side =
            |by: &Arc<[Reason]>, note| SideAnswer { isolated: true, is_allowed: false, by: Arc::clone(by), note };
        let answer = |egress: SideAnswer, ingress: SideAnswer| Answer {
            source: end.clone(),
            destination: end.clone(),
            families: Families::Any,
            protocol: Protocol::Udp,
            port: 53,
            is_allowed: false,
            egress,
            ingress,
            entries: Vec::new(),
        };
        let (first, second) = (reasons("egress[0]"), reasons("egress[1]"));
        let mut printer = Printer::default();
        for (out, into) in [(&first, &second), (&second, &first), (&first, &first)] {
            let answer = answer(side(out, None), side(into, Some("a \"note\"")));
            let mut line = Vec::new();
            printer.json(&answer, &mut line).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
            let told: Value = serde_json::from_str(&line).unwrap();
            for (side, word) in [(&answer.egress, "egress"), (&answer.ingress, "ingress")] {
                assert_eq!(told[word], serde_json::to_value(sided(side)).unwrap(), "{line}");
            }
            assert_eq!(told["flow"]["port"], 53);
        }
    }
}
