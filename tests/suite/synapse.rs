//! The adapter against a real homeserver; what it sends is read back as another user.

use crate::support::outbox;
use crate::support::sample;
use crate::support::synapse;

use std::time::Duration;

use netpol_verify::{
    matrix::{MatrixNotifier, TXN_KEY},
    model::OutboxKind,
    report::{Message, MessageOptions, message},
    verify::seams::{Delivery, Notifier as _},
};
use reqwest::Method;
use serde_json::{Value, json};
use synapse::{Account, Synapse};

struct Scene {
    server: Synapse,
    bot: Account,
    reader: Account,
}

impl Scene {
    fn notifier(&self, room: &str, account: &Account) -> MatrixNotifier {
        outbox::notifier(&self.server.base, room, &account.token, Duration::from_secs(3))
    }

    /// A room of the reader's; the bot is invited only, and joins by itself.
    async fn room(&self, more: Value) -> String {
        let mut more = more;
        more["invite"] = json!([self.bot.id]);
        self.server.create_room(&self.reader, more).await
    }

    async fn read(&self, room: &str) -> Vec<Value> {
        self.server.messages(&self.reader, room).await
    }
}

fn event(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Sent { event } => event.clone(),
        Delivery::Refused { reason } => panic!("{reason}"),
    }
}

#[tokio::test]
async fn a_real_homeserver_takes_every_message_once() {
    let server = Synapse::start().await;
    let (bot, reader) = (server.register("bot").await, server.register("reader").await);
    let mut scene = Scene { server, bot, reader };
    one_message_and_its_thread(&scene).await;
    too_large(&scene).await;
    another_token(&scene).await;
    strangers_and_revoked_tokens(&scene).await;
    aliases_and_encryption(&scene).await;
    a_restart(&mut scene).await;
}

async fn one_message_and_its_thread(scene: &Scene) {
    let room = scene.room(json!({})).await;
    assert!(room.starts_with('!') && !room.contains(':'), "room version 12: {room}");
    let notifier = scene.notifier(&room, &scene.bot);
    let mut root = outbox::entry(0, OutboxKind::Root, None);
    let mut report = sample::report();
    report.flows = vec![sample::missing_entry()];
    report.verdict = netpol_verify::model::Verdict::Finding;
    let options = MessageOptions { mention: vec![scene.reader.id.clone()], ..MessageOptions::default() };
    let sent = message::root(&report, &options, true);
    root.content = sent.content();
    let id = event(&notifier.send(&root).await.unwrap());
    assert_eq!(event(&notifier.send(&root).await.unwrap()), id, "the same id is the same event");
    let part = outbox::entry(1, OutboxKind::Thread, Some(&id));
    let part_id = event(&notifier.send(&part).await.unwrap());

    let events = scene.read(&room).await;
    let ids: Vec<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&id, &part_id], "each once, in order");
    assert_eq!(Message::from_content(&events[0]["content"]).unwrap(), sent);
    assert_eq!(events[0]["content"][TXN_KEY], json!(root.txn));
    assert_eq!(events[0]["sender"], json!(scene.bot.id));
    let path = format!("rooms/{room}/relations/{id}/m.thread?limit=10").replace("rooms", "../v1/rooms");
    let thread = scene.server.ask(Method::GET, &path, Some(&scene.reader.token), None).await;
    assert_eq!(thread["chunk"][0]["event_id"], json!(part_id), "the server counts it to the thread");
    assert!(notifier.warnings().is_empty());
}

async fn too_large(scene: &Scene) {
    let room = scene.room(json!({})).await;
    let mut entry = outbox::entry(2, OutboxKind::Root, None);
    let whole = "❌ first line\nand a line of it\n".repeat(3000);
    entry.content["body"] = json!(whole);
    let id = event(&scene.notifier(&room, &scene.bot).send(&entry).await.unwrap());
    let events = scene.read(&room).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event_id"], json!(id));
    assert!(events[0]["content"]["body"].as_str().unwrap().ends_with("attached in the thread)"));
    assert_eq!(events[1]["content"]["m.relates_to"]["event_id"], json!(id));
    let uri = events[1]["content"]["url"].as_str().unwrap();
    assert_eq!(scene.server.download(&scene.reader, uri).await, whole);
}

async fn another_token(scene: &Scene) {
    let room = scene.room(json!({})).await;
    let mut entry = outbox::entry(3, OutboxKind::Root, None);
    let old = scene.notifier(&room, &scene.bot);
    let id = event(&old.send(&entry).await.unwrap());
    let new = scene.notifier(&room, &scene.server.log_in("bot").await);
    assert_ne!(old.token_mark(), new.token_mark());
    // The answer was lost, and the token was replaced: the server alone would take it as a new message.
    entry.tried = Some((jiff::Timestamp::now().to_string(), old.token_mark()));
    assert_eq!(event(&new.send(&entry).await.unwrap()), id);
    assert_eq!(scene.read(&room).await.len(), 1);
    entry.tried = None;
    assert_ne!(event(&new.send(&entry).await.unwrap()), id, "control: ids belong to a token's device");
}

async fn strangers_and_revoked_tokens(scene: &Scene) {
    let room = scene.server.create_room(&scene.reader, json!({})).await;
    let entry = outbox::entry(4, OutboxKind::Root, None);
    let text = scene.notifier(&room, &scene.bot).send(&entry).await.unwrap_err().to_string();
    assert!(text.contains("@bot:hs.test may not write") && text.contains("invite it"), "{text}");
    let login = scene.server.log_in("bot").await;
    scene.server.ask(Method::POST, "logout", Some(&login.token), Some(json!({}))).await;
    let text = scene.notifier(&room, &login).send(&entry).await.unwrap_err().to_string();
    assert!(text.contains("M_UNKNOWN_TOKEN") && text.contains("new token"), "{text}");
    assert!(scene.read(&room).await.is_empty());
}

async fn aliases_and_encryption(scene: &Scene) {
    let encryption =
        json!({ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } });
    let room = scene.room(json!({ "room_alias_name": "ops", "initial_state": [encryption] })).await;
    let alias = format!("#ops:{}", synapse::NAME);
    let notifier = scene.notifier(&alias, &scene.bot);
    notifier.send(&outbox::entry(5, OutboxKind::Root, None)).await.unwrap();
    assert_eq!(scene.read(&room).await.len(), 1);
    assert!(matches!(notifier.warnings().as_slice(), [one] if one.contains("#ops:hs.test is encrypted")));
    let unknown = scene.notifier("#gone:hs.test", &scene.bot);
    let text = unknown.send(&outbox::entry(6, OutboxKind::Root, None)).await.unwrap_err().to_string();
    assert!(text.contains("does not know #gone:hs.test"), "{text}");
}

async fn a_restart(scene: &mut Scene) {
    let room = scene.room(json!({})).await;
    let notifier = scene.notifier(&room, &scene.bot);
    let entry = outbox::entry(7, OutboxKind::Root, None);
    let id = event(&notifier.send(&entry).await.unwrap());
    scene.server.stop();
    let text = notifier.send(&entry).await.unwrap_err().to_string();
    assert!(text.contains("cannot be reached"), "{text}");
    scene.server.resume().await;
    assert_eq!(event(&notifier.send(&entry).await.unwrap()), id);
    assert_eq!(scene.read(&room).await.len(), 1);
}
