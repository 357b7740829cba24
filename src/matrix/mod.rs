//! The room in Matrix: sends one entry of the outbox, once.
//!
//! Speaks the client-server API by hand: four endpoints. An entry has a transaction id, so that a repeated PUT is the
//! same event; what may be older than a server's memory of those ids is looked for in the room first. Redirects are not
//! followed, since the token would go along.

mod event;
mod fault;
mod http;
mod room;
mod token;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::OnceCell;

use self::http::{Body, Http, Reply};
pub use self::{event::TXN_KEY, fault::MatrixFault, token::TokenSource};
use crate::{
    model::{OutboxEntry, OutboxKind},
    verify::seams::{Delivery, Fault, Notifier},
};

/// After this time an entry of unknown outcome is looked up: servers keep transaction ids for a day.
const MEMORY: SignedDuration = SignedDuration::from_hours(20);
/// Bytes of text in the shorter forms of a message that a server finds too large.
const SHORTER: [usize; 2] = [12_000, 1_500];

/// Which room, and how to reach it.
#[derive(Debug, Clone)]
pub struct MatrixOptions {
    /// The homeserver's base URL.
    pub homeserver: String,
    /// The room's id, or an alias.
    pub room: String,
    /// The access token.
    pub token: TokenSource,
    /// The time limit of one request.
    pub timeout: Duration,
    /// How long one request is repeated on 429, 5xx and broken connections.
    pub patience: Duration,
}

impl MatrixOptions {
    /// With 15 s for a request and a minute for its repetitions.
    #[must_use]
    pub fn new(homeserver: &str, room: &str, token: TokenSource) -> Self {
        Self {
            homeserver: homeserver.to_owned(),
            room: room.to_owned(),
            token,
            timeout: Duration::from_secs(15),
            patience: Duration::from_secs(60),
        }
    }
}

/// Sends to one room.
#[derive(Debug)]
pub struct MatrixNotifier {
    http: Http,
    configured: String,
    room: OnceCell<String>,
    encrypted: OnceCell<bool>,
    warnings: Mutex<Vec<String>>,
}

impl MatrixNotifier {
    /// Makes no request yet.
    ///
    /// # Errors
    /// The homeserver is no base URL, or no HTTP client can be made.
    pub fn new(options: MatrixOptions) -> Result<Self, MatrixFault> {
        let MatrixOptions { homeserver, room, token, timeout, patience } = options;
        Ok(Self {
            http: Http::new(&homeserver, token, timeout, patience)?,
            configured: room,
            room: OnceCell::new(),
            encrypted: OnceCell::new(),
            warnings: Mutex::default(),
        })
    }

