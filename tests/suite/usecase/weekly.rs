//! The weekly line.

use std::time::Duration;

use netpol_verify::model::OutboxKind;

use crate::usecase::{
    fake::{Fake, Ran},
    shop::{BANK, Files, checked, cluster},
};

const DAY: Duration = Duration::from_secs(86_400);

/// The clock begins on Friday 2026-11-20 at 09:00: the first Monday is three days away.
fn turn_on(fake: &Fake) {
    let config = fake.config.lock().unwrap().replace("mention:", "weekly: \"Mon 08:00\", mention:");
    *fake.config.lock().unwrap() = config;
}

async fn installed() -> (Fake, Files) {
    let (fake, files) = (cluster(), Files::base());
    turn_on(&fake);
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.events.len(), lines(&ran).len()), (0, 2, 0), "not at once: {ran:#?}");
    (fake, files)
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.events.iter().filter(|e| e.body.contains("is still watched")).map(|e| e.body.as_str()).collect()
}

#[tokio::test]
async fn the_first_run_after_the_moment_says_once_that_all_is_watched() {
    let (fake, _) = installed().await;
    fake.pass(2 * DAY);
    assert_eq!(fake.scheduled().await.events.len(), 0, "Sunday");
    fake.pass(DAY);
    let monday = fake.scheduled().await;
    assert_eq!((monday.exit, monday.events.len()), (0, 1), "{monday:#?}");
    assert_eq!(
        monday.root().body,
        "✅ infra main@0000001 is still watched: no drift, nothing open\n\
         Verified: main@0000001 at 2026-11-23 09:03:04 UTC; the last run ended 2026-11-23 09:03:04 UTC"
    );
    assert!(!monday.root().mentions);
    for days in [1, 5, 1] {
        assert_eq!(fake.scheduled().await.events.len(), 0, "once a week");
        fake.pass(days * DAY);
    }
    assert_eq!(lines(&fake.scheduled().await).len(), 1, "the next week");
}

#[tokio::test]
async fn a_run_without_anything_to_look_at_sends_it_too() {
    let (fake, _) = installed().await;
    fake.pass(3 * DAY);
    let ran = fake.run().await;
    assert_eq!((ran.exit, ran.note.as_str(), lines(&ran).len()), (0, "already checked: verified", 1), "{ran:#?}");
    assert!(ran.report.is_none());
    assert_eq!(fake.run().await.events.len(), 0);
    fake.pass(7 * DAY);
    let next = fake.run().await;
    assert_eq!(lines(&next).len(), 1, "no run wrote in between: {next:#?}");
}

#[tokio::test]
async fn another_message_stands_for_it() {
    let (fake, mut files) = installed().await;
    fake.pass(3 * DAY);
    fake.push(files.bank_egress().bank_ingress());
    let merge = fake.run().await;
    assert_eq!((merge.roots().len(), lines(&merge).len()), (1, 0), "{merge:#?}");
    assert_eq!(fake.scheduled().await.events.len(), 0);
}

#[tokio::test]
async fn it_never_sounds_green_over_an_open_finding_and_mentions_nobody() {
    let (fake, mut files) = installed().await;
    fake.push(files.bank_egress());
    let red = fake.run().await;
    assert_eq!(red.exit, 1);
    fake.pass(3 * DAY);
    let monday = fake.scheduled().await;
    let said = lines(&monday);
    assert_eq!(said.len(), 1, "{monday:#?}");
    assert!(said[0].starts_with("⚠️ infra main@0000002 is still watched: 1 finding open"), "{}", said[0]);
    assert!(said[0].ends_with("1 open since main@0000002"), "{}", said[0]);
    assert!(said[0].contains("Verified: main@0000001 at "), "{}", said[0]);
    assert!(monday.events.iter().all(|e| !e.mentions));
    // The thread of the red is still its own message.
    let finding = fake.state().findings[&format!("missing-entry/{BANK}")].clone();
    assert_eq!(finding.thread.as_ref(), Some(&red.root().id));
    assert_eq!(fake.state().trouble.unwrap().event.as_ref(), Some(&red.root().id));
}

#[tokio::test]
async fn a_failed_apply_is_no_quiet_week() {
    let (fake, _) = installed().await;
    fake.merge_fails("ReconciliationFailed", "it is invalid");
    assert_eq!(fake.run().await.exit, 3);
    fake.pass(3 * DAY);
    let monday = fake.scheduled().await;
    assert!(
        lines(&monday)[0].starts_with("⚠️ infra main@0000001 is still watched: main@0000002 was not applied"),
        "{monday:#?}"
    );
}

#[tokio::test]
async fn without_a_moment_nothing_is_said_and_turning_it_on_does_not_say_it_at_once() {
    let (fake, _) = checked().await;
    fake.pass(20 * DAY);
    assert_eq!(fake.scheduled().await.events.len(), 0);
    assert_eq!(fake.state().last_weekly, None);
    turn_on(&fake);
    assert_eq!(fake.scheduled().await.events.len(), 0);
    fake.pass(7 * DAY);
    assert_eq!(lines(&fake.scheduled().await).len(), 1);
}

#[tokio::test]
async fn a_kill_at_any_moment_neither_loses_nor_doubles_it() {
    for quick in [false, true] {
        let mut moment = 0;
        loop {
            moment += 1;
            let (fake, files) = installed().await;
            fake.pass(3 * DAY);
            let quiet = fake.config.lock().unwrap().replace("weekly:", "quietMerges: false, weekly:");
            *fake.config.lock().unwrap() = quiet;
            if !quick {
                // A merge that touches no policy, whose line is turned off.
                fake.push(&files);
            }
            let before = fake.world().room.len();
            let killed = fake.killed_at(moment).await;
            fake.scheduled().await;
            fake.scheduled().await;
            let events = fake.world().room[before..].to_vec();
            assert_eq!(events.len(), 1, "quick {quick} moment {moment}: {events:#?}");
            assert!(events[0].body.contains("is still watched") && events[0].kind == OutboxKind::Root);
            assert!(fake.state().outbox.is_empty());
            if !killed {
                break;
            }
        }
        assert!(moment > 4, "{moment}");
    }
}
