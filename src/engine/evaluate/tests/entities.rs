//! Protocols, ports, addresses and Services.

use super::*;

fn open(rule: Value) -> Vec<PolicyDocument> {
    let mut rule = rule;
    rule["action"] = json!("Allow");
    vec![global("p", None, API, json!([rule]))]
}

#[track_caller]
fn to_api(documents: &[PolicyDocument], traffic: &Traffic) -> Decision {
    ask(&cluster(), documents, TieRule::default(), ("shop/web", "shop/api"), traffic).decision()
}

#[test]
fn ports_are_numbers_ranges_and_names_of_the_destination() {
    let (http, other) = (Traffic::to_port(Protocol::Tcp, 8080), Traffic::to_port(Protocol::Tcp, 9090));
    let udp = Traffic::to_port(Protocol::Udp, 8080);
    for (protocol, destination, expected) in [
        ("TCP", json!({"ports": [8080]}), [Allowed, Denied, Denied]),
        ("TCP", json!({"ports": ["8080"]}), [Allowed, Denied, Denied]),
        ("TCP", json!({"ports": ["8000:9090"]}), [Allowed, Allowed, Denied]),
        ("TCP", json!({"ports": ["http"]}), [Allowed, Denied, Denied]),
        ("TCP", json!({"ports": ["http", 9090]}), [Allowed, Allowed, Denied]),
        ("UDP", json!({"ports": ["http"]}), [Denied, Denied, Denied]),
        ("UDP", json!({"ports": [8080]}), [Denied, Denied, Allowed]),
        ("TCP", json!({"notPorts": [8080]}), [Denied, Allowed, Denied]),
        ("TCP", json!({"notPorts": ["http"]}), [Denied, Allowed, Denied]),
        ("TCP", json!({"ports": ["1:65535"], "notPorts": ["9000:9999"]}), [Allowed, Denied, Denied]),
        ("TCP", json!({"ports": ["http"], "selector": "app == 'other'"}), [Denied, Denied, Denied]),
        ("TCP", json!({"ports": ["http"], "selector": "app == 'api'"}), [Allowed, Denied, Denied]),
    ] {
        let documents = open(json!({"protocol": protocol, "destination": destination}));
        assert_eq!(
            [http, other, udp].map(|traffic| to_api(&documents, &traffic)),
            expected,
            "{protocol} {destination}"
        );
    }
}

#[test]
fn a_named_port_is_of_an_endpoint_that_matches_itself() {
    let mut set = calico("GlobalNetworkSet", "pods", json!({"nets": ["10.0.0.0/8"]}));
    set.object["metadata"]["labels"] = json!({"team": "ops"});
    let destination =
        |ports: Value| json!({"protocol": "TCP", "destination": {"selector": "team == 'ops'", "ports": ports}});
    let ask = |ports: Value, port| {
        let documents = [open(destination(ports)), vec![set.clone()]].concat();
        to_api(&documents, &Traffic::to_port(Protocol::Tcp, port))
    };
    assert_eq!(ask(json!([8080]), 8080), Allowed, "a number needs an address in the set");
    assert_eq!(ask(json!(["http"]), 8080), Denied, "no endpoint with that label declares the name");
    assert_eq!(ask(json!(["http", 9090]), 8080), Denied);
    assert_eq!(ask(json!(["http", 9090]), 9090), Allowed);
}

#[test]
fn source_ports_decide_only_where_they_are_known_or_hold_every_ephemeral_port() {
    let at = |source_port| Traffic { source_port, ..Traffic::to_port(Protocol::Tcp, 80) };
    for (source, unknown, low, high) in [
        (json!({"ports": [53]}), Denied, Allowed, Denied),
        (json!({"ports": ["1024:65535"]}), Allowed, Denied, Allowed),
        (json!({"ports": ["40000:65535"]}), Undefined, Denied, Allowed),
        (json!({"notPorts": [53]}), Allowed, Denied, Allowed),
        (json!({"notPorts": ["40000:65535"]}), Undefined, Allowed, Denied),
    ] {
        let documents = open(json!({"protocol": "TCP", "source": source}));
        let got = [None, Some(53), Some(50_000)].map(|port| to_api(&documents, &at(port)));
        assert_eq!(got, [unknown, low, high], "{source}");
    }
}

