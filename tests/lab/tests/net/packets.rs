//! What passes, what does not, and how that looks.

use lab::net::{Denial, Net, Protocol, Rules, Seen, Target};

use super::{CLOSED, LIMIT, PORT, ingress, ip, pod, tcp};

async fn two() -> Net {
    let net = Net::start().await.unwrap();
    for spec in [pod("a", &["10.244.1.1", "fd00:244::1"]), pod("b", &["10.244.1.2", "fd00:244::2"])] {
        net.add_pod(&spec).await.unwrap();
    }
    net
}

async fn udp(net: &Net, pod: &str, address: &str) -> Seen {
    let target = Target { protocol: Protocol::Udp, to: (ip(address), PORT).into() };
    net.try_all(pod, &[target], LIMIT).await.unwrap()[0]
}

#[tokio::test]
async fn without_rules_everything_passes() {
    let net = two().await;
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Open);
    assert_eq!(tcp(&net, "a", "fd00:244::2", PORT).await, Seen::Open);
    assert_eq!(tcp(&net, "a", "10.244.1.2", CLOSED).await, Seen::Refused);
    assert_eq!(tcp(&net, "a", "10.244.1.1", PORT).await, Seen::Open, "its own address");
    assert_eq!(udp(&net, "a", "10.244.1.2").await, Seen::Open);
    assert_eq!(udp(&net, "a", "fd00:244::2").await, Seen::Open);
}

#[tokio::test]
async fn what_is_denied_looks_as_it_is_told_to() {
    let net = two().await;
    net.add_pod(&pod("c", &["10.244.1.3", "fd00:244::3"])).await.unwrap();
    let rules =
        ingress(&["10.244.1.2", "fd00:244::2"], &[("10.244.1.1", "10.244.1.2"), ("fd00:244::1", "fd00:244::2")]);
    let looks = [(Denial::Drop, Seen::Timeout), (Denial::Reject, Seen::Refused), (Denial::Prohibit, Seen::Unreachable)];
    for (denial, denied) in looks {
        net.enforce(&rules, denial).await.unwrap();
        for address in ["10.244.1.2", "fd00:244::2"] {
            assert_eq!(tcp(&net, "a", address, PORT).await, Seen::Open, "{denial:?} {address}");
            assert_eq!(tcp(&net, "a", address, CLOSED).await, Seen::Refused, "allowed, and nobody listens");
            assert_eq!(tcp(&net, "c", address, PORT).await, denied, "{denial:?} {address}");
            assert_eq!(udp(&net, "a", address).await, Seen::Open, "{denial:?} {address}");
            assert_eq!(udp(&net, "c", address).await, denied, "{denial:?} {address}");
        }
        assert_eq!(tcp(&net, "c", "10.244.1.1", PORT).await, Seen::Open, "not isolated");
    }
    net.enforce(&Rules::default(), Denial::Drop).await.unwrap();
    assert_eq!(tcp(&net, "c", "10.244.1.2", PORT).await, Seen::Open, "rules that are gone");
}

#[tokio::test]
async fn egress_is_judged_at_the_source() {
    let net = two().await;
    net.add_host(&pod("outside", &["203.0.113.9"])).await.unwrap();
    let mut rules = ingress(&[], &[("10.244.1.1", "10.244.1.2")]);
    rules.egress.insert(ip("10.244.1.1"));
    net.enforce(&rules, Denial::Reject).await.unwrap();
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Open);
    assert_eq!(tcp(&net, "a", "203.0.113.9", PORT).await, Seen::Refused);
    assert_eq!(tcp(&net, "a", &Net::NODE[0].to_string(), PORT).await, Seen::Refused);
    assert_eq!(tcp(&net, "b", "203.0.113.9", PORT).await, Seen::Open, "of another source");
    assert_eq!(tcp(&net, "outside", "10.244.1.1", PORT).await, Seen::Open, "the other direction");
}

#[tokio::test]
async fn a_refused_set_of_rules_leaves_the_old_ones() {
    let net = two().await;
    net.enforce(&ingress(&["10.244.1.2"], &[]), Denial::Reject).await.unwrap();
    let mixed = ingress(&[], &[("10.244.1.1", "fd00:244::2")]);
    let refused = net.enforce(&mixed, Denial::Drop).await.unwrap_err().to_string();
    assert!(refused.starts_with("load policies into the packet filter: `nft`:"), "{refused}");
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Refused);
}

