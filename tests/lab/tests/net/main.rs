//! The lab's network held to what a test of the verifier relies on. Needs no root.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test's helpers may")]

mod agreement;
mod calico;
mod exec;
mod lifetime;
mod names;
mod packets;
mod probe;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lab::net::{Net, Output, PodSpec, PortRange, Protocol, Rules, Seen, Shell, Target, Tools};

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

/// What becomes of connections from within a pod: longer than the kernel takes to send a second packet.
const LIMIT: Duration = Duration::from_millis(1300);

/// What becomes of a TCP connection, from within a pod.
async fn tcp(net: &Net, pod: &str, address: &str, port: u16) -> Seen {
    let target = Target { protocol: Protocol::Tcp, to: (ip(address), port).into() };
    net.try_all(pod, &[target], LIMIT).await.unwrap()[0]
}
