//! How much a merge in a cluster of some size asks: `benches/touched.rs` has the time.

use super::*;
use crate::engine::{
    fixtures::{app, deny_all, egress, ingress},
    matrix::work,
};

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

/// How many pairs are asked about, of all policy sets together.
fn asked(before: Option<&[Policy]>, after: &[Policy]) -> (usize, Touched) {
    let (cluster, _) = cluster();
    let merge = Merge { before: before.map(<[Policy]>::to_vec), ..Merge::first(cluster, after.to_vec()) };
    let (asked, ran) = work::asked(|| merge.run());
    (asked, ran.touched)
}

const PAIRS: usize = (NAMESPACES * WORKLOADS) * (NAMESPACES * WORKLOADS);

#[test]
fn each_rule_of_a_first_run_is_found_in_a_bounded_number_of_questions() {
    let (_, policies) = cluster();
    let (asked, first) = asked(None, &policies);
    let allowed = first.flows.iter().filter(|f| f.live == Decision::Allowed).count();
    assert_eq!(allowed, NAMESPACES * WORKLOADS, "each rule once");
    assert!(asked <= 12 * PAIRS, "{asked} for {PAIRS} pairs");
}

#[test]
fn where_all_is_new_each_pair_is_asked_about_a_few_times() {
    let (_, policies) = cluster();
    let (asked, all) = asked(Some(&[]), &policies);
    assert!(all.flows.iter().filter(|f| f.live == Decision::Allowed).count() >= NAMESPACES * WORKLOADS);
    assert!(asked <= 12 * PAIRS, "{asked} for {PAIRS} pairs");
}

/// All pairs once were asked about for every merge.
#[test]
fn what_no_policy_touched_is_not_asked_about() {
    let (_, policies) = cluster();
    let (none, same) = asked(Some(&policies), &policies);
    assert_eq!((none, same.flows), (0, vec![]));
    let one = [policies.clone(), vec![egress(&name(0, 0), app(&name(2, 0)), &[8080])]].concat();
    let (one, touched) = asked(Some(&policies), &one);
    assert_eq!(touched.flows.len(), 1, "the missing entry");
    let classes = NAMESPACES * WORKLOADS;
    assert!(one > 0 && one <= 4 * classes, "{one}: those of one workload of {classes}");
}
