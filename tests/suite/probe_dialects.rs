//! Every class of an outcome, provoked for real under every dialect of `nc`: one run of the script a dialect, and the
//! page that shows what each tool said (docs/dialects.md).

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use netpol_verify::probe::{Outcome, Target, Tool};

use crate::probe_lab::{Image, Run, run};

const LIMIT: Duration = Duration::from_secs(2);

/// One thing that is provoked.
struct Case {
    /// How, for the page.
    how: &'static str,
    target: Target,
    class: Outcome,
}

fn case(class: Outcome, how: &'static str, target: Target) -> Case {
    Case { how, target, class }
}

fn tcp(address: &str, port: u16) -> Target {
    Target::tcp(address.parse().unwrap(), port, LIMIT).unwrap()
}

fn dns(port: u16) -> Target {
    Target::dns("10.9.0.2".parse().unwrap(), port, LIMIT).unwrap()
}

fn name(name: &str) -> Target {
    Target::name(name, LIMIT).unwrap()
}

/// What every dialect must see alike.
fn alike() -> Vec<Case> {
    use Outcome::{Dns, Open, Refused, Timeout, Unreachable};
    vec![
        case(Open, "a server that says nothing", tcp("10.9.0.2", 8080)),
        case(Open, "a server whose first words are `connection refused`", tcp("10.9.0.2", 22)),
        case(Refused, "nothing listens", tcp("10.9.0.2", 80)),
        case(Refused, "rejected with tcp-reset", tcp("10.9.0.2", 82)),
        case(Timeout, "dropped", tcp("10.9.0.2", 81)),
        case(Unreachable, "rejected as admin-prohibited", tcp("10.9.0.2", 83)),
        case(Unreachable, "rejected as host-unreachable", tcp("10.9.0.2", 84)),
        case(Unreachable, "no route", tcp("10.77.0.1", 80)),
        case(Open, "a name that has an address", name("pg01.lab")),
        case(Dns, "a name that nobody has", name("nope.lab")),
        case(Open, "DNS over UDP, answered", dns(53)),
    ]
}

/// What every dialect that speaks IPv6 must see alike.
fn alike_v6() -> Vec<Case> {
    use Outcome::{Open, Refused, Timeout, Unreachable};
    vec![
        case(Open, "IPv6, a server that says nothing", tcp("fd00:9::2", 8080)),
        case(Refused, "IPv6, nothing listens", tcp("fd00:9::2", 80)),
        case(Refused, "IPv6, rejected with tcp-reset", tcp("fd00:9::2", 82)),
        case(Timeout, "IPv6, dropped", tcp("fd00:9::2", 81)),
        case(Unreachable, "IPv6, rejected as admin-prohibited", tcp("fd00:9::2", 83)),
        case(Unreachable, "IPv6, no route", tcp("fd00:77::1", 80)),
    ]
}

/// Without an answer UDP proves nothing: tools differ in what they notice, and none says open.
fn udp(dropped: Outcome, closed: Outcome) -> Vec<Case> {
    vec![case(dropped, "DNS over UDP, dropped", dns(54)), case(closed, "DNS over UDP, nothing listens", dns(56))]
}

/// A tool as an image has it.
struct Dialect {
    name: &'static str,
    tool: Tool,
    image: Image,
    cases: Vec<Case>,
    /// The same image without what the script cannot do without.
    bare: Image,
}

const GETENT: (&str, &str) = ("getent", "/usr/bin/getent");
const SLEEP: (&str, &str) = ("sleep", "/bin/sleep");

fn dialects() -> Vec<Dialect> {
    use Outcome::{Refused, Timeout, ToolMissing};
    let debian = |nc: (&str, &str)| (Image::new("/bin/dash", &[nc, SLEEP, GETENT]), Image::new("/bin/dash", &[nc]));
    let with = |more: Vec<Case>| [alike(), alike_v6(), more].into_iter().flatten().collect::<Vec<_>>();
    let no_v6 = case(ToolMissing, "IPv6", tcp("fd00:9::2", 8080));
    let of = |name, tool, (image, bare), cases| Dialect { name, tool, image, cases, bare };
    let alpine = alpine();
    let applets = |path: &str| {
        let busybox = [("nc", path), ("nslookup", path), ("sleep", path)];
        (Image::new(path, &busybox), Image::new("/bin/dash", &busybox[..2]))
    };
    let old = alike().into_iter().chain([no_v6]).chain(udp(Timeout, Timeout)).collect();
    vec![
        of("OpenBSD", Tool::OpenBsd, debian(("nc", "/bin/nc.openbsd")), with(udp(Timeout, Timeout))),
        of("traditional", Tool::Traditional, debian(("nc", "/bin/nc.traditional")), old),
        of("ncat", Tool::Ncat, debian(("ncat", "/usr/bin/ncat")), with(udp(Timeout, Refused))),
        of("busybox (Debian)", Tool::BusyBoxE, applets("/bin/busybox"), with(udp(ToolMissing, ToolMissing))),
        of("busybox (Alpine)", Tool::BusyBoxZ, applets(&alpine), with(udp(Timeout, Timeout))),
        of("bash", Tool::Bash, debian(("bash", "/bin/bash")), with(udp(Timeout, Refused))),
    ]
}

