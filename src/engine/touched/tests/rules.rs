//! Rules of a merge: one flow of each, and those that open one side.

use serde_json::{Value, json};

use super::*;
use crate::engine::fixtures::{app, block, deny_all, egress, ingress, policy, port};

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("shop/api", 1).app("redis/redis", 1)
}

fn closed() -> Vec<Policy> {
    vec![deny_all("shop"), deny_all("redis")]
}

/// Adds policies to two closed namespaces.
fn adding(cluster: Cluster, policies: &[Policy]) -> Merge {
    Merge::new(cluster, closed(), closed().into_iter().chain(policies.iter().cloned()).collect())
}

/// An egress policy of `shop/web` with these rules.
#[expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]
fn web(rules: Value) -> Policy {
    policy(
        "shop/web",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": rules}),
    )
}

#[test]
fn a_rule_that_opens_one_side_says_which_other_side_lacks_an_entry() {
    let out = adding(cluster(), &[egress("shop/web", app("redis/redis"), &[8080])]);
    assert_eq!(out.flows(), ["shop/web -> redis/redis:8080/TCP OneSided denied>denied, lacks ingress"]);
    let into = adding(cluster(), &[ingress("redis/redis", app("shop/web"), &[8080])]);
    assert_eq!(into.flows(), ["shop/web -> redis/redis:8080/TCP OneSided denied>denied, lacks egress"]);
    let mut older = adding(cluster(), &[]);
    older.before = Some(out.declared.clone());
    older.declared = out.declared;
    assert_eq!(older.flows(), [""; 0], "the control: a rule of an older merge");
}

#[test]
fn an_unnecessary_rule_still_shows_one_flow() {
    let open = Merge::new(cluster(), Vec::new(), vec![web(json!([{"to": app("redis/redis")}]))]);
    let flows = open.run().flows();
    assert!(
        flows.contains(&"shop/web -> redis/redis:8080/TCP Rule allowed>allowed".to_owned()),
        "allowed before too: {flows:#?}"
    );
}

#[test]
fn a_wide_peer_is_one_line_and_no_note() {
    let wide = egress("shop/web", json!([{"namespaceSelector": {}}]), &[8080]);
    let closed = adding(cluster(), std::slice::from_ref(&wide));
    let lines = closed.flows();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].ends_with("OneSided denied>denied, lacks ingress, covers 1"), "{lines:#?}");
    let answered = adding(cluster(), &[wide, ingress("redis/redis", app("shop/web"), &[8080])]);
    assert_eq!(answered.flows(), ["shop/web -> redis/redis:8080/TCP Changed denied>allowed"]);
}

#[test]
fn pods_that_happen_to_lie_in_an_open_range_lack_nothing() {
    let anyone = adding(cluster(), &[ingress("shop/web", block("0.0.0.0/0"), &[8080])]);
    let unseen = "[Unprobeable: nothing to probe from lies in 0.0.0.0/0: it is outside the cluster]";
    assert_eq!(anyone.flows(), [format!("0.0.0.0/0 -> shop/web:8080/TCP Rule allowed {unseen}")]);
    let out = adding(cluster(), &[egress("shop/web", block("0.0.0.0/0"), &[8080])]);
    let unseen = "[Unprobeable: no configured destination lies in 0.0.0.0/0 (destinations)]";
    assert_eq!(out.flows(), [format!("shop/web -> 0.0.0.0/0:8080/TCP Rule denied>allowed {unseen}")]);
}

#[test]
fn a_range_is_shown_by_the_hosts_that_lie_in_it() {
    let rule = egress("shop/web", block("203.0.113.0/24"), &[5432]);
    let without = adding(cluster(), std::slice::from_ref(&rule));
    let unseen = "[Unprobeable: no configured destination lies in 203.0.113.0/24 (destinations)]";
    assert_eq!(without.flows(), [format!("shop/web -> 203.0.113.0/24:5432/TCP Rule denied>allowed {unseen}")]);
    let other = adding(cluster(), std::slice::from_ref(&rule)).host("198.51.100.7");
    assert_eq!(other.flows(), without.flows(), "a host outside the range");
    let inside = adding(cluster(), &[rule]).host("203.0.113.7");
    assert_eq!(inside.flows(), ["shop/web -> pg01:5432/TCP Changed denied>allowed"]);
    let other_port = adding(cluster(), &[egress("shop/web", block("203.0.113.0/24"), &[443])]).host("203.0.113.7");
    assert_eq!(other_port.flows().len(), 1, "a port that may not be probed there");
    assert!(other_port.flows()[0].contains("Unprobeable"));
}

