use serde_json::json;

use super::*;
use crate::{
    engine::{
        fixtures::{self, Cluster},
        surroundings::Surroundings,
    },
    report::flows::{endpoint_text, families_text, open_text},
};

/// The rows as `source -> destination: ports`.
fn rows(cluster: &Cluster, policies: Vec<Policy>) -> Vec<String> {
    let all: Vec<&Policy> = policies.iter().collect();
    let classes = world::planned_classes(&Surroundings::default(), &cluster.snapshot, &all);
    let namespaces = cluster.snapshot.namespaces.iter().map(|(name, info)| (name.clone(), info.labels.clone()));
    let world = World::new(namespaces.collect(), classes, policies);
    let mut rows = Vec::new();
    let visit = |row: Row<'_>| {
        let [from, to] = [row.source, row.destination].map(endpoint_text);
        rows.push(format!("{from} -> {to}: {}{}", open_text(row.open), families_text(row.families)));
        Ok::<(), ()>(())
    };
    Reach::new(&world).rows(visit).unwrap();
    rows
}

#[test]
fn flows_are_told_between_workloads_and_with_the_largest_sets_of_addresses_outside() {
    let cluster = Cluster::new(&["shop"]).app("shop/web", 2).app("shop/db", 1);
    let block = json!([{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}]);
    let policies = vec![
        fixtures::deny_all("shop"),
        fixtures::egress("shop/web", fixtures::app("shop/db"), &[5432, 5433]),
        fixtures::ingress("shop/db", fixtures::app("shop/web"), &[5432]),
        fixtures::ingress("shop/web", block, &[80]),
    ];
    let expected =
        ["shop/Deployment/web -> shop/Deployment/db: 5432/TCP", "192.0.2.0/25 -> shop/Deployment/web: 80/TCP"];
    assert_eq!(rows(&cluster, policies), expected);
}

#[test]
fn without_policies_all_is_allowed_and_pods_of_one_workload_are_one() {
    let cluster = Cluster::new(&["shop"]).app("shop/web", 2).app("shop/db", 0);
    let expected = [
        "shop/Deployment/db -> shop/Deployment/web: all ports",
        "shop/Deployment/db -> 0.0.0.0/0,::/0: all ports",
        "shop/Deployment/web -> shop/Deployment/db: all ports",
        "shop/Deployment/web -> 0.0.0.0/0: all ports",
        "0.0.0.0/0 -> shop/Deployment/web: all ports",
        "0.0.0.0/0,::/0 -> shop/Deployment/db: all ports",
    ];
    // Pods with IPv4 addresses alone have no IPv6 traffic; a template may get either.
    assert_eq!(rows(&cluster, Vec::new()), expected);
}

#[test]
fn pods_of_one_workload_are_told_apart_only_where_a_verdict_differs() {
    let mut cluster = Cluster::new(&["shop"]).app("shop/web", 1).app("shop/db", 2);
    for (number, pod) in cluster.snapshot.pods.iter_mut().enumerate() {
        pod.labels.insert("shard".to_owned(), format!("s{number}"));
    }
    let names: Vec<String> = cluster.snapshot.pods[1..].iter().map(|pod| pod.id.to_string()).collect();
    let deny = fixtures::deny_all("shop");
    let merged = rows(&cluster, vec![deny.clone(), fixtures::egress("shop/web", fixtures::app("shop/db"), &[1])]);
    assert_eq!(merged, Vec::<String>::new(), "labels that no verdict depends on tell nothing apart");
    let shard = json!([{"podSelector": {"matchLabels": {"shard": "s1"}}}]);
    let policies = vec![
        deny,
        fixtures::egress("shop/web", shard, &[5432]),
        fixtures::ingress("shop/db", fixtures::app("shop/web"), &[5432]),
    ];
    assert_eq!(rows(&cluster, policies), [format!("shop/Deployment/web -> {}: 5432/TCP", names[0])]);
}

#[test]
fn pods_in_their_nodes_network_are_the_node_and_no_policy_isolates_them() {
    let mut cluster = Cluster::new(&["shop"]).app("shop/web", 1).app("shop/agent", 1);
    cluster.snapshot.pods[1].host_network = true;
    cluster.snapshot.pods[1].node = Some("n2".to_owned());
    cluster.snapshot.pods[1].ips = vec!["192.168.0.9".parse().unwrap()];
    let policies = vec![
        fixtures::deny_all("shop"),
        fixtures::ingress("shop/web", fixtures::app("shop/agent"), &[80]),
        fixtures::ingress("shop/web", fixtures::block("192.168.0.0/16"), &[81]),
    ];
    let expected = ["node n2 -> shop/Deployment/web: 81/TCP", "192.168.0.0/16 -> shop/Deployment/web: 81/TCP"];
    assert_eq!(rows(&cluster, policies), expected, "no selector matches a node, its address is in blocks");
}
