//! What `--help` tells, word for word: a person has nothing else at first.

use super::support::{Ran, run_in};
use std::path::Path;

const COMMANDS: [&str; 10] =
    ["run", "watch", "status", "list", "diff", "explain", "probe", "lint", "table", "admission-policy"];

fn help(args: &[&str]) -> Ran {
    let ran = run_in(Path::new("."), &[args, &["--help"]].concat(), "");
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{ran:?}");
    ran
}

fn golden(name: &str, ran: &Ran) {
    insta::with_settings!({snapshot_path => "../../golden/help", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, ran.out.lines().map(unset).collect::<Vec<_>>().join("\n"));
    });
}

/// The line without what a variable is set to where the test runs.
fn unset(line: &str) -> String {
    match line.trim_start().strip_prefix("[env: ").and_then(|rest| rest.split_once('=')) {
        Some((name, _)) => format!("{}[env: {name}=]", " ".repeat(line.len() - line.trim_start().len())),
        None => line.trim_end().to_owned(),
    }
}

#[test]
fn each_command_says_how_it_is_used() {
    golden("netpol-verify", &help(&[]));
    for command in COMMANDS {
        golden(command, &help(&[command]));
    }
}

#[test]
fn each_command_has_examples_and_exit_codes_and_stands_in_the_list() {
    let all = help(&[]).out;
    for command in COMMANDS {
        let told = help(&[command]).out;
        assert!(told.contains(&format!("Examples:\n  netpol-verify {command} ")) || command == "status", "{told}");
        assert!(told.contains("Exit codes: 0 "), "{told}");
        assert!(all.contains(&format!("\n  {command} ")), "{all}");
    }
    let listed = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    assert_eq!(listed.lines().count(), COMMANDS.len() + 1, "a command is not in this test: {listed}");
}

/// An example that is refused as a usage error helps nobody.
#[test]
fn the_forms_of_output_that_help_names_are_those_that_the_command_has() {
    for command in ["list", "diff", "explain", "lint", "table"] {
        let told = help(&[command]).out;
        let words = told.split("Outputs (-o):").nth(1).unwrap().split("\n\n").next().unwrap();
        for form in ["text", "json", "jsonl", "markdown", "sarif", "svg"] {
            let more: &[&str] = match command {
                "diff" => &["none", "none"],
                "explain" => &["-f", "none", "a/b", "c/d", "1"],
                _ => &["-f", "none"],
            };
            let ran = run_in(Path::new("/"), &[&[command, "-o", form], more].concat(), "");
            let is_refused = ran.errors.contains(&format!("this command has no -o {form}"));
            let is_named = words.split(|c: char| !c.is_alphanumeric()).any(|word| word == form);
            assert_eq!(is_named, !is_refused, "{command} -o {form}: {ran:?}");
        }
    }
}

#[test]
fn a_path_without_its_option_is_told_with_it() {
    let folder = super::support::folder(&[("infra/a.yaml", "")]);
    let told = run_in(folder.path(), &["list", "infra"], "");
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.errors.contains("tip: a file or folder is given with its option: -f infra"), "{told:?}");
    for other in [&["list", "nowhere"][..], &["status", "infra"]] {
        let told = run_in(folder.path(), other, "");
        assert!(told.code == 2 && !told.errors.contains("-f infra"), "{told:?}");
    }
}