    /// What people should know about the room, beside deliveries: that it is encrypted and this program is not.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn room(&self) -> Result<&str, MatrixFault> {
        let id = self.room.get_or_try_init(|| room::resolve(&self.http, &self.configured)).await?;
        Ok(id)
    }

    /// A room that is encrypted takes plain text without complaint, so that only its state tells.
    async fn notice_encryption(&self, room: &str) -> Result<(), MatrixFault> {
        if self.encrypted.get().is_some() {
            return Ok(());
        }
        if let Some(encrypted) = room::is_encrypted(&self.http, room).await?
            && self.encrypted.set(encrypted).is_ok()
            && encrypted
        {
            let text = format!(
                "room {} is encrypted, but this program's messages are not: use a room without encryption",
                self.configured
            );
            tracing::warn!(room, "room is encrypted, messages are not");
            self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
        Ok(())
    }

    async fn deliver(&self, entry: &OutboxEntry) -> Result<Delivery, MatrixFault> {
        if entry.kind != OutboxKind::Root && entry.root_event.is_none() {
            return Err(MatrixFault::RootFirst { seq: entry.seq, part: entry.part });
        }
        let room = self.room().await?;
        self.notice_encryption(room).await?;
        if let Some(tried) = self.forgotten(entry)
            && let Some(event) = room::find(&self.http, room, &entry.txn, tried).await?
        {
            tracing::info!(txn = entry.txn, event, "message was in the room already");
            return Ok(Delivery::Sent { event });
        }
        let content = event::content(entry);
        let reply = self.put_as_member(room, &entry.txn, &content).await?;
        if reply.status == 413 {
            return self.deliver_shortened(room, entry, &content).await;
        }
        self.outcome(room, &reply)
    }

    /// When an entry was first tried, if the server may have forgotten that: long ago, or with another token (ids
    /// belong to the device of a token).
    fn forgotten(&self, entry: &OutboxEntry) -> Option<Timestamp> {
        let (at, mark) = entry.tried.as_ref()?;
        let at = at.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
        let is_old = Timestamp::now().duration_since(at) > MEMORY;
        (is_old || *mark != self.http.token.mark()).then_some(at)
    }

    async fn put(&self, room: &str, txn: &str, content: &Value) -> Result<Reply, MatrixFault> {
        let path = ["client", "v3", "rooms", room, "send", "m.room.message", txn];
        self.http.call(Method::PUT, &path, &[], Body::Json(content)).await
    }

    /// Sends; where the account is not in the room, joins once and sends again.
    async fn put_as_member(&self, room: &str, txn: &str, content: &Value) -> Result<Reply, MatrixFault> {
        let reply = self.put(room, txn, content).await?;
        if reply.status != 403 {
            return Ok(reply);
        }
        if room::join(&self.http, room).await? {
            tracing::info!(room, "room was joined");
            self.notice_encryption(room).await?;
            return self.put(room, txn, content).await;
        }
        let user = room::whoami(&self.http).await?;
        Err(MatrixFault::NotAllowed { user, room: self.configured.clone(), text: reply.words() })
    }

    async fn deliver_shortened(
        &self,
        room: &str,
        entry: &OutboxEntry,
        content: &Value,
    ) -> Result<Delivery, MatrixFault> {
        let whole = event::body(content);
        let uri = self.upload(entry, whole).await;
        for most in SHORTER {
            let shorter = event::shortened(content, most, uri.is_some());
            let reply = self.put(room, &entry.txn, &shorter).await?;
            if reply.status == 413 {
                continue;
            }
            let delivery = self.outcome(room, &reply)?;
            if let (Delivery::Sent { event }, Some(uri)) = (&delivery, &uri) {
                self.attach(room, entry, &event::file(entry, uri, whole.len(), event)).await;
            }
            return Ok(delivery);
        }
        let reason = "the message is too large even in its shortest form: raise the server's limit of events";
        Ok(Delivery::Refused { reason: reason.to_owned() })
    }

    /// The whole text as a file on the server; `None` where that fails: then the message says where else it is.
    async fn upload(&self, entry: &OutboxEntry, text: &str) -> Option<String> {
        let name = format!("netpol-verify-run-{}-{}.txt", entry.seq, entry.part);
        let query = [("filename", name.as_str())];
        let reply = self.http.call(Method::POST, &["media", "v3", "upload"], &query, Body::Text(text)).await;
        match reply {
            Ok(reply) if reply.is_success() => {
                reply.text("content_uri").filter(|uri| uri.starts_with("mxc://")).map(ToOwned::to_owned)
            }
            Ok(reply) => {
                tracing::warn!(status = reply.status, answer = reply.words(), "upload of a long message was refused");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "upload of a long message failed");
                None
            }
        }
    }

    /// The message is in the room: a file that does not get there is a loss that the log names, not a failure.
    async fn attach(&self, room: &str, entry: &OutboxEntry, content: &Value) {
        match self.put(room, &event::file_txn(entry), content).await {
            Ok(reply) if reply.is_success() => {}
            Ok(reply) => tracing::warn!(status = reply.status, answer = reply.words(), "attachment was refused"),
            Err(error) => tracing::warn!(%error, "attachment failed"),
        }
    }

    fn outcome(&self, room: &str, reply: &Reply) -> Result<Delivery, MatrixFault> {
        let text = reply.words();
        match (reply.status, reply.text("event_id")) {
            (200..300, Some(event)) => Ok(Delivery::Sent { event: event.to_owned() }),
            (200..300, None) => Err(MatrixFault::Answer { what: "a message", lacks: "event_id" }),
            (403, _) => Err(MatrixFault::NotAllowed { user: "the account".to_owned(), room: room.to_owned(), text }),
            (404, _) => Err(MatrixFault::NoRoom { room: self.configured.clone(), text }),
            // The same content will never do better.
            (400, _) if matches!(reply.text("errcode"), Some("M_BAD_JSON" | "M_NOT_JSON" | "M_INVALID_PARAM")) => {
                Ok(Delivery::Refused { reason: format!("the homeserver does not take the message: {text}") })
            }
            (status, _) => Err(MatrixFault::Unexpected { what: "take the message", status, text }),
        }
    }
}

impl Notifier for MatrixNotifier {
    async fn send(&self, entry: &OutboxEntry) -> Result<Delivery, Fault> {
        let delivery = self.deliver(entry).await?;
        tracing::info!(txn = entry.txn, seq = entry.seq, part = entry.part, ?delivery, "message was handled");
        Ok(delivery)
    }

    fn token_mark(&self) -> String {
        self.http.token.mark()
    }
}
