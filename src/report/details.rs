//! Each finding in words: what, why, where, and what to do.

use super::{
    MessageOptions,
    clean::{self, put},
    doc::{Block, Span},
    judge::Judged,
    words::{self, NAME, SENTENCE, count, does, list},
};
use crate::model::{
    Direction, Drift, DriftClass, Entry, Finding, FlowReport, FlowResult, KustomizationReport, RenderingState, Report,
};

/// The longest entry that is shown: what is longer cannot be pasted from a chat anyway.
const ENTRY_LINES: usize = 40;
const ENTRY: usize = 2000;

/// One finding.
pub type Item = Vec<Block>;

/// All of this merge, most telling first.
pub fn items(report: &Report, judged: &Judged<'_>, options: &MessageOptions) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    items.extend(judged.not_applied.iter().map(|k| not_applied(report, k, judged.not_applied.len() > 1, options)));
    items.extend(judged.drift.iter().map(|drift| self::drift(drift)));
    // Beside the last of them that is shown.
    let last = items.len().min(super::message::MOST_FINDINGS).saturating_sub(1);
    if let (Some(advice), Some(item)) = (advice(report, &judged.drift), items.get_mut(last)) {
        item.push(advice);
    }
    if judged.drift.is_empty() {
        items.extend(judged.drifted.iter().map(|f| drifted(f)));
    }
    items.extend(judged.enforcement.iter().map(|f| enforcement(report, f)));
    // One entry opens all ports of its rule: it is shown once.
    let mut shown: Vec<&[Entry]> = Vec::new();
    for flow in &judged.missing {
        let is_shown = !flow.entries.is_empty() && shown.contains(&flow.entries.as_slice());
        shown.push(&flow.entries);
        items.push(missing(flow, is_shown));
    }
    items.extend(judged.no_effect.iter().chain(&judged.errors).map(|f| finding(f)));
    items.extend(judged.excess.iter().map(|f| excess(f)));
    items.extend(judged.untold.iter().map(|f| untold(f)));
    items.extend(judged.unproven.iter().map(|k| unproven(k)));
    items.extend(judged.warnings.iter().map(|f| finding(f)));
    items
}

/// What to do about drift, once for all of it.
fn advice(report: &Report, drift: &[&Drift]) -> Option<Block> {
    // Advice to delete, given against a Git that nobody could prove, could delete what Git wants.
    let unproven = |k: &KustomizationReport| k.rendering == RenderingState::Unproven && k.applied.is_some();
    if !drift.is_empty() && report.kustomizations.iter().any(unproven) {
        let text = "What Git declares is not proven in this run: change nothing before you compared by hand.";
        return Some(Block::Line(vec![Span::text(text)]));
    }
    let of = |classes: &[DriftClass]| drift.iter().filter(|d| classes.contains(&d.class)).count();
    let mut spans: Vec<Span> = Vec::new();
    let extra = of(&[DriftClass::Extra]);
    let back = of(&[DriftClass::Missing, DriftClass::Changed, DriftClass::ForeignFields]);
    let frozen = of(&[DriftClass::Frozen]);
    if extra > 0 {
        let (what, it) = if extra == 1 { ("the extra policy", "it") } else { ("the extra policies", "them") };
        spans.push(Span::text(format!("Delete {what} or bring {it} into Git.")));
    }
    if back > 0 {
        let what = match (back, extra) {
            (1, 0) => " puts it back.",
            (_, 0) => " puts them back.",
            (1, _) => " puts the other one back.",
            _ => " puts the others back.",
        };
        spans.extend([Span::text(gap(&spans)), Span::command(reconcile(report)), Span::text(what)]);
    }
    if frozen > 0 {
        let leaves = "Flux leaves frozen policies alone: take its annotation off, or bring Git in line.";
        spans.push(Span::text(format!("{}{leaves}", gap(&spans))));
    }
    (!spans.is_empty()).then_some(Block::Line(spans))
}

const fn gap(spans: &[Span]) -> &'static str {
    if spans.is_empty() { "" } else { " " }
}

fn reconcile(report: &Report) -> String {
    match report.kustomizations.as_slice() {
        [one] if one.namespace == "flux-system" => format!("flux reconcile kustomization {}", one.name),
        [one] => format!("flux reconcile kustomization {} -n {}", one.name, one.namespace),
        _ => "flux reconcile kustomization NAME".to_owned(),
    }
}

fn not_applied(report: &Report, k: &KustomizationReport, several: bool, options: &MessageOptions) -> Item {
    let mut spans = Vec::new();
    if several {
        spans.push(Span::code(clean::line(&k.name, NAME)));
        let reason = k.reason.as_deref().unwrap_or("Flux gives no reason");
        spans.push(Span::text(format!(": {}. ", clean::line(reason, SENTENCE / 2).trim_end_matches('.'))));
    }
    let verified = options.verified.iter().find(|(id, _)| *id == k.id()).map(|(_, revision)| revision);
    match (&k.applied, verified) {
        (None, _) => spans.push(Span::text("Nothing of it was applied before.")),
        (Some(live), Some(same)) if live == same => {
            spans.push(Span::text("Still live and last verified: "));
            spans.push(super::headline::revision_span(live, options));
            spans.push(Span::text("."));
        }
        (Some(live), other) => {
            spans.push(Span::text("Still live: "));
            spans.push(super::headline::revision_span(live, options));
            if let Some(other) = other {
                spans.push(Span::text(", last verified: "));
                spans.push(super::headline::revision_span(other, options));
            }
            spans.push(Span::text("."));
        }
    }
    if report.flows.is_empty() {
        spans.push(Span::text(" Nothing was probed."));
    }
    vec![Block::Line(spans), Block::More(cure(k))]
}

