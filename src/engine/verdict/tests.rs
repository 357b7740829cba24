use serde_json::json;

use super::*;
use crate::{
    engine::{
        fixtures::{Cluster, app, ask, block, class, deny_all, egress, end, ingress, policy, port, tcp},
        world::Family,
    },
    model::{
        Decision::{Allowed, Denied, Undefined},
        Order, Selector, Tier,
    },
};

/// `shop/web`, `shop/api` and `redis/redis`, one pod each.
fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("shop/api", 1).app("redis/redis", 1)
}

fn verdict(world: &World, source: &str, destination: &str, port: u16) -> FlowVerdict {
    flow(world, end(world, source), end(world, destination), Protocol::Tcp, port)
}

/// Rules on `shop/api`, for ingress.
#[expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]
fn on_api(rules: serde_json::Value) -> Policy {
    policy(
        "shop/api",
        json!({"podSelector": {"matchLabels": {"app": "api"}}, "policyTypes": ["Ingress"], "ingress": rules}),
    )
}

#[test]
fn a_side_says_who_allows_and_who_denies_with_the_place() {
    let twice = policy(
        "redis/also",
        json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}, {"ports": [{"port": 8080}]}]}),
    );
    let policies = vec![deny_all("redis"), ingress("redis/redis", app("shop/web"), &[8080]), twice];
    let world = cluster().world(policies);
    let open = verdict(&world, "shop/web", "redis/redis", 8080);
    let Side::Allowed(by) = &open.ingress else { panic!("{open:?}") };
    let texts: Vec<String> =
        by.iter().map(|(rule, origin)| format!("{rule} {}", origin.as_ref().unwrap().short())).collect();
    assert_eq!(
        texts,
        [
            "NetworkPolicy/redis/also ingress[1] redis/also.yaml:10",
            "NetworkPolicy/redis/redis-ingress ingress[0] redis/redis-ingress.yaml:10"
        ]
    );
    assert_eq!(open.egress, Side::NotIsolated);
    let closed = verdict(&world, "shop/web", "redis/redis", 9090);
    let Side::Denied(by) = &closed.ingress else { panic!("{closed:?}") };
    let names: Vec<String> = by.iter().map(|(id, origin)| format!("{} {}", id.short(), origin.is_some())).collect();
    assert_eq!(names, ["redis/also true", "redis/deny true", "redis/redis-ingress true"]);
}

#[test]
fn one_sided_names_the_side_that_lacks_an_entry() {
    let out = egress("shop/web", app("redis/redis"), &[8080]);
    let into = ingress("redis/redis", app("shop/web"), &[8080]);
    let denies = || vec![deny_all("shop"), deny_all("redis")];
    let rows = [
        ("both sides", vec![out.clone(), into.clone()], Allowed, None),
        ("egress only", vec![out], Denied, Some(Direction::Ingress)),
        ("ingress only", vec![into], Denied, Some(Direction::Egress)),
        ("none", vec![], Denied, None),
    ];
    for (name, policies, decision, missing) in rows {
        let world = cluster().world(policies.into_iter().chain(denies()).collect());
        let verdict = verdict(&world, "shop/web", "redis/redis", 8080);
        assert_eq!((verdict.decision(), verdict.one_sided()), (decision, missing), "{name}");
        assert_eq!(tcp(&world, "shop/web", "redis/redis", 8080), decision, "{name}");
    }
}

/// A policy of a tier on `shop/api`: each rule is an action and a TCP port, 0 for all.
fn tiered(name: &str, tier: (f64, &str), order: f64, rules: &[(Action, u16)]) -> Policy {
    let mut made = on_api(json!([]));
    made.id.name = name.to_owned();
    made.tier = Tier::denying(tier.0, tier.1);
    made.order = Order(order);
    let rule = |(index, (action, number)): (usize, &(Action, u16))| {
        let only = PortMatch::Range { protocol: Protocol::Tcp, from: *number, to: *number };
        let ports = (*number > 0).then(|| vec![only]);
        Rule { index, action: *action, peers: None, ports, conditions: None, origin: None }
    };
    made.ingress = Some(rules.iter().enumerate().map(rule).collect());
    made
}

