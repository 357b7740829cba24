//! Where other tools answer wrongly: each of their mistakes is a test here (np-guard N1 to N7, policy-assistant and
//! cyclonus P1 to P7, kube-network-policies).

use super::support::{Ran, folder, over, pod, policy, run_in};

const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";

fn web_and_db() -> String {
    pod("shop/web", "app: web", "", "podIP: 10.0.0.1") + &pod("shop/db", "app: db", "", "podIP: 10.0.0.2")
}

fn decision(ran: &Ran) -> String {
    let decision = ran.json()["decision"].as_str().unwrap_or_default().to_owned();
    assert_eq!(ran.code, i32::from(decision == "denied"), "{ran:?}");
    decision
}

fn explain(objects: &str, flow: [&str; 3]) -> String {
    decision(&over(objects, &["explain", flow[0], flow[1], flow[2], "-o", "json"]))
}

#[test]
fn n1_a_port_without_a_number_is_of_its_protocol_alone_whichever_command_is_asked() {
    let objects = web_and_db()
        + &policy("shop/db", "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{protocol: UDP}]}]}");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "80/TCP"]), "denied");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "80/UDP"]), "allowed");
    let list = over(&objects, &["list", "--from", "shop/web", "--to", "shop/db"]);
    assert_eq!(list.out, "shop/web -> shop/db: all/UDP\n");
}

#[test]
fn n2_an_outside_address_may_be_the_source() {
    let block = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}";
    let objects = web_and_db() + &policy("shop/in", block);
    assert_eq!(explain(&objects, ["192.0.2.9", "shop/web", "443"]), "allowed");
    assert_eq!(explain(&objects, ["198.51.100.9", "shop/web", "443"]), "denied");
}

#[test]
fn n3_the_own_node_always_reaches_its_pods_and_another_node_does_not() {
    let objects = pod("shop/web", "", "nodeName: n1", "podIP: 10.0.0.1, hostIP: 192.168.0.1")
        + &pod("shop/other", "", "nodeName: n2", "podIP: 10.0.1.1, hostIP: 192.168.0.2")
        + &policy("shop/deny", DENY);
    assert_eq!(explain(&objects, ["192.168.0.1", "shop/web", "80"]), "allowed");
    assert_eq!(explain(&objects, ["192.168.0.2", "shop/web", "80"]), "denied");
}

#[test]
fn n4_node_network_phase_deletion_and_init_containers_are_seen() {
    let sidecar =
        "initContainers: [{name: proxy, restartPolicy: Always, ports: [{name: admin, containerPort: 15000}]}]";
    let objects = pod("shop/agent", "app: agent", "hostNetwork: true, nodeName: n1", "podIP: 192.168.0.1")
        + &pod("shop/done", "app: done", "", "phase: Succeeded, podIP: 10.0.0.9")
        + &pod("shop/web", "app: web", sidecar, "podIP: 10.0.0.1")
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: going, namespace: shop, deletionTimestamp: \"2026-11-20T09:12:00Z\"}\n"
        + &policy("shop/deny", DENY)
        + &policy("shop/in", "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: admin}]}]}")
        + &policy("shop/out", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{}]}")
        + &policy("shop/out2", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 15000}]}]}");
    let list = over(&objects, &["list"]);
    assert!(
        list.lines().contains(&"shop/going -> shop/web: 15000/TCP"),
        "a pod that ends has its address until it is gone: {list:?}"
    );
    assert!(!list.out.contains("shop/done"), "{list:?}");
    assert!(list.lines().contains(&"shop/web -> node n1: all ports"), "no policy isolates a node: {list:?}");
    let agent = over(&objects, &["explain", "shop/web", "shop/agent", "22", "-o", "json"]);
    assert_eq!(agent.json()["ingress"]["isolated"], false);
    assert_eq!(agent.json()["flow"]["destination"], serde_json::json!({"kind": "Host", "name": "n1"}));
}

