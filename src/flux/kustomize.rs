//! The real renderer, run on a private copy.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::{FluxFault, Tree, generate::Generated, path};

/// Bytes of a rendering: many times what a cluster's policies have, and little enough that the Job's memory limit holds
/// what is made of it.
pub(crate) const OUTPUT_LIMIT: u64 = 32 * 1024 * 1024;

/// How long a build may take: one of a thousand policies takes two seconds on a slow node.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of its complaints that are read, and characters that are told.
pub(crate) const COMPLAINT_LIMIT: u64 = 64 * 1024;
const COMPLAINT_SHOWN: usize = 1500;

/// The command and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kustomize<'a> {
    /// A path, or a name on `PATH`.
    pub binary: &'a Path,
    /// For one build.
    pub limit: Duration,
}

/// Renders a folder as kustomize-controller does: no sorting, and files from wherever the kustomization takes them.
/// `home` is the folder where it runs. Nothing of this process' secrets; and no way out: a remote base fails at once
/// instead of hanging.
pub(crate) fn command(binary: &Path, folder: &Path, home: &Path) -> std::process::Command {
    // A path is meant from here, and the program runs elsewhere; a bare name is looked for on PATH.
    let is_path = binary.components().count() > 1;
    let program = Some(binary).filter(|_| is_path).and_then(|path| std::path::absolute(path).ok());
    let mut command = std::process::Command::new(program.as_deref().unwrap_or(binary));
    command
        .args(["build", "--load-restrictor", "LoadRestrictionsNone", "--reorder", "none", "--"])
        .arg(folder)
        .current_dir(home)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A complaint on one line of bounded length.
pub(crate) fn told<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").trim_start_matches("Error: ").chars().take(COMPLAINT_SHOWN).collect()
}

/// A folder that only this user can enter, and that is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    root: TempDir,
    real: PathBuf,
}

impl Folder {
    /// A copy of the artifact.
    pub(super) async fn of(tree: Tree) -> Result<(Self, Tree), FluxFault> {
        tokio::task::spawn_blocking(move || {
            let folder = Self::empty()?;
            for (file, content) in tree.below("") {
                folder.write_bytes(file, content)?;
            }
            Ok((folder, tree))
        })
        .await
        .map_err(FluxFault::Interrupted)?
    }

    /// A folder without files.
    pub(super) fn empty() -> Result<Self, FluxFault> {
        use std::os::unix::fs::PermissionsExt;
        let failed = |source| FluxFault::Folder { what: "make", source };
        let only_us = fs::Permissions::from_mode(0o700);
        let root = tempfile::Builder::new().prefix("netpol-verify-").permissions(only_us).tempdir().map_err(failed)?;
        // kustomize resolves symbolic links in what it prints, and the temporary directory may be one.
        let real = root.path().canonicalize().map_err(failed)?;
        Ok(Self { root, real })
    }

    /// Writes a kustomization, or writes over it.
    pub(super) fn put(&self, generated: &Generated) -> Result<(), FluxFault> {
        self.write_bytes(&generated.file, generated.content.to_string().as_bytes())
    }

    /// Writes a file and the folders above it. `file` has no `..`: a `Tree` has none.
    fn write_bytes(&self, file: &str, content: &[u8]) -> Result<(), FluxFault> {
        let failed = |source| FluxFault::Folder { what: "write", source };
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o700);
        folders.create(self.real.join(path::parent(file))).map_err(failed)?;
        fs::write(self.real.join(file), content).map_err(failed)
    }

    /// Takes JSON objects and gives them back as the YAML that kustomize, and so Flux, writes.
    pub(super) async fn as_yaml(objects: &[Value], kustomize: Kustomize<'_>) -> Result<String, FluxFault> {
        let folder = Self::empty()?;
        let stream: Vec<String> = objects.iter().map(Value::to_string).collect();
        folder.write_bytes("objects.yaml", stream.join("\n---\n").as_bytes())?;
        folder.write_bytes("kustomization.yaml", br#"{"resources": ["objects.yaml"]}"#)?;
        folder.build("", kustomize).await
    }

    /// Renders a folder of the copy.
    pub(super) async fn build(&self, folder: &str, kustomize: Kustomize<'_>) -> Result<String, FluxFault> {
        let mut child = Command::from(command(kustomize.binary, &self.real.join(folder), &self.real))
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| FluxFault::Run { binary: kustomize.binary.to_owned(), source })?;
        let (output, complaint) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let (output, complaint) = tokio::join!(capped(output, OUTPUT_LIMIT), drained(complaint));
            let output = output.map_err(|source| FluxFault::Folder { what: "read from", source })?;
            if output.len() as u64 > OUTPUT_LIMIT {
                return Err(FluxFault::Output { limit: OUTPUT_LIMIT });
            }
            let status = child.wait().await.map_err(|source| FluxFault::Folder { what: "read from", source })?;
            if status.success() { Ok(output) } else { Err(FluxFault::Kustomize { message: self.told(&complaint) }) }
        };
        let output = tokio::time::timeout(kustomize.limit, all)
            .await
            .map_err(|_| FluxFault::Slow { seconds: kustomize.limit.as_secs() })??;
        String::from_utf8(output).map_err(|_| FluxFault::Text { file: "the rendering".to_owned() })
    }

    /// The complaint with paths from the artifact's root, on one line.
    fn told(&self, complaint: &[u8]) -> String {
        let text = String::from_utf8_lossy(complaint);
        let mut text = text.into_owned();
        for root in [&self.real, self.root.path()] {
            let root = root.to_string_lossy();
            text = text.replace(&format!("{root}/"), "").replace(&*root, ".");
        }
        told(text.lines())
    }
}

async fn capped(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Keeps the beginning, and reads the rest away, so that the child is not held up.
async fn drained(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let kept = (&mut pipe).take(COMPLAINT_LIMIT).read_to_end(&mut bytes).await;
        if kept.is_ok() {
            // What is lost here is text beyond the limit.
            let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
        }
    }
    bytes
}
