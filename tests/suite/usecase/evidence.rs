//! What the enforcer's log says of blocked flows: shown beside them, and never a part of the verdict.

use netpol_verify::model::{FindingRule, FlowResult, PodRef, Severity, Verdict};

use crate::usecase::{
    fake::{Broken, Fake, Ran},
    shop::{BANK, Files, REDIS, checked},
};

/// A checked cluster with an enforcer's pod, whose log is looked at.
async fn watched(configured: bool) -> (Fake, Files) {
    let (fake, files) = checked().await;
    fake.namespace("calico-system", &[]);
    fake.app_with("calico-system", "calico-node", &[("k8s-app", "calico-node")], &[]);
    if configured {
        fake.configure("evidence: {}\n");
    }
    (fake, files)
}

/// shop/web → bank/api is open in Git and live, and does not work.
async fn blocked(fake: &Fake, files: &mut Files) -> Ran {
    fake.push(files.bank_egress().bank_ingress());
    let (source, destination) = ("shop/web".to_owned(), "bank/api".to_owned());
    fake.world().broken.push(Broken { source, destination, port: 8080, open: false });
    fake.run().await
}

fn ip(fake: &Fake, workload: &str) -> String {
    let world = fake.world();
    world.pods.iter().find(|p| p.info.workload.to_string() == workload).unwrap().info.ips[0].to_string()
}

fn packet(fake: &Fake, from: &str, to: &str, port: u16, number: u16) -> String {
    format!(
        "calico-packet: IN=cali1 OUT=cali2 SRC={} DST={} LEN=60 PROTO=TCP SPT={number} DPT={port} SYN URGP=0",
        ip(fake, from),
        ip(fake, to)
    )
}

/// The enforcer's pod logs these lines, or cannot be read.
fn logs(fake: &Fake, log: Result<String, &str>) -> PodRef {
    let id = fake.world().pods.iter().find(|p| p.info.workload.name == "calico-node").unwrap().info.id.clone();
    fake.world().logs.insert(id.clone(), log.map_err(str::to_owned));
    id
}

fn thread(ran: &Ran) -> String {
    ran.events.iter().filter(|e| e.thread.is_some()).map(|e| e.body.clone()).collect()
}

#[tokio::test]
async fn a_blocked_flow_has_the_enforcers_lines_in_report_and_thread() {
    let (fake, mut files) = watched(true).await;
    let mut lines: Vec<String> = (1..6).map(|n| packet(&fake, "shop/web", "bank/api", 8080, n)).collect();
    lines.push(packet(&fake, "shop/web", "bank/api", 8081, 6));
    lines.push(packet(&fake, "shop/cart", "bank/api", 8080, 7));
    let pod = logs(&fake, Ok(lines.join("\n")));
    let ran = blocked(&fake, &mut files).await;
    let flow = ran.flow(BANK);
    assert_eq!((ran.exit, flow.result), (1, FlowResult::Enforcement), "{ran:#?}");
    assert_eq!(flow.evidence, ["nc: timeout", &lines[4]], "the flow's own, once");
    let told = thread(&ran);
    assert!(told.contains(&lines[4]) && !told.contains("DPT=8081"), "{told}");
    let read = fake.world().logs_read.clone();
    let report = ran.report.as_ref().unwrap();
    assert_eq!(read.len(), 1, "one read a pod, after all probing: {read:?}");
    assert_eq!((&read[0].0, read[0].1.as_str()), (&pod, "main"));
    assert!(read[0].2 >= report.started && read[0].2 < report.finished, "since the probing began: {read:?}");
    assert!(report.findings.iter().all(|f| f.rule != FindingRule::Evidence), "{report:#?}");
}

#[tokio::test]
async fn without_the_key_no_log_is_read() {
    let (fake, mut files) = watched(false).await;
    logs(&fake, Ok(packet(&fake, "shop/web", "bank/api", 8080, 1)));
    let ran = blocked(&fake, &mut files).await;
    assert_eq!(ran.flow(BANK).evidence, ["nc: timeout"]);
    assert!(fake.world().logs_read.is_empty());
}

