//! The matrix: each test declares what its fault may lead to, [`play`](crate::shop::play) holds every run of it against
//! that, and `docs/reliability.md` is made from the same declarations.

use std::{cell::RefCell, fmt::Write as _, path::Path};

use anyhow::{Context, Result, ensure};
use lab::world::{Finished, Lab};

/// What the runs under a fault may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The fault passes within the run: everything was seen after all.
    Green,
    /// Nothing can be told.
    Untold,
    /// Something could not be told, and the room is told so.
    Said,
    /// What is missing looks as if it were gone.
    Finding,
    /// Everything was seen, and the message could not be delivered.
    Owed,
    /// The run is ended from outside.
    Killed,
}

impl Then {
    const ALL: [Self; 6] = [Self::Green, Self::Untold, Self::Said, Self::Finding, Self::Owed, Self::Killed];

    /// Whether the fault keeps something from the verifier that it needs for its verdict.
    const fn hides(self) -> bool {
        matches!(self, Self::Untold | Self::Said | Self::Finding | Self::Killed)
    }

    const fn exit(self) -> &'static str {
        match self {
            Self::Green => "0",
            Self::Untold | Self::Said | Self::Owed => "3",
            Self::Finding => "1",
            Self::Killed => "3, or the signal",
        }
    }

    /// What must be true of the runs under the fault and of what comes after them.
    const fn promise(self) -> &'static str {
        match self {
            Self::Green => "seen after all; the room is told once",
            Self::Untold => "never `verified`; no message; the next run makes up for it",
            Self::Said => "never `verified`; the room is told what could not be seen; what is owed is seen later",
            Self::Finding => "never `verified`: what is not there is reported as missing",
            Self::Owed => "the verdict stands; the message is kept, and sent once by a later run",
            Self::Killed => "never `verified`; the next run completes the work, and the room has each message once",
        }
    }

    /// Holds a run under the fault against what is promised.
    fn judge(self, run: &Finished) -> Result<()> {
        let verdict = run.report().map_or("", |report| report.verdict.as_str());
        let kept = match self {
            Self::Green => run.code == Some(0) && ["verified", ""].contains(&verdict),
            Self::Untold | Self::Said => run.code == Some(3),
            Self::Finding => run.code == Some(1),
            Self::Owed => run.code == Some(3) && ["verified", ""].contains(&verdict),
            Self::Killed => run.code != Some(0),
        };
        let (code, signal) = (run.code, run.signal);
        let ended = format!("exit {code:?}, signal {signal:?}, verdict `{verdict}`\n{}\n{}", run.stdout, run.log);
        ensure!(kept, "{self:?} is promised, but: {ended}");
        ensure!(!self.hides() || (code != Some(0) && verdict != "verified"), "a false green: {ended}");
        Ok(())
    }
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What its runs may end with.
    pub then: Then,
    /// What log, report or room must say; "": nothing in particular.
    pub says: &'static str,
}

/// What the thread of a test knows of its fault.
struct Current {
    row: Row,
    played: bool,
    /// How many runs and messages there were when the fault was over.
    over: Option<(usize, usize)>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Declares the row of the test that calls it, first thing: `row!(Untold, "what is said")`.
macro_rules! row {
    ($then:ident, $says:literal) => {
        let _row = $crate::matrix::declare($crate::matrix::Row { then: $crate::matrix::Then::$then, says: $says });
    };
}

/// Ends with the test.
pub struct Declared(());

impl Drop for Declared {
    fn drop(&mut self) {
        let current = CURRENT.take();
        let played = current.is_some_and(|current| current.played);
        assert!(played || std::thread::panicking(), "a row was declared, and no fault was played to its end");
    }
}

/// See [`row`].
pub fn declare(row: Row) -> Declared {
    CURRENT.set(Some(Current { row, played: true, over: None }));
    Declared(())
}

/// A fault begins.
pub fn begin() -> Result<()> {
    CURRENT.with_borrow_mut(|current| {
        let current = current.as_mut().context("the test does not declare its row of the matrix")?;
        (current.played, current.over) = (false, None);
        Ok(())
    })
}

/// From here on the fault is over: later runs are those that make up for it.
pub fn over(lab: &Lab) {
    let now = (lab.verifier.finished().len(), lab.matrix.top().len());
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.over.get_or_insert(now);
        }
    });
}

