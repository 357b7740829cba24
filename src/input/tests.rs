use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::*;
use crate::model::Workload;

fn texts(files: &[(&str, &str)]) -> Vec<Text> {
    let text = |(name, content): &(&str, &str)| Text {
        source: Source { shown: format!("in/{name}"), name: (*name).to_owned() },
        content: (*content).to_owned(),
        origins: Vec::new(),
        made_of: BTreeSet::new(),
    };
    files.iter().map(text).collect()
}

fn set_of(files: &[(&str, &str)], options: Options) -> Result<InputSet, Faults> {
    collect(&parse(&texts(files))?, options)
}

fn set(content: &str) -> InputSet {
    set_of(&[("a.yaml", content)], Options::default()).unwrap()
}

fn fault(content: &str) -> String {
    set_of(&[("a.yaml", content)], Options::default()).unwrap_err().to_string()
}

fn names(set: &InputSet) -> Vec<String> {
    let workloads = set.snapshot.workloads.iter().map(|w| &w.id).chain(set.snapshot.pods.iter().map(|p| &p.workload));
    let name = |id: &Workload| format!("{}/{}/{}", id.kind, id.namespace, id.name);
    workloads.map(name).collect()
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n{spec}"
    )
}

#[test]
fn workloads_are_the_topmost_owners_and_templates_stand_for_pods() {
    let set = set("\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: c, ports: [{containerPort: 80, name: http}]}]}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: cart-1, namespace: shop, ownerReferences: [{kind: Deployment, name: cart, controller: true}]}
spec: {replicas: 0, template: {metadata: {labels: {app: old}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: nightly}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: static, namespace: kube-system, ownerReferences: [{kind: Node, name: n1, controller: true}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, ownerReferences: [{kind: ReplicaSet, name: gone, controller: true}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-1-x, namespace: shop, ownerReferences: [{kind: ReplicaSet, name: cart-1, controller: true}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ignored}
data: {n: 1}
");
    let expected = [
        "CronJob/default/nightly",
        "Deployment/shop/cart",
        "Pod/kube-system/static",
        "Deployment/shop/cart",
        "ReplicaSet/shop/gone",
    ];
    assert_eq!(names(&set), expected);
    let cart = &set.snapshot.workloads[1];
    assert_eq!((cart.labels["app"].as_str(), cart.ports[0].number), ("cart", 80));
    assert_eq!(set.snapshot.namespaces["shop"].labels.len(), 1, "undeclared: the label of its name alone");
}

#[test]
fn a_job_that_has_ended_stands_for_no_pod_any_more() {
    let job = |name: &str, conditions: &str| {
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{template: {{metadata: {{labels: {{app: {name}}}}}}}}}\nstatus: {{conditions: [{conditions}]}}\n"
        )
    };
    let jobs = job("done", "{type: Complete, status: 'True'}")
        + &job("failed", "{type: Suspended, status: 'False'}, {type: Failed, status: 'True'}")
        + &job("suspended", "{type: Suspended, status: 'True'}")
        + &job("runs", "{type: Complete, status: 'False'}");
    assert_eq!(names(&set(&jobs)), ["Job/shop/runs", "Job/shop/suspended"]);
}

#[test]
fn lists_are_flattened_and_typed_ones_say_what_their_items_are() {
    let set = set("\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
- apiVersion: v1
  kind: PodList
  items:
  - metadata: {name: a, namespace: shop}
  - metadata: {name: b, namespace: shop}
    status: {phase: Succeeded, podIP: 10.0.0.9}
---
---
# nothing but a comment
");
    assert_eq!(names(&set), ["Pod/shop/a", "Pod/shop/b"]);
    assert_eq!(set.snapshot.namespaces["shop"].labels["team"], "a");
    assert!(set.snapshot.pods[1].ips.is_empty(), "a finished pod has lost its address");
    let world = set.world(&set, None);
    assert_eq!(world.classes.len(), 1, "a pod without an address counts, a finished one does not");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (content, expected) in [
        ("a: [1", "in/a.yaml:"),
        ("a: 1\na: 2", "in/a.yaml:2:1: "),
        ("# c\n\nfoo: bar", "in/a.yaml:3:1: not a Kubernetes object"),
        ("just words", "in/a.yaml:1:1: not a Kubernetes object"),
        (&policy("  podSelectr: {}"), "in/a.yaml:5:3: unknown field `podSelectr` in spec (it has podSelector, "),
        (&policy("  ingress:\n  - form: []"), "in/a.yaml:6:5: unknown field `form` in ingress"),
        (&policy("  podSelector: {matchLabels: {app: 1}}"), "in/a.yaml:5:36: `app` must be a text"),
        (&policy("  ingress:\n  - ports: [{port: 70000}]"), "in/a.yaml:6:13: NetworkPolicy/shop/p: port 70000"),
        (&policy("  ingress:\n  - ports: [{port: 5, endPort: 4}]"), "endPort 4 is below port 5"),
        (&policy("  ingress:\n  - ports: [{port: http, endPort: 4}]"), "endPort 4 needs a numeric port"),
        (
            &policy("  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0/33}}]"),
            "in/a.yaml:6:23: NetworkPolicy/shop/p: `10.0.0.0/33`",
        ),
        (
            &policy("  egress:\n  - to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]"),
            "in/a.yaml:6:48: `except` 11.0.0.0/16 is not inside 10.0.0.0/8",
        ),
        (&policy("  egress:\n  - to: [{}]"), "the peer names nothing"),
        (&policy("  egress:\n  -"), "an item of `egress` is empty"),
        (&policy("  policyTypes: [Both]"), "`Both` is no policy type"),
        (
            &policy("  podSelector: {matchExpressions: [{key: a, operator: Near}]}"),
            "in/a.yaml:5:3: NetworkPolicy/shop/p: invalid label selector",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {v: 1.0}}", "in/a.yaml:3:33: `v` must be a text"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{containerPort: 0}]}]}",
            "not between 1 and 65535",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIP: x}", "in/a.yaml:4:17: `x` is no IP address"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}", "a Pod without `metadata.name`"),
    ] {
        let told = fault(content);
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn lenient_makes_unknown_fields_warnings_and_nothing_else() {
    let lenient = Options { lenient: true, ..Options::default() };
    let odd = policy("  podSelectr: {}");
    let set = set_of(&[("a.yaml", &odd)], lenient).unwrap();
    assert_eq!(set.read.policies.len(), 1);
    assert!(set.warnings[0].starts_with("in/a.yaml:5:3: unknown field `podSelectr`"), "{:?}", set.warnings);
    assert!(set_of(&[("a.yaml", &policy("  ingress: {}"))], lenient).is_err());
}

#[test]
fn a_kind_of_policy_without_a_reader_is_never_skipped() {
    let other =
        |version: &str, kind: &str| format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{}}");
    for (version, kind) in [
        ("policy.networking.k8s.io/v1alpha9", "ClusterNetworkPolicy"),
        ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
        ("cilium.io/v2", "CiliumNetworkPolicy"),
        ("extensions/v1beta1", "NetworkPolicy"),
    ] {
        let faults = set_of(&[("a.yaml", &other(version, kind))], Options::default()).unwrap_err();
        assert!(faults.is_not_understood(), "{faults}");
        let told = faults.to_string();
        assert!(
            told.starts_with(&format!("in/a.yaml:1:1: {kind}/"))
                && told.contains("/x is of a kind")
                && told.contains(version),
            "{told}"
        );
    }
    let staged = other("projectcalico.org/v3", "StagedNetworkPolicy");
    assert!(set_of(&[("a.yaml", &staged)], Options::default()).unwrap().is_empty(), "never enforced");
}

#[test]
fn an_object_that_is_declared_twice_otherwise_is_refused_and_twice_the_same_is_once() {
    let (one, other) = (policy("  podSelector: {}"), policy("  podSelector: {matchLabels: {a: b}}"));
    let twice = set_of(&[("a.yaml", &one), ("b.yaml", &one)], Options::default()).unwrap();
    assert_eq!(twice.read.policies.len(), 1);
    let told = set_of(&[("a.yaml", &one), ("b.yaml", &other)], Options::default()).unwrap_err().to_string();
    assert!(
        told.starts_with("in/b.yaml:1:1: NetworkPolicy shop/p is declared once more, otherwise, at in/a.yaml:1:1"),
        "{told}"
    );
}

#[test]
fn alias_bombs_and_deep_nests_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let below = n - 1;
        let aliases = vec![format!("*a{below}"); 9].join(", ");
        bomb = format!("{bomb}a{n}: &a{n} [{aliases}]\n");
    }
    assert!(fault(&bomb).starts_with("in/a.yaml:"));
    assert!(fault(&"[".repeat(100_000)).starts_with("in/a.yaml:"));
}

fn read_error(paths: &[PathBuf]) -> String {
    files::read(paths, Path::new("no-kustomize")).unwrap_err().to_string()
}

#[test]
fn files_of_a_folder_are_found_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("b/c")).unwrap();
    fs::create_dir_all(at(".git")).unwrap();
    for name in ["z.yaml", "a.yml", "b/c/x.json", "b/notes.txt", ".git/y.yaml", "b/no-end"] {
        fs::write(at(name), "{}").unwrap();
    }
    let found = files::read(&[folder.path().to_owned()], Path::new("none")).unwrap();
    let names: Vec<_> = found.iter().map(|text| text.source.name.as_str()).collect();
    assert_eq!(names, ["a.yml", "b/c/x.json", "z.yaml"]);
    let shown = at("b/c/x.json").display().to_string();
    assert_eq!(found[1].source.shown, shown, "errors name a file as the user would");
    assert_eq!(
        files::read(&[at("b/no-end")], Path::new("none")).unwrap().len(),
        1,
        "what is named itself counts, whatever its end"
    );
}

