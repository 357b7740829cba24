//! What rules of Calico's match besides labels: blocks, ports, protocols, services (point 12 and the API's text).

use serde_json::{Value, json};

use super::{assert_flow, assert_reached_by, from_client, np, on_server, set, world};
use crate::Answer;
use crate::tests::{end, pod_with};
use crate::tiers::{Question, World, verdict};

fn with(rule: Value) -> World {
    let mut rule = rule;
    rule["action"] = json!("Allow");
    world([on_server(json!([rule]))])
}

/// The server with a port `web` on 8080/TCP and `dns` on 53/UDP.
fn serving(mut world: World) -> World {
    let ports =
        json!([{"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]);
    let spec = json!({"containers": [{"name": "main", "ports": ports}]});
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.3"}]});
    world.plain.pods[2] = pod_with("a/server", json!({"app": "server"}), spec, status);
    world
}

#[test]
fn r_nets_and_not_nets() {
    let from = |entity: Value| with(json!({"source": entity}));
    // Blocks match the packet's address, a pod's too.
    assert_reached_by(&from(json!({"nets": ["10.0.0.0/31"]})), &[("a/client", true), ("b/client", false)]);
    assert_reached_by(&from(json!({"notNets": ["10.0.0.0/31"]})), &[("a/client", false), ("203.0.113.9", true)]);
    let both = json!({"nets": ["203.0.113.0/24"], "notNets": ["203.0.113.8/29"]});
    assert_reached_by(&from(both), &[("203.0.113.9", false), ("203.0.113.16", true), ("a/client", false)]);
    // Beside a selector both must match.
    let beside = json!({"selector": "app == 'client'", "notNets": ["10.0.0.2/32"]});
    assert_reached_by(&from(beside), &[("a/client", true), ("b/client", false), ("203.0.113.9", false)]);
    // Only blocks of the other family: the rule is not there for these packets.
    assert_reached_by(&from(json!({"notNets": ["2001:db8::/32"]})), &[("a/client", false)]);
}

#[test]
fn r_source_and_destination_must_both_match() {
    let rule = json!({"source": {"selector": "app == 'client'"}, "destination": {"nets": ["10.0.0.3/32"]}});
    assert_reached_by(&with(rule), &[("a/client", true), ("203.0.113.9", false)]);
    let rule = json!({"source": {"selector": "app == 'client'"}, "destination": {"nets": ["10.0.0.4/32"]}});
    assert_reached_by(&with(rule), &[("a/client", false)]);
    // An egress rule may name its own source.
    let own = from_client(json!([{"action": "Allow", "source": {"selector": "!has(app)"}}]));
    assert_reached_by(&world([own]), &[("a/client", false)]);
}

#[test]
fn r_ports_numbers_ranges_and_not_ports() {
    let to = |ports: Value| with(json!({"protocol": "TCP", "destination": ports}));
    for (entity, open, closed) in [
        (json!({"ports": [8080]}), vec![8080], vec![8079, 8081]),
        (json!({"ports": ["8080"]}), vec![8080], vec![8079, 8081]),
        (json!({"ports": ["8080:8082", 9090]}), vec![8080, 8081, 8082, 9090], vec![8083, 80]),
        (json!({"notPorts": [8080, "8082:8083"]}), vec![8081, 80], vec![8080, 8082, 8083]),
        (json!({"ports": ["8080:8090"], "notPorts": [8081]}), vec![8080, 8082], vec![8081, 8091]),
    ] {
        let world = to(entity);
        for (ports, allowed) in [(open, true), (closed, false)] {
            for port in ports {
                assert_flow(&world, "a/client", "a/server", "TCP", port, allowed);
            }
        }
        assert_flow(&world, "a/client", "a/server", "UDP", 8080, false);
    }
}

#[test]
fn r_source_ports_are_the_clients() {
    let world = with(json!({"protocol": "TCP", "source": {"ports": ["1024:65535"], "notPorts": [5000]}}));
    let from = |port: u16| {
        let (src, dst) = (end(&world.plain, "a/client"), end(&world.plain, "a/server"));
        let question = Question { source_port: Some(port), ..Question::new(src, dst, "TCP", 80) };
        verdict(&world, &question).answer == Answer::Allowed
    };
    assert_eq!([1023, 1024, 5000, 40_000].map(from), [false, true, false, true]);
}

#[test]
fn r_named_ports_are_the_pods() {
    let to = |protocol: &str, ports: Value| serving(with(json!({"protocol": protocol, "destination": ports})));
    let web = to("TCP", json!({"ports": ["web"]}));
    assert_flow(&web, "a/client", "a/server", "TCP", 8080, true);
    assert_flow(&web, "a/client", "a/server", "TCP", 8081, false);
    let dns = to("UDP", json!({"ports": ["dns"]}));
    assert_flow(&dns, "a/client", "a/server", "UDP", 53, true);
    assert_flow(&to("TCP", json!({"ports": ["dns"]})), "a/client", "a/server", "TCP", 53, false);
    let not_web = to("TCP", json!({"notPorts": ["web"]}));
    assert_flow(&not_web, "a/client", "a/server", "TCP", 8080, false);
    assert_flow(&not_web, "a/client", "a/server", "TCP", 8081, true);
    let either = to("TCP", json!({"ports": ["web", 9090]}));
    assert_flow(&either, "a/client", "a/server", "TCP", 9090, true);
    assert_flow(&either, "a/client", "a/server", "TCP", 8080, true);
}

#[test]
fn r_a_named_port_is_of_the_pod_that_is_selected() {
    // The set is selected, the pod at the same address is not: the pod's name for the port does not count.
    let rule = |ports: Value| {
        from_client(
            json!([{"action": "Allow", "protocol": "TCP", "destination": {"selector": "role == 'db'", "ports": ports}}]),
        )
    };
    let world = |ports: Value| {
        serving(crate::tests::tiers::world([set("a/db", json!({"role": "db"}), json!(["10.0.0.3"])), rule(ports)]))
    };
    assert_flow(&world(json!([8080])), "a/client", "a/server", "TCP", 8080, true);
    assert_flow(&world(json!(["web"])), "a/client", "a/server", "TCP", 8080, false);
}

#[test]
fn r_protocols_by_name_and_number() {
    for (rule, tcp, udp, sctp) in [
        (json!({"protocol": "TCP"}), true, false, false),
        (json!({"protocol": 17}), false, true, false),
        (json!({"protocol": "sctp"}), false, false, true),
        (json!({"notProtocol": "TCP"}), false, true, true),
        (json!({"notProtocol": 17}), true, false, true),
        (json!({"protocol": "UDPLite"}), false, false, false),
        (json!({}), true, true, true),
    ] {
        let world = with(rule);
        assert_flow(&world, "a/client", "a/server", "TCP", 80, tcp);
        assert_flow(&world, "a/client", "a/server", "UDP", 80, udp);
        assert_flow(&world, "a/client", "a/server", "SCTP", 80, sctp);
    }
}

fn ping(world: &World, kind: u8, code: u8) -> bool {
    let (src, dst) = (end(&world.plain, "a/client"), end(&world.plain, "a/server"));
    verdict(world, &Question::icmp(src, dst, kind, code)).answer == Answer::Allowed
}

#[test]
fn r_icmp_types_and_codes() {
    for (rule, echo, unreachable, other_code) in [
        (json!({"protocol": "ICMP"}), true, true, true),
        (json!({"protocol": "ICMP", "icmp": {"type": 8}}), true, false, false),
        (json!({"protocol": "ICMP", "icmp": {"type": 3, "code": 1}}), false, true, false),
        (json!({"protocol": "ICMP", "notICMP": {"type": 8}}), false, true, true),
        (json!({"protocol": "ICMP", "notICMP": {"type": 3, "code": 1}}), true, false, true),
        (json!({"protocol": "ICMPv6"}), false, false, false),
        (json!({"protocol": "TCP"}), false, false, false),
        (json!({"notProtocol": "TCP"}), true, true, true),
    ] {
        let world = with(rule.clone());
        let seen = [ping(&world, 8, 0), ping(&world, 3, 1), ping(&world, 3, 2)];
        assert_eq!(seen, [echo, unreachable, other_code], "{rule}");
    }
    // Ports never match what has none.
    assert!(!ping(&with(json!({"protocol": "TCP", "destination": {"notPorts": [80]}})), 8, 0));
}

#[test]
fn r_ip_version() {
    assert_reached_by(&with(json!({"ipVersion": 4})), &[("a/client", true)]);
    assert_reached_by(&with(json!({"ipVersion": 6})), &[("a/client", false)]);
}

fn slice(namespace: &str, ready: bool) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.0.0.3"], "conditions": {"ready": ready}}],
        "ports": [{"port": 8080}, {"port": 53, "protocol": "UDP"}]})
}

