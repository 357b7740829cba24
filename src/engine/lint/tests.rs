use serde_json::{Value, json};

use super::*;
use crate::engine::{
    fixtures::{Cluster, app, block, calico, document},
    read,
    surroundings::Surroundings,
};
use crate::model::TieRule;

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("redis/redis", 1)
}

fn denied(namespace: &str) -> PolicyDocument {
    document(&format!("{namespace}/deny"), json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))
}

/// What is told of documents, as `rule severity message`.
#[expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]
fn told(documents: Vec<PolicyDocument>) -> Vec<String> {
    let set = read::documents(&documents).unwrap_or_else(|errors| panic!("{errors:?}"));
    let cluster = cluster();
    let world = World {
        surroundings: Surroundings::of(&cluster.snapshot, set.sets, TieRule::default()),
        ..cluster.world(set.policies)
    };
    let input = Input { world: &world, documents: &documents, product: None, not_rendered: &[] };
    let line = |finding: Finding| format!("{} {:?} {}", finding.rule.word(), finding.severity, finding.message);
    lint(&input).findings.into_iter().map(line).collect()
}

/// The baselines and one more policy of `shop/web`.
fn with(spec: Value) -> Vec<PolicyDocument> {
    vec![denied("shop"), denied("redis"), document("shop/x", spec)]
}

#[expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]
fn web(direction: &str, rules: Value) -> Value {
    let kind = if direction == "egress" { "Egress" } else { "Ingress" };
    json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": [kind], direction: rules})
}

#[test]
fn a_one_sided_rule_is_an_error_with_its_entry() {
    let rule = web("egress", json!([{"to": app("redis/redis"), "ports": [{"port": 8080}]}]));
    let mut documents = with(rule);
    let lines = told(documents.clone());
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    let words = "missing-entry Error NetworkPolicy/shop/x egress[0] opens shop/web → redis/redis:8080/TCP, ingress denies it: add the entry to redis/deny.yaml";
    assert!(line.starts_with(words), "{line}");
    let answer = json!({"podSelector": {}, "ingress": [{"from": app("shop/web"), "ports": [{"port": 8080}]}]});
    documents.push(document("redis/x", answer));
    assert_eq!(told(documents), [""; 0], "the control");
}

#[test]
fn a_selector_that_matches_nothing_is_an_error_beside_what_it_nearly_matches_and_else_a_warning() {
    let rule = |name: &str| with(web("egress", json!([{"to": app(&format!("redis/{name}"))}])));
    let near = told(rule("Redis"));
    assert!(near[0].starts_with("no-effect Error") && near[0].contains("`app: redis` exists"), "{near:#?}");
    let to_come = told(rule("billing"));
    assert!(to_come[0].starts_with("no-effect Warning"), "{to_come:#?}");
}

#[test]
fn a_namespace_without_a_baseline_is_told_with_the_directions_that_are_open() {
    let half = document("shop/half", json!({"podSelector": {}}));
    let lines = told(vec![half, denied("redis")]);
    let words = "baseline Warning namespace shop has no default-deny policy for egress:";
    assert!(lines.len() == 1 && lines[0].starts_with(words), "{lines:#?}");
    let wide = calico("GlobalNetworkPolicy", "wide", json!({"namespaceSelector": "all()", "types": ["Egress"]}));
    let half = document("shop/half", json!({"podSelector": {}}));
    assert_eq!(told(vec![half, denied("redis"), wide]), [""; 0], "a cluster-wide one is one");
}

#[test]
fn a_rule_that_another_one_makes_unnecessary_is_told_once() {
    let wide = json!({"from": block("192.0.2.0/24")});
    let narrow = json!({"from": block("192.0.2.0/24"), "ports": [{"port": 80}]});
    let lines = told(with(web("ingress", json!([narrow, wide]))));
    let shadowed: Vec<&String> = lines.iter().filter(|line| line.starts_with("shadowed")).collect();
    assert_eq!(shadowed.len(), 1, "{lines:#?}");
    assert!(shadowed[0].contains("ingress[0]: ingress[1] lets all of it through already"), "{lines:#?}");
    let twice = told(with(web("ingress", json!([narrow, narrow]))));
    assert!(twice.iter().any(|line| line.contains("ingress[1]: ingress[0] lets")), "{twice:#?}");
    assert_eq!(twice.iter().filter(|line| line.starts_with("shadowed")).count(), 1, "of two equal ones the second");
    let other = json!({"from": block("192.0.2.0/24"), "ports": [{"port": 443}]});
    let apart = told(with(web("ingress", json!([narrow, other]))));
    assert!(!apart.iter().any(|line| line.starts_with("shadowed")), "the control: {apart:#?}");
}

