//! What people wrote beside a rule: the comment above it, or behind it on its line.

use std::{collections::BTreeMap, path::PathBuf};

use crate::model::Origin;

/// The files that rules stand in, read again for their comments: no parser keeps those.
#[derive(Debug, Default)]
pub struct Comments {
    roots: Vec<PathBuf>,
    files: BTreeMap<String, Option<Vec<String>>>,
}

impl Comments {
    /// Those of the files and folders of a set.
    #[must_use]
    pub fn of(paths: &[PathBuf]) -> Self {
        Self { roots: paths.to_vec(), files: BTreeMap::new() }
    }

    /// The comment of what stands at a place; `None` where there is none, or the file cannot be read again.
    pub fn at(&mut self, origin: &Origin) -> Option<String> {
        let line = usize::try_from(origin.line?).ok()?;
        if !self.files.contains_key(&origin.file) {
            let lines = self.read(&origin.file);
            self.files.insert(origin.file.clone(), lines);
        }
        let lines = self.files.get(&origin.file)?.as_ref()?;
        above(lines, line).or_else(|| behind(lines.get(line.checked_sub(1)?)?))
    }

    fn read(&self, name: &str) -> Option<Vec<String>> {
        let of_root = |root: &PathBuf| if root.is_dir() { root.join(name) } else { root.clone() };
        let is_named = |root: &&PathBuf| root.is_dir() || root.display().to_string() == name;
        // What a pipe held is gone, and reading it once more would wait for ever.
        let files = self.roots.iter().filter(is_named).map(of_root).filter(|path| path.is_file());
        let texts = files.filter_map(|path| std::fs::read_to_string(path).ok());
        texts.take(1).next().map(|text| text.lines().map(str::to_owned).collect())
    }
}

/// The comment lines right above a line (counted from 1), as one.
fn above(lines: &[String], line: usize) -> Option<String> {
    let before = lines.get(..line.checked_sub(1)?)?;
    let comments = before.iter().rev().map_while(|text| text.trim_start().strip_prefix('#'));
    let mut words: Vec<&str> = comments.map(str::trim).filter(|text| !text.is_empty()).collect();
    words.reverse();
    (!words.is_empty()).then(|| words.join(" "))
}

/// What follows ` #` outside of quotes.
fn behind(line: &str) -> Option<String> {
    let mut quote = None;
    let mut last = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '#' && last.is_whitespace() => {
                let text = line.get(at + 1..)?.trim();
                return (!text.is_empty()).then(|| text.to_owned());
            }
            Some(_) | None => {}
        }
        last = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_comment_stands_above_its_rule_or_behind_it() {
        let text =
            lines("egress:\n  # Sessions,\n  #\n  # queues\n  - to:\n  - to: []  # all '#' there is\n  - to: ['#1']\n");
        assert_eq!(above(&text, 5).as_deref(), Some("Sessions, queues"));
        assert_eq!(above(&text, 6), None, "that of the rule before is not its own");
        assert_eq!(behind(&text[5]).as_deref(), Some("all '#' there is"));
        assert_eq!(behind(&text[6]), None, "in quotes");
        assert_eq!(above(&text, 1), None);
        assert_eq!((above(&text, 0), above(&text, 99)), (None, None));
    }
}
