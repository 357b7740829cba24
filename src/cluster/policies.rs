//! Policies as they are live: NetworkPolicies of `networking.k8s.io/v1`, and what any policy's metadata tells.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::NetworkPolicySpec,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::model::{CALICO_STORE, LivePolicy, Manager, NotUnderstood, ObjectRef, Origins, PolicyDocument, PolicyRef};

use super::owners::Owner;

/// The API version that is understood.
pub(super) const API_VERSION: &str = "networking.k8s.io/v1";
/// kubectl's copy of the whole object: it would only double every document.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Where Calico's store keeps what its API took as metadata.
const STORED_METADATA: &str = "projectcalico.org/metadata";

/// Reads a policy; `None` for one without a name, which the API server does not give.
///
/// The second part is set where its spec holds something that NetworkPolicy v1, as this program knows it, does not
/// have: a newer API server may serve a field that changes the meaning of a rule.
pub(super) fn read(object: DynamicObject) -> Option<(LivePolicy, Option<NotUnderstood>)> {
    let policy = live(object, API_VERSION, "NetworkPolicy")?;
    let spec = policy.document.object.get("spec").unwrap_or(&Value::Null);
    let not_understood = (!is_understood(spec)).then(|| NotUnderstood {
        kind: "networking.k8s.io/NetworkPolicy".to_owned(),
        policy: policy.document.id.clone(),
        namespace: policy.document.id.namespace.clone(),
        reason: None,
    });
    Some((policy, not_understood))
}

/// An object of any kind of policy; `None` for one without a name.
pub(super) fn live(object: DynamicObject, api_version: &str, kind: &str) -> Option<LivePolicy> {
    let metadata = as_written(object.metadata, api_version);
    let spec = object.data.get("spec").filter(|spec| !spec.is_null()).cloned().unwrap_or_else(|| json!({}));
    let tier = spec.get("tier").and_then(Value::as_str);
    let namespace = metadata.namespace.as_deref();
    let id = PolicyRef::of_object(api_version, kind, namespace, metadata.name.as_deref()?, tier);
    Some(LivePolicy {
        managers: managers(metadata.managed_fields.as_deref().unwrap_or_default()),
        owners: owners(&metadata),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        document: PolicyDocument {
            api_version: api_version.to_owned(),
            object: json!({ "metadata": described(metadata), "spec": spec }),
            origins: Origins::default(),
            kustomization: None,
            id,
        },
    })
}

/// Calico's API server stores the metadata that it was given as an annotation; the object's own is the server's.
fn as_written(mut stored: ObjectMeta, api_version: &str) -> ObjectMeta {
    let annotation = stored.annotations.as_ref().and_then(|annotations| annotations.get(STORED_METADATA));
    let written = annotation.and_then(|text| serde_json::from_str::<ObjectMeta>(text).ok());
    let Some(written) = written.filter(|_| api_version.starts_with(CALICO_STORE)) else { return stored };
    let mut labels = written.labels.unwrap_or_default();
    labels.extend(stored.labels.take().unwrap_or_default());
    ObjectMeta {
        labels: Some(labels),
        annotations: written.annotations,
        managed_fields: written.managed_fields,
        owner_references: written.owner_references,
        ..stored
    }
}

/// Whether the typed reading of a spec keeps all of it.
fn is_understood(spec: &Value) -> bool {
    let typed = serde_json::from_value::<NetworkPolicySpec>(spec.clone());
    typed.ok().and_then(|typed| serde_json::to_value(typed).ok()).is_some_and(|kept| kept == *spec)
}