#[test]
fn a_range_is_asked_about_outside_its_exceptions() {
    let rule = |except: Value| web(json!([{"to": [{"ipBlock": {"cidr": "198.51.100.0/24", "except": except}}]}]));
    for (except, range) in [
        (json!([]), "198.51.100.0/24"),
        (json!(["198.51.100.128/25"]), "198.51.100.0/24"),
        (json!(["198.51.100.0/25"]), "198.51.100.128/25"),
        (json!(["198.51.100.0/26", "198.51.100.64/28"]), "198.51.100.80/28"),
    ] {
        let flows = adding(cluster(), &[rule(except.clone())]).flows();
        assert!(
            flows[0].starts_with(&format!("shop/web -> {range}:8080/TCP Rule denied>allowed")),
            "{except}: {flows:?}"
        );
    }
}

#[test]
fn a_peer_on_its_nodes_network_is_never_verified() {
    let on_host = |p: &mut crate::model::PodInfo| p.host_network = true;
    let merge = adding(cluster().with("redis/redis", on_host), &[egress("shop/web", app("redis/redis"), &[8080])]);
    let unseen = "[Unprobeable: hostNetwork: the specification leaves policy for it undefined]";
    assert_eq!(merge.flows(), [format!("shop/web -> redis/redis:8080/TCP Rule undefined>undefined {unseen}")]);
    let merge = adding(cluster().with("redis/redis", on_host), &[ingress("shop/web", app("redis/redis"), &[8080])]);
    assert_eq!(merge.flows(), [format!("redis/redis -> shop/web:8080/TCP Rule undefined>undefined {unseen}")]);
}

/// `shop/web` towards these ports of redis, which has four and answers on all.
fn towards(ports: &Value) -> Merge {
    let many = |p: &mut crate::model::PodInfo| {
        p.ports = vec![
            port("http", 8080, Protocol::Tcp),
            port("admin", 9000, Protocol::Tcp),
            port("dns", 5353, Protocol::Udp),
            port("stats", 9125, Protocol::Udp),
        ];
    };
    let rule = web(json!([{"to": app("redis/redis"), "ports": ports}]));
    let mut answer = ingress("redis/redis", app("shop/web"), &[]);
    answer.ingress.iter_mut().flatten().for_each(|rule| rule.ports = None);
    let before: Vec<Policy> = closed().into_iter().chain([answer]).collect();
    let after = before.iter().cloned().chain([rule]).collect();
    Merge::new(cluster().with("redis/redis", many), before, after)
}

#[test]
fn ports_of_rules() {
    let udp = "9125/UDP [Unprobeable: UDP: silence cannot be told from a drop]";
    let rows: [(&str, Value, &[&str]); 7] = [
        ("a number", json!([{"port": 8080}]), &["8080/TCP"]),
        ("a number that nobody declares", json!([{"port": 7000}]), &["7000/TCP"]),
        ("a name", json!([{"port": "admin"}]), &["9000/TCP"]),
        ("a range with declared ports", json!([{"port": 8000, "endPort": 9999}]), &["8080/TCP", "9000/TCP"]),
        ("a range without", json!([{"port": 30000, "endPort": 30010}]), &["30000/TCP"]),
        ("UDP of a DNS server, which answers", json!([{"protocol": "UDP", "port": 5353}]), &["5353/UDP"]),
        ("other UDP", json!([{"protocol": "UDP", "port": 9125}]), &[udp]),
    ];
    for (name, ports, expected) in rows {
        let short = |line: &String| line.replace("shop/web -> redis/redis:", "").replace(" Changed denied>allowed", "");
        let got: Vec<String> = towards(&ports).flows().iter().map(short).collect();
        assert_eq!(got, expected, "{name}");
    }
    let all = towards(&json!([])).flows();
    let mut got: Vec<&str> = all.iter().map(|line| line.split([':', ' ']).nth(3).unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, ["5353/UDP", "8080/TCP", "9000/TCP", "9125/UDP"], "no ports");
}

#[test]
fn a_rule_between_the_pods_of_one_workload() {
    let own = ingress("shop/web", app("shop/web"), &[8080]);
    let out = egress("shop/web", app("shop/web"), &[8080]);
    let two = adding(Cluster::new(&["shop", "redis"]).app("shop/web", 2), &[own.clone(), out.clone()]);
    assert_eq!(two.flows(), ["shop/web -> shop/web:8080/TCP Changed denied>allowed"]);
    let one = adding(Cluster::new(&["shop", "redis"]).app("shop/web", 1), &[own, out]).run();
    assert_eq!(one.flows(), [""; 0], "a pod always reaches itself");
    assert_eq!(one.waiting().len(), 2, "{:?}", one.waiting());
}