/// What to do about a Kustomization that was not applied.
fn cure(k: &KustomizationReport) -> Vec<Span> {
    let says = |words: &str| k.reason.as_deref().is_some_and(|reason| reason.to_lowercase().contains(words));
    if k.attempted.is_none() && k.applied.is_none() && says("there is no kustomization") {
        // No revision of it can be wrong; the reason names the configuration.
        vec![Span::text("Correct its name there, or let Flux create it.")]
    } else if says("suspend") {
        vec![
            Span::text("Let Flux apply it: "),
            Span::command(format!("flux resume kustomization {} -n {}", k.name, k.namespace)),
        ]
    } else {
        vec![Span::text("Correct it in Git: the next revision that Flux applies is verified by itself.")]
    }
}

fn drift(drift: &Drift) -> Item {
    let mut spans = vec![Span::text(format!("{}: ", drift_word(drift.class))), Span::code(policy(drift))];
    if let Some(by) = &drift.by {
        spans.push(Span::text(format!(" (by {})", who(by))));
    }
    spans.push(Span::text(format!(" {}", clean::line(&drift.summary, SENTENCE / 2))));
    if let Some(origin) = drift.declared.as_ref().filter(|origin| !drift.summary.contains(&origin.short())) {
        spans.push(Span::text(" ("));
        spans.push(Span::code(clean::line(&origin.short(), 2 * NAME)));
        spans.push(Span::text(")"));
    }
    if drift.flows > 0 && !drift.summary.contains(&drift.flows.to_string()) {
        spans.push(Span::text(format!(": {} otherwise than in Git", count(drift.flows, "flow"))));
    }
    vec![Block::Line(spans)]
}

pub fn drift_word(class: DriftClass) -> &'static str {
    match class {
        DriftClass::Missing => "missing",
        DriftClass::Extra => "extra",
        DriftClass::Changed => "changed",
        DriftClass::Frozen => "frozen",
        DriftClass::ForeignFields => "foreign fields",
    }
}

/// `shop/web`; other kinds than the usual one are named.
pub fn policy(drift: &Drift) -> String {
    let shown = if drift.policy.kind == "NetworkPolicy" { drift.policy.short() } else { drift.policy.to_string() };
    clean::line(&shown, 2 * NAME)
}

/// `kubectl-edit, 2026-11-20 09:12:00 UTC`.
pub fn who(by: &str) -> String {
    match by.rsplit_once(' ') {
        Some((name, at)) => format!("{}, {}", clean::line(name, NAME), words::time(at)),
        None => clean::line(by, NAME),
    }
}

fn named(flow: &FlowReport) -> Span {
    Span::code(words::flow(flow))
}

fn because(flow: &FlowReport) -> Option<String> {
    if flow.because.is_empty() {
        return None;
    }
    let parts: Vec<String> = flow.because.iter().take(4).map(|part| clean::line(part, SENTENCE / 3)).collect();
    Some(parts.join(", "))
}

fn drifted(flow: &FlowReport) -> Item {
    let mut text = format!(" is {} in Git, {} live", words::state(flow.declared), words::state(flow.live));
    if let Some(because) = because(flow) {
        put(&mut text, format_args!(": {because}"));
    }
    text.push_str(". Bring the live policies back to Git, or Git to them.");
    vec![Block::Line(vec![named(flow), Span::text(text)])]
}

fn enforcement(report: &Report, flow: &FlowReport) -> Item {
    let mut text = format!(" should be {}, {}", flow.declared, does(flow.observed));
    if let Some(note) = &flow.note {
        put(&mut text, format_args!(", {}", clean::line(note, SENTENCE / 3)));
    }
    if let Some(target) = flow.controls.as_ref().and_then(|controls| controls.target.as_ref()) {
        put(&mut text, format_args!(" (control: {})", clean::line(target, SENTENCE / 3)));
    }
    text.push_str(&stands_for(flow));
    put(&mut text, format_args!(". {}", look_at(report, flow)));
    vec![Block::Line(vec![named(flow), Span::text(text)])]
}

