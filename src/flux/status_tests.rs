use serde_json::{Value, json};

use super::*;

const OLD: &str = "main@sha1:1111111111111111111111111111111111111111";
const NEW: &str = "main@sha1:2222222222222222222222222222222222222222";

fn kustomization(change: Value) -> KustomizationObject {
    let mut object = json!({
        "metadata": {"namespace": "flux-system", "name": "network-policies", "generation": 3},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "infra"}},
        "status": {
            "observedGeneration": 3, "lastAppliedRevision": NEW, "lastAttemptedRevision": NEW,
            "conditions": [ready("True", "ReconciliationSucceeded", "Applied revision")],
            "history": [
                {"digest": "sha256:bad", "lastReconciledStatus": "ReconciliationFailed", "metadata": {"revision": NEW}},
                {"digest": "sha256:new", "lastReconciledStatus": "ReconciliationSucceeded", "metadata": {"revision": NEW}},
                {"digest": "sha256:old", "lastReconciledStatus": "ReconciliationSucceeded", "metadata": {"revision": OLD}},
            ],
        },
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

fn source(change: Value) -> SourceObject {
    let mut object = json!({
        "kind": "GitRepository", "metadata": {"namespace": "flux-system", "name": "infra"}, "spec": {},
        "status": {
            "artifact": {"url": "http://s/a.tar.gz", "revision": NEW, "digest": "sha256:0"},
            "conditions": [ready("True", "Succeeded", "stored artifact")],
        },
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": 3})
}

fn failing(reason: &str, message: &str) -> Value {
    json!({"status": {"lastAppliedRevision": OLD, "conditions": [ready("False", reason, message)]}})
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

/// Reason and finality of `not_applied`.
fn told(kustomization: &KustomizationObject, source: Option<&SourceObject>) -> Option<(String, bool)> {
    judge(kustomization, source).not_applied.map(|trouble| (trouble.reason, trouble.final_))
}

#[test]
fn an_applied_revision_has_its_digest_and_no_trouble() {
    let status = judge(&kustomization(json!({})), Some(&source(json!({}))));
    assert_eq!(status.not_applied, None);
    assert_eq!(status.applied, Some(Revision(NEW.to_owned())));
    assert_eq!(status.digest.as_deref(), Some("sha256:new"));
    assert!(!status.suspended);
}

/// How a Kustomization and its source differ from good ones, the reason that is told, and whether it is final.
type Way = (Value, Value, &'static str, bool);

fn check(ways: &[Way]) {
    for (kustomization_change, source_change, reason, is_final) in ways {
        let seen = told(&kustomization(kustomization_change.clone()), Some(&source(source_change.clone())));
        assert_eq!(seen, Some(((*reason).to_owned(), *is_final)), "{kustomization_change} with {source_change}");
    }
}

#[test]
fn each_failure_to_apply_is_told_with_its_finality() {
    check(&[
        (failing("BuildFailed", "kustomize build failed: x"), json!({}), "BuildFailed", true),
        (
            failing("ReconciliationFailed", "NetworkPolicy/a/b dry-run failed: … is invalid: spec.x"),
            json!({}),
            "ReconciliationFailed",
            true,
        ),
        (failing("ReconciliationFailed", "connection refused"), json!({}), "ReconciliationFailed", false),
        (failing("DependencyNotReady", "dependency not ready"), json!({}), "DependencyNotReady", false),
        (failing("HealthCheckFailed", "timeout"), json!({}), "HealthCheckFailed", false),
        (failing("ArtifactFailed", "not found"), json!({}), "ArtifactFailed", false),
        // A newer revision waits already: the failure of the old one is not the last word.
        (
            failing("BuildFailed", "x"),
            json!({"status": {"artifact": {"revision": "main@sha1:3"}}}),
            "BuildFailed",
            false,
        ),
        (
            json!({"metadata": {"generation": 4}, "status": {"conditions": [ready("False", "BuildFailed", "x")]}}),
            json!({}),
            "BuildFailed",
            false,
        ),
        (
            json!({"status": {"conditions": [ready("False", "InvalidCELExpression", "x"), {"type": "Stalled", "status": "True"}]}}),
            json!({}),
            "InvalidCELExpression",
            true,
        ),
    ]);
}

#[test]
fn what_is_under_way_or_suspended_is_never_final() {
    check(&[
        (json!({"status": {"conditions": [ready("Unknown", "Progressing", "x")]}}), json!({}), "Progressing", false),
        (json!({"status": {"conditions": []}}), json!({}), "Progressing", false),
        (json!({"metadata": {"generation": 4}}), json!({}), "Progressing", false),
        (
            json!({"status": {"lastAppliedRevision": OLD}}),
            json!({"status": {"artifact": {"revision": OLD}}}),
            "Progressing",
            false,
        ),
        (json!({}), json!({"status": {"artifact": {"revision": "main@sha1:3"}}}), "Lag", false),
        (
            json!({"spec": {"suspend": true}}),
            json!({"status": {"artifact": {"revision": "main@sha1:3"}}}),
            "Suspended",
            false,
        ),
        (
            json!({}),
            json!({"status": {"conditions": [ready("False", "GitOperationFailed", "no route")]}}),
            "GitOperationFailed",
            false,
        ),
    ]);
    assert_eq!(told(&kustomization(json!({})), None), Some(("ArtifactFailed".to_owned(), false)));
}

#[test]
fn a_failed_newer_revision_leaves_the_applied_one_with_its_own_digest() {
    let status = judge(&kustomization(failing("BuildFailed", "x")), Some(&source(json!({}))));
    assert_eq!(status.applied, Some(Revision(OLD.to_owned())));
    assert_eq!(status.digest.as_deref(), Some("sha256:old"));
    assert_eq!(status.not_applied.unwrap().attempted, Some(Revision(NEW.to_owned())));
}

#[test]
fn a_failure_that_is_retried_is_as_old_as_its_first_try() {
    let at = |minute: u8| format!("2026-11-20T09:{minute:02}:00Z");
    let since = |status: &str, reason: &str, first: u8, success: u8| {
        let mut condition = ready(status, reason, "a webhook refused it");
        condition["lastTransitionTime"] = json!(at(40));
        let history = json!([
            {"digest": "sha256:b", "lastReconciledStatus": "HealthCheckFailed", "metadata": {"revision": NEW},
                "firstReconciled": at(first), "lastReconciled": at(40)},
            {"digest": "sha256:a", "lastReconciledStatus": "ReconciliationSucceeded", "metadata": {"revision": OLD},
                "firstReconciled": at(1), "lastReconciled": at(success)},
        ]);
        let status = json!({"lastAppliedRevision": OLD, "conditions": [condition], "history": history});
        judge(&kustomization(json!({"status": status})), Some(&source(json!({})))).not_applied.unwrap().since.unwrap()
    };
    assert_eq!(since("False", "HealthCheckFailed", 20, 10), at(20));
    assert_eq!(since("False", "HealthCheckFailed", 5, 10), at(10), "it worked between an older failure and this one");
    // The controls: another failure, and a try that is under way.
    assert_eq!(since("False", "ArtifactFailed", 20, 10), at(40));
    assert_eq!(since("Unknown", "Progressing", 20, 10), at(40));
}

#[test]
fn suspension_of_either_is_seen_although_ready_stays_true() {
    let suspend = || json!({"spec": {"suspend": true}});
    for (k, s) in [(suspend(), json!({})), (json!({}), suspend())] {
        let status = judge(&kustomization(k), Some(&source(s)));
        assert!(status.suspended);
        assert_eq!(status.not_applied, None, "the newest known revision is applied");
    }
}

#[test]
fn inventory_ids_are_read_as_flux_writes_them() {
    let ids = [
        "team-a_default-deny_networking.k8s.io_NetworkPolicy",
        "_team-a__Namespace",
        "_system__node_rbac.authorization.k8s.io_ClusterRole",
        "team-a_a_b_c_d__x", // a name with separators keeps them
        "nonsense",
        "",
        "___",
    ];
    let entries: Vec<_> = ids.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
    let status = judge(&kustomization(json!({"status": {"inventory": {"entries": entries}}})), None);
    let seen: Vec<_> = status
        .inventory
        .iter()
        .map(|o| (o.group.as_str(), o.kind.as_str(), o.namespace.as_deref(), o.name.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("networking.k8s.io", "NetworkPolicy", Some("team-a"), "default-deny"),
            ("", "Namespace", None, "team-a"),
            ("rbac.authorization.k8s.io", "ClusterRole", None, "system:node"),
            ("", "x", Some("team-a"), "a_b_c_d"),
        ]
    );
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let status = judge(&kustomization(failing("BuildFailed", &"ä".repeat(5000))), None);
    let message = status.not_applied.unwrap().message;
    assert_eq!(message.chars().count(), MESSAGE_LIMIT + 1);
}
