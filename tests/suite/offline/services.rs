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
