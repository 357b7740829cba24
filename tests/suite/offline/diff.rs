//! Differences between folders, files and Git revisions.

use std::{path::Path, process::Command};

use super::support::{Ran, folder, pod, policy, run_in};

const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
const TO_DB: &str = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}]}";
const FROM_WEB: &str =
    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}";
const OUT: &str = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 443}]}]}";

fn pods() -> String {
    pod("shop/web", "app: web", "", "") + &pod("shop/db", "app: db", "", "")
}

fn base() -> String {
    policy("shop/deny", DENY) + &policy("shop/db", FROM_WEB)
}

fn golden(name: &str, ran: &Ran) {
    insta::with_settings!({snapshot_path => "../../golden/offline", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, format!("exit {}\n{}", ran.code, ran.out));
    });
}

/// Two folders, and the workloads apart.
fn two(before: &str, after: &str) -> tempfile::TempDir {
    folder(&[("old/np.yaml", before), ("new/np.yaml", after), ("pods.yaml", &pods())])
}

#[test]
fn what_a_change_opens_and_closes_is_told_with_its_reasons() {
    let after = base() + &policy("shop/web", TO_DB) + &policy("shop/out", OUT);
    let folder = two(&base(), &after);
    let ran = |from: &str, to: &str, form: &str| {
        run_in(folder.path(), &["diff", from, to, "--workloads", "pods.yaml", "-o", form], "")
    };
    golden("diff_text", &ran("old", "new", "text"));
    golden("diff_json", &ran("old", "new", "json"));
    golden("diff_markdown", &ran("old", "new", "markdown"));
    golden("diff_sarif", &ran("old", "new", "sarif"));
    golden("diff_svg", &ran("old", "new", "svg"));
    golden("diff_back", &ran("new", "old", "text"));
}

/// A result that stands beside no line of the change is shown nowhere.
#[test]
fn sarif_has_a_result_for_each_flow_and_policy_at_the_files_of_the_change() {
    let after = base().replace("[{podSelector: {matchLabels: {app: web}}}]", "[{podSelector: {}}]")
        + &policy("shop/web", TO_DB);
    let files =
        folder(&[("k8s/sub/np.yaml", &base()), ("k8s/gone.yaml", &policy("shop/out", OUT)), ("pods.yaml", &pods())]);
    git(files.path(), &["init", "-q", "-b", "main"]);
    git(files.path(), &["add", "."]);
    git(files.path(), &["commit", "-q", "-m", "one"]);
    std::fs::write(files.path().join("k8s/sub/np.yaml"), after).unwrap();
    std::fs::remove_file(files.path().join("k8s/gone.yaml")).unwrap();
    let run =
        |form: &str| run_in(files.path(), &["diff", "main:k8s", "k8s", "--workloads", "pods.yaml", "-o", form], "");
    let (told, log) = (run("json").json(), run("sarif"));
    assert_eq!(log.code, 1, "{log:?}");
    let run = &log.json()["runs"][0];
    let results = run["results"].as_array().unwrap();
    let [flows, policies] = ["flows", "policies"].map(|part| told[part].as_array().unwrap());
    assert_eq!(results.len(), flows.len() + policies.len());
    for (result, change) in results.iter().zip(flows.iter().chain(policies)) {
        assert_eq!(result["ruleId"], change["change"]);
        assert!(run["tool"]["driver"]["rules"].as_array().unwrap().iter().any(|rule| rule["id"] == result["ruleId"]));
    }
    let locations = |result: &serde_json::Value| result["locations"].as_array().unwrap().clone();
    let places: Vec<_> = results.iter().flat_map(locations).collect();
    let files: std::collections::BTreeSet<&str> =
        places.iter().map(|place| place["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap()).collect();
    assert_eq!(files.into_iter().collect::<Vec<_>>(), ["k8s/gone.yaml", "k8s/sub/np.yaml"]);
    for (result, flow) in results.iter().zip(flows) {
        let because = flow["because"].as_array().unwrap();
        assert_eq!(locations(result).len(), because.len());
        assert_eq!(locations(result)[0]["physicalLocation"]["region"]["startLine"], because[0]["line"]);
    }
}

/// GitHub refuses a whole log for one result without a place.
#[test]
fn a_flow_that_differs_for_its_workload_alone_is_shown_at_a_file_of_the_sets() {
    let more = pods() + &pod("shop/new", "", "", "");
    let places = |policies: &str| {
        let files = folder(&[("old/p.yaml", &pods()), ("new/p.yaml", &more), ("new/np.yaml", policies)]);
        let ran = run_in(files.path(), &["diff", "old", "new", "-o", "sarif"], "");
        let results = ran.json()["runs"][0]["results"].as_array().unwrap().clone();
        let place =
            |result: &serde_json::Value| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        assert!(!results.is_empty(), "{ran:?}");
        results
            .iter()
            .map(|result| place(result).as_str().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(places(&policy("ops/deny", DENY)).into_iter().collect::<Vec<_>>(), ["new/np.yaml"]);
    assert_eq!(places("").into_iter().collect::<Vec<_>>(), ["new"]);
}

#[test]
fn what_means_the_same_does_not_differ() {
    let before = base() + &policy("shop/web", TO_DB);
    let other =
        TO_DB.replace("{matchLabels: {app: web}}", "{matchExpressions: [{key: app, operator: In, values: [web]}]}");
    let folder = two(&before, &(policy("shop/web", &other) + &base()));
    let ran = run_in(folder.path(), &["diff", "old", "new", "--workloads", "pods.yaml"], "");
    assert_eq!((ran.code, ran.out.as_str()), (0, "No flow differs.\n"), "{ran:?}");
    let json = run_in(folder.path(), &["diff", "old", "new", "--workloads", "pods.yaml", "-o", "json"], "").json();
    assert_eq!(
        json,
        serde_json::json!({"schema": "netpol-verify/diff/v1", "flows": [], "policies": [], "workloads": []})
    );
}

#[test]
fn a_workload_of_one_side_is_told_with_its_flows() {
    let folder = folder(&[("old.yaml", &pods()), ("new.yaml", &(pods() + &pod("shop/new", "", "", "")))]);
    let ran = run_in(folder.path(), &["diff", "old.yaml", "new.yaml"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("+ shop/new -> shop/db: all ports\n"), "{ran:?}");
    assert!(ran.out.ends_with("Workloads:\nadded shop/new\n"), "{ran:?}");
    assert!(!ran.out.contains("shop/web -> shop/db"), "{ran:?}");
}

#[test]
fn pods_that_one_side_tells_apart_are_compared_one_by_one() {
    let one = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: db, n: {name}}}, ownerReferences: [{{kind: StatefulSet, name: db}}]}}\n"
        )
    };
    let all = pod("shop/web", "app: web", "", "") + &one("db-0") + &one("db-1");
    let first = "{podSelector: {matchLabels: {n: db-0}}}";
    let folder = folder(&[
        ("old", &policy("shop/other", "{podSelector: {matchLabels: {n: none}}}")),
        ("new", &policy("shop/first", first)),
        ("all", &all),
    ]);
    let ran = run_in(folder.path(), &["diff", "old", "new", "--workloads", "all"], "");
    assert!(ran.out.starts_with("- shop/web -> shop/db-0: all ports"), "{ran:?}");
    assert!(!ran.out.contains("db-1"), "{ran:?}");
}

