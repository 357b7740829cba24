//! Which workload a pod belongs to, by the names of owners: files seldom have UIDs, and never two objects of one name.

use std::collections::BTreeMap;

use super::{cursor::Cursor, pods::Template};
use crate::{
    flux::manifests::ManifestError,
    model::{Workload, WorkloadInfo},
};

/// Owners above owners; more than this is a ring or malice.
const LEVELS: usize = 8;

/// An owner's kind and name.
pub(super) type Owner = (String, String);

/// The controller among an object's owners, else the first one; a Node owns nothing (static pods).
pub(super) fn owner(object: Cursor<'_>) -> Result<Option<Owner>, ManifestError> {
    let Some(metadata) = object.get("metadata")? else { return Ok(None) };
    let mut first = None;
    for reference in metadata.items("ownerReferences")? {
        let named = reference.text_at(&["kind"])?.zip(reference.text_at(&["name"])?);
        let Some((kind, name)) = named.filter(|(kind, _)| *kind != "Node") else { continue };
        let owner = (kind.to_owned(), name.to_owned());
        if reference.is_true(&["controller"])? {
            return Ok(Some(owner));
        }
        first.get_or_insert(owner);
    }
    Ok(first)
}

/// The owners of the objects that may own pods.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<Workload, Option<Owner>>);

impl Owners {
    /// Notes an object and its owner.
    pub(super) fn add(&mut self, object: Workload, owner: Option<Owner>) {
        self.0.insert(object, owner);
    }

    /// The top-most known owner. An owner that is not among the objects still names the workload; a ring of owners
    /// leaves the object with the owner that it names itself.
    pub(super) fn top(&self, object: &Workload, owner: Option<&Owner>) -> Workload {
        let of = |(kind, name): &Owner| Workload {
            kind: kind.clone(),
            namespace: object.namespace.clone(),
            name: name.clone(),
        };
        let Some(first) = owner.map(of) else { return object.clone() };
        let mut top = first.clone();
        for _ in 0..LEVELS {
            match self.0.get(&top) {
                Some(Some(next)) => top = of(next),
                _ => return top,
            }
        }
        first
    }
}

/// The templates by their top-most owners: the owner's own where it has one, else that of an object which wants pods.
pub(super) fn workloads(templates: Vec<Template>, owners: &Owners) -> Vec<WorkloadInfo> {
    let mut best: BTreeMap<Workload, ((bool, bool), Template)> = BTreeMap::new();
    for template in templates {
        let top = owners.top(&template.object, template.owner.as_ref());
        let rank = (top == template.object, !template.idle);
        // Of two equals the first by name, so that the order of the files decides nothing.
        let is_better = |(known, other): &((bool, bool), Template)| {
            rank > *known || rank == *known && template.object < other.object
        };
        if best.get(&top).is_none_or(is_better) {
            best.insert(top, (rank, template));
        }
    }
    let info = |(id, (_, template)): (Workload, (_, Template))| WorkloadInfo {
        id,
        replicas: None,
        labels: template.labels,
        ports: template.ports,
        host_network: template.host_network,
        service_account: template.service_account,
    };
    best.into_iter().map(info).collect()
}
