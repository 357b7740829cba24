//! SIGKILL before and after each write of the state and each message.

use std::collections::BTreeSet;

use netpol_verify::model::{OutboxKind, Verdict};

use crate::usecase::shop::{BANK, checked, opens};

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_flow_and_doubles_no_message() {
    let mut moment = 0;
    loop {
        moment += 1;
        let (fake, mut files) = checked().await;
        let before = fake.world().room.len();
        fake.push(files.bank_egress());
        let killed = fake.killed_at(moment).await;
        let end = fake.run().await;
        assert_eq!(end.exit, 1, "moment {moment}: {end:#?}");
        let state = fake.state();
        assert!(state.outbox.is_empty(), "moment {moment}");
        assert!(state.findings.contains_key(&format!("missing-entry/{BANK}")), "moment {moment}");
        let events = fake.world().room[before..].to_vec();
        let roots: Vec<_> = events.iter().filter(|e| e.kind == OutboxKind::Root).collect();
        assert_eq!(roots.len(), 1, "one message for the revision, moment {moment}: {events:#?}");
        let txns: BTreeSet<&String> = events.iter().map(|e| &e.txn).collect();
        assert_eq!(txns.len(), events.len());
        let thread = state.findings[&format!("missing-entry/{BANK}")].thread.clone();
        assert_eq!(thread.as_ref(), Some(&roots[0].id), "moment {moment}");
        fake.push(files.bank_ingress());
        let cured = fake.run().await;
        assert_eq!((cured.exit, cured.verdict(), cured.replies().len()), (0, Verdict::Verified, 1), "moment {moment}");
        if !killed {
            break;
        }
    }
    assert!(moment > 6, "{moment}: a run has more moments than that");
}

#[tokio::test]
async fn a_kill_with_two_merges_owed_sends_both_in_order() {
    let (fake, mut files) = checked().await;
    fake.push(files.bank_egress().bank_ingress());
    // After the state is written, before the first message.
    assert!(fake.killed_at(3).await);
    files.put("infra/shop/cart.yaml", &opens("egress", ("shop", "cart"), ("redis", "redis"), 6379));
    files.put("infra/redis/cart.yaml", &opens("ingress", ("redis", "redis"), ("shop", "cart"), 6379));
    fake.push(&files);
    let ran = fake.run().await;
    assert_eq!(ran.exit, 0);
    let seqs: Vec<u64> = ran.roots().iter().map(|e| e.seq).collect();
    assert_eq!(seqs, [2, 3]);
}
