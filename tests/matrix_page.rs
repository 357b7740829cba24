//! The page of messages. `NETPOL_VERIFY_PAGE=FILE cargo test --test matrix_page` keeps it, to be looked at.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

#[path = "support/sample.rs"]
#[expect(dead_code, reason = "a part of the samples is used here")]
mod sample;

use netpol_verify::{
    model::*,
    report::{
        Message, MessageOptions, message,
        page::{Shown, page},
        thread,
    },
};
use sample::{BEFORE, drift, flow, missing_entry, report, revision, three_flows, wrong};

/// The story of four merges.
fn story() -> Vec<(&'static str, Report)> {
    vec![
        ("The first run", first_run()),
        ("A new flow, egress side only", one_side_only()),
        ("Both sides", both_sides()),
        ("A merge, and a change by hand", drifted()),
        ("A target that was replaced", replaced_target()),
    ]
}

fn first_run() -> Report {
    let mut first = report();
    first.first_run = true;
    first.flows = three_flows();
    first.flows.iter_mut().for_each(|flow| flow.why = Why::FirstRun);
    first
}

fn one_side_only() -> Report {
    let mut missing = report();
    missing.verdict = Verdict::Finding;
    missing.flows = three_flows();
    missing.flows[0] = missing_entry();
    missing
}

fn both_sides() -> Report {
    let mut fixed = report();
    fixed.flows = three_flows();
    fixed.standing = Standing { waiting: 2, unprobeable: 1, ..Standing::default() };
    fixed
}

fn drifted() -> Report {
    let mut drifted = report();
    drifted.verdict = Verdict::Finding;
    let mut extra = drift(
        DriftClass::Extra,
        PolicyRef::network_policy("shop", "allow-all-temp"),
        "opens shop to every pod: 212 flows that Git denies",
    );
    extra.by = Some("kubectl-create 2026-11-20T08:57:12Z".to_owned());
    let mut changed = drift(
        DriftClass::Changed,
        PolicyRef::network_policy("redis", "network-policy"),
        "ingress[0].ports: Git 6379, live 6379+6380",
    );
    changed.declared = Some(Origin::at("infra/k8s/redis/network-policy.yaml", 12, 7));
    changed.diff = String::from(" ingress:\n - ports:\n   - port: 6379\n+  - port: 6380\n");
    drifted.drift = vec![extra, changed];
    drifted.flows = vec![wrong(
        flow("crossplane-system/job", "plana-odoo-acme/odoo", 8069, Decision::Denied),
        FlowResult::Enforcement,
        Outcome::Open,
    )];
    drifted.flows[0].node = Some("worker-3".to_owned());
    drifted
}

fn replaced_target() -> Report {
    let mut unsure = report();
    unsure.verdict = Verdict::Inconclusive;
    let mut replaced = wrong(
        flow("pulse-account/api", "pulse-data/web", 8000, Decision::Allowed),
        FlowResult::Inconclusive,
        Outcome::TargetDown,
    );
    replaced.note = Some("the pod was replaced during the probe".to_owned());
    replaced.state = Some(Unseen::Pending);
    unsure.flows = three_flows();
    unsure.flows.push(replaced);
    unsure.standing.open = vec![("x".to_owned(), Some(revision(BEFORE)))];
    unsure
}

#[test]
fn the_page_stands_alone_and_shows_every_message() {
    let options = MessageOptions {
        commit_url: Some("https://git.example.org/infra/commit/{sha}".to_owned()),
        mention: vec!["@oncall:example.org".to_owned()],
        ..MessageOptions::default()
    };
    let told: Vec<(&str, Message, Vec<Message>)> = story()
        .iter()
        .map(|(caption, report)| (*caption, message::root(report, &options, true), thread::thread(report, &options)))
        .collect();
    let shown: Vec<Shown<'_>> = told
        .iter()
        .map(|(caption, message, thread)| Shown { sender: "netpol-verify", at: "09:12 UTC", caption, message, thread })
        .collect();
    let html = page("Network policies <prod>", &shown);
    assert!(html.contains("Network policies &lt;prod&gt;") && !html.contains("<script"));
    assert!(html.contains("default-src 'none'") && !html.contains("src=") && !html.contains("url("));
    for (caption, message, thread) in &told {
        assert!(html.contains(*caption) && html.contains(&message.html));
        assert!(thread.iter().all(|part| html.contains(&part.html)));
    }
    if let Some(path) = std::env::var_os("NETPOL_VERIFY_PAGE") {
        std::fs::write(path, html).unwrap();
    }
}
