//! What the commands print, word for word, and their exit codes.

use super::support::{folder, over, pod, policy, run_in};

const SHOP: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 6432, targetPort: 5432}]}
";

const POLICIES: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: default-deny-all
  namespace: shop
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
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - ipBlock: {cidr: 192.0.2.0/24}
      ports:
        - {protocol: TCP, port: http}
  egress:
    - to:
        - podSelector: {matchLabels: {app: db}}
      ports:
        - {protocol: TCP, port: 5432}
    - to:
        - ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}
      ports:
        - {protocol: TCP, port: 443}
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
        - podSelector: {matchLabels: {app: web}}
      ports:
        - {protocol: TCP, port: 5432}
        - {protocol: TCP, port: 9187}
";

fn golden(name: &str, args: &[&str]) {
    let folder = folder(&[("k8s/shop.yaml", SHOP), ("k8s/policies/shop.yaml", POLICIES)]);
    let ran = run_in(folder.path(), args, "shop/web shop/db 5432/TCP\n\n# a comment\nshop/db shop/web http\n");
    insta::with_settings!({snapshot_path => "../../golden/offline", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, format!("exit {}\n{}{}", ran.code, ran.out, untimed(&ran.errors)));
    });
}

/// The log without its times.
fn untimed(log: &str) -> String {
    let text = |line: &str| line.split_once("Z ").map_or(line, |(_, rest)| rest.trim_start()).to_owned();
    log.lines().map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn lists() {
    golden("list_text", &["list", "-f", "k8s"]);
    golden("list_json", &["list", "-f", "k8s", "-o", "json"]);
    golden("list_markdown", &["list", "-f", "k8s", "-o", "markdown"]);
    golden("list_svg", &["list", "-f", "k8s", "-o", "svg"]);
    golden("list_port", &["list", "-f", "k8s", "--from", "shop/web", "--port", "443"]);
    golden("list_to_address", &["list", "-f", "k8s", "--to", "198.51.100.7"]);
}

#[test]
fn explanations() {
    golden("explain_allowed", &["explain", "-f", "k8s", "shop/web", "shop/sts/db", "5432"]);
    golden("explain_json", &["explain", "-f", "k8s", "shop/web", "svc/shop/db", "6432", "-o", "json"]);
    golden("explain_one_side", &["explain", "-f", "k8s", "shop/web", "shop/db", "9187"]);
    golden("explain_both_sides", &["explain", "-f", "k8s", "shop/db", "shop/web", "http/TCP"]);
    golden("explain_block", &["explain", "-f", "k8s", "shop/web", "10.0.0.0/7", "443"]);
    golden("explain_name", &["explain", "-f", "k8s", "shop/web", "api.example.org", "443"]);
    golden("explain_flows_text", &["explain", "-f", "k8s", "--flows", "-"]);
    golden("explain_flows", &["explain", "-f", "k8s", "--flows", "-", "-o", "jsonl"]);
}

#[test]
fn refusals() {
    golden("refused_endpoint", &["explain", "-f", "k8s", "shop/wbe", "shop/db", "5432"]);
    golden("refused_port", &["explain", "-f", "k8s", "shop/web", "shop/db", "http"]);
    golden("refused_format", &["explain", "-f", "k8s", "shop/web", "shop/db", "80", "-o", "markdown"]);
    golden("refused_path", &["list", "-f", "k8s/none"]);
}

#[test]
fn an_input_without_anything_to_look_at_is_exit_4_with_a_sentence() {
    for (text, word) in [("", "no policies and no workloads"), (POLICIES, "no pods or workloads")] {
        let ran = over(text, &["list"]);
        assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{ran:?}");
        assert!(ran.errors.contains(word), "{ran:?}");
    }
}

#[test]
fn a_kind_that_is_not_understood_is_exit_3_with_its_place() {
    let other =
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x, namespace: shop}\nspec: {}\n";
    let ran = over(&format!("{SHOP}{other}"), &["list"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.errors.contains("<stdin>:26:1: CiliumNetworkPolicy/shop/x"), "{ran:?}");
}

#[test]
fn unknown_fields_are_refused_or_with_lenient_warned_of() {
    let odd = pod("shop/a", "", "", "") + &policy("shop/p", "{podSelector: {}, ingres: []}");
    let refused = over(&odd, &["list"]);
    assert_eq!(refused.code, 2);
    assert!(refused.errors.contains("<stdin>:11:25: unknown field `ingres` in spec"), "{refused:?}");
    let warned = over(&odd, &["list", "--lenient"]);
    assert_eq!(warned.code, 0, "{warned:?}");
    assert!(warned.errors.contains("WARN") && warned.errors.contains("unknown field `ingres`"), "{warned:?}");
}

#[test]
fn a_bad_line_of_flows_is_named_and_the_others_keep_their_places() {
    let folder = folder(&[("shop.yaml", SHOP)]);
    let flows = "shop/web shop/db 1\nshop/web\nshop/web shop/none 1\nshop/web shop/db 2\n";
    let ran = run_in(folder.path(), &["explain", "-f", "shop.yaml", "--flows", "-", "-o", "jsonl"], flows);
    assert_eq!(ran.code, 2);
    let lines: Vec<serde_json::Value> = ran.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&lines[0]["flow"]["port"], &lines[3]["flow"]["port"]], [1, 2]);
    assert_eq!([&lines[1]["line"], &lines[2]["line"]], [2, 3]);
    assert!(ran.errors.contains("-:2:") && ran.errors.contains("-:3:"), "{ran:?}");
}

#[test]
fn what_is_said_has_no_colours_where_it_is_no_terminal() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_netpol-verify"));
    command.args(["list", "-f", "/none"]).env_remove("NO_COLOR").env("TERM", "xterm-256color");
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("ERROR") && !said.contains('\u{1b}'), "{said:?}");
}