#[test]
fn tiers_are_asked_in_order_and_their_end_denies() {
    use Action::{Allow, Deny, Pass};
    let admin = |rules: &[(Action, u16)]| tiered("admin", (1_000.0, "admin"), 1.0, rules);
    let second = |rules: &[(Action, u16)]| tiered("second", (1_000.0, "admin"), 2.0, rules);
    let np = |rules: &[(Action, u16)]| tiered("np", (1_000_000.0, "default"), 1000.0, rules);
    let baseline = |rules: &[(Action, u16)]| tiered("baseline", (10_000_000.0, "baseline"), 1.0, rules);
    let rows: [(&str, Vec<Policy>, Decision); 13] = [
        ("nothing applies", vec![], Allowed),
        ("end of the only tier", vec![admin(&[(Allow, 9090)])], Denied),
        ("allow in the first tier skips the rest", vec![admin(&[(Allow, 0)]), np(&[])], Allowed),
        ("deny in the first tier is final", vec![admin(&[(Deny, 8080)]), np(&[(Allow, 0)])], Denied),
        ("no match in a tier that applies denies", vec![admin(&[(Pass, 9090)]), np(&[(Allow, 0)])], Denied),
        ("pass leaves it to the next tier, which allows", vec![admin(&[(Pass, 0)]), np(&[(Allow, 8080)])], Allowed),
        ("pass leaves it to the next tier, which ends", vec![admin(&[(Pass, 0)]), np(&[])], Denied),
        ("pass out of the last tier allows", vec![admin(&[(Pass, 0)])], Allowed),
        ("pass skips the later policies of its tier", vec![admin(&[(Pass, 0)]), second(&[(Deny, 0)])], Allowed),
        ("the lower order decides: allow", vec![admin(&[(Allow, 0)]), second(&[(Deny, 0)])], Allowed),
        ("no match goes on within the tier", vec![admin(&[(Deny, 9090)]), second(&[(Allow, 0)])], Allowed),
        ("the first rule that matches decides", vec![admin(&[(Deny, 8080), (Allow, 0)])], Denied),
        ("three tiers", vec![admin(&[(Pass, 0)]), np(&[(Pass, 8080)]), baseline(&[(Deny, 0)])], Denied),
    ];
    for (name, policies, expected) in rows {
        let reversed = policies.iter().rev().cloned().collect();
        assert_eq!(tcp(&cluster().world(policies), "shop/web", "shop/api", 8080), expected, "{name}");
        assert_eq!(
            tcp(&cluster().world(reversed), "shop/web", "shop/api", 8080),
            expected,
            "{name}, listed in reverse"
        );
    }
}

#[test]
fn a_tier_that_applies_in_the_other_direction_only_decides_nothing() {
    let mut out_only = tiered("admin", (1_000.0, "admin"), 1.0, &[]);
    (out_only.egress, out_only.ingress) = (out_only.ingress, None);
    let world = cluster().world(vec![out_only, on_api(json!([{}]))]);
    assert_eq!(tcp(&world, "shop/web", "shop/api", 8080), Allowed);
    assert_eq!(tcp(&world, "shop/api", "shop/web", 8080), Denied, "the control");
}

/// `shop/web` and `redis/redis` towards `shop/api` on TCP 8080 under rules on it.
fn reached(rules: serde_json::Value) -> [Decision; 2] {
    let world = cluster().world(vec![on_api(rules)]);
    ["shop/web", "redis/redis"].map(|source| tcp(&world, source, "shop/api", 8080))
}

#[test]
fn s1_s2_s3_absent_and_empty_lists_and_the_four_kinds_of_peer() {
    let web = json!({"matchLabels": {"app": "web"}});
    let redis = json!({"matchLabels": {"kubernetes.io/metadata.name": "redis"}});
    let rows = [
        ("S1: no rule", json!([]), [Denied, Denied]),
        ("S1: a rule that says nothing", json!([{}]), [Allowed, Allowed]),
        ("S1: empty lists", json!([{"from": [], "ports": []}]), [Allowed, Allowed]),
        ("S2: pods alone are of the own namespace", json!([{"from": [{"podSelector": {}}]}]), [Allowed, Denied]),
        ("S2: all namespaces", json!([{"from": [{"namespaceSelector": {}}]}]), [Allowed, Allowed]),
        (
            "S2: one item is AND",
            json!([{"from": [{"namespaceSelector": redis, "podSelector": web}]}]),
            [Denied, Denied],
        ),
        (
            "S2: two items are OR",
            json!([{"from": [{"namespaceSelector": redis}, {"podSelector": web}]}]),
            [Allowed, Allowed],
        ),
    ];
    for (name, rules, expected) in rows {
        assert_eq!(reached(rules), expected, "{name}");
    }
    let world = cluster().world(vec![on_api(json!([{"from": [{"namespaceSelector": {}}]}]))]);
    assert_eq!(tcp(&world, "203.0.113.7", "shop/api", 8080), Denied, "S3: all namespaces are not everybody");
    let world = cluster().world(vec![on_api(json!([{}]))]);
    assert_eq!(tcp(&world, "203.0.113.7", "shop/api", 8080), Allowed, "S3: the control");
}

