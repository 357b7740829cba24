//! AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy: section 3, sentence by sentence.

use super::*;

/// A document of the network policy API.
fn policy(version: &str, kind: &str, name: &str, spec: Value) -> PolicyDocument {
    let like = calico(kind, name, spec);
    PolicyDocument { api_version: format!("policy.networking.k8s.io/{version}"), ..like }
}

fn anp(name: &str, priority: u32, side: (&str, Value)) -> PolicyDocument {
    let spec = json!({"priority": priority, "subject": {"namespaces": {}}, side.0: side.1});
    policy("v1alpha1", "AdminNetworkPolicy", name, spec)
}

fn banp(side: (&str, Value)) -> PolicyDocument {
    let spec = json!({"subject": {"namespaces": {}}, side.0: side.1});
    policy("v1alpha1", "BaselineAdminNetworkPolicy", "default", spec)
}

fn cnp(tier: &str, name: &str, priority: u32, side: (&str, Value)) -> PolicyDocument {
    let spec = json!({"tier": tier, "priority": priority, "subject": {"namespaces": {}}, side.0: side.1});
    policy("v1alpha2", "ClusterNetworkPolicy", name, spec)
}

/// What a test makes of either version.
struct Api {
    allow: &'static str,
    admin: fn(&str, u32, (&str, Value)) -> PolicyDocument,
    baseline: fn((&str, Value)) -> PolicyDocument,
}

/// The two versions say the same in other words.
const VERSIONS: [Api; 2] = [
    Api { allow: "Allow", admin: anp, baseline: banp },
    Api {
        allow: "Accept",
        admin: |name, priority, side| cnp("Admin", name, priority, side),
        baseline: |side| cnp("Baseline", "default", 1, side),
    },
];

/// Ingress from all pods.
fn from_all(action: &str) -> (&'static str, Value) {
    ("ingress", json!([{"action": action, "from": [{"namespaces": {}}]}]))
}

#[track_caller]
fn web_to_api(documents: &[PolicyDocument], port: u16) -> Decision {
    tcp(documents, "shop/web", "shop/api", port)
}

