use std::net::IpAddr;

use serde_json::json;

use super::*;
use crate::{
    engine::fixtures::{Cluster, app, block, deny_all, egress, ingress},
    model::{Policy, ServiceInfo},
};

fn intent(peer: &str, ports: &[&str]) -> Intent {
    Intent {
        peer: peer.to_owned(),
        addresses: Vec::new(),
        ports: ports.iter().map(|port| crate::engine::asked::port(port).unwrap()).collect(),
        reason: "because".to_owned(),
        origin: Origin::at("list.yaml", 7, 3),
    }
}

fn table(pattern: &str, egress: Option<Vec<Intent>>, ingress: Option<Vec<Intent>>) -> Table {
    Table { pattern: pattern.to_owned(), origin: Origin::at("list.yaml", 3, 1), egress, ingress }
}

fn service(name: &str, port: u16, target: &str) -> ServiceInfo {
    let (namespace, name) = name.split_once('/').unwrap();
    ServiceInfo {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        selector: Some([("app".to_owned(), name.to_owned())].into()),
        cluster_ips: Vec::new(),
        headless: false,
        ports: vec![(port, Protocol::Tcp, target.to_owned())],
        port_names: Vec::new(),
        ends: Vec::new(),
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&["shop", "redis", "envoy"]).app("shop/web", 1).app("shop/api", 1);
    cluster = cluster.app("redis/redis", 1).app("envoy/envoy", 1);
    cluster.snapshot.services = vec![service("redis/redis", 6379, "http")];
    cluster
}

fn names() -> Names {
    let host = |addresses: &[&str], unresolved: &[&str]| Host {
        addresses: addresses.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect(),
        unresolved: unresolved.iter().map(|text| (*text).to_owned()).collect(),
    };
    Names::from([
        ("pg.example.org".to_owned(), host(&["192.0.2.7"], &[])),
        ("two.example.org".to_owned(), host(&["192.0.2.7", "192.0.2.8"], &[])),
        ("lost.example.org".to_owned(), host(&[], &["`lost.example.org` could not be resolved"])),
    ])
}

/// What is told, as `kind [namespace] place message`, of `shop` under the baselines and these policies.
fn told(policies: Vec<Policy>, tables: Vec<Table>) -> Vec<String> {
    told_with(&cluster(), policies, tables)
}

fn told_with(cluster: &Cluster, policies: Vec<Policy>, tables: Vec<Table>) -> Vec<String> {
    let all = ["shop", "redis", "envoy"].map(deny_all).into_iter().chain(policies).collect();
    let world = cluster.world(all);
    let list = Allowlist { file: "list.yaml".to_owned(), tables };
    let reach = Reach::new(&world);
    let input = Input { list: &list, reach: &reach, snapshot: &cluster.snapshot, documents: &[], names: &names() };
    let line = |told: Told| {
        let place = told.origin.map(|origin| origin.to_string()).unwrap_or_default();
        format!("{:?} [{}] {place} {}", told.kind, told.namespace.unwrap_or_default(), told.message)
    };
    compare(&input).into_iter().map(line).collect()
}

fn shop(entries: Vec<Intent>) -> Vec<Table> {
    vec![table("shop", Some(entries), None)]
}

/// shop/web → redis/redis:8080, both sides.
fn to_redis() -> Vec<Policy> {
    vec![egress("shop/web", app("redis/redis"), &[8080]), ingress("redis/redis", app("shop/web"), &[8080])]
}

#[track_caller]
fn one<'l>(lines: &'l [String], start: &str) -> &'l str {
    let [line] = lines else { panic!("{lines:#?}") };
    assert!(line.starts_with(start), "{line} is not {start}");
    line
}

#[test]
fn an_intended_flow_that_is_open_from_some_workload_is_said_nothing_of() {
    assert_eq!(told(to_redis(), shop(vec![intent("redis.redis", &["6379"])])), [""; 0], "by the Service's port");
    assert_eq!(told(to_redis(), shop(vec![intent("redis.redis", &["8080"])])), [""; 0], "by the pods' port");
    assert_eq!(told(to_redis(), shop(vec![intent("redis.redis", &["http"])])), [""; 0], "by the port's name");
    assert_eq!(told(to_redis(), shop(vec![intent("redis.redis.svc.cluster.local", &["6379"])])), [""; 0]);
    assert_eq!(told(to_redis(), shop(vec![intent("redis", &[])])), [""; 0], "the whole namespace, any port");
    assert_eq!(told(to_redis(), shop(vec![intent("re*", &["8080"])])), [""; 0], "a pattern");
}