#[test]
fn n5_pods_of_a_statefulset_are_told_apart_where_a_selector_names_one() {
    let one = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  labels: {{app: db, statefulset.kubernetes.io/pod-name: {name}}}\n  ownerReferences: [{{kind: StatefulSet, name: db, controller: true}}]\n"
        )
    };
    let first = "{podSelector: {matchLabels: {statefulset.kubernetes.io/pod-name: db-0}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}";
    let objects = pod("shop/web", "app: web", "", "") + &one("db-0") + &one("db-1");
    let together = over(&objects, &["list", "--from", "shop/web", "--to", "shop/StatefulSet/db"]);
    assert_eq!(together.out, "shop/web -> shop/StatefulSet/db: all ports\n", "nothing tells them apart");
    let apart = over(
        &(objects + &policy("shop/deny", "{podSelector: {}}") + &policy("shop/first", first)),
        &["list", "--from", "shop/web"],
    );
    assert_eq!(apart.lines()[0], "shop/web -> shop/db-0: all ports", "{apart:?}");
    assert!(!apart.out.contains("db-1"));
}

#[test]
fn n6_a_pending_pod_without_an_address_counts() {
    let objects = pod("shop/web", "app: web", "", "phase: Pending") + &pod("shop/db", "app: db", "", "podIP: 10.0.0.2");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "80"]), "allowed");
}

#[test]
fn n7_blocks_match_pods_in_both_families_and_a_difference_is_json_and_exit_1() {
    let both = "podIPs: [{ip: 10.0.0.2}, {ip: \"fd00::2\"}]";
    let pods = pod("shop/web", "app: web", "", "podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]")
        + &pod("shop/db", "app: db", "", both);
    let out = |cidr: &str| {
        pods.clone()
            + &policy(
                "shop/out",
                &format!(
                    "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: \"{cidr}\"}}}}]}}]}}"
                ),
            )
    };
    let list = over(&out("10.0.0.0/24"), &["list", "--from", "shop/web", "--to", "shop/db"]);
    assert_eq!(list.out, "shop/web -> shop/db: all ports (IPv4)\n");
    let list = over(&out("fd00::/64"), &["list", "--from", "shop/web", "--to", "shop/db"]);
    assert_eq!(list.out, "shop/web -> shop/db: all ports (IPv6)\n");
    assert_eq!(explain(&out("fd00::/64"), ["fd00::1", "fd00::2", "80"]), "allowed");
    assert_eq!(explain(&out("fd00::/64"), ["10.0.0.1", "10.0.0.2", "80"]), "denied");
    let folder = folder(&[("old", &out("10.0.0.0/24")), ("new", &out("fd00::/64"))]);
    let diff = run_in(folder.path(), &["diff", "old", "new", "-o", "json"], "");
    assert_eq!((diff.code, diff.json()["flows"][0]["change"].as_str()), (1, Some("removed")), "{diff:?}");
}

#[test]
fn p1_not_in_matches_where_the_key_is_absent() {
    let from = "{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [bad]}]}}]}]}";
    assert_eq!(explain(&(web_and_db() + &policy("shop/in", from)), ["shop/web", "shop/db", "80"]), "allowed");
}

#[test]
fn p2_an_empty_value_does_not_match_an_absent_key() {
    let from = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {gw: \"\"}}}]}]}";
    assert_eq!(explain(&(web_and_db() + &policy("shop/in", from)), ["shop/web", "shop/db", "80"]), "denied");
}

#[test]
fn p3_every_document_of_a_file_counts_and_one_bad_file_fails_the_command() {
    let all = web_and_db()
        + &policy("shop/deny", DENY)
        + &policy("shop/in", "{podSelector: {}, ingress: [{}]}")
        + &policy("shop/out", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}");
    assert_eq!(explain(&all, ["shop/web", "shop/db", "80"]), "allowed");
    let folder = folder(&[("a.yaml", &all), ("b.yaml", "kind: [")]);
    let ran = run_in(folder.path(), &["list", "-f", "."], "");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.errors.contains("b.yaml:1:"), "{ran:?}");
}

