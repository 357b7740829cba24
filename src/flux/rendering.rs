//! Renders an artifact as kustomize-controller does, and proves it by the digest in Flux's history.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

use super::{
    FluxFault, Tree, artifact, declared,
    generate::{Generated, generate, text},
    kustomize::{Folder, Kustomize},
    manifests::{self, Document},
    origins, path,
    substitute::{Substituted, Variables, substitute},
};
use crate::model::{Origins, Rendering};

/// A rendering and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    /// The objects that Flux applies, before `commonMetadata` and its owner labels.
    pub objects: Vec<Value>,
    /// The origins of each object; filled for policies and what stands beside them.
    pub origins: Vec<Origins>,
    /// Whether it is what Flux applied.
    pub rendering: Rendering,
    /// The artifact.
    pub tree: Tree,
}

/// Renders the `spec` of a Kustomization from an artifact, and compares with `digest` of Flux's history.
///
/// # Errors
/// `spec.path` is not there, a file cannot be read, or kustomize could not be run or refused. What only makes the
/// rendering unproven is no error.
pub(super) async fn render(
    tree: Tree,
    spec: &Value,
    variables: &Variables,
    digest: Option<&str>,
    binary: &Path,
    limit: Duration,
) -> Result<Rendered, FluxFault> {
    let kustomize = Kustomize { binary, limit };
    let spec_path = spec.get("path").and_then(Value::as_str).unwrap_or_default();
    let folder = path::join("", spec_path);
    if !tree.contains(&folder) {
        return Err(FluxFault::Path { path: spec_path.to_owned() });
    }
    let generated = generate(&tree, &folder, spec)?;
    let (copy, tree) = Folder::of(tree).await?;
    copy.put(&generated)?;
    let plain = copy.build(&folder, kustomize).await?;
    let documents = manifests::parse("the rendering", &plain)?;
    let origins = find_origins(&copy, &tree, &folder, &generated, &documents, kustomize).await;
    drop(copy);
    let objects = documents.iter().map(|document| document.root.to_value()).collect();
    let substituted = substitute(&split(&plain), objects, spec, variables);
    let made = written(&plain, &substituted, kustomize).await;
    let rendering = prove(&made, digest, spec, variables, &substituted.failed);
    Ok(Rendered { objects: substituted.objects, origins, rendering, tree })
}

/// The YAML of each object. A line `---` inside a text would be indented.
fn split(rendering: &str) -> Vec<&str> {
    rendering.split("\n---\n").collect()
}

/// The text that Flux hashes, or why there is none.
async fn written(plain: &str, substituted: &Substituted, kustomize: Kustomize<'_>) -> Result<String, String> {
    if !substituted.failed.is_empty() {
        return Err(substituted.failed.join("; "));
    }
    if !substituted.touched || substituted.objects.is_empty() {
        return Ok(plain.to_owned());
    }
    let yaml = Folder::as_yaml(&substituted.objects, kustomize).await;
    yaml.map_err(|fault| format!("after substitution: {fault}"))
}

/// Compares, and gives the reason that is nearest to the cause where the two differ.
fn prove(
    made: &Result<String, String>,
    digest: Option<&str>,
    spec: &Value,
    variables: &Variables,
    failed: &[String],
) -> Rendering {
    let own = made.as_ref().ok().map(|text| artifact::sha256(text.as_bytes()));
    if own.is_some() && own.as_deref() == digest {
        return Rendering::Proven;
    }
    let mut reasons: Vec<String> = Vec::new();
    if spec.get("decryption").is_some_and(|value| !value.is_null()) {
        reasons.push("`spec.decryption` (SOPS) is not supported: no keys are read".to_owned());
    }
    reasons.extend(variables.unread.iter().cloned());
    reasons.extend(failed.iter().cloned());
    if let (Err(reason), true) = (made, failed.is_empty()) {
        reasons.push(reason.clone());
    }
    if reasons.is_empty() {
        reasons.push(match (digest, &own) {
            (None, _) => "Flux has no digest of this revision in its history (it writes one since 2.7)".to_owned(),
            (Some(flux), own) => {
                let own = own.as_deref().unwrap_or("unknown");
                format!(
                    "its digest is `{own}`, Flux's is `{flux}`: kustomize versions may differ, or a remote base changed"
                )
            }
        });
    }
    Rendering::Unproven(reasons.join("; "))
}

