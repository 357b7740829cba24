//! Folders with a kustomization, rendered by the real program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    process::Child,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    Fault, Source, Text,
    files::{self, Root},
};
use crate::{
    flux::{FluxFault, kustomize as renderer, manifests, origins, origins_document},
    model::{Origin, Origins, Via},
};

/// Renders a folder. Origins are in the files that its objects come from, named from the input's `root`; a field that
/// differs from its file was made by an overlay.
///
/// # Errors
/// kustomize cannot be run, or refuses.
pub(super) fn render(folder: &Path, root: &Root, source: &Source, binary: &Path) -> Result<Text, Fault> {
    let failed =
        |source_| Fault::Read { path: source.shown.clone(), what: "cannot be rendered".to_owned(), source: source_ };
    let outer = tempfile::tempdir().map_err(failed)?;
    let base = outer.path().canonicalize().map_err(failed)?;
    let inner = folder.canonicalize().map_err(failed)?;
    // A kustomization around the folder's own: it asks for origins and changes nothing.
    let resource = relative(&base, &inner).to_string_lossy().into_owned();
    let around = json!({"resources": [resource], "buildMetadata": ["originAnnotations"]});
    fs::write(base.join("kustomization.yaml"), around.to_string()).map_err(failed)?;
    let rendering = build(&base, source, binary)?;
    let mut text = files::text(source, rendering)?;
    let mut sources = Sources { base: &base, root, files: BTreeMap::new(), seen: BTreeMap::new() };
    let documents = manifests::parse(&source.shown, &text.content)?;
    text.origins = documents.iter().map(|document| sources.of(document)).collect();
    text.made_of = sources.files.keys().filter_map(|path| path.canonicalize().ok()).collect();
    bases(&inner, &mut text.made_of);
    Ok(text)
}

/// The output of `kustomize build`, within the limits that a run has too.
fn build(folder: &Path, source: &Source, binary: &Path) -> Result<Vec<u8>, Fault> {
    let missing = |error| Fault::Read {
        path: source.shown.clone(),
        what: format!(
            "has a kustomization, and `{}` cannot be run: install kustomize 5.8, or set --kustomize",
            binary.display()
        ),
        source: error,
    };
    let mut child = renderer::command(binary, folder, folder).spawn().map_err(missing)?;
    let ended = watched(&mut child, Instant::now() + renderer::TIME_LIMIT);
    if ended.is_err() {
        // One that has ended cannot be killed, and need not be.
        let _ = child.kill();
    }
    let status = child.wait().map_err(missing)?;
    let (output, complaint) = ended.map_err(|what| Fault::Path { path: source.shown.clone(), what })?;
    if status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&complaint);
    let told = renderer::told(text.lines().filter(|line| !line.contains("--reorder has been deprecated")));
    Err(Fault::Path { path: source.shown.clone(), what: format!("kustomize build failed: {told}") })
}

/// What a program says, on standard output and on standard error, until it closes both.
fn watched(child: &mut Child, until: Instant) -> Result<(Vec<u8>, Vec<u8>), String> {
    // Read beside each other, so that neither pipe holds the program up.
    let output = beside(child.stdout.take(), renderer::OUTPUT_LIMIT + 1, false);
    let complaint = beside(child.stderr.take(), renderer::COMPLAINT_LIMIT, true);
    let wait = |said: mpsc::Receiver<io::Result<Vec<u8>>>| match said
        .recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        Ok(bytes) => bytes.map_err(|error| format!("kustomize cannot be read from: {error}")),
        Err(RecvTimeoutError::Timeout) => Err(FluxFault::Slow { seconds: renderer::TIME_LIMIT.as_secs() }.to_string()),
        Err(RecvTimeoutError::Disconnected) => Ok(Vec::new()),
    };
    let output = wait(output)?;
    if output.len() as u64 > renderer::OUTPUT_LIMIT {
        return Err(FluxFault::Output { limit: renderer::OUTPUT_LIMIT }.to_string());
    }
    Ok((output, wait(complaint)?))
}

