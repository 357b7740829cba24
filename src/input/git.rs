//! The files of a Git revision, through the `git` program.

use std::{
    fs,
    io::{Read as _, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use super::{Fault, Faults, Source, Text, files};

/// Reads what `path` is at `revision` of the repository that the current folder is in: a file, or a folder.
///
/// # Errors
/// No such revision or path, or a file that is no text.
pub(super) fn read(revision: &str, path: &str, kustomize: &Path) -> Result<Vec<Text>, Faults> {
    let shown = format!("{revision}:{path}");
    let Some(object) = object(&shown, revision, path)? else {
        return Err(Fault::Path { path: shown, what: "there is no such path at that revision".to_owned() }.into());
    };
    if said(&shown, &["cat-file", "-t", &object])?.trim_ascii() == b"blob" {
        let source = Source { name: path.to_owned(), shown: shown.clone() };
        return Ok(vec![files::text(&source, said(&shown, &["cat-file", "blob", &object])?)?]);
    }
    let listing = entries(&shown, &object)?;
    if listing.iter().any(|entry| files::KUSTOMIZATIONS.contains(&entry.file())) {
        return rendered(&shown, revision, path, kustomize);
    }
    let base = shown.trim_end_matches('/');
    let separator = if base.ends_with(':') { "" } else { "/" };
    let wanted: Vec<Entry> =
        listing.into_iter().filter(|entry| !entry.is_hidden() && files::counts(entry.file())).collect();
    if let Some(link) = wanted.iter().find(|entry| entry.mode == LINK) {
        let what = "a symbolic link, which is not followed in a revision: give what it points to".to_owned();
        return Err(Fault::Path { path: format!("{base}{separator}{}", link.path), what }.into());
    }
    let contents = contents(&shown, &wanted, files::SET_LIMIT)?;
    let text = |(entry, content): (Entry, Vec<u8>)| {
        files::text(&Source { shown: format!("{base}{separator}{}", entry.path), name: entry.path }, content)
    };
    Faults::gather(wanted.into_iter().zip(contents).map(text).collect())
}

/// Reads a folder that has to be rendered, which may need any file of the revision, from a copy of all of it.
fn rendered(shown: &str, revision: &str, path: &str, kustomize: &Path) -> Result<Vec<Text>, Faults> {
    let failed = |source| Fault::Read { path: shown.to_owned(), what: "cannot be copied".to_owned(), source };
    let copy = tempfile::tempdir().map_err(failed)?;
    let prefix = String::from_utf8_lossy(&said(shown, &["rev-parse", "--show-prefix"])?).trim().to_owned();
    let Some(all) = object(shown, revision, "")? else { return Ok(Vec::new()) };
    let files: Vec<Entry> = entries(shown, &all)?.into_iter().filter(|entry| entry.mode != LINK).collect();
    for (entry, content) in files.iter().zip(contents(shown, &files, files::SET_LIMIT)?) {
        let to = copy.path().join(&entry.path);
        to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&to, content)).map_err(failed)?;
    }
    // As git has it: from the current folder where it begins with a dot, else from the root.
    let from_here = path.split('/').next().is_some_and(|part| matches!(part, "." | ".."));
    let folder = copy.path().join(if from_here { prefix } else { String::new() }).join(path);
    let mut texts = files::read(&[folder], kustomize)?;
    let root = copy.path().display().to_string();
    for text in &mut texts {
        text.source.shown = text.source.shown.replace(&format!("{root}/"), &format!("{revision}:"));
    }
    Ok(texts)
}

/// The mode of a symbolic link.
const LINK: &str = "120000";

/// A file of a tree.
struct Entry {
    mode: String,
    id: String,
    path: String,
}

impl Entry {
    fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn is_hidden(&self) -> bool {
        self.path.split('/').any(|part| part.starts_with('.'))
    }
}

/// The files of a tree, by path. A submodule is none.
fn entries(shown: &str, tree: &str) -> Result<Vec<Entry>, Fault> {
    let listing = said(shown, &["ls-tree", "-r", "-z", "--full-tree", tree])?;
    let entry = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let (head, path) = line.split_once('\t')?;
        let [mode, kind, id] = <[&str; 3]>::try_from(head.split(' ').collect::<Vec<_>>()).ok()?;
        // Git itself refuses such paths; what is written to a copy is looked at once more.
        let is_legal = !path.starts_with('/') && path.split('/').all(|part| part != "..");
        (is_legal && kind == "blob").then(|| Entry { mode: mode.to_owned(), id: id.to_owned(), path: path.to_owned() })
    };
    let mut entries: Vec<Entry> = listing.split(|byte| *byte == 0).filter_map(entry).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// The id of what is at the path, as a name that no option can be.
