//! The snapshot of a cluster, against an API server in memory.

use crate::support::api;

use std::time::{Duration, Instant};

use api::{Api, Fault};
use netpol_verify::{
    cluster::{LiveCluster, own_job},
    model::{Phase, PodRef, PolicyRef, Snapshot},
    verify::seams::Cluster,
};
use serde_json::{Value, json};

fn pod(namespace: &str, name: &str, owner: Option<(&str, &str, &str)>) -> Value {
    let owners: Vec<_> = owner
        .iter()
        .map(|(api, kind, name)| json!({"apiVersion": api, "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}, "ownerReferences": owners},
        "spec": {"containers": [{"name": "main", "image": "main:1", "ports": [{"containerPort": 80}]}], "nodeName": "node-1"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn replica_set(name: &str, deployment: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}"), "ownerReferences":
        [{"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "uid": "d", "controller": true}]}})
}

fn policy(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}})
}

/// A namespace with a Deployment of one pod, its Service, and a policy.
pub(crate) async fn shop() -> Api {
    let api = Api::start().await;
    api.put("namespaces", json!({"metadata": {"name": "shop", "labels": {"team": "a"}}}));
    api.put("pods", pod("shop", "cart-7d9-x", Some(("apps/v1", "ReplicaSet", "cart-7d9"))));
    api.put("replicasets.apps", replica_set("cart-7d9", "cart"));
    let template = json!({"metadata": {"labels": {"app": "cart"}}, "spec": {"containers":
        [{"name": "main", "ports": [{"containerPort": 80, "name": "http"}]}]}});
    let labels = json!({"matchLabels": {"app": "cart"}});
    api.put(
        "deployments.apps",
        json!({"metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"replicas": 0, "selector": labels, "template": template}}),
    );
    api.put(
        "services",
        json!({"metadata": {"namespace": "shop", "name": "cart"}, "spec": {"clusterIPs": ["10.96.0.7"],
        "selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": "http"}, {"port": 53, "protocol": "UDP"}]}}),
    );
    api.put(
        "nodes",
        json!({"metadata": {"name": "node-1"}, "status": {"addresses":
        [{"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "192.168.0.4"}]}}),
    );
    api.put("networkpolicies.networking.k8s.io", policy("shop", "web"));
    api
}

/// With little patience, for what a server that is silent leads to.
pub(crate) fn live(api: &Api) -> LiveCluster {
    LiveCluster::new(api.client(), "netpol-verify").with_patience(Duration::from_secs(3))
}

/// With the patience of a run: the machine may be busy.
pub(crate) fn patient(api: &Api) -> LiveCluster {
    LiveCluster::new(api.client(), "netpol-verify")
}

pub(crate) async fn snapshot(api: &Api) -> Snapshot {
    patient(api).snapshot().await.unwrap()
}

#[tokio::test]
async fn everything_that_verdicts_depend_on_is_read() {
    let api = shop().await;
    let seen = snapshot(&api).await;
    assert_eq!(seen.namespaces["shop"].labels["kubernetes.io/metadata.name"], "shop");
    assert_eq!(seen.namespaces["shop"].labels["team"], "a");
    assert_eq!(seen.pods[0].workload.to_string(), "shop/cart");
    assert_eq!((seen.pods[0].workload.kind.as_str(), seen.pods[0].phase), ("Deployment", Phase::Running));
    let cart = &seen.workloads[0];
    assert_eq!(
        (cart.id.kind.as_str(), cart.replicas, cart.ports[0].name.as_deref()),
        ("Deployment", Some(0), Some("http"))
    );
    let targets: Vec<_> =
        seen.services[0].ports.iter().map(|(port, protocol, target)| format!("{port}/{protocol}→{target}")).collect();
    assert_eq!(targets, ["80/TCP→http", "53/UDP→53"]);
    assert_eq!(seen.nodes["node-1"], ["192.168.0.4".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(seen.policies[0].document.id, PolicyRef::network_policy("shop", "web"));
    assert_eq!((seen.not_understood.len(), seen.not_readable.len(), seen.deny_action), (0, 0, None));
}

#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let api = shop().await;
    (0..1_200).for_each(|n| api.put("pods", pod("shop", &format!("p{n:04}"), None)));
    assert_eq!(snapshot(&api).await.pods.len(), 1_201);
    let pages = api.requests("GET /api/v1/pods?");
    assert_eq!(pages.len(), 3, "{pages:?}");
    assert!(pages.iter().all(|page| page.contains("limit=500")), "{pages:?}");
}

#[tokio::test]
async fn a_list_that_expires_between_pages_is_begun_anew_and_not_for_ever() {
    let api = shop().await;
    (0..600).for_each(|n| api.put("pods", pod("shop", &format!("p{n:04}"), None)));
    api.fault("GET", "/api/v1/pods?&limit=500&continue", Fault::Status(410), 1);
    let seen = snapshot(&api).await;
    assert_eq!(seen.pods.len(), 601, "no pod twice, none lost");
    assert_eq!(api.requests("GET /api/v1/pods?").len(), 4);

    api.fault("GET", "/api/v1/pods?&limit=500&continue", Fault::Status(410), 100);
    let error = live(&api).snapshot().await.unwrap_err().to_string();
    assert!(error.contains("list pods") && error.contains("expired 4 times"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named_and_only_the_core_ones_stop_the_run() {
    let api = shop().await;
    for (path, resource) in [
        ("/api/v1/pods", "pods"),
        ("/api/v1/namespaces", "namespaces"),
        ("/networkpolicies", "networkpolicies.networking.k8s.io"),
        ("/replicasets", "replicasets.apps"),
    ] {
        api.fault("GET", path, Fault::Status(403), 100);
        let error = live(&api).snapshot().await.unwrap_err().to_string();
        assert!(error.ends_with(&format!("add list on {resource} to ClusterRole netpol-verify")), "{error}");
        api.no_faults();
    }
    api.fault("GET", "/services", Fault::Status(403), 1);
    let seen = snapshot(&api).await;
    assert_eq!((seen.pods.len(), seen.services.len()), (1, 0));
    let missing = &seen.not_readable[0];
    assert_eq!((missing.resource.as_str(), missing.policies), ("services", false));
    assert!(missing.reason.contains("add list on services to ClusterRole netpol-verify"), "{missing:?}");
}

#[tokio::test]
async fn what_does_not_answer_may_hold_policies_and_is_not_waited_for_long() {
    let api = shop().await;
    api.serve("security.example.org", "v1", "Stale", &[]);
    api.serve("cilium.io", "v2", "Current", &[("CiliumNetworkPolicy", "ciliumnetworkpolicies", true)]);
    api.fault("GET", "ciliumnetworkpolicies", Fault::Status(503), 1_000);
    let start = Instant::now();
    let seen = live(&api).snapshot().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let missing: Vec<_> = seen.not_readable.iter().map(|n| (n.resource.as_str(), n.policies)).collect();
    assert_eq!(missing, [("*.security.example.org", true), ("ciliumnetworkpolicies.cilium.io", true)]);
    assert_eq!(seen.pods.len(), 1);
}

#[tokio::test]
async fn without_discovery_nothing_can_be_called_verified() {
    let api = shop().await;
    api.fault("GET", "/apis$", Fault::Status(403), 1);
    let seen = snapshot(&api).await;
    assert_eq!(
        seen.not_readable.iter().map(|n| (n.resource.as_str(), n.policies)).collect::<Vec<_>>(),
        [("/apis", true)]
    );
}

#[tokio::test]
async fn pods_are_read_again_with_owners_that_are_new_since_the_snapshot() {
    let api = shop().await;
    let cluster = patient(&api);
    cluster.snapshot().await.unwrap();
    api.put("replicasets.apps", replica_set("cart-8aa", "cart"));
    api.put("pods", pod("shop", "cart-8aa-y", Some(("apps/v1", "ReplicaSet", "cart-8aa"))));
    let id = |name: &str| PodRef { namespace: "shop".to_owned(), name: name.to_owned() };
    let ids = [id("cart-7d9-x"), id("cart-8aa-y"), id("gone"), id("gone")];
    let pods = cluster.pods(&ids).await.unwrap();
    let workloads: Vec<_> = pods.values().map(|pod| format!("{} {}", pod.id.name, pod.workload.name)).collect();
    assert_eq!(workloads, ["cart-7d9-x cart", "cart-8aa-y cart"]);
    assert_eq!(api.requests("/replicasets/").len(), 1, "known owners are not asked for again");
}

#[tokio::test]
async fn many_pods_of_a_namespace_are_read_again_with_one_request() {
    let api = shop().await;
    let cluster = patient(&api);
    for number in 0..20 {
        api.put("pods", pod("shop", &format!("many-{number:02}"), None));
    }
    let id = |name: String| PodRef { namespace: "shop".to_owned(), name };
    let ids: Vec<PodRef> =
        (0..15).map(|number| id(format!("many-{number:02}"))).chain([id("gone".to_owned())]).collect();
    let pods = cluster.pods(&ids).await.unwrap();
    assert_eq!(pods.keys().cloned().collect::<Vec<_>>(), ids[..15], "those that were asked for, and are there");
    assert_eq!(api.requests("/pods").len(), 1, "{:?}", api.requests("/pods"));
}

#[tokio::test]
async fn a_policy_that_changed_has_another_version() {
    let api = shop().await;
    let cluster = patient(&api);
    let id = PolicyRef::network_policy("shop", "web");
    let taken = cluster.snapshot().await.unwrap().policies[0].resource_version.clone();
    assert_eq!(cluster.policy_versions().await.unwrap()[&id], taken);
    api.put("networkpolicies.networking.k8s.io", policy("shop", "web"));
    assert_ne!(cluster.policy_versions().await.unwrap()[&id], taken);
}

#[tokio::test]
async fn an_event_stands_on_the_own_job_and_its_refusal_is_returned() {
    let api = shop().await;
    let job = json!({"metadata": {"namespace": "netpol-verify", "name": "run-1", "uid": "job-uid"}});
    api.put("jobs.batch", job);
    let cluster = patient(&api).with_job(Some("run-1".to_owned()));
    cluster.event("Finding", &"long ".repeat(1_000), true).await.unwrap();
    let event = &api.all("events.events.k8s.io")[0];
    assert_eq!(event["regarding"]["uid"], "job-uid");
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("Finding")));
    assert!(event["note"].as_str().unwrap().len() <= 1024);
    patient(&api).event("Verified", "fine", false).await.unwrap();
    let kinds: Vec<_> = api.all("events.events.k8s.io").iter().map(|e| e["regarding"]["kind"].clone()).collect();
    assert_eq!(kinds, ["Job", "CronJob"]);
    api.fault("POST", "/events", Fault::Status(403), 1);
    let error = cluster.event("Verified", "fine", false).await.unwrap_err().to_string();
    assert!(error.contains("add create on events.events.k8s.io to Role netpol-verify in netpol-verify"), "{error}");
}

#[tokio::test]
async fn the_own_job_says_why_it_runs() {
    let api = Api::start().await;
    let annotations = json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-11-20T09:00:00Z"});
    api.put("jobs.batch", json!({"metadata": {"namespace": "n", "name": "scheduled", "annotations": annotations}}));
    api.put("jobs.batch", json!({"metadata": {"namespace": "n", "name": "person"}}));
    let read = async |name, expected| own_job(&api.client(), "n", name, expected, Some("")).await.unwrap();
    assert!(read(Some("scheduled"), None).await.scheduled);
    let person = read(Some("person"), Some("flux-system/apps@main@sha1:1")).await;
    assert_eq!((person.scheduled, person.created.as_deref()), (false, Some("2026-11-20T09:00:00Z")));
    assert_eq!((person.expected.len(), person.trigger), (1, None));
    assert_eq!(read(Some("gone"), None).await.created, None);
    assert_eq!(read(None, None).await.name, None);
}

/// `cargo test --test suite -- cluster_live --ignored --nocapture` with KUBECONFIG.
#[tokio::test]
#[ignore = "needs a cluster, named by KUBECONFIG"]
async fn the_snapshot_of_a_real_cluster() {
    let cluster = LiveCluster::new(kube::Client::try_default().await.unwrap(), "default");
    let start = Instant::now();
    let seen = cluster.snapshot().await.unwrap();
    println!("taken in {:?}: {} namespaces, {} pods", start.elapsed(), seen.namespaces.len(), seen.pods.len());
    seen.pods
        .iter()
        .for_each(|p| println!("  {} {}/{} {:?} {:?}", p.id, p.workload.kind, p.workload.name, p.phase, p.ips));
    seen.policies.iter().for_each(|p| println!("  {} {:?}", p.document.id, p.managers));
    println!("nodes {:?}, {} workloads, {} services", seen.nodes, seen.workloads.len(), seen.services.len());
    println!(
        "calico {:#?}\naccounts {:?}\nnot understood {:#?}\nnot readable {:#?}\ndenies by {:?}",
        seen.calico, seen.service_accounts, seen.not_understood, seen.not_readable, seen.deny_action
    );
    let ids: Vec<_> = seen.pods.iter().map(|pod| pod.id.clone()).collect();
    let again = cluster.pods(&ids).await.unwrap();
    assert!(seen.pods.iter().all(|pod| again.get(&pod.id).is_none_or(|now| now.workload == pod.workload)));
    assert_eq!(cluster.policy_versions().await.unwrap().len(), seen.deciding().count());
}

#[tokio::test]
async fn the_endpoints_of_a_service_without_a_selector_are_those_of_its_slices() {
    let api = shop().await;
    let ports = json!([{"name": "sql", "port": 5432}]);
    api.put("services", json!({"metadata": {"namespace": "shop", "name": "db"}, "spec": {"ports": ports}}));
    for (name, service, address) in
        [("db-1", "db", "192.0.2.7"), ("db-2", "db", "192.0.2.8"), ("cart-1", "cart", "10.0.0.1")]
    {
        api.put(
            "endpointslices.discovery.k8s.io",
            json!({"metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "sql", "port": 15432, "protocol": "TCP"}]}),
        );
    }
    let seen = snapshot(&api).await;
    let ends = |name: &str| -> Vec<String> {
        let service = seen.services.iter().find(|service| service.name == name).unwrap();
        let text = |end: &netpol_verify::model::ServiceEnd| format!("{} {} {:?}", end.address, end.name, end.port);
        service.ends.iter().map(text).collect()
    };
    assert_eq!(
        ends("db"),
        ["192.0.2.7  None", "192.0.2.7 sql Some(15432)", "192.0.2.8  None", "192.0.2.8 sql Some(15432)"]
    );
    assert_eq!(ends("cart"), [""; 0], "its selector says more");
    api.fault("GET", "/apis/discovery.k8s.io/v1/endpointslices", Fault::Status(403), 9);
    let blind = snapshot(&api).await;
    assert!(
        blind.not_readable[0].reason.contains("add list on endpointslices.discovery.k8s.io"),
        "{:?}",
        blind.not_readable
    );
}
