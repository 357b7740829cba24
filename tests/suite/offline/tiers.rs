//! The commands over all kinds of policy: Kubernetes', Calico's and the network policy API's.

use super::support::{Ran, folder, over, pod, policy, run_in};

/// An object in no namespace, or with `namespace: …` among its metadata, its `spec` in flow style.
fn object(version: &str, kind: &str, metadata: &str, spec: &str) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n")
}

fn calico(kind: &str, metadata: &str, spec: &str) -> String {
    object("projectcalico.org/v3", kind, metadata, spec)
}

fn anp(name: &str, spec: &str) -> String {
    object("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", &format!("name: {name}"), spec)
}

/// Shop has web and db, ops has tool.
fn workloads() -> String {
    let namespace = |name: &str, labels: &str| {
        format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
    };
    let at = |address: &str| format!("podIP: {address}");
    namespace("shop", "tenant: a")
        + &namespace("ops", "")
        + &pod("shop/web", "app: web", "serviceAccountName: web", &at("10.0.0.1"))
        + &pod("shop/db", "app: db", "", &at("10.0.0.2"))
        + &pod("ops/tool", "app: tool", "", &at("10.0.0.3"))
}

/// A tier of the platform's, a network set, a staged policy, and a NetworkPolicy of the shop's.
fn policies() -> String {
    calico("Tier", "name: platform", "{order: 100, defaultAction: Pass}")
        + &calico("GlobalNetworkSet", "name: partners, labels: {role: partner}", "{nets: [192.0.2.0/24]}")
        + &calico(
            "GlobalNetworkPolicy",
            "name: platform.guard",
            "{tier: platform, order: 5, namespaceSelector: has(tenant), types: [Ingress, Egress], \
             ingress: [{action: Log}, {action: Pass, source: {namespaceSelector: has(tenant)}}, \
             {action: Deny, protocol: TCP, destination: {ports: [\"1:1023\"]}}], \
             egress: [{action: Allow, protocol: UDP, destination: {ports: [53]}}, \
             {action: Allow, protocol: TCP, destination: {selector: role == 'partner', ports: [443]}}, \
             {action: Pass}]}",
        )
        + &calico("StagedNetworkPolicy", "name: later, namespace: shop", "{ingress: [{action: Deny}]}")
        + &calico(
            "NetworkPolicy",
            "name: db, namespace: shop",
            "{order: 10, selector: app == 'db', ingress: [{action: Allow, protocol: TCP, \
             source: {serviceAccounts: {names: [web]}}, destination: {ports: [5432]}}]}",
        )
        + &policy("shop/deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        + &policy(
            "shop/web",
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
             egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}",
        )
        + &anp(
            "ops",
            "{priority: 1, subject: {namespaces: {}}, ingress: [{name: tool, action: Allow, \
             from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: tool}}}}], \
             ports: [{portNumber: {protocol: TCP, port: 9100}}]}]}",
        )
}

fn golden(name: &str, ran: &Ran) {
    insta::with_settings!({snapshot_path => "../../golden/offline", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, format!("exit {}\n{}", ran.code, ran.out));
    });
}

fn ask(args: &[&str]) -> Ran {
    over(&(workloads() + &policies()), args)
}

#[test]
fn every_kind_of_policy_decides_what_is_listed() {
    golden("tiers_list", &ask(&["list"]));
}

#[test]
fn an_explanation_names_the_tier_policy_and_rule_of_each_side() {
    golden("tiers_explain_allow", &ask(&["explain", "shop/web", "shop/db", "5432"]));
    golden("tiers_explain_admin", &ask(&["explain", "ops/tool", "shop/db", "9100"]));
    golden("tiers_explain_deny", &ask(&["explain", "ops/tool", "shop/db", "22"]));
    golden("tiers_explain_end_of_tier", &ask(&["explain", "ops/tool", "shop/db", "5432"]));
    golden("tiers_explain_set", &ask(&["explain", "shop/web", "192.0.2.0/23", "443"]));
    golden("tiers_explain_json", &ask(&["explain", "shop/web", "shop/db", "5432", "-o", "json"]));
}

