//! Every form of the message, word for word, as plain text and as HTML.
//!
//! The snapshots in `tests/golden` are what a reader sees: read them when they change.

use crate::support::story;
use crate::support::{sample, schemas};

use netpol_verify::{
    model::*,
    report::{Message, MessageOptions, json, message, text, thread},
};
use sample::{BEFORE, NOW, drift, finding, flow, kustomization, missing_entry, report, revision, three_flows, wrong};
use story::options;

pub fn shown(message: &Message) -> String {
    let kind = if message.notice { "m.notice" } else { "m.text" };
    format!("{kind} to {:?}\n\n{}\n\n{}\n", message.mentions, message.plain, message.html.replace("><", ">\n<"))
}

pub fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The message and its thread.
fn golden_run(name: &str, report: &Report) {
    schemas::assert_documented("report", &serde_json::to_value(report).unwrap());
    let mut all = shown(&message::root(report, &options(), true));
    for part in thread::thread(report, &options()) {
        all.push_str("\n--- thread\n");
        all.push_str(&shown(&part));
    }
    golden(name, &all);
}

#[test]
fn fine() {
    let mut report = report();
    report.flows = three_flows();
    report.standing = Standing {
        waiting: 2,
        unprobeable: 1,
        accepted: 1,
        accepted_until: Some("2027-03-01".to_owned()),
        weak: 1,
        ..Standing::default()
    };
    golden_run("fine", &report);
}

#[test]
fn fine_with_one_flow_that_stands_for_others_and_some_not_probed() {
    let mut report = report();
    report.flows = vec![flow("shop/web", "shop/db", 5432, Decision::Denied)];
    report.flows[0].covers = 40;
    report.not_probed = vec![NotProbed { reason: "the namespace opted out".to_owned(), flows: 1 }];
    golden_run("fine_covered", &report);
}

#[test]
fn containers_that_were_added_are_counted_in_the_thread() {
    let mut report = report();
    report.flows = vec![flow("shop/web", "shop/db", 5432, Decision::Allowed)];
    report.flows[0].via = Some("ephemeral".to_owned());
    report.ephemeral_containers = std::num::NonZeroUsize::new(2);
    golden_run("fine_ephemeral", &report);
}

#[test]
fn quiet_where_no_policy_changed() {
    let mut report = report();
    report.same_digest = true;
    assert!(message::is_quiet(&report));
    assert!(thread::thread(&report, &options()).is_empty());
    assert!(!message::is_wanted(&report, &MessageOptions { quiet_merges: false, ..options() }));
    golden_run("quiet", &report);

    report.same_digest = false;
    assert!(!message::is_quiet(&report), "a merge that changed policies is told in full");
    golden_run("no_flow_changed", &report);
}

#[test]
fn a_side_is_missing() {
    let report = story::one_side_missing();
    golden_run("missing_entry", &report);

    let silent = message::root(&report, &options(), false);
    assert!(silent.mentions.is_empty() && !silent.notice, "told again without calling anybody");
}

/// Against an unproven rendering it once said to delete the baseline.
#[test]
fn nobody_is_told_to_delete_what_an_unproven_git_may_want() {
    let mut report = story::two_drifts();
    assert!(message::root(&report, &options(), true).plain.contains("Delete the extra policy"));
    report.kustomizations[0].rendering = RenderingState::Unproven;
    let body = message::root(&report, &options(), true).plain;
    assert!(!body.contains("Delete") && !body.contains("flux reconcile"), "{body}");
    assert!(body.contains("not proven"), "{body}");
}

#[test]
fn one_entry_for_two_ports_is_shown_once() {
    let mut report = story::one_side_missing();
    let mut second = missing_entry();
    second.port = 3002;
    report.flows.push(second);
    let body = message::root(&report, &options(), true).plain;
    assert_eq!(body.matches("Add to ").count(), 1, "{body}");
    assert_eq!(body.matches("The entry above opens it, too.").count(), 1, "{body}");
    assert!(body.contains(":3001") && body.contains(":3002"), "{body}");
}

#[test]
fn an_entry_without_a_file_or_too_long_says_so() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    let mut homeless = missing_entry();
    homeless.because.clear();
    homeless.entries[0].file = None;
    homeless.entries[0].line = None;
    let mut long = missing_entry();
    long.entries[0].entry = "- x\n".repeat(100);
    report.flows = vec![homeless, long];
    golden_run("missing_entry_without_file", &report);
}

#[test]
fn drift_of_two_policies() {
    golden_run("drift", &story::two_drifts());
}

#[test]
fn packets_do_otherwise() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    let mut open = story::open_by_mistake();
    open.note = Some("30 s after the merge".to_owned());
    open.controls = Some(Controls {
        target: Some("same target open from envoy-gateway-system".to_owned()),
        source: Some("reached kube-dns".to_owned()),
        strength: Strength::Full,
    });
    open.evidence = vec!["calico-packet: IN=cali1 OUT=cali2 SRC=10.0.1.9 DST=10.0.3.7 DPT=8069".to_owned()];
    report.flows = three_flows();
    report.flows.push(open);
    golden_run("enforcement", &report);
}

