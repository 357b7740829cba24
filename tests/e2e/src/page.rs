//! A page of messages, as the room shows them: for people who want to look before they install.

use std::fmt::Write as _;

use crate::Message;

/// One chapter of the story: what happened, and what the room then said.
pub struct Chapter {
    /// What somebody did.
    pub title: String,
    /// The message, and after it those of its thread.
    pub messages: Vec<Message>,
}

/// The page. The formatted bodies are put in as they are: they come from the verifier, which escapes what it quotes.
#[must_use]
pub fn html(chapters: &[Chapter]) -> String {
    let mut page = HEAD.to_owned();
    for Chapter { title, messages } in chapters {
        let _ = write!(page, "<h2>{}</h2>", escaped(title));
        for message in messages {
            let class = if message.thread.is_some() { "thread" } else { "message" };
            let plain = || format!("<pre>{}</pre>", escaped(&message.body));
            let body = if message.html.is_empty() { plain() } else { message.html.clone() };
            let _ = write!(page, "<div class=\"{class}\">{body}</div>");
        }
    }
    page
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>What the room saw</title><style>\
body{font:15px/1.45 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#17191c}\
h2{font-size:1em;color:#656d77;margin:2em 0 .5em}\
div{border-radius:8px;padding:.6em .9em;margin:.4em 0;overflow-x:auto;background:#f4f6fa}\
.thread{margin-left:2em;background:#fff;border:1px solid #e3e8f0;font-size:.92em}\
pre,code{font:13px/1.4 ui-monospace,monospace}table{border-collapse:collapse}td,th{padding:.1em .6em;text-align:left}\
</style>";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
