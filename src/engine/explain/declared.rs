//! The policies as they stand: entries are written for the NetworkPolicies among them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::{HashMap, HashMapExt};

use crate::{
    engine::{blame, read},
    model::{Direction, PolicyDocument, PolicyRef},
};

/// Policies by name, and NetworkPolicies by namespace.
pub(super) struct Declared<'d> {
    by_id: HashMap<&'d PolicyRef, &'d PolicyDocument>,
    by_namespace: HashMap<&'d str, Vec<&'d PolicyDocument>>,
    /// By direction and by the places of the policies that isolate.
    homes: Mutex<Homes<'d>>,
    ranks: Mutex<HashMap<(Direction, &'d PolicyRef), Arc<blame::Rank>>>,
}

type Homes<'d> = HashMap<(Direction, Vec<usize>), Arc<Home<'d>>>;

/// The policies that isolate, and the one of them that an entry goes into: many flows have the same.
pub(super) struct Home<'d> {
    pub(super) isolating: Vec<&'d PolicyDocument>,
    pub(super) best: Option<blame::Home<'d>>,
}

impl<'d> Declared<'d> {
    pub(super) fn new(documents: &'d [PolicyDocument]) -> Self {
        let (mut by_id, mut by_namespace) = (HashMap::new(), HashMap::<&str, Vec<_>>::new());
        for document in documents {
            by_id.entry(&document.id).or_insert(document);
            if read::is_kubernetes(document) {
                by_namespace.entry(document.id.namespace.as_deref().unwrap_or_default()).or_default().push(document);
            }
        }
        Self { by_id, by_namespace, homes: Mutex::default(), ranks: Mutex::default() }
    }

    pub(super) fn get(&self, id: &PolicyRef) -> Option<&'d PolicyDocument> {
        self.by_id.get(id).copied()
    }

    pub(super) fn of_namespace(&self, name: &str) -> &[&'d PolicyDocument] {
        self.by_namespace.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where an entry goes, by the places of the policies that isolate.
    pub(super) fn home(
        &self,
        side: Direction,
        applied: &[usize],
        isolating: impl FnOnce() -> Vec<&'d PolicyDocument>,
    ) -> Arc<Home<'d>> {
        let key = (side, applied.to_vec());
        if let Some(home) = locked(&self.homes).get(&key) {
            return Arc::clone(home);
        }
        // Looked for without the lock: others need not wait for it.
        let isolating = isolating();
        let best = blame::Home::among(&isolating, side, |document| self.rank(side, document));
        let home = Arc::new(Home { isolating, best });
        Arc::clone(locked(&self.homes).entry(key).or_insert(home))
    }

    fn rank(&self, side: Direction, document: &'d PolicyDocument) -> Arc<blame::Rank> {
        let key = (side, &document.id);
        if let Some(rank) = locked(&self.ranks).get(&key) {
            return Arc::clone(rank);
        }
        let rank = Arc::new(blame::Rank::of(document, side));
        Arc::clone(locked(&self.ranks).entry(key).or_insert(rank))
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        engine::{
            explain::Question,
            fixtures::{Cluster, calico},
            reach::Reach,
            read,
        },
        model::PolicyDocument,
    };

    /// The entries for `shop/web` to `shop/db`, as `file: entry`.
    fn entries(documents: &[PolicyDocument]) -> Vec<String> {
        let cluster = Cluster::new(&["shop"]).app("shop/web", 1).app("shop/db", 1);
        let world = cluster.world(read::documents(documents).unwrap().policies);
        let reach = Reach::new(&world);
        let answers =
            Question::new(&reach, &cluster.snapshot, documents).explain("shop/web", "shop/db", "5432").unwrap();
        assert!(answers.iter().all(|answer| !answer.is_allowed));
        answers.into_iter().flat_map(|answer| answer.entries).map(|entry| entry.entry).collect()
    }

    #[test]
    fn a_side_that_a_policy_of_calicos_alone_closes_has_an_entry_where_a_network_policy_opens_it() {
        let isolating = json!({"selector": "all()", "types": ["Ingress"]});
        let found = entries(&[calico("GlobalNetworkPolicy", "deny", isolating)]);
        assert!(matches!(found.as_slice(), [one] if one.contains("name: allow-ingress-db")), "{found:#?}");
        let denying = json!({"selector": "all()", "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
        assert_eq!(entries(&[calico("GlobalNetworkPolicy", "deny", denying)]), [""; 0], "no entry cures a rule");
        let tier = calico("Tier", "first", json!({"order": 1}));
        let before = json!({"tier": "first", "selector": "all()", "types": ["Ingress"]});
        let before = calico("GlobalNetworkPolicy", "first.deny", before);
        assert_eq!(entries(&[tier, before]), [""; 0], "no NetworkPolicy is asked before this tier denies");
    }
}
