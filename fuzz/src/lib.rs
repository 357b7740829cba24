//! What the fuzz targets share: the way from bytes to what the commands print, without the command line.

use std::convert::Infallible;

use netpol_verify::{
    engine::{
        lint,
        reach::{Questions, Reach, difference::Comparison},
        table,
    },
    input::{self, Faults, InputSet, Options, Source, Text},
    model::Labels,
    report::{flows::Format, lint as findings, list},
};

/// The file that the bytes are read as.
pub const FILE: &str = "fuzz.yaml";

/// Reads texts as the files of one set.
pub fn set_of(texts: &[&str], lenient: bool) -> Result<InputSet, Faults> {
    let text = |content: &&str| Text {
        source: Source { shown: FILE.to_owned(), name: FILE.to_owned() },
        content: (*content).to_owned(),
        origins: Vec::new(),
        made_of: std::collections::BTreeSet::new(),
    };
    let texts: Vec<Text> = texts.iter().map(text).collect();
    input::collect(&input::parse(&texts)?, Options { lenient, ties: None })
}

/// Every fault has its place, so that its author finds it.
pub fn assert_placed(faults: &Faults) {
    assert!(!faults.0.is_empty());
    for fault in &faults.0 {
        let text = fault.to_string();
        let mut parts = text.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default().split(':');
        let mut is_number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok_and(|number| number > 0));
        assert!(is_number() && is_number(), "no line and column: {text}");
    }
}

/// Does what `list`, `lint`, `table` and `diff` do with a set.
pub fn use_up(set: &InputSet) {
    let world = set.world(set, None);
    let reach = Reach::new(&world);
    for format in [Format::Text, Format::Json] {
        let (mut printer, mut text) = (list::Printer::new(format), String::new());
        let done: Result<(), Infallible> = reach.rows(|row| {
            text.clear();
            printer.row(&row, &mut text);
            Ok(())
        });
        assert!(done.is_ok());
    }
    let linted =
        lint::lint(&lint::Input { world: &world, documents: &set.documents, product: None, not_rendered: &[] });
    let _ = (findings::text(&linted.findings), findings::sarif(&linted.findings, FILE, "0"));
    for (name, namespace) in &set.snapshot.namespaces {
        let labels: &Labels = &namespace.labels;
        let _ = table::rows(&set.read.policies, name, labels);
    }
    same_as_itself(set);
}

/// A set differs from itself in no flow and no workload.
fn same_as_itself(set: &InputSet) {
    let [was, is] = [set.world(set, Some(set)), set.world(set, Some(set))];
    let questions = Questions::of(&[&was, &is]);
    let (was, is) = (Reach::asking(&was, questions.clone()), Reach::asking(&is, questions));
    let comparison = Comparison::new(&was, &is);
    assert!(comparison.workloads().is_empty());
    let done: Result<(), Infallible> = comparison.changes(|change| panic!("differs from itself: {change:?}"));
    assert!(done.is_ok());
}
