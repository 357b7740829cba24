//! Renders with the real `kustomize`, as kustomize-controller does where a Kustomization has only a path.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::{Rendering, artifact::sha256, git::Tree};

const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Renders the folder `path` of a tree.
pub(super) async fn render(kustomize: &Path, tree: &Tree, path: &Path) -> Result<Rendering> {
    let folder = tempfile::tempdir()?;
    for (file, text) in tree {
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().context("a file in no folder")?)?;
        std::fs::write(file, text)?;
    }
    let root = folder.path().join(path);
    ensure!(root.is_dir(), "kustomization path not found: {}", path.display());
    if !NAMES.iter().any(|name| root.join(name).exists()) {
        std::fs::write(root.join(NAMES[0]), generated(tree, path))?;
    }
    let mut command = Command::new(kustomize);
    command.args(["build", "--load-restrictor", "LoadRestrictionsNone", "--reorder", "none"]).arg(&root);
    let output = command.output().await.with_context(|| format!("cannot run {}", kustomize.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("kustomize build failed: {}", said.replace(&*folder.path().to_string_lossy(), "").trim());
    }
    let text = String::from_utf8(output.stdout)?;
    let objects: Vec<Value> = e2e::objects::parse(&text)?;
    Ok(Rendering { objects, digest: sha256(text.as_bytes()) })
}

/// The kustomization that the controller writes where there is none: every manifest below the folder.
fn generated(tree: &Tree, path: &Path) -> String {
    let below = tree.keys().filter_map(|file| Path::new(file).strip_prefix(path).ok());
    let manifests = below.filter(|file| file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
    let list: Vec<String> = manifests.map(|file| format!("- ./{}\n", file.display())).collect();
    let list = list.concat();
    format!("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{list}")
}
