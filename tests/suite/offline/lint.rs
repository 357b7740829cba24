//! What `lint` prints, and its exit codes.

use super::support::{folder, over, run_in};

pub const SHOP: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}
";

/// web may reach db, and db lets nobody in.
pub const POLICIES: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-all, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
    - to:
        - podSelector: {matchLabels: {app: db}}
      ports:
        - {protocol: TCP, port: 5432}
    - to:
        - ipBlock: {cidr: 0.0.0.0/0}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: db
  namespace: shop
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {matchLabels: {app: metrics}}
      ports:
        - {protocol: TCP, port: 9187}
";

fn golden(name: &str, args: &[&str]) {
    let folder = folder(&[("k8s/shop.yaml", SHOP), ("k8s/policies.yaml", POLICIES)]);
    let ran = run_in(folder.path(), args, "");
    insta::with_settings!({snapshot_path => "../../golden/offline", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, format!("exit {}\n{}", ran.code, ran.out));
    });
}

#[test]
fn findings_are_told_with_place_and_entry() {
    golden("lint_text", &["lint", "-f", "k8s"]);
    golden("lint_json", &["lint", "-f", "k8s", "-o", "json"]);
    golden("lint_sarif", &["lint", "-f", "k8s", "-o", "sarif"]);
}

#[test]
fn pasting_the_entry_cures_the_error() {
    let folder = folder(&[("k8s/shop.yaml", SHOP), ("k8s/policies.yaml", POLICIES)]);
    let run = || run_in(folder.path(), &["lint", "-f", "k8s", "-o", "json"], "");
    let found: serde_json::Value = serde_json::from_str(&run().out).unwrap();
    let all = found["findings"].as_array().unwrap();
    let fix = &all.iter().find(|finding| finding["rule"] == "missing-entry").unwrap()["fix"];
    let path = folder.path().join("k8s").join(fix["file"].as_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let at = usize::try_from(fix["line"].as_u64().unwrap()).unwrap();
    lines.splice(at..at, fix["entry"].as_str().unwrap().lines());
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let cured = run();
    assert_eq!(cured.code, 0, "{cured:?}");
    assert!(!cured.out.contains("missing-entry"), "{cured:?}");
}

#[test]
fn product_namespaces_of_a_configuration_must_hold_the_baseline() {
    let config = "schema: netpol-verify/config/v1
productNamespaces: {names: [shop, bank]}
matrix: {homeserver: \"https://matrix.example.org\", room: \"!a:example.org\"}
";
    let bank = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: bank}\n";
    let files =
        folder(&[("shop.yaml", &format!("{SHOP}{bank}")), ("policies.yaml", POLICIES), ("config.yml.txt", config)]);
    let args = ["lint", "-f", "shop.yaml", "-f", "policies.yaml", "--config", "config.yml.txt"];
    let ran = run_in(files.path(), &args, "");
    assert!(ran.out.contains("error: namespace bank has no default-deny policy for ingress and egress"), "{ran:?}");
    assert!(!ran.out.contains("namespace shop has"), "{ran:?}");
    // GitHub refuses a whole log for one result without a place.
    let log = run_in(files.path(), &[&args[..], &["-o", "sarif"]].concat(), "").json();
    for result in log["runs"][0]["results"].as_array().unwrap() {
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(uri, "policies.yaml", "{result:#}");
    }
}

#[test]
fn without_workloads_rules_are_looked_at_by_themselves_alone_and_that_is_said() {
    let ran = over(POLICIES, &["lint"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("[broad]") && !ran.out.contains("[no-effect]"), "{ran:?}");
    assert!(ran.errors.contains("no pods or workloads"), "{ran:?}");
}

/// DNS stands in no repository of an application: once it was called a namespace that does not exist.
#[test]
fn a_rule_for_pods_of_a_namespace_that_is_not_in_the_input_is_counted_and_no_mistake() {
    let dns = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: dns, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
    ports: [{protocol: UDP, port: 53}]
";
    let ran = over(&format!("{SHOP}---\n{POLICIES}{dns}"), &["lint"]);
    assert!(!ran.out.contains("kube-system"), "{ran:?}");
    assert!(ran.errors.contains("1 rules are about pods that are not in the input"), "{ran:?}");
    let misspelt = over(&format!("{SHOP}---\n{POLICIES}{}", dns.replace("kube-system", "shpo")), &["lint"]);
    assert!(misspelt.out.contains("error: ") && misspelt.out.contains("namespace shpo does not exist; shop does"));
}

#[test]
fn an_input_without_policies_is_exit_4_and_a_bad_configuration_exit_2() {
    let ran = over(SHOP, &["lint"]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
    let files = folder(&[("p.yaml", POLICIES), ("c.txt", "schema: 1\n")]);
    let ran = run_in(files.path(), &["lint", "-f", "p.yaml", "--config", "c.txt"], "");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
}
