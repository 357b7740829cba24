//! What Flux's status says of a Kustomization: which revision is live, and why not the newest.
//!
//! Flux's Ready condition alone misleads: it stays `True` while a Kustomization is suspended, while its source cannot
//! be fetched, and until the controller has noticed a new revision.

use super::objects::{Condition, InventoryEntry, KustomizationObject, SourceObject, condition};
use crate::model::{KustomizationRef, KustomizationStatus, NotApplied, ObjectRef, Revision};

/// Characters of a condition's message that are kept: Kubernetes allows 32 KiB, a message to people does not.
const MESSAGE_LIMIT: usize = 1000;
/// The reason of Ready, and a history entry's status, after a success.
const SUCCEEDED: &str = "ReconciliationSucceeded";

/// What is so of a Kustomization and its source (`None`: the source does not exist).
#[must_use]
pub fn judge(kustomization: &KustomizationObject, source: Option<&SourceObject>) -> KustomizationStatus {
    let report = &kustomization.status;
    let applied = report.last_applied_revision.as_deref().filter(|text| !text.is_empty());
    let attempted = report.last_attempted_revision.as_deref().filter(|text| !text.is_empty());
    let id = KustomizationRef {
        namespace: kustomization.metadata.namespace.clone(),
        name: kustomization.metadata.name.clone(),
    };
    let suspended = kustomization.is_suspended() || source.is_some_and(|source| source.spec.suspend);
    let trouble = not_ready(kustomization, source)
        .or_else(|| not_current(kustomization, source))
        .or_else(|| source.and_then(source_failing));
    KustomizationStatus {
        id,
        attempted: attempted.map(revision),
        applied: applied.map(revision),
        digest: applied.and_then(|applied| digest_of(kustomization, applied)),
        inventory: report.inventory.iter().flat_map(|list| &list.entries).filter_map(owned).collect(),
        suspended,
        not_applied: trouble,
    }
}

fn revision(text: &str) -> Revision {
    Revision(text.to_owned())
}

/// The digest of the rendering that was applied; a failed attempt at the same revision has an entry of its own.
fn digest_of(kustomization: &KustomizationObject, applied: &str) -> Option<String> {
    let entry = kustomization.status.history.iter().find(|entry| {
        entry.last_reconciled_status == SUCCEEDED
            && entry.metadata.get("revision").is_some_and(|revision| revision == applied)
    })?;
    Some(entry.digest.clone()).filter(|digest| !digest.is_empty())
}

/// Ready is not `True`, or speaks of an older specification.
fn not_ready(kustomization: &KustomizationObject, source: Option<&SourceObject>) -> Option<NotApplied> {
    let ready = condition(&kustomization.status.conditions, "Ready");
    let Some(ready) = ready else {
        return Some(waiting(kustomization, "Progressing", "Flux has not reconciled it yet".to_owned()));
    };
    if ready.status == "True" {
        return None;
    }
    let attempted = kustomization.status.last_attempted_revision.as_deref().filter(|text| !text.is_empty());
    Some(NotApplied {
        attempted: attempted.map(revision),
        reason: ready.reason.clone(),
        message: shorten(&ready.message),
        final_: ready.status == "False" && is_final(kustomization, ready) && !is_superseded(kustomization, source),
        since: failing_since(kustomization, ready),
    })
}

/// Since when it has been failing. The condition alone does not say: Flux sets it to `Unknown` at the start of each
/// retry, so that its time is never older than the retry interval. The history has the first failure of each rendering
/// (which may lie before the last success, for one that failed and worked before).
fn failing_since(kustomization: &KustomizationObject, ready: &Condition) -> Option<String> {
    let time = |text: &Option<String>| text.as_deref()?.parse::<jiff::Timestamp>().ok();
    let condition = time(&ready.last_transition_time);
    let history = &kustomization.status.history;
    let attempted = kustomization.status.last_attempted_revision.as_ref();
    let same = history
        .iter()
        .find(|entry| entry.last_reconciled_status == ready.reason && entry.metadata.get("revision") == attempted);
    let success = history.iter().filter(|entry| entry.last_reconciled_status == SUCCEEDED);
    let success = success.filter_map(|entry| time(&entry.last_reconciled)).max();
    let first = same.filter(|_| ready.status == "False").and_then(|entry| time(&entry.first_reconciled));
    let first = first.map(|first| success.map_or(first, |success| success.max(first)));
    match (condition, first) {
        (Some(condition), Some(first)) => Some(condition.min(first).to_string()),
        (None, Some(first)) => Some(first.to_string()),
        (_, None) => ready.last_transition_time.clone(),
    }
}