#[tokio::test]
async fn a_host_outside_is_reached_and_denied_as_a_pod_is() {
    let net = two().await;
    net.add_host(&pod("outside", &["203.0.113.9", "203.0.113.10", "2001:db8::9"])).await.unwrap();
    for address in ["203.0.113.9", "203.0.113.10", "2001:db8::9"] {
        assert_eq!(tcp(&net, "a", address, PORT).await, Seen::Open, "{address}");
    }
    assert_eq!(udp(&net, "a", "203.0.113.10").await, Seen::Open, "the answer comes from the address that was asked");
    assert_eq!(tcp(&net, "outside", "10.244.1.1", PORT).await, Seen::Open);
    net.enforce(&ingress(&["10.244.1.1"], &[]), Denial::Drop).await.unwrap();
    assert_eq!(tcp(&net, "outside", "10.244.1.1", PORT).await, Seen::Timeout);

    let nowhere = net.add_host(&pod("nowhere", &[])).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "pod `nowhere`: a host needs its addresses given");
}

#[tokio::test]
async fn an_address_that_nobody_has_is_judged_then_lost() {
    let net = two().await;
    assert_eq!(tcp(&net, "a", "192.0.2.77", PORT).await, Seen::Timeout);
    assert_eq!(tcp(&net, "a", "2001:db8::77", PORT).await, Seen::Timeout);
    let mut rules = Rules::default();
    rules.egress.insert(ip("10.244.1.1"));
    net.enforce(&rules, Denial::Reject).await.unwrap();
    assert_eq!(tcp(&net, "a", "192.0.2.77", PORT).await, Seen::Refused);
}

#[tokio::test]
async fn the_dead_do_not_answer() {
    let net = two().await;
    let mut dead = pod("dead", &["10.244.1.9"]);
    dead.dead = true;
    net.add_pod(&dead).await.unwrap();
    assert_eq!(tcp(&net, "a", "10.244.1.9", PORT).await, Seen::Timeout);
    net.set_dead("dead", false).await.unwrap();
    assert_eq!(tcp(&net, "a", "10.244.1.9", PORT).await, Seen::Open);
    net.set_dead("b", true).await.unwrap();
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Timeout);
    assert_eq!(tcp(&net, "a", "10.244.1.9", PORT).await, Seen::Open);
}

#[tokio::test]
async fn an_established_connection_outlives_its_rule() {
    let net = two().await;
    let talk = "exec 3<>/dev/tcp/10.244.1.2/8080; echo open; read -r -t 1 <&3; echo more >&3 && echo sent";
    let mut bash = pod("bash", &["10.244.1.5"]);
    bash.tools = lab::net::Tools::bash();
    net.add_pod(&bash).await.unwrap();
    let argv = ["bash", "-c", talk].map(ToOwned::to_owned);
    let mut running = net.exec("bash", &argv).await.unwrap();
    let mut line = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut running.stdout, &mut line).await.unwrap();
    assert_eq!(&line, b"open\n");
    net.enforce(&ingress(&["10.244.1.2"], &[]), Denial::Reject).await.unwrap();
    assert_eq!(running.output().await.unwrap().stdout, b"sent\n");
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Refused);
}

#[tokio::test]
async fn names_and_addresses_are_taken_once_and_free_again() {
    let net = two().await;
    let again = net.add_pod(&pod("a", &[])).await.unwrap_err();
    assert_eq!(again.to_string(), "pod `a`: the name is taken");
    let same = net.add_pod(&pod("x", &["10.244.1.1"])).await.unwrap_err();
    assert_eq!(same.to_string(), "pod `x`: the address 10.244.1.1 is taken");
    assert_eq!(net.remove_pod("x").await.unwrap_err().to_string(), "pod `x`: there is none of this name");

    net.remove_pod("b").await.unwrap();
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Timeout, "the address is nobody's");
    let heir = net.add_pod(&pod("b", &["10.244.1.2"])).await.unwrap();
    assert_eq!(heir.addresses, [ip("10.244.1.2")]);
    assert_eq!(tcp(&net, "a", "10.244.1.2", PORT).await, Seen::Open);

    let picked = net.add_pod(&pod("picked", &[])).await.unwrap();
    assert_eq!(tcp(&net, "a", &picked.addresses[0].to_string(), PORT).await, Seen::Open);
}
