//! Services as destinations.

use super::support::{Ran, over, pod, policy};

/// Web and, behind one Service, three that serve it differently.
fn objects() -> String {
    let service = |name: &str, spec: &str| {
        format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n")
    };
    let serving = |name: &str, port: &str, address: &str| {
        let ports = format!("containers: [{{name: c, ports: [{port}]}}]");
        pod(name, "app: api", &ports, &format!("podIP: {address}"))
    };
    pod("shop/web", "app: web", "", "podIP: 10.0.0.1")
        + &serving("shop/a", "{name: http, containerPort: 8080}", "10.0.0.2")
        + &serving("shop/b", "{name: http, containerPort: 9090}", "10.0.0.3")
        + &serving("shop/c", "{name: admin, containerPort: 1}", "10.0.0.4")
        + &service("api", "{selector: {app: api}, clusterIP: 10.96.0.7, ports: [{port: 80, targetPort: http}]}")
        + &service("each", "{selector: {app: api}, clusterIP: None, ports: [{port: 80, targetPort: 8080}]}")
}

fn first_lines(ran: &Ran) -> Vec<&str> {
    ran.out.lines().filter(|line| !line.starts_with(' ') && !line.starts_with("To open")).collect()
}

/// The rule names the ClusterIP, which no packet has when policies see it.
fn closed() -> String {
    let to_service = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                      egress: [{to: [{ipBlock: {cidr: 10.96.0.7/32}}]}, {to: [{ipBlock: {cidr: 10.0.0.2/32}}], ports: [{port: http}]}]}";
    policy("shop/web", to_service)
}

#[test]
fn a_cluster_address_is_the_endpoints_with_their_named_ports() {
    for name in ["svc/shop/api", "10.96.0.7"] {
        let ran = over(&objects(), &["explain", "shop/web", name, "80"]);
        let expected = ["allowed: shop/web -> shop/a:8080/TCP", "allowed: shop/web -> shop/b:9090/TCP"];
        assert_eq!(first_lines(&ran), expected, "{name}: {ran:?}");
    }
    let ran = over(&objects(), &["explain", "shop/web", "svc/shop/api", "81"]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("has no such port (it has 80/TCP)"), "{ran:?}");
}

#[test]
fn kubernetes_2_9_a_block_never_matches_the_address_of_a_service() {
    let ran = over(&(objects() + &closed()), &["explain", "shop/web", "10.96.0.7", "80"]);
    let expected = ["allowed: shop/web -> shop/a:8080/TCP", "denied: shop/web -> shop/b:9090/TCP"];
    assert_eq!((ran.code, first_lines(&ran)), (1, expected.to_vec()), "{ran:?}");
}

#[test]
fn a_headless_service_is_its_pods_on_the_port_that_is_asked() {
    let ran = over(&objects(), &["explain", "shop/web", "svc/shop/each", "9090"]);
    assert_eq!(first_lines(&ran).len(), 3, "{ran:?}");
    assert!(ran.out.contains("shop/web -> shop/b:9090/TCP"), "{ran:?}");
    let named = over(&objects(), &["explain", "shop/web", "svc/shop/each", "http"]);
    let expected = ["allowed: shop/web -> shop/a:8080/TCP", "allowed: shop/web -> shop/b:9090/TCP"];
    assert_eq!(first_lines(&named), expected, "{named:?}");
}

/// Somebody else writes the endpoints of `db`: a pod, and a host outside the cluster, both on another port.
const SLICES: &str = "---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.9, ports: [{name: sql, port: 5432, targetPort: 1}, {name: admin, port: 9000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 15432, protocol: TCP}]
endpoints: [{addresses: [10.0.0.7]}, {addresses: [192.0.2.7]}]
";

#[test]
fn a_service_without_a_selector_is_what_its_endpoint_slices_have() {
    let status = |ip: &str| format!("phase: Running, podIP: {ip}");
    let pods =
        pod("shop/web", "app: web", "", &status("10.0.0.6")) + &pod("shop/db-0", "app: db", "", &status("10.0.0.7"));
    let out = policy(
        "shop/out",
        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 15432}]}]}",
    );
    let input = format!("{pods}{out}{SLICES}");
    for name in ["svc/shop/db", "10.96.0.9"] {
        let ran = over(&input, &["explain", "shop/web", name, "5432", "-o", "json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let answers: Vec<serde_json::Value> =
            ran.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ends: Vec<_> = answers.iter().map(|answer| answer["flow"]["destination"].clone()).collect();
        let pod = serde_json::json!({"kind": "Pod", "namespace": "shop", "name": "db-0"});
        let host = serde_json::json!({"kind": "External", "cidrs": ["192.0.2.7/32"]});
        assert_eq!(ends, [pod, host], "{ran:?}");
        assert!(answers.iter().all(|answer| answer["flow"]["port"] == 15432), "the endpoints' port: {ran:?}");
    }
    let closed =
        over(&input.replace("192.0.2.0/24", "198.51.100.0/24"), &["explain", "shop/web", "svc/shop/db", "5432"]);
    assert_eq!(closed.code, 1, "one of the endpoints is not reached: {closed:?}");
    let none = over(&input, &["explain", "shop/web", "svc/shop/db", "9000"]);
    assert!(none.code == 2 && none.errors.contains("is no endpoint of that port"), "{none:?}");
    let unknown = over(
        input.split("kind: EndpointSlice").next().unwrap().trim_end_matches("apiVersion: discovery.k8s.io/v1\n"),
        &["explain", "shop/web", "svc/shop/db", "5432"],
    );
    assert!(unknown.code == 2 && unknown.errors.contains("give its EndpointSlices too"), "{unknown:?}");
    let bad = over(&input.replace("[192.0.2.7]", "[db.example.org]"), &["explain", "shop/web", "svc/shop/db", "5432"]);
    assert!(bad.code == 2 && bad.errors.contains("`db.example.org` is no IP address"), "{bad:?}");
}

/// Calico's `services` match asks for the endpoints of a Service, whoever writes them.
#[test]
fn a_rule_for_a_service_without_a_selector_matches_its_endpoint_slices() {
    let status = |ip: &str| format!("phase: Running, podIP: {ip}");
    let pods =
        pod("shop/web", "app: web", "", &status("10.0.0.6")) + &pod("shop/db-0", "app: db", "", &status("10.0.0.7"));
    let rule = "---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec:
  selector: app == 'web'
  types: [Egress]
  egress: [{action: Allow, destination: {services: {name: db, namespace: shop}}}]
";
    let input = format!("{pods}{rule}{SLICES}");
    for (destination, port, code) in
        [("shop/db-0", "15432", 0), ("192.0.2.7", "15432", 0), ("shop/db-0", "5432", 1), ("192.0.2.8", "15432", 1)]
    {
        let ran = over(&input, &["explain", "shop/web", destination, port]);
        assert_eq!(ran.code, code, "{destination}:{port}: {ran:?}");
    }
}
