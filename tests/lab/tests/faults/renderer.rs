//! What an artifact may hold, and what the renderer may do.

use std::{io::Write, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Result, ensure};
use flate2::{Compression, write::GzEncoder};
use lab::{flux::artifact::packed, world::Lab};

use crate::{
    shop::{assert_cured, assert_not_told, open, play},
    source::assert_untold_then_cured,
};

/// An artifact with a right digest that is not what it should be.
fn crafted(bytes: impl FnOnce(&Lab) -> Result<Vec<u8>>) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.flux.fetch_as(&commit, bytes(lab)?)?;
        assert_untold_then_cured(lab, &commit).await
    })
}

#[test]
fn an_artifact_that_is_no_gzip_is_never_green() -> Result<()> {
    row!(Said, "the artifact is not a whole tar.gz");
    crafted(|_| Ok(b"no gzip".to_vec()))
}

#[test]
fn an_artifact_cut_before_it_was_hashed_is_never_green() -> Result<()> {
    row!(Said, "the artifact is not a whole tar.gz");
    crafted(|lab| {
        let mut bytes = packed(&lab.git.tree(&lab.first_commit)?)?;
        bytes.truncate(bytes.len() / 2);
        Ok(bytes)
    })
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
    row!(Said, "../../etc/cron.d/x");
    crafted(|_| Ok(entry("../../etc/cron.d/x", tar::EntryType::Regular, b"x")?))
}

#[test]
fn an_artifact_with_an_absolute_path_is_refused() -> Result<()> {
    row!(Said, "/etc/passwd");
    crafted(|_| Ok(entry("/etc/passwd", tar::EntryType::Regular, b"x")?))
}

#[test]
fn an_artifact_with_a_device_is_refused() -> Result<()> {
    row!(Said, "is neither a file nor a folder");
    crafted(|_| Ok(entry("dev", tar::EntryType::Char, b"")?))
}

#[test]
fn an_artifact_with_a_hard_link_is_refused() -> Result<()> {
    row!(Said, "is neither a file nor a folder");
    crafted(|_| Ok(entry("link", tar::EntryType::Link, b"")?))
}

#[test]
fn a_bomb_is_refused_at_its_limit() -> Result<()> {
    row!(Said, "unpacks to more than");
    crafted(|_| Ok(entry("zeros", tar::EntryType::Regular, &vec![0; 201 << 20])?))
}

/// So many empty files, and nothing else.
fn many(count: usize) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for number in 0..count {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{number}"), &[][..])?;
    }
    builder.into_inner()?.finish()
}

#[test]
fn an_artifact_with_too_many_entries_is_refused() -> Result<()> {
    row!(Said, "has more than 20000 entries");
    crafted(|_| Ok(many(20_001)?))
}

#[test]
fn an_artifact_that_is_too_deep_is_refused() -> Result<()> {
    row!(Said, "is more than 64 folders deep");
    crafted(|_| {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, "a/".repeat(64) + "x", &[][..])?;
        Ok(builder.into_inner()?.finish()?)
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
fn renderer(text: &'static str) -> Result<()> {
    within("60", text)
}

/// The same within so many seconds.
fn within(seconds: &'static str, text: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let folder = tempfile::tempdir()?;
        let missing = folder.path().join("missing").to_string_lossy().into_owned();
        let broken = if text.is_empty() { missing } else { script(folder.path(), text)? };
        let real = lab::flux::find_kustomize()?;
        lab.verifier.set("KUSTOMIZE", &broken);
        lab.verifier.set("NETPOL_VERIFY_RENDER_SECONDS", seconds);
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        lab.verifier.set("KUSTOMIZE", &real.to_string_lossy());
        lab.verifier.set("NETPOL_VERIFY_RENDER_SECONDS", "60");
        assert_cured(lab, &commit).await
    })
}

#[test]
fn a_missing_kustomize_is_named() -> Result<()> {
    row!(Said, "install kustomize 5.8");
    renderer("")
}

#[test]
fn a_crashing_kustomize_is_quoted() -> Result<()> {
    row!(Said, "the renderer fell over");
    renderer("echo 'the renderer fell over' >&2; kill -SEGV $$")
}

#[test]
fn a_kustomize_that_hangs_is_ended_at_its_limit() -> Result<()> {
    row!(Said, "kustomize did not finish within 2 s");
    within("2", "exec sleep 600")
}

#[test]
fn a_kustomize_that_prints_a_hundred_megabytes_is_ended_at_its_limit() -> Result<()> {
    row!(Said, "kustomize wrote more than 33554432 bytes");
    renderer("yes 'a: b' | head -c 104857600")
}

#[test]
fn a_kustomize_that_complains_without_an_end_is_read_no_further() -> Result<()> {
    row!(Said, "kustomize build failed: no end");
    renderer("yes 'no end' | head -c 104857600 >&2; exit 1")
}

#[test]
fn a_kustomize_that_prints_nothing_is_unproven() -> Result<()> {
    row!(Finding, "");
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