#[test]
fn what_cannot_be_read_is_told_and_never_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(read_error(&[at("none")]).contains("there is no such file or folder"));
    fs::create_dir(at("ring")).unwrap();
    symlink("..", at("ring/up")).unwrap();
    assert!(read_error(&[folder.path().to_owned()]).contains("leads back to"));
    fs::remove_file(at("ring/up")).unwrap();
    symlink("nowhere", at("ring/x.yaml")).unwrap();
    assert!(read_error(&[folder.path().to_owned()]).contains("ring/x.yaml"));
    fs::remove_file(at("ring/x.yaml")).unwrap();
    fs::write(at("binary.yaml"), [0, 1, 2]).unwrap();
    fs::write(at("latin.yaml"), b"a: b\nc: \xe9").unwrap();
    let told = read_error(&[folder.path().to_owned()]);
    assert!(told.contains("binary.yaml:1:1: not text") && told.contains("latin.yaml:2:4: not UTF-8"), "{told}");
    fs::write(at("k"), "").unwrap();
    fs::set_permissions(at("k"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    if fs::File::open(at("k")).is_err() {
        assert!(read_error(&[at("k")]).contains("may not be read by this user"));
    }
    fs::write(at("ring/kustomization.yaml"), "resources: [x.yaml]").unwrap();
    assert!(read_error(&[at("ring")]).contains("`no-kustomize` cannot be run: install kustomize"));
}

#[test]
fn many_files_keep_their_order() {
    let names: Vec<String> = (0..500).map(|n| format!("{n}.yaml")).collect();
    let pod = |n: usize| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p{n}}}}}");
    let contents: Vec<String> = (0..500).map(pod).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(contents.iter().map(String::as_str)).collect();
    let parsed = parse(&texts(&files)).unwrap();
    assert!(parsed.iter().zip(&names).all(|(parsed, name)| parsed.source.name == *name));
}

