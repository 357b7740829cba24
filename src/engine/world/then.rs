//! A world under the labels of an earlier moment, and what holds of it whatever pods come.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Class, World,
    group::{is_of_account, selectors},
};
use crate::{
    engine::surroundings::matches_pods_of,
    model::{Action, ClassRecord, Direction, Labels, Policy, Subject},
};

/// The labels of an earlier moment.
#[derive(Debug, Clone, Copy)]
pub struct Then<'a> {
    /// Those of namespaces.
    pub namespaces: &'a BTreeMap<String, Labels>,
    /// Those of workloads, with their ports.
    pub classes: &'a [ClassRecord],
    /// Those of ServiceAccounts (`namespace/name`), as far as they are known.
    pub accounts: &'a BTreeMap<String, Labels>,
}

impl World {
    /// The same classes under the labels of an earlier moment; what is new since then keeps its labels.
    #[must_use]
    pub fn with_labels_of(&self, then: &Then<'_>) -> Self {
        let mut world = self.clone();
        for (name, labels) in &mut world.namespaces {
            if let Some(old) = then.namespaces.get(name) {
                labels.clone_from(old);
            }
        }
        for ((namespace, name), labels) in &mut world.surroundings.accounts {
            if let Some(old) = then.accounts.get(&format!("{namespace}/{name}")) {
                labels.clone_from(old);
            }
        }
        world.classes = self.classes.iter().map(|class| earlier(class, then.classes)).collect();
        world
    }

    /// Whether a policy looks at ServiceAccounts.
    #[must_use]
    pub fn looks_at_accounts(&self) -> bool {
        let mut keys = BTreeSet::new();
        selectors(&self.policies.iter().collect::<Vec<_>>()).for_each(|selector| selector.keys(&mut keys));
        keys.iter().any(|key| is_of_account(key))
    }

    /// Whether some policy isolates every pod of a namespace in a direction, whatever its labels, and denies at its end.
    #[must_use]
    pub fn isolates_all(&self, namespace: &str, direction: Direction) -> bool {
        let isolates = |policy: &Policy| {
            let Subject { namespaces, pods, calico } = &policy.subject;
            let is_named = namespaces.matches(namespace, &self.namespace_labels(namespace));
            let labels = self.namespaces.get(namespace);
            let by_calico = |selector| matches_pods_of(selector, namespace, labels) == Some(true);
            policy.tier.default_action == Action::Deny
                && policy.rules(direction).is_some()
                && is_named
                && pods.is_everything()
                && calico.as_ref().is_none_or(by_calico)
        };
        self.policies.iter().any(isolates)
    }
}

/// `class` with the labels and ports that its workload had in `records`.
fn earlier(class: &Class, records: &[ClassRecord]) -> Class {
    let mut of_workload = records.iter().filter(|r| r.workload == class.workload);
    let Some(first) = of_workload.next() else { return class.clone() };
    // Several classes then: the one with the same labels now, if it is still there, is the same class.
    let then = std::iter::once(first).chain(of_workload).find(|r| r.labels == class.labels).unwrap_or(first);
    let service_account = then.service_account.clone().unwrap_or_else(|| class.service_account.clone());
    Class { labels: then.labels.clone(), ports: then.ports.clone(), service_account, ..class.clone() }
}
