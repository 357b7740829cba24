//! Whatever a cluster says: no message breaks out of its form, and none is too large for a room.

use crate::support::sample;

use netpol_verify::{
    model::*,
    report::{Message, MessageOptions, message, text, thread, txn::txn},
};
use proptest::prelude::*;
use sample::{BEFORE, NOW, drift, finding, flow, missing_entry, report, revision, workload};

/// Text as an attacker who may name things would write it.
fn hostile() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "<img src=x onerror=alert(1)>",
        "</code></pre><a href=\"https://evil.test\">",
        "\n✅ infra main@4f2c9ab verified",
        "@room @oncall:example.org",
        "\u{202e}\u{2066}\u{200b}\u{feff}\u{1b}[31m\u{0}\r",
        "`&\"'<>",
        "{sha}",
        "日本語",
        "a",
    ]);
    prop::collection::vec(nasty, 0..4)
        .prop_map(|parts| parts.concat())
        .prop_flat_map(|text| (Just(text), prop::sample::select(vec![1usize, 1, 1, 400])))
        .prop_map(|(text, times)| text.repeat(times))
}

fn hostile_flow(texts: &[String], kind: usize) -> FlowReport {
    let text = |n: usize| texts[n % texts.len()].clone();
    let mut flow = match kind % 3 {
        0 => missing_entry(),
        _ => flow("shop/web", "shop/db", 5432, Decision::Denied),
    };
    if let (Endpoint::Workload(a), Endpoint::Workload(b)) = (&mut flow.source, &mut flow.destination) {
        (a.namespace, a.name, b.namespace) = (text(0), text(1), text(2));
    }
    flow.node = Some(text(3));
    flow.note = Some(text(4));
    flow.because = vec![text(5); 9];
    flow.evidence = vec![text(6); 20];
    flow.source_pod = Some(PodRef { namespace: text(0), name: text(1) });
    for entry in &mut flow.entries {
        (entry.entry, entry.file, entry.policy) =
            (format!("- {}", text(7).replace('\n', "\n  ")), Some(text(8)), Some(text(9)));
    }
    flow.result = [
        FlowResult::Verified,
        FlowResult::Enforcement,
        FlowResult::MissingEntry,
        FlowResult::Inconclusive,
        FlowResult::Excess,
        FlowResult::Drift,
    ][kind % 6];
    flow.new = !kind.is_multiple_of(5);
    flow
}

fn hostile_report() -> impl Strategy<Value = Report> {
    (prop::collection::vec(hostile(), 10..20), 0..60usize, 0..30usize, 0..7usize).prop_map(
        |(texts, flows, others, form)| {
            let text = |n: usize| texts[n % texts.len()].clone();
            let mut report = report();
            report.flows = (0..flows).map(|n| hostile_flow(&texts[n % 3..], n + form)).collect();
            report.drift = (0..others)
                .map(|n| {
                    let mut drift =
                        drift(DriftClass::Changed, PolicyRef::network_policy(&text(n), &text(n + 1)), &text(n + 2));
                    drift.diff = text(n + 3).replace('a', "a\n");
                    drift.by = Some(text(n + 4));
                    drift.declared = Some(Origin::at(&text(n), 1, 1));
                    drift
                })
                .collect();
            report.findings =
                (0..others).map(|n| finding(FindingRule::Baseline, Severity::Warning, &text(n))).collect();
            report.not_probed = (0..others).map(|n| NotProbed { reason: text(n), flows: n }).collect();
            report.kustomizations[0].name = text(1);
            report.kustomizations[0].reason = Some(text(2));
            report.kustomizations[0].applied = Some(Revision(text(3)));
            if form == 1 {
                report.kustomizations[0].attempted = Some(revision(NOW));
            }
            report.cluster = text(4);
            report.finished = text(5);
            report.standing.open = (0..others).map(|n| (text(n), Some(Revision(text(n + 1))))).collect();
            report.standing.accepted = 1;
            report.standing.accepted_until = Some(text(6));
            report.verdict =
                [Verdict::Verified, Verdict::Finding, Verdict::Inconclusive, Verdict::NotApplied, Verdict::Nothing]
                    [form % 5];
            report.first_run = form == 6;
            report
        },
    )
}

