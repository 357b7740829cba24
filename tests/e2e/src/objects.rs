//! Any Kubernetes object by its YAML: parse, apply, read, delete.

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind, TypeMeta},
};
use serde_json::Value;

use crate::{eventually, poll::seconds};

/// Kinds without a namespace that fixtures and manifests use.
const CLUSTER_WIDE: &[&str] = &[
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "GlobalNetworkPolicy",
    "GlobalNetworkSet",
    "ClusterInformation",
    "Tier",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "ClusterNetworkPolicy",
];

/// Whether objects of this kind have no namespace.
#[must_use]
pub fn is_cluster_wide(kind: &str) -> bool {
    CLUSTER_WIDE.contains(&kind)
}

/// The objects of a YAML stream; empty documents are left out.
///
/// # Errors
/// It is not YAML.
pub fn parse(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("fixture or manifest is not YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The text at a JSON pointer, or "".
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Puts a value at a key of the object, or over an element of the list, that stands at a JSON pointer.
///
/// # Errors
/// Neither stands there, or the list is shorter.
pub fn put(value: &mut Value, at: &str, key: &str, new: Value) -> Result<()> {
    match value.pointer_mut(at).with_context(|| format!("nothing stands at {at}"))? {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), new)),
        list => *list.pointer_mut(&format!("/{key}")).with_context(|| format!("{at} has no {key}"))? = new,
    }
    Ok(())
}

/// The API of one kind; `namespace` is ignored for kinds that have none.
#[must_use]
pub fn api(client: &Client, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if group == "projectcalico.org" && kind.ends_with('y') {
        resource.plural = format!("{}ies", kind.to_lowercase().trim_end_matches('y'));
    }
    if is_cluster_wide(kind) {
        return Api::all_with(client.clone(), &resource);
    }
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    api(client, text(object, "/apiVersion"), text(object, "/kind"), text(object, "/metadata/namespace"))
}

fn title(object: &Value) -> String {
    let namespace = text(object, "/metadata/namespace");
    format!("{} {namespace}/{}", text(object, "/kind"), text(object, "/metadata/name"))
}

/// Applies an object on the server's side; a namespace of that name that is on its way out is waited for: it would take
/// what is put into it along.
///
/// # Errors
/// The API server refused it, or the namespace does not go within a minute.
pub async fn apply(client: &Client, object: &Value) -> Result<()> {
    if text(object, "/kind") == "Namespace" {
        eventually(&format!("{} of before is gone", title(object)), seconds(60), async || {
            let before = get(client, object).await?;
            let is_going = |before: &Value| before.pointer("/metadata/deletionTimestamp").is_some();
            Ok((!before.as_ref().is_some_and(is_going)).then_some(()))
        })
        .await?;
    }
    let parameters = PatchParams::apply("e2e").force();
    api_of(client, object)
        .patch(text(object, "/metadata/name"), &parameters, &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot apply {}", title(object)))
        .map(drop)
}

/// Creates an object that is not there.
///
/// # Errors
/// It is there, or the API server refused it.
pub async fn create(client: &Client, object: &Value) -> Result<()> {
    let read: DynamicObject = serde_json::from_value(object.clone())?;
    let created = api_of(client, object).create(&PostParams::default(), &read).await;
    created.with_context(|| format!("cannot create {}: {object}", title(object))).map(drop)
}

/// Applies objects one after the other, in their order.
///
/// # Errors
/// The API server refused one.
pub async fn apply_all(client: &Client, objects: &[Value]) -> Result<()> {
    for object in objects {
        apply(client, object).await?;
    }
    Ok(())
}

/// Changes an object by a JSON merge patch.
///
/// # Errors
/// It is not there, or the API server refused it.
pub async fn merge_patch(client: &Client, object: &Value) -> Result<()> {
    api_of(client, object)
        .patch(text(object, "/metadata/name"), &PatchParams::default(), &Patch::Merge(object))
        .await
        .with_context(|| format!("cannot change {}", title(object)))
        .map(drop)
}

/// Deletes an object at once, without a grace period; one that is not there is fine.
///
/// # Errors
/// The API server refused it.
pub async fn delete(client: &Client, object: &Value) -> Result<()> {
    let parameters = DeleteParams::background().grace_period(0);
    match api_of(client, object).delete(text(object, "/metadata/name"), &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete {}", title(object))),
    }
}

/// An object as it is now; `None` if it is not there.
///
/// # Errors
/// The API server did not answer.
pub async fn get(client: &Client, object: &Value) -> Result<Option<Value>> {
    let found = api_of(client, object).get_opt(text(object, "/metadata/name")).await?;
    found.map(|object| serde_json::to_value(object).map_err(Into::into)).transpose()
}

/// All objects of a kind in a namespace that a label selector picks ("" picks all).
///
/// # Errors
/// The API server did not answer.
pub async fn list(client: &Client, kind: &Kind<'_>, namespace: &str, labels: &str) -> Result<Vec<Value>> {
    let found = api(client, kind.0, kind.1, namespace).list(&ListParams::default().labels(labels)).await?;
    let with_type = |mut object: DynamicObject| {
        object.types = Some(TypeMeta { api_version: kind.0.to_owned(), kind: kind.1.to_owned() });
        serde_json::to_value(object).map_err(Into::into)
    };
    found.items.into_iter().map(with_type).collect()
}

/// A kind: its `apiVersion` and name.
pub struct Kind<'a>(pub &'a str, pub &'a str);

/// Pods.
pub const POD: Kind<'static> = Kind("v1", "Pod");
/// Deployments.
pub const DEPLOYMENT: Kind<'static> = Kind("apps/v1", "Deployment");
/// Network policies.
pub const NETWORK_POLICY: Kind<'static> = Kind("networking.k8s.io/v1", "NetworkPolicy");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_put_at_a_key_or_over_an_element_and_nowhere_else() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let with = |at: &str, key: &str| {
            let mut changed = pod.clone();
            put(&mut changed, at, key, json!("x")).map(|()| changed)
        };
        assert_eq!(with("", "kind").unwrap(), json!({"kind": "x", "spec": pod["spec"]}));
        let second = with("/spec/containers/1", "name").unwrap();
        assert_eq!(second["spec"]["containers"], json!([{"name": "a"}, {"name": "x"}]));
        assert_eq!(with("/spec/containers", "0").unwrap()["spec"]["containers"], json!(["x", {"name": "b"}]));
        for (at, key) in [("/spec/volumes", "0"), ("/spec/containers", "2"), ("/spec/containers/0/name", "x")] {
            assert!(with(at, key).unwrap_err().to_string().contains(at), "{at} {key}");
        }
    }
}