/// Where somebody has to look.
fn look_at(report: &Report, flow: &FlowReport) -> String {
    let node = flow.node.as_ref().map(|node| clean::line(node, NAME));
    let only: Vec<String> = flow.only_on.iter().take(3).map(|node| clean::line(node, NAME)).collect();
    match node {
        _ if !only.is_empty() => {
            let fine = count(flow.as_declared_on.len(), "other node");
            let fine = if flow.as_declared_on.is_empty() { String::new() } else { format!(" (as declared on {fine})") };
            format!("Node {} only{fine}: look at the policy agent (calico-node) there.", list(&only))
        }
        Some(node) if only_there(report, flow) => {
            format!("Node {node} only: look at the policy agent (calico-node) there.")
        }
        Some(node) => format!("Seen on node {node}: look at the policy agent (calico-node) there."),
        None => "Look at the policy agent (calico-node) of its node.".to_owned(),
    }
}

/// Whether other nodes were seen to do as declared, and none but this one otherwise.
fn only_there(report: &Report, flow: &FlowReport) -> bool {
    let elsewhere = |result| report.flows.iter().any(|f| f.result == result && f.node.is_some() && f.node != flow.node);
    elsewhere(FlowResult::Verified) && !elsewhere(FlowResult::Enforcement)
}

fn stands_for(flow: &FlowReport) -> String {
    if flow.covers == 0 { String::new() } else { format!(", as for {} like it", count(flow.covers, "more flow")) }
}

fn missing(flow: &FlowReport, is_shown: bool) -> Item {
    let why = because(flow).unwrap_or_else(|| {
        let sides: Vec<String> = flow.entries.iter().map(|entry| side(entry.side).to_owned()).collect();
        if sides.is_empty() { "one side is not open".to_owned() } else { format!("{} is not open", list(&sides)) }
    });
    let text = format!(" {}: {why}{}", does(flow.observed), stands_for(flow));
    let mut blocks = vec![Block::Line(vec![named(flow), Span::text(text)])];
    if is_shown {
        blocks.push(Block::More(vec![Span::text("The entry above opens it, too.")]));
        return blocks;
    }
    blocks.extend(flow.entries.iter().take(2).flat_map(entry));
    if flow.entries.is_empty() {
        blocks.push(Block::More(vec![Span::text("Open the other side too, or take this rule back.")]));
    }
    blocks
}

const fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// What to add, and where.
pub fn entry(entry: &Entry) -> Vec<Block> {
    let mut spans = match &entry.file {
        Some(file) => vec![Span::text("Add to "), Span::code(clean::line(file, 3 * NAME))],
        None => vec![Span::text(format!("No file in Git holds the {} side; add to a", side(entry.side)))],
    };
    match (&entry.policy, &entry.file) {
        (Some(policy), Some(_)) => spans.extend([Span::text(", policy "), Span::code(clean::line(policy, 2 * NAME))]),
        (Some(policy), None) => spans.extend([Span::text(" policy like "), Span::code(clean::line(policy, 2 * NAME))]),
        (None, None) => spans.push(Span::text(" policy of that namespace")),
        (None, Some(_)) => {}
    }
    if let Some(line) = entry.line {
        let place = if entry.entry.trim_start().starts_with("# in place of line") { "in place of" } else { "after" };
        spans.push(Span::text(format!(", {place} line {line}")));
    }
    if let Some(text) = clean::block(&entry.entry, ENTRY_LINES, ENTRY) {
        spans.push(Span::text(":"));
        return vec![Block::More(spans), Block::Code("yaml", text)];
    }
    spans.push(Span::text(" an entry that is too long for a message: "));
    spans.push(Span::command("netpol-verify explain"));
    spans.push(Span::text(" prints it."));
    vec![Block::More(spans)]
}

fn excess(flow: &FlowReport) -> Item {
    let text = format!(
        " is open although no table intends it{}. Close it, or add it to the allow-list with its reason.",
        stands_for(flow)
    );
    vec![Block::Line(vec![named(flow), Span::text(text)])]
}

fn untold(flow: &FlowReport) -> Item {
    let note = match &flow.note {
        Some(note) => format!(": {}", clean::line(note, SENTENCE / 3).trim_end_matches('.')),
        None => format!(" {}", does(flow.observed)),
    };
    let text = format!("{note}{}. {}", stands_for(flow), words::next(flow.state, flow.observed));
    vec![Block::Line(vec![named(flow), Span::text(text)])]
}

fn unproven(k: &KustomizationReport) -> Item {
    let reason = k.reason.as_deref().map_or_else(
        || "its digest is not the one that Flux applied".to_owned(),
        |reason| clean::line(reason, SENTENCE / 2),
    );
    let text = format!(
        ": {}. Make it renderable without what is named there, or accept it (accept: rendering in config.yaml).",
        reason.trim_end_matches('.')
    );
    vec![Block::Line(vec![Span::text("Rendering of "), Span::code(clean::line(&k.name, NAME)), Span::text(text)])]
}

/// A finding that is no flow and no drift.
pub fn finding(finding: &Finding) -> Item {
    let mut spans = vec![Span::text(clean::line(&finding.message, SENTENCE))];
    if let Some(origin) = finding.origin.as_ref().filter(|origin| !finding.message.contains(&origin.short())) {
        spans.push(Span::text(" In "));
        spans.push(Span::code(clean::line(&origin.short(), 3 * NAME)));
    }
    let mut blocks = vec![Block::Line(spans)];
    blocks.extend(finding.fix.iter().flat_map(entry));
    blocks
}
