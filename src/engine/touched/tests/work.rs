//! How much a merge in a cluster of some size asks: `benches/touched.rs` has the time.

use serde_json::json;

use super::*;
use crate::engine::{
    fixtures::{app, deny_all, egress, ingress, policy},
    lint,
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

/// How much `lint` asks where so many like workloads of one namespace may reach as many of another, which denies it.
fn asked_by_lint(count: usize) -> usize {
    let mut cluster = Cluster::new(&["a", "b"]);
    for number in 0..count {
        cluster = cluster.app(&format!("a/web{number}"), 1).app(&format!("b/db{number}"), 1);
    }
    let to = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}}]);
    let out = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": to}]});
    let world = cluster.world(vec![deny_all("b"), policy("a/out", out)]);
    let input = lint::Input { world: &world, documents: &[], product: None, not_rendered: &[] };
    let (asked, linted) = work::asked(|| lint::lint(&input));
    let more = format!("and {} more like it", count * count - 1);
    assert!(linted.findings.iter().any(|finding| finding.message.contains(&more)), "{:?}", linted.findings);
    asked
}

/// Each pair was asked about, by each rule: ten times the workloads took more than four hundred times as long.
#[test]
fn workloads_that_no_rule_tells_apart_are_asked_about_once() {
    let (few, many) = (asked_by_lint(3), asked_by_lint(30));
    assert!(few > 0);
    assert_eq!(few, many);
}