#[test]
fn c12_services_of_egress_are_addresses_and_ports() {
    let rule = json!([{"action": "Allow", "destination": {"services": {"name": "web", "namespace": "a"}}}]);
    for ready in [true, false] {
        let world = world([slice("a", ready), from_client(rule.clone())]);
        for (protocol, port, allowed) in
            [("TCP", 8080, true), ("UDP", 53, true), ("UDP", 8080, false), ("TCP", 53, false)]
        {
            assert_flow(&world, "a/client", "a/server", protocol, port, allowed);
        }
        // The pods behind it, not the Service's own address.
        assert_flow(&world, "a/client", "10.96.0.10", "TCP", 8080, false);
        assert_flow(&world, "a/client", "b/client", "TCP", 8080, false);
    }
    // A Service of another namespace is another one; without a namespace it is the policy's.
    assert_flow(&world([slice("b", true), from_client(rule)]), "a/client", "a/server", "TCP", 8080, false);
    let own = json!([{"action": "Allow", "destination": {"services": {"name": "web"}}}]);
    assert_flow(&world([slice("a", true), from_client(own)]), "a/client", "a/server", "TCP", 8080, true);
}

#[test]
fn c12_services_of_ingress_are_addresses() {
    let rule = json!([{"action": "Allow", "source": {"services": {"name": "web", "namespace": "a"}}}]);
    let spec = json!({"selector": "app == 'client'", "types": ["Ingress"], "ingress": rule});
    let world = world([slice("a", true), np("a/p", spec)]);
    assert_flow(&world, "a/server", "a/client", "TCP", 9999, true);
    assert_flow(&world, "b/client", "a/client", "TCP", 8080, false);
}

#[test]
fn c12_services_without_slices_are_the_pods_that_they_select() {
    let service = |port: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web"},
        "spec": {"clusterIP": "10.96.0.10", "selector": {"app": "server"}, "ports": [port]}})
    };
    let rule = json!([{"action": "Allow", "destination": {"services": {"name": "web", "namespace": "a"}}}]);
    for (port, number) in [
        (json!({"port": 80, "targetPort": 9090}), 9090),
        (json!({"port": 80, "targetPort": "web"}), 8080),
        (json!({"port": 80}), 80),
    ] {
        let world = serving(world([service(port), from_client(rule.clone())]));
        assert_flow(&world, "a/client", "a/server", "TCP", number, true);
        assert_flow(&world, "a/client", "a/server", "TCP", 1, false);
        assert_flow(&world, "a/client", "b/client", "TCP", number, false);
    }
}
