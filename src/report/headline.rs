//! The first line: is it fine, which merge.

use std::collections::BTreeSet;

use super::{
    MessageOptions,
    doc::Span,
    judge::{Judged, Tally, weights},
    words::{NAME, SENTENCE, count, list},
};
use crate::{
    model::{
        Decision, FindingRule, FlowReport, FlowResult, KustomizationReport, Report, Revision, RuleRef, Trigger,
        Verdict, Why,
    },
    report::clean,
};

/// How it looks at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Seen as declared.
    Fine,
    /// Something could not be told.
    Unsure,
    /// Something is wrong.
    Wrong,
}

impl Mark {
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Fine => "✅ ",
            Self::Unsure => "⚠️ ",
            Self::Wrong => "❌ ",
        }
    }
}

/// The mark and the first line.
pub fn headline(report: &Report, judged: &Judged<'_>, options: &MessageOptions) -> (Mark, Vec<Span>) {
    let (mark, words, shown) = verdict(report, judged);
    let mut spans = vec![Span::text(mark.sign())];
    spans.extend(subject(&shown, report.kustomizations.len() > 1, options));
    spans.push(Span::text(words));
    (mark, spans)
}

type Shown<'a> = Vec<(&'a KustomizationReport, Option<&'a Revision>)>;

fn verdict<'a>(report: &'a Report, judged: &Judged<'a>) -> (Mark, String, Shown<'a>) {
    let applied: Shown<'a> = report.kustomizations.iter().map(|k| (k, k.applied.as_ref())).collect();
    if !judged.not_applied.is_empty() {
        let shown: Shown<'a> =
            judged.not_applied.iter().map(|k| (*k, k.attempted.as_ref().or(k.applied.as_ref()))).collect();
        return (Mark::Wrong, not_applied(judged), shown);
    }
    if judged.has_errors() {
        return (Mark::Wrong, wrong(report, judged), applied);
    }
    if let Some(words) = unsure(report, judged) {
        return (Mark::Unsure, words, applied);
    }
    if report.verdict == Verdict::Finding && judged.older.is_empty() {
        return (Mark::Wrong, " has an open finding; the thread has what was seen".to_owned(), applied);
    }
    (Mark::Fine, fine(report, judged), applied)
}

fn not_applied(judged: &Judged<'_>) -> String {
    let was = if judged.not_applied.len() == 1 { " was not applied" } else { " were not applied" };
    match judged.not_applied.as_slice() {
        [one] => match &one.reason {
            Some(reason) => format!("{was}: {}", clean::line(reason, SENTENCE / 2)),
            None => format!("{was}: Flux gives no reason"),
        },
        _ => was.to_owned(),
    }
}

/// The most revisions and Kustomizations that a first line names.
const MOST: usize = 3;

/// `infra main@4f2c9ab`, with the Kustomizations named where there are several.
fn subject(shown: &[(&KustomizationReport, Option<&Revision>)], name: bool, options: &MessageOptions) -> Vec<Span> {
    let mut spans = vec![Span::text(clean::line(&options.source_name, NAME))];
    let mut revisions: Vec<Option<&Revision>> = Vec::new();
    for (_, revision) in shown {
        if !revisions.contains(revision) {
            revisions.push(*revision);
        }
    }
    for (index, revision) in revisions.iter().take(MOST).enumerate() {
        spans.push(Span::text(if index == 0 { " " } else { ", " }));
        spans.push(revision.map_or_else(|| Span::text("(no revision)"), |revision| revision_span(revision, options)));
        let names: Vec<String> =
            shown.iter().filter(|(_, r)| r == revision).map(|(k, _)| clean::line(&k.name, NAME)).collect();
        if name {
            spans.push(Span::text(format!(" ({})", shorten(&names, MOST))));
        }
    }
    if revisions.len() > MOST {
        spans.push(Span::text(format!(" and {}", count(revisions.len() - MOST, "more revision"))));
    }
    spans
}

fn shorten(names: &[String], most: usize) -> String {
    let mut parts: Vec<String> = names.iter().take(most).cloned().collect();
    if names.len() > most {
        parts.push(format!("{} more", names.len() - most));
    }
    list(&parts)
}

/// A revision, with a link where the configuration has one.
pub fn revision_span(revision: &Revision, options: &MessageOptions) -> Span {
    let short = clean::line(&revision.short(), NAME);
    match options.commit_link(revision) {
        Some(href) => Span::link(short, href),
        None => Span::text(short),
    }
}

fn wrong(report: &Report, judged: &Judged<'_>) -> String {
    let clauses = clauses(report, judged);
    if let ([_], false) = (clauses.as_slice(), report.first_run) {
        if !judged.drift.is_empty() {
            let verb = if judged.drift.len() == 1 { "differs" } else { "differ" };
            return format!(" is live, but {} {verb} from Git", count(judged.drift.len(), "policy"));
        }
        if !judged.enforcement.is_empty() {
            let some = match weights(&judged.enforcement) {
                1 => String::new(),
                n => format!(" ({n} flows)"),
            };
            return format!(": declared and live agree, packets do not{some}");
        }
    }
    let first = if report.first_run { "first state taken, " } else { "" };
    format!(": {first}{}", list(&clauses))
}

