//! Folders with a kustomization, by the real kustomize (`KUSTOMIZE`, or on `PATH`; `make test` brings it).

use std::process::Command;

use super::support::{folder, pod, policy, run_in};

const FROM_WEB: &str =
    "\n  podSelector: {matchLabels: {app: db}}\n  ingress:\n  - from:\n    - podSelector: {matchLabels: {app: web}}";

fn tree() -> tempfile::TempDir {
    let base = pod("x/web", "app: web", "", "") + &pod("x/db", "app: db", "", "") + &policy("x/db", FROM_WEB);
    let other = policy("x/other", "{podSelector: {}}");
    folder(&[
        ("base/kustomization.yaml", "resources: [all.yaml]"),
        ("base/all.yaml", &base),
        ("prod/kustomization.yaml", "{resources: [../base, other.yaml], namespace: shop}"),
        ("prod/other.yaml", &other),
        ("plain/a.yaml", &base),
    ])
}

#[test]
fn a_folder_is_what_kustomize_makes_of_it_and_its_origins_are_in_the_files() {
    let folder = tree();
    let flow = ["explain", "-f", "prod", "shop/web", "shop/db", "80", "-o", "json"];
    let ran = run_in(folder.path(), &flow, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    let origin = &ran.json()["ingress"]["by"][0]["origin"];
    assert_eq!(*origin, serde_json::json!({"file": "../base/all.yaml", "line": 20, "column": 5}), "{ran:?}");
}

#[test]
fn what_a_rendering_is_made_of_is_not_read_a_second_time() {
    let folder = tree();
    let all = run_in(folder.path(), &["list", "-f", ".", "-o", "json"], "");
    assert_eq!(all.code, 0, "the base and its file are parts of prod: {all:?}");
    let text = all.out.clone();
    assert!(text.contains("\"shop\"") && text.contains("\"x\""), "prod's and the plain folder's: {all:?}");
    // The policies stand beside the workloads, the kustomization that Flux applies elsewhere.
    let split = self::folder(&[
        ("apps/web.yaml", &pod("x/web", "app: web", "", "")),
        ("apps/policy.yaml", &(pod("x/db", "app: db", "", "") + &policy("x/db", FROM_WEB))),
        ("flux/kustomization.yaml", "{resources: [../apps/policy.yaml], commonAnnotations: {team: a}}"),
    ]);
    let explained = run_in(split.path(), &["explain", "-f", ".", "x/web", "x/db", "80", "-o", "json"], "");
    assert_eq!(explained.code, 0, "{explained:?}");
    assert_eq!(explained.json()["ingress"]["by"][0]["origin"]["file"], "apps/policy.yaml", "{explained:?}");
    // Two overlays of one base are two answers, also where one has less than the other.
    std::fs::create_dir(folder.path().join("test")).unwrap();
    let other = "{resources: [../base], namespace: shop, commonAnnotations: {team: a}}";
    std::fs::write(folder.path().join("test/kustomization.yaml"), other).unwrap();
    let twice = run_in(folder.path(), &["list", "-f", "."], "");
    assert_eq!(twice.code, 2, "{twice:?}");
    assert!(twice.errors.contains("declared once more"), "{twice:?}");
}

#[test]
fn a_policy_beside_kustomizations_that_none_of_them_holds_is_told() {
    let folder = tree();
    let ran = run_in(folder.path(), &["lint", "-f", ".", "-o", "sarif"], "");
    assert_eq!(ran.code, 1, "{ran:?}");
    let results = ran.json()["runs"][0]["results"].as_array().unwrap().clone();
    let files = |rule: &str| -> Vec<String> {
        let of_rule = results.iter().filter(|result| result["ruleId"] == rule);
        let places = of_rule.map(|result| &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]);
        places.map(|file| file.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(files("not-rendered"), ["plain/a.yaml"], "{ran:?}");
    assert!(files("baseline").iter().any(|file| file == "base/all.yaml"), "files as the folder has them: {ran:?}");
    let alone = run_in(folder.path(), &["lint", "-f", "plain"], "");
    assert!(!alone.out.contains("not-rendered"), "the control, where there is no kustomization: {alone:?}");
}

#[test]
fn a_revision_is_rendered_from_all_of_it() {
    let folder = tree();
    for args in [vec!["init", "-q", "-b", "main"], vec!["add", "."], vec!["commit", "-q", "-m", "one"]] {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let ran = Command::new("git").args(identity).args(&args).current_dir(folder.path()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
    std::fs::write(folder.path().join("prod/kustomization.yaml"), "{resources: [../base], namespace: shop}").unwrap();
    let ran = run_in(folder.path(), &["diff", "main:prod", "prod", "-o", "json"], "");
    assert_eq!(ran.code, 1, "{ran:?}");
    let policies = &ran.json()["policies"];
    assert_eq!(policies[0]["name"], "other", "{ran:?}");
    assert_eq!(policies[0]["before"]["file"], "other.yaml");
}

#[test]
fn a_kustomization_that_is_refused_is_told_and_so_is_a_missing_program() {
    let folder = folder(&[("kustomization.yaml", "resources: [none.yaml]")]);
    let ran = run_in(folder.path(), &["list", "-f", "."], "");
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("kustomize build failed: ") && ran.errors.contains("none.yaml"), "{ran:?}");
    let ran = run_in(folder.path(), &["list", "-f", ".", "--kustomize", "./no-such-program"], "");
    assert!(ran.errors.contains("`./no-such-program` cannot be run: install kustomize"), "{ran:?}");
}

#[test]
fn a_kustomization_may_hold_policies_of_every_kind() {
    let folder = folder(&[
        ("k8s/kustomization.yaml", "namespace: shop\nresources: [global.yaml, admin.yaml, pods.yaml]\n"),
        (
            "k8s/global.yaml",
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: db}\nspec:\n  order: 1\n  \
             selector: app == 'db'\n  ingress:\n    - action: Deny\n      protocol: TCP\n      destination: {ports: [1]}\n",
        ),
        (
            "k8s/admin.yaml",
            "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: ops}\nspec:\n  \
             priority: 1\n  subject: {namespaces: {}}\n  ingress:\n    - action: Deny\n      from: [{namespaces: {}}]\n      \
             ports: [{portNumber: {port: 2}}]\n",
        ),
        ("k8s/pods.yaml", &(pod("any/web", "app: web", "", "") + &pod("any/db", "app: db", "", ""))),
    ]);
    for (port, expected) in [
        ("1", "GlobalNetworkPolicy/db ingress[0] denies it (global.yaml:8:"),
        ("2", "AdminNetworkPolicy/ops ingress[0] denies it, in tier adminnetworkpolicy (admin.yaml:8:"),
    ] {
        let ran = run_in(folder.path(), &["explain", "-f", "k8s", "shop/web", "shop/db", port], "");
        assert!(ran.code == 1 && ran.out.contains(expected), "{ran:?}");
    }
}