/// A build that failed or an object that the API server refused fails again at every retry; a stalled Kustomization
/// is not retried at all.
fn is_final(kustomization: &KustomizationObject, ready: &Condition) -> bool {
    let stalled =
        condition(&kustomization.status.conditions, "Stalled").is_some_and(|stalled| stalled.status == "True");
    stalled || ready.reason == "BuildFailed" || ready.message.contains("is invalid")
}

/// Whether the failure is of a specification or a revision that is replaced already, and will be tried anew.
fn is_superseded(kustomization: &KustomizationObject, source: Option<&SourceObject>) -> bool {
    let ready = condition(&kustomization.status.conditions, "Ready").and_then(|ready| ready.observed_generation);
    let older_spec = ready.is_some_and(|observed| observed < kustomization.metadata.generation);
    let served = source.and_then(SourceObject::revision);
    let newer_source = served.is_some() && served != kustomization.status.last_attempted_revision.as_deref();
    older_spec || newer_source
}

/// Ready is `True`, but of something older than what there is.
fn not_current(kustomization: &KustomizationObject, source: Option<&SourceObject>) -> Option<NotApplied> {
    let report = &kustomization.status;
    let applied = report.last_applied_revision.as_deref().unwrap_or_default();
    let served = source.and_then(SourceObject::revision);
    if let Some(served) = served.filter(|served| *served != applied) {
        let reason = if kustomization.is_suspended() { "Suspended" } else { "Lag" };
        let message = match reason {
            "Suspended" => format!("the Kustomization is suspended, and `{served}` waits to be applied"),
            _ => format!("the source serves `{served}`, which is not applied yet"),
        };
        return Some(waiting(kustomization, reason, message));
    }
    if report.observed_generation != kustomization.metadata.generation {
        let reason = if kustomization.is_suspended() { "Suspended" } else { "Progressing" };
        return Some(waiting(kustomization, reason, "a change of its specification is not applied yet".to_owned()));
    }
    let attempted = report.last_attempted_revision.as_deref().unwrap_or(applied);
    if attempted != applied {
        return Some(waiting(kustomization, "Progressing", format!("`{attempted}` is being applied")));
    }
    if source.is_none() {
        return Some(waiting(kustomization, "ArtifactFailed", "its source does not exist".to_owned()));
    }
    None
}

/// The source cannot be fetched: what Git says now is not known.
fn source_failing(source: &SourceObject) -> Option<NotApplied> {
    let ready = condition(&source.status.conditions, "Ready").filter(|ready| ready.status == "False")?;
    Some(NotApplied {
        attempted: None,
        reason: ready.reason.clone(),
        message: shorten(&format!("{}: {}", source.title(), ready.message)),
        final_: false,
        since: ready.last_transition_time.clone(),
    })
}

fn waiting(kustomization: &KustomizationObject, reason: &str, message: String) -> NotApplied {
    let attempted = kustomization.status.last_attempted_revision.as_deref().filter(|text| !text.is_empty());
    NotApplied { attempted: attempted.map(revision), reason: reason.to_owned(), message, final_: false, since: None }
}

fn shorten(message: &str) -> String {
    let mut text: String = message.trim().chars().take(MESSAGE_LIMIT).collect();
    if text.len() < message.trim().len() {
        text.push('…');
    }
    text
}

/// Reads `<namespace>_<name>_<group>_<kind>`; names of RBAC objects have `:` written as `__`.
fn owned(entry: &InventoryEntry) -> Option<ObjectRef> {
    let (namespace, rest) = entry.id.split_once('_')?;
    let (rest, kind) = rest.rsplit_once('_')?;
    let (name, group) = rest.rsplit_once('_')?;
    if name.is_empty() || kind.is_empty() {
        return None;
    }
    Some(ObjectRef {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        name: name.replace("__", ":"),
    })
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
