use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

const MIB: u64 = 1024 * 1024;

/// Writes one entry with any name and type, also those that the tar library would refuse to write.
fn entry(builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    if kind == EntryType::Symlink || kind == EntryType::Link {
        header.set_link_name("target").unwrap();
    }
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

fn packed(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        entry(&mut builder, name, *kind, content);
    }
    zipped(&builder.into_inner().unwrap())
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Tree, ArchiveFault> {
    Tree::from_tar_gz(bytes, MIB, 100)
}

#[test]
fn files_are_read_with_plain_paths() {
    let tree = read(&packed(&[
        ("./", EntryType::Directory, b""),
        ("./infra/", EntryType::Directory, b""),
        ("./empty/", EntryType::Directory, b""),
        ("./infra/a.yaml", EntryType::Regular, b"kind: A\n"),
        ("b.yaml", EntryType::Regular, b""),
    ]))
    .unwrap();
    assert_eq!(tree.get("infra/a.yaml"), Some(b"kind: A\n".as_slice()));
    assert_eq!(tree.get("b.yaml"), Some(b"".as_slice()));
    assert!(tree.contains("infra") && tree.contains("empty") && tree.contains("") && !tree.contains("inf"));
}

#[test]
fn a_path_out_of_the_archive_is_refused() {
    for name in ["/etc/passwd", "../x", "a/../../x", "a/..", "a\\..\\x", ""] {
        let fault = read(&packed(&[(name, EntryType::Regular, b"x")])).unwrap_err();
        assert!(matches!(fault, ArchiveFault::Path { .. }), "{name:?} gave {fault}");
    }
}

#[test]
fn symbolic_links_are_dropped_as_flux_drops_them_and_others_refused() {
    let tree = read(&packed(&[("l.yaml", EntryType::Symlink, b""), ("a.yaml", EntryType::Regular, b"x")])).unwrap();
    assert_eq!((tree.get("l.yaml"), tree.skipped()), (None, 1));
    assert!(tree.get("a.yaml").is_some());
    for kind in [EntryType::Link, EntryType::Fifo, EntryType::Char, EntryType::Block, EntryType::GNUSparse] {
        let fault = read(&packed(&[("x", kind, b"")])).unwrap_err();
        assert!(matches!(fault, ArchiveFault::Kind { .. } | ArchiveFault::Broken(_)), "{kind:?} gave {fault}");
    }
}

#[test]
fn bombs_are_refused_before_they_unpack() {
    let big = vec![0; 2 * 1024 * 1024];
    let bomb = packed(&[("big", EntryType::Regular, &big)]);
    assert!(bomb.len() < 100_000, "the test's own archive is small");
    assert!(matches!(read(&bomb).unwrap_err(), ArchiveFault::TooLarge { .. }));
    // Many small ones, and zeros after the end mark.
    let names: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), EntryType::Regular, b"".as_slice())).collect();
    assert!(matches!(read(&packed(&many)).unwrap_err(), ArchiveFault::TooMany { limit: 100 }));
    let mut tail = vec![0; 1024];
    tail.extend(big);
    assert!(matches!(read(&zipped(&tail)).unwrap_err(), ArchiveFault::TooLarge { .. }));
    let deep = "d/".repeat(40) + "x";
    assert!(read(&packed(&[(&deep, EntryType::Regular, b"")])).is_ok());
}

#[test]
fn a_cut_or_foreign_download_is_refused() {
    let whole = packed(&[("a.yaml", EntryType::Regular, &[7; 3000])]);
    assert!(read(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut after {length} of {} bytes", whole.len());
    }
    assert!(matches!(read(b"<html>not found</html>").unwrap_err(), ArchiveFault::Broken(_)));
    assert!(read(&zipped(b"not a tar, but long enough to be read as a header, or so one would think")).is_err());
}

#[test]
fn a_file_that_is_a_folder_too_is_refused() {
    let fault = read(&packed(&[("a", EntryType::Regular, b"x"), ("a/b", EntryType::Regular, b"y")])).unwrap_err();
    assert!(matches!(fault, ArchiveFault::Clash { .. }), "{fault}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_walk_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), zip: bool) {
        let _ = read(&if zip { zipped(&bytes) } else { bytes });
    }

    #[test]
    fn no_damage_makes_the_walk_panic(at in 0usize..2000, value: u8) {
        let mut builder = Builder::new(Vec::new());
        entry(&mut builder, "a.yaml", EntryType::Regular, b"kind: A\n");
        let mut bytes = builder.into_inner().unwrap();
        bytes[at] = value;
        let _ = read(&zipped(&bytes));
    }
}
