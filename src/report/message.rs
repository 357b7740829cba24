//! What the room sees: one short message a run, replies in its thread, and the few lines between merges.

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use super::{
    between::{recovery, reminder, seen_wrong},
    weekly::{Watch, weekly},
};
use super::{
    clean::{self, escape, put},
    details,
    doc::{Block, Span, render},
    headline::{Mark, headline, revision_span},
    judge::{Judged, is_of_merge},
    words::{self, count},
};
use crate::model::{FlowReport, KustomizationRef, Report, Revision, Standing, Trigger, Verdict};

/// The most findings that a message shows; the rest is counted there and listed in the thread.
pub const MOST_FINDINGS: usize = 10;
/// The most bytes of JSON that one message takes: an event may have 65,536 in all (client-server API, "Size limits").
pub const MOST_BYTES: usize = 30_000;

/// How messages are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageOptions {
    /// A page for a commit, with `{sha}` in its place; used where it is http or https.
    pub commit_url: Option<String>,
    /// Matrix ids of people to mention, or `@room`.
    pub mention: Vec<String>,
    /// Whether a merge that did not touch the policies gets its one quiet line.
    pub quiet_merges: bool,
    /// What stands before the revision: the repository's name.
    pub source_name: String,
    /// What each Kustomization was verified at last, for the message on a failed apply.
    pub verified: Vec<(KustomizationRef, Revision)>,
}

impl Default for MessageOptions {
    fn default() -> Self {
        Self {
            commit_url: None,
            mention: Vec::new(),
            quiet_merges: true,
            source_name: "infra".to_owned(),
            verified: Vec::new(),
        }
    }
}

impl MessageOptions {
    /// The page of a revision's commit.
    pub(super) fn commit_link(&self, revision: &Revision) -> Option<String> {
        let url = self.commit_url.as_ref()?;
        let sha = revision.sha();
        let is_commit = (7..=64).contains(&sha.len()) && sha.bytes().all(|b| b.is_ascii_hexdigit());
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        (is_commit && is_web && !url.contains(char::is_whitespace)).then(|| url.replace("{sha}", sha))
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whether it only informs (`m.notice`); otherwise it asks for somebody (`m.text`).
    pub notice: bool,
    /// The plain body.
    pub plain: String,
    /// The HTML body, with the same words.
    pub html: String,
    /// Whom it mentions.
    pub mentions: Vec<String>,
}

impl Message {
    pub(super) fn new(notice: bool, blocks: &[Block], mentions: &[String]) -> Self {
        let (mut plain, mut html) = render(blocks);
        let mentions: Vec<String> = mentions.iter().filter(|id| is_mention(id)).cloned().collect();
        if !mentions.is_empty() {
            put(&mut plain, format_args!("\n{}", mentions.join(" ")));
            let pills: Vec<String> = mentions.iter().map(|id| pill(id)).collect();
            put(&mut html, format_args!("<p>{}</p>", pills.join(" ")));
        }
        Self { notice, plain, html, mentions }
    }

    /// A part of a thread.
    pub(super) fn of_details(blocks: &[Block]) -> Self {
        Self::new(true, blocks, &[])
    }

    /// The content of its `m.room.message` event, without a relation.
    ///
    /// `m.mentions` is always there: without it a client looks for names in the body (client-server API, "User and
    /// room mentions"), and a label could call people.
    #[must_use]
    pub fn content(&self) -> Value {
        let users: Vec<&String> = self.mentions.iter().filter(|id| *id != "@room").collect();
        let mut mentions = serde_json::Map::new();
        if !users.is_empty() {
            mentions.insert("user_ids".to_owned(), json!(users));
        }
        if users.len() < self.mentions.len() {
            mentions.insert("room".to_owned(), json!(true));
        }
        json!({
            "msgtype": if self.notice { "m.notice" } else { "m.text" },
            "body": self.plain,
            "format": "org.matrix.custom.html",
            "formatted_body": self.html,
            "m.mentions": mentions,
        })
    }