/// One clause for each sort of trouble that this merge brought.
fn clauses(report: &Report, judged: &Judged<'_>) -> Vec<String> {
    let mut clauses = Vec::new();
    let total = judged.flows.total;
    let of = if report.trigger == Trigger::Merge && !report.first_run { "changed flow" } else { "flow" };
    let mut add = |n: usize, one: &str, many: &str| {
        if n > 0 {
            clauses.push(format!("{n} {}", if n == 1 { one } else { many }));
        }
    };
    add(judged.drift.len(), "policy differs from Git", "policies differ from Git");
    if judged.drift.is_empty() {
        add(
            weights(&judged.drifted),
            "flow is decided otherwise than in Git",
            "flows are decided otherwise than in Git",
        );
    }
    add(weights(&judged.enforcement), "flow is not as the live policies say", "flows are not as the live policies say");
    let of_total = format!("of {}", count(total, of));
    add(weights(&judged.missing), &format!("{of_total} is blocked"), &format!("{of_total} are blocked"));
    add(weights(&judged.excess), "flow is open that no table intends", "flows are open that no table intends");
    let (rule, rules) = if report.first_run || report.trigger != Trigger::Merge {
        ("rule matches nothing", "rules match nothing")
    } else {
        ("rule of this merge matches nothing", "rules of this merge match nothing")
    };
    add(judged.no_effect.len(), rule, rules);
    let is = |rule: FindingRule| judged.errors.iter().filter(|f| f.rule == rule).count();
    let (baseline, expectation, relabelled) =
        (is(FindingRule::Baseline), is(FindingRule::Expectation), is(FindingRule::Relabelled));
    add(baseline, "namespace has no default-deny", "namespaces have no default-deny");
    add(expectation, "expectation is not met", "expectations are not met");
    add(relabelled, "change of labels flipped flows", "changes of labels flipped flows");
    let (shut, excess) = (is(FindingRule::AllowlistMissing), is(FindingRule::AllowlistExcess));
    add(shut, "intended flow is not open", "intended flows are not open");
    add(excess, "rule opens what no table intends", "rules open what no table intends");
    let named = baseline + expectation + relabelled + shut + excess;
    add(judged.errors.len() - named, "finding", "findings");
    if !judged.untold.is_empty() {
        clauses.push(format!("{} could not be verified", weights(&judged.untold)));
    }
    clauses
}

/// What could not be told, if anything: then it is never green.
fn unsure(report: &Report, judged: &Judged<'_>) -> Option<String> {
    if report.verdict == Verdict::Nothing {
        return Some(": there was no policy to look at".to_owned());
    }
    let untold = weights(&judged.untold);
    if untold > 0 {
        let of = if report.trigger == Trigger::Merge && !report.first_run { "changed flow" } else { "flow" };
        let first = if report.first_run { "first state taken, " } else { "" };
        return Some(format!(": {first}{untold} of {} could not be verified", count(judged.flows.total, of)));
    }
    if !judged.unproven.is_empty() {
        return Some(": what Flux applied could not be proven".to_owned());
    }
    if report.verdict != Verdict::Inconclusive {
        return None;
    }
    let Tally { total, verified, .. } = judged.flows;
    if judged.warnings.is_empty() && report.standing.pending > 0 {
        let pending = report.standing.pending;
        let still = if pending == 1 { "is" } else { "are" };
        let seen = if total == 0 { String::new() } else { format!(" {verified} probed as declared, but") };
        return Some(format!(":{seen} {} {still} still pending", count(pending, "flow")));
    }
    Some(" could not be verified".to_owned())
}

fn fine(report: &Report, judged: &Judged<'_>) -> String {
    if report.first_run {
        return first_state(report);
    }
    // Other drift of this merge or before would have a line of its own.
    let drift =
        if report.drift.iter().all(|d| d.accepted_until.is_none() && d.severity != crate::model::Severity::Error) {
            ", no drift"
        } else {
            ""
        };
    let Tally { total, verified, covered, other, not_probed } = judged.flows;
    if total == 0 {
        return match (report.trigger, report.same_digest) {
            (Trigger::Merge, true) => ": no policy changed".to_owned(),
            (Trigger::Merge, false) => format!(" verified — no flow changed{drift}"),
            _ => format!(" verified{}", drift.replacen(',', " —", 1)),
        };
    }
    let changed = match report.trigger {
        Trigger::Merge => format!("{} changed", count(total, "flow")),
        Trigger::Schedule | Trigger::Manual => count(total, "flow"),
    };
    let mut parts = vec![changed, format!("{verified} probed as declared")];
    let mut add = |n: usize, words: &str| {
        if n > 0 {
            parts.push(format!("{n} {words}"));
        }
    };
    add(covered, "covered by these");
    add(other, "accepted or not told");
    add(not_probed, "not probed");
    format!(" verified — {}{drift}", parts.join(", "))
}

/// `first state taken, 118 of 118 rules seen as declared, 42 of 42 closed flows closed`.
fn first_state(report: &Report) -> String {
    let is_seen = |flow: &&FlowReport| flow.result == FlowResult::Verified;
    let of_first_run = || report.flows.iter().filter(|f| f.why == Why::FirstRun);
    // One flow may show several rules, such as those of its two sides.
    let all: BTreeSet<&RuleRef> = of_first_run().flat_map(|f| &f.rules).collect();
    let unseen: BTreeSet<&RuleRef> = of_first_run().filter(|f| !is_seen(f)).flat_map(|f| &f.rules).collect();
    let denied = || of_first_run().filter(|f| f.declared == Decision::Denied);
    format!(
        ": first state taken, {} of {} seen as declared, {} of {} closed",
        all.len() - unseen.len(),
        count(all.len(), "rule"),
        denied().filter(is_seen).count(),
        count(denied().count(), "closed flow")
    )
}