#[test]
fn a_set_has_a_limit_in_all_and_the_file_that_exceeds_it_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..50 {
        fs::write(folder.path().join(format!("{number}.yaml")), "a: b\n".repeat(200)).unwrap();
    }
    let within = |limit| files::read_within(limit, &[folder.path().to_owned()], Path::new("none"));
    assert_eq!(within(50_000).unwrap().len(), 50);
    let faults = within(49_999).unwrap_err();
    let text = faults.to_string();
    assert_eq!(faults.0.len(), 1, "{text}");
    assert!(text.contains(".yaml: with it the set has more than") && text.ends_with("give fewer files"), "{text}");
    assert!(within(10).unwrap_err().0.len() <= 9, "what follows is not even read");
}

#[test]
fn each_file_with_the_same_broken_content_is_told_and_none_twice() {
    let broken = "a: [\n";
    let before = texts(&[("a.yaml", broken), ("b.yaml", broken), ("fine.yaml", "a: b")]);
    let after = texts(&[("b.yaml", broken), ("c.yaml", broken)]);
    let Err(faults) = parse_all([&before, &after]) else { panic!("they are broken") };
    let told: Vec<String> =
        faults.0.iter().map(|fault| fault.to_string().split(':').next().unwrap().to_owned()).collect();
    assert_eq!(told, ["in/a.yaml", "in/b.yaml", "in/c.yaml"], "{faults}");
}

