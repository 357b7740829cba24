//! Calico's policies and those of Kubernetes in one order, as packets see them.

use lab::net::{Denial, Net, Seen, rules};
use oracle::tiers::World;
use serde_json::{Value, json};

use crate::{CLOSED, PORT, ip, pod, tcp};

const WEB: &str = "10.244.1.1";
const DB: &str = "10.244.1.2";
const OPS: &str = "10.244.1.3";

fn in_cluster(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

fn global(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name}, "spec": spec})
}

/// Ingress of the database: the shop's NetworkPolicy (order 1000) lets in what comes from web.
fn world(calico: impl IntoIterator<Item = Value>) -> World {
    let spec = json!({
        "podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
    });
    let metadata = json!({"namespace": "shop", "name": "db"});
    let policy =
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
    let pods = [("web", WEB), ("db", DB), ("ops", OPS)].map(|(name, address)| in_cluster(name, address));
    World::read(pods.into_iter().chain([policy]).chain(calico)).unwrap()
}

/// Which of web and ops reach the database, at the port where it listens and at one where nothing does.
async fn seen(net: &Net, world: &World) -> [Seen; 4] {
    net.enforce(&rules(world, &[]), Denial::Drop).await.unwrap();
    let (web, ops) = ("shop/web", "shop/ops");
    [tcp(net, web, DB, PORT).await, tcp(net, web, DB, CLOSED).await, tcp(net, ops, DB, PORT).await, {
        tcp(net, ops, DB, CLOSED).await
    }]
}

#[tokio::test]
async fn a_policy_of_calico_decides_before_or_after_those_of_kubernetes_by_its_order() {
    let net = Net::start().await.unwrap();
    for (name, address) in [("shop/web", WEB), ("shop/db", DB), ("shop/ops", OPS)] {
        net.add_pod(&pod(name, &[address])).await.unwrap();
    }
    let (open, shut, nothing) = (Seen::Open, Seen::Timeout, Seen::Refused);
    let on_db = |order: u32, rules: Value| json!({"order": order, "selector": "app == 'db'", "types": ["Ingress"], "ingress": rules});
    let deny = json!([{"action": "Deny", "protocol": "TCP", "destination": {"ports": [format!("{PORT}:{PORT}")]}}]);
    let allow = json!([{"action": "Allow", "protocol": "TCP", "source": {"selector": "role == 'staff'"},
        "destination": {"ports": [PORT]}}]);
    let staff = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
        "metadata": {"name": "staff", "labels": {"role": "staff"}}, "spec": {"nets": [format!("{OPS}/32")]},
    });
    for (what, calico, expected) in [
        ("NetworkPolicy alone", vec![], [open, nothing, shut, shut]),
        ("a denial before it", vec![global("p", &on_db(100, deny.clone()))], [shut, nothing, shut, shut]),
        ("the same after it", vec![global("p", &on_db(2000, deny))], [open, nothing, shut, shut]),
        ("a set's address let in", vec![global("p", &on_db(2000, allow)), staff], [open, nothing, open, shut]),
        ("a policy without rules", vec![global("p", &json!({"types": ["Egress"]}))], [shut; 4]),
    ] {
        assert_eq!(seen(&net, &world(calico)).await, expected, "{what}");
    }
    assert_eq!(rules(&world([]), &[ip("192.0.2.1")]).ingress, [ip(DB)].into(), "nobody else is isolated");
}
