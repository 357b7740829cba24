//! What shows that a silent source is alive, where the policies leave it little more than names.

use netpol_verify::model::{ContainerPort, FlowResult, Protocol, Strength, Unseen, Verdict};

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{Files, REDIS, cluster},
};

/// The customer's cluster, whose baselines open DNS on UDP 53 alone, or nothing.
async fn checked_with(dns: bool) -> (Fake, Files) {
    let (fake, mut files) = (cluster(), Files::base());
    let (from, to) = if dns { ("protocol: TCP, port: 53", "protocol: UDP, port: 53") } else { ("port: 53", "port: 9") };
    for text in files.0.values_mut() {
        *text = text.replace(from, to);
    }
    let udp = ContainerPort { name: Some("dns".to_owned()), number: 53, protocol: Protocol::Udp, init: false };
    fake.pod_of("kube-system/kube-dns", |p| p.info.ports.push(udp.clone()));
    fake.world().workloads.iter_mut().filter(|w| w.id.name == "kube-dns").for_each(|w| w.ports.push(udp.clone()));
    fake.push(&files);
    let first = fake.run().await;
    assert!(first.report.is_some(), "{first:#?}");
    (fake, files)
}

/// shop/web may reach redis no more: DNS is all that is left to it.
async fn closes(fake: &Fake, files: &mut Files) -> Ran {
    fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
    fake.run().await
}

fn asked_dns(fake: &Fake) -> bool {
    let world = fake.world();
    let server = world.pods.iter().find(|p| p.info.workload.name == "kube-dns").unwrap().info.ips[0];
    world.asked.iter().any(|(pod, ip, port)| pod.name.starts_with("web") && *ip == server && *port == 53)
}

#[tokio::test]
async fn a_dns_answer_shows_that_the_source_is_alive() {
    let (fake, mut files) = checked_with(true).await;
    let ran = closes(&fake, &mut files).await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let controls = ran.flow(REDIS).controls.clone().unwrap();
    assert_eq!(controls.strength, Strength::Full);
    assert_eq!(controls.source.as_deref(), Some("open to kube-system/kube-dns:53/UDP"));
    assert_eq!(ran.report.as_ref().unwrap().standing.weak, 0);
}

#[tokio::test]
async fn without_a_tool_to_ask_with_the_control_is_weak_and_says_so() {
    let (fake, mut files) = checked_with(true).await;
    fake.pod_of("shop/web", |p| p.can_ask = false);
    let ran = closes(&fake, &mut files).await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    let controls = ran.flow(REDIS).controls.clone().unwrap();
    assert_eq!(controls.strength, Strength::Weak);
    assert_eq!(controls.source.as_deref(), Some("no tool to ask kube-system/kube-dns:53/UDP with"));
    assert_eq!(ran.report.as_ref().unwrap().standing.weak, 1);
}

#[tokio::test]
async fn a_source_whose_questions_stay_without_an_answer_proves_nothing() {
    let (fake, mut files) = checked_with(true).await;
    fake.pod_of("kube-system/kube-dns", |p| p.listens.clear());
    let ran = closes(&fake, &mut files).await;
    assert_eq!((ran.exit, ran.verdict()), (3, Verdict::Inconclusive), "{ran:#?}");
    let flow = ran.flow(REDIS);
    assert_eq!((flow.result, flow.state), (FlowResult::Inconclusive, Some(Unseen::Pending)));
    assert!(flow.note.as_ref().unwrap().contains("the source reaches nothing at all"), "{flow:#?}");
}

#[tokio::test]
async fn dns_is_asked_only_where_the_policies_let_the_source() {
    let (fake, mut files) = checked_with(false).await;
    let ran = closes(&fake, &mut files).await;
    assert_eq!(ran.flow(REDIS).controls.as_ref().unwrap().strength, Strength::Weak, "{ran:#?}");
    assert!(!asked_dns(&fake), "what is denied is no control");
    let (fake, mut files) = checked_with(true).await;
    closes(&fake, &mut files).await;
    assert!(asked_dns(&fake));
}
