//! The page of messages. `NETPOL_VERIFY_PAGE=FILE cargo test --test suite matrix_page` keeps it, to be looked at.

use crate::support::sample;
use crate::support::story;

use netpol_verify::{
    model::*,
    report::{
        Message, message,
        page::{Shown, page},
        thread,
    },
};
use sample::{BEFORE, report, revision, three_flows};
use story::{first_run, one_side_missing, open_by_mistake, options, replaced_target, two_drifts};

/// The story of four merges.
fn story() -> Vec<(&'static str, Report)> {
    vec![
        ("The first run", first_run()),
        ("A new flow, egress side only", one_side_missing()),
        ("Both sides", both_sides()),
        ("A merge, and a change by hand", drifted()),
        ("A target that was replaced", unsure()),
    ]
}

fn both_sides() -> Report {
    let mut fixed = report();
    fixed.flows = three_flows();
    fixed.standing = Standing { waiting: 2, unprobeable: 1, ..Standing::default() };
    fixed
}

fn drifted() -> Report {
    let mut drifted = two_drifts();
    drifted.flows = vec![open_by_mistake()];
    drifted
}

fn unsure() -> Report {
    let mut unsure = report();
    unsure.verdict = Verdict::Inconclusive;
    unsure.flows = three_flows();
    unsure.flows.push(replaced_target());
    unsure.standing.open = vec![("x".to_owned(), Some(revision(BEFORE)))];
    unsure
}

#[test]
fn the_page_stands_alone_and_shows_every_message() {
    let options = options();
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
