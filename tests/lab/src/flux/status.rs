//! The status that kustomize-controller writes.

use serde_json::{Value, json};

use crate::api::{object::text, store::now};

/// Snapshots that are kept.
const HISTORY: usize = 5;

/// A condition, from now on.
pub(super) fn condition(kind: &str, status: &str, reason: &str, message: &str, generation: i64) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation,
        "lastTransitionTime": now(),
    })
}

/// The status after an apply.
pub(super) fn applied(before: &Value, revision: &str, digest: &str, inventory: &[String]) -> Value {
    let generation = generation(before);
    let reason = "ReconciliationSucceeded";
    let ready = condition("Ready", "True", reason, &format!("Applied revision: {revision}"), generation);
    let entries: Vec<Value> = inventory.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
    json!({
        "observedGeneration": generation, "conditions": [ready], "inventory": {"entries": entries},
        "lastAppliedRevision": revision, "lastAttemptedRevision": revision,
        "history": history(before, revision, digest, reason),
    })
}

/// The status after a failure: what was applied before stands, and `observedGeneration` does not advance.
pub(super) fn failed(before: &Value, revision: &str, reason: &str, message: &str) -> Value {
    let ready = condition("Ready", "False", reason, message, generation(before));
    let mut status = before.get("status").cloned().unwrap_or_else(|| json!({}));
    e2e::flux::merge(&mut status, &json!({"conditions": [ready], "lastAttemptedRevision": revision}));
    status
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1)
}

/// One entry for each digest and outcome, the newest first.
fn history(before: &Value, revision: &str, digest: &str, outcome: &str) -> Vec<Value> {
    let mut entries = before.pointer("/status/history").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_same = |entry: &Value| text(entry, "/digest") == digest && text(entry, "/lastReconciledStatus") == outcome;
    let known = entries.iter().position(is_same).map(|at| entries.remove(at));
    let count = known.as_ref().and_then(|entry| entry.get("totalReconciliations")?.as_i64()).unwrap_or(0);
    let first = known.as_ref().map_or_else(now, |entry| text(entry, "/firstReconciled").to_owned());
    let entry = json!({
        "digest": digest, "firstReconciled": first, "lastReconciled": now(), "lastReconciledDuration": "100ms",
        "lastReconciledStatus": outcome, "totalReconciliations": count + 1, "metadata": {"revision": revision},
    });
    entries.insert(0, entry);
    entries.truncate(HISTORY);
    entries
}

/// `<namespace>_<name>_<group>_<kind>`.
pub(super) fn id(object: &Value) -> String {
    let (group, _) = text(object, "/apiVersion").split_once('/').unwrap_or_default();
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    format!("{namespace}_{name}_{group}_{}", text(object, "/kind"))
}

/// The four parts of an id.
pub(super) fn parse_id(id: &str) -> Option<(&str, &str, &str, &str)> {
    let (namespace, rest) = id.split_once('_')?;
    let (rest, kind) = rest.rsplit_once('_')?;
    let (name, group) = rest.rsplit_once('_')?;
    Some((namespace, name, group, kind))
}
