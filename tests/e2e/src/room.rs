//! A Matrix room of its own for each scene, read as a second user.

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{Cluster, objects::text};

/// A room that the bot made and the reader joined.
pub struct Room {
    http: Client,
    server: String,
    reader_token: String,
    /// The room's id.
    pub id: String,
    /// The bot's token: the verifier gets it in a Secret.
    pub bot_token: String,
    /// The reader's user id, for mentions.
    pub reader: String,
}

/// One message of the verifier, as the reader sees it.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event's id.
    pub event: String,
    /// The plain text.
    pub body: String,
    /// The formatted text, or "".
    pub html: String,
    /// `m.text` or `m.notice`.
    pub kind: String,
    /// The users that it mentions.
    pub mentions: Vec<String>,
    /// The message in whose thread it stands.
    pub thread: Option<String>,
    /// The event's content.
    pub content: Value,
    /// When the server took it, such as `09:12 UTC`.
    pub at: String,
}

impl Message {
    /// What stands in a notification.
    #[must_use]
    pub fn first_line(&self) -> &str {
        self.body.lines().next().unwrap_or_default()
    }

    /// The line that names what is left over.
    #[must_use]
    pub fn last_line(&self) -> &str {
        self.body.lines().next_back().unwrap_or_default()
    }

    /// Reads an `m.room.message` event.
    #[must_use]
    pub fn parse(event: &Value) -> Self {
        let relation = "/content/m.relates_to";
        let is_thread = text(event, &format!("{relation}/rel_type")) == "m.thread";
        let at = event.get("origin_server_ts").and_then(Value::as_i64);
        let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        let mentioned = event.pointer("/content/m.mentions/user_ids").and_then(Value::as_array);
        Self {
            event: text(event, "/event_id").to_owned(),
            body: text(event, "/content/body").to_owned(),
            html: text(event, "/content/formatted_body").to_owned(),
            kind: text(event, "/content/msgtype").to_owned(),
            mentions: mentioned.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            content: event.get("content").cloned().unwrap_or_default(),
            at: at.map(|at| at.strftime("%H:%M UTC").to_string()).unwrap_or_default(),
            thread: is_thread.then(|| text(event, &format!("{relation}/event_id")).to_owned()),
        }
    }
}

impl Room {
    /// Makes a room as the bot, and joins it as the reader.
    ///
    /// # Errors
    /// Synapse refused something.
    pub async fn create(cluster: &Cluster, name: &str) -> Result<Self> {
        let mut room = Self {
            http: Client::new(),
            server: cluster.variable("SYNAPSE_URL")?.to_owned(),
            reader_token: cluster.variable("MATRIX_READER_TOKEN")?.to_owned(),
            id: String::new(),
            bot_token: cluster.variable("MATRIX_BOT_TOKEN")?.to_owned(),
            reader: cluster.variable("MATRIX_READER")?.to_owned(),
        };
        let wanted = json!({"name": name, "preset": "private_chat", "invite": [room.reader]});
        let made = room.call(Method::POST, "createRoom", Some(&wanted), &room.bot_token).await?;
        text(&made, "/room_id").clone_into(&mut room.id);
        room.call(Method::POST, &format!("join/{}", escaped(&room.id)), Some(&json!({})), &room.reader_token).await?;
        Ok(room)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>, token: &str) -> Result<Value> {
        let url = format!("{}/_matrix/client/v3/{path}", self.server);
        let mut request = self.http.request(method, &url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("no answer to {path}"))?;
        let status = answer.status();
        let content: Value = answer.json().await.with_context(|| format!("no JSON from {path}"))?;
        if !status.is_success() {
            bail!("{path}: {status} {content}");
        }
        Ok(content)
    }

    /// The homeserver, as pods reach it.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Everything that was said, oldest first, threads included.
    ///
    /// # Errors
    /// Synapse did not answer.
    pub async fn messages(&self) -> Result<Vec<Message>> {
        let (mut found, mut from) = (Vec::new(), String::new());
        loop {
            let path = format!("rooms/{}/messages?dir=f&limit=500{from}", escaped(&self.id));
            let page = self.call(Method::GET, &path, None, &self.reader_token).await?;
            let events = page.pointer("/chunk").and_then(Value::as_array).cloned().unwrap_or_default();
            found.extend(events.iter().filter(|event| text(event, "/type") == "m.room.message").map(Message::parse));
            match text(&page, "/end") {
                "" => return Ok(found),
                end => from = format!("&from={end}"),
            }
        }
    }

    /// The messages outside threads, oldest first.
    ///
    /// # Errors
    /// Synapse did not answer.
    pub async fn top(&self) -> Result<Vec<Message>> {
        Ok(self.messages().await?.into_iter().filter(|message| message.thread.is_none()).collect())
    }

    /// The newest message outside threads.
    ///
    /// # Errors
    /// There is none, or Synapse did not answer.
    pub async fn last(&self) -> Result<Message> {
        self.top().await?.pop().context("the room is empty")
    }

    /// The messages in the thread of `root`, oldest first.
    ///
    /// # Errors
    /// Synapse did not answer.
    pub async fn thread(&self, root: &Message) -> Result<Vec<Message>> {
        let in_thread = |message: &Message| message.thread.as_deref() == Some(&root.event);
        Ok(self.messages().await?.into_iter().filter(in_thread).collect())
    }
}

/// A room id or event id as a part of a path.
fn escaped(id: &str) -> String {
    id.replace('!', "%21").replace('$', "%24").replace(':', "%3A")
}
