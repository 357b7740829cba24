//! What happens to the state and to the Lease.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use k8s_openapi::ByteString;
use lab::{
    api::{Api, Refusal, object::text},
    faults::{ALWAYS, Fault, action},
    world::NAMESPACE,
};
use serde_json::{Value, json};

use crate::shop::{
    STATE, about, assert_cured, assert_green, assert_not_told, assert_told_once, close, open, play, state, version,
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
    row!(Green, "");
    written(Fault::DoneButCut)
}

#[test]
fn a_write_of_the_state_that_is_done_but_answered_500_counts() -> Result<()> {
    row!(Green, "");
    written(Fault::DoneBut(500))
}

#[test]
fn a_write_of_the_state_that_is_done_but_answered_504_counts() -> Result<()> {
    row!(Green, "");
    written(Fault::DoneBut(504))
}

#[test]
fn a_state_that_cannot_be_written_sends_nothing() -> Result<()> {
    row!(Untold, "could not");
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
    row!(Owed, "could not");
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
    row!(Untold, "could not get ConfigMap netpol-verify/netpol-verify-state");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", STATES, ALWAYS, Fault::Status(500));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
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
    row!(Untold, "was changed by somebody else during this run");
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
        ensure!(text(&state(lab)?, "/metadata/labels/touched") == "yes", "the other write is lost");
        ensure!(about(lab, &commit).is_empty(), "what is not in the state is not sent");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

/// A state that this program cannot read stays as it is, for somebody to look at.
fn kept(change: impl Fn(&mut Value) + Send + Sync) -> Result<()> {
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
        ensure!(version(lab)? == before, "it was written over");
        ensure!(lab.matrix.messages().is_empty(), "nothing can be told without it");
        Ok(())
    })
}

#[test]
fn a_corrupted_state_is_kept() -> Result<()> {
    row!(Untold, "restore it, or delete");
    kept(|object| object["binaryData"]["state.json.gz"] = json!("bm90IGEgc3RhdGU="))
}

#[test]
fn a_state_that_is_gone_beside_its_summary_is_said() -> Result<()> {
    row!(Untold, "has a summary but no state.json.gz");
    kept(|object| object["binaryData"] = json!({}))
}

/// The state as JSON, changed.
pub fn rewritten(object: &mut Value, change: impl Fn(&mut Value)) -> Result<()> {
    let field = &mut object["binaryData"]["state.json.gz"];
    let ByteString(packed) = serde_json::from_value(field.take())?;
    let mut state: Value = serde_json::from_reader(GzDecoder::new(packed.as_slice()))?;
    change(&mut state);
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(state.to_string().as_bytes())?;
    *field = serde_json::to_value(ByteString(packer.finish()?))?;
    Ok(())
}

/// A state that another version wrote, and that is read all the same.
fn read_all_the_same(change: impl Fn(&mut Value)) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let mut object = state(lab)?;
        rewritten(&mut object, &change)?;
        lab.put(&object)?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")?;
        let told = &about(lab, &commit)[0].body;
        ensure!(!told.contains("first state taken"), "what was checked before is forgotten: {told}");
        Ok(())
    })
}

#[test]
fn a_state_of_an_older_version_without_later_fields_is_read() -> Result<()> {
    row!(Green, "");
    read_all_the_same(|state| {
        let oldest = ["version", "id", "seq", "checked"];
        state.as_object_mut().expect("it is a map").retain(|key, _| oldest.contains(&key.as_str()));
    })
}

#[test]
fn a_state_of_a_newer_version_with_more_fields_is_read() -> Result<()> {
    row!(Green, "");
    read_all_the_same(|state| {
        (state["ofTomorrow"], state["checked"]["ofTomorrow"]) = (json!({"a": 1}), json!([]));
    })
}

#[test]
fn a_state_of_a_newer_layout_is_kept() -> Result<()> {
    row!(Untold, "run the newer program that wrote it");
    kept(|object| rewritten(object, |state| state["version"] = json!(2)).expect("it is a state"))
}

#[test]
fn a_state_that_unpacks_to_nothing_known_is_kept() -> Result<()> {
    row!(Untold, "the state is damaged");
    kept(|object| rewritten(object, |state| *state = json!([])).expect("it is a state"))
}

#[test]
fn a_state_that_becomes_too_large_is_kept_and_said() -> Result<()> {
    row!(Untold, "the state does not fit into ConfigMap");
    // Digits that do not pack, in a field that stays.
    let mut seed = 1_u64;
    let mut digit = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        char::from_digit((seed >> 32 & 15) as u32, 16).expect("it is below 16")
    };
    let id: String = (0..1_760_000).map(|_| digit()).collect();
    kept(move |object| rewritten(object, |state| state["id"] = json!(id)).expect("it is a state"))
}

#[test]
fn a_deleted_state_is_a_first_run() -> Result<()> {
    row!(Green, "first state taken");
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
    row!(Green, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.put(&lease("somebody_gone", 2))?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_from_a_clock_far_ahead_is_taken_over_too() -> Result<()> {
    row!(Green, "");
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
fn a_lease_whose_holder_has_a_clock_far_behind_is_not_stolen() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.put(&lease("somebody_behind", 2))?;
        let api = Arc::clone(&lab.api);
        let kept = tokio::spawn(async move {
            for minute in 10..17 {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let mut renewed = lease("somebody_behind", 2);
                renewed["spec"]["renewTime"] = json!(format!("2020-01-01T00:{minute}:00.000000Z"));
                let holder = api.get("leases.coordination.k8s.io", NAMESPACE, "netpol-verify").unwrap_or_default();
                assert_eq!(text(&holder, "/spec/holderIdentity"), "somebody_behind", "it was stolen");
                api.apply(&renewed).expect("a Lease can be renewed");
            }
            api.apply(&lease("", 2)).expect("a Lease can be given up");
        });
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(kept.is_finished(), "it did not wait");
        kept.await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_that_another_run_takes_at_the_same_moment_is_waited_for() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("POST", "/leases", 1, Fault::Status(409));
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_that_somebody_keeps_is_waited_for_and_named() -> Result<()> {
    row!(Untold, "was held by `somebody_else`");
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "1s"}, "flux": {"wait": "2s"}}))?;
        let commit = open(lab).await?;
        lab.put(&lease("somebody_else", 600))?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        lab.put(&lease("", 1))?;
        lab.verifier.configure(&json!({"probe": {"deadline": "600s"}}))?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_lease_lost_during_the_run_leaves_the_answer_to_the_other_run() -> Result<()> {
    row!(Untold, "the Lease was lost during the run");
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
        ensure!(version(lab)? == before && about(lab, &commit).is_empty(), "it wrote or sent without the Lease");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn two_verifiers_at_once_tell_once() -> Result<()> {
    row!(Green, "");
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
    row!(Green, "");
    play(async |lab| {
        let commit = close(lab).await?;
        lab.api.faults.add("PUT", "/leases/", 3, Fault::Slow(Duration::from_millis(400)));
        let run = lab.run_for(&commit).await.context("slow Lease")?;
        assert_green(&run)?;
        assert_told_once(lab, &commit, "✅")
    })
}
