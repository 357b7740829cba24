//! What happens to Flux' objects, the artifact and the rendering.

use std::{io::Write, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use flate2::{Compression, write::GzEncoder};
use lab::{
    faults::{ALWAYS, Fault, action},
    flux::artifact::packed,
    world::Lab,
};
use serde_json::json;

use crate::shop::{
    SHOP, about, append, assert_cured, assert_green, assert_not_told, assert_says, assert_told_once, edit_open, open,
    play,
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
fn hides(fault: Fault, words: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.flux.artifacts.faults.add("GET", TAR, ALWAYS, fault);
        assert_untold_then_cured(lab, &commit, words).await
    })
}

async fn assert_untold_then_cured(lab: &Lab, commit: &str, words: &str) -> Result<()> {
    let run = lab.run_for(commit).await?;
    assert_not_told(&run)?;
    ensure!(format!("{}{}", run.log, run.stdout).contains(words), "nobody says `{words}`\n{}\n{}", run.stdout, run.log);
    lab.flux.artifacts.faults.clear();
    lab.flux.apply(commit).await?;
    assert_cured(lab, commit).await
}

#[test]
fn an_artifact_unavailable_once_is_fetched_again() -> Result<()> {
    passes(Fault::Status(503))
}

#[test]
fn an_artifact_reset_once_is_fetched_again() -> Result<()> {
    passes(Fault::Reset)
}

#[test]
fn an_artifact_truncated_once_is_fetched_again() -> Result<()> {
    passes(Fault::CutAfter(200))
}

#[test]
fn a_slow_artifact_is_waited_for() -> Result<()> {
    passes(Fault::Slow(Duration::from_secs(2)))
}

#[test]
fn an_artifact_that_is_not_there_is_never_green() -> Result<()> {
    hides(Fault::Status(404), "404")
}

#[test]
fn an_artifact_always_truncated_is_never_green() -> Result<()> {
    hides(Fault::CutAfter(200), ".tar.gz")
}

#[test]
fn an_artifact_with_another_digest_is_never_green() -> Result<()> {
    hides(Fault::Body(b"other bytes".to_vec()), "digest")
}

/// An artifact with a right digest that is not what it should be.
fn crafted(bytes: impl FnOnce(&Lab) -> Result<Vec<u8>>, words: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.flux.fetch_as(&commit, bytes(lab)?)?;
        assert_untold_then_cured(lab, &commit, words).await
    })
}

#[test]
fn an_artifact_that_is_no_gzip_is_never_green() -> Result<()> {
    crafted(|_| Ok(b"no gzip".to_vec()), "artifact")
}

#[test]
fn an_artifact_cut_before_it_was_hashed_is_never_green() -> Result<()> {
    crafted(
        |lab| {
            let mut bytes = packed(&lab.git.tree(&lab.first_commit)?)?;
            bytes.truncate(bytes.len() / 2);
            Ok(bytes)
        },
        "artifact",
    )
}

/// One entry, with whatever path and kind.
fn entry(path: &str, kind: tar::EntryType, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    // Past the checks of the library, which writes no such paths.
    header.as_mut_bytes().iter_mut().zip(path.bytes()).for_each(|(at, byte)| *at = byte);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    builder.append(&header, content)?;
    let mut encoder = builder.into_inner()?;
    encoder.flush()?;
    encoder.finish()
}

#[test]
fn an_artifact_that_leaves_its_folder_is_refused() -> Result<()> {
    crafted(|_| Ok(entry("../../etc/cron.d/x", tar::EntryType::Regular, b"x")?), "../../etc/cron.d/x")
}

#[test]
fn an_artifact_with_an_absolute_path_is_refused() -> Result<()> {
    crafted(|_| Ok(entry("/etc/passwd", tar::EntryType::Regular, b"x")?), "/etc/passwd")
}

#[test]
fn an_artifact_with_a_device_is_refused() -> Result<()> {
    crafted(|_| Ok(entry("dev", tar::EntryType::Char, b"")?), "dev")
}

#[test]
fn an_artifact_with_a_hard_link_is_refused() -> Result<()> {
    crafted(|_| Ok(entry("link", tar::EntryType::Link, b"")?), "link")
}

#[test]
fn a_bomb_is_refused_at_its_limit() -> Result<()> {
    crafted(|_| Ok(entry("zeros", tar::EntryType::Regular, &vec![0; 201 << 20])?), "unpacks to more than")
}

#[test]
fn a_rendering_with_another_digest_than_flux_is_unproven() -> Result<()> {
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

/// A program of this text; gives its path.
fn script(folder: &Path, text: &str) -> Result<String> {
    let path = folder.join("kustomize");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Another renderer; "": none.
fn renderer(text: &'static str, words: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let folder = tempfile::tempdir()?;
        let missing = folder.path().join("missing").to_string_lossy().into_owned();
        let broken = if text.is_empty() { missing } else { script(folder.path(), text)? };
        let real = lab::flux::find_kustomize()?;
        lab.verifier.set("KUSTOMIZE", &broken);
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        ensure!(
            format!("{}{}", run.log, run.stdout).contains(words),
            "nobody says `{words}`\n{}\n{}",
            run.stdout,
            run.log
        );
        lab.verifier.set("KUSTOMIZE", &real.to_string_lossy());
        assert_cured(lab, &commit).await
    })
}

#[test]
fn a_missing_kustomize_is_named() -> Result<()> {
    renderer("", "kustomize")
}

#[test]
fn a_crashing_kustomize_is_quoted() -> Result<()> {
    renderer("echo 'the renderer fell over' >&2; kill -SEGV $$", "the renderer fell over")
}

#[test]
fn a_kustomize_that_prints_nothing_is_unproven() -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let folder = tempfile::tempdir()?;
        lab.verifier.set("KUSTOMIZE", &script(folder.path(), "exit 0")?);
        let run = lab.run_for(&commit).await?;
        // What is live is more than nothing: that is told as drift, beside the reason to doubt it.
        ensure!(run.code == Some(1) && run.report()?.kustomizations[0].rendering == "unproven", "{}", run.report()?);
        Ok(())
    })
}

#[test]
fn a_newer_revision_during_the_run_is_adopted() -> Result<()> {
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
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", "/kustomizations/", ALWAYS, Fault::Status(500));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        assert_says(&run, "Kustomization flux-system/network-policies")?;
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}
