//! Services in front of what is probed: users connect to those, policies decide at the pods behind them.

use std::net::IpAddr;

use netpol_verify::model::{FlowReport, FlowResult, Outcome, ServiceSeen, Unseen, Verdict};

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{BANK, Files, REDIS, checked},
};

/// The Services of a flow, as they were seen.
fn services(flow: &FlowReport) -> Vec<(String, u16, Outcome)> {
    flow.services
        .iter()
        .map(|ServiceSeen { service, port, observed, .. }| (service.clone(), *port, *observed))
        .collect()
}

/// Opens shop/web to bank/api:8080, with a Service in front of it.
async fn opens(port: u16, target: u16) -> (Fake, IpAddr, Ran) {
    let (fake, mut files) = checked().await;
    let address = fake.service(("bank", "api"), "api", port, target);
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    (fake, address, ran)
}

fn was_asked(fake: &Fake, address: IpAddr) -> bool {
    fake.world().asked.iter().any(|(_, ip, _)| *ip == address)
}

#[tokio::test]
async fn a_service_that_leads_to_an_open_pod_is_asked_in_the_same_exec() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    fake.run().await;
    let alone = fake.world().execs;

    let (fake, address, ran) = opens(80, 8080).await;
    assert_eq!((ran.exit, ran.verdict()), (0, Verdict::Verified), "{ran:#?}");
    assert_eq!(services(ran.flow(BANK)), [("api.bank".to_owned(), 80, Outcome::Open)]);
    assert!(was_asked(&fake, address) && alone > 0);
    assert_eq!(fake.world().execs, alone, "no exec more than without it");
}

#[tokio::test]
async fn an_open_pod_behind_a_service_that_does_not_answer_is_not_verified_until_it_does() {
    let (fake, mut files) = checked().await;
    let address = fake.service(("bank", "api"), "api", 80, 8080);
    fake.world().lost_services.insert(address);
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    let flow = ran.flow(BANK);
    assert_eq!((ran.exit, flow.result, flow.state), (3, FlowResult::Inconclusive, Some(Unseen::Pending)), "{ran:#?}");
    assert_eq!(flow.observed, Outcome::Open, "the pod itself");
    let note = flow.note.clone().unwrap();
    assert!(note.starts_with("the pod's own address answers, api.bank:80 does not (timeout): "), "{note}");
    assert!(ran.root().body.contains("api.bank:80"), "{}", ran.root().body);

    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (3, 0), "tried again in silence: {again:#?}");
    fake.world().lost_services.clear();
    let cured = fake.scheduled().await;
    assert_eq!((cured.exit, cured.flow(BANK).result), (0, FlowResult::Verified), "{cured:#?}");
}

/// What `targetPort` people forget.
#[tokio::test]
async fn a_service_whose_target_port_the_policies_deny_is_said_once_with_that_cause() {
    let (fake, _, ran) = opens(8080, 9090).await;
    fake.pod_of("bank/api", |p| p.listens.extend([9090]));
    let flow = ran.flow(BANK);
    assert_eq!((ran.exit, flow.result, flow.state), (3, FlowResult::Inconclusive, Some(Unseen::Waiting)), "{ran:#?}");
    let note = flow.note.clone().unwrap();
    assert!(
        note.ends_with("api.bank:8080 does not (timeout): its target port is 9090, which the policies deny"),
        "{note}"
    );
    let body = &ran.root().body;
    assert!(body.contains("its target port is 9090") && !body.contains("waiting for a pod"), "{body}");
    assert_eq!(body.lines().last(), Some("1 behind a Service that leads elsewhere"), "{body}");

    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (0, 0), "said once, then counted: {again:#?}");
    let standing = &again.report.as_ref().unwrap().standing;
    assert_eq!((standing.waiting, standing.behind_service), (1, 1), "{again:#?}");

    fake.service(("bank", "api"), "api", 8080, 8080);
    let cured = fake.scheduled().await;
    assert_eq!((cured.exit, cured.flow(BANK).result), (0, FlowResult::Verified), "{cured:#?}");
    let standing = &cured.report.as_ref().unwrap().standing;
    assert_eq!((standing.waiting, standing.behind_service), (0, 0));
}