#[test]
fn an_intended_flow_lacks_the_side_that_denies() {
    let list = || shop(vec![intent("redis.redis", &["6379"])]);
    let start = "Missing [shop] list.yaml:7:3 the intended flow shop → redis.redis:6379 (because) is not open: ";
    let lines = told(Vec::new(), list());
    let both = one(&lines, start);
    assert!(both.contains("egress of shop/") && both.contains("and ingress of redis/redis denies it"), "{both}");
    let lines = told(to_redis().drain(..1).collect(), list());
    let half = one(&lines, start);
    assert!(!half.contains("egress of") && half.contains("ingress of redis/redis denies it"), "{half}");
}

#[test]
fn every_port_and_every_address_that_is_intended_must_be_open() {
    let opened = || vec![egress("shop/web", block("192.0.2.7/32"), &[5432])];
    assert_eq!(told(opened(), shop(vec![intent("pg.example.org", &["5432"])])), [""; 0]);
    let lines = told(opened(), shop(vec![intent("pg.example.org", &["5432", "6432"])]));
    one(&lines, "Missing [shop] list.yaml:7:3 the intended flow shop → pg.example.org at 192.0.2.7/32:6432 (");
    let lines = told(opened(), shop(vec![intent("two.example.org", &["5432"])]));
    one(&lines, "Missing [shop] list.yaml:7:3 the intended flow shop → two.example.org at 192.0.2.8/32:5432 (");
    let by_list = Intent { addresses: vec!["192.0.2.7/32".parse().unwrap()], ..intent("db.example.org", &["5432"]) };
    assert_eq!(told(opened(), shop(vec![by_list])), [""; 0], "the list says the address itself");
}

#[test]
fn two_entries_of_one_peer_are_two() {
    let lines = told(Vec::new(), shop(vec![intent("redis.redis", &["6379"]), intent("redis.redis", &["http"])]));
    assert_eq!(lines.iter().filter(|line| line.starts_with("Missing")).count(), 2, "{lines:#?}");
    let lost = || intent("lost.example.org", &["postgres"]);
    let both = Intent { addresses: vec!["192.0.2.7/32".parse().unwrap()], ..lost() };
    let lines = told(Vec::new(), shop(vec![lost(), both, lost()]));
    assert_eq!(lines.iter().filter(|line| line.starts_with("Untold")).count(), 2, "each reason once: {lines:#?}");
}

#[test]
fn a_block_is_a_bound_of_which_a_part_must_be_open() {
    let internet = || shop(vec![intent("0.0.0.0/0", &["443"])]);
    let but = json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]);
    assert_eq!(told(vec![egress("shop/web", but, &[443])], internet()), [""; 0]);
    let lines = told(Vec::new(), internet());
    one(&lines, "Missing [shop] list.yaml:7:3 the intended flow shop → 0.0.0.0/0:443 (because) is not open: egress of");
}

#[test]
fn what_no_table_intends_is_told_once_for_each_rule_with_the_entry_that_would_intend_it() {
    let more = || egress("shop/web", block("198.51.100.0/24"), &[25]);
    let policies = || to_redis().into_iter().chain([more()]).collect::<Vec<_>>();
    let lines = told(policies(), shop(vec![intent("redis.redis", &["6379"])]));
    let line = one(
        &lines,
        "Excess [shop] shop/web-egress.yaml:20:3 NetworkPolicy/shop/web-egress egress[0] lets through shop/web → 198.51.100.0/24:25,",
    );
    assert!(
        line.contains("add `- {to: 198.51.100.0/24, ports: [25], reason: …}` to the egress of shop in list.yaml"),
        "{line}"
    );
    let lines = told(to_redis(), shop(Vec::new()));
    let line = one(
        &lines,
        "Excess [shop] shop/web-egress.yaml:20:3 NetworkPolicy/shop/web-egress egress[0] lets through shop/web → redis/redis:8080,",
    );
    assert!(line.contains("`- {to: redis.redis, ports: [8080], reason: …}`"), "{line}");
    let both = vec![intent("redis.redis", &["6379"]), intent("198.51.100.0/24", &["25"])];
    assert_eq!(told(policies(), shop(both)), [""; 0], "the control");
    let wide = vec![intent("redis.redis", &["6379"]), intent("198.51.0.0/16", &["25"])];
    assert_eq!(told(policies(), shop(wide)), [""; 0], "a wider block intends it too");
    let narrow = vec![intent("redis.redis", &["6379"]), intent("198.51.100.0/25", &["25"])];
    let lines = told(policies(), shop(narrow));
    let line = one(&lines, "Excess ");
    assert!(line.contains("shop/web → 198.51.100.128/25:25"), "what is beyond the block: {line}");
}

