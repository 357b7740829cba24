//! Name resolution of pods.

use std::net::{IpAddr, Ipv4Addr};

use lab::net::{Denial, Name, Names, Net, PodSpec, resolv_conf};

use super::{ingress, ip, pod, run};

const DNS: &str = "10.244.0.53";

async fn net() -> Net {
    let net = Net::start().await.unwrap();
    let dns = PodSpec { dns: true, ..pod("kube-system/dns", &[DNS]) };
    net.add_pod(&dns).await.unwrap();
    let client = PodSpec {
        resolv_conf: resolv_conf(ip(DNS), "shop"),
        hosts: vec![(ip("192.0.2.1"), "listed.example".to_owned())],
        ..pod("shop/web-0", &["10.244.1.1", "fd00:244::1"])
    };
    net.add_pod(&client).await.unwrap();
    net
}

/// Addresses that the pod's own resolver finds.
async fn resolve(net: &Net, name: &str) -> Vec<IpAddr> {
    let output = run(net, "shop/web-0", &["getent", "ahosts", name]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<IpAddr> = text.lines().map(|line| ip(line.split(' ').next().unwrap())).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[tokio::test]
async fn names_are_found_as_in_a_cluster() {
    let net = net().await;
    assert_eq!(resolve(&net, "db").await, Vec::<IpAddr>::new());
    let both = Name::Addresses(vec![ip("10.96.0.7"), ip("fd00:96::7")]);
    net.set_name("db.shop.svc.cluster.local", both).await.unwrap();
    let many: Vec<IpAddr> = (1..=40).map(|n| Ipv4Addr::new(203, 0, 113, n).into()).collect();
    net.set_name("many.example.com", Name::Addresses(many.clone())).await.unwrap();
    net.set_name("fails.example.com", Name::Fails).await.unwrap();
    net.set_name("silent.example.com", Name::Silent).await.unwrap();

    assert_eq!(resolve(&net, "db").await, [ip("10.96.0.7"), ip("fd00:96::7")], "through the search list");
    assert_eq!(resolve(&net, "DB.shop.svc").await, [ip("10.96.0.7"), ip("fd00:96::7")]);
    assert_eq!(resolve(&net, "many.example.com").await, many, "more than a datagram holds");
    for name in ["fails.example.com", "silent.example.com", "unknown.example.com"] {
        assert_eq!(resolve(&net, name).await, Vec::<IpAddr>::new(), "{name}");
    }
    assert_eq!(resolve(&net, "listed.example").await, [ip("192.0.2.1")], "from its own hosts file");
    assert_eq!(resolve(&net, "web-0").await, [ip("10.244.1.1"), ip("fd00:244::1")], "itself");

    net.set_names(Names::from([("*".to_owned(), Name::Addresses(vec![ip("192.0.2.6")]))])).await.unwrap();
    assert_eq!(resolve(&net, "unknown.example.com").await, [ip("192.0.2.6")], "a server that lies");
}

#[tokio::test]
async fn the_name_server_is_a_pod_like_others() {
    let net = net().await;
    net.set_name("db.shop.svc.cluster.local", Name::Addresses(vec![ip("10.96.0.7")])).await.unwrap();
    net.enforce(&ingress(&[DNS], &[]), Denial::Drop).await.unwrap();
    assert_eq!(resolve(&net, "db.shop.svc.cluster.local.").await, Vec::<IpAddr>::new());
    net.enforce(&ingress(&[], &[]), Denial::Drop).await.unwrap();
    assert_eq!(resolve(&net, "db.shop.svc.cluster.local.").await, [ip("10.96.0.7")]);
}
