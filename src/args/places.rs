//! Files of inputs as the current folder has them: code hosts show findings beside those.

use std::path::{Path, PathBuf};

use crate::model::PolicyDocument;

/// The file of the first policy that stands in one.
pub(super) fn first(documents: &[PolicyDocument]) -> Option<&str> {
    documents.iter().find_map(|document| Some(document.origins.document.as_ref()?.file.as_str()))
}

/// The path of a file of these inputs of `-f`, from the current folder; `None` where it is not below that.
pub(super) fn in_inputs(file: &str, inputs: &[PathBuf]) -> Option<String> {
    match inputs {
        [folder] if folder.is_dir() => from_here(&folder.join(file)),
        // A file is called what it was given as; so are those of several folders.
        _ => from_here(Path::new(file)),
    }
}

/// The path of a file of a set of `diff`. A file that only a revision has keeps the folder that it has there.
pub(super) fn in_sets(file: &str, sets: &[&str]) -> Option<String> {
    let mut folders = sets.iter().map(Path::new).filter(|set| set.is_dir());
    let found = folders.find_map(|folder| from_here(&folder.join(file)));
    found.or_else(|| sets.iter().find_map(|set| in_revision(file, set)))
}

/// Where a file that is there really is, from the current folder.
fn from_here(file: &Path) -> Option<String> {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok()?;
    Some(file.canonicalize().ok()?.strip_prefix(&here).ok()?.display().to_string())
}

fn in_revision(file: &str, set: &str) -> Option<String> {
    let (_, folder) = set.split_once(':').filter(|_| !Path::new(set).exists())?;
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    let is_whole = folder.is_empty() || folder == "." || file == folder;
    Some(if is_whole { file.to_owned() } else { format!("{folder}/{file}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_revision_keeps_its_folder() {
        for (set, shown) in [
            ("main:infra/k8s", Some("infra/k8s/np.yaml")),
            ("main:./infra/", Some("infra/np.yaml")),
            ("main:", Some("np.yaml")),
            ("main:np.yaml", Some("np.yaml")),
            ("no-folder", None),
        ] {
            assert_eq!(in_sets("np.yaml", &[set]).as_deref(), shown, "{set}");
        }
        assert_eq!(
            in_sets("main.rs", &["main:infra", "src"]).as_deref(),
            Some("src/main.rs"),
            "what is there counts first"
        );
    }
}
