//! The files of an artifact, in memory.
//!
//! Nothing is unpacked by a tar library: its two advisories of 2026 are both about unpacking.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::{ArchiveFault, path};

/// Folders below folders: far beyond any repository, and short enough for every file system.
const DEPTH_LIMIT: usize = 64;

/// Files by their path from the artifact's root, with `/` and without `./`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
    skipped: usize,
}

impl Tree {
    /// Reads a tar.gz without trusting it.
    ///
    /// Symbolic links are dropped and counted, as Flux drops them when it unpacks; any other special entry is an error.
    ///
    /// # Errors
    /// It is not a whole tar.gz, passes a limit, or has a path that leaves it.
    pub fn from_tar_gz(bytes: &[u8], unpacked_limit: u64, entry_limit: usize) -> Result<Self, ArchiveFault> {
        // One byte more than allowed, so that an archive that ends at the limit and one that goes on differ.
        let mut stream = MultiGzDecoder::new(bytes).take(unpacked_limit.saturating_add(1));
        let mut tree = Self::default();
        let read = tree.fill(&mut stream, unpacked_limit, entry_limit);
        // A stream that was cut by `take` looks like a broken archive: the size is the cause, and is named first.
        if stream.limit() == 0 {
            return Err(ArchiveFault::TooLarge { limit: unpacked_limit });
        }
        read.map(|()| tree)
    }

    fn fill(&mut self, stream: &mut impl Read, limit: u64, entry_limit: usize) -> Result<(), ArchiveFault> {
        let mut archive = Archive::new(&mut *stream);
        for (number, entry) in archive.entries().map_err(ArchiveFault::Broken)?.enumerate() {
            if number >= entry_limit {
                return Err(ArchiveFault::TooMany { limit: entry_limit });
            }
            self.add(entry.map_err(ArchiveFault::Broken)?, limit)?;
        }
        // The rest after the end mark, so that gzip's checksum is read and a cut download noticed.
        io::copy(stream, &mut io::sink()).map_err(ArchiveFault::Broken)?;
        self.check_folders()
    }

    fn add<R: Read>(&mut self, mut entry: Entry<'_, R>, limit: u64) -> Result<(), ArchiveFault> {
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let name = legal(&raw)?;
                let size = entry.size();
                if size > limit {
                    return Err(ArchiveFault::TooLarge { limit });
                }
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(ArchiveFault::Broken)?;
                if content.len() as u64 != size {
                    return Err(ArchiveFault::Broken(io::ErrorKind::UnexpectedEof.into()));
                }
                self.files.insert(name, content);
                Ok(())
            }
            EntryType::Directory => {
                self.folders.insert(legal_folder(&raw)?);
                Ok(())
            }
            EntryType::XGlobalHeader => Ok(()),
            EntryType::Symlink => {
                self.skipped += 1;
                Ok(())
            }
            other => Err(ArchiveFault::Kind { path: raw, kind: char::from(other.as_byte()).to_string() }),
        }
    }

    fn check_folders(&self) -> Result<(), ArchiveFault> {
        for name in self.files.keys() {
            let mut folder = path::parent(name);
            while !folder.is_empty() {
                if self.files.contains_key(folder) {
                    return Err(ArchiveFault::Clash { path: folder.to_owned() });
                }
                folder = path::parent(folder);
            }
        }
        Ok(())
    }

    /// The content of a file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Whether there is such a file or folder.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        path.is_empty()
            || self.files.contains_key(path)
            || self.folders.contains(path)
            || self.below(path).next().is_some()
    }

    /// The files in a folder and in the folders below it, by path.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.files
            .iter()
            .filter(move |(name, _)| path::below(folder, name).is_some())
            .map(|(n, c)| (n.as_str(), c.as_slice()))
    }

    /// How many symbolic links were dropped.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

impl<K: Into<String>, V: Into<Vec<u8>>> FromIterator<(K, V)> for Tree {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(files: I) -> Self {
        Self {
            files: files.into_iter().map(|(name, content)| (name.into(), content.into())).collect(),
            ..Self::default()
        }
    }
}

/// A path without `./`, or an error where it is absolute or leaves the archive.
fn legal(raw: &str) -> Result<String, ArchiveFault> {
    let bad = raw.starts_with('/') || raw.contains(['\\', '\0']) || raw.split('/').any(|part| part == "..");
    let name = path::join("", raw);
    if bad || name.is_empty() {
        return Err(ArchiveFault::Path { path: raw.to_owned() });
    }
    if name.split('/').count() > DEPTH_LIMIT {
        return Err(ArchiveFault::Depth { path: raw.to_owned(), limit: DEPTH_LIMIT });
    }
    Ok(name)
}

fn legal_folder(raw: &str) -> Result<String, ArchiveFault> {
    // The root itself, which some packers write.
    if matches!(raw, "." | "./" | "") { Ok(String::new()) } else { legal(raw) }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
