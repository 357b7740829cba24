//! A Matrix homeserver with one room: it keeps what it got and behaves as the client-server API says, as far as a
//! sender of messages can notice.

mod room;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use e2e::Message;
use serde_json::{Value, json};

pub use self::room::Membership;
use self::room::Room;
use crate::{
    faults::Faults,
    http::{Answer, Endpoint, Request, Server},
};

/// The room's id.
pub const ROOM: &str = "!room:lab";
/// Its alias.
pub const ALIAS: &str = "#netpol-verify:lab";
/// The verifier's account.
pub const BOT: &str = "@netpol-verify:lab";
/// A person who reads along.
pub const READER: &str = "@ada:lab";
/// The bot's first token.
pub const TOKEN: &str = "syt_bot_1";

/// The largest event (client-server API, "Size limits").
const LARGEST_EVENT: usize = 65_536;

/// The homeserver; gone when this is dropped.
pub struct Matrix {
    shared: Arc<Shared>,
    server: Server,
    /// What happens to its requests.
    pub faults: Faults,
}

struct Shared(Mutex<Inner>);

struct Inner {
    /// Tokens, with their user and device.
    tokens: BTreeMap<String, (String, String)>,
    /// Transaction ids that were seen: (device, path) and the event that each became.
    transactions: BTreeMap<(String, String), String>,
    room: Room,
    uploads: Vec<Vec<u8>>,
    largest: usize,
}

/// An error in Matrix' words.
struct Refusal(u16, &'static str, String);

impl Matrix {
    /// Starts one, with the bot and the reader in the room.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        let tokens = BTreeMap::from([(TOKEN.to_owned(), (BOT.to_owned(), "DEVICE1".to_owned()))]);
        let room = Room::new(&[BOT, READER]);
        let inner = Inner { tokens, transactions: BTreeMap::new(), room, uploads: Vec::new(), largest: LARGEST_EVENT };
        let shared = Arc::new(Shared(Mutex::new(inner)));
        let faults = Faults::default();
        let server = Server::start(Arc::clone(&shared), faults.clone()).await?;
        Ok(Self { shared, server, faults })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner()
    }

    /// Everything that was said, oldest first, threads included.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.inner().room.events().filter(|event| is_message(event)).map(Message::parse).collect()
    }

    /// The messages outside threads, oldest first.
    #[must_use]
    pub fn top(&self) -> Vec<Message> {
        self.messages().into_iter().filter(|message| message.thread.is_none()).collect()
    }

    /// The messages in the thread of `root`, oldest first.
    #[must_use]
    pub fn thread(&self, root: &Message) -> Vec<Message> {
        self.messages().into_iter().filter(|message| message.thread.as_deref() == Some(&root.event)).collect()
    }

    /// The files that were uploaded.
    #[must_use]
    pub fn uploads(&self) -> Vec<Vec<u8>> {
        self.inner().uploads.clone()
    }

    /// Revokes all tokens of the bot, and gives it a new one, of a new device.
    pub fn rotate(&self, token: &str) {
        let mut inner = self.inner();
        let device = format!("DEVICE{}", inner.transactions.len() + inner.tokens.len() + 1);
        inner.tokens.retain(|_, (user, _)| user != BOT);
        inner.tokens.insert(token.to_owned(), (BOT.to_owned(), device));
    }

    /// Forgets the transaction ids, as servers do after a while.
    pub fn forget_transactions(&self) {
        self.inner().transactions.clear();
    }

    /// Sets the size above which events are refused.
    pub fn limit(&self, bytes: usize) {
        self.inner().largest = bytes;
    }

    /// Encrypts the room.
    pub fn encrypt(&self) {
        self.inner().room.encrypted = true;
    }

    /// Puts the bot out of the room, or invites it.
    pub fn membership(&self, membership: Membership) {
        self.inner().room.set_membership(BOT, membership);
    }
}

fn is_message(event: &Value) -> bool {
    event.get("type").and_then(Value::as_str) == Some("m.room.message")
}

impl Endpoint for Shared {
    async fn answer(&self, request: Request) -> Answer {
        match self.inner().route(&request) {
            Ok(value) => Answer::json(200, &value),
            Err(Refusal(code, errcode, error)) => refused(code, errcode, &error, None),
        }
    }

    fn refusal(&self, code: u16, wait: Option<Duration>) -> Answer {
        let errcode = match code {
            401 => "M_UNKNOWN_TOKEN",
            403 => "M_FORBIDDEN",
            404 => "M_NOT_FOUND",
            413 => "M_TOO_LARGE",
            429 => "M_LIMIT_EXCEEDED",
            _ => "M_UNKNOWN",
        };
        refused(code, errcode, "asked for by the test", wait)
    }
}