/// The busybox that has Alpine's `nc`: from the cache, or compiled.
fn alpine() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(root.join("tests/cluster/build.sh")).arg("busybox-extra").output().unwrap();
    let said = String::from_utf8_lossy(&built.stdout).into_owned();
    let folder = said.trim().strip_prefix("busybox-extra ").unwrap_or_else(|| {
        panic!("tests/cluster/build.sh busybox-extra failed: {}", String::from_utf8_lossy(&built.stderr))
    });
    format!("{folder}/busybox-extra")
}

/// A row of the page.
struct Row {
    how: &'static str,
    class: Outcome,
    dialect: &'static str,
    tool: String,
    exit: String,
    words: String,
}

/// One run of a dialect: each case has the class that was provoked, and is asked by the tool that is meant.
fn play(dialect: &Dialect) -> Option<Vec<Row>> {
    let Dialect { name, tool, image, cases, bare } = dialect;
    let targets: Vec<Target> = cases.iter().map(|case| case.target.clone()).collect();
    let seen = run(image, &targets, 8)?;
    let mut rows = Vec::new();
    for (index, (case, seen_as)) in cases.iter().zip(&seen.seen).enumerate() {
        assert_eq!(seen_as.outcome, case.class, "{name}, {}: {seen_as:?}\n{}", case.how, seen.output);
        if case.target.to_string().starts_with("tcp:") && case.class != Outcome::ToolMissing {
            assert_eq!(seen_as.tool, Some(*tool), "{name}, {}\n{}", case.how, seen.output);
        }
        rows.push(row(name, case, index, &seen));
    }
    let lacking = Case { how: "no `sleep` in the image", class: Outcome::ToolMissing, target: tcp("10.9.0.2", 8080) };
    let without = run(bare, std::slice::from_ref(&lacking.target), 8)?;
    assert_eq!(without.seen[0].outcome, Outcome::ToolMissing, "{name}\n{}", without.output);
    rows.push(row(name, &lacking, 0, &without));
    assert_eq!((&seen.left, &without.left), (&Vec::new(), &Vec::new()), "{name} leaves nothing behind");
    Some(rows)
}

/// `target INDEX TARGET TOOL ELAPSED_MS EXIT_STATUS TEXT…`, as the script printed it.
fn row(dialect: &'static str, case: &Case, index: usize, run: &Run) -> Row {
    let begins = format!("target {} ", index + 1);
    let line = run.output.lines().find_map(|line| line.strip_prefix(begins.as_str())).unwrap();
    let mut fields = line.splitn(5, ' ').skip(1).map(str::to_owned);
    let (tool, _, exit) = (fields.next().unwrap(), fields.next(), fields.next().unwrap());
    let words = without_times(&fields.next().unwrap_or_default());
    // Silence over UDP ends by the tool's limit or by the script's, whichever comes first.
    let is_silence = case.class == Outcome::Timeout && case.target.to_string().starts_with("dns:");
    let (exit, words) = if is_silence { ("*".to_owned(), String::new()) } else { (exit, words) };
    Row { how: case.how, class: case.class, dialect, tool, exit, words }
}

/// What took how long is another number each time.
fn without_times(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let next = |index: usize| words.get(index + 1).copied().unwrap_or_default();
    let kept = words.iter().enumerate().map(|(index, word)| if next(index) == "seconds." { "…" } else { word });
    kept.collect::<Vec<_>>().join(" ")
}

/// The classes that come from the tools.
const OF_TOOLS: [Outcome; 6] =
    [Outcome::Open, Outcome::Refused, Outcome::Timeout, Outcome::Unreachable, Outcome::Dns, Outcome::ToolMissing];