#[test]
fn could_not_tell() {
    let mut report = report();
    report.verdict = Verdict::Inconclusive;
    let mut bare = wrong(
        flow("mautrix/bridge", "redis/redis", 6379, Decision::Denied),
        FlowResult::Inconclusive,
        Outcome::ToolMissing,
    );
    bare.state = Some(Unseen::Unprobeable);
    bare.note = Some("mautrix/bridge has no nc".to_owned());
    report.flows = three_flows();
    report.flows.extend([story::replaced_target(), bare]);
    report.standing = Standing { pending: 1, unprobeable: 1, ..Standing::default() };
    golden_run("could_not_tell", &report);
}

#[test]
fn a_rendering_that_is_not_proven() {
    let mut report = report();
    report.verdict = Verdict::Inconclusive;
    report.kustomizations[0].rendering = RenderingState::Unproven;
    report.kustomizations[0].reason = Some("it substitutes from Secret flux-system/cluster-secrets".to_owned());
    report.flows = three_flows();
    golden_run("unproven", &report);
}

#[test]
fn a_rule_that_does_nothing() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    let mut nothing = finding(
        FindingRule::NoEffect,
        Severity::Error,
        "pulse-account egress to redis:6379: no pod in redis has label `app: Redis`; `app: redis` exists (2 pods). Correct the label, or take the rule out.",
    );
    nothing.origin = Some(Origin::at("infra/k8s/pulse-account/network-policy.yaml", 38, 9));
    report.findings = vec![nothing];
    golden_run("no_effect", &report);
}

#[test]
fn first_run() {
    let mut report = story::first_run();
    report.findings = vec![finding(
        FindingRule::MissingEntry,
        Severity::Info,
        "3 rules open one side only: `netpol-verify lint` lists them.",
    )];
    golden_run("first_run", &report);
}

/// Its verdict is `verified`, and so is what the room sees: how many rules are not seen stands beside it.
#[test]
fn a_first_run_is_fine_though_a_rule_cannot_be_proven_by_any_probe_and_in_doubt_while_one_is_pending() {
    let mut report = story::first_run();
    let unseen = |state| FlowReport { state: Some(state), ..story::replaced_target() };
    let mut dns = FlowReport { why: Why::FirstRun, before: None, ..unseen(Unseen::Unprobeable) };
    let rule = |name: &str| RuleRef {
        policy: PolicyRef::network_policy("shop", name),
        direction: Direction::Egress,
        index: 0,
    };
    dns.rules = vec![rule("dns")];
    report.flows.push(dns);
    report.standing.unprobeable = 1;
    let body = message::root(&report, &options(), true).plain;
    assert!(body.starts_with("✅ infra main@"), "{body}");
    assert!(body.contains("first state taken, 3 of 4 rules seen as declared"), "{body}");
    assert!(body.ends_with("1 not provable"), "{body}");
    report.verdict = Verdict::Inconclusive;
    report.flows.push(FlowReport { why: Why::FirstRun, before: None, ..unseen(Unseen::Pending) });
    let body = message::root(&report, &options(), true).plain;
    assert!(body.starts_with("⚠️") && body.contains("1 of 5 flows could not be verified"), "{body}");
}

#[test]
fn not_applied() {
    let mut report = report();
    report.verdict = Verdict::NotApplied;
    report.kustomizations[0].attempted = Some(revision("main@sha1:9d0e1f2a23456789012345678901234567890abc"));
    report.kustomizations[0].reason = Some(
        "NetworkPolicy/shop/web is invalid: spec.ingress[0].ports[0].port: must be between 1 and 65535".to_owned(),
    );
    let options = MessageOptions { verified: vec![(report.kustomizations[0].id(), revision(NOW))], ..options() };
    golden("not_applied", &shown(&message::root(&report, &options, true)));
}

#[test]
fn suspended_and_one_of_two_not_applied() {
    let mut report = report();
    report.verdict = Verdict::NotApplied;
    report.kustomizations[0].reason = Some("Suspended since 15 min".to_owned());
    let suspended = message::root(&report, &options(), true);

    let mut tenants = kustomization("tenants");
    tenants.attempted = Some(revision("main@sha1:9d0e1f2a23456789012345678901234567890abc"));
    tenants.applied = Some(revision(BEFORE));
    tenants.reason = Some("kustomize build failed: no such file".to_owned());
    report.kustomizations[0].reason = None;
    report.kustomizations.push(tenants);
    report.flows = three_flows();
    let one_of_two = message::root(&report, &options(), true);
    golden("not_applied_others", &format!("{}\n---\n{}", shown(&suspended), shown(&one_of_two)));
}

