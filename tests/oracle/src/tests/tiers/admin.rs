//! AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy (section 3).

use serde_json::{Value, json};

use super::{assert_flow, assert_reached_by, decider, gnp, is_by, kubernetes_default_deny, tier, world};
use crate::tests::pod_with;
use crate::tiers::{By, Question, World, verdict};
use crate::{Answer, End};

fn document(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let version = format!("policy.networking.k8s.io/{version}");
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn everyone() -> Value {
    json!([{"namespaces": {}}])
}

/// An AdminNetworkPolicy for all pods with these ingress rules.
fn anp(name: &str, priority: u32, ingress: Value) -> Value {
    let spec = json!({"priority": priority, "subject": {"namespaces": {}}, "ingress": ingress});
    document("v1alpha1", "AdminNetworkPolicy", name, spec)
}

fn banp(ingress: Value) -> Value {
    let spec = json!({"subject": {"namespaces": {}}, "ingress": ingress});
    document("v1alpha1", "BaselineAdminNetworkPolicy", "default", spec)
}

fn cnp(tier: &str, name: &str, priority: u32, ingress: Value) -> Value {
    let spec = json!({"tier": tier, "priority": priority, "subject": {"namespaces": {}}, "ingress": ingress});
    document("v1alpha2", "ClusterNetworkPolicy", name, spec)
}

fn rule(action: &str) -> Value {
    json!([{"action": action, "from": everyone()}])
}

/// The two APIs say the same in other words: (name of allow, admin, baseline).
fn both(run: impl Fn(&str, &dyn Fn(&str, u32, Value) -> Value, &dyn Fn(Value) -> Value)) {
    run("Allow", &|name, priority, rules| anp(name, priority, rules), &|rules| banp(rules));
    run("Accept", &|name, priority, rules| cnp("Admin", name, priority, rules), &|rules| {
        cnp("Baseline", "default", 1, rules)
    });
}

#[test]
fn a01_admin_is_before_network_policies_and_baseline_after() {
    both(|allow, admin, baseline| {
        assert_reached_by(&world([admin("a", 1, rule("Deny"))]), &[("a/client", false)]);
        // Allow in Admin skips the NetworkPolicies.
        let allowed = kubernetes_default_deny(world([admin("a", 1, rule(allow))]));
        assert_reached_by(&allowed, &[("a/client", true)]);
        // Baseline is asked only where no NetworkPolicy applies.
        assert_reached_by(&world([baseline(rule("Deny"))]), &[("a/client", false)]);
        let mut open = world([baseline(rule("Deny"))]);
        open.plain.policies = vec![crate::tests::ingress(json!([{}]))];
        assert_reached_by(&open, &[("a/client", true)]);
        let closed = kubernetes_default_deny(world([baseline(rule(allow))]));
        assert_reached_by(&closed, &[("a/client", false)]);
    });
}

#[test]
fn a02_lowest_priority_first_and_first_matching_rule() {
    both(|allow, admin, _| {
        let decided = |deny: u32, permit: u32| {
            decider(&world([admin("deny", deny, rule("Deny")), admin("permit", permit, rule(allow))]))
        };
        assert!(is_by(&decided(5, 6), "deny", 0));
        assert!(is_by(&decided(7, 6), "permit", 0));
        assert!(is_by(&decided(100, 20), "permit", 0), "by number, not by text");
        let rules = json!([
            {"action": allow, "from": [{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"gw": ""}}}}]},
            {"action": "Deny", "from": everyone()},
        ]);
        assert_reached_by(&world([admin("a", 1, rules)]), &[("b/client", true), ("a/client", false)]);
    });
}

#[test]
fn a03_pass_goes_to_the_next_tier() {
    both(|_, admin, baseline| {
        let passed = [admin("a", 1, rule("Pass")), admin("b", 2, rule("Deny"))];
        assert_eq!(decider(&world(passed.clone())), By::NoPolicy, "the rest of the tier is skipped");
        let closed = kubernetes_default_deny(world(passed.clone()));
        assert_eq!(decider(&closed), By::EndOfTier("default".to_owned()));
        let based = world(passed.into_iter().chain([baseline(rule("Deny"))]));
        assert!(is_by(&decider(&based), "default", 0));
    });
}

#[test]
fn a04_no_implicit_deny() {
    both(|allow, admin, baseline| {
        let narrow = json!([{"action": allow, "from": [{"namespaces": {"matchLabels": {"team": "y"}}}]}]);
        for policy in [admin("a", 1, narrow.clone()), baseline(narrow.clone())] {
            assert_eq!(decider(&world([policy])), By::NoPolicy);
        }
        // Without rules for a direction a policy does not affect it.
        assert_eq!(decider(&world([admin("a", 1, json!([]))])), By::NoPolicy);
    });
}

