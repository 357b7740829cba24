//! The files of a set: the only part of [`crate::input`] that reads anything.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{Fault, Faults, fault, git, kustomize};
use crate::{model::Origins, parallel};

/// Bytes of one file: dumps of large clusters are smaller, and what is made of it fits into memory.
const SIZE_LIMIT: u64 = 256 * 1024 * 1024;
/// Bytes of all files of one set: what is made of them is several times as large.
pub(super) const SET_LIMIT: u64 = 1024 * 1024 * 1024;
/// Files of one set.
const FILE_LIMIT: usize = 100_000;
/// Folders below folders.
const DEPTH_LIMIT: usize = 64;
/// Folders of one set: links that fork at each step lead to more than any disk has.
const FOLDER_LIMIT: usize = 100_000;
/// Bytes that are read before they are looked at.
const CHUNK: u64 = 4 * 1024 * 1024;
/// How long a named pipe may be without a writer.
const PIPE_PATIENCE: Duration = Duration::from_secs(10);
/// By these ends of a name a file in a folder counts.
const ENDS: [&str; 3] = ["yaml", "yml", "json"];
/// The names by which kustomize knows its file.
pub(super) const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What a file is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// As the user would name it: for errors.
    pub shown: String,
    /// For origins: from the root of the input, and where there are several inputs with that root, as the user would name
    /// it, since files of two roots may have one name.
    pub name: String,
}

/// A file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its names.
    pub source: Source,
    /// Its content.
    pub content: String,
    /// Where each of its objects comes from, if it is a rendering.
    pub origins: Vec<Origins>,
    /// The real paths of the files and of the folders with a kustomization that it is made of, if it is a rendering.
    pub made_of: BTreeSet<PathBuf>,
}

/// Reads what the paths name: files, folders with all that is below them (without hidden ones), `-` for standard input.
/// A folder with a kustomization is rendered by the program `kustomize`; what that was made of is part of the rendering
/// and is not read a second time by itself.
///
/// # Errors
/// Everything that cannot be read, or is no text.
pub fn read(paths: &[PathBuf], kustomize: &Path) -> Result<Vec<Text>, Faults> {
    read_within(SET_LIMIT, paths, kustomize)
}

/// The same with another limit for all files together.
pub(super) fn read_within(limit: u64, paths: &[PathBuf], kustomize: &Path) -> Result<Vec<Text>, Faults> {
    let mut found = Vec::new();
    for path in paths {
        find(path, paths.len() == 1, &mut found)?;
    }
    let so_far = SoFar { limit, bytes: AtomicU64::new(0) };
    let texts = parallel::each(&found, |file| so_far.has_room().then(|| so_far.text(file, kustomize)));
    // Where the set became too large, nothing more was read, and the file that made it so is told.
    let texts = Faults::gather(texts.into_iter().flatten().collect())?;
    Ok(without_sources(&found, texts))
}

/// What was read of a set so far.
struct SoFar {
    limit: u64,
    bytes: AtomicU64,
}

impl SoFar {
    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) <= self.limit
    }

    fn add(&self, source: &Source, bytes: usize) -> Result<(), Fault> {
        // By what each adds itself, so that only those with which it became too much are told.
        let before = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let has_room = bytes == 0 || before + bytes as u64 <= self.limit;
        if has_room { Ok(()) } else { Err(too_much(&source.shown, self.limit)) }
    }

    fn text(&self, file: &Found, kustomize: &Path) -> Result<Text, Fault> {
        let source = &file.source;
        match (&file.path, &file.root) {
            (None, _) => read_text(source, (io::stdin().lock(), 0), self),
            (Some(path), None) => {
                let opened = open(path).map_err(|error| unreadable(&source.shown, error))?;
                let size = opened.metadata().map_or(0, |about| about.len());
                read_text(source, (opened, size), self)
            }
            (Some(path), Some(root)) => {
                let text = kustomize::render(path, root, source, kustomize)?;
                self.add(source, text.content.len()).map(|()| text)
            }
        }
    }
}

/// A set that is larger than it may be, at the file with which it became so, or as a whole.
pub(super) fn too_much(shown: &str, limit: u64) -> Fault {
    let what = format!("with it the set has more than {} MiB: give fewer files", limit / 1024 / 1024);
    Fault::Path { path: shown.to_owned(), what }
}

