//! What happens to Flux' objects, the artifact and the rendering.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use lab::{
    faults::{ALWAYS, Fault, action},
    world::Lab,
};
use serde_json::json;

use crate::shop::{
    SHOP, about, append, assert_cured, assert_green, assert_not_told, assert_told_once, edit_open, open, play,
};

const TAR: &str = ".tar.gz$";

/// The fault passes: the download is tried again.
fn passes(fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.flux.artifacts.faults.add("GET", TAR, 1, fault);
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.flux.artifacts.faults.all_met(), "the fault met no request");
        assert_told_once(lab, &commit, "✅")
    })
}

/// The fault stays: the run says why, and the revision is verified once it is over.
fn hides(fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.flux.artifacts.faults.add("GET", TAR, ALWAYS, fault);
        assert_untold_then_cured(lab, &commit).await
    })
}

pub async fn assert_untold_then_cured(lab: &Lab, commit: &str) -> Result<()> {
    let run = lab.run_for(commit).await?;
    assert_not_told(&run)?;
    lab.flux.artifacts.faults.clear();
    lab.flux.apply(commit).await?;
    assert_cured(lab, commit).await
}

#[test]
fn an_artifact_unavailable_once_is_fetched_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Status(503))
}

#[test]
fn an_artifact_reset_once_is_fetched_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::Reset)
}

#[test]
fn an_artifact_truncated_once_is_fetched_again() -> Result<()> {
    row!(Green, "");
    passes(Fault::CutAfter(200))
}

#[test]
fn a_slow_artifact_is_waited_for() -> Result<()> {
    row!(Green, "");
    passes(Fault::Slow(Duration::from_secs(2)))
}

#[test]
fn an_artifact_that_is_not_there_is_never_green() -> Result<()> {
    row!(Said, "source-controller answered 404");
    hides(Fault::Status(404))
}

#[test]
fn an_artifact_always_truncated_is_never_green() -> Result<()> {
    row!(Said, "could not fetch the artifact");
    hides(Fault::CutAfter(200))
}

#[test]
fn an_artifact_with_another_digest_is_never_green() -> Result<()> {
    row!(Said, "does not have its digest");
    hides(Fault::Body(b"other bytes".to_vec()))
}

#[test]
fn a_rendering_with_another_digest_than_flux_is_unproven() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        let commit = open(lab).await?;
        let mut status = lab.flux.status()["status"].clone();
        status["history"][0]["digest"] =
            json!("sha256:0000000000000000000000000000000000000000000000000000000000000000");
        lab.api.set_status(&lab.flux.status(), &status).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        ensure!(run.report()?.kustomizations[0].rendering == "unproven", "{}", run.report()?);
        ensure!(about(lab, &commit).len() == 1, "the room is told once");
        Ok(())
    })
}

#[test]
fn a_newer_revision_during_the_run_is_adopted() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let older = open(lab).await?;
        lab.git.write("README.md", "How we do things here\n");
        let newer = lab.git.merge("Write a README");
        let (flux, commit) = (Arc::clone(&lab.flux), newer.clone());
        let applied = action(move || {
            let (flux, commit) = (Arc::clone(&flux), commit.clone());
            async move { flux.apply(&commit).await.expect("it applies") }
        });
        lab.api.faults.add("GET", "/exec?", 1, Fault::Meanwhile(applied));
        let run = lab.run_for(&older).await?;
        assert_green(&run)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        ensure!(run.report()?.flows.iter().any(|flow| flow.port == 6432), "its flows are seen: {}", run.report()?);
        ensure!(about(lab, &older).is_empty(), "what is no longer applied is not told of: {:#?}", lab.matrix.top());
        assert_told_once(lab, &newer, "✅")
    })
}

#[test]
fn a_kustomization_deleted_during_the_run_is_never_green() -> Result<()> {
    row!(Said, "there is no Kustomization flux-system/network-policies");
    play(async |lab| {
        let commit = open(lab).await?;
        let (api, object) = (Arc::clone(&lab.api), lab.flux.status());
        let deleted = action(move || {
            let kind = api.kind_of(&object).expect("it is served");
            let _ = api.store(|store| store.delete(&kind, "flux-system", "network-policies"));
            std::future::ready(())
        });
        lab.api.faults.add("GET", "/exec?", 1, Fault::Meanwhile(deleted));
        assert_not_told(&lab.run_for(&commit).await?)
    })
}

#[test]
fn a_source_ahead_of_the_apply_is_said_to_lag() -> Result<()> {
    row!(Said, "which is not applied yet");
    play(async |lab| {
        edit_open(lab)?;
        let commit = lab.git.merge("Let the shop use pgbouncer");
        lab.flux.fetch(&commit)?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        lab.apply(&commit).await?;
        assert_cured(lab, &commit).await?;
        ensure!(about(lab, &commit).iter().filter(|one| one.body.starts_with('✅')).count() == 1, "told once as green");
        Ok(())
    })
}

#[test]
fn a_build_that_fails_is_told_with_flux_words() -> Result<()> {
    row!(Said, "kustomize build failed");
    play(async |lab| {
        append(lab, SHOP, "  not: [yaml\n")?;
        let commit = lab.git.merge("A slip");
        lab.apply(&commit).await.expect_err("it does not build");
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        ensure!(run.report()?.verdict == "not-applied", "{}", run.report()?);
        let messages = lab.matrix.top();
        ensure!(messages.len() == 1 && messages[0].body.contains("kustomize build failed"), "{messages:#?}");
        let again = lab.run_for(&commit).await?;
        ensure!(again.code == Some(3) && lab.matrix.top().len() == 1, "the same trouble is told once");
        Ok(())
    })
}

#[test]
fn a_kustomization_that_cannot_be_read_is_not_told() -> Result<()> {
    row!(Untold, "Kustomization flux-system/network-policies");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", "/kustomizations/", ALWAYS, Fault::Status(500));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}