#[test]
fn a_kustomization_that_is_not_there_is_corrected_in_the_configuration() {
    let mut report = report();
    report.verdict = Verdict::NotApplied;
    let absent = &mut report.kustomizations[0];
    (absent.attempted, absent.applied) = (None, None);
    let status = netpol_verify::verify::applied::absent(&absent.id());
    absent.reason = status.not_applied.map(|not_applied| not_applied.message);
    let body = message::root(&report, &options(), true).plain;
    assert!(body.contains("see `kustomizations` in config.yaml"), "{body}");
    assert!(body.contains("Correct its name there, or let Flux create it.") && !body.contains("in Git"), "{body}");
}

#[test]
fn several_kustomizations_are_named() {
    let mut report = report();
    report.kustomizations.push(kustomization("tenants"));
    report.flows = three_flows();
    let same = message::root(&report, &options(), true);
    report.kustomizations[1].applied = Some(revision(BEFORE));
    report.kustomizations[1].attempted = Some(revision(BEFORE));
    let other = message::root(&report, &options(), true);
    golden("several_kustomizations", &format!("{}\n---\n{}", shown(&same), shown(&other)));
}

#[test]
fn an_older_finding_is_the_last_line_and_does_not_judge_the_merge() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    report.flows = three_flows();
    let mut old = missing_entry();
    old.new = false;
    old.since = Some(revision(BEFORE));
    old.why = Why::OpenFinding;
    old.source = sample::workload("shop/web");
    report.standing.open = vec![(old.key(), Some(revision(BEFORE)))];
    report.flows.push(old);
    let message = message::root(&report, &options(), true);
    assert!(message.mentions.is_empty() && message.notice);
    golden_run("older", &report);
}

#[test]
fn several_sorts_of_trouble_share_the_first_line() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    report.drift = vec![drift(DriftClass::Missing, PolicyRef::network_policy("shop", "web"), "is not live")];
    report.flows = three_flows();
    report.flows[0] = missing_entry();
    report.findings = vec![finding(
        FindingRule::Baseline,
        Severity::Error,
        "namespace plana-odoo-new has no default-deny-all. Add it to infra/k8s/plana-odoo-new/network-policy.yaml.",
    )];
    golden_run("mixed", &report);
}

#[test]
fn at_most_ten_findings_and_the_rest_is_counted_and_listed() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    report.findings = (1..=14)
        .map(|n| {
            finding(
                FindingRule::Baseline,
                Severity::Error,
                &format!("namespace tenant-{n:02} has no default-deny-all. Add it."),
            )
        })
        .collect();
    golden_run("many", &report);
}

#[test]
fn nothing_to_look_at_and_pending_from_before_are_never_green() {
    let mut report = report();
    report.verdict = Verdict::Nothing;
    let nothing = message::root(&report, &options(), true);
    report.verdict = Verdict::Inconclusive;
    report.standing.pending = 1;
    let pending = message::root(&report, &options(), true);
    report.flows = three_flows();
    let pending_with_flows = message::root(&report, &options(), true);
    golden(
        "never_green",
        &format!("{}\n---\n{}\n---\n{}", shown(&nothing), shown(&pending), shown(&pending_with_flows)),
    );
}

#[test]
fn recovery_and_reminder() {
    let report = report();
    let cleared = |key: &str| Cleared {
        key: key.to_owned(),
        since: Some(revision(BEFORE)),
        thread: Some("$a".to_owned()),
        wrong: false,
    };
    let recovered = message::recovery(
        &[cleared("pulse-account/api -> pulse-events/web:3001/TCP"), cleared("shop/web -> shop/db:53/UDP")],
        &report,
        &options(),
    );
    let mixed = message::recovery(
        &[cleared("drift/extra/NetworkPolicy/shop/allow-all"), cleared("a/b -> c/d:1/TCP")],
        &report,
        &options(),
    );
    let wrong = message::seen_wrong(
        &[cleared("waiting/NetworkPolicy/shop/queue egress[0]"), cleared("a/b -> c/d:1/TCP")],
        &report,
        &options(),
    );
    let open = vec![("drift/extra/NetworkPolicy/shop/allow-all".to_owned(), "opens shop to every pod".to_owned())];
    let reminder = message::reminder(&open, &report, &options());
    let all: Vec<String> = [recovered, mixed, wrong, reminder].iter().map(shown).collect();
    golden("between_merges", &all.join("\n---\n"));
}

#[test]
fn the_log_and_the_json() {
    let report = story::one_side_missing();
    golden("text", &text::to_text(&report, &options()));
    golden("json", &json::to_json(&report));
    schemas::assert_documented("report", &serde_json::from_str(&json::to_json(&report)).unwrap());
    assert_eq!(serde_json::from_str::<Report>(&json::to_json(&report)).unwrap(), report);
}
