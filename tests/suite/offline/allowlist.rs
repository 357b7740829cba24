//! `lint --allowlist`: the tables of the operations page against the customer's policies.

use std::path::Path;

use super::support::{Ran, folder, run_in};

/// The page's tables. `addresses` stand where the page has a host's name; `{AGENTS}` and `{INTERNET}` are filled in.
const TABLES: &str = r#"schema: netpol-verify/allowlist/v1
namespaces:
- match: "plana-odoo*"
  egress:
  - {to: pg01.planapulse.com, addresses: [192.168.78.11], ports: [5432, 6432], reason: PostgreSQL (and pgbouncer)}
  - {to: redis.redis, ports: [6379], reason: "Sessions, bus, queues"}
  - {to: nfs01.planapulse.com, addresses: [192.168.78.12], ports: [2049], reason: NFS filestore}
  - {to: auth.planapulse.com, addresses: [192.168.78.13], ports: [443], reason: OIDC discovery + token exchange}
  - {to: kube-dns, ports: [53, 53/UDP], reason: DNS resolution}
  - {to: 0.0.0.0/0, ports: [443], reason: "Anthropic API calls (AI agents), Stripe webhooks"}
  ingress:
  - {from: envoy-gateway-system, reason: All public traffic comes via Envoy}
  - {from: crossplane-system, reason: Composition Jobs need to run against workers}
- match: pulse-account
  egress:
  - {to: pg01.planapulse.com, addresses: [192.168.78.11], ports: [5432], reason: plana_pulse_account DB}
  - {to: redis.redis, ports: [6379], reason: "Session blocklist, cache"}
  - {to: pulse-banking.pulse-banking, ports: [3200], reason: PSD2 proxy}
  - {to: ai-agents.ai-bos-agent, ports: [8000], reason: Agent chat proxy}
  - {to: pulse-events.pulse-events, ports: [3001], reason: Event bus}
  - {to: "*.planapulse.app", addresses: [192.168.78.14], ports: [443], reason: XML-RPC to tenant ERPs}
- match: ai-bos-agent
  egress:
  - {to: "*.planapulse.app", addresses: [192.168.78.14], ports: [443], reason: JSON-RPC tool calls}
  - {to: pulse-data.pulse-data, ports: [8000], reason: Neural Business Network}
  - {to: api.anthropic.com, ports: [443], reason: LLM inference}
  - {to: openrouter.ai, ports: [443], reason: Fallback LLM}
"#;

const NAMESPACES: [&str; 9] = [
    "ai-bos-agent",
    "crossplane-system",
    "envoy-gateway-system",
    "plana-odoo-acme",
    "plana-odoo-globex",
    "pulse-account",
    "pulse-banking",
    "pulse-data",
    "pulse-events",
];

/// Lints the customer's policies and workloads with a list, and what else is given.
fn customer(list: &str, more: &[&str]) -> Ran {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plana");
    let here = folder(&[("allowlist.yaml", list)]);
    let mut args = vec!["lint".to_owned(), "--allowlist".to_owned(), "allowlist.yaml".to_owned()];
    let policies = NAMESPACES.iter().chain(&["redis"]).map(|name| format!("infra/k8s/{name}/network-policy.yaml"));
    for file in policies.chain(["namespaces.yaml".to_owned(), "workloads".to_owned()]) {
        args.extend(["-f".to_owned(), tree.join(file).display().to_string()]);
    }
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    run_in(here.path(), &args.iter().map(String::as_str).collect::<Vec<_>>(), "")
}

/// The lines about the list.
fn told(ran: &Ran) -> Vec<&str> {
    ran.out.lines().filter(|line| line.contains("[allowlist-")).collect()
}

#[test]
fn the_customers_policies_are_what_the_operations_page_says() {
    let ran = customer(TABLES, &[]);
    let lines = told(&ran);
    assert!(lines.iter().all(|line| line.contains("[allowlist-untold]")), "{lines:#?}");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for (line, name) in lines.iter().zip(["`kube-dns`", "`api.anthropic.com`", "`openrouter.ai`"]) {
        assert!(
            line.starts_with("allowlist.yaml:") && line.contains(name) && line.contains("is not looked at"),
            "{line}"
        );
    }
}