#[test]
fn no_class_is_taken_for_another_under_any_dialect() {
    // One after the other: eight of ncat at once are as much as a busy machine can start within the limits.
    let played: Vec<Option<Vec<Row>>> = dialects().iter().map(play).collect();
    let Some(rows) = played.into_iter().collect::<Option<Vec<_>>>() else { return };
    for rows in &rows {
        let classes: BTreeSet<Outcome> = rows.iter().map(|row| row.class).collect();
        assert_eq!(classes, BTreeSet::from(OF_TOOLS), "{} shows each class", rows[0].dialect);
    }
    let rows: Vec<Row> = rows.into_iter().flatten().collect();
    let page = page(&rows);
    println!("{page}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dialects.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/dialects.md is not what the tools say: run this test with UPDATE_DOCS=1");
}

const HEAD: &str = "# What each dialect of nc says, and what it is taken for

Each line was provoked for real: two network namespaces with a packet filter between them, the probe's own script in one,
and an image that holds this tool alone. The test that does it writes this page; it fails where an outcome is taken for
another one, and where a tool says something else than stands here.

    cargo test --test suite -- probe_dialects                  # all of it
    UPDATE_DOCS=1 cargo test --test suite -- probe_dialects    # writes this page anew

The tools are Debian 12's. *busybox (Debian)* has an `nc` without `-z`, `-v` and `-u`. *busybox (Alpine)* is compiled from
Debian's source of busybox with `NC_110_COMPAT` and `NC_EXTRA`, as Alpine's is, and with musl, whose words for errors it
has. *bash* is `/dev/tcp` and `/dev/udp`. An exit status alone tells nothing: the outcome comes from the words and the time
that it took. Over UDP only an answer is told; silence proves nothing, and ends by the tool's limit or by the script's (`*`).

";

const TAIL: &str = "
Two more outcomes do not come from a tool:

| outcome | provoked by | test |
| --- | --- | --- |
";

/// What provokes the classes that the verifier finds by itself: (class, how, file, test).
const BY_ITSELF: [(&str, &str, &str, &str); 5] = [
    (
        "target-down",
        "the target pod goes away during the probe",
        "tests/e2e/tests/scenarios/pods.rs",
        "g_a_target_that_goes_away_during_the_run_is_pending_until_it_is_back",
    ),
    (
        "target-down",
        "the target pod is replaced again and again",
        "tests/suite/usecase/merges.rs",
        "a_target_that_is_replaced_again_and_again_is_pending_after_three_looks",
    ),
    (
        "cut",
        "the exec's connection breaks within an answer",
        "tests/lab/tests/faults/probes.rs",
        "an_exec_always_cut_within_an_answer_is_pending",
    ),
    (
        "cut",
        "the exec's connection breaks in each of its phases",
        "tests/suite/probe_exec.rs",
        "a_cut_in_each_phase_ends_at_once_and_keeps_what_came",
    ),
    (
        "cut",
        "a tool hangs and is killed",
        "tests/suite/probe_script.rs",
        "a_tool_that_hangs_is_killed_and_is_no_denial",
    ),
];

fn page(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "| outcome | provoked by | dialect | asked with | exit | words |\n| --- | --- | --- | --- | ---: | --- |\n",
    );
    for class in OF_TOOLS {
        let of_class: Vec<&Row> = rows.iter().filter(|row| row.class == class).collect();
        let mut hows: Vec<&str> = Vec::new();
        for row in &of_class {
            if !hows.contains(&row.how) {
                hows.push(row.how);
            }
        }
        for how in hows {
            for Row { dialect, tool, exit, words, .. } in of_class.iter().filter(|row| row.how == how) {
                let words = if words.is_empty() { String::new() } else { format!("`{}`", words.replace('|', "\\|")) };
                writeln!(page, "| {class} | {how} | {dialect} | {tool} | {exit} | {words} |").unwrap();
            }
        }
    }
    page.push_str(TAIL);
    for (class, how, file, test) in BY_ITSELF {
        writeln!(page, "| {class} | {how} | `{test}` in [{file}](../{file}) |").unwrap();
    }
    page
}

#[test]
fn the_tests_that_the_page_names_are_there() {
    for (class, _, file, test) in BY_ITSELF {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{class}: {file} has no {test}");
    }
}
