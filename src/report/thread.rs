//! The details under a message: one line a flow, the diffs, everything that was counted above.

use super::{
    MessageOptions,
    clean::{self, put},
    details,
    doc::{Block, Span},
    message::{self, MOST_BYTES, MOST_FINDINGS, Message, is_quiet},
    words::{self, NAME, SENTENCE, count},
};
use crate::model::{
    DenialLook, Drift, FlowReport, FlowResult, KustomizationReport, RenderingState, Report, Severity, Strength, Trigger,
};

/// The most parts of one thread; what does not fit is counted in the last one.
pub const MOST_PARTS: usize = 8;

/// The thread under the message of `report`: nothing for a quiet merge.
#[must_use]
pub fn thread(report: &Report, options: &MessageOptions) -> Vec<Message> {
    if is_quiet(report) {
        return Vec::new();
    }
    let mut parts: Vec<Vec<Block>> = vec![Vec::new()];
    let mut used = 0;
    let mut left = 0;
    for group in groups(report, options) {
        let weight: usize = group.iter().map(Block::weight).sum();
        if left > 0 || (used + weight > MOST_BYTES && parts.len() == MOST_PARTS) {
            left += 1;
            continue;
        }
        if used + weight > MOST_BYTES && used > 0 {
            parts.push(Vec::new());
            used = 0;
        }
        used += weight;
        if let Some(part) = parts.last_mut() {
            part.extend(group);
        }
    }
    if let (true, Some(part)) = (left > 0, parts.last_mut()) {
        let text = format!("{} not shown here: the Job's log and its JSON have them.", count(left, "more detail"));
        part.push(Block::Note(vec![Span::text(text)]));
    }
    parts.iter().map(|blocks| Message::of_details(blocks)).collect()
}

/// All details, in groups that stay together.
pub(super) fn groups(report: &Report, options: &MessageOptions) -> Vec<Vec<Block>> {
    let hidden = message::blocks(report, options, MOST_FINDINGS, MOST_BYTES).left;
    let mut groups: Vec<Vec<Block>> = vec![about(report)];
    groups.extend(flows(report));
    let drift: Vec<_> = report.drift.iter().map(drift_group).collect();
    groups.extend(headed(count(report.drift.len(), "policy").as_str(), "not as in Git", drift));
    groups.extend(headed("Findings", "that the message above only counts", hidden));
    groups.extend(others(report));
    groups
}

fn headed(what: &str, how: &str, mut groups: Vec<Vec<Block>>) -> Vec<Vec<Block>> {
    if let Some(first) = groups.first_mut() {
        first.insert(0, Block::Head(vec![Span::text(format!("{what} {how}"))]));
    }
    groups
}

fn about(report: &Report) -> Vec<Block> {
    let why = match report.trigger {
        Trigger::Merge => "a merge",
        Trigger::Schedule => "the schedule",
        Trigger::Manual => "a person",
    };
    let cluster = clean::line(&report.cluster, NAME);
    let mut blocks = vec![
        Block::Head(vec![Span::text(format!("Run {} on {cluster}, for {why}", report.seq))]),
        Block::More(vec![Span::text(format!("{} to {}", words::time(&report.started), words::time(&report.finished)))]),
    ];
    blocks.extend(report.kustomizations.iter().map(kustomization));
    let unseen: Vec<_> = report
        .not_probed
        .iter()
        .map(|part| format!("{} not probed: {}", count(part.flows, "flow"), clean::line(&part.reason, SENTENCE / 3)))
        .collect();
    blocks.extend(unseen.iter().take(20).map(|text| Block::More(vec![Span::text(text)])));
    if let Some(sweep) = report.sweep {
        let left = if sweep.left == 0 { String::new() } else { format!("; {} left for later sweeps", sweep.left) };
        let (probes, nodes) = (count(sweep.probes, "probe"), count(sweep.nodes, "node"));
        let pods = if sweep.pods > 1 { format!(", by {} pods", sweep.pods) } else { String::new() };
        let text = format!("a sweep of everything declared: {probes} on {nodes}{pods}{left}");
        blocks.push(Block::More(vec![Span::text(text)]));
    }
    if let Some(ms) = report.converged_ms {
        let text = format!("seen as declared within {} of probing", words::duration(ms));
        blocks.push(Block::More(vec![Span::text(text)]));
    }
    if let Some(text) = denial(report) {
        blocks.push(Block::More(vec![Span::text(text)]));
    }
    if let Some(number) = report.ephemeral_containers {
        let added = count(number.get(), "ephemeral container");
        let text = format!("{added} added to probe from: nobody can remove them, they go with their pods");
        blocks.push(Block::More(vec![Span::text(text)]));
    }
    blocks
}

