//! `docs/semantics.md` names tests that there are, for every point.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Names of all tests of the repository.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            tests_below(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&entry).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let function = line.trim_start_matches("async ").strip_prefix("fn ");
                if let Some(name) = function.and_then(|rest| rest.split(['(', '<']).next()).filter(|_| is_test) {
                    found.insert(name.to_owned());
                }
                is_test = line.starts_with("#[") && (is_test || line.starts_with("#[test]") || line.contains("::test"));
            }
        }
    }
}

/// The points of the page with the tests that it names.
fn points(page: &str) -> BTreeMap<&str, Vec<&str>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter(|(point, _)| !["point", "---"].contains(point));
    rows.map(|(point, rest)| {
        let tests = rest.rsplit_once(" | ").map_or("", |(_, tests)| tests);
        (point, tests.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

#[test]
fn each_point_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests_below(&root.join(folder), &mut tests);
    }
    let page = fs::read_to_string(root.join("docs/semantics.md")).unwrap();
    let points = points(&page);
    let section = |number: usize, last: usize| (1..=last).map(move |point| format!("{number}.{point}"));
    let mistakes = |letter: char| (1..=7).map(move |number| format!("{letter}{number}"));
    let wanted: Vec<String> =
        section(2, 17).chain(section(3, 6)).chain(section(4, 17)).chain(mistakes('N')).chain(mistakes('P')).collect();
    for point in wanted {
        assert!(points.get(point.as_str()).is_some_and(|tests| !tests.is_empty()), "point {point} has no test");
    }
    for (point, named) in points {
        for test in named {
            assert!(tests.contains(test), "{point}: there is no test `{test}`");
        }
    }
}