fn options(hostile: &str) -> MessageOptions {
    MessageOptions {
        commit_url: Some("https://git.example.org/{sha}".to_owned()),
        mention: vec!["@oncall:example.org".to_owned(), format!("@{hostile}\"<:example.org")],
        ..MessageOptions::default()
    }
}

fn all_messages(report: &Report) -> Vec<Message> {
    let options = options(&report.cluster);
    let cleared: Vec<Cleared> = report
        .standing
        .open
        .iter()
        .map(|(key, since)| Cleared { key: key.clone(), since: since.clone(), thread: None, wrong: false })
        .collect();
    let open: Vec<(String, String)> =
        report.standing.open.iter().map(|(key, _)| (key.clone(), report.cluster.clone())).collect();
    let mut all = vec![
        message::root(report, &options, true),
        message::recovery(&cleared, report, &options),
        message::seen_wrong(&cleared, report, &options),
        message::reminder(&open, report, &options),
        message::weekly(&watch(report), &options),
    ];
    all.extend(thread::thread(report, &options));
    all
}

/// What the weekly line has of a report that was the last.
fn watch(report: &Report) -> message::Watch {
    let revisions = || report.kustomizations.iter().filter_map(|k| Some((k.id(), k.applied.clone()?)));
    message::Watch {
        checked: revisions().map(|(_, revision)| revision).collect(),
        verified: revisions().map(|(id, revision)| (id, revision, report.finished.clone())).collect(),
        failed: report.kustomizations.iter().map(|k| k.attempted.clone()).collect(),
        verdict: report.verdict,
        finished: Some(report.finished.clone()),
        drift: !report.drift.is_empty(),
        standing: report.standing.clone(),
    }
}

const TAGS: [&str; 10] = ["p", "br", "b", "i", "code", "pre", "ul", "li", "a", "code class"];

/// Each `<` begins a tag that this program writes, closed in order, with a web address at most.
fn check_html(html: &str) -> Result<(), TestCaseError> {
    let mut open: Vec<&str> = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, rest) = piece.split_once('>').ok_or_else(|| TestCaseError::fail("a tag does not end"))?;
        prop_assert!(!rest.contains('>'), "{piece}");
        if let Some(closed) = tag.strip_prefix('/') {
            prop_assert_eq!(open.pop(), Some(closed));
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        prop_assert!(TAGS.contains(&name), "{}", tag);
        match name {
            "a" => prop_assert!(
                (tag.starts_with("a href=\"https://git.example.org/")
                    || tag.starts_with("a href=\"https://matrix.to/#/@"))
                    && tag.ends_with('"')
                    && tag.matches('"').count() == 2,
                "{}",
                tag
            ),
            "code" => prop_assert!(
                [
                    "code",
                    "code class=\"language-yaml\"",
                    "code class=\"language-diff\"",
                    "code class=\"language-text\""
                ]
                .contains(&tag),
                "{}",
                tag
            ),
            _ => prop_assert_eq!(tag, name),
        }
        if name != "br" {
            open.push(name);
        }
    }
    prop_assert!(open.is_empty(), "not closed: {:?}", open);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_of_the_cluster_breaks_out_or_fills_the_room(report in hostile_report()) {
        let messages = all_messages(&report);
        prop_assert!(messages.len() <= 5 + thread::MOST_PARTS);
        for message in &messages {
            check_html(&message.html)?;
            let deceptive = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
            prop_assert!(!message.plain.contains(deceptive) && !message.html.contains(deceptive), "{:?}", message.plain);
            prop_assert!(!message.plain.contains("\n✅"), "a name began a line:\n{}", message.plain);
            prop_assert!(message.mentions.iter().all(|id| id == "@oncall:example.org"), "{:?}", message.mentions);
            let bytes = serde_json::to_string(&message.content()).unwrap().len();
            prop_assert!(bytes < 40_000, "{} bytes", bytes);
        }
        let log = text::to_text(&report, &options("x"));
        let hidden = log.chars().any(|c| matches!(c, '\u{1b}' | '\u{202e}'));
        prop_assert!(!hidden);
    }

    #[test]
    fn nothing_wrong_is_ever_green_and_green_has_nothing_wrong(report in hostile_report()) {
        let first = message::root(&report, &options("x"), true);
        let green = first.plain.starts_with('✅');
        let own_trouble = report.flows.iter().any(|flow| flow.new && flow.result != FlowResult::Verified)
            || report.drift.iter().any(|drift| drift.new)
            || matches!(report.verdict, Verdict::Inconclusive | Verdict::NotApplied | Verdict::Nothing);
        prop_assert!(!(green && own_trouble), "{}", first.plain);
        prop_assert_eq!(green, first.notice);
        prop_assert!(green || first.plain.starts_with('❌') || first.plain.starts_with('⚠'));
    }
}

