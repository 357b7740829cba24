//! A cluster of some size.

use std::time::{Duration, Instant};

use super::*;
use crate::engine::fixtures::{app, deny_all, egress, ingress};

const NAMESPACES: usize = 10;
const WORKLOADS: usize = 6;

fn name(namespace: usize, workload: usize) -> String {
    format!("ns{namespace}/app{workload}")
}

/// 60 workloads, each talking to one of the next namespace.
fn cluster() -> (Cluster, Vec<Policy>) {
    let mut cluster = Cluster::default();
    let mut policies = Vec::new();
    for namespace in 0..NAMESPACES {
        cluster = cluster.namespace(&format!("ns{namespace}"), &[]);
        policies.push(deny_all(&format!("ns{namespace}")));
        for workload in 0..WORKLOADS {
            let (own, next) = (name(namespace, workload), name((namespace + 1) % NAMESPACES, workload));
            cluster = cluster.app(&own, 2);
            policies.push(egress(&own, app(&next), &[8080]));
            policies.push(ingress(&next, app(&own), &[8080]));
        }
    }
    (cluster, policies)
}

#[track_caller]
fn timed(what: &str, merge: &Merge) -> Touched {
    let start = Instant::now();
    let touched = merge.run().touched;
    let took = start.elapsed();
    // Far from it on any machine, so that only another order of growth fails here.
    assert!(took < Duration::from_secs(30), "{what} took {took:?}");
    eprintln!("{what}: {took:?}");
    touched
}

#[test]
fn sixty_workloads_in_ten_namespaces_are_soon_looked_through() {
    let (cluster, policies) = cluster();
    let pairs = NAMESPACES * WORKLOADS;
    let first = timed("first run", &Merge::first(cluster.clone(), policies.clone()));
    let allowed = first.flows.iter().filter(|f| f.live == Decision::Allowed).count();
    assert_eq!(allowed, pairs, "each rule once");
    let all = timed("all rules new", &Merge::new(cluster.clone(), Vec::new(), policies.clone()));
    assert!(all.flows.iter().filter(|f| f.live == Decision::Allowed).count() >= pairs);
    let same = timed("nothing new", &Merge::new(cluster, policies.clone(), policies));
    assert_eq!(same.flows, []);
}