/// Shop/api lets nothing in but port 80.
fn api_on_80() -> PolicyDocument {
    document(
        "shop/api",
        json!({"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"ports": [{"port": 80}]}]}),
    )
}

#[test]
fn admin_3_admin_is_before_network_policies_and_baseline_after() {
    for Api { allow, admin, baseline } in VERSIONS {
        assert_eq!(web_to_api(&[admin("a", 1, from_all("Deny")), api_on_80()], 80), Denied);
        // "`Accept` in Admin skips NP".
        assert_eq!(web_to_api(&[admin("a", 1, from_all(allow)), api_denied()], 80), Allowed);
        // Baseline is asked only where no NetworkPolicy isolates.
        assert_eq!(web_to_api(&[baseline(from_all("Deny"))], 80), Denied);
        assert_eq!(web_to_api(&[baseline(from_all("Deny")), api_on_80()], 80), Allowed);
        assert_eq!(web_to_api(&[baseline(from_all(allow)), api_denied()], 80), Denied);
    }
}

#[test]
fn admin_3_the_lowest_priority_is_first_by_number() {
    for Api { allow, admin, .. } in VERSIONS {
        let decided = |deny, permit| {
            web_to_api(&[admin("deny", deny, from_all("Deny")), admin("permit", permit, from_all(allow))], 80)
        };
        assert_eq!([decided(5, 6), decided(7, 6), decided(100, 20)], [Denied, Allowed, Allowed]);
    }
}

#[test]
fn admin_3_equal_priorities_are_undefined_so_they_are_told() {
    for Api { allow, admin, .. } in VERSIONS {
        let documents = [admin("a", 7, from_all("Deny")), admin("b", 7, from_all(allow))];
        let cluster = cluster();
        let evaluation = Evaluation::of(&cluster.snapshot, &documents, TieRule::default()).unwrap();
        let ends = ["shop/web", "shop/api"].map(|name| evaluation.end(address(&cluster, name)));
        let traffic = Traffic::to_port(Protocol::Tcp, 80);
        let ties = verdict::ties(&evaluation.world, ends[0], ends[1], &traffic);
        assert_eq!(ties.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn admin_3_the_first_matching_rule_wins() {
    for Api { allow, admin, .. } in VERSIONS {
        let green = json!({"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"color": "green"}}}});
        let rules = json!([{"action": allow, "from": [green]}, {"action": "Deny", "from": [{"namespaces": {}}]}]);
        let documents = [admin("a", 1, ("ingress", rules))];
        assert_eq!(web_to_api(&documents, 80), Allowed);
        assert_eq!(tcp(&documents, "redis/redis", "shop/api", 80), Denied);
    }
}

#[test]
fn admin_3_pass_goes_to_the_next_tier() {
    for Api { admin, baseline, .. } in VERSIONS {
        let passed = || vec![admin("a", 1, from_all("Pass")), admin("b", 2, from_all("Deny"))];
        let with = |more: PolicyDocument| [passed(), vec![more]].concat();
        assert_eq!(web_to_api(&passed(), 80), Allowed, "the rest of the tier is skipped");
        assert_eq!([web_to_api(&with(api_on_80()), 80), web_to_api(&with(api_on_80()), 81)], [Allowed, Denied]);
        assert_eq!(web_to_api(&with(baseline(from_all("Deny"))), 80), Denied);
    }
}

#[test]
fn admin_3_there_is_no_implicit_deny() {
    for Api { allow, admin, baseline } in VERSIONS {
        let narrow = || ("ingress", json!([{"action": allow, "from": [{"namespaces": {"matchLabels": {"a": "b"}}}]}]));
        assert_eq!(web_to_api(&[admin("a", 1, narrow()), baseline(narrow())], 80), Allowed);
        // "CNPs with no ingress rules do not affect ingress traffic."
        assert_eq!(web_to_api(&[admin("a", 1, ("ingress", json!([]))), api_denied()], 80), Denied);
    }
}

#[test]
fn admin_3_the_node_network_is_never_subject_or_peer() {
    let cluster = cluster().with("shop/web", |pod| {
        pod.host_network = true;
        pod.ips = vec!["192.168.0.9".parse().unwrap()];
    });
    for Api { admin, .. } in VERSIONS {
        let ask = |ends| ask(&cluster, &[admin("a", 1, from_all("Deny"))], TieRule::default(), ends, &http());
        assert_eq!(ask(("shop/web", "shop/api")).ingress, Side::NotIsolated, "it is a node, no pod of a namespace");
        assert_eq!(ask(("redis/redis", "shop/web")).ingress, Side::Undefined);
        assert_eq!(ask(("redis/redis", "shop/api")).decision(), Denied);
    }
}

fn http() -> Traffic {
    Traffic::to_port(Protocol::Tcp, 80)
}

#[test]
fn admin_3_networks_match_traffic_within_the_cluster() {
    let api = address(&cluster(), "shop/api");
    for Api { admin, .. } in VERSIONS {
        let rules = json!([{"action": "Deny", "to": [{"networks": [format!("{api}/32"), "203.0.113.0/24"]}]}]);
        let documents = [admin("a", 1, ("egress", rules))];
        let reached = ["shop/api", "203.0.113.9", "redis/redis", "198.51.100.7"]
            .map(|destination| tcp(&documents, "shop/web", destination, 80));
        assert_eq!(reached, [Denied, Denied, Allowed, Allowed]);
    }
}

#[test]
fn admin_3_nodes_are_the_addresses_in_their_status() {
    let mut cluster = cluster();
    cluster.snapshot.nodes.insert("n2".to_owned(), vec!["192.168.0.2".parse().unwrap()]);
    cluster.snapshot.node_labels.insert("n2".to_owned(), labels(&[("zone", "1")]));
    for Api { admin, .. } in VERSIONS {
        for (selector, expected) in [(json!({}), Denied), (json!({"matchLabels": {"zone": "2"}}), Allowed)] {
            let documents = [admin("a", 1, ("egress", json!([{"action": "Deny", "to": [{"nodes": selector}]}])))];
            let ask = |to| ask(&cluster, &documents, TieRule::default(), ("shop/web", to), &http()).decision();
            assert_eq!([ask("192.168.0.2"), ask("192.168.0.3")], [expected, Allowed]);
        }
    }
}

#[test]
fn admin_3_a_peer_that_is_not_known_fails_closed() {
    for Api { allow, admin, .. } in VERSIONS {
        for unknown in [json!({"galaxies": {}}), json!({}), json!({"networks": ["10.0.0.0/8"]})] {
            let rules = |action| ("ingress", json!([{"action": action, "from": [{"namespaces": {}}, unknown]}]));
            // Accept matches nothing, not even what its other peer would; Deny and Pass are a deny of all.
            assert_eq!(web_to_api(&[admin("a", 1, rules(allow)), api_denied()], 80), Denied);
            for action in ["Deny", "Pass"] {
                assert_eq!(web_to_api(&[admin("a", 1, rules(action))], 80), Denied);
                assert_eq!(tcp(&[admin("a", 1, rules(action))], "203.0.113.9", "shop/api", 80), Denied);
            }
        }
    }
}

#[test]
fn admin_3_names_of_domains_open_no_address_that_is_not_known() {
    for Api { allow, admin, .. } in VERSIONS {
        let closed = document("shop/deny", json!({"podSelector": {}, "policyTypes": ["Egress"]}));
        let named = json!([{"action": allow, "to": [{"domainNames": ["*.example.org"]}]}]);
        assert_eq!(tcp(&[admin("a", 1, ("egress", named)), closed], "shop/web", "203.0.113.9", 443), Denied);
    }
}

#[test]
fn admin_3_ports_of_v1alpha1_are_protocols_of_v1alpha2() {
    let cluster = cluster().with("shop/api", |pod| pod.ports.push(port("dns", 53, Protocol::Udp)));
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    for (old, new, denied, open) in [
        (
            json!({"portNumber": {"port": 80}}),
            json!({"tcp": {"destinationPort": {"number": 80}}}),
            vec![(tcp, 80)],
            vec![(udp, 80), (tcp, 81)],
        ),
        (
            json!({"portRange": {"protocol": "UDP", "start": 80, "end": 82}}),
            json!({"udp": {"destinationPort": {"range": {"start": 80, "end": 82}}}}),
            vec![(udp, 80), (udp, 82)],
            vec![(udp, 79), (udp, 83), (tcp, 81)],
        ),
        (
            json!({"namedPort": "http"}),
            json!({"destinationNamedPort": "http"}),
            vec![(tcp, 8080)],
            vec![(udp, 8080), (tcp, 53)],
        ),
        (json!({"namedPort": "dns"}), json!({"destinationNamedPort": "dns"}), vec![(udp, 53)], vec![(tcp, 53)]),
    ] {
        let rule =
            |field: &str, entry| ("ingress", json!([{"action": "Deny", "from": [{"namespaces": {}}], field: [entry]}]));
        for policy in [anp("a", 1, rule("ports", old)), cnp("Admin", "a", 1, rule("protocols", new))] {
            let ends = ("shop/web", "shop/api");
            let ask =
                |traffic| ask(&cluster, std::slice::from_ref(&policy), TieRule::default(), ends, &traffic).decision();
            for (flows, expected) in [(&denied, Denied), (&open, Allowed)] {
                for (protocol, port) in flows {
                    assert_eq!(ask(Traffic::to_port(*protocol, *port)), expected, "{protocol} {port}");
                }
            }
            assert_eq!(ask(Traffic::icmp(IpProtocol::ICMP, 8, 0)), Allowed, "ports match no ICMP");
        }
    }
}

#[test]
fn admin_3_the_tiers_have_their_place_among_those_of_calico() {
    let deny = json!({"tier": "t", "order": 1, "selector": API, "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    for Api { allow, admin, baseline } in VERSIONS {
        let decided = |order: u32, policy| {
            let tier = calico("Tier", "t", json!({"order": order}));
            web_to_api(&[tier, calico("GlobalNetworkPolicy", "g", deny.clone()), policy], 80)
        };
        // Admin has order 1,000, Baseline 10,000,000.
        assert_eq!(
            [decided(999, admin("a", 1, from_all(allow))), decided(1_001, admin("a", 1, from_all(allow)))],
            [Denied, Allowed]
        );
        assert_eq!(
            [decided(9_999_999, baseline(from_all(allow))), decided(10_000_001, baseline(from_all(allow)))],
            [Denied, Allowed]
        );
    }
    // Calico's own policies may stand in the admin tier: priority and order are one scale, and its end passes.
    let own = |rules: Value| {
        let spec = json!({"tier": "kube-admin", "order": 3, "selector": API, "types": ["Ingress"], "ingress": rules});
        calico("GlobalNetworkPolicy", "own", spec)
    };
    let decided = |priority| web_to_api(&[own(all("Deny")), cnp("Admin", "a", priority, from_all("Accept"))], 80);
    assert_eq!([decided(2), decided(4)], [Allowed, Denied]);
    assert_eq!(web_to_api(&[own(json!([]))], 80), Allowed);
    assert_eq!(web_to_api(&[own(json!([])), calico("Tier", "kube-admin", json!({"order": 1000}))], 80), Allowed);
}