#[test]
fn a_flow_that_the_page_lacks_and_one_that_the_policies_lack_are_errors_with_their_places() {
    let list = TABLES
        .replace("ports: [5432, 6432], reason: PostgreSQL (and", "ports: [5432, 6433], reason: PostgreSQL (and")
        .replace("  - {to: pulse-banking.pulse-banking, ports: [3200], reason: PSD2 proxy}\n", "")
        .replace("pulse-data.pulse-data, ports: [8000]", "pulse-events.pulse-events, ports: [3001]");
    let ran = customer(&list, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let lines = told(&ran);
    let has = |parts: &[&str]| {
        let found = lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count();
        assert_eq!(found, 1, "{parts:?} in {lines:#?}");
    };
    for tenant in ["plana-odoo-acme", "plana-odoo-globex"] {
        let flow =
            format!("{tenant} → pg01.planapulse.com at 192.168.78.11/32:6433 (PostgreSQL (and pgbouncer)) is not open");
        has(&["allowlist.yaml:5:5: error:", &flow, "egress of", "add the entry to"]);
        has(&["network-policy.yaml:", "[allowlist-excess]", &format!("{tenant}/odoo → 192.168.78.11/32:6432,")]);
    }
    has(&[
        "pulse-account/network-policy.yaml:",
        "pulse-account/api → pulse-banking/pulse-banking:3200,",
        "[allowlist-excess]",
    ]);
    has(&["ai-bos-agent → pulse-events.pulse-events:3001", "ingress of pulse-events/pulse-events denies it"]);
    has(&["ai-bos-agent/network-policy.yaml:", "ai-bos-agent/ai-agents → pulse-data/pulse-data:8000,"]);
}

/// With the models' addresses known, the rule for them is seen to open more than those.
#[test]
fn a_rule_that_opens_the_internet_for_two_hosts_is_an_excess_once_the_hosts_are_known() {
    let known = |name: &str| (format!("{{to: {name}, "), format!("{{to: {name}, addresses: [198.51.100.7], "));
    let [(a, b), (c, d)] = [known("api.anthropic.com"), known("openrouter.ai")];
    let ran = customer(&TABLES.replace(&a, &b).replace(&c, &d), &["-o", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let json = ran.json();
    let all = json["findings"].as_array().unwrap();
    let excess: Vec<_> = all.iter().filter(|finding| finding["rule"] == "allowlist-excess").collect();
    assert_eq!(excess.len(), 1, "{excess:#?}");
    let file = excess[0]["origin"]["file"].as_str().unwrap();
    assert!(file.ends_with("ai-bos-agent/network-policy.yaml"), "{excess:#?}");
    let message = excess[0]["message"].as_str().unwrap();
    assert!(
        message
            .contains("NetworkPolicy/ai-bos-agent/ai-agents egress[2] lets through ai-bos-agent/ai-agents → 0.0.0.0/5"),
        "{message}"
    );
}

#[test]
fn the_entry_that_is_offered_opens_the_intended_flow() {
    let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
    - to:
        - podSelector: {}
";
    let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\n";
    let list = "schema: netpol-verify/allowlist/v1\nnamespaces:\n- match: shop\n  egress:\n  - {to: pg.example.org, addresses: [192.0.2.7], ports: [5432], reason: Orders}\n";
    // The list may stand among the manifests.
    let here = folder(&[("k8s/policy.yaml", policy), ("k8s/web.yaml", web), ("k8s/allowlist.yaml", list)]);
    let run = || run_in(here.path(), &["lint", "-f", "k8s", "--allowlist", "k8s/allowlist.yaml", "-o", "json"], "");
    let lacking = run();
    assert_eq!(lacking.code, 1, "{lacking:?}");
    let json = lacking.json();
    let missing =
        json["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "allowlist-missing").unwrap();
    assert_eq!(
        missing["origin"],
        serde_json::json!({"file": "k8s/allowlist.yaml", "line": 5, "column": 5}),
        "{missing}"
    );
    let fix = &missing["fix"];
    let path = here.path().join("k8s").join(fix["file"].as_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let at = usize::try_from(fix["line"].as_u64().unwrap()).unwrap();
    lines.splice(at..at, fix["entry"].as_str().unwrap().lines());
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let cured = run();
    assert!(cured.code == 0 && !cured.out.contains("allowlist-"), "{cured:?}");
}

#[test]
fn the_configuration_names_the_list_from_the_current_folder() {
    let config = "schema: netpol-verify/config/v1
productNamespaces: {names: [shop]}
matrix: {homeserver: \"https://matrix.example.org\", room: \"!a:example.org\"}
allowlist: infra/allowlist.yaml
";
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n";
    let list =
        "schema: netpol-verify/allowlist/v1\nnamespaces:\n- match: shop\n  egress: []\n- match: bank\n  egress: []\n";
    let here = folder(&[("infra/policy.yaml", policy), ("infra/allowlist.yaml", list), ("config.txt", config)]);
    let ran = run_in(here.path(), &["lint", "-f", "infra", "--config", "config.txt"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines = told(&ran);
    assert!(
        lines[0].starts_with("infra/allowlist.yaml:3:3: warning: no workload of namespace shop is known"),
        "{ran:?}"
    );
    assert!(lines[1].starts_with("infra/allowlist.yaml:5:3: warning: `match: bank` matches no namespace"), "{ran:?}");
    let elsewhere = run_in(&here.path().join("infra"), &["lint", "-f", ".", "--config", "../config.txt"], "");
    assert_eq!(elsewhere.code, 2, "{elsewhere:?}");
    assert!(elsewhere.errors.contains("give --allowlist FILE"), "{elsewhere:?}");
    std::fs::write(here.path().join("infra/allowlist.yaml"), list.replace("match", "matches")).unwrap();
    let broken = run_in(here.path(), &["lint", "-f", "infra", "--config", "config.txt"], "");
    assert_eq!((broken.code, broken.out.as_str()), (2, ""), "{broken:?}");
    assert!(broken.errors.contains("infra/allowlist.yaml:3:3: unknown field `matches`"), "{broken:?}");
}