#[test]
fn a05_pods_on_the_nodes_network_are_neither_subject_nor_peer() {
    both(|_, admin, _| {
        let mut world = world([admin("a", 1, rule("Deny"))]);
        let spec = json!({"containers": [], "hostNetwork": true});
        world.plain.pods.push(pod_with("a/agent", json!({}), spec, json!({"podIPs": [{"ip": "192.0.2.10"}]})));
        // Its address is a node's: no peer of namespaces, nothing said of the pod itself.
        assert_reached_by(&world, &[("192.0.2.10", true), ("a/client", false)]);
        let agent = End::Pod(&world.plain.pods[3], "192.0.2.10".parse().unwrap());
        let question = Question::new(crate::tests::end(&world.plain, "a/client"), agent, "TCP", 80);
        assert_eq!(verdict(&world, &question).answer, Answer::Undefined);
    });
}

#[test]
fn a06_subjects() {
    let denied = |subject: Value| {
        let spec = json!({"priority": 1, "subject": subject, "ingress": rule("Deny")});
        world([document("v1alpha1", "AdminNetworkPolicy", "a", spec)])
    };
    let pods = |namespaces: Value, pods: Value| json!({"pods": {"namespaceSelector": namespaces, "podSelector": pods}});
    for (subject, server, other) in [
        (json!({"namespaces": {}}), true, true),
        (json!({"namespaces": {"matchLabels": {"team": "x"}}}), true, false),
        (json!({"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}}), false, true),
        (pods(json!({}), json!({"matchLabels": {"app": "server"}})), true, false),
        (pods(json!({"matchLabels": {"team": "y"}}), json!({})), false, true),
        (pods(json!({"matchLabels": {"team": "y"}}), json!({"matchLabels": {"app": "server"}})), false, false),
    ] {
        let world = denied(subject);
        assert_flow(&world, "a/client", "a/server", "TCP", 80, !server);
        assert_flow(&world, "a/client", "b/client", "TCP", 80, !other);
    }
}

/// Egress rules for all pods, in both APIs.
fn egress(rules: &Value) -> [World; 2] {
    let spec = json!({"priority": 1, "tier": "Admin", "subject": {"namespaces": {}}, "egress": rules});
    let [one, two] = [("v1alpha1", "AdminNetworkPolicy"), ("v1alpha2", "ClusterNetworkPolicy")];
    [one, two].map(|(version, kind)| world([document(version, kind, "a", spec.clone())]))
}

#[test]
fn a07_networks_match_pods_too() {
    for world in egress(&json!([{"action": "Deny", "to": [{"networks": ["10.0.0.3/32", "203.0.113.0/24"]}]}])) {
        assert_flow(&world, "a/client", "a/server", "TCP", 80, false);
        assert_flow(&world, "a/client", "203.0.113.9", "TCP", 80, false);
        assert_flow(&world, "a/client", "b/client", "TCP", 80, true);
        assert_flow(&world, "a/client", "198.51.100.7", "TCP", 80, true);
    }
}

#[test]
fn a08_nodes() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"zone": "1"}},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}, {"type": "Hostname", "address": "n"}]}});
    for (labels, denied) in [(json!({"zone": "1"}), true), (json!({}), true), (json!({"zone": "2"}), false)] {
        for mut world in egress(&json!([{"action": "Deny", "to": [{"nodes": {"matchLabels": labels}}]}])) {
            world.others.push(node.clone());
            assert_flow(&world, "a/client", "192.0.2.10", "TCP", 80, !denied);
            assert_flow(&world, "a/client", "192.0.2.11", "TCP", 80, true);
        }
    }
}

#[test]
fn a09_peers_of_an_unknown_kind_fail_closed() {
    let with = |action: &str| json!([{"action": action, "to": [{"namespaces": {"matchLabels": {"team": "y"}}}, {"galaxies": {}}]}]);
    for (deny, allow) in egress(&with("Deny")).into_iter().zip(egress(&with("Allow"))) {
        assert_flow(&deny, "a/client", "a/server", "TCP", 80, false);
        // Allow matches nothing: not even what its other peer would match.
        let closed = kubernetes_egress_deny(allow);
        assert_flow(&closed, "a/client", "b/client", "TCP", 80, false);
    }
    for pass in egress(&with("Pass")) {
        assert_flow(&pass, "a/client", "b/client", "TCP", 80, false);
    }
    // A peer without any field is such a one, for ingress too; networks are no ingress peer.
    for peer in [json!({}), json!({"networks": ["10.0.0.0/8"]})] {
        let world = world([anp("a", 1, json!([{"action": "Deny", "from": [peer]}]))]);
        assert_reached_by(&world, &[("a/client", false), ("203.0.113.9", false)]);
    }
}

fn kubernetes_egress_deny(mut world: World) -> World {
    world.plain.policies.push(crate::tests::egress(json!([])));
    world
}

