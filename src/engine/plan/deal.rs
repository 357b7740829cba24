//! Which pod of an Indexed Job probes what.

use std::{cmp::Reverse, collections::BTreeMap};

use super::Planned;
use crate::model::PodRef;

/// Deals the probes among so many hands, as positions in the plan; each hand's are in the plan's order.
///
/// All that starts on one node goes to one hand: the limit of execs on a node is kept by each hand for itself, and how a
/// denial looks on a node is learned from the probes there. The node with most goes first, to who has least so far. A
/// pod whose node is not known is dealt by itself.
#[must_use]
pub fn deal<'p>(probes: &'p [Planned], node: impl Fn(&'p PodRef) -> Option<&'p str>, hands: usize) -> Vec<Vec<usize>> {
    let mut places: BTreeMap<(Option<&str>, Option<&PodRef>), Vec<usize>> = BTreeMap::new();
    for (index, planned) in probes.iter().enumerate() {
        let node = node(&planned.source);
        let place = (node, Some(&planned.source).filter(|_| node.is_none()));
        places.entry(place).or_default().push(index);
    }
    let mut places: Vec<Vec<usize>> = places.into_values().collect();
    places.sort_by_key(|all| Reverse(all.len()));
    let mut dealt = vec![Vec::new(); hands.max(1)];
    for place in places {
        if let Some(least) = dealt.iter_mut().min_by_key(|hand| hand.len()) {
            least.extend(place);
        }
    }
    for hand in &mut dealt {
        hand.sort_unstable();
    }
    dealt
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        engine::{
            plan::Address,
            touched::{Origin, Target, TouchedFlow},
            world::Family,
        },
        model::{Decision, Protocol, Why},
    };

    /// A probe from a pod named after its node; of `x`, no node is known.
    fn probe(node: &str, pod: usize) -> Planned {
        Planned {
            flow: TouchedFlow {
                source: Origin::Class(0),
                target: Target::Class(0),
                family: Family::V4,
                ipv6: false,
                protocol: Protocol::Tcp,
                port: 80,
                why: Why::Sweep,
                before: None,
                declared: Decision::Allowed,
                live: Decision::Allowed,
                missing: None,
                rules: Vec::new(),
                covers: 0,
                unseen: None,
                note: None,
            },
            source: PodRef { namespace: "shop".into(), name: format!("{node}-{pod}") },
            target_pod: None,
            address: Address { ip: [10, 0, 0, 1].into(), port: 80, protocol: Protocol::Tcp },
            target_controls: Vec::new(),
            source_controls: Vec::new(),
            through: Vec::new(),
        }
    }

    fn node(pod: &PodRef) -> Option<&str> {
        pod.name.split('-').next().filter(|node| *node != "x")
    }

    #[test]
    fn the_heaviest_node_goes_first_and_the_next_to_who_has_least() {
        let plan: Vec<Planned> = ["a", "b", "c", "b", "b", "c"].iter().map(|node| probe(node, 0)).collect();
        assert_eq!(deal(&plan, node, 2), [vec![1, 3, 4], vec![0, 2, 5]]);
        assert_eq!(deal(&plan, node, 1), [vec![0, 1, 2, 3, 4, 5]]);
        assert_eq!(deal(&plan, node, 0), [vec![0, 1, 2, 3, 4, 5]], "there is always one hand");
        assert_eq!(deal(&plan, node, 5)[3..], [Vec::<usize>::new(), Vec::new()], "more hands than nodes");
    }

    #[test]
    fn pods_of_unknown_nodes_are_not_one_node() {
        let plan = [probe("x", 1), probe("x", 2), probe("x", 1)];
        assert_eq!(deal(&plan, node, 2), [vec![0, 2], vec![1]]);
    }

    proptest! {
        #[test]
        fn every_probe_is_dealt_once_and_no_node_twice(
            starts in prop::collection::vec(("[a-fx]", 0_usize..3), 0..60), hands in 1_usize..6,
        ) {
            let plan: Vec<Planned> = starts.iter().map(|(node, pod)| probe(node, *pod)).collect();
            let dealt = deal(&plan, node, hands);
            prop_assert_eq!(dealt.len(), hands);
            let mut all: Vec<usize> = dealt.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..plan.len()).collect::<Vec<_>>());
            let places = |hand: &Vec<usize>| -> BTreeSet<String> {
                let of = |index: &usize| {
                    let source = &plan[*index].source;
                    node(source).map_or_else(|| source.name.clone(), str::to_owned)
                };
                hand.iter().map(of).collect()
            };
            let mut seen = BTreeSet::new();
            for hand in &dealt {
                for place in places(hand) {
                    prop_assert!(seen.insert(place.clone()), "{} was dealt twice", place);
                }
            }
        }
    }
}
