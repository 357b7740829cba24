//! What people are told where there is little to tell, or where what they gave cannot be read.

use super::support::{over, pod, policy};

fn closed() -> String {
    policy("shop/deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        + &pod("shop/web", "app: web", "", "podIP: 10.0.0.1")
        + &pod("shop/db", "app: db", "", "podIP: 10.0.0.2")
}

#[test]
fn a_list_without_a_flow_says_so() {
    let ran = over(&closed(), &["list"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "No flow is allowed.\n"), "{ran:?}");
    let part = over(&closed(), &["list", "--from", "shop/web", "--to", "shop/db", "--port", "5432"]);
    assert_eq!(part.out, "No flow is allowed from shop/web to shop/db on 5432.\n", "{part:?}");
    let json = over(&closed(), &["list", "-o", "json"]).json();
    assert_eq!(json["flows"], serde_json::json!([]));
    let open = over(&pod("shop/web", "app: web", "", "podIP: 10.0.0.1"), &["list"]);
    assert!(!open.out.is_empty() && !open.out.contains("No flow"), "{open:?}");
}

/// An entry for the egress of shop/web under a policy with this `spec`.
fn entry(spec: &str) -> String {
    let policy = policy("shop/out", "").trim_end().to_owned() + " " + spec + "\n";
    let ran = over(&(policy + &pod("shop/web", "app: web", "", "")), &["explain", "shop/web", "10.0.0.9", "80"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let (_, entry) = ran.out.split_once("To open").unwrap_or_else(|| panic!("{ran:?}"));
    format!("To open{entry}")
}

#[test]
fn an_entry_for_a_policy_in_braces_is_indented_as_yaml_is() {
    let baseline = entry("{podSelector: {}, policyTypes: [Egress]}");
    assert!(baseline.contains("metadata:\n      name: allow-egress-web\n"), "{baseline}");
    let rule = entry("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53}]}]}");
    let expected =
        "To open egress, add to <stdin>, policy out:\n      - to:\n          - ipBlock: {cidr: 10.0.0.9/32}\n";
    assert!(rule.starts_with(expected), "{rule}");
}

#[test]
fn an_entry_has_no_line_between_braces() {
    for spec in [
        "{\n  podSelector: {},\n  policyTypes: [Egress],\n  egress: [\n    {ports: [{port: 53}]}\n  ]\n}",
        "{\n    \"podSelector\": {},\n    \"policyTypes\": [\"Egress\"],\n    \"egress\": [{\n        \"ports\": [{\"port\": 53}]\n    }]\n}",
    ] {
        let entry = entry(spec);
        assert!(entry.contains("policy out:\n      - to:\n"), "{entry}");
    }
}

#[test]
fn faults_of_yaml_are_told_once_and_in_plain_words() {
    const HELM: &str = ": is it a Helm template? Render it first (helm template)";
    let service = "apiVersion: v1\nkind: Service\n";
    for (text, expected) in [
        ("a: 1\nkind: A\nkind: B\n".to_owned(), "<stdin>:3:1: duplicate key kind".to_owned()),
        (
            format!("{service}metadata: {{name: a, namespace: {{{{ .Values.ns }}}}}}\n"),
            format!("<stdin>:3:33: expected a text, found a list or a mapping{HELM}"),
        ),
        (format!("{service}metadata:\n  {{{{- include \"x\" . }}}}\n"), format!("block{HELM}")),
        ("? [a]\n: b\n".to_owned(), "<stdin>:1:3: expected a text, found a list or a mapping".to_owned()),
        ("a: [\n".to_owned(), "<stdin>:1:4: unclosed bracket '['".to_owned()),
    ] {
        let ran = over(&text, &["list"]);
        assert_eq!(ran.code, 2, "{text}: {ran:?}");
        assert!(ran.errors.trim_end().ends_with(&expected), "{text}: {ran:?}");
        assert!(!ran.errors.contains(" at line "), "{text}: {ran:?}");
    }
}

#[test]
fn an_unknown_protocol_is_told_as_it_was_written() {
    let ran = over(&closed(), &["explain", "shop/web", "shop/db", "5432/redis:6379"]);
    assert!(ran.code == 2 && ran.errors.contains("`redis:6379` is no protocol (TCP, UDP, SCTP)"), "{ran:?}");
}

/// A pod as a dump of a cluster with Calico has it.
fn dumped() -> String {
    closed().replace(
        "metadata: {name: web,",
        "metadata: {annotations: {cni.projectcalico.org/podIP: 10.0.0.1/32}, name: web,",
    )
}

#[test]
fn a_dump_without_calicos_kinds_is_warned_of_once() {
    let warned = |text: &str| over(text, &["list"]).errors.matches("none of its policies is in the input").count();
    assert_eq!(warned(&dumped()), 1);
    assert_eq!(warned(&closed()), 0, "no Calico");
    let calico = |kind: &str, spec: &str| {
        format!("---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: default}}\nspec: {spec}\n")
    };
    for object in [
        calico("ClusterInformation", "{calicoVersion: v3.30.0}"),
        calico("GlobalNetworkPolicy", "{types: [Egress], egress: [{action: Allow}]}"),
        calico("Tier", "{order: 100}"),
        calico("GlobalNetworkSet", "{nets: [10.0.0.0/8]}"),
    ] {
        assert_eq!(warned(&(dumped() + &object)), 0, "{object}");
    }
    let diff = super::support::folder(&[("a.yaml", &dumped()), ("b.yaml", &dumped())]);
    let ran = super::support::run_in(diff.path(), &["diff", "a.yaml", "b.yaml"], "");
    assert_eq!(ran.errors.matches("none of its policies is in the input").count(), 1, "{ran:?}");
}
