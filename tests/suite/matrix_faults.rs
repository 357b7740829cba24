//! What a homeserver may answer, and what a person then reads.

use crate::support::outbox;

use std::time::{Duration, Instant};

use netpol_verify::{
    matrix::{MatrixNotifier, MatrixOptions, TXN_KEY, TokenSource},
    model::OutboxKind,
    verify::seams::{Delivery, Notifier as _},
};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_partial_json, header, method, path, path_regex, query_param},
};

const ROOM: &str = "!room:example.org";
const SEND: &str = "^/_matrix/client/v3/rooms/!room:example.org/send/m.room.message/";

fn sent(event: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "event_id": event }))
}

fn refused(status: u16, code: &str, text: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "errcode": code, "error": text }))
}

async fn server() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path_regex("/state/m.room.encryption"))
        .respond_with(refused(404, "M_NOT_FOUND", ""))
        .mount(&server)
        .await;
    Mock::given(path("/_matrix/client/v3/account/whoami"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "user_id": "@bot:example.org" })))
        .mount(&server)
        .await;
    server
}

async fn on_send(server: &MockServer, answer: ResponseTemplate, times: u64) {
    Mock::given(method("PUT"))
        .and(path_regex(SEND))
        .respond_with(answer)
        .up_to_n_times(times)
        .expect(times)
        .mount(server)
        .await;
}

fn notifier(server: &MockServer) -> MatrixNotifier {
    outbox::notifier(&server.uri(), ROOM, "syt_secret", Duration::from_secs(10))
}

fn root() -> netpol_verify::model::OutboxEntry {
    outbox::entry(0, OutboxKind::Root, None)
}

/// The text of the fault and all of its causes.
async fn fault(notifier: &MatrixNotifier) -> String {
    let fault = notifier.send(&root()).await.unwrap_err();
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    assert!(!text.contains("syt_secret") && !format!("{fault:?} {notifier:?}").contains("syt_secret"), "{text}");
    text
}

