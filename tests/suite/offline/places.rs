//! The files that outputs name: those that a person can open, and a code host shows findings beside.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{
    lint::{POLICIES, SHOP},
    support::{Ran, folder, run_in},
};

/// Two teams, each with a file of the same name; that of team b has one line more.
fn teams() -> TempDir {
    let of = |team: &str| format!("{POLICIES}---\n{SHOP}").replace("shop", team);
    let (a, b) = (of("team-a"), format!("# Of team b.\n{}", of("team-b")));
    folder(&[("team-a/network-policy.yaml", &a), ("team-b/network-policy.yaml", &b), ("ci/notes.txt", "")])
}

/// The files of the places, and of the fixes, of results about a team.
fn files<'r>(results: &'r [Value], team: &str) -> Vec<&'r Value> {
    let about = results.iter().filter(|result| result["message"]["text"].as_str().unwrap().contains(team));
    let of = |result: &'r Value| {
        let fix = &result["fixes"][0]["artifactChanges"][0]["artifactLocation"]["uri"];
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        [place, fix].into_iter().filter(|file| !file.is_null())
    };
    about.flat_map(of).collect()
}

fn results(ran: &Ran) -> Vec<Value> {
    ran.json()["runs"][0]["results"].as_array().unwrap().clone()
}

#[test]
fn files_of_one_name_in_two_folders_are_told_apart() {
    let here = teams();
    let text = run_in(here.path(), &["lint", "-f", "team-a/", "-f", "./team-b"], "");
    for team in ["team-a", "team-b"] {
        let about: Vec<&str> = text.out.lines().filter(|line| line.contains(&format!("/{team}/"))).collect();
        let begin = format!("{team}/network-policy.yaml:");
        assert!(about.len() == 3 && about.iter().all(|line| line.starts_with(&begin)), "{text:?}");
    }
    assert!(text.out.contains("add the entry to team-b/network-policy.yaml:37"), "{text:?}");
    let flow = ["team-b/web", "team-b/db", "5432", "-o", "json"];
    let explained = run_in(here.path(), &[&["explain", "-f", "team-a", "-f", "team-b"], &flow[..]].concat(), "").json();
    assert_eq!(explained["egress"]["by"][0]["origin"]["file"], "team-b/network-policy.yaml");
    assert_eq!(explained["entries"][0]["file"], "team-b/network-policy.yaml");
    let flow = ["team-a/web", "team-a/db", "5432", "-o", "json"];
    let alone = run_in(here.path(), &[&["explain", "-f", "team-a"], &flow[..]].concat(), "").json();
    assert_eq!(alone["entries"][0]["file"], "network-policy.yaml", "of one folder, from it");
    let outside = run_in(&here.path().join("ci"), &["lint", "-f", "../team-a", "-f", "../team-b"], "");
    assert!(outside.out.lines().any(|line| line.starts_with("../team-b/network-policy.yaml:18:7: ")), "{outside:?}");
}

#[test]
fn a_fix_is_for_the_file_that_the_finding_is_about() {
    let here = teams();
    let ran = run_in(here.path(), &["lint", "-f", "team-a", "-f", "team-b", "-o", "sarif"], "");
    let all = results(&ran);
    assert_eq!(files(&all, "team-a/"), vec!["team-a/network-policy.yaml"; 4], "{ran:?}");
    assert_eq!(files(&all, "team-b/"), vec!["team-b/network-policy.yaml"; 4], "{ran:?}");
    // A folder and a file that is in none of them, and one folder alone.
    let mixed = run_in(here.path(), &["lint", "-f", "team-a", "-f", "team-b/network-policy.yaml", "-o", "sarif"], "");
    assert_eq!(results(&mixed), all);
    let alone = run_in(here.path(), &["lint", "-f", "team-b", "-o", "sarif"], "");
    assert_eq!(files(&results(&alone), "team-b/"), vec!["team-b/network-policy.yaml"; 4], "{alone:?}");
}

#[test]
fn files_that_are_rendered_from_two_folders_are_told_apart() {
    let here = teams();
    fs::write(here.path().join("team-a/kustomization.yaml"), "resources: [network-policy.yaml]").unwrap();
    fs::create_dir(here.path().join("b")).unwrap();
    fs::rename(here.path().join("team-b"), here.path().join("b/base")).unwrap();
    fs::write(here.path().join("b/base/kustomization.yaml"), "resources: [network-policy.yaml]").unwrap();
    fs::create_dir(here.path().join("b/prod")).unwrap();
    fs::write(here.path().join("b/prod/kustomization.yaml"), "resources: [../base]").unwrap();
    let text = run_in(here.path(), &["lint", "-f", "team-a", "-f", "b/prod"], "");
    for place in ["team-a/network-policy.yaml:17:7: ", "b/base/network-policy.yaml:18:7: "] {
        assert!(text.out.lines().any(|line| line.starts_with(place)), "{place}: {text:?}");
    }
    let sarif = run_in(here.path(), &["lint", "-f", "team-a", "-f", "b/prod", "-o", "sarif"], "");
    assert_eq!(files(&results(&sarif), "team-b/"), vec!["b/base/network-policy.yaml"; 4], "{sarif:?}");
}