#[test]
fn a10_names_of_domains_match_no_address() {
    for world in egress(&json!([{"action": "Allow", "to": [{"domainNames": ["*.example.org"]}]}])) {
        let world = kubernetes_egress_deny(world);
        assert_flow(&world, "a/client", "203.0.113.9", "TCP", 443, false);
    }
}

fn serving(mut world: World) -> World {
    let ports =
        json!([{"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]);
    let spec = json!({"containers": [{"name": "main", "ports": ports}]});
    world.plain.pods[2] = pod_with("a/server", json!({"app": "server"}), spec, json!({"podIPs": [{"ip": "10.0.0.3"}]}));
    world
}

type Flows = Vec<(&'static str, u16)>;

/// What is written in v1alpha1, the same in v1alpha2, what it matches, and what it does not.
fn port_cases() -> [(Value, Value, Flows, Flows); 4] {
    [
        (
            json!([{"portNumber": {"protocol": "TCP", "port": 80}}]),
            json!([{"tcp": {"destinationPort": {"number": 80}}}]),
            vec![("TCP", 80)],
            vec![("UDP", 80), ("TCP", 81)],
        ),
        (
            json!([{"portRange": {"protocol": "UDP", "start": 80, "end": 82}}]),
            json!([{"udp": {"destinationPort": {"range": {"start": 80, "end": 82}}}}]),
            vec![("UDP", 80), ("UDP", 81), ("UDP", 82)],
            vec![("UDP", 79), ("UDP", 83), ("TCP", 81)],
        ),
        (
            json!([{"namedPort": "web"}, {"portNumber": {"protocol": "SCTP", "port": 5}}]),
            json!([{"destinationNamedPort": "web"}, {"sctp": {"destinationPort": {"number": 5}}}]),
            vec![("TCP", 8080), ("SCTP", 5)],
            vec![("UDP", 8080), ("TCP", 5), ("TCP", 53)],
        ),
        (
            json!([{"namedPort": "dns"}]),
            json!([{"destinationNamedPort": "dns"}]),
            vec![("UDP", 53)],
            vec![("TCP", 53), ("TCP", 8080)],
        ),
    ]
}

fn ping(world: &World) -> Answer {
    let (src, dst) = (crate::tests::end(&world.plain, "a/client"), crate::tests::end(&world.plain, "a/server"));
    verdict(world, &Question::icmp(src, dst, 8, 0)).answer
}

#[test]
fn a11_ports_of_v1alpha1_and_protocols_of_v1alpha2() {
    for (ports, protocols, denied, free) in port_cases() {
        let old = anp("a", 1, json!([{"action": "Deny", "from": everyone(), "ports": ports}]));
        let new = cnp("Admin", "a", 1, json!([{"action": "Deny", "from": everyone(), "protocols": protocols}]));
        for world in [old, new].map(|policy| serving(world([policy]))) {
            for (flows, allowed) in [(&denied, false), (&free, true)] {
                for (protocol, port) in flows {
                    assert_flow(&world, "a/client", "a/server", protocol, *port, allowed);
                }
            }
            assert_eq!(ping(&world), Answer::Allowed, "ports match no pings");
        }
    }
    // Without ports it is all traffic.
    assert_eq!(ping(&world([anp("a", 1, rule("Deny"))])), Answer::Denied);
}

#[test]
fn a12_among_the_tiers_of_calico() {
    let early = |order: u32| {
        let spec = json!({"tier": "t", "order": 1, "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
        [tier("t", json!({"order": order})), gnp("early", spec)]
    };
    both(|allow, admin, baseline| {
        let decided = |order: u32, policy: Value| decider(&world(early(order).into_iter().chain([policy])));
        // Admin has order 1,000, Baseline 10,000,000.
        assert!(is_by(&decided(999, admin("a", 1, rule(allow))), "early", 0));
        assert!(is_by(&decided(1_001, admin("a", 1, rule(allow))), "a", 0));
        assert!(is_by(&decided(9_999_999, baseline(rule(allow))), "early", 0));
        assert!(is_by(&decided(10_000_001, baseline(rule(allow))), "default", 0));
    });
    // Calico's own policies may stand in the admin tier; priority and order are one scale.
    let spec = json!({"tier": "kube-admin", "order": 3, "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    let decided =
        |priority: u32| decider(&world([gnp("own", spec.clone()), cnp("Admin", "a", priority, rule("Accept"))]));
    assert!(is_by(&decided(2), "a", 0));
    assert!(is_by(&decided(4), "own", 0));
    // Its end does not deny.
    let silent = json!({"tier": "kube-admin", "order": 3, "types": ["Ingress"]});
    assert_eq!(decider(&world([gnp("own", silent)])), By::NoPolicy);
}