#[test]
fn what_nothing_obeys_is_told() {
    let left_out = json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
        "egress": [{"to": block("192.0.2.0/24"), "ports": [{"port": 443}]}]});
    let lines = told(with(left_out));
    assert!(
        lines.iter().any(|line| line.starts_with("ignored Warning NetworkPolicy/shop/x egress: `policyTypes`")),
        "{lines:#?}"
    );
    let named = web("egress", json!([{"to": block("192.0.2.0/24"), "ports": [{"port": "https"}]}]));
    let lines = told(with(named));
    assert!(
        lines.iter().any(|line| line.contains("port `https` is a name, which addresses do not have")),
        "{lines:#?}"
    );
}

#[test]
fn a_rule_is_broad_where_it_names_neither_ports_nor_peers() {
    for (rule, is_broad) in [
        (json!({}), true),
        (json!({"to": block("0.0.0.0/0")}), true),
        (json!({"to": [{"namespaceSelector": {}}]}), true),
        (json!({"to": block("0.0.0.0/0"), "ports": [{"port": 443}]}), false),
        (json!({"to": block("10.0.0.0/8")}), false),
        (json!({"to": [{"podSelector": {}}]}), false),
    ] {
        let lines = told(with(web("egress", json!([rule]))));
        assert_eq!(lines.iter().any(|line| line.starts_with("broad")), is_broad, "{rule}: {lines:#?}");
    }
}

#[test]
fn policies_of_one_order_that_decide_a_flow_otherwise_are_told_with_it() {
    let policy = |name: &str, order: u32, action: &str| {
        let rule = json!({"action": action, "protocol": "TCP", "destination": {"ports": [8080]}});
        calico(
            "NetworkPolicy",
            name,
            json!({"order": order, "selector": "app == 'redis'", "types": ["Ingress"], "ingress": [rule]}),
        )
    };
    let ambiguous =
        |lines: Vec<String>| lines.into_iter().filter(|l| l.starts_with("ambiguous-order")).collect::<Vec<_>>();
    let equal = ambiguous(told(vec![policy("redis/a", 5, "Allow"), policy("redis/b", 5, "Deny")]));
    assert_eq!(equal.len(), 1, "{equal:#?}");
    assert!(equal[0].contains("redis/a") && equal[0].contains("redis/b") && equal[0].contains("redis/redis:8080/TCP"));
    assert_eq!(ambiguous(told(vec![policy("redis/a", 5, "Allow"), policy("redis/b", 6, "Deny")])), [""; 0]);
    assert_eq!(ambiguous(told(vec![policy("redis/a", 5, "Allow"), policy("redis/b", 5, "Allow")])), [""; 0]);
}

#[test]
fn a_baseline_to_paste_has_a_name_that_no_policy_of_the_namespace_has() {
    let half = |name: &str| document(&format!("shop/{name}"), json!({"podSelector": {}}));
    let name = |documents: Vec<PolicyDocument>| {
        let set = read::documents(&documents).unwrap();
        let world = cluster().world(set.policies);
        let input = Input { world: &world, documents: &documents, product: None, not_rendered: &[] };
        let found = lint(&input).findings.into_iter().find(|finding| finding.rule == Rule::Baseline).unwrap();
        let fix = found.fix.unwrap();
        assert!(fix.entry.contains(&format!("  name: {}\n", fix.policy.clone().unwrap())), "{fix:?}");
        fix.policy.unwrap()
    };
    assert_eq!(name(vec![half("half")]), "default-deny-all", "the control");
    assert_eq!(name(vec![half("default-deny-all")]), "default-deny-all-2");
    assert_eq!(name(vec![half("default-deny-all"), half("default-deny-all-2")]), "default-deny-all-3");
}

/// An AdminNetworkPolicy for every pod, with these ingress rules from pods of namespaces with the label `env`.
fn admin(rules: &[(&str, &str, Option<u16>)]) -> PolicyDocument {
    let rule = |(action, env, port): &(&str, &str, Option<u16>)| {
        let ports: Vec<Value> = port.iter().map(|port| json!({"portNumber": {"port": port}})).collect();
        json!({"action": action, "from": [{"namespaces": {"matchLabels": {"env": env}}}], "ports": ports})
    };
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    let spec = json!({"priority": 1, "subject": {"namespaces": {}}, "ingress": rules});
    let api_version = "policy.networking.k8s.io/v1alpha1".to_owned();
    PolicyDocument { api_version, ..calico("AdminNetworkPolicy", "a", spec) }
}

