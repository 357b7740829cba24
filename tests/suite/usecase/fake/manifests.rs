//! Policies from YAML text, with the place of each field, and as the API server would keep them.

use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use netpol_verify::{
    flux::manifests::{Document, parse},
    model::{KustomizationRef, Origin, Origins, PolicyDocument, PolicyRef},
};
use serde_json::{Value, json};

/// The documents of files (name, text).
pub fn documents(files: &[(&str, &str)], kustomization: Option<&KustomizationRef>) -> Vec<PolicyDocument> {
    let mut documents = Vec::new();
    for (file, text) in files {
        for document in parse(file, text).unwrap() {
            documents.push(policy(file, &document, kustomization));
        }
    }
    documents
}

fn policy(file: &str, document: &Document, kustomization: Option<&KustomizationRef>) -> PolicyDocument {
    let object = document.root.to_value();
    let mut origins = Origins { document: Some(origin(file, document, "")), ..Origins::default() };
    visit(file, document, "/spec", &object["spec"], &mut origins);
    PolicyDocument {
        id: PolicyRef::of_object(
            object["apiVersion"].as_str().unwrap(),
            document.kind(),
            document.namespace(),
            document.name(),
            object["spec"]["tier"].as_str(),
        ),
        api_version: object["apiVersion"].as_str().unwrap().to_owned(),
        object,
        origins,
        kustomization: kustomization.cloned(),
    }
}

fn visit(file: &str, document: &Document, pointer: &str, value: &Value, origins: &mut Origins) {
    origins.fields.insert(pointer.to_owned(), origin(file, document, pointer));
    let at = document.root.value_at(pointer).unwrap();
    origins.values.insert(pointer.to_owned(), (at.line, at.column));
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.replace('/', "~1"), v)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        visit(file, document, &format!("{pointer}/{key}"), child, origins);
    }
}

fn origin(file: &str, document: &Document, pointer: &str) -> Origin {
    let place = if pointer.is_empty() { document.root.place } else { document.root.place_of(pointer).unwrap() };
    Origin::at(file, place.line, place.column)
}

/// The document as the API server keeps it: defaults filled in, no places.
pub fn live(document: &PolicyDocument) -> PolicyDocument {
    let mut object = document.object.clone();
    if document.id.kind == "NetworkPolicy" {
        let mut spec: NetworkPolicySpec = serde_json::from_value(object["spec"].clone()).unwrap();
        let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        spec.policy_types.get_or_insert_with(|| {
            let types: &[&str] = if egress { &["Ingress", "Egress"] } else { &["Ingress"] };
            types.iter().map(|t| (*t).to_owned()).collect()
        });
        let ports = spec.ingress.iter_mut().flatten().filter_map(|r| r.ports.as_mut());
        let ports = ports.chain(spec.egress.iter_mut().flatten().filter_map(|r| r.ports.as_mut()));
        for port in ports.flatten() {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
        object["spec"] = serde_json::to_value(spec).unwrap();
    }
    if let Some(id) = &document.kustomization {
        let labels = json!({
            "kustomize.toolkit.fluxcd.io/name": id.name, "kustomize.toolkit.fluxcd.io/namespace": id.namespace,
        });
        let own = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        object["metadata"]["labels"] = labels;
        object["metadata"]["labels"].as_object_mut().unwrap().extend(own);
    }
    PolicyDocument { object, origins: Origins::default(), kustomization: None, ..document.clone() }
}
