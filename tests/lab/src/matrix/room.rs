//! The room and its timeline.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ROOM;
use crate::http::Request;

/// Events of a page where the request names no limit (client-server API, `GET …/messages`).
const PAGE: usize = 10;

/// Where a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// In the room.
    Joined,
    /// May join.
    Invited,
    /// Neither.
    Left,
}

/// A room.
#[derive(Debug, Default)]
pub(super) struct Room {
    events: Vec<Value>,
    members: BTreeMap<String, Membership>,
    /// Whether clients are to encrypt.
    pub encrypted: bool,
}

impl Room {
    pub fn new(members: &[&str]) -> Self {
        let members = members.iter().map(|user| ((*user).to_owned(), Membership::Joined)).collect();
        Self { members, ..Self::default() }
    }

    pub fn events(&self) -> impl Iterator<Item = &Value> {
        self.events.iter()
    }

    pub fn has(&self, user: &str) -> bool {
        self.members.get(user) == Some(&Membership::Joined)
    }

    pub fn may_join(&self, user: &str) -> bool {
        matches!(self.members.get(user), Some(Membership::Joined | Membership::Invited))
    }

    pub fn set_membership(&mut self, user: &str, membership: Membership) {
        self.members.insert(user.to_owned(), membership);
    }

    /// Adds an event and gives its id.
    pub fn add(&mut self, kind: &str, sender: &str, content: &Value) -> String {
        let id = format!("$event{}", self.events.len() + 1);
        self.events.push(json!({
            "event_id": id, "room_id": ROOM, "type": kind, "sender": sender, "content": content,
            "origin_server_ts": Timestamp::now().as_millisecond(),
        }));
        id
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.events.iter().position(|event| event.get("event_id").and_then(Value::as_str) == Some(id))
    }

    pub fn event(&self, id: &str) -> Option<Value> {
        self.events.get(self.position(id)?).cloned()
    }

    pub fn context(&self, id: &str) -> Option<Value> {
        let at = self.position(id)?;
        let before: Vec<_> = self.events.iter().take(at).rev().take(PAGE).collect();
        let after: Vec<_> = self.events.iter().skip(at + 1).take(PAGE).collect();
        Some(json!({"event": self.events.get(at), "events_before": before, "events_after": after, "state": []}))
    }

    /// The events that relate to one, newest first.
    pub fn relations(&self, id: &str) -> Value {
        let relates =
            |event: &&Value| event.pointer("/content/m.relates_to/event_id").and_then(Value::as_str) == Some(id);
        json!({"chunk": self.events.iter().rev().filter(relates).collect::<Vec<_>>()})
    }

    /// A page of the timeline: backwards from the newest event, or forwards from the oldest, or from a token on.
    /// Tokens are positions between events.
    pub fn messages(&self, request: &Request) -> Value {
        let backwards = request.parameter("dir") == Some("b");
        let limit = request.parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE);
        let from = request.parameter("from").and_then(|token| token.trim_start_matches('t').parse().ok());
        let from: usize = from.unwrap_or(if backwards { self.events.len() } else { 0 }).min(self.events.len());
        let filter: Value = serde_json::from_str(request.parameter("filter").unwrap_or_default()).unwrap_or_default();
        let mut chunk = Vec::new();
        let mut at = from;
        while chunk.len() < limit {
            let next = if backwards { at.checked_sub(1) } else { Some(at) };
            let Some((position, event)) = next.and_then(|next| Some((next, self.events.get(next)?))) else { break };
            at = if backwards { position } else { position + 1 };
            if is_wanted(event, &filter) {
                chunk.push(event.clone());
            }
        }
        let more = if backwards { at > 0 } else { at < self.events.len() };
        let mut page = json!({"start": format!("t{from}"), "chunk": chunk, "state": []});
        if let (true, Some(map)) = (more, page.as_object_mut()) {
            map.insert("end".to_owned(), format!("t{at}").into());
        }
        page
    }
}

/// Whether an event fits the `types` and `senders` of a filter.
fn is_wanted(event: &Value, filter: &Value) -> bool {
    [("types", "type"), ("senders", "sender")].iter().all(|(list, field)| {
        let allowed = filter.get(list).and_then(Value::as_array);
        allowed.is_none_or(|allowed| event.get(field).is_some_and(|value| allowed.contains(value)))
    })
}
