//! Rules with several peers, ports and ranges: none of them hides behind another.

use serde_json::{Value, json};

use super::*;
use crate::engine::fixtures::{app, deny_all, ingress, policy, port};

fn cluster() -> Cluster {
    let two = |p: &mut crate::model::PodInfo| {
        p.ports = vec![port("http", 8080, Protocol::Tcp), port("admin", 9000, Protocol::Tcp)];
    };
    let cluster = Cluster::new(&["shop", "redis", "bank"]).app("shop/web", 1).app("redis/redis", 1).app("bank/api", 1);
    cluster.app("bank/old", 1).with("redis/redis", two).with("bank/api", two)
}

fn closed() -> Vec<Policy> {
    vec![deny_all("shop"), deny_all("redis"), deny_all("bank")]
}

/// What `shop/web` may reach: these peers on these ports.
#[expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]
fn to(peers: &[Value], ports: Value) -> Policy {
    let peers: Vec<&Value> = peers.iter().flat_map(|list| list.as_array().unwrap()).collect();
    policy(
        "shop/web",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"to": peers, "ports": ports}]}),
    )
}

fn http() -> Value {
    json!([{"port": 8080}])
}

fn both() -> Value {
    json!([{"port": 8080}, {"port": 9000}])
}

/// `name` may be reached by `shop/web` on these ports.
fn answer(name: &str, ports: &[u16]) -> Policy {
    ingress(name, app("shop/web"), ports)
}

fn merge(before: &[Policy], after: &[Policy]) -> Merge {
    let with = |more: &[Policy]| closed().into_iter().chain(more.iter().cloned()).collect();
    Merge::new(cluster(), with(before), with(after))
}

const NOTE: &str = "NetworkPolicy/shop/web egress[0] opens";

/// One more entry in a list of peers, and the other side forgotten: it once was a note beside a green verdict.
#[test]
fn a_new_peer_does_not_hide_behind_one_that_works() {
    let (redis, bank) = (app("redis/redis"), app("bank/api"));
    let old = [to(std::slice::from_ref(&redis), http()), answer("redis/redis", &[8080])];
    let new = [to(&[redis, bank], http()), answer("redis/redis", &[8080])];
    let lacks = "shop/web -> bank/api:8080/TCP OneSided denied>denied, lacks ingress";
    assert_eq!(merge(&old, &new).flows(), [lacks], "added to a rule that works");
    let changed = "shop/web -> redis/redis:8080/TCP Changed denied>allowed";
    assert_eq!(merge(&[], &new).flows(), [lacks, changed], "in a new rule");
    let answered = [new[0].clone(), new[1].clone(), answer("bank/api", &[8080])];
    let opened = "shop/web -> bank/api:8080/TCP Changed denied>allowed";
    assert_eq!(merge(&old, &answered).flows(), [opened], "the control: the other side was not forgotten");
    let mut first = merge(&[], &new);
    first.before = None;
    assert!(first.run().touched.flows.iter().all(|f| f.missing.is_none()), "no rule is of this merge");
}

#[test]
fn a_peer_that_was_one_sided_before_stays_a_note() {
    let (redis, bank, other) = (app("redis/redis"), app("bank/api"), app("bank/old"));
    // The same selector in other words.
    let same = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "bank"}},
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["old"]}]}}]);
    let answers = [answer("redis/redis", &[8080]), answer("bank/api", &[8080])];
    let with = |rule: Policy| [vec![rule], answers.to_vec()].concat();
    let old = with(to(&[redis.clone(), other], http()));
    let ran = merge(&old, &with(to(&[redis, bank, same], http()))).run();
    assert_eq!(ran.flows(), ["shop/web -> bank/api:8080/TCP Changed denied>allowed"]);
    let notes = [(Severity::Info, format!("{NOTE} 3 flows on its side, ingress denies 1 of them"))];
    assert_eq!(ran.findings(), notes.each_ref().map(|(severity, text)| (*severity, text.as_str())));
}

#[test]
fn a_rule_that_never_worked_is_not_green_because_of_what_this_merge_took_from_it() {
    let (redis, bank) = (app("redis/redis"), app("bank/api"));
    let old = [to(&[redis.clone(), bank], http())];
    let flows = merge(&old, &[to(&[redis], http())]).flows();
    assert_eq!(flows, ["shop/web -> redis/redis:8080/TCP OneSided denied>denied, lacks ingress"]);
}