#[test]
fn a_rule_that_is_needed_before_a_deny_is_not_shadowed_by_one_behind_it() {
    let is_told = |rules: &[(&str, &str, Option<u16>)]| {
        told(vec![admin(rules)])
            .iter()
            .any(|line| line.contains("ingress[0]: ingress[") && line.starts_with("shadowed"))
    };
    let (narrow, wide) = (("Allow", "prod", Some(80)), ("Allow", "prod", None));
    assert!(is_told(&[narrow, wide]), "the control");
    assert!(!is_told(&[narrow, ("Deny", "prod", Some(80)), wide]), "without it, what it allows is denied");
    assert!(!is_told(&[narrow, ("Pass", "prod", None), wide]));
}

#[test]
fn a_calico_rule_for_every_pod_of_every_namespace_is_broad() {
    for (source, is_broad) in [
        (json!({}), true),
        (json!({"namespaceSelector": "all()"}), true),
        (json!({"selector": "all()"}), true),
        (json!({"namespaceSelector": "has(team)"}), false),
        (json!({"selector": "all()", "nets": ["10.0.0.0/8"]}), false),
    ] {
        let rule = json!({"action": "Allow", "source": source});
        let spec = json!({"selector": "all()", "types": ["Ingress"], "ingress": [rule]});
        let lines = told(vec![calico("GlobalNetworkPolicy", "wide", spec)]);
        assert_eq!(lines.iter().any(|line| line.starts_with("broad")), is_broad, "{source}: {lines:#?}");
    }
}

#[test]
fn ambiguous_order_is_told_where_it_decides_flows_with_addresses_outside_or_on_ports_that_no_rule_names() {
    let tie = |deny: Value, allow: Value| {
        let policy = |name: &str, rule: Value| {
            let spec = json!({"order": 5, "selector": "app == 'redis'", "types": ["Egress"], "egress": [rule]});
            calico("NetworkPolicy", name, spec)
        };
        let lines = told(vec![policy("redis/a", deny), policy("redis/b", allow)]);
        lines.into_iter().filter(|line| line.starts_with("ambiguous-order")).collect::<Vec<_>>()
    };
    let to = |net: &str| json!({"action": "Deny", "destination": {"nets": [net]}});
    let on = |port: u16| json!({"action": "Allow", "protocol": "TCP", "destination": {"ports": [port]}});
    let outside = tie(to("192.0.2.1/32"), on(443));
    assert!(outside.len() == 1 && outside[0].contains("redis/redis → 192.0.2.1/32:443/TCP"), "{outside:#?}");
    let anything = tie(to("192.0.2.1/32"), json!({"action": "Allow"}));
    assert!(anything.len() == 1 && anything[0].contains("192.0.2.1/32:"), "{anything:#?}");
    let inside =
        tie(json!({"action": "Deny", "destination": {"namespaceSelector": "all()"}}), json!({"action": "Allow"}));
    assert!(inside.len() == 1 && inside[0].contains("redis/redis → shop/web:"), "{inside:#?}");
    assert_eq!(tie(to("192.0.2.1/32"), json!({"action": "Deny"})), [""; 0], "the control: both deny");
}

#[test]
fn an_entry_for_the_other_side_of_an_admin_policys_rule_opens_its_port_alone() {
    let to = json!([{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "redis"}}}}]);
    let rule = json!({"action": "Allow", "to": to, "ports": [{"portNumber": {"port": 8080}}]});
    let subject = json!({"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}});
    let spec = json!({"priority": 1, "subject": subject, "egress": [rule]});
    let api_version = "policy.networking.k8s.io/v1alpha1".to_owned();
    let documents = vec![
        denied("shop"),
        denied("redis"),
        PolicyDocument { api_version, ..calico("AdminNetworkPolicy", "a", spec) },
    ];
    let set = read::documents(&documents).unwrap();
    let world = cluster().world(set.policies);
    let input = Input { world: &world, documents: &documents, product: None, not_rendered: &[] };
    let findings = lint(&input).findings;
    let missing: Vec<&Finding> = findings.iter().filter(|finding| finding.rule == Rule::MissingEntry).collect();
    let [Finding { fix: Some(fix), .. }] = missing.as_slice() else { panic!("{findings:#?}") };
    assert!(fix.entry.contains("ports:\n    - {protocol: TCP, port: 8080}\n"), "{}", fix.entry);
}

#[test]
fn a_rule_for_the_other_pods_of_a_workload_is_not_without_effect_where_the_files_show_one() {
    let lines = |peer: &str, ports: Value| {
        let spec = json!({"podSelector": {"matchLabels": {"app": "redis"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": peer}}}], "ports": [ports]}]});
        told(vec![denied("shop"), denied("redis"), document("redis/x", spec)])
    };
    assert_eq!(lines("redis", json!({"port": 8080})), [""; 0]);
    assert_eq!(lines("redis", json!({"port": "http"})), [""; 0]);
    assert!(lines("billing", json!({"port": 8080}))[0].starts_with("no-effect"), "the control");
    assert!(lines("redis", json!({"port": "gossip"}))[0].starts_with("no-effect"), "the control");
}
