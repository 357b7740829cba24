//! Configured expectations: met, not met, not looked at.

use std::net::IpAddr;

use netpol_verify::model::{FindingRule, Severity, Verdict};

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{Files, checked},
};

/// An address outside, which the base policies open to nobody.
const OUTSIDE: &str = "10.9.9.9:443";

async fn expecting(is: &str) -> (Fake, Files) {
    let (fake, files) = checked().await;
    fake.configure(&format!("expectations: [{{from: {{namespace: shop}}, to: '{OUTSIDE}', is: {is}}}]"));
    fake.world().outside.insert((std::net::IpAddr::from([10, 9, 9, 9]), 443));
    (fake, files)
}

fn toolless(fake: &Fake, toolless: bool) {
    for pod in fake.world().pods.iter_mut().filter(|p| p.info.id.namespace == "shop") {
        pod.has_nc = !toolless;
    }
}

#[tokio::test]
async fn what_is_closed_as_expected_is_green_and_what_should_be_open_is_not() {
    let (fake, _) = expecting("unreachable").await;
    let met = fake.scheduled().await;
    assert_eq!((met.exit, met.verdict()), (0, Verdict::Verified), "{met:#?}");
    let (fake, _) = expecting("reachable").await;
    let missed = fake.scheduled().await;
    assert_eq!((missed.exit, missed.verdict()), (1, Verdict::Finding), "{missed:#?}");
    assert!(missed.root().body.contains("10.9.9.9:443 should be reachable from shop/"), "{}", missed.root().body);
}

#[tokio::test]
async fn from_pods_without_a_tool_it_is_said_once_and_looked_at_when_there_is_one() {
    let (fake, _) = expecting("unreachable").await;
    toolless(&fake, true);
    let blind = fake.scheduled().await;
    assert_eq!((blind.exit, blind.verdict()), (3, Verdict::Inconclusive), "{blind:#?}");
    assert!(blind.root().body.contains("has no `nc` and no bash to look with"), "{}", blind.root().body);
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "no retry cures it: {again:#?}");
    assert!(again.report.unwrap().findings.iter().any(|f| f.rule == FindingRule::NotReadable), "and still counted");
    toolless(&fake, false);
    let seen = fake.scheduled().await;
    assert_eq!(seen.exit, 0, "{seen:#?}");
    assert!(!seen.report.unwrap().findings.iter().any(|f| f.rule == FindingRule::NotReadable));
}

#[tokio::test]
async fn one_that_is_not_met_stays_open_over_merges_that_touch_nothing() {
    let (fake, files) = expecting("reachable").await;
    assert_eq!(fake.scheduled().await.exit, 1);
    fake.push(&files);
    let merge = fake.run().await;
    assert_eq!(merge.exit, 1, "a merge that does not look cures nothing: {merge:#?}");
    assert!(!merge.events.iter().any(|e| e.body.contains("clears")), "{:#?}", merge.events);
}

#[tokio::test]
async fn the_control_of_unreachable_is_that_an_open_way_is_an_error() {
    let (fake, mut files) = expecting("unreachable").await;
    let rule = "  - to: [{ipBlock: {cidr: 10.9.9.9/32}}]\n    ports: [{port: 443}]\n";
    let open = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: out, namespace: shop}}\nspec:\n  \
         podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n{rule}"
    );
    fake.push(files.put("infra/shop/out.yaml", &open));
    let ran = fake.run().await;
    assert_eq!(ran.exit, 1, "{ran:#?}");
    assert!(
        ran.report.unwrap().findings.iter().any(|f| f.message.contains("should be unreachable, is open from shop/"))
    );
}

/// What DNS says of a name, with whether it listens on 443 there.
fn named(fake: &Fake, name: &str, hosts: &[([u8; 4], bool)]) {
    let mut world = fake.world();
    world.names.insert(name.to_owned(), hosts.iter().map(|(address, _)| IpAddr::from(*address)).collect());
    let listening = hosts.iter().filter(|(_, listens)| *listens).map(|(address, _)| (IpAddr::from(*address), 443));
    world.outside.extend(listening);
}

/// A policy that lets the shop out to a block.
fn out(cidr: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: out, namespace: shop}}\nspec:\n  \
         podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n  - to: [{{ipBlock: {{cidr: {cidr}}}}}]\n    ports: [{{port: 443}}]\n"
    )
}

fn expectations(ran: &Ran) -> Vec<(Severity, &str)> {
    let findings = ran.report.as_ref().unwrap().findings.iter().filter(|f| f.rule == FindingRule::Expectation);
    findings.map(|f| (f.severity, f.message.as_str())).collect()
}

#[tokio::test]
async fn a_name_is_resolved_in_the_pod_and_each_of_its_addresses_counts() {
    let (fake, mut files) = checked().await;
    fake.configure("expectations: [{from: {namespace: shop}, to: 'kubernetes.default:443', is: reachable}]");
    fake.push(files.put("infra/shop/out.yaml", &out("10.9.0.0/16")));
    named(&fake, "kubernetes.default", &[([10, 9, 9, 9], true), ([10, 9, 9, 10], false)]);
    let ran = fake.run().await;
    let [(Severity::Error, text)] = expectations(&ran)[..] else { panic!("{ran:#?}") };
    assert!(text.contains("is partly closed (timeout at 10.9.9.10:443)"), "{text}");
    assert_eq!(ran.exit, 1);
    named(&fake, "kubernetes.default", &[([10, 9, 9, 9], true), ([10, 9, 9, 10], true)]);
    assert_eq!(fake.scheduled().await.exit, 0);
}

