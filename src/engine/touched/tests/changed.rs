//! Flows whose verdict is another one than before.

use serde_json::json;

use super::*;
use crate::{
    engine::fixtures::{app, block, deny_all, earlier, egress, index, ingress, labels, policy},
    model::Decision::{Allowed, Denied},
};

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("shop/api", 1).app("redis/redis", 1)
}

fn closed() -> Vec<Policy> {
    vec![deny_all("shop"), deny_all("redis")]
}

fn with(extra: &[Policy]) -> Vec<Policy> {
    closed().into_iter().chain(extra.iter().cloned()).collect()
}

fn out() -> Policy {
    egress("shop/web", app("redis/redis"), &[8080])
}

fn into() -> Policy {
    ingress("redis/redis", app("shop/web"), &[8080])
}

#[test]
fn a_flow_opened_on_both_sides_is_one_flow_with_both_rules() {
    let merge = Merge::new(cluster(), closed(), with(&[out(), into()]));
    assert_eq!(merge.flows(), ["shop/web -> redis/redis:8080/TCP Changed denied>allowed"]);
    let rules: Vec<String> = merge.run().touched.flows[0].rules.iter().map(ToString::to_string).collect();
    let expected = ["NetworkPolicy/redis/redis-ingress ingress[0]", "NetworkPolicy/shop/web-egress egress[0]"];
    assert_eq!(rules, expected);
    let same = Merge::new(cluster(), with(&[out(), into()]), with(&[out(), into()]));
    assert_eq!(same.flows(), [""; 0], "the control: nothing changed");
}

#[test]
fn the_second_side_completes_what_the_first_began() {
    let merge = Merge::new(cluster(), with(&[out()]), with(&[out(), into()]));
    assert_eq!(merge.flows(), ["shop/web -> redis/redis:8080/TCP Changed denied>allowed"]);
}

#[test]
fn a_flow_that_lost_a_side_is_a_closure_and_one_that_lost_both_is_not() {
    let note = "one side was closed, the other is still open";
    let all = with(&[out(), into()]);
    for (name, left, expected) in [
        ("ingress closed", with(&[out()]), format!("Closure allowed>denied, {note}")),
        ("egress closed", with(&[into()]), format!("Closure allowed>denied, {note}")),
        ("both closed", closed(), "Changed allowed>denied".to_owned()),
    ] {
        let flows = Merge::new(cluster(), all.clone(), left).flows();
        assert_eq!(flows, [format!("shop/web -> redis/redis:8080/TCP {expected}")], "{name}");
    }
}

#[test]
fn a_host_outside_has_one_side_and_no_other_to_leave_open() {
    let to = |cidr| with(&[egress("shop/web", block(cidr), &[5432])]);
    let merge = Merge::new(cluster(), to("203.0.113.7/32"), closed()).host("203.0.113.7");
    assert_eq!(merge.flows(), ["shop/web -> pg01:5432/TCP Changed allowed>denied"]);
    let opened = Merge::new(cluster(), closed(), to("203.0.113.7/32")).host("203.0.113.7");
    assert_eq!(opened.flows(), ["shop/web -> pg01:5432/TCP Changed denied>allowed"]);
}

#[test]
fn where_git_and_live_disagree_the_drift_speaks() {
    let mut merge = Merge::new(cluster(), closed(), closed());
    merge.live = Some(with(&[out(), into()]));
    assert_eq!(merge.flows(), [""; 0]);
}

/// Six workloads on two nodes, and a client elsewhere.
fn crowd() -> Cluster {
    let names = ["shop/a", "shop/b", "shop/c", "shop/d", "shop/e", "shop/f"];
    let cluster = names.iter().fold(Cluster::new(&["shop", "redis"]), |cluster, name| cluster.app(name, 1));
    let second_half = ["shop/d", "shop/e", "shop/f"];
    let moved = second_half.iter().fold(cluster, |c, name| c.with(name, |p| p.node = Some("n2".to_owned())));
    moved.app("redis/redis", 1)
}

#[test]
fn isolation_of_a_namespace_is_a_handful_of_flows_that_stand_for_the_rest() {
    let merge = Merge::new(crowd(), Vec::new(), vec![deny_all("shop")]);
    let flows = merge.run().touched.flows;
    // Egress and ingress, each on two nodes; towards each other the six are closed on the way out already.
    assert_eq!(flows.len(), 4, "{:#?}", merge.flows());
    let total: usize = flows.iter().map(|f| 1 + f.covers).sum();
    assert_eq!(total, 6 * 5 + 6 + 6, "every pair that flipped is counted once");
    assert!(flows.iter().all(|f| (f.why, f.live) == (Why::Changed, Denied) || f.why == Why::Closure));
    assert!(flows.iter().all(|f| f.unseen.is_none()), "each can be probed: {:#?}", merge.flows());
    let ended = Merge::new(crowd(), vec![deny_all("shop")], Vec::new());
    let opened = ended.run().touched.flows;
    assert_eq!((opened.len(), opened.iter().map(|f| 1 + f.covers).sum::<usize>()), (4, 42), "isolation that ended");
    assert!(opened.iter().all(|f| f.live == Allowed));
}

