//! The live cluster as an input set: the real program against an API server in memory.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster_live::shop,
    offline::support::{Ran, folder, run_in},
    support::api::{Api, Fault},
};

/// Kinds of a dump: resource, apiVersion, kind.
const KINDS: [(&str, &str, &str); 7] = [
    ("namespaces", "v1", "Namespace"),
    ("nodes", "v1", "Node"),
    ("pods", "v1", "Pod"),
    ("services", "v1", "Service"),
    ("deployments.apps", "apps/v1", "Deployment"),
    ("replicasets.apps", "apps/v1", "ReplicaSet"),
    ("networkpolicies.networking.k8s.io", "networking.k8s.io/v1", "NetworkPolicy"),
];

/// What `kubectl get … -o json` would print.
fn dump(api: &Api) -> String {
    let items: Vec<Value> = KINDS
        .iter()
        .flat_map(|(resource, version, kind)| {
            api.all(resource).into_iter().map(move |mut object| {
                object["apiVersion"] = json!(version);
                object["kind"] = json!(kind);
                object
            })
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// A folder with the cluster's kubeconfig and files.
fn here(api: &Api, files: &[(&str, &str)]) -> TempDir {
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": api.url()}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]});
    folder(&[&[("kubeconfig", kubeconfig.to_string().as_str())], files].concat())
}

/// Runs the program beside the server.
async fn run(folder: &Path, args: &[&str], input: &str) -> Ran {
    let args: Vec<String> = args.iter().chain(&["--kubeconfig", "kubeconfig"]).map(|arg| (*arg).to_owned()).collect();
    let (folder, input) = (folder.to_owned(), input.to_owned());
    let work = move || run_in(&folder, &args.iter().map(String::as_str).collect::<Vec<_>>(), &input);
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The shop, whose `web` policy isolates all, with a client that alone may reach the cart.
async fn cluster() -> Api {
    let api = shop().await;
    let status = json!({"phase": "Running", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}],
        "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"name": "main", "image": "main:1",
        "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]});
    api.put(
        "pods",
        json!({"metadata": {"namespace": "shop", "name": "client", "labels": {"app": "client"}},
        "spec": {"containers": [{"name": "main", "image": "main:1"}], "nodeName": "node-1"}, "status": status}),
    );
    let rule = json!([{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": 80, "protocol": "TCP"}]}]);
    api.put(
        "networkpolicies.networking.k8s.io",
        json!({"metadata": {"namespace": "shop", "name": "cart"}, "spec": {"podSelector": {"matchLabels": {"app": "cart-7d9-x"}},
        "policyTypes": ["Ingress"], "ingress": rule}}),
    );
    api
}

const CART: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart-7d9-x}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 443}]
";
const DENY: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

#[tokio::test(flavor = "multi_thread")]
async fn the_live_cluster_is_answered_as_its_dump_is() {
    let api = cluster().await;
    let folder = here(&api, &[]);
    let of_dump = run(folder.path(), &["list", "-f", "-", "-o", "json"], &dump(&api)).await;
    let live = run(folder.path(), &["list", "--live", "-o", "json"], "").await;
    assert_eq!((live.code, of_dump.code), (0, 0), "{live:?} {of_dump:?}");
    let flows = live.json()["flows"].as_array().unwrap().len();
    assert!(flows > 1, "{live:?}");
    assert_eq!(live.json(), of_dump.json());
    assert!(api.requests("GET /api/v1/pods?").iter().all(|page| page.contains("limit=500")), "in pages");
    for (args, code) in [
        (["explain", "shop/client", "svc/shop/cart", "80", "-o", "json"].as_slice(), 1),
        (&["explain", "shop/client", "shop/deploy/cart", "80", "-o", "json"], 0),
        (&["explain", "shop/deploy/cart", "shop/client", "80", "-o", "json"], 1),
        (&["table", "-n", "shop", "-o", "json"], 0),
        (&["lint", "-o", "json"], 0),
    ] {
        let ran = run(folder.path(), &[args, &["--live"]].concat(), "").await;
        let of_dump = run(folder.path(), &[args, &["-f", "-"]].concat(), &dump(&api)).await;
        let service = args.contains(&"svc/shop/cart");
        // The pod of the test has not the label that its Service selects by.
        assert_eq!(ran.code, if service { 2 } else { code }, "{args:?}: {ran:?}");
        assert_eq!(of_dump.code, ran.code, "{args:?}: {of_dump:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_git_are_compared_with_the_live_ones_over_the_live_workloads() {
    let api = cluster().await;
    let folder = here(&api, &[("git/policies.yaml", &format!("{CART}{DENY}"))]);
    let ran = run(folder.path(), &["diff", "live", "git", "--workloads", "live", "-o", "json"], "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let json = ran.json();
    let policies: Vec<_> =
        json["policies"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(policies, ["cart"], "what the API server fills in is no change: {json}");
    let flow = &json["flows"][0];
    assert_eq!((&flow["source"]["name"], &flow["destination"]["name"]), (&json!("client"), &json!("cart")), "{json}");
    assert_eq!((&flow["before"][0]["from"], &flow["after"][0]["from"]), (&json!(80), &json!(443)), "{json}");
    assert_eq!(api.requests("GET /api/v1/pods?").len(), 1, "the cluster is looked at once");
    std::fs::write(folder.path().join("git/policies.yaml"), format!("{}{DENY}", CART.replace("443", "80"))).unwrap();
    let same = run(folder.path(), &["diff", "live", "git", "--workloads", "live"], "").await;
    assert_eq!(same.code, 0, "the control: {same:?}");
    let listed = run(folder.path(), &["list", "-f", "git", "--workloads", "live", "-o", "json"], "").await;
    let live = run(folder.path(), &["list", "--live", "-o", "json"], "").await;
    assert_eq!((listed.code, listed.json()), (0, live.json()), "the same policies over the same workloads");
}

#[tokio::test(flavor = "multi_thread")]
async fn calicos_policies_count_tier_by_tier() {
    let api = cluster().await;
    let kinds = [("GlobalNetworkPolicy", "globalnetworkpolicies", false), ("Tier", "tiers", false)];
    api.serve("projectcalico.org", "v3", "Current", &kinds);
    for (tier, order) in [("default", 1_000_000), ("first", 10)] {
        api.put("tiers.projectcalico.org", json!({"metadata": {"name": tier}, "spec": {"order": order}}));
    }
    let args = ["explain", "--live", "shop/client", "shop/deploy/cart", "80"];
    let folder = here(&api, &[]);
    assert_eq!(run(folder.path(), &args, "").await.code, 0, "the control");
    let spec = json!({"tier": "first", "selector": "all()", "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    api.put("globalnetworkpolicies.projectcalico.org", json!({"metadata": {"name": "first.deny"}, "spec": spec}));
    let denied = run(folder.path(), &args, "").await;
    assert!(denied.code == 1 && denied.out.contains("first.deny"), "{denied:?}");
    assert!(!api.requests("fieldSelector=spec.tier%3Dfirst").is_empty(), "{:?}", api.requests("globalnetworkpolicies"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_with_the_right_to_add_and_nothing_is_told() {
    for (path, words) in [
        ("/api/v1/pods?", "may not list pods: add list on pods to ClusterRole netpol-verify"),
        ("/apis/networking.k8s.io/v1/networkpolicies?", "may not list networkpolicies.networking.k8s.io"),
        ("/api/v1/services?", "may not list services: add list on services"),
        ("/apis/apps/v1/daemonsets?", "may not list daemonsets.apps"),
    ] {
        let api = cluster().await;
        api.fault("GET", path, Fault::Status(403), 100);
        let ran = run(here(&api, &[]).path(), &["list", "--live"], "").await;
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{path}: {ran:?}");
        assert!(ran.errors.contains(words), "{path}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_not_understood_leaves_nothing_to_tell() {
    let api = cluster().await;
    api.serve("cilium.io", "v2", "Current", &[("CiliumNetworkPolicy", "ciliumnetworkpolicies", true)]);
    let folder = here(&api, &[]);
    assert_eq!(run(folder.path(), &["list", "--live"], "").await.code, 0, "a kind without objects decides nothing");
    api.put("ciliumnetworkpolicies.cilium.io", json!({"metadata": {"namespace": "shop", "name": "l7"}, "spec": {}}));
    let ran = run(folder.path(), &["list", "--live"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.errors.contains("CiliumNetworkPolicy/shop/l7 of the live cluster is not understood"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_and_a_context_that_is_not_are_errors() {
    let api = cluster().await;
    let folder = here(&api, &[]);
    let both = run(folder.path(), &["list", "--live", "-f", "x"], "").await;
    assert_eq!(both.code, 2, "{both:?}");
    let context = run(folder.path(), &["list", "--live", "--context", "elsewhere"], "").await;
    assert!(context.code == 2 && context.errors.contains("elsewhere"), "{context:?}");
    let kubeconfig = std::fs::read_to_string(folder.path().join("kubeconfig")).unwrap();
    // Nobody listens there.
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.replace(&api.url(), "http://127.0.0.1:1")).unwrap();
    let gone = run(folder.path(), &["list", "--live"], "").await;
    assert_eq!((gone.code, gone.out.as_str()), (3, ""), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_by_hand_refuses_ends_that_are_not_there_and_needs_the_right_to_exec() {
    let api = cluster().await;
    let folder = here(&api, &[]);
    for (args, words) in [
        (["shop/clent", "shop/deploy/cart", "80"].as_slice(), "there is no pod or workload `shop/clent`"),
        (&["10.0.0.9", "198.51.100.7", "80"], "a probe starts in a pod"),
        (&["shop/client", "10.0.0.0/8", "80"], "a probe goes to one address"),
        (&["shop/client", "shop/deploy/cart", "80", "--timeout", "1s"], "not within 2s and 30s"),
    ] {
        let ran = run(folder.path(), &[&["probe"], args].concat(), "").await;
        assert!(ran.code == 2 && ran.errors.contains(words), "{args:?}: {ran:?}");
    }
    assert!(api.requests("/exec").is_empty(), "nothing was tried");
    api.fault("GET", "/pods/client/exec?", Fault::Status(403), 100);
    let args = ["probe", "shop/client", "shop/deploy/cart", "80", "--settle", "1s", "-o", "json"];
    let ran = run(folder.path(), &args, "").await;
    let flow = &ran.json()["results"][0]["flow"];
    assert_eq!((ran.code, &flow["result"], &flow["live"]), (3, &json!("inconclusive"), &json!("allowed")), "{ran:?}");
    assert!(flow["note"].as_str().unwrap().contains("`get` and `create` on pods/exec"), "{ran:?}");
    let writes: Vec<String> =
        ["POST ", "PUT ", "PATCH ", "DELETE "].iter().flat_map(|verb| api.requests(verb)).collect();
    assert!(writes.is_empty(), "{writes:?}");
}
