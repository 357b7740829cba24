//! What is no set of manifests: each command tells what is wrong and where, with exit code 2 or 3 (4 where there is
//! nothing), in a moment and in bounded memory. Never a panic, never a file that is skipped in silence.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::support::{Ran, folder, pod, policy, run_in};

const PROGRAM: &str = env!("CARGO_BIN_EXE_netpol-verify");

/// KiB of addresses that a command may use: threads reserve many that they never touch.
const MEMORY: &str = "2000000";

/// Seconds of a processor that a command may take over anything, in a build without optimisation.
const SECONDS: u32 = 20;

/// A way to run the program: `$0` and `$@` are its command line.
fn through(shell: &str, folder: &Path, args: &[&str]) -> Ran {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY}; ulimit -t {SECONDS}; {shell}"), PROGRAM])
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), errors: text(&output.stderr) };
    assert!(!ran.errors.contains("panicked") && (0..=4).contains(&ran.code), "{args:?}: {ran:?}");
    ran
}

fn bounded(folder: &Path, args: &[&str]) -> Ran {
    through("exec \"$0\" \"$@\"", folder, args)
}

/// Each command that reads a set, over `path`.
fn commands(path: &str) -> [Vec<&str>; 5] {
    [
        vec!["list", "-f", path],
        vec!["explain", "-f", path, "shop/web", "shop/db", "80"],
        vec!["lint", "-f", path],
        vec!["table", "-f", path],
        vec!["diff", path, path],
    ]
}

/// Each command refuses what is at `path`, with these words and no output.
fn refused(folder: &Path, path: &str, words: &[&str]) {
    for args in commands(path) {
        let ran = bounded(folder, &args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
        for word in words {
            assert!(ran.errors.contains(word), "{args:?}: `{word}` is not in {ran:?}");
        }
    }
}

fn shop() -> String {
    pod("shop/web", "app: web", "", "podIP: 10.0.0.1") + &pod("shop/db", "app: db", "", "podIP: 10.0.0.2")
}

fn file(content: impl AsRef<[u8]>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.yaml"), content).unwrap();
    folder
}

fn refused_text(content: impl AsRef<[u8]>, words: &[&str]) {
    refused(file(content).path(), "x.yaml", words);
}

#[test]
fn text_that_is_no_yaml_is_refused_with_its_place() {
    let whole = shop() + &policy("shop/p", "{podSelector: {}}");
    refused_text(whole.trim_end().trim_end_matches('}'), &["x.yaml:"]);
    refused_text("kind: \"Pod", &["x.yaml:1:"]);
    refused_text(format!("{}kind: [", shop()), &["x.yaml:13:"]);
    refused_text("kind: Pod\nkind: Service\n", &["x.yaml:2:1: ", "duplicate"]);
    refused_text("a: *unknown\n", &["x.yaml:1:4: "]);
    refused_text("a:\n\t- b\n", &["x.yaml:2:"]);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    refused_text(fs::read("/bin/sh").unwrap(), &["x.yaml:1:", "not text (a NUL byte): give YAML or JSON in UTF-8"]);
    refused_text([shop().as_bytes(), b"---\na: \0\n"].concat(), &["x.yaml:14:4: not text (a NUL byte)"]);
    refused_text([shop().as_bytes(), "ä: \u{e9}".as_bytes(), b"\xe9\n"].concat(), &["x.yaml:13:5: not UTF-8"]);
    let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{}", shop()).encode_utf16().flat_map(order).collect()
    };
    refused_text(wide(u16::to_le_bytes), &["x.yaml:1:1: UTF-16: save it as UTF-8"]);
    refused_text(wide(u16::to_be_bytes), &["x.yaml:1:1: UTF-16: save it as UTF-8"]);
    let marked = bounded(file(format!("\u{feff}{}", shop())).path(), &["list", "-f", "x.yaml"]);
    assert_eq!(marked.code, 0, "a mark of UTF-8 is no garbage: {marked:?}");
}

