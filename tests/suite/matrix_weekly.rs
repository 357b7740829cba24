//! The weekly line, word for word.

use netpol_verify::{
    model::*,
    report::message::{self, Watch},
};

use crate::{
    matrix_golden::{golden, shown},
    support::{
        sample::{BEFORE, NOW, revision},
        story::options,
    },
};

/// A week in which all is well.
fn quiet_week() -> Watch {
    let id = KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() };
    Watch {
        checked: vec![revision(NOW)],
        verified: vec![(id, revision(NOW), "2026-11-16T07:40:12Z".to_owned())],
        failed: Vec::new(),
        verdict: Verdict::Verified,
        finished: Some("2026-11-23T08:00:31Z".to_owned()),
        drift: false,
        standing: Standing { waiting: 2, unprobeable: 1, accepted: 1, ..Standing::default() },
    }
}

/// What is open, in a cluster of two Kustomizations.
fn red_week() -> Watch {
    let mut red = quiet_week();
    let id = KustomizationRef { namespace: "flux-system".to_owned(), name: "tenants".to_owned() };
    red.verified[0].1 = revision(BEFORE);
    red.verified.push((id, revision(NOW), "2026-11-16T07:40:12Z".to_owned()));
    red.standing.open = vec![("x".to_owned(), Some(revision(BEFORE))), ("y".to_owned(), None)];
    red.standing.pending = 1;
    Watch { verdict: Verdict::Finding, drift: true, ..red }
}

#[test]
fn the_weekly_line() {
    let failed = vec![Some(revision("main@sha1:9d0e1f2a23456789012345678901234567890abc"))];
    let standing = || Standing { pending: 1, ..Standing::default() };
    let not_applied = Watch { failed, verdict: Verdict::NotApplied, standing: Standing::default(), ..quiet_week() };
    let unsure = Watch { verdict: Verdict::Inconclusive, standing: standing(), ..quiet_week() };
    let never = Watch { checked: Vec::new(), verified: Vec::new(), finished: None, ..unsure.clone() };
    let accepted_drift = Watch { drift: true, ..quiet_week() };
    let all = [quiet_week(), accepted_drift, red_week(), not_applied, unsure, never]
        .map(|watch| shown(&message::weekly(&watch, &options())));
    assert!(all.iter().all(|text| text.starts_with("m.notice to []")));
    let green: Vec<bool> = all.iter().map(|text| text.contains('✅')).collect();
    assert_eq!(green, [true, true, false, false, false, false]);
    golden("weekly", &all.join("\n---\n"));
}
