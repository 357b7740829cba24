//! The policies and namespaces among rendered objects.

use serde_json::{Map, Value};

use crate::model::{KustomizationRef, Origins, PolicyDocument, PolicyRef};

/// The API's default for an object without a namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// Kinds of policy that belong to no namespace: a namespace that kustomize gave them is ignored, as the API ignores it.
const CLUSTER_WIDE: [&str; 8] = [
    "GlobalNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "ClusterNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "ClusterwideNetworkPolicy",
    "CiliumClusterWideNetworkPolicy",
];

/// Whether a kind is a policy: whatever ends so, understood or not, may decide about packets.
pub(super) fn is_policy(kind: &str) -> bool {
    kind.ends_with("NetworkPolicy")
}

/// Makes the document of a rendered policy: namespace filled in, `spec.commonMetadata` of the Kustomization applied.
pub(super) fn document(
    mut object: Value,
    origins: Origins,
    spec: &Value,
    kustomization: &KustomizationRef,
) -> Option<PolicyDocument> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (kind, name, api_version) = (text("/kind")?, text("/metadata/name")?, text("/apiVersion")?);
    let namespace = text("/metadata/namespace").filter(|namespace| !namespace.is_empty());
    let namespace = if CLUSTER_WIDE.contains(&kind.as_str()) {
        None
    } else {
        Some(namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()))
    };
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    match &namespace {
        Some(namespace) => metadata.insert("namespace".to_owned(), namespace.clone().into()),
        None => metadata.remove("namespace"),
    };
    for key in ["labels", "annotations"] {
        let common = spec.get("commonMetadata").and_then(|common| common.get(key)).and_then(Value::as_object);
        if let Some(common) = common.filter(|common| !common.is_empty()) {
            overlay(metadata, key, common);
        }
    }
    Some(PolicyDocument {
        id: PolicyRef { kind, namespace, name },
        api_version,
        object,
        origins,
        kustomization: Some(kustomization.clone()),
    })
}

fn overlay(metadata: &mut Map<String, Value>, key: &str, common: &Map<String, Value>) {
    let mut merged = match metadata.remove(key) {
        Some(Value::Object(own)) => own,
        _ => Map::new(),
    };
    merged.extend(common.clone());
    metadata.insert(key.to_owned(), Value::Object(merged));
}

/// The Namespaces that a rendering declares, sorted.
pub(super) fn namespaces(objects: &[Value]) -> Vec<String> {
    let is_namespace = |object: &&Value| {
        object.get("kind").and_then(Value::as_str) == Some("Namespace")
            && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
    };
    let name = |object: &Value| object.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    let mut names: Vec<String> = objects.iter().filter(is_namespace).filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(object: Value, spec: &Value) -> Option<PolicyDocument> {
        let id = KustomizationRef { namespace: "flux-system".to_owned(), name: "np".to_owned() };
        document(object, Origins::default(), spec, &id)
    }

    #[test]
    fn a_namespace_is_filled_in_for_namespaced_kinds_only() {
        for (kind, given, namespace) in [
            ("NetworkPolicy", Some("a"), Some("a")),
            ("NetworkPolicy", None, Some("default")),
            ("CiliumNetworkPolicy", None, Some("default")),
            ("GlobalNetworkPolicy", Some("a"), None),
            ("ClusterNetworkPolicy", None, None),
        ] {
            let object = json!({"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "p", "namespace": given}});
            let policy = made(object, &json!({})).unwrap();
            assert_eq!(policy.id.namespace.as_deref(), namespace, "{kind}");
            assert_eq!(policy.object["metadata"].get("namespace").and_then(Value::as_str), namespace);
        }
        assert!(made(json!({"kind": "NetworkPolicy", "metadata": {}}), &json!({})).is_none());
    }

    #[test]
    fn common_metadata_wins() {
        let spec = json!({"commonMetadata": {"labels": {"team": "net", "x": "new"}, "annotations": {"a": "b"}}});
        let object = json!({"apiVersion": "x/v1", "kind": "NetworkPolicy", "metadata": {"name": "p", "labels": {"x": "old", "y": "z"}}});
        let metadata = made(object, &spec).unwrap().object["metadata"].clone();
        assert_eq!(metadata["labels"], json!({"team": "net", "x": "new", "y": "z"}));
        assert_eq!(metadata["annotations"], json!({"a": "b"}));
    }

    #[test]
    fn namespaces_are_the_core_kind_alone() {
        let objects = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
            json!({"apiVersion": "other/v1", "kind": "Namespace", "metadata": {"name": "c"}}),
        ];
        assert_eq!(namespaces(&objects), ["a", "b"]);
    }
}
