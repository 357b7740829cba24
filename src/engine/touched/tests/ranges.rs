//! Ranges beside pods, and pods beside ranges.

use serde_json::{Value, json};

use super::*;
use crate::engine::fixtures::{app, block, deny_all, ingress, policy};

fn cluster() -> Cluster {
    Cluster::new(&["shop", "redis", "open"]).app("shop/web", 1).app("redis/redis", 1).app("open/dns", 1)
}

/// `shop/web` may reach these peers, and `redis/redis` answers.
fn to(peers: &[Value]) -> Vec<Policy> {
    let peers: Vec<&Value> = peers.iter().flat_map(|list| list.as_array().unwrap()).collect();
    let rule = policy(
        "shop/web",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"to": peers, "ports": [{"port": 8080}]}]}),
    );
    vec![deny_all("shop"), deny_all("redis"), rule, ingress("redis/redis", app("shop/web"), &[8080])]
}

fn merge(before: &[Value], after: &[Value]) -> Merge {
    let old = if before.is_empty() { vec![deny_all("shop"), deny_all("redis")] } else { to(before) };
    Merge::new(cluster(), old, to(after))
}

fn unseen(cidr: &str) -> String {
    format!("[Unprobeable: no configured destination lies in {cidr} (destinations)]")
}

const REDIS: &str = "shop/web -> redis/redis:8080/TCP Changed denied>allowed";

/// The range once was silent: pods beside it, or inside it, were all that was looked at.
#[test]
fn a_range_is_not_shown_by_pods() {
    let (redis, range) = (app("redis/redis"), block("203.0.113.0/24"));
    let line = format!("shop/web -> 203.0.113.0/24:8080/TCP Rule denied>allowed {}", unseen("203.0.113.0/24"));
    assert_eq!(merge(&[], &[redis.clone(), range.clone()]).flows(), [REDIS, &line], "a new rule");
    let added = merge(std::slice::from_ref(&redis), &[redis.clone(), range.clone()]);
    assert_eq!(added.flows(), [line.as_str()], "added to a rule");
    let older = merge(&[redis.clone(), range.clone()], &[redis, range, app("open/dns")]);
    assert_eq!(older.flows(), ["shop/web -> open/dns:8080/TCP Changed denied>allowed"], "the control: an older range");
    let world = merge(&[], &[block("0.0.0.0/0")]).flows();
    let line = format!("shop/web -> 0.0.0.0/0:8080/TCP Rule denied>allowed {}", unseen("0.0.0.0/0"));
    assert!(world.contains(&line), "pods that lie in it say nothing about the world: {world:#?}");
}

#[test]
fn a_range_of_pods_is_shown_by_them() {
    let flows = merge(&[], &[block("10.0.0.0/8")]).flows();
    assert_eq!(flows, ["shop/web -> open/dns:8080/TCP Changed denied>allowed", REDIS]);
}

#[test]
fn pods_are_not_shown_by_the_host_of_a_range_beside_them() {
    let range = block("203.0.113.0/24");
    let rule = policy(
        "shop/web",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
            "egress": [{"to": [range[0], app("redis/redis")[0], app("redis/sentinel")[0]], "ports": [{"port": 5432}]}]}),
    );
    let closed = || vec![deny_all("shop"), deny_all("redis")];
    let merge = Merge::new(cluster(), closed(), closed().into_iter().chain([rule]).collect()).host("203.0.113.7");
    let ran = merge.run();
    let lacks = "shop/web -> redis/redis:5432/TCP OneSided denied>denied, lacks ingress";
    assert_eq!(ran.flows(), [lacks, "shop/web -> pg01:5432/TCP Changed denied>allowed"]);
    let waits = "NetworkPolicy/shop/web egress[0]: no pod in redis has label `app: sentinel`";
    assert_eq!(ran.waiting(), [waits], "and a peer to come waits");
}

#[test]
fn who_may_come_from_a_range_beside_pods_is_said_to_be_unseen() {
    let peers = json!([app("shop/web")[0], block("203.0.113.0/24")[0]]);
    let before = vec![deny_all("redis")];
    let after = vec![deny_all("redis"), ingress("redis/redis", peers, &[8080])];
    let unseen = "[Unprobeable: nothing to probe from lies in 203.0.113.0/24: it is outside the cluster]";
    let flows = Merge::new(cluster(), before, after.clone()).flows();
    assert_eq!(flows, [REDIS.to_owned(), format!("203.0.113.0/24 -> redis/redis:8080/TCP Rule allowed {unseen}")]);
    let first = Merge::first(cluster(), after).flows();
    assert!(!first.iter().any(|line| line.contains("203.0.113.0")), "on a first run each rule once: {first:#?}");
}
