//! The lab's network held to what a test of the verifier relies on. Needs no root.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test's helpers may")]

mod agreement;
mod exec;
mod lifetime;
mod names;
mod packets;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lab::net::{Net, Output, PodSpec, PortRange, Protocol, Rules, Shell, Tools};

/// Where the tests' servers listen.
const PORT: u16 = 8080;
/// Where nothing listens.
const CLOSED: u16 = 8081;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A pod with `nc` that listens on [`PORT`], TCP and UDP.
fn pod(name: &str, addresses: &[&str]) -> PodSpec {
    PodSpec {
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ports: vec![(Protocol::Tcp, PORT), (Protocol::Udp, PORT)],
        tools: Tools::openbsd(Shell::Dash),
        ..PodSpec::default()
    }
}

/// Isolates the destinations for ingress, and lets these pairs pass to [`PORT`] and [`CLOSED`].
fn ingress(isolated: &[&str], allowed: &[(&str, &str)]) -> Rules {
    let open = ["tcp", "udp"].map(|protocol| PortRange::Ports { protocol, first: PORT, last: CLOSED });
    Rules {
        egress: BTreeSet::new(),
        ingress: isolated.iter().map(|address| ip(address)).collect(),
        allowed: allowed.iter().map(|(from, to)| ((ip(from), ip(to)), open.into())).collect::<BTreeMap<_, _>>(),
    }
}

async fn run(net: &Net, pod: &str, argv: &[&str]) -> Output {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    net.exec(pod, &argv).await.unwrap().output().await.unwrap()
}

/// What `nc -zv` says of a TCP port, from within a pod.
async fn nc(net: &Net, pod: &str, address: &str, port: u16) -> &'static str {
    let output = run(net, pod, &["nc", "-zvnw2", address, &port.to_string()]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let known = [
        ("succeeded", "open"),
        ("refused", "refused"),
        ("timed out", "timeout"),
        ("No route", "unreachable"),
        ("Permission denied", "unreachable"),
    ];
    let found = known.into_iter().find(|(words, _)| said.contains(words));
    let (_, what) = found.unwrap_or_else(|| panic!("{output:?}: {said}"));
    assert_eq!(output.code == 0, what == "open", "{said}");
    what
}
