//! Sending what is owed (design §6): state first, then the room.

use super::seams::{Clock, Delivery, Fault, Notifier, Outside, Store};
use crate::model::{OutboxEntry, OutboxKind, State};

/// What became of the outbox.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Messages that are in the room now.
    pub sent: usize,
    /// Why something is still owed, or will never be sent.
    pub trouble: Option<String>,
}

/// Marks what is about to be tried: from here on its outcome may be unknown. The caller writes the state afterwards.
pub fn mark_tried<O: Outside>(outside: &O, state: &mut State) {
    let (now, mark) = (outside.clock().now(), outside.notifier().token_mark());
    for entry in state.outbox.iter_mut().filter(|e| e.tried.is_none()) {
        entry.tried = Some((now.clone(), mark.clone()));
    }
}

/// Sends the outbox, oldest first, and writes the state after each message, so that a kill at any point neither loses
/// nor doubles one. The first that cannot be sent stops it: the order in the room is the order of the runs.
///
/// # Errors
/// The state cannot be written.
pub async fn deliver<O: Outside>(outside: &O, state: &mut State) -> Result<Delivered, Fault> {
    let mut delivered = Delivered::default();
    while let Some(entry) = state.outbox.first().cloned() {
        match outside.notifier().send(&entry).await {
            Ok(Delivery::Sent { event }) => {
                tracing::info!(txn = entry.txn, event, "message delivered");
                note_event(state, &entry, &event);
                delivered.sent += 1;
            }
            Ok(Delivery::Refused { reason }) => {
                tracing::error!(txn = entry.txn, reason, "message refused for good");
                delivered.trouble = Some(format!("a message was refused: {reason}"));
            }
            Err(fault) => {
                tracing::warn!(txn = entry.txn, error = %fault, owed = state.outbox.len(), "message not delivered");
                delivered.trouble = Some(format!("{} messages are owed: {fault}", state.outbox.len()));
                return Ok(delivered);
            }
        }
        state.outbox.remove(0);
        outside.store().save(state).await?;
    }
    Ok(delivered)
}

/// Remembers the event of a root message: its thread parts relate to it, and what it told is cleared in its thread.
fn note_event(state: &mut State, entry: &OutboxEntry, event: &str) {
    if entry.kind != OutboxKind::Root {
        return;
    }
    for part in state.outbox.iter_mut().filter(|e| e.root_txn.as_ref() == Some(&entry.txn)) {
        part.root_event = Some(event.to_owned());
    }
    for key in &entry.findings {
        if let Some(finding) = state.findings.get_mut(key) {
            finding.thread.get_or_insert_with(|| event.to_owned());
        }
        if let Some(record) = state.flows.get_mut(key) {
            record.thread.get_or_insert_with(|| event.to_owned());
        }
    }
    // Trouble and failed applies were told by the last root message: of a run, which is its first part.
    let last = entry.part == 0 && !state.outbox.iter().any(|e| e.kind == OutboxKind::Root && e.seq > entry.seq);
    if last {
        if let Some(trouble) = &mut state.trouble {
            trouble.event.get_or_insert_with(|| event.to_owned());
        }
        for failed in &mut state.failed {
            failed.event.get_or_insert_with(|| event.to_owned());
        }
    }
}