#[test]
fn protocols_are_names_or_numbers_and_icmp_has_types() {
    let tcp = Traffic::to_port(Protocol::Tcp, 80);
    let sctp = Traffic::to_port(Protocol::Sctp, 80);
    let ping = Traffic::icmp(IpProtocol::ICMP, 8, 0);
    let unreachable = Traffic::icmp(IpProtocol::ICMP, 3, 4);
    for (rule, expected) in [
        (json!({}), [Allowed, Allowed, Allowed, Allowed]),
        (json!({"protocol": "TCP"}), [Allowed, Denied, Denied, Denied]),
        (json!({"protocol": 6}), [Allowed, Denied, Denied, Denied]),
        (json!({"protocol": "132"}), [Denied, Allowed, Denied, Denied]),
        (json!({"notProtocol": "TCP"}), [Denied, Allowed, Allowed, Allowed]),
        (json!({"protocol": "ICMP"}), [Denied, Denied, Allowed, Allowed]),
        (json!({"protocol": "ICMPv6"}), [Denied, Denied, Denied, Denied]),
        (json!({"protocol": "ICMP", "icmp": {"type": 8}}), [Denied, Denied, Allowed, Denied]),
        (json!({"protocol": "ICMP", "icmp": {"type": 3, "code": 3}}), [Denied, Denied, Denied, Denied]),
        (json!({"protocol": "ICMP", "notICMP": {"type": 8}}), [Denied, Denied, Denied, Allowed]),
        (json!({"ipVersion": 4}), [Allowed, Allowed, Allowed, Allowed]),
        (json!({"ipVersion": 6}), [Denied, Denied, Denied, Denied]),
    ] {
        let documents = open(rule.clone());
        let got = [tcp, sctp, ping, unreachable].map(|traffic| to_api(&documents, &traffic));
        assert_eq!(got, expected, "{rule}");
    }
    let ports = document(
        "shop/p",
        json!({"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"ports": [{"protocol": "TCP"}]}]}),
    );
    assert_eq!(to_api(&[ports], &ping), Denied, "a rule of Kubernetes with ports never matches ICMP");
    let any = document("shop/p", json!({"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{}]}));
    assert_eq!(to_api(&[any], &ping), Allowed);
}

#[test]
fn a_rule_speaks_of_both_ends_in_either_direction() {
    let green = json!({"source": {"selector": "color == 'green'"}, "destination": {"selector": "app == 'api'"}});
    let everywhere = |direction: &str| {
        let mut rule = green.clone();
        rule["action"] = json!("Allow");
        let types = if direction == "ingress" { "Ingress" } else { "Egress" };
        [calico("GlobalNetworkPolicy", "p", json!({"types": [types], direction: [rule]}))]
    };
    for direction in ["ingress", "egress"] {
        let documents = everywhere(direction);
        assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), Allowed, "{direction}");
        assert_eq!(tcp(&documents, "redis/redis", "shop/api", 80), Denied, "{direction}: another source");
        assert_eq!(tcp(&documents, "shop/web", "redis/redis", 80), Denied, "{direction}: another destination");
    }
}

#[test]
fn nets_match_addresses_of_pods_too() {
    let api = address(&cluster(), "shop/api");
    let egress = |destination: Value| {
        let rule = json!([{"action": "Allow", "destination": destination}]);
        [calico("NetworkPolicy", "shop/p", json!({"selector": "app == 'web'", "types": ["Egress"], "egress": rule}))]
    };
    let one = egress(json!({"nets": [format!("{api}/32")]}));
    assert_eq!(tcp(&one, "shop/web", "shop/api", 80), Allowed);
    assert_eq!(tcp(&one, "shop/web", "redis/redis", 80), Denied);
    let but = egress(json!({"nets": ["0.0.0.0/0"], "notNets": [format!("{api}/32")]}));
    assert_eq!(tcp(&but, "shop/web", "shop/api", 80), Denied);
    assert_eq!(tcp(&but, "shop/web", "203.0.113.7", 80), Allowed);
    let both = egress(json!({"nets": ["10.0.0.0/8"], "selector": "app == 'redis'", "namespaceSelector": "all()"}));
    assert_eq!(tcp(&both, "shop/web", "redis/redis", 80), Allowed, "both hold");
    assert_eq!(tcp(&both, "shop/web", "shop/api", 80), Denied, "the selector does not");
}

#[test]
fn calico_4_12_services_are_their_endpoints_and_never_the_cluster_address() {
    let mut cluster = cluster();
    let service = |name: &str, selector: Option<&[(&str, &str)]>| ServiceInfo {
        namespace: "redis".to_owned(),
        name: name.to_owned(),
        selector: selector.map(labels),
        cluster_ips: vec!["10.96.0.9".parse().unwrap()],
        headless: false,
        ports: vec![(6379, Protocol::Tcp, "http".to_owned()), (9090, Protocol::Tcp, "9090".to_owned())],
        port_names: Vec::new(),
        ends: Vec::new(),
    };
    cluster.snapshot.services = vec![service("redis", Some(&[("app", "redis")])), service("manual", None)];
    let traffic = |port| Traffic::to_port(Protocol::Tcp, port);
    let egress = |name: &str| {
        let rule = json!([{"action": "Allow", "destination": {"services": {"name": name, "namespace": "redis"}}}]);
        [calico("NetworkPolicy", "shop/p", json!({"types": ["Egress"], "egress": rule}))]
    };
    let decide = |documents: &[PolicyDocument], source, destination, port| {
        ask(&cluster, documents, TieRule::default(), (source, destination), &traffic(port)).decision()
    };
    let to_redis = egress("redis");
    for (destination, port, expected) in [
        ("redis/redis", 8080, Allowed),
        ("redis/redis", 9090, Allowed),
        ("redis/redis", 6379, Denied),
        ("shop/api", 8080, Denied),
        ("10.96.0.9", 6379, Denied),
        ("10.96.0.9", 8080, Denied),
    ] {
        assert_eq!(decide(&to_redis, "shop/web", destination, port), expected, "{destination}:{port}");
    }
    assert_eq!(decide(&egress("nobody"), "shop/web", "redis/redis", 8080), Denied, "there is no such Service");
    assert_eq!(decide(&egress("manual"), "shop/web", "redis/redis", 8080), Undefined, "its endpoints are not known");
    let rule = json!([{"action": "Allow", "source": {"services": {"name": "redis", "namespace": "redis"}}}]);
    let into = [calico("NetworkPolicy", "shop/p", json!({"types": ["Ingress"], "ingress": rule}))];
    assert_eq!(decide(&into, "redis/redis", "shop/api", 1234), Allowed, "a source is an address alone");
    assert_eq!(decide(&into, "shop/web", "shop/api", 1234), Denied);
}

#[test]
fn calico_4_12_a_service_as_the_source_is_addresses_for_packets_without_ports_too() {
    let mut cluster = cluster();
    cluster.snapshot.services = vec![ServiceInfo {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        selector: Some(labels(&[("app", "web")])),
        cluster_ips: Vec::new(),
        headless: false,
        ports: vec![(80, Protocol::Tcp, "http".to_owned())],
        port_names: Vec::new(),
        ends: Vec::new(),
    }];
    let rule = json!({"source": {"services": {"name": "web", "namespace": "shop"}}});
    let into = open(rule);
    let ping = Traffic::icmp(IpProtocol::ICMP, 8, 0);
    let from = |source| ask(&cluster, &into, TieRule::default(), (source, "shop/api"), &ping).decision();
    assert_eq!((from("shop/web"), from("redis/redis")), (Allowed, Denied));
    let out = json!([{"action": "Allow", "destination": {"services": {"name": "web", "namespace": "shop"}}}]);
    let out = [calico("NetworkPolicy", "redis/p", json!({"types": ["Egress"], "egress": out}))];
    let verdict = ask(&cluster, &out, TieRule::default(), ("redis/redis", "shop/web"), &ping);
    assert_eq!(verdict.decision(), Denied, "a destination is an address with a port");
}

#[test]
fn calico_4_12_a_pod_without_the_target_port_is_a_source_and_no_destination() {
    let mut cluster = cluster();
    cluster.snapshot.services = vec![ServiceInfo {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        selector: Some(labels(&[("app", "web")])),
        cluster_ips: Vec::new(),
        headless: false,
        ports: vec![(80, Protocol::Tcp, "nobody-has-it".to_owned())],
        port_names: Vec::new(),
        ends: Vec::new(),
    }];
    let services = json!({"services": {"name": "web", "namespace": "shop"}});
    let into = open(json!({"source": services}));
    let out = json!([{"action": "Allow", "destination": services}]);
    let out = [calico("NetworkPolicy", "redis/p", json!({"types": ["Egress"], "egress": out}))];
    let decide = |documents: &[PolicyDocument], ends, port| {
        ask(&cluster, documents, TieRule::default(), ends, &Traffic::to_port(Protocol::Tcp, port)).decision()
    };
    assert_eq!(decide(&into, ("shop/web", "shop/api"), 80), Allowed);
    assert_eq!(decide(&into, ("redis/redis", "shop/api"), 80), Denied);
    assert_eq!(decide(&out, ("redis/redis", "shop/web"), 80), Denied);
}

#[test]
fn a_rule_with_blocks_of_the_other_family_alone_is_left_out_negated_or_not() {
    let tcp = Traffic::to_port(Protocol::Tcp, 8080);
    for (field, block, expected) in [
        ("nets", "10.0.0.0/8", Allowed),
        ("nets", "fd00::/8", Denied),
        ("notNets", "192.0.2.0/24", Allowed),
        ("notNets", "fd00::/8", Denied),
    ] {
        for end in ["source", "destination"] {
            let documents = open(json!({end: {field: [block]}}));
            assert_eq!(to_api(&documents, &tcp), expected, "{end} {field} {block}");
        }
    }
}

#[test]
fn pods_with_the_nodes_network_are_no_endpoints() {
    let node: IpAddr = "192.0.2.10".parse().unwrap();
    let cluster = cluster().app("shop/agent", 1).with("shop/agent", |pod| {
        pod.host_network = true;
        pod.ips = vec![node];
        pod.ports = vec![port("http", 8080, Protocol::Tcp)];
    });
    let decide = |source: Value, traffic: &Traffic| {
        let documents = open(json!({"source": source}));
        ask(&cluster, &documents, TieRule::default(), ("shop/agent", "shop/api"), traffic).ingress.decision()
    };
    let traffic = Traffic::to_port(Protocol::Tcp, 80);
    assert_eq!(decide(json!({"selector": "app == 'agent'"}), &traffic), Denied);
    assert_eq!(decide(json!({"notSelector": "app == 'agent'"}), &traffic), Allowed);
    assert_eq!(decide(json!({"nets": ["192.0.2.0/24"]}), &traffic), Allowed);
    let denied_all = [calico("GlobalNetworkPolicy", "p", json!({"ingress": all("Deny"), "egress": all("Deny")}))];
    let verdict = ask(&cluster, &denied_all, TieRule::default(), ("shop/agent", "redis/redis"), &traffic);
    assert_eq!(verdict.egress, Side::Undefined);
}

#[test]
fn what_a_rule_asks_of_http_is_not_told_by_a_new_connection() {
    let documents = open(json!({"http": {"methods": ["GET"]}, "protocol": "TCP", "destination": {"ports": [80]}}));
    assert_eq!(to_api(&documents, &Traffic::to_port(Protocol::Tcp, 80)), Undefined);
    assert_eq!(to_api(&documents, &Traffic::to_port(Protocol::Tcp, 81)), Denied, "it does not match anyway");
}
