use serde_json::json;

use super::*;
use crate::{
    engine::fixtures::{Cluster, block, class, earlier, ingress, labels, pod, policy, port},
    model::{Phase, PodInfo, Protocol},
};

/// How many classes the two pods of `shop/web` make under a policy.
fn classes_of(change: impl Fn(&mut PodInfo), policy: &Policy) -> Vec<usize> {
    let cluster = Cluster::new(&["shop"]).app("shop/web", 2).with("shop/web", change);
    classes(&cluster.snapshot, &[policy]).iter().map(|class| class.pods.len()).collect()
}

fn second(pod: &PodInfo) -> bool {
    pod.id.name == "web-2"
}

/// A peer that a pod's own name matters to.
fn named_peer() -> Policy {
    policy(
        "shop/peer",
        json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchExpressions":
            [{"key": "statefulset.kubernetes.io/pod-name", "operator": "Exists"}]}}]}]}),
    )
}

/// All addresses but the second pod's.
fn but_one() -> Policy {
    policy(
        "shop/but",
        json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.3/32"]}}]}]}),
    )
}

#[test]
fn pods_of_a_workload_are_apart_only_where_a_policy_can_tell_them_apart() {
    let plain = policy("shop/all", json!({"podSelector": {}}));
    let by_name = |key: &str| policy("shop/one", json!({"podSelector": {"matchLabels": {key: "web-1"}}}));
    let half = ingress("shop/web", block("10.0.0.2/32"), &[8080]);
    let nothing = |_: &mut PodInfo| ();
    let named = |p: &mut PodInfo| {
        p.labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), p.id.name.clone());
    };
    let versioned = |p: &mut PodInfo| {
        p.labels.insert("version".to_owned(), p.id.name.clone());
    };
    let other_port = |p: &mut PodInfo| {
        if second(p) {
            p.ports = vec![port("http", 9090, Protocol::Tcp)];
        }
    };
    let on_host = |p: &mut PodInfo| p.host_network = second(p);
    let many: [(&str, Vec<usize>, Vec<usize>); 9] = [
        ("template hashes differ, nobody asks", classes_of(nothing, &plain), vec![2]),
        ("template hash in a selector", classes_of(nothing, &by_name("pod-template-hash")), vec![1, 1]),
        ("pod names differ, nobody asks (N5)", classes_of(named, &plain), vec![2]),
        ("pod name in a peer (N5)", classes_of(named, &named_peer()), vec![1, 1]),
        ("an ordinary label differs", classes_of(versioned, &plain), vec![1, 1]),
        ("one address is in a block", classes_of(nothing, &half), vec![1, 1]),
        ("one address is an exception", classes_of(nothing, &but_one()), vec![1, 1]),
        ("a named port has another number", classes_of(other_port, &plain), vec![1, 1]),
        ("one is on its node's network", classes_of(on_host, &plain), vec![1, 1]),
    ];
    for (name, got, expected) in many {
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn a_pod_without_an_address_is_in_no_class_and_stops_nothing() {
    type Change = fn(&mut PodInfo);
    let rows: [(&str, Change, usize); 4] = [
        ("running", |_| (), 1),
        ("terminating: it keeps its address", |p| p.terminating = true, 1),
        ("pending (N6)", |p| (p.phase, p.ips) = (Phase::Pending, Vec::new()), 0),
        ("finished (N4)", |p| p.phase = Phase::Finished, 0),
    ];
    for (name, change, expected) in rows {
        let mut cluster = Cluster::new(&["shop"]);
        cluster.snapshot.pods.push(pod("shop/job", 1));
        let classes = classes(&cluster.with("shop/job", change).snapshot, &[]);
        assert_eq!(classes.len(), expected, "{name}");
    }
}

#[test]
fn a_workload_at_zero_is_a_class_by_its_template_and_only_then() {
    let world = Cluster::new(&["shop"]).app("shop/web", 0).app("shop/api", 1).world(Vec::new());
    let (web, api) = (class(&world, "shop/web"), class(&world, "shop/api"));
    assert_eq!((web.pods.len(), web.usable, web.labels.clone()), (0, false, labels(&[("app", "web")])));
    assert_eq!((api.pods.len(), api.usable), (1, true));
    assert_eq!(world.classes.len(), 2, "a template beside its pods is no class of its own");
}

#[test]
fn the_first_pod_that_can_be_probed_stands_for_its_class() {
    let cluster = Cluster::new(&["shop"]).app("shop/web", 2);
    let usual = cluster.world(Vec::new());
    assert_eq!(class(&usual, "shop/web").ips, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    let first_is_going = cluster.with("shop/web", |p| p.terminating = !second(p)).world(Vec::new());
    let web = class(&first_is_going, "shop/web");
    assert_eq!((web.ips.clone(), web.usable), (vec!["10.0.0.3".parse::<IpAddr>().unwrap()], true));
}

#[test]
fn labels_of_then_come_back_for_what_was_there_then() {
    let cluster = Cluster::new(&["shop", "new"]).app("shop/web", 1).app("shop/api", 1);
    let now = cluster.world(Vec::new());
    let old_namespaces = BTreeMap::from([
        ("shop".to_owned(), labels(&[("team", "old")])),
        ("deleted".to_owned(), labels(&[("team", "old")])),
    ]);
    let record = ClassRecord { labels: labels(&[("app", "old-web")]), ..class(&now, "shop/web").record(false) };
    let then = earlier(&now, &old_namespaces, std::slice::from_ref(&record));
    assert_eq!(*then.namespace_labels("shop"), labels(&[("team", "old")]));
    assert_eq!(then.namespace_labels("new"), now.namespace_labels("new"), "new since then");
    assert!(!then.namespaces.contains_key("deleted"), "gone since then");
    assert_eq!(class(&then, "shop/web").labels, record.labels);
    assert_eq!(class(&then, "shop/web").pods, class(&now, "shop/web").pods, "the pods are those of now");
    assert_eq!(class(&then, "shop/api"), class(&now, "shop/api"), "new since then");
}

#[test]
fn a_namespace_without_an_object_has_its_name_as_label() {
    let world = Cluster::new(&["shop"]).world(Vec::new());
    assert_eq!(*world.namespace_labels("lost"), labels(&[("kubernetes.io/metadata.name", "lost")]));
}

#[test]
fn policies_are_in_the_order_of_their_evaluation() {
    let mut first = policy("z/admin", json!({}));
    first.tier = crate::model::Tier::denying(1_000.0, "kube-admin");
    let mut early = policy("z/early", json!({}));
    early.order = crate::model::Order(10.0);
    let world = Cluster::new(&[]).world(vec![policy("b/p", json!({})), policy("a/p", json!({})), early, first]);
    let names: Vec<String> = world.policies.iter().map(|p| p.id.short()).collect();
    assert_eq!(names, ["z/admin", "z/early", "a/p", "b/p"]);
}
