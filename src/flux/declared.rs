//! The policies, what stands beside them, and the namespaces among rendered objects.

use serde_json::{Map, Value};

use crate::model::{CALICO_API, KustomizationRef, Origins, PolicyDocument, PolicyRef, api_family};

/// The API's default for an object without a namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// Kinds that belong to no namespace: a namespace that kustomize gave them is ignored, as the API ignores it.
const CLUSTER_WIDE: [&str; 10] = [
    "GlobalNetworkSet",
    "Tier",
    "GlobalNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "ClusterNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "ClusterwideNetworkPolicy",
    "CiliumClusterWideNetworkPolicy",
];

/// What decides with Calico's policies.
const BESIDE_POLICIES: [&str; 3] = ["NetworkSet", "GlobalNetworkSet", "Tier"];

/// Whether objects of a kind decide about packets: every kind of policy, understood or not, and what Calico keeps
/// beside its own.
pub(super) fn decides(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    kind.ends_with("NetworkPolicy") || api_family(group) == CALICO_API && BESIDE_POLICIES.contains(&kind)
}

/// Makes the document of a rendered object that decides: namespace filled in, `spec.commonMetadata` of the Kustomization applied.
pub(super) fn document(
    mut object: Value,
    origins: Origins,
    spec: &Value,
    kustomization: &KustomizationRef,
) -> Option<PolicyDocument> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (kind, name, api_version) = (text("/kind")?, text("/metadata/name")?, text("/apiVersion")?);
    let tier = text("/spec/tier");
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
        id: PolicyRef::of_object(&api_version, &kind, namespace.as_deref(), &name, tier.as_deref()),
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
            ("NetworkSet", None, Some("default")),
            ("GlobalNetworkSet", Some("a"), None),
            ("Tier", Some("a"), None),
        ] {
            let object = json!({"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "p", "namespace": given}});
            let policy = made(object, &json!({})).unwrap();
            assert_eq!(policy.id.namespace.as_deref(), namespace, "{kind}");
            assert_eq!(policy.object["metadata"].get("namespace").and_then(Value::as_str), namespace);
        }
        assert!(made(json!({"kind": "NetworkPolicy", "metadata": {}}), &json!({})).is_none());
    }

    #[test]
    fn what_stands_beside_calicos_policies_decides_with_them() {
        for (version, kind, expected) in [
            ("networking.k8s.io/v1", "NetworkPolicy", true),
            ("cilium.io/v2", "CiliumClusterwideNetworkPolicy", true),
            ("projectcalico.org/v3", "StagedNetworkPolicy", true),
            ("projectcalico.org/v3", "NetworkSet", true),
            ("crd.projectcalico.org/v1", "GlobalNetworkSet", true),
            ("projectcalico.org/v3", "Tier", true),
            ("projectcalico.org/v3", "IPPool", false),
            ("shop.example.org/v1", "Tier", false),
            ("v1", "Namespace", false),
        ] {
            assert_eq!(decides(version, kind), expected, "{version} {kind}");
        }
    }

    #[test]
    fn calicos_policies_are_called_as_their_live_ones() {
        let object = |name: &str, tier: Option<&str>| {
            json!({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"tier": tier}})
        };
        for (name, tier, expected) in [
            ("web", None, "NetworkPolicy.projectcalico.org/shop/web"),
            ("default.web", Some("default"), "NetworkPolicy.projectcalico.org/shop/web"),
            ("platform.web", Some("platform"), "NetworkPolicy.projectcalico.org/shop/platform.web"),
        ] {
            let document = made(object(name, tier), &json!({})).unwrap();
            assert_eq!(document.id.to_string(), expected);
            assert_eq!(document.object["metadata"]["name"], name, "the text stays");
        }
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