#[test]
fn wrong_types_are_refused_with_their_place() {
    let np = |spec: &str| shop() + &policy("shop/p", spec);
    for (content, place) in [
        ("just words".to_owned(), "x.yaml:1:1: not a Kubernetes object"),
        ("- apiVersion: v1\n  kind: Pod\n".to_owned(), "x.yaml:1:1: not a Kubernetes object"),
        ("apiVersion: 1\nkind: Pod\n".to_owned(), "x.yaml:1:1: not a Kubernetes object"),
        ("apiVersion: v1\nkind: [Pod]\n".to_owned(), "x.yaml:1:1: not a Kubernetes object"),
        ("apiVersion: v1\nkind: Pod\nmetadata: []\n".to_owned(), "x.yaml:3:11: `metadata` must be a mapping"),
        ("apiVersion: v1\nkind: List\nitems: {a: b}\n".to_owned(), "x.yaml:1:1: a List whose `items` is no list"),
        ("apiVersion: v1\nkind: PodList\n".to_owned(), "x.yaml:1:1: a PodList whose `items` is no list"),
        (np("[]"), "x.yaml:17:7: `spec` must be a mapping"),
        (np("{podSelector: app}"), "x.yaml:17:21: `podSelector` must be a mapping"),
        (np("{ingress: {from: []}}"), "x.yaml:17:17: `ingress` must be a list"),
        (np("{ingress: [{ports: [{port: [80]}]}]}"), "x.yaml:17:34: `port` must be"),
        (np("{ingres: []}"), "x.yaml:17:8: unknown field `ingres` in spec"),
    ] {
        refused_text(&content, &[place]);
    }
    let calico = "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: g}\nspec: ";
    refused_text(format!("{}{calico}{{order: first}}", shop()), &["x.yaml:17:"]);
    refused_text(format!("{}{calico}{{selector: \"app ==\"}}", shop()), &["x.yaml:17:", "text in quotes"]);
}

#[test]
fn names_are_told_where_they_cannot_be_one() {
    let named = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n");
    refused_text(named(&"a".repeat(1_000_000)), &["x.yaml:4:9: `name` is longer than 253 characters"]);
    refused_text(named("\"a\\e[31m\""), &["x.yaml:4:9: `name` has characters that no name has"]);
    let namespace = format!("{}  namespace: a/b\n", named("a"));
    refused_text(namespace, &["x.yaml:5:14: `namespace` has characters that no name has"]);
    let label = format!("{}  labels: {{a: {}}}\n", named("a"), "b".repeat(100_000));
    refused_text(label, &["x.yaml:5:15: "]);
}

#[test]
fn one_name_is_one_object_and_another_namespace_has_names_of_its_own() {
    let [one, other] = ["{podSelector: {}}", "{podSelector: {matchLabels: {a: b}}}"].map(|spec| policy("shop/p", spec));
    let twice = folder(&[("x/a.yaml", &(shop() + &one)), ("x/b.yaml", &other)]);
    let words = "x/b.yaml:2:1: NetworkPolicy shop/p is declared once more, otherwise, at x/a.yaml:14:1";
    refused(twice.path(), "x", &[words]);
    let apart = file(shop() + &one + &other.replace("namespace: shop", "namespace: ops"));
    let ran = bounded(apart.path(), &["list", "-f", "x.yaml", "-f", "x.yaml", "-f", "."]);
    assert_eq!(ran.code, 0, "the same once more is no other: {ran:?}");
}

#[test]
fn bombs_are_refused_in_bounded_time_and_memory() {
    let bomb: String = (0..30).fold("a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let below = if n == 0 { "a".to_owned() } else { format!("a{}", n - 1) };
        format!("{text}a{n}: &a{n} [{}]\n", vec![format!("*{below}"); 9].join(", "))
    });
    refused_text(bomb, &["x.yaml:"]);
    for open in ["[", "{a: ", "- ", "? ", "!a [", "&a [", "[{"] {
        refused_text(open.repeat(100_000), &["x.yaml:1:"]);
    }
    let steps: Vec<String> = (0..3_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    refused_text(steps.concat(), &["x.yaml:"]);
}

