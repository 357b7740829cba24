//! Services, as kube-proxy has them.

use lab::net::{Denial, Net, Protocol, Seen, Service};

use super::{PORT, ingress, ip, pod, tcp};

fn service(address: &str, port: u16, endpoints: &[&str]) -> Service {
    let endpoints = endpoints.iter().map(|endpoint| (ip(endpoint), PORT)).collect();
    Service { address: ip(address), protocol: Protocol::Tcp, port, endpoints }
}

#[tokio::test]
async fn a_service_leads_to_its_endpoints_and_policies_see_those() {
    let net = Net::start().await.unwrap();
    for (name, v4, v6) in [("a", "10.244.1.1", "fd00:244::1"), ("b", "10.244.1.2", "fd00:244::2")] {
        net.add_pod(&pod(name, &[v4, v6])).await.unwrap();
    }
    assert_eq!(tcp(&net, "a", "10.96.0.1", 80).await, Seen::Timeout, "without a Service");
    net.set_services(&[
        service("10.96.0.1", 80, &["10.244.1.2"]),
        service("10.96.0.2", 80, &["10.244.1.2", "10.244.1.1"]),
        service("10.96.0.3", 80, &[]),
        service("fd00:96::1", 80, &["fd00:244::2"]),
    ])
    .await
    .unwrap();
    assert_eq!(tcp(&net, "a", "10.96.0.1", 80).await, Seen::Open);
    assert_eq!(tcp(&net, "a", "fd00:96::1", 80).await, Seen::Open);
    assert_eq!(tcp(&net, "b", "10.96.0.1", 80).await, Seen::Open, "its own Service");
    for _ in 0..8 {
        assert_eq!(tcp(&net, "a", "10.96.0.2", 80).await, Seen::Open, "either endpoint, also itself");
    }
    assert_eq!(tcp(&net, "a", "10.96.0.3", 80).await, Seen::Refused, "no endpoint");
    assert_eq!(tcp(&net, "a", "10.96.0.1", 81).await, Seen::Timeout, "no such port");

    net.enforce(&ingress(&["10.244.1.2"], &[("10.244.1.2", "10.244.1.2")]), Denial::Drop).await.unwrap();
    assert_eq!(tcp(&net, "a", "10.96.0.1", 80).await, Seen::Timeout);
    assert_eq!(tcp(&net, "b", "10.96.0.1", 80).await, Seen::Open, "a pod cannot be cut from itself");
    net.enforce(&ingress(&["10.244.1.2"], &[("10.244.1.1", "10.244.1.2")]), Denial::Drop).await.unwrap();
    assert_eq!(tcp(&net, "a", "10.96.0.1", 80).await, Seen::Open);
}
