//! Entries of an outbox, and a notifier for a homeserver.

use std::time::Duration;

use netpol_verify::{
    matrix::{MatrixNotifier, MatrixOptions, TokenSource},
    model::{OutboxEntry, OutboxKind},
    report::{Message, message, txn::txn},
};

pub fn entry(part: u32, kind: OutboxKind, root_event: Option<&str>) -> OutboxEntry {
    let report = crate::support::sample::report();
    let message: Message = message::root(&report, &netpol_verify::report::MessageOptions::default(), false);
    OutboxEntry {
        txn: txn("4b1d2f", 42, part),
        seq: 42,
        part,
        kind,
        content: message.content(),
        root_txn: (kind == OutboxKind::Thread).then(|| txn("4b1d2f", 42, 0)),
        root_event: root_event.map(ToOwned::to_owned),
        findings: Vec::new(),
        at: "2026-11-20T09:12:31Z".to_owned(),
        tried: None,
    }
}

pub fn notifier(homeserver: &str, room: &str, token: &str, patience: Duration) -> MatrixNotifier {
    let mut options = MatrixOptions::new(homeserver, room, TokenSource::Value(token.to_owned().into()));
    options.timeout = Duration::from_secs(10);
    options.patience = patience;
    MatrixNotifier::new(options).unwrap()
}