/// A fault was played to its end, whatever that was.
pub fn end() -> Result<()> {
    CURRENT.with_borrow_mut(|current| current.as_mut().map(|current| current.played = true)).context("no fault began")
}

/// Holds everything that ran against the row.
pub fn judge(lab: &Lab) -> Result<()> {
    over(lab);
    let judged = CURRENT.with_borrow(|current| current.as_ref().and_then(|current| Some((current.row, current.over?))));
    let (row, (runs, messages)) = judged.context("nothing was played")?;
    let all = lab.verifier.finished();
    let under = all.get(..runs).unwrap_or_default();
    ensure!(!under.is_empty(), "nothing ran under the fault");
    under.iter().try_for_each(|run| row.then.judge(run))?;
    match row.then {
        Then::Untold => ensure!(messages == 0, "nothing was to be told: {:#?}", lab.matrix.top()),
        Then::Said => ensure!(messages > 0, "nobody was told"),
        _ => {}
    }
    let said = under.iter().flat_map(|run| [run.log.clone(), run.stdout.clone()]);
    let said: Vec<String> = said.chain(lab.matrix.messages().into_iter().map(|one| one.body)).collect();
    ensure!(said.iter().any(|text| text.contains(row.says)), "nobody says `{}`\n{}", row.says, said.join("\n"));
    let left = lab.verifier.left_behind()?;
    // Nobody can clear up after SIGKILL; the folder goes with the pod.
    ensure!(left.is_empty() || row.then == Then::Killed, "runs left files behind: {left:?}");
    let seen = all.iter().filter_map(|run| run.report().ok()).flat_map(|report| &report.flows);
    let owed = matches!(row.then, Then::Untold | Then::Said) && all.len() > runs;
    ensure!(
        !owed || seen.into_iter().any(|flow| flow.result == "verified"),
        "what was hidden is never seen: it is lost"
    );
    Ok(())
}

/// The parts of the matrix: the file, what it is about, and its text.
const PARTS: [(&str, &str, &str); 9] = [
    ("lists", "The API server's lists", include_str!("lists.rs")),
    ("source", "Flux and the artifact", include_str!("source.rs")),
    ("renderer", "The archive's bounds and the renderer", include_str!("renderer.rs")),
    ("moves", "What moves during the run", include_str!("moves.rs")),
    ("probes", "Probes and pods", include_str!("probes.rs")),
    ("names", "Names", include_str!("names.rs")),
    ("state", "The state and the Lease", include_str!("state.rs")),
    ("kills", "Runs that are killed", include_str!("kills.rs")),
    ("room", "The way to the room", include_str!("room.rs")),
];

/// A test as its source declares it.
struct Test {
    name: String,
    row: Option<(Then, String)>,
}

/// The tests of a source text, each with the row that is the first thing in it.
fn tests(source: &str) -> Vec<Test> {
    let pieces = source.split("#[test]\nfn ").skip(1);
    pieces
        .filter_map(|piece| {
            let (name, body) = piece.split_once("() -> Result<()> {")?;
            Some(Test { name: name.to_owned(), row: row_of(body) })
        })
        .collect()
}

fn row_of(body: &str) -> Option<(Then, String)> {
    let (declared, _) = body.trim_start().strip_prefix("row!(")?.split_once(");\n")?;
    let (then, says) = declared.split_once(',')?;
    let then = Then::ALL.into_iter().find(|known| format!("{known:?}") == then.trim())?;
    Some((then, says.trim().trim_matches('"').replace("\\\"", "\"")))
}

const INTRODUCTION: &str = "\
# What goes wrong, and what is true then

