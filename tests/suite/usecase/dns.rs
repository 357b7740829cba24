//! Flows over UDP to DNS servers: seen by a real question, and never by silence alone.

use std::collections::BTreeSet;

use netpol_verify::model::{ContainerPort, FlowResult, Outcome, Protocol, Unseen, Verdict};

use crate::usecase::{
    fake::{Broken, Fake},
    shop::{Files, checked, cluster},
};

const DNS: &str = "shop/web -> kube-system/kube-dns:53/UDP";

/// The cluster whose DNS declares its UDP port, too.
fn with_udp(fake: &Fake) {
    let port = ContainerPort { name: Some("dns".to_owned()), number: 53, protocol: Protocol::Udp, init: false };
    let mut world = fake.world();
    world.workloads.iter_mut().filter(|w| w.id.name == "kube-dns").for_each(|w| w.ports.push(port.clone()));
    let mut pods = world.pods.iter_mut().filter(|p| p.info.workload.name == "kube-dns");
    pods.by_ref().for_each(|p| p.info.ports.push(port.clone()));
}

/// Lets an app ask the cluster's DNS over UDP.
fn asks(namespace: &str, app: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {app}-dns, namespace: {namespace}}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: {app}}}}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    \
         - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: kube-system}}}}\n    \
         ports:\n    - {{protocol: UDP, port: 53}}\n"
    )
}

/// Checked once, with a DNS that the bank may ask.
async fn asked() -> (Fake, Files) {
    let (fake, mut files) = (cluster(), Files::base());
    with_udp(&fake);
    fake.push(files.put("infra/bank/dns.yaml", &asks("bank", "api")));
    let ran = fake.run().await;
    assert_eq!(ran.exit, 0, "{ran:#?}");
    (fake, files)
}

fn open_for_the_shop(fake: &Fake, files: &mut Files) {
    fake.push(files.put("infra/shop/dns.yaml", &asks("shop", "web")));
}

#[tokio::test]
async fn a_rule_for_dns_over_udp_is_seen_by_an_answer() {
    let (fake, mut files) = asked().await;
    open_for_the_shop(&fake, &mut files);
    let ran = fake.run().await;
    let flow = ran.flow(DNS);
    assert_eq!((flow.observed, flow.result, flow.state), (Outcome::Open, FlowResult::Verified, None), "{ran:#?}");
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert!(!ran.root().body.contains("not provable"), "{}", ran.root().body);
}

#[tokio::test]
async fn silence_where_others_get_an_answer_is_a_block() {
    let (fake, mut files) = asked().await;
    fake.world().broken.push(Broken {
        source: "shop/web".to_owned(),
        destination: "kube-system/kube-dns".to_owned(),
        port: 53,
        open: false,
    });
    open_for_the_shop(&fake, &mut files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.flow(DNS).result), (1, FlowResult::Enforcement), "{ran:#?}");
}

/// The other side of the line above: what nobody gets an answer from is neither open nor blocked.
#[tokio::test]
async fn silence_to_everybody_is_said_once_and_counted() {
    let (fake, mut files) = asked().await;
    let listened: BTreeSet<u16> = BTreeSet::from([53]);
    let server = |fake: &Fake, listens: &BTreeSet<u16>| {
        fake.pod_of("kube-system/kube-dns", |pod| pod.listens.clone_from(listens));
    };
    server(&fake, &BTreeSet::new());
    open_for_the_shop(&fake, &mut files);
    let ran = fake.run().await;
    let flow = ran.flow(DNS);
    assert_eq!((flow.result, flow.state), (FlowResult::Inconclusive, Some(Unseen::Unprobeable)), "{ran:#?}");
    assert_eq!(ran.exit, 3, "{ran:#?}");
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "{again:#?}");
    server(&fake, &listened);
    let person = fake.person().await;
    assert_eq!(person.flow(DNS).result, FlowResult::Verified, "{person:#?}");
}

#[tokio::test]
async fn a_closed_way_to_dns_is_verified_with_its_controls() {
    let (fake, mut files) = asked().await;
    open_for_the_shop(&fake, &mut files);
    fake.run().await;
    fake.push(files.remove("infra/shop/dns.yaml"));
    let ran = fake.run().await;
    let flow = ran.flow(DNS);
    assert_eq!((flow.observed, flow.result), (Outcome::Timeout, FlowResult::Verified), "{ran:#?}");
    let controls = flow.controls.as_ref().unwrap();
    assert!(controls.target.as_ref().unwrap().starts_with("open from bank/api"), "{controls:?}");
    assert_eq!(ran.exit, 0, "{ran:#?}");
}

#[tokio::test]
async fn a_pod_with_nothing_to_ask_with_is_not_provable() {
    let (fake, mut files) = asked().await;
    fake.pod_of("shop/web", |pod| pod.can_ask = false);
    open_for_the_shop(&fake, &mut files);
    let ran = fake.run().await;
    let flow = ran.flow(DNS);
    assert_eq!((flow.result, flow.state), (FlowResult::Inconclusive, Some(Unseen::Unprobeable)), "{ran:#?}");
    assert!(flow.note.as_ref().unwrap().contains("nothing to ask a DNS server with"), "{flow:?}");
}

/// What an earlier version wrote into the state as beyond any probe is seen by the next run, whoever starts it.
#[tokio::test]
async fn a_flow_that_an_earlier_version_could_not_show_is_seen_after_the_upgrade() {
    let (fake, mut files) = asked().await;
    fake.pod_of("shop/web", |pod| pod.can_ask = false);
    open_for_the_shop(&fake, &mut files);
    fake.run().await;
    fake.pod_of("shop/web", |pod| pod.can_ask = true);
    let mut state = fake.state();
    state.flows.get_mut(DNS).unwrap().reason = "UDP: silence cannot be told from a drop".to_owned();
    fake.world().state = Some(netpol_verify::state::encode(&state).unwrap());
    let ran = fake.scheduled().await;
    assert_eq!((ran.exit, ran.flow(DNS).result), (0, FlowResult::Verified), "{ran:#?}");
}

/// The metadata service's rule has no ports: what is said of it names none that nobody wrote.
#[tokio::test]
async fn a_rule_without_ports_is_told_with_the_port_that_the_configuration_names() {
    let rule = "  - to: [{ipBlock: {cidr: 169.254.169.254/32}}]\n";
    let open = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: meta, namespace: shop}}\nspec:\n  \
         podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n{rule}"
    );
    let (fake, mut files) = checked().await;
    fake.push(files.put("infra/shop/meta.yaml", &open));
    let ran = fake.run().await;
    let flow = ran.flow("shop/cart -> 169.254.169.254/32:8080/TCP");
    assert!(flow.note.as_ref().unwrap().contains("no rule names port 8080, it stands for any"), "{flow:?}");
    let (fake, mut files) = checked().await;
    fake.configure("expectations: [{from: {namespace: shop}, to: '169.254.169.254:80', is: unreachable}]");
    fake.push(files.put("infra/shop/meta.yaml", &open));
    let ran = fake.run().await;
    assert!(ran.keys().contains(&"shop/cart -> 169.254.169.254/32:80/TCP".to_owned()), "{:?}", ran.keys());
}