fn kustomization(k: &KustomizationReport) -> Block {
    let mut text = match &k.applied {
        Some(revision) => format!(" at {}, ", clean::line(&revision.short(), NAME)),
        None => " not applied yet, ".to_owned(),
    };
    text.push_str(match k.rendering {
        RenderingState::Proven => "rendering proven by Flux's digest",
        RenderingState::Unproven => "rendering not proven",
    });
    if let Some(reason) = &k.reason {
        put(&mut text, format_args!(": {}", clean::line(reason, SENTENCE / 2)));
    }
    Block::More(vec![Span::code(clean::line(&k.id().to_string(), 2 * NAME)), Span::text(text)])
}

/// How a denial looks, by node, in one line.
fn denial(report: &Report) -> Option<String> {
    let of = |look| report.denial.values().filter(|other| **other == look).count();
    let parts: Vec<String> = [
        (of(DenialLook::Drop), "drop what is denied"),
        (of(DenialLook::Reject), "reject what is denied"),
        (of(DenialLook::Unknown), "not settled how a denial looks"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, words)| format!("{}: {words}", count(n, "node")))
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn flows(report: &Report) -> Vec<Vec<Block>> {
    let mut flows: Vec<&FlowReport> = report.flows.iter().collect();
    flows.sort_by_cached_key(|flow| (flow.result.rank(), flow.key()));
    let good = flows.iter().filter(|flow| flow.result == FlowResult::Verified).count();
    let what = format!("{good} of {}", count(flows.len(), "flow"));
    headed(&what, "as declared", flows.into_iter().map(flow_group).collect())
}

/// One line: workloads and port, before → now, what was seen; then pods, control and time.
fn flow_group(flow: &FlowReport) -> Vec<Block> {
    let sign = match flow.result {
        FlowResult::Verified => "✓ ",
        FlowResult::Inconclusive => "? ",
        _ => "✗ ",
    };
    let change = match flow.before {
        Some(before) if before != flow.declared => format!("{before} → {}", flow.declared),
        _ => flow.declared.to_string(),
    };
    let mut text = format!(": {change}, seen {}", flow.observed);
    for part in facts(flow) {
        text.push_str("; ");
        text.push_str(&part);
    }
    let mut blocks = vec![Block::Item(vec![Span::text(sign), Span::code(words::flow(flow)), Span::text(text)])];
    // What was denied as it should be needs no proof for a reader; the report has it.
    if !flow.evidence.is_empty() && flow.result != FlowResult::Verified {
        blocks.push(Block::Code("text", evidence(&flow.evidence)));
    }
    blocks
}

/// Lines of another program's log, each on one line whatever it holds.
fn evidence(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| clean::line(line, 300)).collect();
    clean::cut_block(&lines.join("\n"), 5, 1500)
}

