//! Rules that match nothing.

use serde_json::{Value, json};

use super::*;
use crate::engine::fixtures::{app, deny_all, egress, ingress, policy, port};

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis", "empty"]).app("shop/web", 1).app("redis/redis", 2)
}

/// A merge that adds this policy.
fn adding(cluster: Cluster, policy: Policy) -> Ran {
    Merge::new(cluster, vec![deny_all("shop")], vec![deny_all("shop"), policy]).run()
}

fn to(peers: Value) -> Policy {
    egress("shop/web", peers, &[8080])
}

fn labelled(namespace: &str, key: &str, value: &str) -> Value {
    json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {key: value}}}])
}

/// Peers of `shop/web`: what waits, or else what is a mistake.
fn silent_peers() -> [(&'static str, Value, Result<String, String>); 7] {
    let place = "shop/web-egress egress[0] (shop/web-egress.yaml:20)";
    let rule = "NetworkPolicy/shop/web-egress egress[0]";
    [
        (
            "near miss",
            app("redis/Redis"),
            Err(format!("{place}: no pod in redis has label `app: Redis`; `app: redis` exists (2 pods)")),
        ),
        (
            "sister key",
            labelled("redis", "k8s-app", "redis"),
            Err(format!("{place}: no pod in redis has label `k8s-app: redis`; `app: redis` exists (2 pods)")),
        ),
        ("no such namespace", app("redsi/redis"), Err(format!("{place}: namespace redsi does not exist; redis does"))),
        (
            "no such namespace, none near",
            app("payments/api"),
            Err(format!("{place}: namespace payments does not exist")),
        ),
        ("no such app", app("redis/sentinel"), Ok(format!("{rule}: no pod in redis has label `app: sentinel`"))),
        ("no pods at all", app("empty/queue"), Ok(format!("{rule}: no pod in empty has label `app: queue`"))),
        (
            "no namespace with a label",
            json!([{"namespaceSelector": {"matchLabels": {"tenant": "yes"}}}]),
            Ok(format!("{rule}: no namespace has label `tenant: yes`")),
        ),
    ]
}

#[test]
fn a_rule_that_matches_nothing_is_a_mistake_or_waits() {
    for (name, peers, expected) in silent_peers() {
        let ran = adding(cluster(), to(peers));
        let got: Vec<String> = ran.flows();
        assert_eq!(got, [""; 0], "{name}");
        match expected {
            Err(finding) => {
                assert_eq!(ran.findings(), [(Severity::Error, finding.as_str())], "{name}");
                assert_eq!(ran.waiting(), [""; 0], "{name}");
            }
            Ok(waiting) => assert_eq!((ran.waiting(), ran.findings()), (vec![waiting], vec![]), "{name}"),
        }
    }
    let control = adding(cluster(), to(app("redis/redis")));
    assert_eq!((control.waiting(), control.findings(), control.flows().len()), (vec![], vec![], 1), "the control");
}

#[test]
fn a_policy_on_nothing_is_a_mistake_or_waits_too() {
    let on = |name: &str| ingress(&format!("shop/{name}"), app("redis/redis"), &[8080]);
    let near = adding(cluster(), on("Web"));
    let text = "shop/Web-ingress ingress[0] (shop/Web-ingress.yaml:10): no pod in shop has label `app: Web`; `app: web` exists (1 pod)";
    assert_eq!(near.findings(), [(Severity::Error, text)]);
    let far = adding(cluster(), on("billing"));
    assert_eq!(
        far.waiting(),
        ["NetworkPolicy/shop/billing-ingress ingress[0]: no pod in shop has label `app: billing`"]
    );
}

#[test]
fn a_mistake_does_not_hide_behind_a_peer_that_works() {
    let peers = |second: &str| json!([app("redis/redis")[0], app(second)[0]]);
    let near = adding(cluster(), to(peers("redis/Redis")));
    assert_eq!(near.flows(), ["shop/web -> redis/redis:8080/TCP Changed denied>allowed"]);
    let text = "shop/web-egress egress[0] (shop/web-egress.yaml:20): no pod in redis has label `app: Redis`; `app: redis` exists (2 pods)";
    assert_eq!(near.findings(), [(Severity::Error, text)]);
    let far = adding(cluster(), to(peers("redis/sentinel")));
    let waits = "NetworkPolicy/shop/web-egress egress[0]: no pod in redis has label `app: sentinel`";
    assert_eq!((far.findings(), far.waiting()), (vec![], vec![waits.to_owned()]), "an app to come waits");
}

/// The peer once was forgotten: nobody looked at it when its pods came.
#[test]
fn a_peer_that_waited_is_looked_at_when_it_matches_and_its_neighbours_are_not() {
    let policies = || {
        let peers = json!([app("redis/redis")[0], app("redis/sentinel")[0]]);
        vec![deny_all("shop"), deny_all("redis"), to(peers)]
    };
    let waiting = Merge::new(cluster(), vec![deny_all("shop"), deny_all("redis")], policies()).run().touched.waiting;
    let [silent] = waiting.as_slice() else { panic!("{waiting:?}") };
    let mut merge = Merge::new(cluster(), policies(), policies());
    merge.retried = vec![Retried { rule: silent.rule.clone(), parts: silent.parts.clone() }];
    assert_eq!((merge.run().flows(), merge.run().touched.waiting), (vec![], waiting.clone()), "still not there");
    merge.cluster = cluster().app("redis/sentinel", 1);
    assert_eq!(merge.flows(), ["shop/web -> redis/sentinel:8080/TCP OneSided denied>denied, lacks ingress"]);
}

#[test]
fn a_port_that_nobody_declares_waits_beside_one_that_works() {
    let rule = policy(
        "shop/web-egress",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"to": app("redis/redis"), "ports": [{"port": 8080}, {"port": "metrics"}]}]}),
    );
    let ran = adding(cluster(), rule.clone());
    assert_eq!(ran.waiting(), ["NetworkPolicy/shop/web-egress egress[0]: no pod declares port `metrics`"]);
    let metrics = port("metrics", 9090, Protocol::Tcp);
    let declared = cluster().with("redis/redis", |p| p.ports.push(metrics.clone()));
    assert_eq!(adding(declared, rule).waiting(), [""; 0], "the control");
}

