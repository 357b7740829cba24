//! Flows that the state remembers.

use super::*;
use crate::{
    engine::fixtures::{block, deny_all, egress, ingress, workload},
    model::Decision::Allowed,
};

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("redis/redis", 1)
}

fn flow(source: Endpoint, destination: Endpoint, port: u16) -> RecordedFlow {
    RecordedFlow { source, destination, protocol: Protocol::Tcp, port, declared: Allowed, ipv6: false }
}

fn range(cidr: &str) -> Endpoint {
    Endpoint::External { name: None, cidrs: vec![cidr.parse().unwrap()] }
}

fn host(name: &str) -> Endpoint {
    Endpoint::External { name: Some(name.to_owned()), cidrs: vec!["203.0.113.7/32".parse().unwrap()] }
}

/// A run without a merge, over these policies.
fn again(policies: &[Policy], recorded: RecordedFlow) -> Merge {
    let mut merge = Merge::new(cluster(), policies.to_vec(), policies.to_vec());
    merge.recorded = vec![(recorded, Why::Retried)];
    merge
}

/// The flow's line, or the key that is gone.
fn found(merge: &Merge) -> Result<String, String> {
    let ran = merge.run();
    match (ran.flows().as_slice(), ran.touched.gone.as_slice()) {
        ([line], []) => Ok(line.clone()),
        ([], [key]) => Err(key.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flow_between_workloads_is_found_again_until_one_is_gone() {
    let between = |from: &str, to: &str| flow(at(workload(from)), at(workload(to)), 8080);
    let kept = again(&[], between("shop/web", "redis/redis"));
    assert_eq!(found(&kept), Ok("shop/web -> redis/redis:8080/TCP Retried allowed>allowed".to_owned()));
    let closed = again(&[deny_all("shop")], between("shop/web", "redis/redis"));
    assert_eq!(found(&closed), Ok("shop/web -> redis/redis:8080/TCP Retried denied>denied".to_owned()), "as it is now");
    for (from, to) in [("shop/old", "redis/redis"), ("shop/web", "redis/old")] {
        assert_eq!(found(&again(&[], between(from, to))), Err(format!("{from} -> {to}:8080/TCP")));
    }
}

#[test]
fn a_host_is_found_by_its_name_under_its_address_of_now() {
    let mut merge = again(&[], flow(at(workload("shop/web")), host("pg01"), 5432));
    assert_eq!(found(&merge), Err("shop/web -> pg01:5432/TCP".to_owned()), "not configured any more");
    merge.names.insert("pg01".to_owned());
    let ran = merge.run().touched;
    assert_eq!((ran.flows, ran.gone), (vec![], vec![]), "a name that cannot be resolved says nothing about its flow");
    merge = merge.host("198.51.100.9");
    assert_eq!(found(&merge), Ok("shop/web -> pg01:5432/TCP Retried allowed>allowed".to_owned()));
    assert_eq!(merge.run().touched.flows[0].target, Target::Outside(merge.outside[0].clone()));
}

#[test]
fn a_range_is_kept_while_git_allows_it_and_no_longer() {
    let out = [deny_all("shop"), egress("shop/web", block("203.0.113.0/24"), &[5432])];
    let into = [deny_all("shop"), ingress("shop/web", block("203.0.113.0/24"), &[8080])];
    let to_range = || flow(at(workload("shop/web")), range("203.0.113.0/24"), 5432);
    let from_range = || flow(range("203.0.113.0/24"), at(workload("shop/web")), 8080);
    for (policies, recorded, expected) in [
        (&out, to_range(), "shop/web -> 203.0.113.0/24:5432/TCP Retried allowed>allowed [Unprobeable"),
        (&into, from_range(), "203.0.113.0/24 -> shop/web:8080/TCP Retried allowed [Unprobeable"),
    ] {
        let line = found(&again(policies, recorded.clone())).unwrap();
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(found(&again(&[deny_all("shop")], recorded.clone())), Err(recorded.key()), "its rule is gone");
    }
}

#[test]
fn what_is_found_twice_is_one_flow_with_the_reason_of_the_merge() {
    let into = ingress("redis/redis", crate::engine::fixtures::app("shop/web"), &[8080]);
    let mut merge = Merge::new(cluster(), vec![deny_all("redis")], vec![deny_all("redis"), into]);
    merge.recorded = vec![(flow(at(workload("shop/web")), at(workload("redis/redis")), 8080), Why::Manual)];
    assert_eq!(merge.flows(), ["shop/web -> redis/redis:8080/TCP Changed denied>allowed"]);
}
