//! The content of events: relation, key, and shorter forms of what a server finds too large.

use serde_json::{Value, json};

use crate::model::{OutboxEntry, OutboxKind};

/// The key in an event's content that holds its transaction id, by which a message of unknown outcome is found again.
///
/// Other clients ignore keys they do not know (client-server API, "Events": custom keys).
pub const TXN_KEY: &str = "netpol-verify.txn";

/// The content as it is sent: with its key, and in its thread.
pub fn content(entry: &OutboxEntry) -> Value {
    let mut content = entry.content.clone();
    if let Some(map) = content.as_object_mut() {
        map.insert(TXN_KEY.to_owned(), json!(entry.txn));
        if let Some(root) = root(entry) {
            map.insert("m.relates_to".to_owned(), thread(root));
        }
    }
    content
}

/// The event in whose thread the entry goes.
fn root(entry: &OutboxEntry) -> Option<&str> {
    match entry.kind {
        OutboxKind::Root => None,
        OutboxKind::Thread | OutboxKind::Reply => entry.root_event.as_deref(),
    }
}

/// A place in a thread; clients without threads show a reply (client-server API, "Threading": fallback).
fn thread(root: &str) -> Value {
    json!({
        "rel_type": "m.thread",
        "event_id": root,
        "is_falling_back": true,
        "m.in_reply_to": { "event_id": root },
    })
}

/// The same content with at most `most` bytes of its text, as plain text, with a word on where the rest is.
pub fn shortened(content: &Value, most: usize, attached: bool) -> Value {
    let mut content = content.clone();
    let rest = if attached { "the whole text is attached in the thread" } else { "the Job's log has the whole text" };
    if let Some(map) = content.as_object_mut() {
        let body = map.get("body").and_then(Value::as_str).unwrap_or_default();
        let mut kept = String::new();
        for line in body.lines() {
            if kept.len() + line.len() + 1 > most {
                break;
            }
            kept.push_str(line);
            kept.push('\n');
        }
        if kept.is_empty() {
            kept = body.chars().take(most / 4).collect();
            kept.push('\n');
        }
        kept.push_str("(shortened: ");
        kept.push_str(rest);
        kept.push(')');
        map.insert("body".to_owned(), json!(kept));
        map.remove("formatted_body");
        map.remove("format");
    }
    content
}

/// The event that carries the whole text as a file, in the thread of `root`.
pub fn file(entry: &OutboxEntry, uri: &str, size: usize, root: &str) -> Value {
    let name = format!("netpol-verify-run-{}-{}.txt", entry.seq, entry.part);
    json!({
        "msgtype": "m.file",
        "body": name,
        "filename": name,
        "url": uri,
        "info": { "mimetype": "text/plain", "size": size },
        "m.mentions": {},
        "m.relates_to": thread(root_of(entry, root)),
        TXN_KEY: file_txn(entry),
    })
}

fn root_of<'a>(entry: &'a OutboxEntry, sent: &'a str) -> &'a str {
    root(entry).unwrap_or(sent)
}

/// The transaction id of that event.
pub fn file_txn(entry: &OutboxEntry) -> String {
    format!("{}-file", entry.txn)
}

/// The plain text of a content.
pub fn body(content: &Value) -> &str {
    content.get("body").and_then(Value::as_str).unwrap_or_default()
}
