//! Which pod is asked for which names: those that a flow of this run may need, and those that a rule was written for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Book, Questions};
use crate::{
    config::{Destination, Host},
    engine::{
        matrix::Matrix,
        moved_name, plan,
        touched::{Origin, Target},
        world::Class,
    },
    model::{Direction, PodInfo, PodRef, Snapshot},
    verify::{
        compare::{Comparison, Material},
        expect,
    },
};

/// What there is to ask about.
pub struct Wanted<'a, 's> {
    /// What was compared, with the addresses of the plan.
    pub comparison: &'a Comparison,
    /// With what.
    pub material: &'a Material<'s>,
    /// What is known of names.
    pub book: &'a Book,
}

impl<'s> Wanted<'_, 's> {
    /// The questions, by pod; with those of the configured expectations where they are looked at.
    #[must_use]
    pub fn questions(&self, expectations: bool) -> Questions<'s> {
        let (live, snapshot) = (&self.comparison.live, self.material.snapshot);
        let (matrix, pods) = (Matrix::new(live), by_id(snapshot));
        let sources = self.sources();
        let known = self.material.state.names.iter();
        let known: BTreeSet<_> = known.map(|known| (&known.workload, known.name.as_str())).collect();
        let mut questions = Questions::new();
        for (index, class) in live.classes.iter().enumerate().filter(|(_, class)| self.may_ask_from(class)) {
            let Some(pod) = pod_of(class, &pods).filter(|pod| plan::fit(pod).is_ok()) else { continue };
            let wanted = |d: &&Destination, name: &str| {
                let is_known = known.contains(&(&class.workload, name));
                sources.contains(&index)
                    || matrix.is_isolated(Direction::Egress, index)
                        && (is_known || self.is_used(&matrix, (index, class), d, name))
            };
            let destinations = self.material.config.destinations.iter();
            let names = destinations.flat_map(|d| d.names().iter().map(move |name| (d, name)));
            let names = names.filter(|(d, name)| is_name(name) && wanted(d, name)).map(|(_, name)| name.clone());
            add(&mut questions, pod, names);
        }
        if expectations {
            for expectation in &self.material.config.expectations {
                let pod = expect::source(&expectation.from.namespace, snapshot, self.comparison);
                if let (Some(pod), Host::Name(name)) = (pod, &expectation.to.host) {
                    add(&mut questions, pod, std::iter::once(name.clone()));
                }
            }
        }
        questions
    }

    /// Classes from which this run looks at addresses outside.
    fn sources(&self) -> BTreeSet<usize> {
        let outside = self.comparison.touched.flows.iter().filter(|flow| !matches!(flow.target, Target::Class(_)));
        let of_class = outside.filter_map(|flow| match flow.source {
            Origin::Class(index) => Some(index),
            Origin::Range(_) => None,
        });
        of_class.collect()
    }

    /// Whether a probe may start at a class: it alone knows what its names lead to.
    fn may_ask_from(&self, class: &Class) -> bool {
        let namespace = class.workload.namespace.as_str();
        let may = self.comparison.product.contains(namespace) || self.material.namespaces.may_probe(namespace);
        may && class.usable && !class.host_network
    }

    /// Whether rules let the class reach the host, or are expected to.
    fn is_used(
        &self,
        matrix: &Matrix<'_>,
        (index, class): (usize, &Class),
        destination: &Destination,
        name: &str,
    ) -> bool {
        let reaches =
            |address: &IpAddr| !moved_name::open_ports(matrix, index, &destination.ports, *address).is_empty();
        destination.is_expected_from(&class.workload.namespace) || self.book.of_verifier(name).iter().any(reaches)
    }
}

fn by_id(snapshot: &Snapshot) -> BTreeMap<&PodRef, &PodInfo> {
    snapshot.pods.iter().map(|pod| (&pod.id, pod)).collect()
}

/// The pod that the planner probes from.
fn pod_of<'s>(class: &Class, pods: &BTreeMap<&PodRef, &'s PodInfo>) -> Option<&'s PodInfo> {
    class.pods.iter().filter_map(|id| pods.get(id).copied()).find(|pod| pod.is_usable())
}

fn is_name(text: &str) -> bool {
    text.parse::<IpAddr>().is_err()
}

fn add<'s>(questions: &mut Questions<'s>, pod: &'s PodInfo, names: impl Iterator<Item = String>) {
    let names: BTreeSet<String> = names.collect();
    if !names.is_empty() {
        questions.entry(pod.id.clone()).or_insert_with(|| (pod, BTreeSet::new())).1.extend(names);
    }
}
