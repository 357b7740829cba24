//! Policies among the documents of a set.

use ipnet::IpNet;

use super::{Fault, Source, cursor::Cursor, schema};
use crate::{
    engine::read,
    flux::{
        manifests::{Document, ManifestError, Place},
        origins,
    },
    model::{Origins, Policy, PolicyDocument, PolicyRef},
};

/// Whether a kind decides about packets. Staged policies of Calico are read by people and never enforced.
pub(super) fn is_policy(kind: &str) -> bool {
    kind.ends_with("NetworkPolicy") && !kind.starts_with("Staged")
}

/// What the document calls itself.
fn reference(document: &Document) -> PolicyRef {
    let namespace = document.namespace().unwrap_or("default").to_owned();
    PolicyRef { kind: document.kind().to_owned(), namespace: Some(namespace), name: document.name().to_owned() }
}

/// Reads a policy with the places of its fields.
pub(super) fn read(
    (source, document, rendered): (&Source, &Document, Option<&Origins>),
    version: &str,
    lenient: bool,
    warnings: &mut Vec<ManifestError>,
) -> Result<(PolicyDocument, Policy), Vec<Fault>> {
    let cursor = Cursor { file: &source.shown, node: &document.root, name: "" };
    let id = reference(document);
    if id.name.is_empty() {
        return Err(vec![cursor.fault(format!("a {} without `metadata.name`", id.kind)).into()]);
    }
    let object = document.root.to_value();
    let policy = PolicyDocument {
        origins: rendered.cloned().unwrap_or_else(|| origins(&source.name, document, &object)),
        id,
        api_version: version.to_owned(),
        object,
        kustomization: None,
    };
    if !read::is_kubernetes(&policy) {
        let Place { line, column } = document.root.place;
        let place = format!("{}:{line}:{column}", source.shown);
        return Err(vec![Fault::NotUnderstood { place, version: version.to_owned(), policy: policy.id.to_string() }]);
    }
    check(cursor, lenient, warnings)?;
    match read::policy(&policy) {
        Ok(read) => Ok((policy, read)),
        Err(unreadable) => {
            // The origin of a rendering is in another file than its text.
            let own = unreadable.origin.as_ref().filter(|_| rendered.is_none());
            let own = own.and_then(|origin| Some(Place { line: origin.line?, column: origin.column? }));
            let message = format!("{}: {}", unreadable.policy, unreadable.message);
            let place = Some(own.unwrap_or(document.root.place));
            Err(vec![ManifestError { file: source.shown.clone(), place, message }.into()])
        }
    }
}

/// What the API would refuse, or not know.
fn check(cursor: Cursor<'_>, lenient: bool, warnings: &mut Vec<ManifestError>) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    schema::check(cursor, lenient, &mut faults, warnings);
    blocks(cursor, &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(faults.into_iter().map(Fault::from).collect()) }
}

/// "Except values will be rejected if they are outside the cidr range" (IPBlock.except).
fn blocks(policy: Cursor<'_>, faults: &mut Vec<ManifestError>) {
    for (direction, field) in [("ingress", "from"), ("egress", "to")] {
        let rules = policy.get("spec").ok().flatten().and_then(|spec| spec.items(direction).ok());
        let peers = rules.into_iter().flatten().filter_map(|rule| rule.items(field).ok()).flatten();
        for block in peers.filter_map(|peer| peer.get("ipBlock").ok().flatten()) {
            faults.extend(outside(block));
        }
    }
}

fn outside(block: Cursor<'_>) -> Vec<ManifestError> {
    // What is no address at all is a fault of its own.
    let Some(cidr) = block.get("cidr").ok().flatten().and_then(|c| c.text().ok()?.parse::<IpNet>().ok()) else {
        return Vec::new();
    };
    let items = block.items("except").unwrap_or_default().into_iter();
    let is_inside = |net: IpNet| cidr.contains(&net) && net.prefix_len() > cidr.prefix_len();
    let wrong = items.filter_map(|item| {
        let net = item.text().ok()?.parse::<IpNet>().ok()?;
        (!is_inside(net)).then(|| item.fault(format!("`except` {net} is not inside {cidr}")))
    });
    wrong.collect()
}