Each line is a test: a small cluster in one process, the real `netpol-verify run`, and one fault on purpose. Whatever the
fault, nothing is lost, no message comes twice, nothing is left on the disk, and a run from which something was hidden is
never called `verified`. That is asserted of every run under every fault, by one harness that no test passes by.

    make test                                                    # all of it, with everything else
    cargo test --workspace --test faults                         # these alone
    cargo test --workspace --test faults -- room::               # one part
    UPDATE_DOCS=1 cargo test --workspace --test faults matrix::  # writes this page anew from the tests

*Exit* is the code of the runs under the fault. *Hidden*: the fault keeps something from the verifier that it needs for its
verdict. *Said* is what its log, its report or the room has of it. [tests/lab](../tests/lab/README.md) is how it is done.
";

/// The whole page.
fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    let count: usize = PARTS.iter().map(|(_, _, source)| tests(source).len()).sum();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "\n{count} faults.");
    for (part, title, source) in PARTS {
        let _ = writeln!(text, "\n## {title}\n\n| what happens | exit | hidden | what must be true | said | test |");
        let _ = writeln!(text, "| --- | --- | --- | --- | --- | --- |");
        for Test { name, row } in tests(source) {
            let Some((then, says)) = row else { continue };
            let (hidden, says) = (if then.hides() { "yes" } else { "" }, said(&says));
            let (what, exit, promise) = (name.replace('_', " "), then.exit(), then.promise());
            let _ = writeln!(text, "| {what} | {exit} | {hidden} | {promise} | {says} | `{part}::{name}` |");
        }
    }
    text
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("“{}”", text.replace('|', "\\|")) }
}

#[test]
fn no_fault_passes_the_harness_by() {
    for (part, _, source) in PARTS {
        let tests = tests(source);
        assert_eq!(tests.len(), source.matches("#[test]").count(), "{part}: a test is not written as the others are");
        for Test { name, row } in tests {
            assert!(row.is_some(), "{part}::{name} does not begin with its row of the matrix");
        }
    }
    let listed: Vec<String> = PARTS.iter().map(|(part, ..)| format!("mod {part};")).collect();
    let modules = include_str!("main.rs").lines().filter(|line| line.starts_with("mod "));
    let others = ["mod flat;", "mod matrix;", "mod shop;"];
    let missing: Vec<&str> =
        modules.filter(|line| !others.contains(line) && !listed.iter().any(|known| known == line)).collect();
    assert!(missing.is_empty(), "not in the matrix: {missing:?}");
}

#[test]
fn most_faults_hide_something_and_at_least_sixty_are_played() {
    let tests = PARTS.iter().flat_map(|(_, _, source)| tests(source));
    let rows: Vec<_> = tests.filter_map(|test| test.row).collect();
    let hiding = rows.iter().filter(|(then, _)| then.hides()).count();
    assert!(rows.len() >= 60 && hiding * 2 > rows.len(), "{hiding} of {}", rows.len());
}

#[test]
fn the_page_is_what_the_tests_declare() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/reliability.md is not what the tests declare: run this test with UPDATE_DOCS=1");
}

/// A run that ended like this.
fn ended(code: i32, verdict: &str) -> Finished {
    let report = serde_json::json!({
        "schema": e2e::report::SCHEMA, "cluster": "c", "seq": 1, "trigger": "merge", "verdict": verdict,
        "kustomizations": [], "drift": [], "flows": [], "findings": [], "notProbed": [], "not_probed": [], "denial": {},
        "started": "", "finished": "",
    });
    Finished::made_up(code, &report)
}

#[test]
fn a_false_green_is_noticed_whatever_was_promised() {
    for then in Then::ALL.into_iter().filter(|then| then.hides()) {
        assert!(then.judge(&ended(0, "verified")).is_err(), "{then:?}");
        assert!(then.judge(&ended(3, "verified")).is_err(), "{then:?}");
    }
    assert!(Then::Untold.judge(&ended(3, "inconclusive")).is_ok() && Then::Green.judge(&ended(0, "verified")).is_ok());
    assert!(Then::Green.judge(&ended(3, "inconclusive")).is_err() && Then::Owed.judge(&ended(0, "verified")).is_err());
}