#[tokio::test]
async fn endpoints_that_the_policies_tell_apart_are_asked_by_their_own_address() {
    let (fake, mut files) = checked().await;
    fake.app_with("bank", "old", &[("app", "old"), ("tier", "api")], &[8080]);
    fake.pod_of("bank/api", |p| p.info.labels.extend([("tier".to_owned(), "api".to_owned())]));
    let address = fake.service(("bank", "api"), "api", 80, 8080);
    let selector = [("tier".to_owned(), "api".to_owned())].into();
    fake.world().services[0].selector = Some(selector);
    fake.push(files.bank_egress().bank_ingress());
    let ran = fake.run().await;
    let flow = ran.flow(BANK);
    assert_eq!((ran.exit, flow.result), (0, FlowResult::Verified), "{ran:#?}");
    assert!(!was_asked(&fake, address) && services(flow).is_empty(), "{flow:#?}");
    let note = flow.note.clone().unwrap();
    assert!(note.contains("the policies tell the endpoints of api.bank:80 apart"), "{note}");
}

/// Nothing listens at one of two endpoints. Where the probe goes to it, that is said of it, and no policy is to blame.
/// Where it goes to the other, and the Service leads to the broken one, nothing is verified until the Service answers.
#[tokio::test]
async fn a_service_of_which_one_endpoint_is_broken_is_not_taken_for_a_policys_work() {
    let mut was_target = Vec::new();
    for broken in 0..2 {
        let (fake, mut files) = checked().await;
        fake.scale("bank/api", 2);
        fake.service(("bank", "api"), "api", 80, 8080);
        let listens = |listens: bool| {
            let mut world = fake.world();
            let pod = world.pods.iter_mut().filter(|p| p.info.workload.name == "api").nth(broken).unwrap();
            pod.listens = if listens { [8080].into() } else { [].into() };
            pod.info.ips[0].to_string()
        };
        let address = listens(false);
        fake.push(files.bank_egress().bank_ingress());
        let ran = fake.run().await;
        let flow = ran.flow(BANK);
        let note = flow.note.as_deref().unwrap_or_default();
        was_target.push(flow.target.as_ref() == Some(&address));
        if flow.target.as_ref() == Some(&address) {
            assert_eq!((ran.exit, flow.observed, note), (0, Outcome::Refused, "nothing listens there"), "{flow:#?}");
            continue;
        }
        assert_eq!((ran.exit, flow.observed, flow.state), (3, Outcome::Open, Some(Unseen::Pending)), "{flow:#?}");
        assert!(note.contains("api.bank:80 does not (refused)") && note.contains("other endpoints"), "{note}");
        listens(true);
        let cured = fake.scheduled().await;
        assert_eq!((cured.exit, cured.flow(BANK).result), (0, FlowResult::Verified), "{cured:#?}");
    }
    was_target.sort_unstable();
    assert_eq!(was_target, [false, true], "each of them was the broken one once");
}

#[tokio::test]
async fn what_a_headless_service_or_one_of_another_port_says_is_not_asked() {
    for change in [true, false] {
        let (fake, mut files) = checked().await;
        let address = fake.service(("bank", "api"), "api", 80, if change { 8080 } else { 9090 });
        fake.world().services[0].headless = change;
        fake.push(files.bank_egress().bank_ingress());
        let ran = fake.run().await;
        assert_eq!((ran.exit, ran.flow(BANK).result), (0, FlowResult::Verified), "{ran:#?}");
        assert!(!was_asked(&fake, address));
    }
}

/// shop/web may reach redis no more.
async fn closes(fake: &Fake, files: &mut Files) -> Ran {
    fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
    fake.run().await
}

#[tokio::test]
async fn a_closed_flow_is_closed_through_its_service_too() {
    let (fake, mut files) = checked().await;
    let address = fake.service(("redis", "redis"), "redis", 6379, 6379);
    let ran = closes(&fake, &mut files).await;
    assert_eq!((ran.exit, ran.flow(REDIS).result), (0, FlowResult::Verified), "{ran:#?}");
    assert_eq!(services(ran.flow(REDIS)), [("redis.redis".to_owned(), 6379, Outcome::Timeout)]);

    let (fake, mut files) = checked().await;
    fake.service(("redis", "redis"), "redis", 6379, 6379);
    fake.world().leaking_services.insert(address);
    let ran = closes(&fake, &mut files).await;
    let flow = ran.flow(REDIS);
    assert_eq!((ran.exit, flow.result, flow.observed), (1, FlowResult::Enforcement, Outcome::Timeout), "{ran:#?}");
    assert!(ran.root().body.contains("open through redis.redis:6379 (10.96.0.1)"), "{}", ran.root().body);
}

#[tokio::test]
async fn the_services_of_a_flow_count_among_the_probes_of_a_run() {
    for (most, exit) in [(1, 3), (2, 0)] {
        let (fake, mut files) = checked().await;
        fake.configure(&format!("probe: {{maxProbes: {most}}}"));
        fake.service(("bank", "api"), "api", 80, 8080);
        fake.push(files.bank_egress().bank_ingress());
        let ran = fake.run().await;
        assert_eq!(ran.exit, exit, "{most}: {ran:#?}");
    }
}
