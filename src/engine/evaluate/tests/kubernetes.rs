//! NetworkPolicy v1: the points of section 2 that concern more than one rule. The others are tests of
//! `verdict` (`s1` to `s13`) and of the commands.

use super::*;

#[test]
fn kubernetes_2_4_types_default_to_ingress_and_to_egress_only_with_a_rule() {
    let decided = |spec: Value| {
        let documents = [document("shop/p", spec)];
        [("shop/api", "shop/web"), ("shop/web", "shop/api")].map(|(from, to)| tcp(&documents, from, to, 80))
    };
    let web = json!({"matchLabels": {"app": "web"}});
    assert_eq!(decided(json!({"podSelector": web})), [Denied, Allowed]);
    assert_eq!(decided(json!({"podSelector": web, "egress": []})), [Denied, Allowed]);
    let one = json!([{"to": [{"podSelector": {"matchLabels": {"app": "none"}}}]}]);
    assert_eq!(decided(json!({"podSelector": web, "egress": one})), [Denied, Denied]);
    assert_eq!(decided(json!({"podSelector": web, "policyTypes": ["Egress"]})), [Allowed, Denied]);
}

#[test]
fn kubernetes_2_6_a_rule_with_ports_never_matches_icmp() {
    let ping = |ports: Value| {
        let spec = json!({"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"ports": ports}]});
        let ends = ("shop/web", "shop/api");
        let ping = Traffic::icmp(IpProtocol::ICMP, 8, 0);
        ask(&cluster(), &[document("shop/p", spec)], TieRule::default(), ends, &ping).decision()
    };
    let every_port = json!([{"protocol": "TCP"}, {"protocol": "UDP"}, {"protocol": "SCTP"}]);
    assert_eq!([ping(every_port), ping(json!([]))], [Denied, Allowed]);
}

#[test]
fn kubernetes_2_14_policies_are_additive_in_any_order() {
    let on = |name: &str, port: u16| {
        document(
            name,
            json!({"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"ports": [{"port": port}]}]}),
        )
    };
    let mut documents = [on("shop/a", 80), api_denied(), on("shop/z", 81)];
    for _ in 0..documents.len() {
        documents.rotate_left(1);
        let decided = [80, 81, 82].map(|port| tcp(&documents, "shop/web", "shop/api", port));
        assert_eq!(decided, [Allowed, Allowed, Denied]);
    }
}

/// A dataplane may drop such a rule, or the whole policy: no verdict is guessed from it.
#[test]
fn kubernetes_2_15_invalid_content_of_a_rule_is_refused() {
    for (rule, word) in [
        (json!({"ports": [{"port": 70_000}]}), "70000"),
        (json!({"ports": [{"port": 80, "endPort": 79}]}), "endPort"),
        (json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}), "10.0.0.0/33"),
        (json!({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}]}), "operator"),
    ] {
        let documents = [document("shop/p", json!({"podSelector": {}, "ingress": [rule]}))];
        let errors = Evaluation::of(&cluster().snapshot, &documents, TieRule::default()).unwrap_err();
        assert!(errors[0].to_string().contains(word), "{errors:?}");
    }
}

#[test]
fn kubernetes_2_16_namespace_labels_are_those_of_the_namespace_as_it_is() {
    let prod = json!({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["test"]}]});
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": prod}]}]});
    let documents = [document("shop/p", spec)];
    let decided = |cluster: &Cluster| {
        ask(cluster, &documents, TieRule::default(), ("redis/redis", "shop/api"), &Traffic::to_port(Protocol::Tcp, 80))
            .decision()
    };
    let mut cluster = cluster();
    assert_eq!(decided(&cluster), Denied);
    cluster.snapshot.namespaces.get_mut("redis").unwrap().labels.remove("env");
    assert_eq!(decided(&cluster), Allowed);
}

#[test]
fn kubernetes_2_17_dns_is_egress_and_needs_its_own_rule() {
    let to_api = json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "api"}}}]}]});
    let documents = [document("shop/web", to_api)];
    let dns =
        |to| ask(&cluster(), &documents, TieRule::default(), ("shop/web", to), &Traffic::to_port(Protocol::Udp, 53));
    assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), Allowed);
    // Neither the resolver's pods nor the node's cache at a link-local address.
    assert_eq!(["redis/redis", "169.254.20.10"].map(|to| dns(to).decision()), [Denied, Denied]);
}
