//! Reports of the merges that messages and the page of messages are shown with.

use netpol_verify::{model::*, report::MessageOptions};

use crate::support::sample::{drift, flow, missing_entry, report, three_flows, wrong};

pub fn options() -> MessageOptions {
    MessageOptions {
        commit_url: Some("https://git.example.org/infra/commit/{sha}".to_owned()),
        mention: vec!["@oncall:example.org".to_owned()],
        ..MessageOptions::default()
    }
}

/// A first run whose two open flows show three rules.
pub fn first_run() -> Report {
    let mut first = report();
    first.first_run = true;
    first.flows = three_flows();
    for flow in &mut first.flows {
        flow.why = Why::FirstRun;
        flow.before = None;
    }
    let rule = |namespace: &str, direction| RuleRef {
        policy: PolicyRef::network_policy(namespace, "network-policy"),
        direction,
        index: 0,
    };
    first.flows[0].rules = vec![rule("pulse-account", Direction::Egress), rule("pulse-events", Direction::Ingress)];
    first.flows[2].rules = vec![rule("pulse-account", Direction::Egress), rule("pulse-banking", Direction::Ingress)];
    first
}

pub fn one_side_missing() -> Report {
    let mut missing = report();
    missing.verdict = Verdict::Finding;
    missing.flows = three_flows();
    missing.flows[0] = missing_entry();
    missing
}

/// Nobody merged the first policy, and somebody edited the second.
pub fn two_drifts() -> Report {
    let mut drifted = report();
    drifted.verdict = Verdict::Finding;
    let mut extra = drift(
        DriftClass::Extra,
        PolicyRef::network_policy("shop", "allow-all-temp"),
        "opens shop to every pod: 212 flows that Git denies",
    );
    extra.by = Some("kubectl-create 2026-11-20T08:57:12Z".to_owned());
    extra.flows = 212;
    let mut changed = drift(
        DriftClass::Changed,
        PolicyRef::network_policy("redis", "network-policy"),
        "ingress[0].ports: Git 6379, live 6379+6380",
    );
    changed.declared = Some(Origin::at("infra/k8s/redis/network-policy.yaml", 12, 7));
    changed.diff = String::from(" ingress:\n - ports:\n   - port: 6379\n+  - port: 6380\n");
    drifted.drift = vec![extra, changed];
    drifted
}

/// A flow that is open although all policies deny it.
pub fn open_by_mistake() -> FlowReport {
    let closed = flow("crossplane-system/job", "plana-odoo-acme/odoo", 8069, Decision::Denied);
    let open = wrong(closed, FlowResult::Enforcement, Outcome::Open);
    FlowReport { node: Some("worker-3".to_owned()), ..open }
}

/// A flow whose target was replaced while it was probed.
pub fn replaced_target() -> FlowReport {
    let opened = flow("pulse-account/api", "pulse-data/web", 8000, Decision::Allowed);
    let replaced = wrong(opened, FlowResult::Inconclusive, Outcome::TargetDown);
    let note = Some("the pod was replaced during the probe".to_owned());
    FlowReport { state: Some(Unseen::Pending), note, ..replaced }
}
