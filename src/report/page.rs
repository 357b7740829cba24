//! Messages on one HTML page, as a chat client shows them on a phone and on a desktop.

use super::{
    Message,
    clean::{escape, put},
    headline::Mark,
};

/// A message on the page.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Who sent it.
    pub sender: &'a str,
    /// When, in words.
    pub at: &'a str,
    /// What a reader should know before it: the merge that led to it. May be empty.
    pub caption: &'a str,
    /// The message.
    pub message: &'a Message,
    /// Its thread.
    pub thread: &'a [Message],
}

/// The page: one file without scripts and without anything from elsewhere.
///
/// The messages' HTML stands in it as it is; the page's own policy lets nothing run and nothing be loaded.
#[must_use]
pub fn page(title: &str, messages: &[Shown<'_>]) -> String {
    let title = escape(title);
    let shown: String = messages.iter().map(message).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<header><h1>{title}</h1></header>\n\
         <main>\n{shown}</main>\n</body>\n</html>\n",
        include_str!("page.css")
    )
}

fn message(shown: &Shown<'_>) -> String {
    let letter: String = shown.sender.trim_start_matches('@').chars().take(1).flat_map(char::to_uppercase).collect();
    let caption = match shown.caption {
        "" => String::new(),
        caption => format!("<p class=\"caption\"><span>{}</span></p>\n", escape(caption)),
    };
    let kind = match (shown.message.notice, shown.message.plain.starts_with(Mark::Unsure.sign())) {
        (true, _) => "notice",
        (false, true) => "text unsure",
        (false, false) => "text",
    };
    format!(
        "{caption}<article class=\"{kind}\">\n<div class=\"avatar\">{}</div>\n<div class=\"bubble\">\n\
         <p class=\"from\"><b>{}</b> <time>{}</time></p>\n<div class=\"body\">{}</div>\n{}</div>\n</article>\n",
        escape(&letter),
        escape(shown.sender),
        escape(shown.at),
        shown.message.html,
        thread(shown.thread),
    )
}

fn thread(parts: &[Message]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let mut replies = String::new();
    for part in parts {
        put(&mut replies, format_args!("<div class=\"reply\">{}</div>\n", part.html));
    }
    format!(
        "<details class=\"thread\"><summary>{} in thread</summary>\n{replies}</details>\n",
        super::words::count(parts.len(), "reply")
    )
}