#[test]
fn s5_isolation_is_by_pod_and_by_direction() {
    let world = cluster().world(vec![on_api(json!([]))]);
    assert_eq!(tcp(&world, "shop/web", "shop/api", 8080), Denied);
    assert_eq!(tcp(&world, "shop/api", "shop/web", 8080), Allowed, "the other direction");
    assert_eq!(tcp(&world, "shop/api", "redis/redis", 8080), Allowed, "another pod");
}

#[test]
fn s6_n1_a_port_entry_without_a_number_is_of_its_protocol_alone() {
    let world = cluster().world(vec![on_api(json!([{"ports": [{"protocol": "UDP"}]}]))]);
    assert_eq!(ask(&world, "shop/web", "shop/api", Protocol::Tcp, 80), Denied, "N1");
    assert_eq!(ask(&world, "shop/web", "shop/api", Protocol::Udp, 80), Allowed, "the control");
    let world = cluster().world(vec![on_api(json!([{"ports": [{"port": 80}]}]))]);
    assert_eq!(ask(&world, "shop/web", "shop/api", Protocol::Udp, 80), Denied, "absent is TCP");
    assert_eq!(ask(&world, "shop/web", "shop/api", Protocol::Tcp, 80), Allowed);
}

#[test]
fn s7_p6_a_named_port_is_resolved_on_the_destination_in_both_directions() {
    let udp = |p: &mut crate::model::PodInfo| p.ports = vec![port("http", 8080, Protocol::Udp)];
    let init = |p: &mut crate::model::PodInfo| p.ports.iter_mut().for_each(|port| port.init = true);
    let other = |p: &mut crate::model::PodInfo| p.ports = vec![port("http", 9090, Protocol::Tcp)];
    let into = on_api(json!([{"ports": [{"port": "http"}]}]));
    let out = policy(
        "shop/web",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
        "egress": [{"ports": [{"port": "http"}]}]}),
    );
    for (direction, rule) in [("ingress", into), ("egress", out.clone())] {
        let ask = |cluster: Cluster, port| tcp(&cluster.world(vec![rule.clone()]), "shop/web", "shop/api", port);
        assert_eq!(ask(cluster(), 8080), Allowed, "P6: declared by the destination, {direction}");
        assert_eq!(ask(cluster().with("shop/api", other), 8080), Denied, "another number, {direction}");
        assert_eq!(ask(cluster().with("shop/api", other), 9090), Allowed, "that number, {direction}");
        assert_eq!(ask(cluster().with("shop/web", other), 8080), Allowed, "the source's own is nothing, {direction}");
        assert_eq!(ask(cluster().with("shop/api", udp), 8080), Denied, "another protocol, {direction}");
        assert_eq!(ask(cluster().with("shop/api", init), 8080), Allowed, "of an init container, {direction}");
    }
    assert_eq!(tcp(&cluster().world(vec![out]), "shop/web", "203.0.113.7", 8080), Denied, "an address names no ports");
}

#[test]
fn s8_a_range_of_ports_has_both_its_ends() {
    let world = cluster().world(vec![on_api(json!([{"ports": [{"port": 8000, "endPort": 8100}]}]))]);
    for (port, expected) in [(7999, Denied), (8000, Allowed), (8050, Allowed), (8100, Allowed), (8101, Denied)] {
        assert_eq!(tcp(&world, "shop/web", "shop/api", port), expected, "{port}");
    }
}

