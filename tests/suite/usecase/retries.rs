//! Flux tries a failed apply again and again: people are told once, and once more when it is over.

use std::time::Duration;

use netpol_verify::model::{NotApplied, Trigger, Unseen, Verdict};

use crate::usecase::{
    fake::{Fake, revision},
    shop::{BANK, checked},
};

/// Flux cannot apply revision 2, since so many minutes.
fn fails(fake: &Fake, reason: &str, minutes: i64) {
    let now: jiff::Timestamp = fake.world().now().parse().unwrap();
    let since = now - jiff::SignedDuration::from_mins(minutes);
    fake.kustomization(|k| {
        k.status.attempted = Some(revision(2));
        k.status.not_applied = Some(NotApplied {
            attempted: Some(revision(2)),
            reason: reason.to_owned(),
            message: format!("because of {reason}"),
            final_: false,
            since: Some(since.to_string()),
        });
    });
}

#[tokio::test]
async fn an_apply_that_fails_for_two_reasons_by_turns_is_told_once_for_each() {
    let (fake, _) = checked().await;
    let mut told = Vec::new();
    // Between two tries Flux says that it is at it, since a moment.
    for (reason, minutes) in [
        ("ReconciliationFailed", 60),
        ("Progressing", 0),
        ("ReconciliationFailed", 60),
        ("HealthCheckFailed", 60),
        ("Progressing", 0),
        ("ReconciliationFailed", 60),
        ("HealthCheckFailed", 60),
    ] {
        fails(&fake, reason, minutes);
        let ran = fake.scheduled().await;
        assert_eq!((ran.exit, ran.verdict()), (3, Verdict::NotApplied), "{ran:#?}");
        told.extend(ran.roots().iter().map(|root| root.first_line().to_owned()));
    }
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("ReconciliationFailed") && told[1].contains("HealthCheckFailed"), "{told:#?}");
}

#[tokio::test]
async fn the_end_of_a_failed_apply_is_told_also_where_the_revision_is_checked_already() {
    let (fake, _) = checked().await;
    fails(&fake, "ReconciliationFailed", 60);
    let ran = fake.run().await;
    assert_eq!(ran.roots().len(), 1, "{ran:#?}");
    fake.pass(Duration::from_secs(600));
    // Git goes back to what is applied.
    fake.kustomization(|k| {
        k.status.attempted = Some(revision(1));
        k.status.not_applied = None;
    });
    let well = fake.run().await;
    assert_eq!((well.exit, well.roots().len()), (0, 0), "{well:#?}");
    assert_eq!(well.report.as_ref().unwrap().trigger, Trigger::Merge);
    assert_eq!(well.replies().len(), 1, "{well:#?}");
    assert_eq!(well.replies()[0].thread.as_deref(), Some(ran.root().id.as_str()));
    assert!(fake.state().failed.is_empty());
    // The control: with nothing left to tell, a merge run of a checked revision has nothing to do.
    assert!(fake.run().await.report.is_none());
}

/// The room was told that a flow could not be verified, by a run that ended as verified.
#[tokio::test]
async fn a_retry_that_shows_a_flow_to_be_beyond_any_probe_is_not_verified_and_says_so_once() {
    let (fake, mut files) = checked().await;
    // Nobody answers, and nobody else may ask: it may come back.
    fake.pod_of("bank/api", |p| p.listens.clear());
    fake.world().rejects = true;
    fake.world().deny_action = Some("Reject".to_owned());
    fake.push(files.bank_egress().bank_ingress());
    let merge = fake.run().await;
    assert_eq!((merge.exit, merge.flow(BANK).state), (3, Some(Unseen::Pending)), "{merge:#?}");
    fake.pod_of("shop/web", |p| p.has_nc = false);
    let retry = fake.scheduled().await;
    assert_eq!((retry.exit, retry.verdict(), retry.roots().len()), (3, Verdict::Inconclusive, 1), "{retry:#?}");
    assert_eq!(retry.flow(BANK).state, Some(Unseen::Unprobeable));
    let counted = fake.scheduled().await;
    assert_eq!((counted.exit, counted.events.len()), (0, 0), "{counted:#?}");
}