#[test]
fn p4_policy_types_have_their_default() {
    let objects = web_and_db() + &policy("shop/p", "{podSelector: {matchLabels: {app: db}}}");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "80"]), "denied");
    assert_eq!(explain(&objects, ["shop/db", "shop/web", "80"]), "allowed");
    let egress =
        web_and_db() + &policy("shop/p", "{podSelector: {matchLabels: {app: web}}, egress: [{ports: [{port: 53}]}]}");
    assert_eq!(explain(&egress, ["shop/web", "shop/db", "80"]), "denied");
}

#[test]
fn p5_the_pods_of_all_namespaces_are_in_the_list() {
    let objects = pod("a/x", "", "", "") + &pod("b/y", "", "", "") + &policy("a/deny", DENY);
    let list = over(&objects, &["list"]);
    assert_eq!(list.lines(), ["b/y -> 0.0.0.0/0,::/0: all ports", "0.0.0.0/0,::/0 -> b/y: all ports"]);
}

#[test]
fn p6_a_named_port_is_resolved_on_the_destination_with_its_protocol() {
    let ports = "containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: http, containerPort: 9, protocol: UDP}]}]";
    let objects = pod("shop/web", "app: web", "", "")
        + &pod("shop/db", "app: db", ports, "")
        + &policy("shop/in", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "8080"]), "allowed");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "http/TCP"]), "allowed");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "http/UDP"]), "denied");
    assert_eq!(explain(&objects, ["shop/web", "shop/db", "9/TCP"]), "denied");
    let none = over(&objects, &["explain", "shop/db", "shop/web", "http"]);
    assert_eq!(none.code, 2, "web declares no such port: {none:?}");
}

#[test]
fn p7_each_address_of_a_workload_counts_not_its_first_pods_alone() {
    let one = |name: &str, ip: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: db}}, ownerReferences: [{{kind: ReplicaSet, name: db}}]}}\nstatus: {{podIP: {ip}}}\n"
        )
    };
    let out = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.1.0/24}}]}]}";
    let objects = pod("shop/web", "app: web", "", "podIP: 10.0.0.1")
        + &one("db-a", "10.0.0.2")
        + &one("db-b", "10.0.1.2")
        + &policy("shop/out", out);
    let list = over(&objects, &["list", "--from", "shop/web", "--to", "shop/ReplicaSet/db"]);
    assert_eq!(list.out, "shop/web -> shop/db-b: all ports\n");
}

#[test]
fn an_empty_list_of_rules_allows_nothing_as_an_absent_one() {
    for rules in ["", ", ingress: []", ", ingress: null"] {
        let objects =
            web_and_db() + &policy("shop/p", &format!("{{podSelector: {{}}, policyTypes: [Ingress]{rules}}}"));
        assert_eq!(explain(&objects, ["shop/web", "shop/db", "80"]), "denied", "{rules}");
    }
}

#[test]
fn kubernetes_2_11_a_pod_reaches_itself_and_no_other_pod_of_its_workload() {
    let replica = |name: &str, address: &str| {
        let owned = "ownerReferences: [{kind: ReplicaSet, name: db, controller: true}]";
        let pod = pod(&format!("shop/{name}"), "app: db", "", &format!("podIP: {address}"));
        pod.replace("labels:", &format!("{owned}, labels:"))
    };
    let objects = replica("db-0", "10.0.0.2") + &replica("db-1", "10.0.0.3") + &policy("shop/deny", DENY);
    assert_eq!(explain(&objects, ["shop/db-0", "shop/db-0", "5432"]), "allowed");
    assert_eq!(explain(&objects, ["10.0.0.2", "shop/db-0", "5432"]), "allowed");
    assert_eq!(explain(&objects, ["shop/db-0", "shop/db-1", "5432"]), "denied");
}
