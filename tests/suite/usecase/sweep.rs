//! `run --sweep`: everything that Git declares, on every node.

use std::{sync::atomic::Ordering, time::Duration};

use netpol_verify::model::{FlowResult, Verdict, Why};

use crate::usecase::{
    fake::Fake,
    shop::{Files, REDIS, checked},
};

const DAY: Duration = Duration::from_secs(86_400);

/// Three nodes, with a pod of shop/web on each; the data plane of `node-3` stopped before the last merge closed redis.
async fn with_a_stale_node() -> (Fake, Files) {
    let (fake, mut files) = checked().await;
    for node in ["node-2", "node-3"] {
        fake.app("shop", "web", &[80]);
        let mut world = fake.world();
        world.pods.last_mut().unwrap().info.node = Some(node.to_owned());
    }
    let old = fake.world().enforced();
    files.remove("infra/shop/redis.yaml").remove("infra/redis/web.yaml");
    fake.push(&files);
    fake.world().stale = Some(("node-3".to_owned(), old));
    (fake, files)
}

#[tokio::test]
async fn a_sweep_finds_the_node_whose_data_plane_is_stale_and_names_it() {
    let (fake, _) = with_a_stale_node().await;
    let merge = fake.run().await;
    assert_eq!(merge.verdict(), Verdict::Verified, "one pod stands for its workload: {merge:#?}");
    let ran = fake.swept().await;
    assert_eq!((ran.exit, ran.verdict()), (1, Verdict::Finding), "{ran:#?}");
    let flow = ran.flow(REDIS);
    assert_eq!((flow.result, flow.why, flow.node.as_deref()), (FlowResult::Enforcement, Why::Sweep, Some("node-3")));
    assert_eq!((flow.only_on.as_slice(), flow.as_declared_on.len()), (["node-3".to_owned()].as_slice(), 2));
    assert!(ran.root().body.contains("Node node-3 only (as declared on 2 other nodes)"), "{}", ran.root().body);
}

#[tokio::test]
async fn a_sweep_of_a_new_merge_looks_at_its_flows_on_every_node_too() {
    let (fake, _) = with_a_stale_node().await;
    fake.sweep.store(true, Ordering::Relaxed);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.flow(REDIS).why), (1, Why::Changed), "{ran:#?}");
    assert_eq!(ran.flow(REDIS).only_on, ["node-3"]);
}

/// Another node once stood for the one on which a finding was open, and cured it.
#[tokio::test]
async fn a_finding_of_one_node_is_cured_by_that_node_alone() {
    let (fake, _) = with_a_stale_node().await;
    fake.run().await;
    assert_eq!(fake.swept().await.exit, 1);
    let again = fake.scheduled().await;
    assert_eq!((again.exit, again.events.len()), (1, 0), "it stands, and is not said again: {again:#?}");
    fake.world().stale = None;
    let cured = fake.scheduled().await;
    assert_eq!((cured.exit, cured.verdict()), (0, Verdict::Verified), "{cured:#?}");
}

#[tokio::test]
async fn a_sweep_looks_at_what_no_merge_touched_and_says_nothing_where_all_is_well() {
    let (fake, _) = checked().await;
    let ran = fake.swept().await;
    assert_eq!((ran.exit, ran.verdict(), ran.events.len()), (0, Verdict::Verified, 0), "{ran:#?}");
    let report = ran.report.as_ref().unwrap();
    assert_eq!((ran.flow(REDIS).result, ran.flow(REDIS).why), (FlowResult::Verified, Why::Sweep));
    let denied = report.flows.iter().filter(|f| f.declared == netpol_verify::model::Decision::Denied).count();
    assert!(denied >= 3, "one for each isolated workload at least: {report:#?}");
    let sweep = report.sweep.unwrap();
    assert!(sweep.probes >= report.flows.len() && sweep.nodes == 1 && sweep.left == 0, "{sweep:?}");
    assert!(fake.state().flows.is_empty(), "it owes nothing");
}

#[tokio::test]
async fn a_scheduled_run_sweeps_by_itself_as_often_as_configured() {
    let (fake, _) = checked().await;
    assert!(fake.scheduled().await.report.unwrap().sweep.is_none());
    fake.pass(DAY);
    assert!(fake.scheduled().await.report.unwrap().sweep.is_some());
    assert!(fake.scheduled().await.report.unwrap().sweep.is_none(), "once a day");
    fake.pass(DAY);
    assert!(fake.person().await.report.unwrap().sweep.is_none(), "a person asks about the last merge");
}

/// What is too much for one run is left to the next ones, and is no debt.
#[tokio::test]
async fn a_sweep_that_is_too_large_says_what_it_leaves() {
    let (fake, _) = checked().await;
    let config = format!("{}probe: {{maxProbes: 2}}\n", fake.config.lock().unwrap());
    *fake.config.lock().unwrap() = config;
    let ran = fake.swept().await;
    assert_eq!((ran.exit, ran.events.len()), (0, 0), "{ran:#?}");
    let sweep = ran.report.as_ref().unwrap().sweep.unwrap();
    assert!(sweep.probes == 2 && sweep.left > 0, "{sweep:?}");
    assert!(fake.state().flows.is_empty());
}

#[tokio::test]
async fn a_sweep_that_somebody_asks_for_runs_although_the_merge_is_checked() {
    let (fake, _) = checked().await;
    fake.sweep.store(true, Ordering::Relaxed);
    let ran = fake.run().await;
    assert!(ran.report.is_some_and(|report| report.sweep.is_some()), "{}", ran.note);
}