#[test]
fn on_a_first_run_a_mistake_is_a_note() {
    let ran = Merge::first(cluster(), vec![deny_all("shop"), to(app("redis/Redis"))]).run();
    let severities: Vec<Severity> = ran.touched.findings.iter().map(|f| f.severity).collect();
    assert_eq!(severities, [Severity::Info]);
}

#[test]
fn a_rule_that_waited_is_looked_at_again_until_it_matches() {
    let policies = || vec![deny_all("shop"), to(app("redis/sentinel"))];
    let mut merge = Merge::new(cluster(), policies(), policies());
    assert_eq!(merge.flows(), [""; 0], "no rule of this merge, none retried");
    merge.retried = vec![Retried { rule: rule("shop/web-egress", Direction::Egress, 0), parts: Vec::new() }];
    assert_eq!(
        merge.run().waiting(),
        ["NetworkPolicy/shop/web-egress egress[0]: no pod in redis has label `app: sentinel`"]
    );
    merge.cluster = cluster().app("redis/sentinel", 1);
    assert_eq!(merge.flows(), ["shop/web -> redis/sentinel:8080/TCP Retried allowed>allowed"]);
}

#[test]
fn a_workload_at_zero_waits_as_a_flow() {
    let ran = adding(cluster().app("redis/queue", 0), to(app("redis/queue")));
    let line = "shop/web -> redis/queue:8080/TCP Changed denied>allowed [Waiting: redis/queue runs no pod]";
    assert_eq!((ran.flows(), ran.findings(), ran.waiting()), (vec![line.to_owned()], vec![], vec![]));
}

#[test]
fn a_port_name_that_nobody_declares_is_said_as_such() {
    let named = |name: &str| {
        policy(
            "shop/web-egress",
            json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
                "egress": [{"to": app("redis/redis"), "ports": [{"port": name}]}]}),
        )
    };
    let ran = adding(cluster(), named("redis"));
    assert_eq!(
        ran.waiting(),
        ["NetworkPolicy/shop/web-egress egress[0]: no pod declares its ports that has label `app: redis`"]
    );
    let declared = cluster().with("redis/redis", |p| p.ports = vec![port("redis", 6379, Protocol::Tcp)]);
    let ran = adding(declared, named("redis"));
    assert_eq!(ran.flows(), ["shop/web -> redis/redis:6379/TCP Changed denied>allowed"], "the control");
}

#[test]
fn a_namespace_where_no_probe_may_start_is_unprobeable() {
    let cluster = Cluster::new(&["elsewhere", "shop"]).app("elsewhere/job", 1).app("shop/web", 1);
    let ran = adding(cluster, ingress("shop/web", app("elsewhere/job"), &[8080]));
    let unseen = "[Unprobeable: no probe may start in elsewhere (probeNamespaces)]";
    assert_eq!(ran.flows(), [format!("elsewhere/job -> shop/web:8080/TCP Changed denied>allowed {unseen}")]);
}