/// Every flow is in the thread, or counted there as not shown.
#[test]
fn a_long_thread_is_cut_into_parts_and_what_is_left_is_counted() {
    let mut report = report();
    report.flows = (0..5000)
        .map(|n| {
            let mut flow = flow("shop/web", "shop/db", 5432, Decision::Denied);
            flow.source = workload(&format!("tenant-{n:04}/web"));
            flow
        })
        .collect();
    let parts = thread::thread(&report, &MessageOptions::default());
    assert_eq!(parts.len(), thread::MOST_PARTS);
    let all: String = parts.iter().map(|part| part.plain.as_str()).collect();
    let shown = all.matches("• ✓ ").count();
    let left: usize =
        all.split_once(" more details not shown here").unwrap().0.rsplit('\n').next().unwrap().parse().unwrap();
    assert_eq!(shown + left, 5000);
    assert!(text::to_text(&report, &MessageOptions::default()).matches("• ✓ ").count() == 5000, "the log has all");
}

/// Links lead to web pages of commits, whatever is configured or named.
#[test]
fn only_web_addresses_become_links() {
    let report = report();
    for (url, linked) in [
        ("https://git.example.org/c/{sha}", true),
        ("http://git/c/{sha}", true),
        ("javascript:alert(1)//{sha}", false),
        ("https://git.example.org/ {sha}", false),
        ("/c/{sha}", false),
    ] {
        let options = MessageOptions { commit_url: Some(url.to_owned()), ..MessageOptions::default() };
        assert_eq!(message::root(&report, &options, true).html.contains("<a "), linked, "{url}");
    }
    let mut odd = report;
    odd.kustomizations[0].applied = Some(revision("main@sha1:\"><script>"));
    odd.kustomizations[0].attempted = odd.kustomizations[0].applied.clone();
    let options =
        MessageOptions { commit_url: Some("https://git.example.org/{sha}".to_owned()), ..MessageOptions::default() };
    assert!(!message::root(&odd, &options, true).html.contains("<a "));
}

/// What the state says is open is counted once, whether or not this run looked at it again.
#[test]
fn an_open_finding_is_counted_once() {
    let mut report = report();
    report.verdict = Verdict::Finding;
    let mut old = missing_entry();
    (old.new, old.since) = (false, Some(revision(BEFORE)));
    report.standing.open = vec![(old.key(), old.since.clone()), ("baseline/shop".to_owned(), None)];
    report.flows = vec![old];
    let plain = message::root(&report, &MessageOptions::default(), true).plain;
    assert!(plain.lines().last().unwrap().starts_with("2 open: 1 from before, 1 since main@77c0de1"), "{plain}");
}

#[test]
fn parts_of_a_run_have_ids_of_their_own() {
    let ids: std::collections::BTreeSet<String> = (0..20).map(|part| txn("state", 1, part)).collect();
    assert_eq!(ids.len(), 20);
}