#[test]
fn a_port_more_than_intended_is_an_excess() {
    let policies = vec![egress("shop/web", block("192.0.2.7/32"), &[5432, 22])];
    let lines = told(policies, shop(vec![intent("pg.example.org", &["5432"])]));
    let line = one(&lines, "Excess [shop]");
    assert!(line.contains("shop/web → 192.0.2.7/32:22,"), "{line}");
}

#[test]
fn ingress_is_by_whom_and_a_direction_without_a_table_is_not_looked_at() {
    let policies =
        || vec![ingress("shop/web", app("envoy/envoy"), &[8080]), egress("envoy/envoy", app("shop/web"), &[8080])];
    let entered = |entries| vec![table("sh*", None, Some(entries))];
    assert_eq!(told(policies(), entered(vec![intent("envoy", &[])])), [""; 0]);
    let lines = told(policies(), entered(Vec::new()));
    let line = one(
        &lines,
        "Excess [shop] shop/web-ingress.yaml:10:3 NetworkPolicy/shop/web-ingress ingress[0] lets through envoy/envoy → shop/web:8080,",
    );
    assert!(line.contains("`- {from: envoy, ports: [8080], reason: …}` to the ingress of shop"), "{line}");
    let lines = told(Vec::new(), entered(vec![intent("envoy", &["8080"])]));
    one(
        &lines,
        "Missing [shop] list.yaml:7:3 the intended flow envoy → shop:8080 (because) is not open: egress of envoy/envoy denies it, and ingress of shop/",
    );
    assert_eq!(told(policies(), shop(Vec::new())), [""; 0], "its ingress is not told of");
}

#[test]
fn tables_that_match_the_same_namespace_count_together() {
    let tables = vec![
        table("shop", Some(vec![intent("redis.redis", &["6379"])]), None),
        table("*", Some(vec![intent("192.0.2.7", &["5432"])]), None),
    ];
    let policies = to_redis().into_iter().chain([egress("shop/api", block("192.0.2.7/32"), &[5432])]).collect();
    let lines = told(policies, tables);
    assert!(!lines.iter().any(|line| line.contains("[shop]")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("Missing")).count(), 2, "of envoy and redis: {lines:#?}");
}

#[test]
fn what_a_name_stands_for_and_is_not_known_is_told_and_may_be_what_is_open() {
    let opened = || vec![egress("shop/web", block("192.0.2.7/32"), &[5432])];
    for (peer, reason) in [
        ("lost.example.org", "could not be resolved"),
        ("api.example.org", "its addresses are not known"),
        ("pg01", "there is no namespace and no Service `pg01`"),
        ("gone.redis", "there is no Service `redis/gone`"),
    ] {
        let lines = told(opened(), shop(vec![intent(peer, &["5432"])]));
        let line = one(&lines, &format!("Untold [] list.yaml:7:3 the intended flow to `{peer}` is not looked at: "));
        assert!(line.contains(reason), "{line}");
        let lines = told(opened(), shop(vec![intent(peer, &["443"])]));
        assert!(lines.iter().any(|line| line.starts_with("Excess")), "on another port it cannot be: {lines:#?}");
    }
    let lines = told(opened(), shop(vec![intent("pg.example.org", &["postgres"])]));
    assert!(
        lines.iter().any(|line| line.starts_with("Untold") && line.contains("port `postgres` is a name")),
        "{lines:#?}"
    );
}

#[test]
fn a_table_or_namespace_about_which_nothing_is_known_is_told() {
    let lines = told(Vec::new(), vec![table("tenant-*", Some(Vec::new()), None)]);
    one(&lines, "Untold [] list.yaml:3:1 `match: tenant-*` matches no namespace");
    let empty = cluster().namespace("empty", &[]);
    let lines = told_with(&empty, Vec::new(), vec![table("empty", Some(Vec::new()), None)]);
    one(&lines, "Untold [empty] list.yaml:3:1 no workload of namespace empty is known");
}

#[test]
fn a_workload_that_nothing_isolates_is_an_excess_with_its_reason() {
    let world_open = Cluster::new(&["free", "redis"]).app("free/x", 1).app("redis/redis", 1);
    let lines = told_with(&world_open, Vec::new(), vec![table("free", Some(Vec::new()), None)]);
    let line = one(&lines, "Excess [free]  no policy isolates free/x for egress, so that ");
    assert!(line.contains("every port") && line.contains("add the baseline"), "{line}");
}
