//! The verifier's own probe in the lab's pods: each tool finds the network as it is.

use std::time::Duration;

use lab::net::{Denial, Name, Net, PodSpec, Protocol, Service, Shell, Tools, resolv_conf};
use netpol_verify::probe::{Observation, Outcome, Target, Tool, Wave, dialect, script};

use super::{CLOSED, PORT, ingress, ip, pod, run};

const WAIT: Duration = Duration::from_secs(2);
const DNS: &str = "10.96.0.10";

/// One pod that every source may reach, and one that none may; a name server behind a Service.
async fn net() -> Net {
    let net = Net::start().await.unwrap();
    net.add_pod(&pod("open", &["10.244.1.1"])).await.unwrap();
    net.add_pod(&pod("closed", &["10.244.1.2"])).await.unwrap();
    net.add_pod(&PodSpec { dns: true, ..pod("dns", &["10.244.1.3"]) }).await.unwrap();
    let dns = [Protocol::Udp, Protocol::Tcp].map(|protocol| Service {
        address: ip(DNS),
        protocol,
        port: 53,
        endpoints: vec![(ip("10.244.1.3"), 53)],
    });
    net.set_services(&dns).await.unwrap();
    net.set_name("db.shop.svc.cluster.local", Name::Addresses(vec![ip("10.244.1.1")])).await.unwrap();
    net.enforce(&ingress(&["10.244.1.2"], &[]), Denial::Drop).await.unwrap();
    net
}

async fn finds(name: &str, tools: Tools, tool: Tool) {
    let net = net().await;
    let spec = PodSpec { tools, resolv_conf: resolv_conf(ip(DNS), "shop"), ..pod(name, &["10.244.1.9"]) };
    net.add_pod(&spec).await.unwrap();
    let tcp = |address, port| Target::tcp(ip(address), port, WAIT).unwrap();
    let name_of = |name| Target::name(name, WAIT).unwrap();
    let cases = [
        (tcp("10.244.1.1", PORT), Outcome::Open),
        (tcp("10.244.1.1", CLOSED), Outcome::Refused),
        (tcp("10.244.1.2", PORT), Outcome::Timeout),
        (tcp("10.244.1.9", PORT), Outcome::Open),
        (Target::dns(ip(DNS), 53, WAIT).unwrap(), Outcome::Open),
        (name_of("db.shop.svc.cluster.local"), Outcome::Open),
        (name_of("nothing.shop.svc.cluster.local"), Outcome::Dns),
    ];

    let targets: Vec<Target> = cases.iter().map(|(target, _)| target.clone()).collect();
    let (mut seen, mut text) = look(&net, name, &targets).await;
    // A tool that a busy machine did not let start in time saw nothing; the verifier looks again then.
    for _ in 0..5 {
        if seen.iter().all(|observation| observation.outcome != Outcome::Cut) {
            break;
        }
        (seen, text) = look(&net, name, &targets).await;
    }
    for ((target, expected), seen) in cases.iter().zip(seen) {
        assert_eq!(seen.outcome, *expected, "{name}: {target} {seen:?}\n{text}");
        if target.to_string().starts_with("tcp:") {
            assert_eq!(seen.tool, Some(tool), "{name}\n{text}");
        }
    }
}

async fn look(net: &Net, name: &str, targets: &[Target]) -> (Vec<Observation>, String) {
    let command = script::command(targets, Wave::new(4));
    let output = run(net, name, &command.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dialect::is_complete(&output.stdout), "{text}");
    (dialect::read(&output.stdout, targets, "no line"), text)
}

#[tokio::test]
async fn with_openbsd() {
    finds("openbsd", Tools::openbsd(Shell::Dash), Tool::OpenBsd).await;
}

#[tokio::test]
async fn with_traditional() {
    finds("traditional", Tools::traditional(Shell::Bash), Tool::Traditional).await;
}

#[tokio::test]
async fn with_ncat() {
    finds("ncat", Tools::ncat(Shell::Dash), Tool::Ncat).await;
}

#[tokio::test]
async fn with_busybox() {
    finds("busybox", Tools::busybox(), Tool::BusyBoxE).await;
}

#[tokio::test]
async fn with_bash() {
    finds("bash", Tools::bash(), Tool::Bash).await;
}