/// One more port, and the other side forgotten.
#[test]
fn a_new_port_does_not_hide_behind_one_that_works() {
    let (redis, bank) = (app("redis/redis"), app("bank/api"));
    let answers = [answer("redis/redis", &[8080]), answer("bank/api", &[8080])];
    let with = |ports: Value| [vec![to(&[redis.clone(), bank.clone()], ports)], answers.to_vec()].concat();
    let lacks = |name: &str| format!("shop/web -> {name}:9000/TCP OneSided denied>denied, lacks ingress");
    let flows = merge(&with(http()), &with(both())).flows();
    assert_eq!(flows, [lacks("bank/api"), lacks("redis/redis")], "each of the peers lacks it");
    let ran = merge(&with(both()), &with(json!([{"port": 9000}, {"port": 8080}]))).run();
    let shown = "shop/web -> bank/api:8080/TCP Rule allowed>allowed";
    assert_eq!(ran.flows(), [shown], "the control: the port is an older one: {:?}", ran.findings());
}

/// More than eight ports in a row once were a range with one port that stood for it.
#[test]
fn each_port_of_a_long_row_is_looked_at() {
    let row: Vec<u16> = (7001..=7012).collect();
    let ports: Vec<Value> = row.iter().map(|port| json!({"port": port})).collect();
    let rule = to(&[app("redis/redis")], Value::from(ports));
    let opened = [rule.clone(), answer("redis/redis", &row)];
    let changed = |word: &str| -> Vec<String> {
        row.iter().map(|port| format!("shop/web -> redis/redis:{port}/TCP {word}")).collect()
    };
    assert_eq!(merge(&[], &opened).flows(), changed("Changed denied>allowed"));
    assert_eq!(merge(&opened, &[]).flows(), changed("Changed allowed>denied"), "and of a rule that was removed");
    assert_eq!(merge(&[], &[rule]).flows(), changed("OneSided denied>denied, lacks ingress"));
    let range = to(&[app("redis/redis")], json!([{"port": 7001, "endPort": 7012}]));
    let wide = [range, ingress("redis/redis", app("shop/web"), &[7001, 7005])];
    let lines = merge(&[], &wide).run().flows();
    let two = ["7001", "7005"].map(|port| format!("shop/web -> redis/redis:{port}/TCP Changed denied>allowed"));
    assert_eq!(lines, two, "what the other side names of a range");
}

#[test]
fn a_peer_without_any_port_lacks_each_of_them() {
    let flows = merge(&[], &[to(&[app("redis/redis")], both())]).flows();
    let lacks = |port: u16| format!("shop/web -> redis/redis:{port}/TCP OneSided denied>denied, lacks ingress");
    assert_eq!(flows, [lacks(8080), lacks(9000)]);
}

#[test]
fn peers_that_each_have_their_own_ports_are_no_mistake() {
    let rule = to(&[app("redis/redis"), app("bank/api")], both());
    let ran = merge(&[], &[rule, answer("redis/redis", &[8080]), answer("bank/api", &[9000])]).run();
    let opened = |at: &str| format!("shop/web -> {at}/TCP Changed denied>allowed");
    assert_eq!(ran.flows(), [opened("bank/api:9000"), opened("redis/redis:8080")]);
    let text = format!("{NOTE} 4 flows on its side, ingress denies 2 of them");
    assert_eq!(ran.findings(), [(Severity::Info, text.as_str())]);
}

#[test]
fn a_flow_that_lost_a_side_is_a_closure_in_a_changed_rule_too() {
    let (redis, bank) = (app("redis/redis"), app("bank/api"));
    let old = [to(std::slice::from_ref(&redis), http()), answer("redis/redis", &[8080])];
    let new = [to(&[redis, bank], http()), answer("bank/api", &[8080])];
    let note = "one side was closed, the other is still open";
    let expected = [
        "shop/web -> bank/api:8080/TCP Changed denied>allowed".to_owned(),
        format!("shop/web -> redis/redis:8080/TCP Closure allowed>denied, {note}"),
    ];
    assert_eq!(merge(&old, &new).run().flows(), expected);
}
