//! Pods with addresses of both families, and policies that decide the two otherwise.

use super::*;
use crate::{
    engine::fixtures::{app, block, deny_all, earlier, egress, index, ingress, labels, workload},
    model::Decision::{Allowed, Denied},
};

/// Three workloads with an address of each family.
fn cluster() -> Cluster {
    let names = ["shop/web", "redis/redis", "bank/api"];
    names.iter().zip(1..).fold(Cluster::new(&["shop", "redis", "bank"]), |cluster, (name, number)| {
        cluster.app(name, 1).with(name, |p| p.ips.push(format!("fd00::{number}").parse().unwrap()))
    })
}

fn with(more: &[Policy]) -> Vec<Policy> {
    [vec![deny_all("shop"), deny_all("redis")], more.to_vec()].concat()
}

fn out() -> Policy {
    egress("shop/web", app("redis/redis"), &[8080])
}

/// Redis may be reached from this block.
fn from(cidr: &str) -> Policy {
    ingress("redis/redis", block(cidr), &[8080])
}

const FLOW: &str = "shop/web -> redis/redis:8080/TCP";

fn lines(merge: &Merge) -> Vec<String> {
    merge.run().flows().into_iter().filter(|line| line.starts_with(FLOW)).collect()
}

/// The one over IPv6 once was swallowed by the one over IPv4.
#[test]
fn families_with_opposite_verdicts_are_both_looked_at() {
    let six = Merge::new(cluster(), with(&[out()]), with(&[out(), from("::/0")]));
    assert_eq!(lines(&six), [format!("{FLOW} (IPv6) Changed denied>allowed")]);
    let swapped = Merge::new(cluster(), with(&[out(), from("::/0")]), with(&[out(), from("0.0.0.0/0")]));
    let note = "one side was closed, the other is still open";
    let closed = format!("{FLOW} (IPv6) Closure allowed>denied, {note}");
    assert_eq!(lines(&swapped), [format!("{FLOW} Changed denied>allowed"), closed]);
    let new = Merge::new(cluster(), with(&[]), with(&[out(), from("::/0")]));
    let lacks = format!("{FLOW} OneSided denied>denied, lacks ingress");
    assert_eq!(lines(&new), [lacks, format!("{FLOW} (IPv6) Changed denied>allowed")], "only IPv6 was answered");
}

#[test]
fn families_that_agree_are_one_flow_over_ipv4() {
    let both = ingress("redis/redis", app("shop/web"), &[8080]);
    let opened = Merge::new(cluster(), with(&[]), with(&[out(), both.clone()]));
    assert_eq!(opened.flows(), [format!("{FLOW} Changed denied>allowed")]);
    let one_sided = Merge::new(cluster(), with(&[]), with(&[out()]));
    assert_eq!(one_sided.flows(), [format!("{FLOW} OneSided denied>denied, lacks ingress")]);
    let isolated = Merge::new(cluster(), vec![], with(&[]));
    assert!(isolated.flows().iter().all(|line| !line.contains("IPv6")), "{:#?}", isolated.flows());
    let only_six = cluster().with("redis/redis", |p| p.ips.retain(std::net::IpAddr::is_ipv6));
    let flows = Merge::new(only_six, with(&[]), with(&[out(), both])).flows();
    assert_eq!(flows, [format!("{FLOW} Changed denied>allowed")], "without a twin the key is the plain one");
}

#[test]
fn the_state_finds_each_family_again() {
    let policies = with(&[out(), from("::/0")]);
    let mut merge = Merge::new(cluster(), policies.clone(), policies);
    let (source, destination) = (at(workload("shop/web")), at(workload("redis/redis")));
    let flow = |ipv6: bool| {
        let (source, destination) = (source.clone(), destination.clone());
        RecordedFlow { source, destination, protocol: Protocol::Tcp, port: 8080, declared: Allowed, ipv6 }
    };
    merge.recorded = vec![(flow(false), Why::Retried), (flow(true), Why::Retried)];
    let four = format!("{FLOW} Retried denied>denied");
    assert_eq!(merge.flows(), [four.clone(), format!("{FLOW} (IPv6) Retried allowed>allowed")]);
    merge.cluster = cluster().with("redis/redis", |p| p.ips.retain(std::net::IpAddr::is_ipv4));
    let ran = merge.run();
    assert_eq!((ran.flows(), ran.touched.gone), (vec![four], vec![flow(true).key()]), "its address is gone");
    assert_eq!(flow(true).key(), format!("{FLOW} (IPv6)"));
    assert_eq!(flow(false).key(), FLOW, "as earlier versions wrote it");
}

/// Labels once were compared over IPv4 alone.
#[test]
fn a_label_that_flips_a_flow_over_ipv6_alone_is_seen() {
    let team =
        ingress("redis/redis", serde_json::json!([{"namespaceSelector": {"matchLabels": {"team": "a"}}}]), &[8080]);
    let now = cluster().namespace("shop", &[("team", "a")]).world(vec![team, from("0.0.0.0/0")]);
    let then = earlier(&now, &BTreeMap::from([("shop".to_owned(), labels(&[("team", "b")]))]), &[]);
    let flips = |a: &World, b: &World| -> Vec<(usize, Decision)> {
        relabelled(a, b, &|_| true).into_iter().map(|f| (f.source, f.now)).collect()
    };
    assert_eq!(flips(&then, &now), [(index(&now, "shop/web"), Allowed)]);
    assert_eq!(flips(&now, &then), [(index(&now, "shop/web"), Denied)]);
    assert_eq!(flips(&now, &now), [], "the control");
}
