//! The room: its id, whether it is encrypted, and what is in it already.

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    event::TXN_KEY,
    fault::MatrixFault,
    http::{Body, Http, one_line},
};

/// How far back a message is looked for: so many pages of so many own messages.
const PAGES: usize = 20;
const PAGE: &str = "50";

/// The id of a configured room: ids stay as they are (from room version 12 on they have no `:server`), aliases are
/// looked up.
pub async fn resolve(http: &Http, room: &str) -> Result<String, MatrixFault> {
    if room.starts_with('!') && room.len() > 1 {
        return Ok(room.to_owned());
    }
    if !(room.starts_with('#') && room.contains(':')) {
        return Err(MatrixFault::Room { room: one_line(room) });
    }
    let path = ["client", "v3", "directory", "room", room];
    let reply = http.call(Method::GET, &path, &[], Body::Nothing).await?;
    match (reply.is_success(), reply.text("room_id")) {
        (true, Some(id)) => Ok(id.to_owned()),
        (true, None) => Err(MatrixFault::Answer { what: "the look-up of an alias", lacks: "room_id" }),
        (false, _) => Err(MatrixFault::NoRoom { room: one_line(room), text: reply.words() }),
    }
}

/// The account that the token belongs to.
pub async fn whoami(http: &Http) -> Result<String, MatrixFault> {
    let reply = http.call(Method::GET, &["client", "v3", "account", "whoami"], &[], Body::Nothing).await?;
    match reply.text("user_id") {
        Some(user) if reply.is_success() => Ok(user.to_owned()),
        _ => Err(MatrixFault::Answer { what: "whoami", lacks: "user_id" }),
    }
}

/// Joins, which succeeds after an invitation and in public rooms.
pub async fn join(http: &Http, room: &str) -> Result<bool, MatrixFault> {
    let path = ["client", "v3", "rooms", room, "join"];
    let reply = http.call(Method::POST, &path, &[], Body::Json(&json!({}))).await?;
    Ok(reply.is_success())
}

/// Whether the room is encrypted; `None` where the account cannot see that (yet).
pub async fn is_encrypted(http: &Http, room: &str) -> Result<Option<bool>, MatrixFault> {
    let path = ["client", "v3", "rooms", room, "state", "m.room.encryption", ""];
    let reply = http.call(Method::GET, &path, &[], Body::Nothing).await?;
    Ok(match reply.status {
        200 => Some(true),
        404 => Some(false),
        _ => None,
    })
}

/// The event with this transaction id in its content, among the own messages since `tried`.
pub async fn find(http: &Http, room: &str, txn: &str, tried: Timestamp) -> Result<Option<String>, MatrixFault> {
    let me = whoami(http).await?;
    let filter = json!({ "types": ["m.room.message"], "senders": [me] }).to_string();
    // Clocks differ: an hour more costs a page at most.
    let earliest = tried.checked_sub(SignedDuration::from_hours(1)).map_or(i64::MIN, Timestamp::as_millisecond);
    let mut from: Option<String> = None;
    for _ in 0..PAGES {
        let mut query = vec![("dir", "b"), ("limit", PAGE), ("filter", filter.as_str())];
        if let Some(from) = &from {
            query.push(("from", from));
        }
        let path = ["client", "v3", "rooms", room, "messages"];
        let reply = http.call(Method::GET, &path, &query, Body::Nothing).await?;
        if !reply.is_success() {
            let text = reply.words();
            return Err(MatrixFault::Unexpected { what: "show the room's messages", status: reply.status, text });
        }
        let events = reply.body.get("chunk").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for event in events {
            let is_ours = event.get("sender").and_then(Value::as_str) == Some(me.as_str());
            if is_ours && event.get("content").and_then(|c| c.get(TXN_KEY)).and_then(Value::as_str) == Some(txn) {
                return Ok(event.get("event_id").and_then(Value::as_str).map(ToOwned::to_owned));
            }
        }
        let oldest = events.iter().filter_map(|event| event.get("origin_server_ts")?.as_i64()).min();
        match reply.text("end") {
            Some(end) if oldest.is_none_or(|at| at >= earliest) => from = Some(end.to_owned()),
            _ => return Ok(None),
        }
    }
    tracing::warn!(txn, pages = PAGES, "a message was not looked for further back");
    Ok(None)
}