    /// A message read back from a room; `None` where the content is no text message.
    #[must_use]
    pub fn from_content(content: &Value) -> Option<Self> {
        let text = |key: &str| content.get(key).and_then(Value::as_str);
        let plain = text("body")?.to_owned();
        let html = text("formatted_body").map_or_else(|| escape(&plain).replace('\n', "<br>"), ToOwned::to_owned);
        let ids = content.pointer("/m.mentions/user_ids").and_then(Value::as_array);
        let mentions = ids.into_iter().flatten().filter_map(|id| id.as_str().map(ToOwned::to_owned)).collect();
        Some(Self { notice: text("msgtype")? == "m.notice", plain, html, mentions })
    }
}

/// Whether it is `@room` or a user's id of at most 255 bytes (Matrix specification, "User identifiers"; capitals were
/// once legal).
fn is_mention(id: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"._=-/+:[]".contains(&b);
    let user = id.strip_prefix('@').and_then(|rest| rest.split_once(':'));
    id == "@room"
        || user.is_some_and(|(name, server)| {
            id.len() <= 255 && !server.is_empty() && name.bytes().chain(server.bytes()).all(is_legal)
        })
}

fn pill(id: &str) -> String {
    let shown = escape(id);
    if id == "@room" { shown } else { format!("<a href=\"https://matrix.to/#/{shown}\">{shown}</a>") }
}

/// Whether a run is only the quiet line of a merge that did not touch the policies, and found nothing.
#[must_use]
pub fn is_quiet(report: &Report) -> bool {
    let judged = Judged::new(report);
    report.trigger == Trigger::Merge
        && report.same_digest
        && !report.first_run
        && matches!(report.verdict, Verdict::Verified | Verdict::Finding)
        && !judged.has_errors()
        && judged.untold.is_empty()
        && judged.not_applied.is_empty()
}

/// Whether a run's message is wanted: everything but quiet lines that are turned off.
#[must_use]
pub fn is_wanted(report: &Report, options: &MessageOptions) -> bool {
    options.quiet_merges || !is_quiet(report)
}

/// The message of a run. With `mention` the configured people are mentioned where something is wrong.
#[must_use]
pub fn root(report: &Report, options: &MessageOptions, mention: bool) -> Message {
    let Written { mark, blocks, .. } = blocks(report, options, MOST_FINDINGS, MOST_BYTES);
    let wrong = mark == Mark::Wrong;
    Message::new(mark == Mark::Fine, &blocks, if wrong && mention { &options.mention } else { &[] })
}

/// A message before it is rendered.
pub(super) struct Written {
    mark: Mark,
    /// Its parts.
    pub(super) blocks: Vec<Block>,
    /// The findings that did not fit.
    pub(super) left: Vec<details::Item>,
}

/// The message, with at most so many findings and bytes.
pub(super) fn blocks(report: &Report, options: &MessageOptions, most: usize, bytes: usize) -> Written {
    let judged = Judged::new(report);
    let (mark, head) = headline(report, &judged, options);
    let mut blocks = vec![Block::Head(head)];
    if mark == Mark::Fine && !report.first_run {
        blocks.extend(glance(report));
    }
    if let Some(rest) = rest(&judged) {
        blocks.push(rest);
    }
    let tail = tail(&judged, report, options);
    let room = bytes.saturating_sub(blocks.iter().chain(&tail).map(Block::weight).sum());
    let items = details::items(report, &judged, options);
    let (shown, left) = fit(items, most, room);
    blocks.extend(shown);
    if !left.is_empty() {
        blocks.push(Block::Line(vec![Span::text(format!("{} in the thread.", count(left.len(), "more finding")))]));
    }
    blocks.extend(tail);
    Written { mark, blocks, left }
}

/// As many whole findings as fit, and those that do not.
fn fit(items: Vec<details::Item>, most: usize, room: usize) -> (Vec<Block>, Vec<details::Item>) {
    let (mut shown, mut left) = (Vec::new(), Vec::new());
    let mut used = 0;
    for (index, item) in items.into_iter().enumerate() {
        used += item.iter().map(Block::weight).sum::<usize>();
        if index >= most || used > room {
            left.push(item);
        } else {
            shown.extend(item);
        }
    }
    (shown, left)
}

/// What was seen of the other Kustomizations where one was not applied.
fn rest(judged: &Judged<'_>) -> Option<Block> {
    let flows = judged.flows;
    if judged.not_applied.is_empty() || flows.total == 0 {
        return None;
    }
    let text =
        format!("Of the rest, {} of {} as declared.", flows.verified + flows.covered, count(flows.total, "flow"));
    Some(Block::Line(vec![Span::text(text)]))
}

/// Two flows and how many more, for a reader who wants to know what the merge was about.
fn glance(report: &Report) -> Option<Block> {
    let flows: Vec<&FlowReport> = report.flows.iter().filter(|flow| is_of_merge(flow)).collect();
    let mut spans = Vec::new();
    for flow in flows.iter().take(2) {
        if !spans.is_empty() {
            spans.push(Span::text(" · "));
        }
        spans.push(Span::code(words::flow(flow)));
        spans.push(Span::text(format!(" {}", words::state(flow.declared))));
    }
    if flows.len() > 2 {
        spans.push(Span::text(format!(" · {} more", flows.len() - 2)));
    }
    (!spans.is_empty()).then_some(Block::Line(spans))
}

/// What stands from before.
fn tail(judged: &Judged<'_>, report: &Report, options: &MessageOptions) -> Vec<Block> {
    let mut notes: Vec<Vec<Span>> = Vec::new();
    if !judged.older.is_empty() {
        notes.push(older(&judged.older, options));
    }
    if let Some(counts) = counts(&report.standing) {
        notes.push(vec![Span::text(counts)]);
    }
    notes.into_iter().map(Block::Note).collect()
}

/// `1 open since main@4f2c9ab`, `3 open: 2 since main@4f2c9ab, 1 since main@77c0de1`.
pub(super) fn older(open: &[(String, Option<Revision>)], options: &MessageOptions) -> Vec<Span> {
    const MOST: usize = 3;
    let mut since: BTreeMap<Option<&Revision>, usize> = BTreeMap::new();
    for (_, revision) in open {
        *since.entry(revision.as_ref()).or_default() += 1;
    }
    let mut spans = vec![Span::text(format!("{} open", open.len()))];
    let one = since.len() == 1;
    for (index, (revision, n)) in since.iter().take(MOST).enumerate() {
        let lead = if one { String::new() } else { format!("{} {n}", if index == 0 { ":" } else { "," }) };
        match revision {
            Some(revision) => {
                spans.push(Span::text(format!("{lead} since ")));
                spans.push(revision_span(revision, options));
            }
            None => spans.push(Span::text(format!("{lead} from before"))),
        }
    }
    let rest: usize = since.values().skip(MOST).sum();
    if rest > 0 {
        spans.push(Span::text(format!(", {rest} from other merges")));
    }
    spans
}

/// `2 waiting for a pod, 1 not provable, 1 accepted until 2027-03-01`.
pub(super) fn counts(standing: &Standing) -> Option<String> {
    let until = standing.accepted_until.as_ref().map(|date| {
        let nearest = if standing.accepted > 1 { ", the nearest" } else { "" };
        format!("{nearest} until {}", clean::line(date, 30))
    });
    let accepted = format!("accepted{}", until.unwrap_or_default());
    let parts: Vec<String> = [
        (standing.pending, "pending"),
        (standing.waiting.saturating_sub(standing.behind_service), "waiting for a pod"),
        (standing.behind_service, "behind a Service that leads elsewhere"),
        (standing.unprobeable, "not provable"),
        (standing.weak, "seen with a weak control"),
        (standing.accepted, accepted.as_str()),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, words)| format!("{n} {words}"))
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