#[tokio::test]
async fn a_message_is_put_with_its_id_and_the_token_in_the_header() {
    let server = server().await;
    let entry = root();
    Mock::given(method("PUT"))
        .and(path(format!("/_matrix/client/v3/rooms/!room:example.org/send/m.room.message/{}", entry.txn)))
        .and(header("authorization", "Bearer syt_secret"))
        .and(body_partial_json(json!({ TXN_KEY: entry.txn, "msgtype": "m.notice", "m.mentions": {} })))
        .respond_with(sent("$one"))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(notifier(&server).send(&entry).await.unwrap(), Delivery::Sent { event: "$one".to_owned() });
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_as_long_as_the_server_says() {
    let server = server().await;
    let limited = refused(429, "M_LIMIT_EXCEEDED", "").set_body_json(json!({ "retry_after_ms": 700 }));
    on_send(&server, limited, 1).await;
    on_send(&server, ResponseTemplate::new(429).insert_header("retry-after", "1"), 1).await;
    on_send(&server, sent("$late"), 1).await;
    let began = Instant::now();
    assert_eq!(notifier(&server).send(&root()).await.unwrap(), Delivery::Sent { event: "$late".to_owned() });
    assert!(began.elapsed() >= Duration::from_millis(1700), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_not_begun() {
    let server = server().await;
    on_send(&server, ResponseTemplate::new(429).set_body_json(json!({ "retry_after_ms": 3_600_000 })), 1).await;
    let began = Instant::now();
    let text = fault(&notifier(&server)).await;
    assert!(text.contains("wait for 3600 s") && text.contains("stays in the outbox"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_is_ill_is_asked_again_and_one_that_stays_ill_is_a_fault() {
    let server = server().await;
    on_send(&server, ResponseTemplate::new(502), 2).await;
    on_send(&server, sent("$three"), 1).await;
    assert_eq!(notifier(&server).send(&root()).await.unwrap(), Delivery::Sent { event: "$three".to_owned() });

    Mock::given(method("PUT")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    let impatient = outbox::notifier(&server.uri(), ROOM, "syt_secret", Duration::from_secs(2));
    let began = Instant::now();
    let text = fault(&impatient).await;
    assert!(text.contains("503") && began.elapsed() < Duration::from_secs(8), "{text}");
}

#[tokio::test]
async fn nobody_there_is_a_fault_that_names_the_server() {
    let gone = format!("http://127.0.0.1:{}", {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    });
    let text = fault(&outbox::notifier(&gone, ROOM, "syt_secret", Duration::from_millis(100))).await;
    assert!(text.contains("cannot be reached") && text.contains(&gone), "{text}");
}

#[tokio::test]
async fn a_revoked_token_says_to_log_in_again() {
    let server = server().await;
    on_send(&server, refused(401, "M_UNKNOWN_TOKEN", "Invalid access token"), 1).await;
    let text = fault(&notifier(&server)).await;
    assert!(text.contains("new token into the Secret") && text.contains("M_UNKNOWN_TOKEN"), "{text}");
}

#[tokio::test]
async fn an_invited_account_joins_and_a_stranger_is_told_to_be_invited() {
    for (answer, delivered) in [
        (ResponseTemplate::new(200).set_body_json(json!({ "room_id": ROOM })), true),
        (refused(403, "M_FORBIDDEN", "You are not invited"), false),
    ] {
        let server = server().await;
        Mock::given(method("POST")).and(path_regex("/join$")).respond_with(answer).expect(1).mount(&server).await;
        on_send(&server, refused(403, "M_FORBIDDEN", "User not in room"), 1).await;
        if delivered {
            on_send(&server, sent("$joined"), 1).await;
            assert_eq!(notifier(&server).send(&root()).await.unwrap(), Delivery::Sent { event: "$joined".to_owned() });
        } else {
            let text = fault(&notifier(&server)).await;
            assert!(text.contains("@bot:example.org may not write") && text.contains("invite it"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let (server, elsewhere) = (server().await, MockServer::start().await);
    Mock::given(wiremock::matchers::any()).respond_with(sent("$no")).expect(0).mount(&elsewhere).await;
    let to = format!("{}/x", elsewhere.uri());
    on_send(&server, ResponseTemplate::new(307).insert_header("location", to.as_str()), 1).await;
    let text = fault(&notifier(&server)).await;
    assert!(text.contains(&to) && text.contains("token is not sent there"), "{text}");
}

#[tokio::test]
async fn what_will_never_be_taken_is_refused_and_other_refusals_stay_owed() {
    let server = server().await;
    on_send(&server, refused(400, "M_BAD_JSON", "no"), 1).await;
    let delivery = notifier(&server).send(&root()).await.unwrap();
    assert!(matches!(&delivery, Delivery::Refused { reason } if reason.contains("M_BAD_JSON")), "{delivery:?}");
    on_send(&server, refused(400, "M_UNKNOWN", "odd"), 1).await;
    assert!(fault(&notifier(&server)).await.contains("M_UNKNOWN"));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_shortened_and_its_whole_text_attached() {
    let server = server().await;
    let mut entry = root();
    entry.content["body"] = json!("❌ first line\nline\n".repeat(3000));
    on_send(&server, refused(413, "M_TOO_LARGE", "event too large"), 1).await;
    Mock::given(method("POST"))
        .and(path("/_matrix/media/v3/upload"))
        .and(query_param("filename", "netpol-verify-run-42-0.txt"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "content_uri": "mxc://example.org/f" })))
        .expect(1)
        .mount(&server)
        .await;
    on_send(&server, sent("$short"), 2).await;
    assert_eq!(notifier(&server).send(&entry).await.unwrap(), Delivery::Sent { event: "$short".to_owned() });

    let puts: Vec<serde_json::Value> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .filter(|request| request.method.as_str() == "PUT")
        .map(|request| request.body_json().unwrap())
        .collect();
    let body = puts[1]["body"].as_str().unwrap();
    assert!(body.starts_with("❌ first line\n") && body.ends_with("attached in the thread)") && body.len() < 13_000);
    assert!(puts[1].get("formatted_body").is_none() && puts[1][TXN_KEY] == json!(entry.txn));
    assert_eq!((&puts[2]["msgtype"], &puts[2]["url"]), (&json!("m.file"), &json!("mxc://example.org/f")));
    assert_eq!(puts[2]["m.relates_to"]["event_id"], json!("$short"));
}

#[tokio::test]
async fn without_uploads_a_shortened_message_points_to_the_log() {
    let server = server().await;
    on_send(&server, refused(413, "M_TOO_LARGE", ""), 2).await;
    Mock::given(method("POST")).respond_with(refused(403, "M_FORBIDDEN", "no uploads")).mount(&server).await;
    Mock::given(method("PUT"))
        .and(body_partial_json(json!({ "msgtype": "m.notice" })))
        .respond_with(sent("$short"))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(notifier(&server).send(&root()).await.unwrap(), Delivery::Sent { event: "$short".to_owned() });
    let last = server.received_requests().await.unwrap().pop().unwrap();
    assert!(String::from_utf8_lossy(&last.body).contains("the Job's log has the whole text"));
}

#[tokio::test]
async fn what_a_server_may_have_forgotten_is_looked_up_first() {
    let now = jiff::Timestamp::now();
    let marks = |server: &MockServer| notifier(server).token_mark();
    let old = now.checked_sub(jiff::SignedDuration::from_hours(30)).unwrap();
    for (at, same_token, looked_up) in [(old, true, true), (now, false, true), (now, true, false)] {
        let server = server().await;
        let mut entry = root();
        let mark = if same_token { marks(&server) } else { "0badc0de".to_owned() };
        entry.tried = Some((at.to_string(), mark));
        let page = json!({ "chunk": [
            { "event_id": "$other", "sender": "@bot:example.org", "origin_server_ts": now.as_millisecond(), "content": { TXN_KEY: "other" } },
            { "event_id": "$forged", "sender": "@mallory:example.org", "origin_server_ts": now.as_millisecond(), "content": { TXN_KEY: entry.txn } },
            { "event_id": "$there", "sender": "@bot:example.org", "origin_server_ts": at.as_millisecond(), "content": { TXN_KEY: entry.txn } },
        ], "end": "t1" });
        Mock::given(method("GET"))
            .and(path_regex("/messages$"))
            .respond_with(ResponseTemplate::new(200).set_body_json(page))
            .expect(u64::from(looked_up))
            .mount(&server)
            .await;
        if !looked_up {
            on_send(&server, sent("$new"), 1).await;
        }
        let event = if looked_up { "$there" } else { "$new" };
        assert_eq!(notifier(&server).send(&entry).await.unwrap(), Delivery::Sent { event: event.to_owned() }, "{at}");
    }
}

#[tokio::test]
async fn the_look_up_ends_where_the_message_cannot_be_and_then_it_is_sent() {
    let server = server().await;
    let mut entry = root();
    let tried = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(30)).unwrap();
    entry.tried = Some((tried.to_string(), "00000000".to_owned()));
    for (from, hours) in [(None, 1), (Some("t1"), 29), (Some("t2"), 40)] {
        let at = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(hours)).unwrap();
        let end = if from.is_none() {
            "t1"
        } else if hours == 29 {
            "t2"
        } else {
            "t3"
        };
        let page = json!({ "chunk": [{ "event_id": "$x", "sender": "@bot:example.org", "origin_server_ts": at.as_millisecond(), "content": {} }], "end": end });
        let mock = Mock::given(method("GET")).and(path_regex("/messages$"));
        let mock = match from {
            Some(from) => mock.and(query_param("from", from)),
            None => mock.and(wiremock::matchers::query_param_is_missing("from")),
        };
        mock.respond_with(ResponseTemplate::new(200).set_body_json(page)).expect(1).mount(&server).await;
    }
    on_send(&server, sent("$new"), 1).await;
    assert_eq!(notifier(&server).send(&entry).await.unwrap(), Delivery::Sent { event: "$new".to_owned() });
}

#[tokio::test]
async fn an_alias_is_resolved_once_and_an_unknown_one_is_named() {
    let server = server().await;
    Mock::given(path("/_matrix/client/v3/directory/room/%23ops:example.org"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "room_id": ROOM, "servers": [] })))
        .expect(1)
        .mount(&server)
        .await;
    on_send(&server, sent("$a"), 2).await;
    let notifier = outbox::notifier(&server.uri(), "#ops:example.org", "syt_secret", Duration::from_secs(1));
    for _ in 0..2 {
        notifier.send(&root()).await.unwrap();
    }
    let unknown = outbox::notifier(&server.uri(), "#gone:example.org", "syt_secret", Duration::from_secs(1));
    assert!(fault(&unknown).await.contains("does not know #gone:example.org"));
    let nonsense = outbox::notifier(&server.uri(), "ops", "syt_secret", Duration::from_secs(1));
    assert!(fault(&nonsense).await.contains("`ops` is no room"));
}

#[tokio::test]
async fn an_encrypted_room_is_said_and_still_gets_the_message() {
    let server = MockServer::start().await;
    Mock::given(path_regex("/state/m.room.encryption"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "algorithm": "m.megolm.v1.aes-sha2" })))
        .expect(1)
        .mount(&server)
        .await;
    on_send(&server, sent("$a"), 2).await;
    let notifier = notifier(&server);
    assert!(notifier.warnings().is_empty());
    for _ in 0..2 {
        notifier.send(&root()).await.unwrap();
    }
    assert!(matches!(notifier.warnings().as_slice(), [one] if one.contains("is encrypted")));
}

#[tokio::test]
async fn a_thread_part_waits_for_its_root_and_names_it() {
    let server = server().await;
    on_send(&server, sent("$part"), 1).await;
    let orphan = outbox::entry(1, OutboxKind::Thread, None);
    let text = notifier(&server).send(&orphan).await.unwrap_err().to_string();
    assert!(text.contains("part 1 of run 42"), "{text}");
    notifier(&server).send(&outbox::entry(1, OutboxKind::Thread, Some("$root"))).await.unwrap();
    let last = server.received_requests().await.unwrap().pop().unwrap();
    let relation = &last.body_json::<serde_json::Value>().unwrap()["m.relates_to"];
    assert_eq!(
        relation,
        &json!({ "rel_type": "m.thread", "event_id": "$root", "is_falling_back": true, "m.in_reply_to": { "event_id": "$root" } })
    );
}

#[tokio::test]
async fn a_token_file_that_was_replaced_is_used_at_once() {
    let server = server().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = MatrixOptions::new(&server.uri(), ROOM, TokenSource::File(file.path().to_owned()));
    let notifier = MatrixNotifier::new(options).unwrap();
    for token in ["syt_one", "syt_two"] {
        std::fs::write(file.path(), format!("{token}\n")).unwrap();
        Mock::given(method("PUT"))
            .and(header("authorization", format!("Bearer {token}").as_str()))
            .respond_with(sent(token))
            .expect(1)
            .mount(&server)
            .await;
        assert_eq!(notifier.send(&root()).await.unwrap(), Delivery::Sent { event: token.to_owned() });
    }
    std::fs::remove_file(file.path()).unwrap();
    let text = notifier.send(&root()).await.unwrap_err().to_string();
    assert!(text.contains("MATRIX_TOKEN_FILE"), "{text}");
}
