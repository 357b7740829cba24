//! Classes by their namespace: selectors of namespaces are asked once for each, not once for each pod.

use std::collections::BTreeMap;

use super::World;
use crate::model::NamespaceMatch;

/// The classes of a world by namespace.
pub(in crate::engine) struct ByNamespace<'w> {
    world: &'w World,
    classes: BTreeMap<&'w str, Vec<usize>>,
}

impl<'w> ByNamespace<'w> {
    /// Of all classes.
    pub(in crate::engine) fn new(world: &'w World) -> Self {
        let mut classes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, class) in world.classes.iter().enumerate() {
            classes.entry(&class.workload.namespace).or_default().push(index);
        }
        Self { world, classes }
    }

    /// The classes in `namespaces`; in order within each of them.
    pub(in crate::engine) fn classes(&self, namespaces: &NamespaceMatch) -> Vec<usize> {
        if let NamespaceMatch::Named(name) = namespaces {
            return self.classes.get(name.as_str()).cloned().unwrap_or_default();
        }
        let matches = |name: &str| match self.world.namespaces.get(name) {
            Some(labels) => namespaces.matches(name, labels),
            None => namespaces.matches(name, &self.world.namespace_labels(name)),
        };
        self.classes.iter().filter(|(name, _)| matches(name)).flat_map(|(_, classes)| classes).copied().collect()
    }
}
