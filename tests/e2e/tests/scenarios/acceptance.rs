//! The first customer's own tree and namespaces, under their real names.

use crate::world::{DataPlane, Report, Scene, Setup, report::Flow, scenario};
use anyhow::Result;
use serde_json::json;

const CLUSTER_WIDE: &str = "infra/k8s/network-policies/cluster-wide.yaml";
/// The first egress rule of the policy for all product namespaces.
const FIRST_RULE: &str = "  - action: Deny
    destination: {nets: [169.254.169.254/32]}
";
/// What a merge puts before it.
const NO_REDIS: &str = "  - action: Deny
    protocol: TCP
    destination: {selector: app == 'redis', namespaceSelector: all(), ports: [6379]}
";
/// Whom the namespaces' own policies let ask redis.
const CLIENTS: [&str; 3] = ["plana-odoo-acme/odoo", "plana-odoo-globex/odoo", "pulse-account/api"];

/// One scene for both stories: its some forty flows are not to be looked at twice for the first time.
#[test]
fn the_customers_first_run_takes_the_state_of_every_rule_and_a_merge_of_cluster_wide_yaml_is_seen() -> Result<()> {
    let setup = Setup {
        fixture: "plana",
        data_planes: &[DataPlane::Calico],
        alone: true,
        real_names: true,
        // They take longer than the shop's on a busy machine.
        config: json!({"probe": {"settle": "10s"}}),
        ..Setup::default()
    };
    scenario(setup, async |scene| {
        first_run(scene).await?;
        closed_for_all_product_namespaces(scene).await
    })
}

/// Whether a flow to a port was seen open.
fn is_open(report: &Report, destination: &str, port: u16) -> bool {
    let is_it = |flow: &Flow| (flow.destination().as_str(), flow.port) == (destination, port);
    report.flows.iter().any(|flow| is_it(flow) && flow.observed == "open")
}

async fn first_run(scene: &Scene) -> Result<()> {
    let run = scene.first_run().await?;
    let report = run.report()?;
    for (source, destination, port) in [
        ("pulse-account/api", "pulse-events/pulse-events", 3001),
        ("pulse-account/api", "redis/redis", 6379),
        ("ai-bos-agent/ai-agents", "pulse-data/pulse-data", 8000),
        ("envoy-gateway-system/envoy", "plana-odoo-acme/odoo", 8069),
        ("whom cluster-wide.yaml selects", "kube-system/coredns", 53),
        ("whom cluster-wide.yaml selects", "192.168.77.1", 6443),
    ] {
        assert!(is_open(report, destination, port), "{source} → {destination}:{port} was seen open: {report}");
    }
    let closed = report.flows.iter().filter(|flow| flow.declared == "denied" && flow.result == "verified").count();
    assert!(closed >= 10, "each isolated workload was seen closed, {closed} of them: {report}");
    assert!(report.findings("not-understood").is_empty() && report.drift.is_empty(), "{report}");
    let message = scene.room.last().await?;
    assert!(message.first_line().starts_with('✅'), "{}", message.body);
    assert!(message.first_line().contains("first state taken"), "{}", message.body);
    Ok(())
}

async fn closed_for_all_product_namespaces(scene: &Scene) -> Result<()> {
    scene.git.replace(CLUSTER_WIDE, FIRST_RULE, &format!("{NO_REDIS}{FIRST_RULE}"))?;
    let run = scene.merge_and_run("Nobody asks redis any more").await?;
    let report = run.expect(0)?;
    for source in CLIENTS {
        let flow = report.flow(source, "redis/redis", 6379);
        let seen = [flow.before.as_deref().unwrap_or("-"), &flow.live, &flow.observed, &flow.result];
        assert_eq!(seen, ["allowed", "denied", "timeout", "verified"], "{report}");
    }
    let portal = report.flows("pulse-account/portal", "redis/redis", 6379);
    assert!(portal.is_empty(), "its own namespace never let it: {report}");
    assert!(report.drift.is_empty(), "{report}");
    // Taken back, the namespaces' own policies decide again.
    scene.git.replace(CLUSTER_WIDE, NO_REDIS, "")?;
    let run = scene.merge_and_run("They do").await?;
    let report = run.expect(0)?;
    for source in CLIENTS {
        let flow = report.flow(source, "redis/redis", 6379);
        assert_eq!((flow.observed.as_str(), flow.result.as_str()), ("open", "verified"), "{report}");
    }
    Ok(())
}
