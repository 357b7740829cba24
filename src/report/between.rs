//! The lines between merges: what was cured, and what still stands.

use super::{
    MessageOptions, clean,
    doc::{Block, Span},
    headline::{Mark, revision_span},
    message::{MOST_FINDINGS, Message},
    words::{self, NAME, SENTENCE, count},
};
use crate::model::{Cleared, Report, Revision};

/// A reply in the thread of the message whose findings it clears; `cleared` are those of that one thread.
#[must_use]
pub fn recovery(cleared: &[Cleared], report: &Report, options: &MessageOptions) -> Message {
    let mut head = vec![Span::text(format!("{}clears ", Mark::Fine.sign()))];
    head.extend(merges(cleared, options));
    head.push(Span::text(format!(" ({})", kinds(cleared))));
    let mut blocks = vec![Block::Head(head)];
    blocks.extend(listed(cleared.iter().map(|c| (c.key.as_str(), None))));
    blocks.push(Block::Note(seen_at(report, "seen with ", options)));
    Message::new(true, &blocks, &[])
}

/// A reply in the thread of the message that could not tell something yet, which was seen now and is wrong. Another
/// message has what to do, and mentions people.
#[must_use]
pub fn seen_wrong(seen: &[Cleared], report: &Report, options: &MessageOptions) -> Message {
    let mut head = vec![Span::text(Mark::Wrong.sign())];
    head.extend(merges(seen, options));
    head.push(Span::text(format!(": seen now, and not as it should be ({})", kinds(seen))));
    let mut blocks = vec![Block::Head(head)];
    blocks.extend(listed(seen.iter().map(|c| (c.key.as_str(), None))));
    let lead = "a message of its own has what to do; seen with ";
    blocks.push(Block::Note(seen_at(report, lead, options)));
    Message::new(true, &blocks, &[])
}

/// `main@4f2c9ab`, `main@4f2c9ab and 2 more merges`.
fn merges(cleared: &[Cleared], options: &MessageOptions) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut since: Vec<&Revision> = cleared.iter().filter_map(|c| c.since.as_ref()).collect();
    since.sort();
    since.dedup();
    match since.as_slice() {
        [] => spans.push(Span::text("what stood from before")),
        [first, rest @ ..] => {
            spans.push(revision_span(first, options));
            if !rest.is_empty() {
                spans.push(Span::text(format!(" and {}", count(rest.len(), "more merge"))));
            }
        }
    }
    spans
}

/// `2 flows, 1 policy`.
fn kinds(cleared: &[Cleared]) -> String {
    let flows = cleared.iter().filter(|c| c.key.contains(" -> ")).count();
    let starting = |with: &str| cleared.iter().filter(|c| c.key.starts_with(with)).count();
    let (policies, rules) = (starting("drift/"), starting("waiting/"));
    let others = cleared.len() - flows - policies - rules;
    let parts: Vec<String> = [(flows, "flow"), (policies, "policy"), (rules, "rule"), (others, "finding")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, noun)| count(n, noun))
        .collect();
    parts.join(", ")
}

/// `seen with main@4f2c9ab at 2026-11-20 09:12:31 UTC`.
fn seen_at(report: &Report, lead: &str, options: &MessageOptions) -> Vec<Span> {
    let mut spans = vec![Span::text(lead)];
    if let Some(revision) = report.kustomizations.iter().find_map(|k| k.applied.as_ref()) {
        spans.push(revision_span(revision, options));
        spans.push(Span::text(" "));
    }
    spans.push(Span::text(format!("at {}", words::time(&report.finished))));
    spans
}

fn listed<'a>(entries: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<Block> {
    let entries: Vec<_> = entries.collect();
    let mut blocks: Vec<Block> = entries
        .iter()
        .take(MOST_FINDINGS)
        .map(|(key, summary)| {
            let name = Span::code(clean::line(&words::key(key), 3 * NAME));
            match summary {
                Some(summary) => {
                    Block::Item(vec![name, Span::text(format!(": {}", clean::line(summary, SENTENCE / 2)))])
                }
                None => Block::Item(vec![name]),
            }
        })
        .collect();
    if entries.len() > MOST_FINDINGS {
        blocks.push(Block::Item(vec![Span::text(format!("{} more", entries.len() - MOST_FINDINGS))]));
    }
    blocks
}

/// The daily reply in the thread of a standing red; `open` is each finding's key and line for people. It mentions
/// nobody: people were, once.
#[must_use]
pub fn reminder(open: &[(String, String)], report: &Report, options: &MessageOptions) -> Message {
    let are = if open.len() == 1 { "is" } else { "are" };
    let head = format!("{}{} {are} still open", Mark::Wrong.sign(), count(open.len(), "finding"));
    let mut blocks = vec![Block::Head(vec![Span::text(head)])];
    blocks
        .extend(listed(open.iter().map(|(key, summary)| (key.as_str(), (!summary.is_empty()).then_some(&**summary)))));
    blocks.push(Block::Note(seen_at(report, "seen again with ", options)));
    Message::new(true, &blocks, &[])
}
