use serde_json::json;

use super::*;
use crate::engine::fixtures::{document, policy};

fn message(spec: serde_json::Value) -> String {
    read_error(&document("shop/web", spec)).to_string()
}

fn read_error(document: &PolicyDocument) -> Unreadable {
    *super::policy(document).unwrap_err()
}

#[test]
fn directions_follow_the_types_or_their_defaults() {
    for (spec, expected, name) in [
        (json!({}), (true, false), "nothing said"),
        (json!({"policyTypes": []}), (true, false), "empty types are no types"),
        (json!({"ingress": []}), (true, false), "ingress without rules"),
        (json!({"egress": []}), (true, false), "an egress section without rules is none"),
        (json!({"egress": [{}]}), (true, true), "an egress rule"),
        (json!({"policyTypes": ["Egress"]}), (false, true), "egress alone"),
        (json!({"policyTypes": ["Egress"], "ingress": [{}]}), (false, true), "rules of a type that is not named"),
        (json!({"policyTypes": ["Ingress", "Egress"]}), (true, true), "both"),
    ] {
        let policy = policy("shop/web", spec);
        assert_eq!((policy.ingress.is_some(), policy.egress.is_some()), expected, "{name}");
    }
}

#[test]
fn a_policy_without_a_spec_isolates_as_the_api_stores_it() {
    let mut without = document("shop/web", json!({}));
    let control = super::policy(&without).unwrap();
    without.object.as_object_mut().unwrap().remove("spec");
    assert_eq!(super::policy(&without).unwrap(), control);
    assert_eq!(control.ingress, Some(Vec::new()));
}

#[test]
fn a_rule_knows_where_it_stands() {
    let policy = policy("shop/web", json!({"ingress": [{}, {}], "egress": [{}]}));
    let places = |rules: Option<Vec<Rule>>| -> Vec<(usize, String)> {
        rules.unwrap().iter().map(|r| (r.index, r.origin.as_ref().unwrap().short())).collect()
    };
    let line = |n| format!("shop/web.yaml:{n}");
    assert_eq!(places(policy.ingress), [(0, line(10)), (1, line(10))]);
    assert_eq!(places(policy.egress), [(0, line(20))]);
}

#[test]
fn what_the_api_would_refuse_is_an_error_with_its_place() {
    let port = |port: serde_json::Value| json!({"ingress": [{"ports": [port]}]});
    let peer = |peer: serde_json::Value| json!({"ingress": [{"from": [peer]}]});
    for (spec, expected) in [
        (json!({"policyTypes": ["Both"]}), "`Both` is no policy type"),
        (json!({"policyTypes": ["Ingress", "Ingress", "Egress"]}), "more than two policy types"),
        (port(json!({"port": 0})), "port 0 is not between"),
        (port(json!({"port": 70000})), "port 70000 is not between"),
        (port(json!({"port": 90, "endPort": 80})), "endPort 80 is below port 90"),
        (port(json!({"port": "http", "endPort": 80})), "endPort 80 needs a numeric port"),
        (port(json!({"endPort": 80})), "endPort 80 needs a numeric port"),
        (port(json!({"protocol": "ICMP"})), "`ICMP` is no protocol"),
        (peer(json!({})), "the peer names nothing"),
        (peer(json!({"ipBlock": {"cidr": "10.0.0.0"}})), "`10.0.0.0` is no CIDR"),
        (peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x"]}})), "`x` is no CIDR"),
        (peer(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})), "`ipBlock` stands beside a selector"),
        (
            peer(json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}})),
            "invalid label selector",
        ),
    ] {
        let text = message(spec);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(text.starts_with("NetworkPolicy/shop/web (shop/web.yaml:"), "{text}");
    }
}

#[test]
fn a_port_in_quotes_is_an_error_and_no_name_that_nothing_has() {
    let port = |name: &str| json!({"ingress": [{"ports": [{"port": name}]}]});
    for name in ["80", "0100", "1:20", "", "HTTP", "a_b", "-a", "a-", "a--b", "abcdefghijklmnop"] {
        let text = message(port(name));
        assert!(text.contains(&format!("`{name}` is no name of a port")), "{name}: {text}");
    }
    for name in ["http", "8080-tcp", "a", "abcdefghijklmno"] {
        assert!(super::policy(&document("shop/web", port(name))).is_ok(), "{name}");
    }
}

#[test]
fn a_kind_without_a_reader_is_refused_not_guessed() {
    let mut other = document("shop/web", json!({}));
    assert!(understands(&other), "the control");
    other.api_version = "cilium.io/v2".to_owned();
    assert!(!understands(&other));
    assert!(read_error(&other).message.contains("is not understood"));
}
