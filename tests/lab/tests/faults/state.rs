//! What happens to the state and to the Lease.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{
    api::{Api, Refusal, object::text},
    faults::{ALWAYS, Fault, action},
    world::NAMESPACE,
};
use serde_json::{Value, json};

use crate::shop::{
    STATE, about, assert_cured, assert_green, assert_not_told, assert_says, assert_told_once, close, open, play, state,
    version,
};

const STATES: &str = "/configmaps/netpol-verify-state";

/// A write whose answer is lost, or that fails once: the run must know whether it was done.
fn written(fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("PUT", STATES, 1, fault);
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_write_of_the_state_that_is_done_but_cut_counts() -> Result<()> {
    written(Fault::DoneButCut)
}

#[test]
fn a_write_of_the_state_that_is_done_but_answered_500_counts() -> Result<()> {
    written(Fault::DoneBut(500))
}

#[test]
fn a_write_of_the_state_that_is_done_but_answered_504_counts() -> Result<()> {
    written(Fault::DoneBut(504))
}

#[test]
fn a_state_that_cannot_be_written_sends_nothing() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("PUT", STATES, ALWAYS, Fault::Status(500));
        assert_not_told(&lab.run_for(&commit).await?)?;
        ensure!(about(lab, &commit).is_empty(), "a message without its state would be sent again");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_state_that_cannot_be_written_after_the_message_sends_it_no_second_time() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.later("PUT", STATES, 1, ALWAYS, Fault::Status(500));
        assert_not_told(&lab.run_for(&commit).await?)?;
        ensure!(about(lab, &commit).len() == 1, "the message went out before");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_state_that_cannot_be_read_is_not_told() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", STATES, ALWAYS, Fault::Status(500));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        assert_says(&run, "could not get ConfigMap netpol-verify/netpol-verify-state")?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

/// Somebody else's write of the state.
fn touch(api: &Arc<Api>) -> Result<(), Refusal> {
    let label = json!({"metadata": {"namespace": NAMESPACE, "name": STATE, "labels": {"touched": "yes"}}});
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    e2e::flux::merge(&mut object, &label);
    api.apply(&object).map(drop)
}

#[test]
fn a_state_that_somebody_else_wrote_is_not_overwritten() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let api = Arc::clone(&lab.api);
        let meanwhile = action(move || {
            touch(&api).expect("the state is there");
            std::future::ready(())
        });
        lab.api.faults.add("PUT", STATES, 1, Fault::Meanwhile(meanwhile));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        assert_says(&run, "was changed by somebody else during this run")?;
        ensure!(text(&state(lab)?, "/metadata/labels/touched") == "yes", "the other write is lost");
        ensure!(about(lab, &commit).is_empty(), "what is not in the state is not sent");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

/// A state that this program cannot read stays as it is, for somebody to look at.
fn kept(change: impl Fn(&mut Value) + Send + Sync, words: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let mut object = state(lab)?;
        change(&mut object);
        let kind = lab.api.kind_of(&object).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let updated = lab.api.store(|store| store.update(&kind, NAMESPACE, STATE, object, false));
        updated.map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let before = version(lab)?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        assert_says(&run, words)?;
        ensure!(version(lab)? == before, "it was written over");
        ensure!(lab.matrix.messages().is_empty(), "nothing can be told without it");
        Ok(())
    })
}

#[test]
fn a_corrupted_state_is_kept() -> Result<()> {
    kept(|object| object["binaryData"]["state.json.gz"] = json!("bm90IGEgc3RhdGU="), "restore it, or delete")
}

#[test]
fn a_state_that_is_gone_beside_its_summary_is_said() -> Result<()> {
    kept(|object| object["binaryData"] = json!({}), "has a summary but no state.json.gz")
}

#[test]
fn a_deleted_state_is_a_first_run() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let kind = lab.api.kind_of(&state(lab)?).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        lab.api
            .store(|store| store.delete(&kind, NAMESPACE, STATE))
            .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")?;
        ensure!(about(lab, &commit)[0].body.contains("first state taken"), "{:?}", about(lab, &commit));
        Ok(())
    })
}

fn lease(holder: &str, seconds: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": NAMESPACE, "name": "netpol-verify"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": "2020-01-01T00:00:00.000000Z"},
    })
}

#[test]
fn a_lease_whose_holder_is_gone_is_taken_over() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.put(&lease("somebody_gone", 2))?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_from_a_clock_far_ahead_is_taken_over_too() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let mut ahead = lease("somebody_ahead", 1);
        ahead["spec"]["renewTime"] = json!("2099-01-01T00:00:00.000000Z");
        lab.put(&ahead)?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_that_somebody_keeps_is_waited_for_and_named() -> Result<()> {
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "1s"}, "flux": {"wait": "2s"}}))?;
        let commit = open(lab).await?;
        lab.put(&lease("somebody_else", 600))?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        assert_says(&run, "was held by `somebody_else`")?;
        lab.put(&lease("", 1))?;
        lab.verifier.configure(&json!({"probe": {"deadline": "600s"}}))?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_lost_during_the_run_leaves_the_answer_to_the_other_run() -> Result<()> {
    play(async |lab| {
        let commit = close(lab).await?;
        let before = version(lab)?;
        let api = Arc::clone(&lab.api);
        let taken = action(move || {
            api.apply(&lease("somebody_faster", 2)).expect("a Lease can be taken");
            std::future::ready(())
        });
        lab.api.faults.add("GET", "/exec?", 1, Fault::Meanwhile(taken));
        let run = lab.run_for(&commit).await?;
        ensure!(run.code == Some(3), "exit {:?}\n{}", run.code, run.log);
        assert_says(&run, "the Lease was lost during the run")?;
        ensure!(version(lab)? == before && about(lab, &commit).is_empty(), "it wrote or sent without the Lease");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn two_verifiers_at_once_tell_once() -> Result<()> {
    play(async |lab| {
        let commit = close(lab).await?;
        let (one, two) = (lab.start_for(&commit)?, lab.start_for(&commit)?);
        let (one, two) = tokio::try_join!(one.wait(), two.wait())?;
        ensure!((one.code, two.code) == (Some(0), Some(0)), "{:?} {:?}\n{}\n{}", one.code, two.code, one.log, two.log);
        ensure!(one.report().is_ok() != two.report().is_ok(), "one of the two did the work");
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_slow_api_server_loses_no_lease() -> Result<()> {
    play(async |lab| {
        let commit = close(lab).await?;
        lab.api.faults.add("PUT", "/leases/", 3, Fault::Slow(Duration::from_millis(400)));
        let run = lab.run_for(&commit).await.context("slow Lease")?;
        assert_green(&run)?;
        assert_told_once(lab, &commit, "✅")
    })
}