/// The operations page says that the API server and DNS are open implicitly; under a default-deny egress they are not.
#[tokio::test]
async fn what_a_default_deny_closes_is_said_to_be_closed_by_it() {
    let (fake, mut files) = checked().await;
    fake.configure("expectations: [{from: {namespace: shop}, to: 'kubernetes.default:443', is: reachable}]");
    named(&fake, "kubernetes.default", &[([10, 9, 9, 9], true)]);
    let ran = fake.scheduled().await;
    let [(Severity::Error, text)] = expectations(&ran)[..] else { panic!("{ran:#?}") };
    assert!(text.contains("its egress is isolated (NetworkPolicy/shop/"), "{text}");
    let shop = files.0["infra/shop/baseline.yaml"].clone();
    fake.push(files.put("infra/shop/baseline.yaml", shop.split_once("---\n").unwrap().0));
    let ran = fake.run().await;
    let [(Severity::Warning, text)] = expectations(&ran)[..] else { panic!("{ran:#?}") };
    assert!(text.contains("no rule lets it ask the cluster's DNS") && text.contains("open port 53 to it"), "{text}");
    assert_eq!(ran.exit, 1, "what was not met stays open until it is looked at: {ran:#?}");
}

#[tokio::test]
async fn dns_is_asked_a_question_over_udp() {
    let (fake, _) = checked().await;
    fake.configure("expectations: [{from: {namespace: shop}, to: 'kube-dns.kube-system:53/UDP', is: reachable}]");
    let server = fake.world().pods.iter().find(|p| p.info.workload.name == "kube-dns").unwrap().info.ips[0];
    fake.world().names.insert("kube-dns.kube-system".to_owned(), vec![server]);
    let ran = fake.scheduled().await;
    let [(Severity::Error, text)] = expectations(&ran)[..] else { panic!("the base opens TCP alone: {ran:#?}") };
    assert!(text.contains(&format!("timeout at {server}:53")), "{text}");
    fake.kubectl(
        "kubectl-edit",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: udp, namespace: shop}\nspec:\n  \
         podSelector: {}\n  policyTypes: [Egress]\n  egress:\n  - ports: [{protocol: UDP, port: 53}]\n",
    );
    let ran = fake.scheduled().await;
    assert!(expectations(&ran).is_empty(), "{ran:#?}");
}

#[tokio::test]
async fn the_side_that_closes_is_named() {
    let (fake, _) = checked().await;
    let server = fake.world().pods.iter().find(|p| p.info.workload.name == "kube-dns").unwrap().info.ips[0];
    let to = |goal: &str, is: &str| format!("{{from: {{namespace: shop}}, to: '{goal}', is: {is}}}");
    let named = to("kubernetes.default:443", "unreachable");
    fake.configure(&format!("expectations: [{}, {named}]", to(&format!("{server}:53"), "reachable")));
    fake.world().names.insert("kubernetes.default".to_owned(), vec![IpAddr::from([10, 9, 9, 9])]);
    let said = |ran: &Ran| expectations(ran).into_iter().map(|(_, text)| text.to_owned()).collect::<String>();
    let closed = "shop -> kubernetes.default:443 is closed, as expected (by whom: unknown)";
    assert_eq!(said(&fake.scheduled().await), closed, "the base opens the other");
    let isolates = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {name: kube-dns, namespace: kube-system}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n";
    fake.kubectl("kubectl-create", isolates);
    let text = said(&fake.scheduled().await);
    let there = "its egress is open, the ingress at the other end is not (NetworkPolicy/kube-system/kube-dns)";
    assert!(text.contains(there), "{text}");
    let shop =
        isolates.replace("kube-system", "shop").replace("Ingress", "Egress").replace("name: kube-dns", "name: a");
    fake.kubectl("kubectl-create", &shop);
    assert!(said(&fake.scheduled().await).contains(there), "another that isolates opens nothing and closes nothing");
    let cure = "cannot be resolved there (its egress is open, the ingress of the DNS pods is not";
    assert!(text.contains(cure), "{text}");
}

#[tokio::test]
async fn all_of_one_pod_goes_into_one_exec() {
    let (fake, _) = checked().await;
    let to = |n: u8| format!("{{from: {{namespace: shop}}, to: '10.9.9.{n}:443', is: unreachable}}");
    fake.configure(&format!("expectations: [{}]", (1..=20).map(to).collect::<Vec<_>>().join(", ")));
    let ran = fake.scheduled().await;
    let report = ran.report.as_ref().unwrap();
    assert_eq!(report.findings.iter().filter(|f| f.message.contains("by whom: unknown")).count(), 20);
    assert_eq!((ran.exit, fake.world().execs), (0, 1), "{ran:#?}");
}