#[test]
fn a_change_in_one_family_is_told() {
    let dual = |name: &str, n: u8| pod(name, "", "", &format!("podIPs: [{{ip: 10.0.0.{n}}}, {{ip: \"fd00::{n}\"}}]"));
    let all = dual("shop/web", 1) + &dual("shop/db", 2);
    let out = |nets: &str| {
        policy("shop/out", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{nets}]}}]}}"))
    };
    let v4 = "{ipBlock: {cidr: 10.0.0.2/32}}";
    let folder = folder(&[
        ("old", &out(v4)),
        ("new", &out(&format!("{v4}, {{ipBlock: {{cidr: \"fd00::2/128\"}}}}"))),
        ("all", &all),
    ]);
    let ran = run_in(folder.path(), &["diff", "old", "new", "--workloads", "all"], "");
    assert!(ran.out.starts_with("+ shop/web -> shop/db: all ports (IPv6)"), "{ran:?}");
}

#[test]
fn sets_without_workloads_are_nothing_to_compare() {
    let folder = two(&base(), "");
    let ran = run_in(folder.path(), &["diff", "old", "new"], "");
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
    assert!(ran.errors.contains("--workloads"), "{ran:?}");
}

fn git(folder: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
    let ran = Command::new("git").args(identity).args(args).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{args:?}: {ran:?}");
}

#[test]
fn revisions_are_compared_with_each_other_and_with_the_folder() {
    let folder = folder(&[("k8s/np.yaml", &base()), ("k8s/pods.yaml", &pods()), ("k8s/notes.md", "# no manifest")]);
    git(folder.path(), &["init", "-q", "-b", "main"]);
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "one"]);
    std::fs::write(folder.path().join("k8s/web.yaml"), policy("shop/web", TO_DB)).unwrap();
    let ran = run_in(folder.path(), &["diff", "main:k8s", "k8s"], "");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.starts_with("+ shop/web -> shop/db: 5432/TCP  [web.yaml:"), "{ran:?}");
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "two"]);
    let back = run_in(folder.path(), &["diff", "HEAD:k8s", "HEAD~1:k8s"], "");
    assert!(back.out.starts_with("- shop/web -> shop/db: 5432/TCP"), "{back:?}");
    assert_eq!(run_in(folder.path(), &["diff", "HEAD:k8s", "k8s"], "").code, 0);
    assert_eq!(run_in(folder.path(), &["diff", "HEAD:", "."], "").code, 0);
    let below = run_in(&folder.path().join("k8s"), &["diff", "HEAD~1:./", "HEAD:k8s/"], "");
    assert_eq!(below.code, 1, "{below:?}");
    for (bad, word) in [
        ("none:k8s", "there is no revision `none`"),
        ("main:none", "there is no such path at that revision"),
        ("--unknown=x:k8s", "unexpected argument"),
        (":k8s", "`` is no revision"),
        ("nowhere", "there is no such file or folder"),
    ] {
        let ran = run_in(folder.path(), &["diff", bad, "k8s"], "");
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.errors.contains(word), "{bad}: {ran:?}");
    }
    let option = run_in(folder.path(), &["diff", "k8s", "--", "--upload-pack=x:k8s"], "");
    assert_eq!(option.code, 2, "{option:?}");
    let broken = policy("shop/web", "{podSelectr: {}}");
    std::fs::write(folder.path().join("k8s/web.yaml"), broken).unwrap();
    git(folder.path(), &["commit", "-q", "-a", "-m", "three"]);
    let ran = run_in(folder.path(), &["diff", "HEAD:k8s", "k8s"], "");
    assert!(ran.errors.contains("HEAD:k8s/web.yaml:5:8: unknown field `podSelectr`"), "{ran:?}");
}