fn refused(code: u16, errcode: &str, error: &str, wait: Option<Duration>) -> Answer {
    let mut body = json!({"errcode": errcode, "error": error});
    if let (Some(wait), Some(map)) = (wait, body.as_object_mut()) {
        map.insert("retry_after_ms".to_owned(), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).into());
    }
    Answer::json(code, &body)
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn route(&mut self, request: &Request) -> Result<Value, Refusal> {
        let known = self.tokens.get(request.token()).cloned();
        let (user, device) = match (known, request.token()) {
            (Some(known), _) => known,
            (None, "") => return Err(Refusal(401, "M_MISSING_TOKEN", "Missing access token".to_owned())),
            (None, _) => return Err(Refusal(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.".to_owned())),
        };
        let parts = request.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let ["_matrix", area, "v3", rest @ ..] = parts.as_slice() else { return Err(unrecognized()) };
        match (*area, request.method.as_str(), rest) {
            ("media", "POST", ["upload"]) => {
                self.uploads.push(request.body.to_vec());
                Ok(json!({"content_uri": format!("mxc://lab/{}", self.uploads.len())}))
            }
            ("client", "GET", ["account", "whoami"]) => Ok(json!({"user_id": user, "device_id": device})),
            ("client", "GET", ["directory", "room", alias]) if *alias == ALIAS => {
                Ok(json!({"room_id": ROOM, "servers": ["lab"]}))
            }
            ("client", "GET", ["directory", "room", alias]) => {
                Err(Refusal(404, "M_NOT_FOUND", format!("Room alias {alias} not found")))
            }
            ("client", "POST", ["join", room] | ["rooms", room, "join"]) => self.join(&user, room),
            ("client", method, ["rooms", room, rest @ ..]) => {
                if *room != ROOM || !self.room.has(&user) {
                    return Err(Refusal(403, "M_FORBIDDEN", format!("User {user} not in room {room}")));
                }
                self.in_room(method, rest, &user, &device, request)
            }
            _ => Err(unrecognized()),
        }
    }

    fn join(&mut self, user: &str, room: &str) -> Result<Value, Refusal> {
        if room != ROOM || !self.room.may_join(user) {
            return Err(Refusal(403, "M_FORBIDDEN", "You are not invited to this room.".to_owned()));
        }
        self.room.set_membership(user, Membership::Joined);
        Ok(json!({ "room_id": ROOM }))
    }

    fn in_room(
        &mut self,
        method: &str,
        rest: &[&str],
        user: &str,
        device: &str,
        request: &Request,
    ) -> Result<Value, Refusal> {
        match (method, rest) {
            ("PUT", ["send", kind, txn]) => self.send(kind, txn, user, device, request),
            ("GET", ["state", "m.room.encryption"]) if self.room.encrypted => {
                Ok(json!({"algorithm": "m.megolm.v1.aes-sha2"}))
            }
            ("GET", ["state", ..]) => Err(Refusal(404, "M_NOT_FOUND", "Event not found.".to_owned())),
            ("GET", ["messages"]) => Ok(self.room.messages(request)),
            ("GET", ["event", event]) => self.room.event(event).ok_or_else(|| no_event(event)),
            ("GET", ["context", event]) => self.room.context(event).ok_or_else(|| no_event(event)),
            ("GET", ["relations", event, ..]) => Ok(self.room.relations(event)),
            _ => Err(unrecognized()),
        }
    }

    /// Transaction ids belong to a device and an endpoint: the same again is the same event.
    fn send(&mut self, kind: &str, txn: &str, user: &str, device: &str, request: &Request) -> Result<Value, Refusal> {
        let transaction = (device.to_owned(), format!("{kind}/{txn}"));
        if let Some(event) = self.transactions.get(&transaction) {
            return Ok(json!({ "event_id": event }));
        }
        let content = request.json();
        if !content.is_object() {
            return Err(Refusal(400, "M_NOT_JSON", "Content not JSON.".to_owned()));
        }
        if request.body.len() > self.largest {
            return Err(Refusal(413, "M_TOO_LARGE", "event too large".to_owned()));
        }
        let event = self.room.add(kind, user, &content);
        self.transactions.insert(transaction, event.clone());
        Ok(json!({ "event_id": event }))
    }
}

fn unrecognized() -> Refusal {
    Refusal(404, "M_UNRECOGNIZED", "Unrecognized request".to_owned())
}

fn no_event(event: &str) -> Refusal {
    Refusal(404, "M_NOT_FOUND", format!("Could not find event {event}"))
}