#[test]
fn large_files_are_read_in_bounded_time_and_memory() {
    let map = |n: usize, data: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{n}}}\ndata:\n  a: {data}\n")
    };
    let one = map(0, &"x".repeat(10_000_000)) + &shop();
    let ran = bounded(file(&one).path(), &["list", "-f", "x.yaml"]);
    assert_eq!((ran.code, ran.lines().len() > 1), (0, true), "{}", ran.errors);
    let many: String = (0..10_000).map(|n| map(n, &"y".repeat(900))).collect();
    let ran = bounded(file(many.clone() + &shop()).path(), &["list", "-f", "x.yaml"]);
    assert_eq!((ran.code, ran.lines().len() > 1), (0, true), "{}", ran.errors);
    let ran = bounded(file(many + "kind: [").path(), &["list", "-f", "x.yaml"]);
    assert_eq!(ran.code, 2, "{}", ran.errors);
    assert!(ran.errors.contains("x.yaml:60001:") && ran.errors.len() < 2_000, "{}", ran.errors);
}

#[test]
fn where_there_is_nothing_is_exit_4_with_a_sentence() {
    let nothing = folder(&[
        ("x/notes.txt", "hello"),
        ("empty.yaml", ""),
        ("comments.yaml", "# one\n---\n# two\n...\n"),
        ("others.yaml", "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: a}\nspec: {any: [thing]}\n"),
        ("list.yaml", "apiVersion: v1\nkind: PodList\nitems: []\n---\napiVersion: v1\nkind: List\nitems: null\n"),
    ]);
    for path in ["x", "empty.yaml", "comments.yaml", "others.yaml", "list.yaml", "/dev/null"] {
        for args in commands(path) {
            let ran = bounded(nothing.path(), &args);
            assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{args:?}: {ran:?}");
            assert!(ran.errors.contains("ERROR"), "{args:?}: {ran:?}");
        }
    }
    let closed = through("exec \"$0\" \"$@\" <&-", nothing.path(), &["list", "-f", "-"]);
    assert_eq!(closed.code, 4, "{closed:?}");
}

