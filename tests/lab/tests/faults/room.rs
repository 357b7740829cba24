//! What happens on the way to the room.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{
    faults::{ALWAYS, Fault, action},
    matrix::Membership,
    world::Lab,
};
use serde_json::json;

use crate::shop::{about, assert_cured, assert_green, assert_none_twice, assert_owed, assert_told_once, open, play};

const SEND: &str = "/send/m.room.message/";

/// The fault passes: the message is in the room once, in time.
fn passes(times: usize, fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.matrix.faults.add("PUT", SEND, times, fault);
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.matrix.faults.all_met(), "the fault met no request");
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_rate_limit_is_waited_out() -> Result<()> {
    row!(Green, "");
    passes(2, Fault::Limited(Duration::from_millis(300)))
}

#[test]
fn a_gateway_that_fails_twice_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(2, Fault::Status(502))
}

#[test]
fn a_reset_before_the_event_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(1, Fault::Reset)
}

#[test]
fn a_cut_after_the_event_was_stored_does_not_double_it() -> Result<()> {
    row!(Green, "");
    passes(1, Fault::DoneButCut)
}

#[test]
fn a_gateway_that_gives_up_after_the_event_was_stored_does_not_double_it() -> Result<()> {
    row!(Green, "");
    passes(1, Fault::DoneBut(504))
}

#[test]
fn a_slow_homeserver_is_waited_for() -> Result<()> {
    row!(Green, "");
    passes(2, Fault::Slow(Duration::from_secs(2)))
}

/// The fault stays for a run: the verdict stands, the message is owed, and the next run sends it.
fn owed(
    break_it: impl AsyncFnOnce(&mut Lab) -> Result<()>,
    mend: impl AsyncFnOnce(&mut Lab) -> Result<()>,
) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        break_it(lab).await?;
        let run = lab.run_for(&commit).await?;
        assert_owed(&run)?;
        ensure!(about(lab, &commit).is_empty(), "{:#?}", lab.matrix.messages());
        mend(lab).await?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_revoked_token_is_named_and_the_message_kept() -> Result<()> {
    row!(Owed, "does not accept the Matrix token");
    owed(
        async |lab| {
            lab.matrix.rotate("syt_bot_2");
            Ok(())
        },
        async |lab| lab.verifier.set_token("syt_bot_2"),
    )
}

#[test]
fn an_empty_token_is_named_and_the_message_kept() -> Result<()> {
    row!(Owed, "token is empty");
    owed(async |lab| lab.verifier.set_token(""), async |lab| lab.verifier.set_token(lab::matrix::TOKEN))
}

#[test]
fn a_bot_that_was_put_out_keeps_its_message() -> Result<()> {
    row!(Owed, "may not write to #netpol-verify:lab");
    owed(
        async |lab| {
            lab.matrix.membership(Membership::Left);
            Ok(())
        },
        // It joins by itself.
        async |lab| {
            lab.matrix.membership(Membership::Invited);
            Ok(())
        },
    )
}

#[test]
fn an_unknown_alias_is_named_and_the_message_kept() -> Result<()> {
    row!(Owed, "does not know #elsewhere:lab");
    owed(
        async |lab| lab.verifier.configure(&json!({"matrix": {"room": "#elsewhere:lab"}})),
        async |lab| lab.verifier.configure(&json!({"matrix": {"room": lab::matrix::ALIAS}})),
    )
}

#[test]
fn a_rate_limit_of_ten_minutes_is_not_waited_out() -> Result<()> {
    row!(Owed, "asks to wait for 600 s");
    owed(
        async |lab| {
            lab.matrix.faults.add("PUT", SEND, ALWAYS, Fault::Limited(Duration::from_secs(600)));
            Ok(())
        },
        async |_| Ok(()),
    )
}

#[test]
fn a_refusal_to_take_messages_keeps_the_message() -> Result<()> {
    row!(Owed, "does not know");
    owed(
        async |lab| {
            lab.matrix.faults.add("PUT", SEND, ALWAYS, Fault::Status(404));
            Ok(())
        },
        async |_| Ok(()),
    )
}

#[test]
fn a_homeserver_that_only_fails_keeps_the_message() -> Result<()> {
    row!(Owed, "500");
    owed(
        async |lab| {
            lab.matrix.faults.add("PUT", SEND, ALWAYS, Fault::Status(500));
            Ok(())
        },
        async |_| Ok(()),
    )
}

#[test]
fn a_message_that_is_too_large_is_shortened_and_attached() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.matrix.limit(700);
        let run = lab.run_for(&commit).await?;
        assert_green(&run)?;
        ensure!(about(lab, &commit).len() == 1, "{:#?}", lab.matrix.messages());
        ensure!(!lab.matrix.uploads().is_empty(), "the whole text is nowhere");
        assert_none_twice(lab)
    })
}

#[test]
fn a_token_rotated_during_the_run_is_read_again() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.matrix.rotate("syt_bot_2");
        lab.verifier.set_token("syt_bot_1")?;
        let file = lab.verifier.token_file();
        let replaced = action(move || {
            std::fs::write(&file, "syt_bot_2").expect("the token can be written");
            std::future::ready(())
        });
        lab.api.faults.add("GET", "/exec?", 1, Fault::Meanwhile(replaced));
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_message_of_unknown_outcome_is_looked_for_with_a_new_token() -> Result<()> {
    row!(Owed, "");
    play(async |lab| {
        let commit = open(lab).await?;
        // It is stored, but the run never learns it; transaction ids belong to the old token's device.
        lab.matrix.faults.add("PUT", SEND, 1, Fault::DoneButCut);
        lab.matrix.faults.later("PUT", SEND, 1, ALWAYS, Fault::Status(401));
        assert_owed(&lab.run_for(&commit).await?)?;
        lab.matrix.rotate("syt_bot_2");
        lab.verifier.set_token("syt_bot_2")?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn an_encrypted_room_still_gets_its_messages() -> Result<()> {
    row!(Green, "room is encrypted, messages are not");
    play(async |lab| {
        lab.matrix.encrypt();
        let commit = open(lab).await?;
        let run = lab.run_for(&commit).await?;
        assert_green(&run)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn messages_of_two_merges_are_sent_in_their_order() -> Result<()> {
    row!(Owed, "");
    play(async |lab| {
        let first = open(lab).await?;
        lab.matrix.faults.add("PUT", SEND, ALWAYS, Fault::Status(401));
        assert_owed(&lab.run_for(&first).await?)?;
        lab.git.write("README.md", "How we do things here\n");
        let second = lab.merge("Write a README").await?;
        assert_owed(&lab.run_for(&second).await?)?;
        lab.matrix.faults.clear();
        assert_cured(lab, &second).await?;
        let order: Vec<_> = lab.matrix.top().iter().map(|one| one.first_line().to_owned()).collect();
        ensure!(about(lab, &first).len() == 1 && about(lab, &second).len() == 1, "{order:?}");
        let told = [&first, &second].map(|commit| about(lab, commit)[0].first_line().to_owned());
        ensure!(order == told, "{order:?}");
        Ok(())
    })
}
