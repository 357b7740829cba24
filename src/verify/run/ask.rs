//! The comparison with the addresses that pods see: what the plan began with is asked of the pods that need it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use super::Run;
use crate::{
    engine::{matrix::Matrix, touched::Outside as Host},
    model::{Declared, KustomizationRef, ObjectRef, Snapshot, State, Trigger},
    verify::{
        compare::{self, Comparison, Material},
        expect, moved_name,
        names::{Book, Wanted},
        seams::{Clock, Outside},
    },
};

/// What a look is made over.
pub(super) struct Sight<'s> {
    pub(super) state: &'s State,
    pub(super) declared: &'s [Declared],
    pub(super) snapshot: &'s Snapshot,
    pub(super) inventories: Option<&'s BTreeMap<KustomizationRef, Vec<ObjectRef>>>,
}

impl<O: Outside> Run<'_, O> {
    /// Compares with the addresses of the plan, asks the pods, and compares again where they see others.
    pub(super) async fn compared(&self, sight: &Sight<'_>, book: &mut Book) -> (Comparison, Vec<Host>) {
        let config = &self.settings.config;
        let planned = book.hosts(config, &BTreeSet::new());
        let comparison = compare::compare(&self.over(sight, &planned));
        let began = self.outside.clock().elapsed();
        let material = self.over(sight, &planned);
        let wanted = Wanted { comparison: &comparison, material: &material, book };
        let questions = wanted.questions(self.looks_at_expectations(sight.state, &comparison));
        book.ask(self.outside, &questions).await;
        let took = self.outside.clock().elapsed().saturating_sub(began).as_millis();
        self.probing.fetch_add(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
        let workloads = comparison.live.classes.iter().map(|class| class.workload.clone()).collect();
        let seen: Vec<Host> = book.hosts(config, &workloads);
        if seen == planned {
            return (comparison, planned);
        }
        tracing::info!("pods resolve names to other addresses than the verifier");
        (compare::compare(&self.over(sight, &seen)), seen)
    }

    fn over<'m>(&'m self, sight: &Sight<'m>, hosts: &'m [Host]) -> Material<'m> {
        self.material(sight.state, sight.declared, sight.snapshot, sight.inventories, hosts)
    }

    /// Names that moved, with what the state keeps of names; where they are otherwise than planned, and the configured
    /// expectations.
    pub(super) async fn named(
        &self,
        material: &Material<'_>,
        comparison: &Comparison,
        book: &Book,
    ) -> moved_name::Seen {
        let live = Matrix::new(&comparison.live);
        let mut seen = moved_name::Look { comparison, live: &live, material, book }.look();
        let found = &mut seen.findings;
        found.extend(book.differences(material.snapshot));
        if self.looks_at_expectations(material.state, comparison) {
            let (outside, snapshot) = (self.outside, material.snapshot);
            let look = expect::Look { outside, snapshot, comparison, live: &live, book };
            found.extend(look.at(&self.settings.config.expectations).await);
        }
        seen
    }

    /// Whether this run looks at the configured expectations.
    fn looks_at_expectations(&self, state: &State, comparison: &Comparison) -> bool {
        let touched = !comparison.touched.flows.is_empty();
        self.trigger != Trigger::Merge || touched || expect::is_open(state)
    }
}
