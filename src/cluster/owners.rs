//! Which workload a pod belongs to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::model::Workload;

/// Owners above a ReplicaSet or Job are one level; more than this is a ring or malice.
const LEVELS: usize = 8;

/// An owner reference, as far as it names a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The UID: names come back, UIDs do not.
    pub uid: String,
}

impl Owner {
    /// The controller among an object's owners, else the first one.
    pub(super) fn of(meta: &ObjectMeta) -> Option<Self> {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true)).or_else(|| owners.first())?;
        Some(Self::from(owner))
    }

    /// Whether it is a kind that may have an owner of its own that names the workload.
    pub(super) fn is_intermediate(&self) -> bool {
        matches!((self.group.as_str(), self.kind.as_str()), ("apps", "ReplicaSet") | ("batch", "Job"))
    }

    /// Whether it is the node that runs a static pod.
    fn is_node(&self) -> bool {
        self.group.is_empty() && self.kind == "Node"
    }
}

impl From<&OwnerReference> for Owner {
    fn from(owner: &OwnerReference) -> Self {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        Self { group: group.to_owned(), kind: owner.kind.clone(), name: owner.name.clone(), uid: owner.uid.clone() }
    }
}

/// ReplicaSets and Jobs by namespace and UID, each with its own owner.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(BTreeMap<(String, String), Option<Owner>>);

impl Owners {
    /// Notes a ReplicaSet or Job.
    pub(super) fn add(&mut self, meta: &ObjectMeta) {
        let (Some(namespace), Some(uid)) = (&meta.namespace, &meta.uid) else { return };
        self.0.insert((namespace.clone(), uid.clone()), Owner::of(meta));
    }

    /// Adds what `other` knows.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether the owner of this object is here.
    pub(super) fn knows(&self, namespace: &str, owner: &Owner) -> bool {
        self.0.contains_key(&(namespace.to_owned(), owner.uid.clone()))
    }

    /// The top-most known owner of a pod; the pod itself where it has none, or a node (static pods).
    ///
    /// An owner that is not known still names the workload. A ring of owners leaves the pod with the owner that it
    /// names itself.
    pub(super) fn workload(&self, namespace: &str, pod: &str, owner: Option<&Owner>) -> Workload {
        let named = |kind: &str, name: &str| Workload {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let Some(first) = owner.filter(|owner| !owner.is_node()) else { return named("Pod", pod) };
        let mut top = first;
        for _ in 0..LEVELS {
            match self.0.get(&(namespace.to_owned(), top.uid.clone())) {
                Some(Some(next)) if !next.is_node() => top = next,
                _ => return named(&top.kind, &top.name),
            }
        }
        named(&first.kind, &first.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(api: &str, kind: &str, name: &str, controller: bool) -> OwnerReference {
        OwnerReference {
            api_version: api.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            controller: controller.then_some(true),
            ..OwnerReference::default()
        }
    }

    fn object(namespace: &str, name: &str, owners: Vec<OwnerReference>) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(format!("uid-{name}")),
            owner_references: Some(owners),
            ..ObjectMeta::default()
        }
    }

    /// The workload of a pod `p` in `shop` with these owners, as `Kind/name`.
    fn workload(known: &[ObjectMeta], owners: Vec<OwnerReference>) -> String {
        let mut all = Owners::default();
        for meta in known {
            all.add(meta);
        }
        let workload = all.workload("shop", "p", Owner::of(&object("shop", "p", owners)).as_ref());
        assert_eq!(workload.namespace, "shop");
        format!("{}/{}", workload.kind, workload.name)
    }

    #[test]
    fn a_pod_belongs_to_its_topmost_known_owner() {
        let rs = object("shop", "cart-7d9", vec![reference("apps/v1", "Deployment", "cart", true)]);
        let job = object("shop", "backup-1", vec![reference("batch/v1", "CronJob", "backup", true)]);
        let known = [rs, job, object("shop", "alone", vec![])];
        for (owners, expected) in [
            (vec![reference("apps/v1", "ReplicaSet", "cart-7d9", true)], "Deployment/cart"),
            (vec![reference("batch/v1", "Job", "backup-1", true)], "CronJob/backup"),
            (vec![reference("apps/v1", "StatefulSet", "db", true)], "StatefulSet/db"),
            (vec![reference("apps/v1", "ReplicaSet", "alone", true)], "ReplicaSet/alone"),
            // Not among the objects: it still names the workload.
            (vec![reference("apps/v1", "ReplicaSet", "gone", true)], "ReplicaSet/gone"),
            (vec![reference("argoproj.io/v1", "Rollout", "web", true)], "Rollout/web"),
            (vec![reference("v1", "Node", "node-1", true)], "Pod/p"),
            (vec![], "Pod/p"),
            // The controller counts, wherever it stands.
            (vec![reference("x/v1", "Claim", "c", false), reference("apps/v1", "DaemonSet", "d", true)], "DaemonSet/d"),
        ] {
            assert_eq!(workload(&known, owners.clone()), expected, "{owners:?}");
        }
    }

    #[test]
    fn an_owner_of_another_namespace_is_not_followed() {
        let foreign = object("bank", "cart-7d9", vec![reference("apps/v1", "Deployment", "vault", true)]);
        let owner = vec![reference("apps/v1", "ReplicaSet", "cart-7d9", true)];
        assert_eq!(workload(&[foreign], owner), "ReplicaSet/cart-7d9");
    }

    #[test]
    fn a_ring_of_owners_ends() {
        let a = object("shop", "a", vec![reference("apps/v1", "ReplicaSet", "b", true)]);
        let b = object("shop", "b", vec![reference("apps/v1", "ReplicaSet", "a", true)]);
        assert_eq!(workload(&[a, b], vec![reference("apps/v1", "ReplicaSet", "a", true)]), "ReplicaSet/a");
    }
}