#[test]
fn staged_policies_are_told_and_not_enforced() {
    let text =
        workloads() + &calico("StagedNetworkPolicy", "name: later, namespace: shop", "{ingress: [{action: Deny}]}");
    let ran = over(&text, &["explain", "shop/web", "shop/db", "80"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.errors.contains("StagedNetworkPolicy/shop/later is staged: it is not enforced"), "{ran:?}");
    let host = calico("HostEndpoint", "name: node", "{node: n1}");
    let ran = over(&(workloads() + &host), &["list"]);
    assert!(ran.errors.contains("HostEndpoint/node is a node's") && ran.code == 0, "{ran:?}");
}

#[test]
fn a_change_of_a_network_set_changes_flows() {
    let set = |nets: &str| {
        calico("GlobalNetworkSet", "name: partners, labels: {role: partner}", &format!("{{nets: [{nets}]}}"))
    };
    let out = calico(
        "GlobalNetworkPolicy",
        "name: out",
        "{selector: app == 'web', types: [Egress], egress: [{action: Allow, destination: {selector: role == 'partner'}}]}",
    );
    let [old, new] = ["192.0.2.0/24", "192.0.2.0/24, 198.51.100.0/25"].map(|nets| set(nets) + &out);
    let folder = folder(&[("old.yaml", &old), ("new.yaml", &new), ("pods.yaml", &workloads())]);
    golden("tiers_diff", &run_in(folder.path(), &["diff", "old.yaml", "new.yaml", "--workloads", "pods.yaml"], ""));
    let same = run_in(folder.path(), &["diff", "new.yaml", "new.yaml", "--workloads", "pods.yaml"], "");
    assert_eq!((same.code, same.out.as_str()), (0, "No flow differs.\n"), "{same:?}");
}

#[test]
fn labels_that_flux_writes_on_a_network_set_are_no_difference_and_others_are() {
    let set = |labels: &str| {
        calico("GlobalNetworkSet", &format!("name: partners, labels: {{{labels}}}"), "{nets: [192.0.2.0/24]}")
    };
    let flux = "kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system";
    let (git, live, other) = (set("role: partner"), set(&format!("role: partner, {flux}")), set("role: customer"));
    let files = [("git.yaml", git.as_str()), ("live.yaml", &live), ("other.yaml", &other), ("pods.yaml", &workloads())];
    let folder = folder(&files);
    let diff = |other: &str| run_in(folder.path(), &["diff", other, "git.yaml", "--workloads", "pods.yaml"], "");
    let same = diff("live.yaml");
    assert_eq!((same.code, same.out.as_str()), (0, "No flow differs.\n"), "{same:?}");
    assert!(
        diff("other.yaml").out.contains("changed GlobalNetworkSet/partners"),
        "the control: {:?}",
        diff("other.yaml")
    );
}

/// Two policies of one order: up to Calico 3.31 the stored name decides, from 3.32 the bare one.
#[test]
fn ties_are_decided_by_the_version_of_calico() {
    let one = |kind: &str, metadata: &str, action: &str| {
        calico(
            kind,
            metadata,
            &format!("{{order: 5, selector: app == 'db', types: [Ingress], ingress: [{{action: {action}}}]}}"),
        )
    };
    let text = workloads()
        + &one("GlobalNetworkPolicy", "name: z", "Deny")
        + &one("NetworkPolicy", "name: a, namespace: shop", "Allow");
    let version = calico("ClusterInformation", "name: default", "{calicoVersion: v3.28.5}");
    let decided =
        |text: &str, more: &[&str]| over(text, &[&["explain", "shop/web", "shop/db", "80"], more].concat()).code;
    assert_eq!(decided(&text, &[]), 0, "the newest rule");
    assert_eq!(decided(&(text.clone() + &version), &[]), 1);
    assert_eq!(decided(&text, &["--calico-version", "v3.28.5"]), 1);
    assert_eq!(decided(&(text.clone() + &version), &["--calico-version", "3.32"]), 0, "what is said wins");
    assert_eq!(decided(&text, &["--calico-version", "newest"]), 2);
}

#[test]
fn a_cluster_wide_policy_has_no_namespace_and_calicos_policy_may_share_its_name() {
    let text = workloads()
        + &calico(
            "GlobalNetworkPolicy",
            "name: all, namespace: shop",
            "{order: 1, types: [Ingress], ingress: [{action: Deny}]}",
        )
        + &calico("NetworkPolicy", "name: web, namespace: shop", "{ingress: [{action: Allow}]}")
        + &policy("shop/web", "{podSelector: {matchLabels: {app: web}}}");
    let ran = over(&text, &["explain", "shop/web", "ops/tool", "80", "-o", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let policy = &ran.json()["ingress"]["by"][0]["policy"];
    assert_eq!(*policy, serde_json::json!({"kind": "GlobalNetworkPolicy", "namespace": null, "name": "all"}));
}

#[test]
fn what_the_api_would_refuse_of_any_kind_is_told_with_its_place() {
    for (text, place) in [
        (calico("GlobalNetworkPolicy", "name: x", "{selector: \"a = b\"}"), "<stdin>:5:"),
        (calico("NetworkPolicy", "name: x", "{tier: none}"), "there is no tier `none`"),
        (anp("x", "{priority: 2000, subject: {namespaces: {}}}"), "between 0 and 1000"),
        (
            anp("x", "{priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{galaxies: {}}]}]}"),
            "unknown peer `galaxies`",
        ),
    ] {
        let ran = over(&text, &["list"]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
        assert!(ran.errors.contains(place), "{place}: {ran:?}");
    }
}

#[test]
fn protocols_without_ports_are_listed_where_a_rule_of_calicos_names_them() {
    let listed = |rules: &str| {
        let spec = format!("{{order: 1, selector: app == 'db', types: [Ingress], ingress: [{rules}]}}");
        let text = workloads() + &calico("GlobalNetworkPolicy", "name: db", &spec);
        let ran = over(&text, &["list", "--from", "shop/web", "--to", "shop/db"]);
        ran.out.trim_start_matches("shop/web -> shop/db: ").trim_end().to_owned()
    };
    let tcp = "{action: Allow, protocol: TCP, destination: {ports: [5432]}}";
    let ping = "{action: Allow, protocol: ICMP, icmp: {type: 8}}";
    assert_eq!(listed(&format!("{tcp}, {ping}")), "5432/TCP ICMP type 8");
    assert_eq!(listed(ping), "ICMP type 8");
    assert_eq!(
        listed(&format!("{{action: Allow, protocol: ICMP, notICMP: {{type: 8}}}}, {tcp}")),
        "5432/TCP ICMP but ICMP type 8"
    );
    assert_eq!(listed(&format!("{tcp}, {{action: Allow}}")), "all ports");
    assert_eq!(listed("{action: Deny, protocol: 47}, {action: Allow}"), "all/TCP all/UDP all/SCTP");
    assert_eq!(listed("{action: Allow, protocol: 47}"), "protocol 47");
}

/// Nobody knows the address of a pod that is only planned; but a block of all addresses holds it, whatever it is.
#[test]
fn a_workload_without_pods_is_in_blocks_of_all_addresses_alone() {
    let app = |name: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{template: {{metadata: {{labels: {{app: {name}}}}}}}}}\n"
        )
    };
    let all = || app("web") + &app("db") + &policy("shop/deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}");
    let web = |egress: &str| {
        format!("{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{{to: [{egress}]}}]}}")
    };
    let from_any = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}";
    let listed = |more: String| {
        let text = all() + &policy("shop/db", from_any) + &more;
        let ran = over(&text, &["list", "--from", "shop/web", "--to", "shop/db"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out.contains("shop/Deployment/web -> shop/Deployment/db: all ports")
    };
    let kubernetes = |egress: &str| listed(policy("shop/web", &web(egress)));
    assert!(kubernetes("{ipBlock: {cidr: 0.0.0.0/0}}"));
    assert!(kubernetes("{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.169.254/32]}}"));
    assert!(!kubernetes("{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}"));
    assert!(!kubernetes("{ipBlock: {cidr: 10.0.0.0/8}}"));
    assert!(!kubernetes("{ipBlock: {cidr: \"::/0\"}}"));
    let calico = |destination: &str| {
        let spec = format!(
            "{{order: 1, selector: app == 'web', types: [Egress], egress: [{{action: Allow, destination: {{{destination}}}}}]}}"
        );
        let set = calico("GlobalNetworkSet", "name: any, labels: {any: \"\"}", "{nets: [0.0.0.0/0]}");
        listed(set + &calico("NetworkPolicy", "name: web, namespace: shop", &spec))
    };
    assert!(calico("nets: [0.0.0.0/0]"));
    assert!(!calico("nets: [10.0.0.0/8]"));
    assert!(!calico("notNets: [10.0.0.0/8]"));
    assert!(calico("notNets: [169.254.169.254/32]"));
    assert!(calico("selector: has(any), namespaceSelector: global()"));
}

/// A flow that hangs on what files do not tell is listed, and the explanation says so.
#[test]
fn what_hangs_on_something_unknown_is_told() {
    let http = calico(
        "NetworkPolicy",
        "name: db, namespace: shop",
        "{selector: app == 'db', types: [Ingress], ingress: [{action: Allow, protocol: TCP, http: {methods: [GET]}}]}",
    );
    let ran = over(&(workloads() + &http), &["explain", "shop/web", "shop/db", "80"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("hangs on what is not known here"), "{ran:?}");
    let list = over(&(workloads() + &http), &["list", "--from", "shop/web", "--to", "shop/db"]);
    assert_eq!(list.out, "shop/web -> shop/db: all/TCP\n", "{list:?}");
}
