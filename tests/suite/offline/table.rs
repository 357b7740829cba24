//! The operations page's tables, from the policies themselves.

use std::path::Path;

use super::support::{folder, over, run_in};

const PLANA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plana");

fn golden(name: &str, args: &[&str]) {
    let ran = run_in(Path::new(PLANA), args, "");
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{ran:?}");
    insta::with_settings!({snapshot_path => "../../golden/offline", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, ran.out);
    });
}

#[test]
fn the_tables_of_the_customer_say_what_the_operations_page_says() {
    let acme = ["-f", "infra/k8s/plana-odoo-acme/network-policy.yaml"];
    golden("table_acme", &[&["table", "--namespace", "plana-odoo-acme"], &acme[..]].concat());
    golden("table_markdown", &[&["table", "-o", "markdown", "--namespace", "plana-odoo-acme"], &acme[..]].concat());
    golden("table_json", &[&["table", "-o", "json", "--namespace", "plana-odoo-acme"], &acme[..]].concat());
    let both =
        ["table", "-f", "infra/k8s/pulse-account/network-policy.yaml", "-f", "infra/k8s/redis/network-policy.yaml"];
    golden("table_every_namespace", &both);
}

#[test]
fn the_reason_of_a_rule_may_be_an_annotation_of_its_policy() {
    let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop, annotations: {netpol-verify/reason: \"the | shop\"}}
spec:
  podSelector: {}
  egress:
  - to: [{podSelector: {}}]
  # of its own
  - to: [{ipBlock: {cidr: 192.0.2.0/24}}]
";
    let files = folder(&[("k8s/p.yaml", policy)]);
    let ran = run_in(files.path(), &["table", "-f", "k8s"], "");
    assert!(ran.out.contains("| shop | all | the \\| shop |\n"), "{ran:?}");
    assert!(ran.out.contains("| 192.0.2.0/24 | all | of its own |\n"), "{ran:?}");
    assert!(ran.out.ends_with("\nNo ingress.\n"), "{ran:?}");
}

#[test]
fn a_namespace_without_policies_and_an_empty_input_are_exit_4_with_a_sentence() {
    let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {podSelector: {}}
";
    for (text, args, words) in [
        ("", &["table"][..], "no policies"),
        (policy, &["table", "--namespace", "shpo"], "no policy of namespace shpo"),
    ] {
        let ran = over(text, args);
        assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
        assert!(ran.errors.contains(words), "{ran:?}");
    }
}

#[test]
fn cluster_wide_policies_alone_are_told_of_the_namespace_that_is_asked_for() {
    let policy = "apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: to-dns}
spec:
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: shop}}}
  egress: [{action: Allow, to: [{networks: [192.0.2.0/24]}], ports: [{portNumber: {protocol: UDP, port: 53}}]}]
";
    let ran = over(policy, &["table"]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
    assert!(ran.errors.contains("has cluster-wide policies only") && ran.errors.contains("--namespace"), "{ran:?}");
    let shop = over(policy, &["table", "--namespace", "shop"]);
    assert_eq!(shop.code, 0, "{shop:?}");
    assert!(shop.out.contains("192.0.2.0/24") && shop.out.contains("53/UDP"), "{shop:?}");
    let bank = over(policy, &["table", "--namespace", "bank"]);
    assert!(bank.code == 4 && bank.errors.contains("no policy of namespace bank"), "the control: {bank:?}");
}

#[test]
fn a_global_policy_is_told_of_the_namespaces_that_its_namespace_selector_holds_and_of_no_others() {
    let global = |name: &str, selectors: &str| {
        format!(
            "---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name}}}
spec:
  {selectors}
  types: [Egress]
  egress: [{{action: Allow, protocol: UDP, destination: {{nets: [192.0.2.0/24], ports: [53]}}}}]
"
        )
    };
    let namespaces = "apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: prod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank, labels: {env: test}}
";
    let table = |selectors: &str, namespace: &str| {
        let ran = over(&(namespaces.to_owned() + &global("dns", selectors)), &["table", "--namespace", namespace]);
        match (ran.code, ran.out.contains("192.0.2.0/24"), ran.errors.contains("no policy of namespace")) {
            (0, true, _) => true,
            (4, false, true) => false,
            _ => panic!("{selectors}: {ran:?}"),
        }
    };
    for (selectors, shop, bank) in [
        ("namespaceSelector: env == 'prod'", true, false),
        ("namespaceSelector: env != 'prod'", false, true),
        ("namespaceSelector: kubernetes.io/metadata.name == 'bank'", false, true),
        ("namespaceSelector: all()", true, true),
        ("namespaceSelector: '!all()'", false, false),
        ("namespaceSelector: env == 'prod'\n  selector: app == 'web'", true, false),
        ("selector: projectcalico.org/namespace == 'shop' || app == 'web'", true, true),
        ("selector: projectcalico.org/namespace == 'shop' && app == 'web'", true, false),
        ("selector: all()", true, true),
    ] {
        assert_eq!((table(selectors, "shop"), table(selectors, "bank")), (shop, bank), "{selectors}");
    }
    let both = namespaces.to_owned() + &global("dns", "namespaceSelector: env == 'prod'") + &global("all", "order: 1");
    let bank = over(&both, &["table", "--namespace", "bank", "-o", "json"]);
    assert!(bank.out.contains("\"all\"") && !bank.out.contains("\"dns\""), "{bank:?}");
    let shop = over(&both, &["table", "--namespace", "shop"]);
    let lines = shop.out.matches("| 192.0.2.0/24:53/UDP | all |").count();
    assert_eq!(lines, 2, "both are about all of its pods: {shop:?}");
}
