//! What happens to the execs that probe.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use lab::{
    api::object::text,
    faults::{ALWAYS, Exec, Fault, action},
    world::Lab,
};
use serde_json::json;

use crate::shop::{
    about, assert_cured, assert_green, assert_none_twice, assert_not_told, assert_told_once, close, open, play,
};

const EXEC: &str = "/exec?";

/// The fault passes within the run, which tries again until the settle time is over.
fn passes(fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", EXEC, 1, fault);
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        assert_told_once(lab, &commit, "✅")
    })
}

/// The fault stays: the flow is pending, the room is told so once, and the flow is made up for later.
fn hides(closing: bool, fault: Fault) -> Result<()> {
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "6s"}}))?;
        let commit = if closing { close(lab).await? } else { open(lab).await? };
        lab.api.faults.add("GET", EXEC, ALWAYS, fault);
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        let report = run.report()?;
        ensure!(report.flows.iter().all(|flow| flow.result != "verified"), "a flow is verified unseen\n{report}");
        ensure!(report.flows.iter().any(|flow| flow.result == "inconclusive"), "the flow is not reported\n{report}");
        ensure!(about(lab, &commit).len() == 1, "the room is told once: {:#?}", lab.matrix.messages());
        made_up_for(lab, &commit).await
    })
}

/// Later runs see what was pending.
pub async fn made_up_for(lab: &Lab, commit: &str) -> Result<()> {
    lab.verifier.configure(&json!({"probe": {"deadline": "600s"}}))?;
    assert_cured(lab, commit).await?;
    let by_hand = lab.run_by_hand().await?;
    ensure!(by_hand.expect(0)?.flows.iter().all(|flow| flow.result == "verified"), "{}", by_hand.report()?);
    assert_none_twice(lab)
}

#[test]
fn an_exec_reset_once_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Reset)
}

#[test]
fn an_exec_refused_once_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Status(500))
}

#[test]
fn an_exec_cut_once_before_any_output_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Exec(Exec::CutAfter(0)))
}

#[test]
fn an_exec_cut_once_within_its_first_line_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Exec(Exec::CutAfter(4)))
}

#[test]
fn an_exec_cut_once_within_an_answer_is_tried_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Exec(Exec::CutAfter(30)))
}

#[test]
fn an_exec_without_its_status_has_all_its_answers() -> Result<()> {
    row!(Green, "");
    passes(Fault::Exec(Exec::NoStatus))
}

#[test]
fn an_exec_that_is_always_refused_is_pending() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Status(500))
}

#[test]
fn an_exec_that_admission_forbids_is_never_green() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", EXEC, ALWAYS, Fault::Status(403));
        assert_not_told(&lab.run_for(&commit).await?)?;
        ensure!(about(lab, &commit).len() == 1, "the room is told once");
        assert_cured(lab, &commit).await
    })
}

#[test]
fn an_exec_always_cut_before_any_output_is_pending() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::CutAfter(0)))
}

#[test]
fn an_exec_always_cut_within_an_answer_is_pending() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::CutAfter(30)))
}

#[test]
fn a_closed_flow_whose_exec_is_cut_is_not_taken_for_closed() -> Result<()> {
    row!(Said, "");
    hides(true, Fault::Exec(Exec::CutAfter(30)))
}

#[test]
fn an_exec_that_never_ends_is_left_after_its_limit() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::Hangs))
}

#[test]
fn an_exec_that_never_ends_does_not_close_a_flow() -> Result<()> {
    row!(Said, "");
    hides(true, Fault::Exec(Exec::Hangs))
}

#[test]
fn an_exec_that_is_never_answered_is_left_after_its_limit() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Silent)
}

#[test]
fn ten_megabytes_of_output_are_not_read_whole() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::Prints(vec![b'x'; 64 << 10], 160)))
}

#[test]
fn ten_megabytes_after_a_true_beginning_are_no_answer() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::Prints(b"probe/1 1 openbsd\n".repeat(4_000), 150)))
}

#[test]
fn binary_output_is_no_answer() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::Prints((0..=255).collect(), 8)))
}

#[test]
fn no_output_at_all_is_no_answer() -> Result<()> {
    row!(Said, "");
    hides(false, Fault::Exec(Exec::Prints(Vec::new(), 1)))
}

#[test]
fn an_image_without_tools_is_never_green() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", EXEC, ALWAYS, Fault::Exec(Exec::NotFound));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        let states: Vec<_> = run.report()?.flows.iter().filter_map(|flow| flow.state.as_deref()).collect();
        ensure!(states.contains(&"unprobeable"), "no retry helps: {states:?}");
        ensure!(about(lab, &commit).len() == 1, "the room is told once");
        Ok(())
    })
}

/// The name of a pod by its label.
pub fn pod(lab: &Lab, app: &str) -> Result<(String, String)> {
    let pods = lab.api.all("pods");
    let found = pods.iter().find(|pod| text(pod, "/metadata/labels/app") == app).context("no such pod")?;
    Ok((text(found, "/metadata/namespace").to_owned(), text(found, "/metadata/name").to_owned()))
}

/// A pod that goes away while it is probed.
fn gone(app: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let (namespace, name) = pod(lab, app)?;
        let (api, net) = (Arc::clone(&lab.api), Arc::clone(&lab.net));
        let kind = lab::api::Kind::new("v1", "Pod", "pods");
        let goes = action(move || {
            let (api, net, kind) = (Arc::clone(&api), Arc::clone(&net), kind.clone());
            let (namespace, name) = (namespace.clone(), name.clone());
            async move {
                // The second exec finds it gone already.
                let _ = api.store(|store| store.delete(&kind, &namespace, &name));
                let _ = net.remove_pod(&format!("{namespace}/{name}")).await;
            }
        });
        lab.api.faults.add("GET", EXEC, 1, Fault::Meanwhile(goes));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        ensure!(about(lab, &commit).len() == 1, "the room is told once: {:#?}", lab.matrix.messages());
        Ok(())
    })
}

#[test]
fn a_target_that_goes_away_during_its_probe_is_not_called_open_or_closed() -> Result<()> {
    row!(Said, "");
    gone("db")
}

#[test]
fn a_source_that_goes_away_during_its_probe_is_not_called_open_or_closed() -> Result<()> {
    row!(Said, "");
    gone("web")
}

#[test]
fn a_target_whose_node_is_dead_does_not_verify_a_closed_flow() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "12s"}}))?;
        let commit = close(lab).await?;
        let (namespace, name) = pod(lab, "db")?;
        lab.net.set_dead(&format!("{namespace}/{name}"), true).await?;
        lab.api.faults.add("GET", &format!("/pods/{name}/exec?"), ALWAYS, Fault::Status(500));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        lab.net.set_dead(&format!("{namespace}/{name}"), false).await?;
        made_up_for(lab, &commit).await
    })
}