#[test]
fn what_cannot_be_read_is_told_by_every_command() {
    let folder =
        folder(&[("ring/a.yaml", &shop()), ("locked/a.yaml", &shop()), ("pipe/a.yaml", &shop()), ("link/c.yaml", "")]);
    let at = |name: &str| folder.path().join(name);
    refused(folder.path(), "none", &["none: there is no such file or folder"]);
    symlink("..", at("ring/up")).unwrap();
    refused(folder.path(), "ring", &["ring/up/ring: the link leads back to "]);
    symlink("b.yaml", at("link/a.yaml")).unwrap();
    symlink("a.yaml", at("link/b.yaml")).unwrap();
    refused(folder.path(), "link", &["link/a.yaml: cannot be read: ", "symbolic links"]);
    assert!(Command::new("mkfifo").args([at("pipe/b.yaml"), at("alone")]).status().unwrap().success());
    refused(folder.path(), "pipe", &["pipe/b.yaml: neither a file nor a folder"]);
    let alone = bounded(folder.path(), &["list", "-f", "alone"]);
    assert!(alone.code == 2 && alone.errors.contains("alone: cannot be read: it is a pipe that nobody writes to"));
    let written = through("cat ring/a.yaml > alone & exec \"$0\" \"$@\"", folder.path(), &["list", "-f", "alone"]);
    assert_eq!(written.code, 0, "{written:?}");
    refused(folder.path(), "/dev/zero", &["/dev/zero:1:1: not text"]);
    // Root reads everything, but for what was taken from it.
    fs::set_permissions(at("locked/a.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    let no_rights = "exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"";
    let shell = if fs::File::open(at("locked/a.yaml")).is_ok() { no_rights } else { "exec \"$0\" \"$@\"" };
    for args in commands("locked") {
        let ran = through(shell, folder.path(), &args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.errors.contains("locked/a.yaml: may not be read by this user: Permission denied"), "{ran:?}");
    }
}

#[test]
fn links_that_fork_end_at_the_limit_of_folders() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..20 {
        fs::create_dir(folder.path().join(n.to_string())).unwrap();
        for way in ["a", "b"] {
            symlink(format!("../{}", n + 1), folder.path().join(format!("{n}/{way}"))).unwrap();
        }
    }
    fs::create_dir(folder.path().join("20")).unwrap();
    let ran = bounded(folder.path(), &["list", "-f", "0"]);
    assert!(ran.code == 2 && ran.errors.contains("more than 100000 folders"), "{ran:?}");
}

#[test]
fn kustomizations_that_cannot_be_rendered_are_told_by_every_command() {
    let folder = folder(&[
        ("ring/a/kustomization.yaml", "resources: [../b]"),
        ("ring/b/kustomization.yaml", "resources: [../a]"),
        ("lacks/kustomization.yaml", "resources: [none.yaml]"),
        ("broken/kustomization.yaml", "resources: ["),
        ("bad/kustomization.yaml", "resources: [a.yaml]"),
        ("bad/a.yaml", "apiVersion: v1\nkind: Pod\n"),
        ("flood", "#!/bin/sh\nexec cat /dev/zero\n"),
    ]);
    refused(folder.path(), "ring", &["ring/a (rendered): kustomize build failed: ", "cycle"]);
    refused(folder.path(), "lacks", &["lacks (rendered): kustomize build failed: ", "none.yaml"]);
    refused(folder.path(), "broken", &["broken (rendered): kustomize build failed: "]);
    refused(folder.path(), "bad", &["bad (rendered): kustomize build failed: "]);
    fs::set_permissions(folder.path().join("flood"), fs::Permissions::from_mode(0o755)).unwrap();
    let flood = bounded(folder.path(), &["list", "-f", "bad", "--kustomize", "./flood"]);
    assert_eq!(flood.code, 2, "{flood:?}");
    assert!(flood.errors.contains("bad (rendered): kustomize wrote more than 33554432 bytes"), "{flood:?}");
}

#[test]
fn revisions_that_are_none_are_told() {
    let folder = folder(&[("x/a.yaml", &shop())]);
    let git = |args: &[&str]| {
        let ran = Command::new("git").args(args).current_dir(folder.path()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    let asked = |before: &str| bounded(folder.path(), &["diff", before, "x"]);
    let outside = asked("main:x");
    assert!(outside.code == 2 && outside.errors.contains("git repository"), "{outside:?}");
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "one"]);
    for (before, words) in [
        ("none:x", "none:x: there is no revision `none` in this repository"),
        ("main:none", "main:none: there is no such path at that revision"),
        ("--all:x", "unexpected argument"),
        (":x", ":x: `` is no revision"),
        ("main@{9}:x", "main@{9}"),
    ] {
        let ran = asked(before);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{before}: {ran:?}");
        assert!(ran.errors.contains(words), "{before}: {ran:?}");
    }
    fs::write(folder.path().join(".git/refs/heads/main"), "0000000000000000000000000000000000000001\n").unwrap();
    let broken = asked("main:x");
    assert!(broken.code == 2 && broken.errors.contains("main:x: "), "{broken:?}");
}

#[test]
fn standard_input_is_read_once_alone() {
    for args in [
        &["diff", "-", "-"][..],
        &["diff", "-", "x.yaml", "--workloads", "-"],
        &["list", "-f", "-", "-f", "-"],
        &["list", "-f", "-", "--workloads", "-"],
        &["explain", "-f", "-", "--flows", "-"],
    ] {
        let ran = run_in(file(shop()).path(), args, &shop());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.errors.contains("can be read only once"), "{args:?}: {ran:?}");
    }
}