/// Renders again with origin annotations and joins the two by position; without them there are no origins.
async fn find_origins(
    copy: &Folder,
    tree: &Tree,
    folder: &str,
    generated: &Generated,
    documents: &[Document],
    kustomize: Kustomize<'_>,
) -> Vec<Origins> {
    let none = || vec![Origins::default(); documents.len()];
    let annotated = async {
        copy.put(&generated.with_origins())?;
        let text = copy.build(folder, kustomize).await?;
        Ok::<_, FluxFault>(manifests::parse("the rendering", &text)?)
    };
    match annotated.await {
        Ok(annotated) if is_same_order(&annotated, documents) => {
            let annotated: Vec<Value> = annotated.iter().map(|document| document.root.to_value()).collect();
            Join { tree, folder, files: BTreeMap::new() }.all(&annotated, documents)
        }
        Ok(_) => {
            tracing::warn!("the rendering with origins has other objects; places in Git are not known");
            none()
        }
        Err(error) => {
            tracing::warn!(%error, "could not render with origins; places in Git are not known");
            none()
        }
    }
}

fn is_same_order(annotated: &[Document], documents: &[Document]) -> bool {
    let key = |document: &Document| format!("{} {}", document.kind(), document.name());
    annotated.iter().map(key).eq(documents.iter().map(key))
}

struct Join<'a> {
    tree: &'a Tree,
    folder: &'a str,
    files: BTreeMap<String, Vec<Document>>,
}

impl Join<'_> {
    fn all(mut self, annotated: &[Value], documents: &[Document]) -> Vec<Origins> {
        let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut all = Vec::new();
        for (annotated, document) in annotated.iter().zip(documents) {
            let (version, kind) = (document.api_version(), document.kind());
            if !declared::decides(version, kind) {
                all.push(Origins::default());
                continue;
            }
            let file = origins::file(annotated, self.folder);
            let Some(file) = file.filter(|file| self.tree.get(file).is_some()) else {
                all.push(origins::unknown(None));
                continue;
            };
            let position = seen.entry((file.clone(), format!("{version}/{kind}"))).or_default();
            let found = self.read(&file).and_then(|sources| origins::document(sources, document, *position));
            *position += 1;
            all.push(match found {
                Some(source) => origins::origins(&file, source, &document.root.to_value()),
                None => origins::unknown(Some(&file)),
            });
        }
        all
    }

    fn read(&mut self, file: &str) -> Option<&[Document]> {
        if !self.files.contains_key(file) {
            // kustomize has read it; where this reader cannot, only the places are lost.
            let text = text(self.tree, file).ok()?;
            let documents = manifests::parse(file, text)
                .inspect_err(|error| tracing::warn!(%error, "a manifest could not be read; its places are not known"))
                .unwrap_or_default();
            self.files.insert(file.to_owned(), documents);
        }
        self.files.get(file).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reason_of_an_unproven_rendering_is_its_cause() {
        let variables = |unread: &[&str]| {
            let mut variables = Variables::default();
            variables.unread = unread.iter().map(|text| (*text).to_owned()).collect();
            variables
        };
        let own = artifact::sha256(b"text");
        let made = || Ok("text".to_owned());
        let case = |made, digest, spec: Value, unread: &[&str]| prove(&made, digest, &spec, &variables(unread), &[]);
        assert_eq!(
            case(made(), Some(&own), json!({"decryption": {}}), &["s"]),
            Rendering::Proven,
            "the digest decides"
        );
        for (made, digest, spec, unread, reason) in [
            (made(), None, json!({}), [].as_slice(), "no digest"),
            (made(), Some("sha256:0"), json!({}), &[], "kustomize versions may differ"),
            (made(), Some("sha256:0"), json!({"decryption": {"provider": "sops"}}), &[], "SOPS"),
            (Err("x is not set".to_owned()), Some("sha256:0"), json!({}), &["Secret `s`"], "Secret `s`; x is not set"),
        ] {
            let Rendering::Unproven(text) = case(made, digest, spec, unread) else { panic!("{reason}: proven") };
            assert!(text.contains(reason), "{text}");
        }
    }
}