#[test]
fn what_two_sets_have_in_common_is_the_same_as_if_each_were_alone() {
    let with = |extra: &str| policy(&format!("  podSelector: {{}}\n{extra}"));
    let shared = format!("{}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}", with(""));
    let other = with("").replace("name: p", "name: other");
    let odd = with("  priority: 1").replace("name: p", "name: odd");
    let broken = with("  ingress: [{ports: [{port: 0}]}]").replace("name: p", "name: broken");
    let sets = |before: &[(&str, &str)], after: &[(&str, &str)]| {
        let (before, mut after) = (texts(before), texts(after));
        for text in &mut after {
            text.source.shown = format!("second/{}", text.source.name);
        }
        let [was, is] = parse_all([&before, &after]).unwrap();
        let options = Options { lenient: true, ties: None };
        let alone = [&was, &is].map(|parsed| format!("{:?}", collect(parsed, options)));
        let both = collect_both([&was, &is], options);
        assert_eq!(both.each_ref().map(|set| format!("{set:?}")), alone);
        both
    };
    let files = [("a.yaml", shared.as_str()), ("b.yaml", &other), ("odd.yaml", &odd)];
    let [_, after] = sets(&files, &[("a.yaml", &shared), ("moved/b.yaml", &other), ("odd.yaml", &odd)]);
    let after = after.unwrap();
    assert_eq!(after.documents[1].origins.document.as_ref().unwrap().file, "moved/b.yaml");
    assert!(after.warnings[0].starts_with("second/odd.yaml:6:3"), "{:?}", after.warnings);
    let both = sets(&[("a.yaml", &broken)], &[("a.yaml", &broken)]).map(|set| set.unwrap_err().to_string());
    assert!(both[0].starts_with("in/a.yaml") && both[1].starts_with("second/a.yaml"), "{both:?}");
}

#[test]
fn a_key_that_no_label_has_is_an_error_at_its_place() {
    let pod = |key: &str| format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    {key}: x\n");
    assert_eq!(names(&set(&pod("example.org/app"))), ["Pod/default/p"], "the control");
    let error = fault(&pod("\"my app\""));
    assert!(error.contains("in/a.yaml:6:15: `my app` cannot be the key of a label"), "{error}");
    let error = fault(&policy("  podSelector: {matchLabels: {a/b/c: x}}\n"));
    assert!(error.contains("in/a.yaml:5:38: `a/b/c` cannot be the key of a label"), "{error}");
}

#[test]
fn a_label_without_a_value_is_the_empty_text_in_a_selector_as_it_is_at_a_pod() {
    let set = set(&policy(
        "  podSelector: {matchLabels: {gw: }}\n  ingress: [{from: [{podSelector: {matchLabels: {x: null}}}]}]\n",
    ));
    let [policy] = set.read.policies.as_slice() else { panic!("{:?}", set.read) };
    let gw = |value: &str| crate::model::Labels::from([("gw".to_owned(), value.to_owned())]);
    let selects = |labels: &crate::model::Labels| policy.subject.pods.matches(labels);
    assert_eq!([selects(&gw("")), selects(&gw("x")), selects(&crate::model::Labels::new())], [true, false, false]);
}

#[test]
fn the_deprecated_name_of_a_pods_service_account_counts_where_the_other_is_not_there() {
    let account = |spec: &str| {
        let set = set(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"));
        set.snapshot.pods[0].service_account.clone()
    };
    assert_eq!(account("serviceAccountName: web"), "web", "the control");
    assert_eq!(account("serviceAccount: web"), "web");
    assert_eq!(account("serviceAccountName: web, serviceAccount: old"), "web");
    assert_eq!(account("serviceAccountName: '', serviceAccount: null"), "default");
}
