//! Rules of Calico's policies: what a merge of `cluster-wide.yaml` has to see.

use serde_json::{Value, json};

use super::*;
use crate::{
    engine::{
        fixtures::{app, calico, deny_all, document, egress, ingress},
        read,
    },
    model::PolicyDocument,
};

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("shop/api", 1).app("redis/redis", 1)
}

fn read_all(documents: &[PolicyDocument]) -> Vec<Policy> {
    read::documents(documents).unwrap_or_else(|errors| panic!("{errors:?}")).policies
}

/// A policy for all pods, before those of Kubernetes.
fn global(name: &str, spec: Value) -> Policy {
    let mut spec = spec;
    spec["order"] = json!(100);
    spec["namespaceSelector"] = json!("all()");
    read_all(&[calico("GlobalNetworkPolicy", name, spec)]).remove(0)
}

/// Adds policies to two closed namespaces, in which web may reach redis.
fn adding(policies: &[Policy]) -> Merge {
    let open = [egress("shop/web", app("redis/redis"), &[8080]), ingress("redis/redis", app("shop/web"), &[8080])];
    let before: Vec<Policy> = [deny_all("shop"), deny_all("redis")].into_iter().chain(open).collect();
    let after = before.iter().cloned().chain(policies.iter().cloned()).collect();
    Merge::new(cluster(), before, after)
}

fn tcp(port: u16) -> Value {
    json!({"ports": [port]})
}

#[test]
fn a_rule_that_denies_is_seen_as_a_flow_that_is_closed_by_it() {
    let deny = global(
        "no-redis",
        json!({"types": ["Egress"], "egress": [
            {"action": "Deny", "protocol": "TCP", "destination": {"selector": "app == 'redis'", "ports": [8080]}}]}),
    );
    let lines = adding(&[deny]).flows();
    let closed =
        "shop/web -> redis/redis:8080/TCP Closure allowed>denied, one side was closed, the other is still open";
    assert_eq!(
        lines.iter().filter(|line| line.contains("redis/redis:8080")).collect::<Vec<_>>(),
        [closed],
        "{lines:#?}"
    );
}

#[test]
fn a_rule_that_allows_is_one_sided_where_the_other_side_denies() {
    let dns = json!({"types": ["Egress"], "egress": [
        {"action": "Allow", "protocol": "TCP", "destination": {"selector": "app == 'redis'", "ports": [9000]}}]});
    let lines = adding(&[global("more", dns)]).flows();
    let lacks: Vec<&String> = lines.iter().filter(|line| line.contains("lacks")).collect();
    assert_eq!(lacks.len(), 1, "{lines:#?}");
    assert!(lacks[0].contains("redis/redis:9000/TCP OneSided denied>denied, lacks ingress"), "{lines:#?}");
}

#[test]
fn each_block_and_each_port_of_a_rule_is_shown() {
    let rule = json!({"types": ["Egress"], "egress": [{"action": "Allow", "protocol": "TCP",
        "destination": {"nets": ["203.0.113.0/24", "198.51.100.0/24"], "ports": [5432, 6432]}}]});
    let lines = adding(&[global("pg", rule)]).host("203.0.113.7").flows();
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(has("-> pg01:5432/TCP Changed denied>allowed"), "{lines:#?}");
    assert!(has("-> 198.51.100.0/24:5432/TCP Rule denied>allowed [Unprobeable"), "the other block: {lines:#?}");
    assert!(has("-> 203.0.113.0/24:6432/TCP Rule denied>allowed [Unprobeable"), "the other port: {lines:#?}");
}

#[test]
fn a_rule_that_is_denied_before_it_is_without_effect() {
    let first =
        json!({"types": ["Egress"], "egress": [{"action": "Deny", "protocol": "TCP", "destination": tcp(9000)}]});
    let late = json!({"types": ["Egress"], "order": 200, "egress": [
        {"action": "Allow", "protocol": "TCP", "destination": {"selector": "app == 'redis'", "ports": [9000]}}]});
    let policies =
        [global("a-first", first), read_all(&[calico("GlobalNetworkPolicy", "late", late.clone())]).remove(0)];
    let ran = adding(&policies).run();
    let told: Vec<_> = ran.findings().into_iter().filter(|(_, text)| text.contains("late egress[0]")).collect();
    let [(severity, text)] = told.as_slice() else { panic!("{:?}", ran.findings()) };
    assert_eq!(*severity, Severity::Error);
    let by = "all that it lets through is denied before by GlobalNetworkPolicy/a-first egress[0] (global/x.yaml:20)";
    assert!(text.contains(by), "{text}");
    let alone = read_all(&[calico("GlobalNetworkPolicy", "late", late)]);
    assert_eq!(adding(&alone).run().findings(), [], "the control: nothing before it");
}

