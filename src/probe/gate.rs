//! How many execs run at a time, in all and on one node.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits for execs. Waiting for one is bounded because every exec is.
#[derive(Debug)]
pub(super) struct Gate {
    all: Arc<Semaphore>,
    per_node: usize,
    nodes: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// The right to run one exec, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _node: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(all: usize, per_node: usize) -> Self {
        let bound = |n: usize| n.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(bound(all))),
            per_node: bound(per_node),
            nodes: Mutex::new(BTreeMap::new()),
        }
    }

    pub(super) async fn enter(&self, node: Option<&str>) -> Permit {
        // The node first: who waits for a busy node must not hold a place that another node could use.
        let node = match node {
            Some(name) => self.of_node(name).acquire_owned().await.ok(),
            None => None,
        };
        Permit { _node: node, _all: Arc::clone(&self.all).acquire_owned().await.ok() }
    }

    fn of_node(&self, name: &str) -> Arc<Semaphore> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let semaphore = nodes.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.per_node)));
        Arc::clone(semaphore)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_busy_node_does_not_hold_the_others_up() {
        let gate = Gate::new(2, 1);
        let first = gate.enter(Some("a")).await;
        assert!(gate.enter(Some("a")).now_or_never().is_none(), "one an a node");
        let second = gate.enter(Some("b")).now_or_never();
        assert!(second.is_some(), "another node is free");
        assert!(gate.enter(None).now_or_never().is_none(), "two in all");
        drop(first);
        assert!(gate.enter(None).now_or_never().is_some(), "given back");
    }

    #[tokio::test]
    async fn zero_would_wait_for_ever_and_is_one() {
        assert!(Gate::new(0, 0).enter(Some("a")).now_or_never().is_some());
    }
}
