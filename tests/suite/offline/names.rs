//! Names and addresses that are not what they seem: of Services and pods, and mistyped ones.

use super::support::{Ran, over, pod, policy};

/// The shop may send to port 6379 wherever that is; Redis lets nobody in.
fn objects() -> String {
    let workload = |kind: &str, at: &str, more: &str| {
        let (namespace, name) = at.split_once('/').unwrap();
        format!(
            "---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  replicas: \
             1\n  {more}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: \
             {name}}}}}\n    spec: {{containers: [{{name: c, image: c}}]}}\n"
        )
    };
    let egress = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 6379}]}]}";
    policy("shop/out", egress)
        + &policy("redis/deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        + &workload("Deployment", "shop/web", "")
        + &workload("StatefulSet", "redis/redis", "serviceName: redis")
}

fn service() -> String {
    "---\napiVersion: v1\nkind: Service\nmetadata: {name: redis, namespace: redis}\nspec: {selector: {app: redis}, ports: \
     [{port: 6379}]}\n"
        .to_owned()
}

fn explained(objects: &str, destination: &str) -> Ran {
    over(objects, &["explain", "shop/web", destination, "6379"])
}

#[test]
fn the_dns_name_of_a_service_is_no_host_outside() {
    let objects = objects() + &service();
    let by_path = explained(&objects, "svc/redis/redis");
    assert_eq!(by_path.code, 1, "{by_path:?}");
    for name in [
        "redis.redis",
        "redis.redis.svc",
        "redis.redis.svc.cluster.local",
        "Redis.redis.svc.cluster.local.",
        "redis.redis.svc.corp.example",
    ] {
        let ran = explained(&objects, name);
        assert_eq!((ran.code, &ran.out), (1, &by_path.out), "{name}: {ran:?}");
    }
    let list = over(&objects, &["list", "--to", "redis.redis.svc"]);
    assert!(!list.out.contains("0.0.0.0/0"), "{list:?}");
}

#[test]
fn a_service_that_is_not_there_is_refused_by_its_dns_name() {
    for (name, expected) in [
        ("redis.redis", "give its Services too, or ask about pods (for a host outside write `redis.redis.`)"),
        ("redis.redis.svc", "there is no Service `redis/redis` in the input"),
        ("redis.redis.svc.cluster.local", "there is no Service `redis/redis` in the input"),
        ("redis.redis.svc.corp.example", "there is no Service `redis/redis` in the input"),
        ("cache.cache.svc", "nor anything in namespace `cache`"),
        ("10-0-0-1.redis.pod.cluster.local", "is a name in the cluster, but not of a Service"),
        ("redis-0.redis.redis", "there is no Service `redis/redis` in the input"),
    ] {
        let ran = explained(&objects(), name);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{name}: {ran:?}");
        assert!(ran.errors.contains(expected), "{name}: {ran:?}");
    }
    for (name, expected) in [
        ("reddis.redis.svc", "namespace `redis` has redis; did you mean `svc/redis/redis`?"),
        ("redis.rediss.svc", "did you mean `svc/redis/redis`?"),
    ] {
        let ran = explained(&(objects() + &service()), name);
        assert!(ran.code == 2 && ran.errors.contains(expected), "{name}: {ran:?}");
    }
}

#[test]
fn other_names_stay_hosts_outside() {
    for name in ["redis.redis.", "pg01.example.org", "cache.example", "a.b.svc.example.org", "web.app.shop"] {
        let ran = explained(&(objects() + &service()), name);
        assert!(ran.out.starts_with(&format!("allowed: shop/Deployment/web -> {name}:6379/TCP")), "{name}: {ran:?}");
    }
}

#[test]
fn the_name_of_a_pod_below_its_service_is_that_pod() {
    let template = objects() + &service();
    for name in ["redis-0.redis.redis", "redis-0.redis.redis.svc.cluster.local"] {
        let ran = explained(&template, name);
        assert!(ran.out.starts_with("denied: shop/Deployment/web -> redis/StatefulSet/redis:6379"), "{name}: {ran:?}");
    }
    let pods = template.clone() + &pod("redis/redis-0", "app: redis", "", "podIP: 10.0.0.9");
    let ran = explained(&pods, "redis-0.redis.redis.svc");
    assert!(ran.code == 1 && ran.out.starts_with("denied: shop/Deployment/web -> redis/redis-0:6379"), "{ran:?}");
    for name in ["redis-a.redis.redis.svc", "web-0.redis.redis.svc.cluster.local"] {
        let ran = explained(&template, name);
        assert!(ran.code == 2 && ran.errors.contains("of Service `redis/redis` is in the input"), "{name}: {ran:?}");
    }
}

#[test]
fn a_mistyped_address_is_no_host_name() {
    for address in ["10.0.5.256", "10.0.5", "999.1.1.1", "10.0.5.1.", "10.0.5.1.1", "10.0.5.0x1f", "010.0.5.1"] {
        for ran in [explained(&objects(), address), over(&objects(), &["list", "--to", address])] {
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{address}: {ran:?}");
            assert!(ran.errors.contains(&format!("`{address}` is no address: ")), "{address}: {ran:?}");
        }
    }
    for block in ["10.0.5.1/33", "10.0.5/24", "10.0.5.256/24", "fd00::/129", "fd00::g/64"] {
        let ran = explained(&objects(), block);
        assert!(ran.code == 2 && ran.errors.contains(&format!("`{block}` is no CIDR: ")), "{block}: {ran:?}");
    }
}

#[test]
fn the_parts_of_a_name_have_heads_of_their_own() {
    let egress = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}";
    let objects = policy("shop/out", egress) + &pod("shop/web", "app: web", "", "");
    let ran = over(&objects, &["explain", "shop/web", "pg01.example.org", "5432"]);
    let heads: Vec<&str> = ran.out.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "allowed: shop/web -> pg01.example.org (0.0.0.0/0):5432/TCP",
        "denied: shop/web -> pg01.example.org (::/0):5432/TCP",
    ];
    assert_eq!((ran.code, heads), (1, expected.to_vec()), "{ran:?}");
}