#[test]
fn s9_n7_a_block_matches_pods_by_their_address_and_ipv6_too() {
    let both = |p: &mut crate::model::PodInfo| p.ips.push("fd00::7".parse().unwrap());
    let only_web = ingress("shop/api", block("10.0.0.2/32"), &[8080]);
    let world = cluster().world(vec![only_web]);
    assert_eq!(tcp(&world, "shop/web", "shop/api", 8080), Allowed, "N7");
    assert_eq!(tcp(&world, "redis/redis", "shop/api", 8080), Denied, "the control");
    let six = ingress("shop/api", block("fd00::/64"), &[8080]);
    let world = cluster().with("shop/web", both).with("shop/api", both).world(vec![six]);
    let decision = |family| {
        let (from, to) = (class(&world, "shop/web"), class(&world, "shop/api"));
        flow(&world, End::pods(from, family), End::pods(to, family), Protocol::Tcp, 8080).decision()
    };
    assert_eq!([decision(Family::V6), decision(Family::V4)], [Allowed, Denied], "N7: by family");
    let hole = on_api(json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.2/32"]}}]}]));
    let world = cluster().world(vec![hole]);
    let got = ["shop/web", "redis/redis"].map(|source| tcp(&world, source, "shop/api", 8080));
    assert_eq!(got, [Denied, Allowed], "an exception");
}

#[test]
fn s10_n4_the_node_network_is_undefined_whatever_the_policies_say() {
    let on_host = |p: &mut crate::model::PodInfo| p.host_network = true;
    let closed = || vec![deny_all("shop"), deny_all("redis")];
    for policies in [vec![], closed()] {
        let world = cluster().with("redis/redis", on_host).world(policies);
        assert_eq!(tcp(&world, "redis/redis", "shop/api", 8080), Undefined, "N4: as source");
    }
    let world = cluster().with("redis/redis", on_host).world(vec![deny_all("redis")]);
    assert_eq!(tcp(&world, "shop/web", "redis/redis", 8080), Undefined, "N4: as destination");
    assert!(matches!(verdict(&world, "shop/web", "redis/redis", 8080).ingress, Side::Undefined));
    let control = cluster().world(vec![deny_all("redis")]);
    assert_eq!(tcp(&control, "shop/web", "redis/redis", 8080), Denied, "the control");
    let peer = ingress("shop/api", json!([{"namespaceSelector": {}}]), &[8080]);
    let world = cluster().with("redis/redis", on_host).world(vec![peer]);
    assert!(!world.selects(
        &world.policies[0].subject.namespaces,
        &Selector::everything(),
        class(&world, "redis/redis")
    ));
}

#[test]
fn p1_p2_labels_that_are_absent() {
    let expression = |operator: &str| {
        let values = operator.ends_with("In").then(|| json!(["x"]));
        json!([{"from": [{"podSelector": {"matchExpressions": [{"key": "gw", "operator": operator, "values": values}]}}]}])
    };
    for (operator, expected) in [("NotIn", Allowed), ("DoesNotExist", Allowed), ("In", Denied), ("Exists", Denied)] {
        assert_eq!(reached(expression(operator))[0], expected, "P1: {operator}");
    }
    let blank = || on_api(json!([{"from": [{"podSelector": {"matchLabels": {"gw": ""}}}]}]));
    assert_eq!(tcp(&cluster().world(vec![blank()]), "shop/web", "shop/api", 8080), Denied, "P2");
    let labelled = cluster().with("shop/web", |p| {
        p.labels.insert("gw".to_owned(), String::new());
    });
    assert_eq!(tcp(&labelled.world(vec![blank()]), "shop/web", "shop/api", 8080), Allowed, "P2: the control");
}

#[test]
fn s13_a_terminating_pod_is_subject_like_any_other() {
    let world = cluster().with("shop/api", |p| p.terminating = true).world(vec![on_api(json!([]))]);
    assert_eq!(tcp(&world, "shop/web", "shop/api", 8080), Denied);
}

#[test]
fn a_named_port_means_nothing_at_a_pod_in_its_nodes_network_as_at_the_nodes_address() {
    let out = |ports| {
        let spec = json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"to": block("0.0.0.0/0"), "ports": [ports]}]});
        policy("shop/web", spec)
    };
    let egress = |on_host: bool, rule: Policy| {
        let world = cluster().with("shop/api", |pod| pod.host_network = on_host).world(vec![rule]);
        let [from, to] = ["shop/web", "shop/api"].map(|name| End::pods(class(&world, name), Family::V4));
        flow(&world, from, to, Protocol::Tcp, 8080).egress.decision()
    };
    assert_eq!(egress(true, out(json!({"port": 8080}))), Allowed, "the control");
    assert_eq!(egress(false, out(json!({"port": "http"}))), Allowed, "the control");
    assert_eq!(egress(true, out(json!({"port": "http"}))), Denied);
}
