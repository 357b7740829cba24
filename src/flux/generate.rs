//! The `kustomization.yaml` that kustomize-controller puts into its copy before it builds (pkg/kustomize
//! `Generator.GenerateManifest`): the one that is there or a list of all manifests, and the Flux spec over it.

use serde_json::{Map, Value, json};

use super::{FluxFault, Tree, manifests, path};

/// The names by which kustomize knows its file, in its order.
const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The annotation that says of an object which file it came from.
pub(super) const ORIGIN_ANNOTATIONS: &str = "originAnnotations";

/// Fields of a kustomization. Flux reads the file into its own type and writes that, so others are lost, whereas the
/// command would refuse them.
const FIELDS: [&str; 33] = [
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "imageTags",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
];

/// A file to write: where, and what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Generated {
    /// From the artifact's root.
    pub file: String,
    /// The kustomization; JSON is YAML.
    pub content: Value,
}

impl Generated {
    /// The same with origin annotations on every object.
    pub(super) fn with_origins(&self) -> Self {
        let mut generated = self.clone();
        if let Some(fields) = generated.content.as_object_mut() {
            let mut metadata = take(fields, "buildMetadata");
            if !metadata.iter().any(|item| item == ORIGIN_ANNOTATIONS) {
                metadata.push(ORIGIN_ANNOTATIONS.into());
            }
            fields.insert("buildMetadata".to_owned(), metadata.into());
        }
        generated
    }
}

/// Makes the kustomization of `folder` for the `spec` of a Flux Kustomization.
pub(super) fn generate(tree: &Tree, folder: &str, spec: &Value) -> Result<Generated, FluxFault> {
    let present = FILE_NAMES.iter().map(|name| path::join(folder, name)).find(|file| tree.get(file).is_some());
    let (file, mut fields) = match present {
        Some(file) => {
            let fields = existing(tree, &file)?;
            (file, fields)
        }
        None => (path::join(folder, "kustomization.yaml"), scanned(tree, folder)),
    };
    fields.entry("apiVersion").or_insert_with(|| "kustomize.config.k8s.io/v1beta1".into());
    fields.entry("kind").or_insert_with(|| "Kustomization".into());
    for (from, to) in [("targetNamespace", "namespace"), ("namePrefix", "namePrefix"), ("nameSuffix", "nameSuffix")] {
        if let Some(Value::String(text)) = spec.get(from) {
            fields.insert(to.to_owned(), text.clone().into());
        }
    }
    let mut patches = take(&mut fields, "patches");
    patches.extend(items(spec, "patches").cloned());
    fields.insert("patches".to_owned(), patches.into());
    add_components(&mut fields, tree, folder, spec)?;
    merge_images(&mut fields, spec);
    let metadata: Vec<Value> = items(spec, "buildMetadata").cloned().collect();
    if !metadata.is_empty() {
        fields.insert("buildMetadata".to_owned(), metadata.into());
    }
    fields.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
    Ok(Generated { file, content: Value::Object(fields) })
}

fn existing(tree: &Tree, file: &str) -> Result<Map<String, Value>, FluxFault> {
    let text = text(tree, file)?;
    let document = manifests::parse(file, text)?.into_iter().next();
    let mut fields = match document.map(|document| document.root.to_value()) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.retain(|name, _| FIELDS.contains(&name.as_str()) || name == "buildMetadata");
    if fields.get("resources").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        // Flux's way around "kustomization.yaml is empty"; it replaces what is there.
        fields.insert("buildMetadata".to_owned(), json!([ORIGIN_ANNOTATIONS]));
    }
    Ok(fields)
}

/// Every manifest in the folder in the order of a walk; a folder with a kustomization of its own stands for its files.
fn scanned(tree: &Tree, folder: &str) -> Map<String, Value> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    for (file, _) in tree.below(folder) {
        let Some(below) = path::below(folder, file) else { continue };
        let parts: Vec<&str> = below.split('/').collect();
        if let Some(own) = with_kustomization(tree, folder, &parts) {
            found.push(own);
        } else if [".yaml", ".yml"].iter().any(|extension| below.ends_with(extension)) {
            found.push(parts);
        }
    }
    // By names from the top, as a walk goes: `a/b` before `a-b`, other than by whole paths.
    found.sort();
    found.dedup();
    let mut fields = Map::new();
    if found.is_empty() {
        fields.insert("namespace".to_owned(), "_placeholder".into());
    } else {
        let resources = found.iter().map(|parts| format!("./{}", parts.join("/")).into()).collect();
        fields.insert("resources".to_owned(), Value::Array(resources));
    }
    fields
}

/// The topmost folder on the way to a file that has a kustomization.
fn with_kustomization<'a>(tree: &Tree, folder: &str, parts: &[&'a str]) -> Option<Vec<&'a str>> {
    (1..parts.len()).filter_map(|length| parts.get(..length)).find_map(|above| {
        let inner = path::join(folder, &above.join("/"));
        let has_one = FILE_NAMES.iter().any(|name| tree.get(&path::join(&inner, name)).is_some());
        has_one.then(|| above.to_vec())
    })
}

fn add_components(fields: &mut Map<String, Value>, tree: &Tree, folder: &str, spec: &Value) -> Result<(), FluxFault> {
    let lenient = spec.get("ignoreMissingComponents").and_then(Value::as_bool).unwrap_or_default();
    let mut components = take(fields, "components");
    for component in items(spec, "components").filter_map(Value::as_str) {
        if !is_local(component) {
            return Err(FluxFault::Component { path: component.to_owned() });
        }
        if !lenient || tree.contains(&path::join(folder, component)) {
            components.push(component.into());
        }
    }
    fields.insert("components".to_owned(), components.into());
    Ok(())
}

fn is_local(path: &str) -> bool {
    let lower = path.to_lowercase();
    let remote = ["git::", "gh:", "ssh://", "https://", "http://", "git@", "github.com:", "github.com/", "file:///"];
    !path.starts_with('/') && !remote.iter().any(|prefix| lower.starts_with(prefix))
}

/// A field that the spec sets wins; tag and digest go together, as either selects the version.
fn merge_images(fields: &mut Map<String, Value>, spec: &Value) {
    let mut images = take(fields, "images");
    for image in items(spec, "images").filter_map(Value::as_object) {
        let same = images.iter_mut().filter_map(Value::as_object_mut).find(|own| own.get("name") == image.get("name"));
        let Some(own) = same else {
            images.push(Value::Object(image.clone()));
            continue;
        };
        let set = |key: &str| image.get(key).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        if let Some(name) = set("newName") {
            own.insert("newName".to_owned(), name.clone());
        }
        if set("newTag").is_some() || set("digest").is_some() {
            for key in ["newTag", "digest"] {
                match set(key) {
                    Some(value) => own.insert(key.to_owned(), value.clone()),
                    None => own.remove(key),
                };
            }
        }
    }
    fields.insert("images".to_owned(), images.into());
}

fn items<'a>(spec: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Takes the list under `key` out, an empty one where there is none.
fn take(fields: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match fields.remove(key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// A file of the artifact as text.
pub(super) fn text<'a>(tree: &'a Tree, file: &str) -> Result<&'a str, FluxFault> {
    std::str::from_utf8(tree.get(file).unwrap_or_default()).map_err(|_| FluxFault::Text { file: file.to_owned() })
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