fn object(shown: &str, revision: &str, path: &str) -> Result<Option<String>, Fault> {
    let refused = |what: String| Fault::Path { path: shown.to_owned(), what };
    // What begins with a dash would be an option to git.
    if revision.is_empty() || revision.starts_with('-') {
        return Err(refused(format!("`{revision}` is no revision")));
    }
    let verify = |name: &str| -> Result<Option<String>, Fault> {
        let ran = run(shown, &["rev-parse", "--verify", "--quiet", "--end-of-options", name])?;
        let id = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        if !ran.stderr.is_empty() {
            return Err(refused(format!("git: {}", String::from_utf8_lossy(&ran.stderr).trim())));
        }
        Ok(Some(id).filter(|id| ran.status.success() && id.len() >= 40))
    };
    let Some(commit) = verify(&format!("{revision}^{{commit}}"))? else {
        return Err(refused(format!("there is no revision `{revision}` in this repository")));
    };
    // Only with its slash does git take a dot for the current folder.
    let path = match path.trim_end_matches('/') {
        dots @ ("." | "..") => format!("{dots}/"),
        path => path.to_owned(),
    };
    verify(&format!("{commit}:{path}"))
}

/// Bytes that git writes around each content, at most.
const AROUND: u64 = 128;

/// The contents of blobs, in one go: not more than `limit` bytes of them.
fn contents(shown: &str, entries: &[Entry], limit: u64) -> Result<Vec<Vec<u8>>, Fault> {
    contents_of(&[], shown, entries, limit)
}

fn contents_of(place: &[&str], shown: &str, entries: &[Entry], limit: u64) -> Result<Vec<Vec<u8>>, Fault> {
    let failed = |source| Fault::Read { path: shown.to_owned(), what: "git cat-file failed".to_owned(), source };
    let broken = || Fault::Path { path: shown.to_owned(), what: "git cat-file gave something else".to_owned() };
    let mut cat = git(&[place, &["cat-file", "--batch"]].concat());
    cat.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = cat.spawn().map_err(|e| missing(shown, e))?;
    let input = entries.iter().fold(String::new(), |input, entry| input + &entry.id + "\n");
    let writer = child.stdin.take();
    // Written beside the reading: git answers while it is asked.
    let asking = thread::spawn(move || writer.map(|mut writer| writer.write_all(input.as_bytes())));
    let (mut output, most) = (Vec::new(), limit + AROUND * entries.len() as u64);
    let read = child.stdout.take().map(|said| said.take(most + 1).read_to_end(&mut output));
    // Nobody reads what it would say now: one that has ended cannot be killed, and need not be.
    let _ = child.kill();
    child.wait().map_err(failed)?;
    read.transpose().map_err(failed)?;
    // Where not all could be asked, answers are missing, which is seen below.
    drop(asking.join());
    if output.len() as u64 > most {
        return Err(files::too_much(shown, limit));
    }
    let mut rest = output.as_slice();
    let mut all = Vec::with_capacity(entries.len());
    for _ in entries {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
        let (head, after) = rest.split_at(end);
        let size = String::from_utf8_lossy(head).rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
        let size = size.ok_or_else(broken)?;
        let content = after.get(1..size.saturating_add(1)).ok_or_else(broken)?;
        all.push(content.to_vec());
        rest = after.get(size.saturating_add(2)..).ok_or_else(broken)?;
    }
    Ok(all)
}

fn said(shown: &str, args: &[&str]) -> Result<Vec<u8>, Fault> {
    let output = run(shown, args)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Fault::Path { path: shown.to_owned(), what: format!("git: {complaint}") })
}

fn run(shown: &str, args: &[&str]) -> Result<std::process::Output, Fault> {
    git(args).stdin(Stdio::null()).output().map_err(|error| missing(shown, error))
}

fn git(args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(args).env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn missing(shown: &str, source: std::io::Error) -> Fault {
    Fault::Read { path: shown.to_owned(), what: "`git` cannot be run: install it, or give a path".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_up_to_the_limit_of_a_set() {
        let repository = tempfile::tempdir().unwrap();
        let folder = repository.path().display().to_string();
        let git = |args: &[&str]| said("test", &[&["-C", &folder], args].concat()).unwrap();
        git(&["init", "-q"]);
        fs::write(repository.path().join("a.yaml"), "a".repeat(3000)).unwrap();
        let id = String::from_utf8(git(&["hash-object", "-w", "a.yaml"])).unwrap().trim().to_owned();
        let entry = || Entry { mode: String::new(), id: id.clone(), path: "a.yaml".to_owned() };
        let within = |limit| contents_of(&["-C", &folder], "main:k8s", &[entry(), entry()], limit);
        assert_eq!(within(6000).unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [3000, 3000]);
        let error = within(5000).unwrap_err().to_string();
        assert!(error.starts_with("main:k8s: with it the set has more than"), "{error}");
    }
}
