//! Every flow of a list against the oracle, and every flow that is not in it.

use std::{collections::BTreeMap, net::IpAddr};

use netpol_verify::{
    engine::{
        reach::{Families, Open, Reach},
        surroundings::Surroundings,
        world::{self, Family, World},
    },
    model::{Endpoint, PodRef, Protocol},
};
use oracle::{Answer, Cluster, End, random};
use proptest::{prelude::*, test_runner::Config};

use crate::support::convert;

const QUESTIONS: [(Protocol, u16); 6] = [
    (Protocol::Tcp, 8080),
    (Protocol::Tcp, 8081),
    (Protocol::Tcp, 9090),
    (Protocol::Udp, 8080),
    (Protocol::Udp, 9090),
    (Protocol::Sctp, 8080),
];

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_list_has_what_the_oracle_allows_and_nothing_else(
        cluster in random::arb_cluster_of(random::Shape { pods: 7, policies: 6, ..random::Shape::default() }),
    ) {
        let policies = convert::policies(&cluster);
        let snapshot = convert::snapshot(&cluster);
        let classes = world::planned_classes(&Surroundings::default(), &snapshot, &policies.iter().collect::<Vec<_>>());
        let namespaces = snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
        let world = World::new(namespaces.collect(), classes, policies);
        let reach = Reach::new(&world);
        let listed = Listed::new(&reach);
        listed.compare(&cluster, &reach)?;
    }
}

/// The rows of a list, by their ends.
pub(super) struct Listed {
    rows: BTreeMap<(Endpoint, Endpoint), Vec<(Families, Open)>>,
}

impl Listed {
    pub(super) fn new(reach: &Reach<'_>) -> Self {
        let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let visit = |row: netpol_verify::engine::reach::Row<'_>| {
            let key = (row.source.clone(), row.destination.clone());
            rows.entry(key).or_default().push((row.families, row.open.clone()));
            Ok::<(), ()>(())
        };
        reach.rows(visit).unwrap();
        Self { rows }
    }

    fn compare(&self, cluster: &Cluster, reach: &Reach<'_>) -> Result<(), TestCaseError> {
        let by_pod: BTreeMap<&PodRef, &netpol_verify::engine::reach::Point> =
            reach.points().iter().flat_map(|point| point.pods.iter().map(move |pod| (pod, point))).collect();
        let shape = random::Shape::default();
        let pods =
            cluster.pods.iter().flat_map(|pod| convert::addresses(pod).into_iter().map(move |ip| End::Pod(pod, ip)));
        let ends: Vec<End<'_>> = pods.chain(shape.outside.into_iter().map(End::Address)).collect();
        for (from, to) in ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to))) {
            if from.address().is_ipv4() != to.address().is_ipv4() {
                continue;
            }
            let at = |end: End<'_>| match end {
                End::Pod(pod, _) => {
                    by_pod.get(&convert::id(pod)).map(|point| (point.endpoint.clone(), Some(&point.workload)))
                }
                End::Address(_) => None,
            };
            let (source, destination) = (at(from), at(to));
            if source.is_none() && destination.is_none() || source.is_some() && source == destination {
                continue;
            }
            if let (Some((_, Some(a))), Some((_, Some(b)))) = (&source, &destination)
                && a == b
            {
                continue;
            }
            for (protocol, port) in QUESTIONS {
                let expected = oracle::allowed(cluster, from, to, &protocol.to_string(), port);
                // Pods in their node's network are listed as the node, which the API says nothing of.
                if expected == Answer::Undefined {
                    continue;
                }
                let ends = (source.as_ref().map(|s| &s.0), destination.as_ref().map(|d| &d.0));
                let found = self.has(ends, (from.address(), to.address()), (protocol, port));
                let place = format!("{from:?} -> {to:?} {protocol}/{port} with {:?}", cluster.policies);
                prop_assert_eq!(found, expected == Answer::Allowed, "{}", place);
            }
        }
        Ok(())
    }

    /// Whether a row has the port between these ends; `None` is outside, where the address is in the row's blocks.
    pub(super) fn has(
        &self,
        ends: (Option<&Endpoint>, Option<&Endpoint>),
        addresses: (IpAddr, IpAddr),
        (protocol, port): (Protocol, u16),
    ) -> bool {
        self.any(ends, addresses, |open| open.ports.contains(protocol, port))
    }

    /// Whether a row between these ends is as wanted.
    pub(super) fn any(
        &self,
        ends: (Option<&Endpoint>, Option<&Endpoint>),
        addresses: (IpAddr, IpAddr),
        is_wanted: impl Fn(&Open) -> bool,
    ) -> bool {
        let is_at = |end: &Endpoint, wanted: Option<&Endpoint>, address: IpAddr| match (end, wanted) {
            (Endpoint::External { cidrs, .. }, None) => cidrs.iter().any(|net| net.contains(&address)),
            (end, Some(wanted)) => end == wanted,
            _ => false,
        };
        let family = Family::of(addresses.0);
        let of = |(source, destination): &(Endpoint, Endpoint)| {
            is_at(source, ends.0, addresses.0) && is_at(destination, ends.1, addresses.1)
        };
        self.rows
            .iter()
            .filter(|(key, _)| of(key))
            .flat_map(|(_, rows)| rows)
            .any(|(families, open)| [Families::Any, Families::One(family)].contains(families) && is_wanted(open))
    }
}