/// The part of the metadata that somebody writes.
fn described(metadata: ObjectMeta) -> Map<String, Value> {
    let texts = |map: BTreeMap<String, String>| Value::Object(map.into_iter().map(|(k, v)| (k, v.into())).collect());
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    let labels = metadata.labels.unwrap_or_default();
    let parts = [
        ("name", metadata.name.map(Value::String)),
        ("namespace", metadata.namespace.map(Value::String)),
        ("labels", (!labels.is_empty()).then(|| texts(labels))),
        ("annotations", (!annotations.is_empty()).then(|| texts(annotations))),
    ];
    parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Who wrote the object, newest first; who only wrote a subresource did not.
fn managers(entries: &[ManagedFieldsEntry]) -> Vec<Manager> {
    let main = entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let mut managers: Vec<_> = main
        .map(|entry| {
            let manager = Manager {
                name: entry.manager.clone().unwrap_or_default(),
                time: entry.time.as_ref().map(|time| time.0.to_string()),
                fields: entry.fields_v1.as_ref().map(|fields| spec_fields(&fields.0)).unwrap_or_default(),
            };
            (std::cmp::Reverse(entry.time.as_ref().map(|time| time.0)), manager)
        })
        .collect();
    managers.sort();
    managers.into_iter().map(|(_, manager)| manager).collect()
}

/// The first level below `spec`, as JSON pointers.
///
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>: a key `f:NAME` stands for a
/// field.
fn spec_fields(fields: &Value) -> Vec<String> {
    let spec = fields.get("f:spec").and_then(Value::as_object);
    let names = spec.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("f:"));
    names.map(|name| format!("/spec/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

fn owners(metadata: &ObjectMeta) -> Vec<ObjectRef> {
    let owners = metadata.owner_references.iter().flatten().map(Owner::from);
    owners
        .map(|owner| ObjectRef {
            group: owner.group,
            kind: owner.kind,
            // An owner is of the same namespace or cluster-wide; a reference does not say which.
            namespace: metadata.namespace.clone(),
            name: owner.name,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: &Value) -> (LivePolicy, Option<NotUnderstood>) {
        let object = json!({
            "apiVersion": API_VERSION, "kind": "NetworkPolicy",
            "metadata": {"namespace": "shop", "name": "web", "uid": "u1", "resourceVersion": "7",
                "creationTimestamp": "2026-11-20T09:00:00Z", "labels": {"a": "b"},
                "annotations": {LAST_APPLIED: "{}", "kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
                "managedFields": [
                    {"manager": "kustomize-controller", "operation": "Apply", "time": "2026-11-20T09:00:00Z",
                     "fieldsV1": {"f:spec": {".": {}, "f:ingress": {}, "f:podSelector": {}}}},
                    {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-20T09:12:00Z",
                     "fieldsV1": {"f:metadata": {}, "f:spec": {"f:egress": {}, "f:a/b~c": {}}}},
                    {"manager": "status-writer", "operation": "Update", "time": "2026-11-20T09:13:00Z",
                     "subresource": "status", "fieldsV1": {"f:status": {}}}]},
            "spec": spec
        });
        read(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn the_document_holds_what_somebody_wrote_and_the_managers_who_did() {
        let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}, {"port": 80, "endPort": 90, "protocol": "TCP"}]}]});
        let (policy, not_understood) = policy(&spec);
        assert_eq!(not_understood, None);
        assert_eq!(
            policy.document.object,
            json!({"metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"},
            "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}, "spec": spec})
        );
        assert_eq!((policy.resource_version.as_str(), policy.created.as_deref()), ("7", Some("2026-11-20T09:00:00Z")));
        let managers: Vec<_> =
            policy.managers.iter().map(|m| (m.name.as_str(), m.time.as_deref(), m.fields.clone())).collect();
        assert_eq!(
            managers,
            [
                (
                    "kubectl-edit",
                    Some("2026-11-20T09:12:00Z"),
                    vec!["/spec/a~1b~0c".to_owned(), "/spec/egress".to_owned()]
                ),
                (
                    "kustomize-controller",
                    Some("2026-11-20T09:00:00Z"),
                    vec!["/spec/ingress".to_owned(), "/spec/podSelector".to_owned()]
                ),
            ]
        );
    }

    #[test]
    fn what_calico_stores_was_written_by_those_who_asked_its_api() {
        let written = json!({"labels": {"role": "db"}, "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"},
            "managedFields": [{"manager": "kustomize-controller", "operation": "Apply", "fieldsType": "FieldsV1",
            "time": "2026-11-27T11:43:25Z", "fieldsV1": {"f:spec": {"f:nets": {}}}}]});
        let object = json!({"metadata": {"namespace": "shop", "name": "db", "resourceVersion": "7",
            "annotations": {STORED_METADATA: written.to_string()},
            "managedFields": [{"manager": "Go-http-client", "operation": "Update", "fieldsV1": {"f:spec": {"f:nets": {}}}}]},
            "spec": {"nets": ["10.9.0.0/16"]}});
        let read = |version: &str| {
            let live = live(serde_json::from_value(object.clone()).unwrap(), version, "NetworkSet").unwrap();
            (live.managers[0].name.clone(), live.document.object["metadata"].clone(), live.resource_version)
        };
        let (manager, metadata, version) = read("crd.projectcalico.org/v1");
        assert_eq!((manager.as_str(), version.as_str()), ("kustomize-controller", "7"));
        assert_eq!(
            metadata,
            json!({"namespace": "shop", "name": "db", "labels": {"role": "db"},
                "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Ignore"}})
        );
        assert_eq!(read("projectcalico.org/v3").0, "Go-http-client", "the control: in the API it is an annotation");
    }

    #[test]
    fn a_spec_with_something_unknown_is_not_understood() {
        for spec in [
            json!({"podSelector": {}, "ingress": [{"from": [{"serviceAccountSelector": {}}]}]}),
            json!({"podSelector": {}, "ingress": [{"action": "Deny"}]}),
            json!({"podSelector": {}, "ingress": "all"}),
        ] {
            let (_, not_understood) = policy(&spec);
            assert_eq!(not_understood.map(|n| n.namespace), Some(Some("shop".to_owned())), "{spec}");
        }
        // The control: every shape that v1 has.
        let known = json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}], "matchLabels": {}},
            "policyTypes": ["Egress"], "egress": [{}, {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": ""}}}], "ports": [{"protocol": "SCTP"}]}], "ingress": []});
        assert_eq!(policy(&known).1, None);
    }
}