#[tokio::test]
async fn a_missing_entry_and_what_could_not_be_told_have_their_lines_too() {
    let (fake, mut files) = watched(true).await;
    let line = packet(&fake, "shop/web", "bank/api", 8080, 1);
    logs(&fake, Ok(line.clone()));
    fake.push(files.bank_egress());
    let ran = fake.run().await;
    assert_eq!((ran.flow(BANK).result, ran.flow(BANK).evidence.clone()), (FlowResult::MissingEntry, vec![line]));

    // Nothing shows that the target is alive.
    let (fake, mut files) = watched(true).await;
    let line = packet(&fake, "shop/web", "redis/redis", 6379, 1);
    logs(&fake, Ok(line.clone()));
    fake.pod_of("redis/redis", |p| p.has_nc = false);
    fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
    let ran = fake.run().await;
    let flow = ran.flow(REDIS);
    assert_eq!((flow.result, flow.evidence.clone()), (FlowResult::Inconclusive, vec![line]), "{flow:#?}");
}

#[tokio::test]
async fn a_flow_denied_as_declared_causes_no_reading_and_no_noise() {
    let (fake, mut files) = watched(true).await;
    let closed = packet(&fake, "shop/web", "redis/redis", 6379, 1);
    logs(&fake, Ok(closed.clone()));
    fake.push(files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml"));
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.flow(REDIS).evidence.len()), (0, 0), "{ran:#?}");
    assert!(fake.world().logs_read.is_empty());

    // Beside a blocked one the log is read anyhow: the report has its lines, the thread does without.
    let (fake, mut files) = watched(true).await;
    logs(&fake, Ok(closed.clone()));
    files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml");
    let ran = blocked(&fake, &mut files).await;
    assert_eq!(
        (ran.flow(REDIS).result, ran.flow(REDIS).evidence.clone()),
        (FlowResult::Verified, vec![closed.clone()])
    );
    assert!(!thread(&ran).contains(&closed), "{}", thread(&ran));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_a_remark_and_changes_no_verdict() {
    let (fake, mut files) = watched(true).await;
    logs(&fake, Err("may not get pods/log: add get on pods/log to Role netpol-verify-evidence in calico-system"));
    let ran = blocked(&fake, &mut files).await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding));
    let remarks: Vec<_> =
        ran.report.iter().flat_map(|r| &r.findings).filter(|f| f.rule == FindingRule::Evidence).collect();
    assert_eq!((remarks.len(), remarks[0].severity), (1, Severity::Info), "{remarks:#?}");
    let expected = "what calico-system logged of blocked flows could not be read (evidence): node-1: may not get pods/log: \
        add get on pods/log to Role netpol-verify-evidence in calico-system";
    assert_eq!(remarks[0].message, expected);
    assert!(thread(&ran).contains(expected), "{}", thread(&ran));
    assert!(!ran.root().body.contains("pods/log"), "the message is about flows: {}", ran.root().body);
    // It stays a remark: the same red is no news, and a cure is none the less green.
    let same = fake.scheduled().await;
    assert_eq!((same.exit, same.events.len()), (1, 0), "{same:#?}");
    fake.world().broken.clear();
    let cured = fake.scheduled().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
    assert!(cured.report.unwrap().findings.is_empty());
}

#[tokio::test]
async fn a_node_without_an_enforcers_pod_is_named() {
    let (fake, mut files) = watched(true).await;
    fake.pod_of("calico-system/calico-node", |p| p.info.node = Some("node-2".to_owned()));
    let ran = blocked(&fake, &mut files).await;
    let remark = ran.report.iter().flat_map(|r| &r.findings).find(|f| f.rule == FindingRule::Evidence).unwrap();
    assert!(remark.message.ends_with("node-1: no pod of that namespace and selector runs there"), "{}", remark.message);
}