#[test]
fn what_rules_changed_is_not_covered_by_an_isolation() {
    let before = vec![ingress("redis/redis", json!([{"namespaceSelector": {}}]), &[8080])];
    let after = vec![ingress("redis/redis", app("shop/f"), &[8080])];
    let flows = Merge::new(crowd(), before, after).run().touched.flows;
    assert_eq!(flows.len(), 5 + 1, "five lost it, each by itself, and the rule's own flow");
    assert!(flows.iter().all(|f| f.covers == 0));
}

#[test]
fn pods_of_one_workload_are_a_pair_only_where_there_are_two() {
    for (pods, expected) in [
        (1, vec![]),
        (
            2,
            vec![
                "shop/web -> shop/web:8080/TCP Closure allowed>denied, covers 1, one side was closed, the other is still open",
            ],
        ),
    ] {
        let cluster = Cluster::new(&["shop"]).app("shop/web", pods);
        let closed = policy("shop/web", json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        let got = Merge::new(cluster, Vec::new(), vec![closed]).run().flows();
        let expected: Vec<String> = expected.into_iter().map(|line| line.replace(", covers 1", "")).collect();
        assert_eq!(got, expected, "{pods} pods");
    }
}

#[test]
fn a_new_namespace_is_looked_at_as_on_a_first_run() {
    let policies = || vec![deny_all("shop")];
    let mut merge = Merge::new(cluster(), Vec::new(), policies());
    merge.new.insert("shop".to_owned());
    let new = merge.flows();
    let first = Merge::first(cluster(), policies()).flows();
    let wanted = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|l| l.replace("allowed>denied", "denied")).filter(|l| l.contains("FirstRun")).collect()
    };
    assert_eq!(wanted(&new), new.iter().map(|l| l.replace("allowed>denied", "denied")).collect::<Vec<_>>());
    assert_eq!(wanted(&new), wanted(&first), "one denied flow for each workload and direction");
    assert_eq!(
        first,
        [
            "redis/redis -> shop/api:8080/TCP FirstRun denied",
            "redis/redis -> shop/web:8080/TCP FirstRun denied",
            "shop/api -> redis/redis:8080/TCP FirstRun denied",
            "shop/web -> redis/redis:8080/TCP FirstRun denied",
        ]
    );
}

#[test]
fn a_first_run_looks_at_clusters_of_ipv6_too() {
    let six =
        |number: u16| move |p: &mut crate::model::PodInfo| p.ips = vec![format!("fd00::{number}").parse().unwrap()];
    let cluster = cluster().with("shop/web", six(1)).with("shop/api", six(2)).with("redis/redis", six(3));
    let flows = Merge::first(cluster, vec![deny_all("shop")]).run().touched.flows;
    assert_eq!(flows.len(), 4);
    assert!(flows.iter().all(|f| f.family == Family::V6), "{flows:#?}");
}

#[test]
fn a_namespace_with_other_labels_flips_flows_that_nobody_merged() {
    let team = ingress("redis/redis", json!([{"namespaceSelector": {"matchLabels": {"team": "a"}}}]), &[8080]);
    let now = cluster().namespace("shop", &[("team", "a")]).world(vec![team]);
    let old = BTreeMap::from([("shop".to_owned(), labels(&[("team", "b")]))]);
    let then = earlier(&now, &old, &[]);
    let flips: Vec<(usize, usize, Decision)> =
        relabelled(&then, &now, &|_| true).into_iter().map(|f| (f.source, f.destination, f.now)).collect();
    let redis = index(&now, "redis/redis");
    assert_eq!(flips, [(index(&now, "shop/api"), redis, Allowed), (index(&now, "shop/web"), redis, Allowed)]);
    let back: Vec<Decision> = relabelled(&now, &then, &|_| true).into_iter().map(|f| f.now).collect();
    assert_eq!(back, [Denied, Denied]);
    assert_eq!(relabelled(&now, &now, &|_| true), [], "the control");
}

#[test]
fn a_pod_with_other_labels_flips_flows_too() {
    let now = cluster().world(vec![into()]);
    let mut record = now.classes[index(&now, "shop/web")].record(false);
    record.labels = labels(&[("app", "old")]);
    let then = earlier(&now, &BTreeMap::new(), &[record]);
    let flips = relabelled(&then, &now, &|_| true);
    assert_eq!(flips.len(), 1);
    assert_eq!(
        (flips[0].source, flips[0].port, flips[0].now),
        (index(&now, "shop/web"), (Protocol::Tcp, 8080), Allowed)
    );
}