#[test]
fn flows_that_are_none_are_named() {
    let folder = file(shop());
    let write = |content: &[u8]| fs::write(folder.path().join("flows"), content).unwrap();
    let flows = |file: &str| bounded(folder.path(), &["explain", "-f", "x.yaml", "--flows", file, "-o", "jsonl"]);
    write(b"shop/web shop/db 1\nshop/web \xff 2\nshop/web shop/\x1b[31m 3\na b\nshop/web shop/db 4\n");
    let ran = flows("flows");
    assert_eq!((ran.code, ran.lines().len()), (2, 5), "{ran:?}");
    for words in ["flows:2: the line is not UTF-8 text", "flows:3: the line has control characters", "flows:4: "] {
        assert!(ran.errors.contains(words), "{ran:?}");
    }
    write(&fs::read("/bin/sh").unwrap());
    assert_eq!(flows("flows").code, 2);
    write(&b"x".repeat(10_000_000));
    let long = flows("flows");
    assert!(long.code == 2 && long.errors.contains("flows: line 1 is longer than any flow"), "{long:?}");
    assert_eq!([flows("/dev/zero").code, flows("none").code, flows(".").code], [2, 2, 2]);
}

#[test]
fn a_configuration_that_is_none_is_told() {
    let folder = file(shop() + &policy("shop/p", "{podSelector: {}}"));
    fs::write(folder.path().join("config"), "schema: [").unwrap();
    for config in ["config", "none", ".", "/dev/zero", "/bin/sh", "x.yaml"] {
        let ran = bounded(folder.path(), &["lint", "-f", "x.yaml", "--config", config]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{config}: {ran:?}");
        assert!(ran.errors.contains(config), "{config}: {ran:?}");
    }
}

/// Every command with an output, over files of the folder.
fn outputs() -> Vec<Vec<&'static str>> {
    let config: [&[&str]; 2] =
        [&["run", "--dry-run", "--config", "config"], &["admission-policy", "--config", "config"]];
    let flows = vec!["explain", "-f", "x.yaml", "--flows", "flows", "-o", "jsonl"];
    let differ = vec!["diff", "x.yaml", "y.yaml"];
    let all = commands("x.yaml").into_iter().chain(config.map(<[&str]>::to_vec)).chain([flows, differ]);
    all.collect()
}

fn with_output() -> TempDir {
    let config = "schema: netpol-verify/config/v1\nproductNamespaces: {names: [shop]}\n\
        matrix: {homeserver: https://matrix.example.org, room: \"!abc:example.org\"}\n";
    let deny = policy("shop/p", "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}");
    let files = [("config", config), ("flows", &"shop/web shop/db 1\n".repeat(5_000)), ("y.yaml", &shop())];
    let folder = folder(&files);
    let pods: String = (0..60).map(|n| pod(&format!("shop/p{n}"), &format!("n: v{n}"), "", "")).collect();
    fs::write(folder.path().join("x.yaml"), shop() + &pods + &deny).unwrap();
    folder
}

#[test]
fn an_output_that_cannot_be_written_is_exit_3_and_one_that_nobody_reads_is_no_failure() {
    let folder = with_output();
    for args in outputs() {
        let full = through("exec \"$0\" \"$@\" > /dev/full", folder.path(), &args);
        assert!(
            full.code == 3 && full.errors.contains("the output cannot be written: No space left"),
            "{args:?}: {full:?}"
        );
        through("exec \"$0\" \"$@\" 2> /dev/full", folder.path(), &args);
        through("exec \"$0\" \"$@\" > /dev/full 2> /dev/full", folder.path(), &args);
        through("exec \"$0\" \"$@\" >&- 2>&-", folder.path(), &args);
        let mut child = Command::new(PROGRAM)
            .args(&args)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(!first.is_empty() && !errors.contains("panicked"), "{args:?}: {errors}");
        assert!(child.wait().unwrap().code().is_some_and(|code| code <= 1), "{args:?}: {errors}");
    }
}