#[test]
fn a_misspelt_label_in_a_selector_of_calico_is_a_near_miss() {
    let rule = |name: &str| {
        let selector = format!("app == '{name}'");
        let destination = json!({"selector": selector, "namespaceSelector": "kubernetes.io/metadata.name == 'redis'"});
        global(
            "x",
            json!({"types": ["Egress"], "egress": [
            {"action": "Allow", "protocol": "TCP", "destination": destination}]}),
        )
    };
    let ran = adding(&[rule("Redis")]).run();
    let [(_, text)] = ran.findings()[..] else { panic!("{:?}", ran.findings()) };
    assert!(text.contains("no pod in redis has label `app: Redis`; `app: redis` exists (1 pod)"), "{text}");
    let control = adding(&[rule("redis")]).run();
    assert!(control.findings().iter().all(|(severity, _)| *severity == Severity::Info), "{:?}", control.findings());
    let waits = adding(&[rule("billing")]).run();
    assert_eq!(waits.waiting(), ["GlobalNetworkPolicy/x egress[0]: no pod in redis has label `app: billing`"]);
}

#[test]
fn a_selector_of_network_sets_is_asked_about_their_addresses() {
    let set = calico("GlobalNetworkSet", "databases", json!({"nets": ["203.0.113.7/32"]}));
    let mut set = PolicyDocument { ..set };
    set.object["metadata"]["labels"] = json!({"role": "db"});
    let rule = json!({"types": ["Egress"], "egress": [
        {"action": "Allow", "protocol": "TCP", "destination": {"selector": "role == 'db'", "ports": [5432]}}]});
    let mut merge = adding(&[global("db", rule)]);
    assert_eq!(merge.run().waiting().len(), 1, "no set: nothing matches");
    merge.sets = read::documents(&[set]).unwrap().sets;
    let lines = merge.flows();
    assert!(lines[0].contains("-> 203.0.113.7/32:5432/TCP Rule denied>allowed [Unprobeable"), "{lines:#?}");
    assert!(merge.host("203.0.113.7").flows()[0].contains("-> pg01:5432/TCP Changed denied>allowed"));
}

#[test]
fn only_what_a_merge_brought_to_a_rule_of_calico_is_looked_at() {
    let rule = |ports: &[u16]| {
        global(
            "x",
            json!({"types": ["Egress"], "egress": [{"action": "Allow", "protocol": "TCP",
            "destination": {"nets": ["203.0.113.0/24"], "ports": ports}}]}),
        )
    };
    let mut merge = adding(&[rule(&[5432])]);
    merge.before = Some(merge.declared.clone());
    merge.declared = adding(&[rule(&[5432, 6432])]).declared;
    let lines = merge.flows();
    assert!(lines.len() == 1 && lines[0].contains("203.0.113.0/24:6432"), "{lines:#?}");
}

#[test]
fn a_rule_that_logs_is_no_flow_and_one_that_names_http_is_never_verified() {
    let log = global("log", json!({"types": ["Egress"], "egress": [{"action": "Log"}, {"action": "Pass"}]}));
    let lines = adding(&[log]).flows();
    assert_eq!(lines.len(), 1, "that of the rule that passes on: {lines:#?}");
    let http = read_all(&[
        calico(
            "NetworkPolicy",
            "redis/http",
            json!({"selector": "app == 'redis'", "order": 1, "types": ["Ingress"], "ingress": [
            {"action": "Allow", "protocol": "TCP", "source": {"selector": "app == 'web'", "namespaceSelector": "all()"},
                "destination": {"ports": [8080]}, "http": {"methods": ["GET"]}}]}),
        ),
        document("redis/x", json!({"podSelector": {}})),
    ]);
    let lines = adding(&http).run().flows();
    let of_http = lines.iter().find(|line| line.contains("shop/web -> redis/redis:8080"));
    assert!(of_http.is_some_and(|line| line.contains("Unprobeable: a rule asks for what")), "{lines:#?}");
}