/// Reads a pipe up to its limit, and where `to_its_end` what follows too, without keeping it.
fn beside(
    pipe: Option<impl Read + Send + 'static>,
    limit: u64,
    to_its_end: bool,
) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (to, said) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let Some(mut pipe) = pipe else { return };
        let mut read = pipe.by_ref().take(limit).read_to_end(&mut bytes).map(|_| ());
        if to_its_end && read.is_ok() {
            read = io::copy(&mut pipe, &mut io::sink()).map(|_| ());
        }
        // Who waits no longer has given the program up.
        drop(to.send(read.map(|()| bytes)));
    });
    said
}

/// Adds the folders that a kustomization takes resources or components from, and theirs.
fn bases(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    // What cannot be read here, kustomize has refused or understood in its own way.
    let texts = files::KUSTOMIZATIONS.iter().filter_map(|name| fs::read_to_string(folder.join(name)).ok());
    let documents = texts.filter_map(|text| manifests::parse("kustomization", &text).ok()).flatten();
    for object in documents.map(|document| document.root.to_value()) {
        let lists = ["resources", "bases", "components"].iter().filter_map(|field| object.get(field)?.as_array());
        for entry in lists.flatten().filter_map(Value::as_str) {
            let Ok(base) = folder.join(entry).canonicalize() else { continue };
            if base.is_dir() && found.insert(base.clone()) {
                bases(&base, found);
            }
        }
    }
}

/// The files that objects of a rendering come from.
struct Sources<'p> {
    base: &'p Path,
    root: &'p Root,
    files: BTreeMap<PathBuf, Vec<manifests::Document>>,
    seen: BTreeMap<(PathBuf, String), usize>,
}

impl Sources<'_> {
    fn of(&mut self, document: &manifests::Document) -> Origins {
        let object = document.root.to_value();
        let Some(path) = origin_path(&object) else { return Origins::default() };
        let path = lexical(&self.base.join(path));
        let name = named(self.root, &path).to_string_lossy().into_owned();
        let position = self.seen.entry((path.clone(), document.kind().to_owned())).or_default();
        let number = *position;
        *position += 1;
        let documents = self.files.entry(path.clone()).or_insert_with(|| {
            // kustomize has read it; where this reader cannot, only the places are lost.
            let text = fs::read_to_string(&path).unwrap_or_default();
            manifests::parse(&name, &text).unwrap_or_default()
        });
        match origins_document(documents, document, number) {
            Some(source) => origins(&name, source, &object),
            None => Origins {
                document: Some(Origin { file: name, line: None, column: None, via: Some(Via::Overlay) }),
                ..Origins::default()
            },
        }
    }
}

/// The file of an annotated object, from the folder that was built; `None` for generated and remote ones.
fn origin_path(object: &Value) -> Option<String> {
    let text = object.pointer("/metadata/annotations/config.kubernetes.io~1origin")?.as_str()?;
    let origin = manifests::parse("origin", text).ok()?.into_iter().next()?.root;
    if origin.get("repo").is_some() {
        return None;
    }
    origin.get("path")?.text().map(str::to_owned)
}

/// What a file is called, from the real path of what it is.
fn named(root: &Root, path: &Path) -> PathBuf {
    let name = root.shown.join(relative(&root.real, path));
    // A base beside a root, `team/../base`, is the same without the way there and back, unless a link is on that way.
    let clean = lexical(&name);
    let is_same = !root.shown.as_os_str().is_empty() && clean.canonicalize().is_ok_and(|real| real == path);
    if is_same { clean } else { name }
}

/// A path without `.` and `..`, by its text: the base has no links.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The way from a folder to a path, both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_given_up_at_its_time() {
        let piped = Stdio::piped;
        let mut child = Command::new("sleep").arg("100").stdout(piped()).stderr(piped()).spawn().unwrap();
        let told = watched(&mut child, Instant::now() + Duration::from_millis(100)).unwrap_err();
        assert!(child.try_wait().unwrap().is_none(), "nothing waited for it");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told, "kustomize did not finish within 60 s");
    }

    #[test]
    fn the_way_from_one_folder_to_another_goes_up_and_down() {
        for (from, to, way) in
            [("/a/b", "/a/b/c", "c"), ("/a/b", "/a/c/d", "../c/d"), ("/a", "/b", "../b"), ("/a", "/a", "")]
        {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way), "{from} {to}");
        }
        assert_eq!(lexical(Path::new("/tmp/x/../y/./z")), Path::new("/tmp/y/z"));
    }
}
