//! The same for the network policy API's kinds.

use serde_json::Value;

use crate::model::PolicyDocument;

/// Ports whose protocol the API server fills in (`default: TCP` in the schemas of `v1alpha1`).
const PORTS: [&str; 2] = ["portNumber", "portRange"];

/// Whether a document is of the network policy API.
pub(super) fn is_admin(document: &PolicyDocument) -> bool {
    document.api_version.starts_with("policy.networking.k8s.io/")
}

/// The spec as the API server completes it. Rules are in order, and so are their lists here: that errs on the loud side.
pub(super) fn defaulted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(defaulted).collect(),
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            let completed = there.map(|(key, value)| {
                let mut value = defaulted(value);
                if let Some(port) = value.as_object_mut().filter(|_| PORTS.contains(&key.as_str())) {
                    port.entry("protocol").or_insert_with(|| "TCP".into());
                }
                (key.clone(), value)
            });
            Value::Object(completed.collect())
        }
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        engine::normal::{Equality, spec_equal},
        model::{Origins, PolicyRef},
    };

    #[test]
    fn the_protocol_that_the_api_fills_in_is_no_difference() {
        let admin = |port: Value| PolicyDocument {
            id: PolicyRef { kind: "AdminNetworkPolicy".to_owned(), namespace: None, name: "a".to_owned() },
            api_version: "policy.networking.k8s.io/v1alpha1".to_owned(),
            object: json!({"spec": {"priority": 1, "ingress": [{"action": "Allow", "ports": [port]}]}}),
            origins: Origins::default(),
            kustomization: None,
        };
        let number = |port: Value| admin(json!({"portNumber": port}));
        let git = number(json!({"port": 80, "protocol": null}));
        for (live, expected) in [
            (number(json!({"port": 80, "protocol": "TCP"})), Equality::Same),
            (number(json!({"port": 80, "protocol": "UDP"})), Equality::Different),
            (number(json!({"port": 81, "protocol": "TCP"})), Equality::Different),
            (admin(json!({"namedPort": "http"})), Equality::Different),
        ] {
            assert_eq!(spec_equal(&git, &live), expected, "{}", live.object);
        }
        let range = |range: Value| admin(json!({"portRange": range}));
        let (git, live) =
            (range(json!({"start": 1, "end": 2})), range(json!({"start": 1, "end": 2, "protocol": "TCP"})));
        assert_eq!(spec_equal(&git, &live), Equality::Same);
    }
}