fn facts(flow: &FlowReport) -> Vec<String> {
    let mut facts = Vec::new();
    let mut add = |text: String| facts.push(text);
    if flow.result != FlowResult::Verified {
        add(result(flow).to_owned());
    }
    if let Some(note) = &flow.note {
        add(clean::line(note, SENTENCE / 3));
    }
    if let Some(controls) = &flow.controls {
        let seen: Vec<String> =
            [&controls.target, &controls.source].into_iter().flatten().map(|s| clean::line(s, NAME)).collect();
        let weak = if controls.strength == Strength::Weak { " (weak)" } else { "" };
        add(format!("control{weak}: {}", if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }));
    }
    for seen in &flow.services {
        add(format!("{}:{} {}", clean::line(&seen.service, NAME), seen.port, seen.observed));
    }
    if let Some(ms) = flow.converged_ms {
        add(format!("after {}", words::duration(ms)));
    }
    if let Some(ms) = flow.open_ms {
        add(format!("still open {} after probing began", words::duration(ms)));
    }
    if flow.covers > 0 {
        add(format!("stands for {}", count(flow.covers, "more flow")));
    }
    let path = path(flow);
    if !path.is_empty() {
        add(path);
    }
    if let Some(since) = flow.since.as_ref().filter(|_| flow.result != FlowResult::Verified) {
        add(format!("since {}", clean::line(&since.short(), NAME)));
    }
    if let Some(date) = &flow.accepted_until {
        add(format!("accepted until {}", clean::line(date, 30)));
    }
    facts
}

/// Where it was looked at, and how.
fn path(flow: &FlowReport) -> String {
    let pod = flow.source_pod.as_ref().map(|pod| format!("from pod {}", clean::line(&pod.name, NAME)));
    let node = flow.node.as_ref().map(|node| format!("on {}", clean::line(node, NAME)));
    let target = flow.target.as_ref().map(|target| format!("to {}", clean::line(target, NAME)));
    let via = flow.via.as_ref().map(|via| format!("by {}", clean::line(via, NAME)));
    [pod, node, target, via].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

const fn result(flow: &FlowReport) -> &'static str {
    match flow.result {
        FlowResult::Verified => "as declared",
        FlowResult::Drift => "live policies decide otherwise than Git",
        FlowResult::Enforcement => "not as the live policies say",
        FlowResult::MissingEntry => "one side lacks an entry",
        FlowResult::Excess => "no table intends it",
        FlowResult::Inconclusive => "could not be told",
    }
}

fn drift_group(drift: &Drift) -> Vec<Block> {
    let mut text = format!(": {}", details::drift_word(drift.class));
    if let Some(by) = &drift.by {
        put(&mut text, format_args!(" by {}", details::who(by)));
    }
    if let Some(origin) = &drift.declared {
        put(&mut text, format_args!(", Git has it in {}", clean::line(&origin.short(), 3 * NAME)));
    }
    if drift.severity == Severity::Info {
        text.push_str(", for information");
    }
    if let Some(since) = &drift.since {
        put(&mut text, format_args!(", since {}", clean::line(&since.short(), NAME)));
    }
    if let Some(date) = &drift.accepted_until {
        put(&mut text, format_args!(", accepted until {}", clean::line(date, 30)));
    }
    let mut blocks = vec![Block::Line(vec![Span::code(details::policy(drift)), Span::text(text)])];
    if !drift.diff.trim().is_empty() {
        blocks.push(Block::Code("diff", clean::cut_block(&drift.diff, 60, 3000)));
    }
    blocks
}

/// Findings that the message does not show: older ones, accepted ones, and those for information.
fn others(report: &Report) -> Vec<Vec<Block>> {
    let groups = report
        .findings
        .iter()
        .filter(|f| {
            let own = super::judge::is_own(report, f.new, f.since.as_ref());
            !own || f.severity == Severity::Info || f.accepted_until.is_some()
        })
        .map(|f| {
            let mut blocks = details::finding(f);
            let accepted = f.accepted_until.as_ref().map(|date| format!("accepted until {}", clean::line(date, 30)));
            let since = f.since.as_ref().map(|since| format!("since {}", clean::line(&since.short(), NAME)));
            let notes: Vec<String> = [since, accepted].into_iter().flatten().collect();
            if !notes.is_empty() {
                blocks.push(Block::More(vec![Span::text(format!("({})", notes.join(", ")))]));
            }
            blocks
        })
        .collect();
    headed("Notes", "and what stood before", groups)
}
