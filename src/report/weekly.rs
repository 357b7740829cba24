//! The weekly line: that all is still watched, and what is not as it should be.

use super::{
    MessageOptions,
    clean::{self, put},
    doc::{Block, Span},
    headline::{Mark, revision_span},
    message::{Message, counts, older},
    words::{self, NAME, count},
};
use crate::model::{KustomizationRef, Revision, Standing, Verdict};

/// The most Kustomizations and revisions that the line names.
const MOST: usize = 3;

/// What stands between merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The revisions that were looked at last.
    pub checked: Vec<Revision>,
    /// What each Kustomization was verified at last, and when (RFC 3339).
    pub verified: Vec<(KustomizationRef, Revision, String)>,
    /// Revisions that Flux did not apply; `None` where it does not say which.
    pub failed: Vec<Option<Revision>>,
    /// How the last run ended.
    pub verdict: Verdict,
    /// When it ended, RFC 3339.
    pub finished: Option<String>,
    /// Whether some policy is known not to be as in Git, accepted or not.
    pub drift: bool,
    /// What is open, and the counts.
    pub standing: Standing,
}

/// Says it. It mentions nobody, and is green only where nothing is open and the last run verified all.
#[must_use]
pub fn weekly(watch: &Watch, options: &MessageOptions) -> Message {
    let good = watch.standing.open.is_empty() && watch.failed.is_empty() && watch.verdict == Verdict::Verified;
    let mark = if good { Mark::Fine } else { Mark::Unsure };
    let mut head = vec![Span::text(format!("{}{} ", mark.sign(), clean::line(&options.source_name, NAME)))];
    for (index, revision) in watch.checked.iter().take(MOST).enumerate() {
        if index > 0 {
            head.push(Span::text(", "));
        }
        head.push(revision_span(revision, options));
    }
    let more = watch.checked.len().saturating_sub(MOST);
    let space = if watch.checked.is_empty() { "" } else { " " };
    let rest = if more > 0 { format!(" and {}", count(more, "more revision")) } else { String::new() };
    head.push(Span::text(format!("{rest}{space}is still watched: ")));
    head.extend(state(watch, options));
    let mut blocks = vec![Block::Head(head), Block::Note(times(watch, options))];
    if !watch.standing.open.is_empty() {
        blocks.push(Block::Note(older(&watch.standing.open, options)));
    }
    if let Some(counts) = counts(&watch.standing) {
        blocks.push(Block::Note(vec![Span::text(counts)]));
    }
    Message::new(true, &blocks, &[])
}

/// `nothing open`, `2 findings open, main@9d0e1f2 was not applied`.
fn state(watch: &Watch, options: &MessageOptions) -> Vec<Span> {
    let mut spans = Vec::new();
    if !watch.standing.open.is_empty() {
        spans.push(Span::text(format!("{} open", count(watch.standing.open.len(), "finding"))));
    }
    for revision in watch.failed.iter().take(MOST) {
        spans.push(Span::text(if spans.is_empty() { "" } else { ", " }));
        spans.push(revision.as_ref().map_or_else(|| Span::text("a revision"), |r| revision_span(r, options)));
        spans.push(Span::text(" was not applied"));
    }
    if spans.is_empty() {
        let words = match watch.verdict {
            Verdict::Verified if watch.drift => "nothing open",
            Verdict::Verified => "no drift, nothing open",
            Verdict::Nothing => "there was no policy to look at",
            Verdict::Finding | Verdict::Inconclusive | Verdict::NotApplied => "not everything could be verified",
        };
        spans.push(Span::text(words));
    }
    spans
}

/// `Verified: main@4f2c9ab at 2026-11-20 09:12:31 UTC; the last run ended 2026-11-23 07:00:12 UTC`.
fn times(watch: &Watch, options: &MessageOptions) -> Vec<Span> {
    let mut spans = Vec::new();
    for (index, (id, revision, at)) in watch.verified.iter().take(MOST).enumerate() {
        let name = if watch.verified.len() > 1 { format!("{} ", clean::line(&id.name, NAME)) } else { String::new() };
        spans.push(Span::text(format!("{}{name}", if index == 0 { "Verified: " } else { ", " })));
        spans.push(revision_span(revision, options));
        spans.push(Span::text(format!(" at {}", words::time(at))));
    }
    let mut rest = match watch.verified.len() {
        0 => "Nothing was verified yet".to_owned(),
        n if n > MOST => format!(" and {} more", n - MOST),
        _ => String::new(),
    };
    if let Some(finished) = &watch.finished {
        put(&mut rest, format_args!("; the last run ended {}", words::time(finished)));
    }
    spans.push(Span::text(rest));
    spans
}