/// Leaves out the files, and the renderings of bases, that a rendering among them is made of: Flux applies that one.
fn without_sources(found: &[Found], texts: Vec<Text>) -> Vec<Text> {
    let used: BTreeSet<PathBuf> = texts.iter().flat_map(|text| text.made_of.iter().cloned()).collect();
    if used.is_empty() {
        return texts;
    }
    let is_part = |file: &Found| {
        let real = file.path.as_ref().and_then(|path| path.canonicalize().ok());
        let is_part = real.is_some_and(|real| used.contains(&real));
        if is_part {
            tracing::debug!(file = file.source.shown, "read as a part of the kustomization that takes it");
        }
        is_part
    };
    found.iter().zip(texts).filter(|(file, _)| !is_part(file)).map(|(_, text)| text).collect()
}

/// Reads one set: a path as [`read`] takes it, or, where there is none of that name, `REV:PATH` of the Git repository
/// that the current folder is in.
///
/// # Errors
/// As [`read`]; or no such revision or path.
pub fn read_set(name: &str, kustomize: &Path) -> Result<Vec<Text>, Faults> {
    let path = PathBuf::from(name);
    if name != "-"
        && !path.exists()
        && let Some((revision, path)) = name.split_once(':')
    {
        return git::read(revision, path, kustomize);
    }
    read(&[path], kustomize)
}

/// A file to read; without a path, standard input.
struct Found {
    source: Source,
    path: Option<PathBuf>,
    /// The input's root, for a folder to render.
    root: Option<Root>,
}

/// The folder that an input is.
#[derive(Clone)]
pub(super) struct Root {
    /// Its real path.
    pub(super) real: PathBuf,
    /// What the names of its files begin with: nothing, or where there are several inputs, the folder as it was given.
    pub(super) shown: PathBuf,
}

fn find(path: &Path, is_alone: bool, found: &mut Vec<Found>) -> Result<(), Fault> {
    let shown = path.display().to_string();
    if path == Path::new("-") {
        if found.iter().any(|file| file.path.is_none()) {
            return Err(Fault::Path { path: shown, what: "standard input can be read only once".to_owned() });
        }
        let source = Source { shown: "<stdin>".to_owned(), name: "<stdin>".to_owned() };
        found.push(Found { source, path: None, root: None });
        return Ok(());
    }
    let kind = fs::metadata(path).map_err(|error| unreadable(&shown, error))?;
    if kind.is_dir() {
        let real = path.canonicalize().map_err(|error| unreadable(&shown, error))?;
        // Without the dot of `./k8s`.
        let given = path.strip_prefix(".").unwrap_or(path);
        let root = Root { real: real.clone(), shown: if is_alone { PathBuf::new() } else { given.to_owned() } };
        let name = root.shown.display().to_string();
        return walk(path, &name, &mut Way { root, above: vec![real], folders: 0 }, found);
    }
    found.push(Found { source: Source { name: shown.clone(), shown }, path: Some(path.to_owned()), root: None });
    Ok(())
}

/// How a walk came to where it is.
struct Way {
    /// Where it began.
    root: Root,
    /// The real paths of the folders that led here.
    above: Vec<PathBuf>,
    /// Folders that were entered so far.
    folders: usize,
}

/// Finds the files of a folder in the order of their names.
fn walk(folder: &Path, name: &str, way: &mut Way, found: &mut Vec<Found>) -> Result<(), Fault> {
    let shown = folder.display().to_string();
    let entries = fs::read_dir(folder).map_err(|error| unreadable(&shown, error))?;
    let names: BTreeSet<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(&shown, error))?;
    if KUSTOMIZATIONS.iter().any(|file| names.contains(std::ffi::OsStr::new(file))) {
        let source = Source { shown: format!("{shown} (rendered)"), name: name.to_owned() };
        found.push(Found { source, path: Some(folder.to_owned()), root: Some(way.root.clone()) });
        return Ok(());
    }
    for entry in names {
        let text = entry.to_string_lossy();
        if text.starts_with('.') {
            continue;
        }
        let path = folder.join(&entry);
        let name = Path::new(name).join(&*text).display().to_string();
        visit(&path, name, way, found)?;
    }
    Ok(())
}

