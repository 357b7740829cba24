//! The story of four merges that both demonstrations tell, as far as it does not depend on where it is played.

use anyhow::{Context, Result};
use netpol_verify::report::{
    Message,
    page::{Shown, page},
};

use crate::Report;

/// What happens, in order.
pub const TITLES: [&str; 4] = [
    "1. The verifier is installed and runs for the first time",
    "2. A merge opens pulse-account → pulse-data:8000, but only the egress side",
    "3. Somebody pastes the entry that the room asked for, and merges",
    "4. A merge closes pulse-account → pulse-banking:3200, while somebody edits Redis' policy by hand",
];

/// The account API's policies.
pub const ACCOUNT: &str = "infra/k8s/pulse-account/network-policy.yaml";
/// The banking service's policies.
pub const BANKING: &str = "infra/k8s/pulse-banking/network-policy.yaml";
/// The banking service's ingress, which the last merge empties.
pub const BANKING_INGRESS: &str = "  ingress:
  # the account API is its only client
  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pulse-account}}
      podSelector: {matchLabels: {app: api}}
    ports:
    - {protocol: TCP, port: 3200}
";

/// An egress rule of the account API to an app that has its namespace's name.
#[must_use]
pub fn egress(comment: &str, app: &str, port: u16) -> String {
    format!(
        "  # {comment}
  - to:
    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {app}}}}}
      podSelector: {{matchLabels: {{app: {app}}}}}
    ports:
    - {{protocol: TCP, port: {port}}}
"
    )
}

/// The entry that a report asks for: its file, the line that it goes after, and its text.
///
/// # Errors
/// The report asks for none.
pub fn pasted(report: &Report) -> Result<(&str, u32, &str)> {
    let entry = report.flows.iter().find_map(|flow| flow.entries.first()).context("no entry to add")?;
    Ok((entry.file.as_deref().context("no file to add it to")?, entry.line.context("no line")?, &entry.entry))
}

/// A thread's message, as far as it fits beside a story; the page has all of it.
#[must_use]
pub fn indented(text: &str) -> String {
    const SHOWN: usize = 12;
    let mut lines: Vec<String> = text.lines().take(SHOWN).map(|line| format!("    │ {line}")).collect();
    let more = text.lines().count().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("    │ … {more} more lines in the thread"));
    }
    lines.join("\n")
}

/// What somebody did, and what the room then said.
pub struct Chapter {
    title: String,
    at: String,
    message: Message,
    thread: Vec<Message>,
}

impl Chapter {
    /// A message and what stands in its thread, as the room has them.
    ///
    /// # Errors
    /// One of them is no text message.
    pub fn new(title: &str, message: &crate::Message, thread: &[crate::Message]) -> Result<Self> {
        let read = |message: &crate::Message| Message::from_content(&message.content).context("no text message");
        Ok(Self {
            title: title.to_owned(),
            at: message.at.clone(),
            thread: thread.iter().map(read).collect::<Result<_>>()?,
            message: read(message)?,
        })
    }
}

/// A page that shows the story as a client does.
#[must_use]
pub fn html(chapters: &[Chapter]) -> String {
    let shown: Vec<Shown<'_>> = chapters
        .iter()
        .map(|Chapter { title, at, message, thread }| Shown {
            sender: "netpol-verify",
            at,
            caption: title,
            message,
            thread,
        })
        .collect();
    page("What the room saw", &shown)
}