fn visit(path: &Path, name: String, way: &mut Way, found: &mut Vec<Found>) -> Result<(), Fault> {
    let shown = path.display().to_string();
    let counts = path.file_name().is_some_and(|file| counts(&file.to_string_lossy()));
    let kind = match fs::metadata(path) {
        Ok(kind) => kind,
        // A link to nowhere: no matter where its name would not count.
        Err(error) if !counts && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(&shown, error)),
    };
    let refused = |what: String| Err(Fault::Path { path: shown.clone(), what });
    if kind.is_dir() {
        let real = path.canonicalize().map_err(|error| unreadable(&shown, error))?;
        if way.above.contains(&real) {
            return refused(format!("the link leads back to `{}`, above it", real.display()));
        }
        if way.above.len() >= DEPTH_LIMIT {
            return refused(format!("more than {DEPTH_LIMIT} folders deep"));
        }
        if way.folders >= FOLDER_LIMIT {
            return refused(format!("more than {FOLDER_LIMIT} folders: give fewer, and no links that fork"));
        }
        way.folders += 1;
        way.above.push(real);
        walk(path, &name, way, found)?;
        way.above.pop();
    } else if counts && !kind.is_file() {
        return refused("neither a file nor a folder".to_owned());
    } else if counts && found.len() >= FILE_LIMIT {
        return refused(format!("more than {FILE_LIMIT} files: give fewer folders"));
    } else if counts {
        found.push(Found { source: Source { shown, name }, path: Some(path.to_owned()), root: None });
    }
    Ok(())
}

/// Whether a file in a folder is taken to hold manifests.
pub(super) fn counts(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, end)| ENDS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// Opens a file. A pipe that is named has a writer (`<(…)` of a shell always does), or this would wait for ever.
///
/// # Errors
/// As the system says; a pipe that nobody writes to.
pub(crate) fn open(path: &Path) -> io::Result<fs::File> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        return fs::File::open(path);
    }
    let (to, opened) = mpsc::channel();
    let path = path.to_owned();
    // Where nobody waits any more, what was opened is closed again.
    thread::spawn(move || drop(to.send(fs::File::open(path))));
    opened
        .recv_timeout(PIPE_PATIENCE)
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it is a pipe that nobody writes to")))
}

/// Reads a text, probably of this size, up to its limit, and no further than where it is none: some devices have no end.
fn read_text(source: &Source, (mut from, size): (impl Read, u64), so_far: &SoFar) -> Result<Text, Fault> {
    // One more, so that its end is seen without more room.
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(CHUNK)).unwrap_or_default() + 1);
    loop {
        let known = bytes.len();
        let read = from.by_ref().take(CHUNK).read_to_end(&mut bytes).map_err(|e| unreadable(&source.shown, e))?;
        so_far.add(source, read)?;
        let is_text = !bytes.get(known..).unwrap_or_default().contains(&0);
        if read == 0 || !is_text || bytes.len() as u64 > SIZE_LIMIT {
            return text(source, bytes);
        }
    }
}

/// The text of a file's bytes.
pub(super) fn text(source: &Source, bytes: Vec<u8>) -> Result<Text, Fault> {
    if bytes.len() as u64 > SIZE_LIMIT {
        let what = format!("larger than {} MiB: split it", SIZE_LIMIT / 1024 / 1024);
        return Err(Fault::Path { path: source.shown.clone(), what });
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault::in_text(&source.shown, &[], "UTF-16: save it as UTF-8"));
    }
    if bytes.contains(&0) {
        let before = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        return Err(fault::in_text(&source.shown, before, "not text (a NUL byte): give YAML or JSON in UTF-8"));
    }
    match String::from_utf8(bytes) {
        Ok(content) => Ok(Text { source: source.clone(), content, origins: Vec::new(), made_of: BTreeSet::new() }),
        Err(error) => {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            Err(fault::in_text(&source.shown, valid, "not UTF-8: save it as UTF-8"))
        }
    }
}

fn unreadable(path: &str, source: io::Error) -> Fault {
    let path = path.to_owned();
    let what = match source.kind() {
        // The system's words would say the same once more.
        io::ErrorKind::NotFound => {
            return Fault::Path { path, what: "there is no such file or folder".to_owned() };
        }
        io::ErrorKind::PermissionDenied => "may not be read by this user",
        _ => "cannot be read",
    };
    Fault::Read { path, what: what.to_owned(), source }
}
