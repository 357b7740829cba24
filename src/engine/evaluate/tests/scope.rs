//! Which endpoints a policy or an entity means.

use super::*;

/// A NetworkPolicy of Calico on the pods of shop, for ingress.
fn shop(rules: Value) -> PolicyDocument {
    calico("NetworkPolicy", "shop/p", json!({"types": ["Ingress"], "ingress": rules}))
}

fn from(source: Value) -> Value {
    json!([{"action": "Allow", "source": source}])
}

fn set(kind: &str, name: &str, labels: &[(&str, &str)], nets: &[&str]) -> PolicyDocument {
    let mut made = calico(kind, name, json!({"nets": nets}));
    made.object["metadata"]["labels"] = json!(crate::engine::fixtures::labels(labels));
    made
}

#[test]
fn calico_4_6_types_default_in_the_api_and_are_both_in_the_store() {
    let cases = [
        ("nothing", json!({}), (Denied, Allowed), (Denied, Denied)),
        ("ingress alone", json!({"ingress": all("Deny")}), (Denied, Allowed), (Denied, Denied)),
        ("egress alone", json!({"egress": all("Deny")}), (Allowed, Denied), (Denied, Denied)),
        ("both", json!({"ingress": all("Deny"), "egress": all("Deny")}), (Denied, Denied), (Denied, Denied)),
        ("named", json!({"types": ["Egress"], "ingress": all("Deny")}), (Allowed, Denied), (Allowed, Denied)),
        ("empty", json!({"types": [], "egress": all("Deny")}), (Allowed, Denied), (Denied, Denied)),
    ];
    for (name, mut spec, in_api, in_store) in cases {
        spec["selector"] = json!(API);
        for (version, expected) in [("projectcalico.org/v3", in_api), ("crd.projectcalico.org/v1", in_store)] {
            let mut policy = calico("GlobalNetworkPolicy", "p", spec.clone());
            policy.api_version = version.to_owned();
            let policy = [policy];
            let got = (tcp(&policy, "shop/web", "shop/api", 80), tcp(&policy, "shop/api", "shop/web", 80));
            assert_eq!(got, expected, "{name}, {version}");
        }
    }
}

#[test]
fn calico_4_7_what_a_global_policy_selects() {
    let deny = |spec: Value| {
        let mut spec = spec;
        spec["ingress"] = all("Deny");
        [calico("GlobalNetworkPolicy", "p", spec)]
    };
    for (spec, api, redis) in [
        (json!({}), Denied, Denied),
        (json!({"selector": "all()"}), Denied, Denied),
        (json!({"selector": "all()", "namespaceSelector": "env == 'prod'"}), Denied, Allowed),
        (json!({"namespaceSelector": "env != 'prod'"}), Allowed, Denied),
        (json!({"namespaceSelector": "all()"}), Denied, Denied),
        (json!({"namespaceSelector": "!all()"}), Allowed, Allowed),
        (json!({"namespaceSelector": "kubernetes.io/metadata.name == 'shop'"}), Denied, Allowed),
        (json!({"namespaceSelector": "projectcalico.org/name == 'shop'"}), Denied, Allowed),
        (json!({"selector": "app == 'redis'", "namespaceSelector": "env == 'prod'"}), Allowed, Allowed),
        (json!({"selector": "env == 'prod'"}), Allowed, Allowed),
        (json!({"selector": "pcns.env == 'prod'"}), Denied, Allowed),
    ] {
        let documents = deny(spec.clone());
        let got = (tcp(&documents, "shop/web", "shop/api", 80), tcp(&documents, "shop/web", "redis/redis", 80));
        assert_eq!(got, (api, redis), "{spec}");
    }
}

#[test]
fn calico_4_7_namespace_selectors_of_entities() {
    let sets = [
        set("GlobalNetworkSet", "office", &[("team", "ops")], &["192.0.2.0/24"]),
        set("NetworkSet", "redis/partner", &[("team", "ops")], &["198.51.100.0/24"]),
    ];
    for (source, web, redis, office, partner, nobody) in [
        (json!({"namespaceSelector": "all()"}), Allowed, Allowed, Denied, Allowed, Denied),
        (json!({"namespaceSelector": "global()"}), Denied, Denied, Allowed, Denied, Denied),
        (json!({"namespaceSelector": "global()", "selector": "team == 'dev'"}), Denied, Denied, Denied, Denied, Denied),
        (
            json!({"namespaceSelector": "global()", "selector": "team == 'ops'"}),
            Denied,
            Denied,
            Allowed,
            Denied,
            Denied,
        ),
        (json!({"namespaceSelector": "env == 'test'"}), Denied, Allowed, Denied, Allowed, Denied),
        (json!({"namespaceSelector": "env != 'test'"}), Allowed, Denied, Allowed, Denied, Denied),
    ] {
        let documents = [&sets[..], &[shop(from(source.clone()))]].concat();
        let ends = ["shop/web", "redis/redis", "192.0.2.7", "198.51.100.7", "203.0.113.7"];
        let got = ends.map(|end| tcp(&documents, end, "shop/api", 80));
        assert_eq!(got, [web, redis, office, partner, nobody], "{source}");
    }
}

#[test]
fn calico_4_8_a_namespaced_rule_is_limited_as_soon_as_it_selects() {
    for (source, web, redis, outside) in [
        (json!({}), Allowed, Allowed, Allowed),
        (json!({"nets": ["0.0.0.0/0"]}), Allowed, Allowed, Allowed),
        (json!({"notNets": ["203.0.113.0/24"]}), Allowed, Allowed, Denied),
        (json!({"selector": "all()"}), Allowed, Denied, Denied),
        (json!({"selector": "has(app)"}), Allowed, Denied, Denied),
        (json!({"selector": "!has(nothing)"}), Allowed, Denied, Denied),
        (json!({"notSelector": "has(nothing)"}), Allowed, Denied, Denied),
        (json!({"notSelector": "color == 'green'"}), Denied, Denied, Denied),
        (json!({"serviceAccounts": {"names": ["web"]}}), Allowed, Denied, Denied),
        (json!({"serviceAccounts": {"names": ["web", "default"]}}), Allowed, Denied, Denied),
        (json!({"namespaceSelector": "env == 'test'"}), Denied, Allowed, Denied),
        (
            json!({"namespaceSelector": "has(env)", "serviceAccounts": {"names": ["web", "default"]}}),
            Allowed,
            Allowed,
            Denied,
        ),
        (json!({"namespaceSelector": "has(env)", "notSelector": "app == 'web'"}), Denied, Allowed, Denied),
        (json!({"selector": "all()", "nets": ["203.0.113.0/24"]}), Denied, Denied, Denied),
    ] {
        let documents = [shop(from(source.clone()))];
        let got = ["shop/web", "redis/redis", "203.0.113.7"].map(|end| tcp(&documents, end, "shop/api", 80));
        assert_eq!(got, [web, redis, outside], "{source}");
    }
}

#[test]
fn calico_4_8_not_selector_alone_speaks_of_addresses() {
    let of_global = |source: Value| [global("p", None, API, from(source))];
    for (source, web, redis, outside) in [
        (json!({"notSelector": "app == 'web'"}), Denied, Allowed, Allowed),
        (json!({"selector": "app != 'web'"}), Denied, Allowed, Denied),
        (json!({"selector": "!has(nothing)"}), Allowed, Allowed, Denied),
        (json!({"notSelector": "all()"}), Denied, Denied, Allowed),
    ] {
        let documents = of_global(source.clone());
        let got = ["shop/web", "redis/redis", "203.0.113.7"].map(|end| tcp(&documents, end, "shop/api", 80));
        assert_eq!(got, [web, redis, outside], "{source}");
    }
    let good = set("GlobalNetworkSet", "good", &[("team", "ops")], &["192.0.2.0/24"]);
    let bad = set("GlobalNetworkSet", "bad", &[("team", "ops"), ("bad", "yes")], &["192.0.2.128/25"]);
    let sets = |source: Value| [good.clone(), bad.clone(), of_global(source)[0].clone()];
    let folded = sets(json!({"selector": "team == 'ops'", "notSelector": "has(bad)"}));
    assert_eq!(tcp(&folded, "192.0.2.200", "shop/api", 80), Allowed, "one of its sets fulfils both");
    assert_eq!(tcp(&folded, "203.0.113.7", "shop/api", 80), Denied);
    let alone = sets(json!({"notSelector": "has(bad)"}));
    assert_eq!(tcp(&alone, "192.0.2.200", "shop/api", 80), Denied, "one of its sets is excluded");
    assert_eq!(tcp(&alone, "192.0.2.7", "shop/api", 80), Allowed);
}

#[test]
fn calico_4_10_injected_labels() {
    // Too long for a label. As the pod's own it is added all the same; the account's labels are not inherited then.
    let long = "a".repeat(64);
    let name = long.clone();
    let mut cluster = cluster().app("shop/long", 1).with("shop/long", move |pod| pod.service_account.clone_from(&name));
    let account = |name: &str| ("shop".to_owned(), name.to_owned());
    cluster.snapshot.service_accounts.insert(account("web"), labels(&[("role", "front")]));
    cluster.snapshot.service_accounts.insert(account(&long), labels(&[("role", "front")]));
    for (source, expected) in [
        (json!({"selector": "projectcalico.org/namespace == 'shop'"}), [Allowed, Allowed, Denied]),
        (json!({"selector": "projectcalico.org/orchestrator == 'k8s'"}), [Allowed, Allowed, Allowed]),
        (json!({"selector": "projectcalico.org/serviceaccount == 'web'"}), [Allowed, Denied, Denied]),
        (json!({"selector": "!has(projectcalico.org/serviceaccount)"}), [Denied, Denied, Denied]),
        (json!({"serviceAccounts": {"names": [long]}}), [Denied, Allowed, Denied]),
        (json!({"serviceAccounts": {"names": ["default"]}}), [Denied, Denied, Allowed]),
        (json!({"serviceAccounts": {"selector": "role == 'front'"}}), [Allowed, Denied, Denied]),
        (json!({"serviceAccounts": {"selector": "role == 'front'", "names": ["web"]}}), [Allowed, Denied, Denied]),
        (json!({"serviceAccounts": {"selector": "projectcalico.org/name == 'web'"}}), [Allowed, Denied, Denied]),
        (json!({"selector": "pcsa.role == 'front'"}), [Allowed, Denied, Denied]),
        (json!({"selector": "!has(pcsa.projectcalico.org/name)"}), [Denied, Allowed, Denied]),
        (json!({"namespaceSelector": "projectcalico.org/name == 'shop'"}), [Allowed, Allowed, Denied]),
        (json!({"selector": "pcns.projectcalico.org/name == 'redis'"}), [Denied, Denied, Allowed]),
    ] {
        let documents = [global("p", None, API, from(source.clone()))];
        let traffic = Traffic::to_port(Protocol::Tcp, 80);
        let got = ["shop/web", "shop/long", "redis/redis"]
            .map(|end| ask(&cluster, &documents, TieRule::default(), (end, "shop/api"), &traffic).decision());
        assert_eq!(got, expected, "{source}");
    }
    let by_account = |selector: &str| {
        let spec = json!({"serviceAccountSelector": selector, "egress": all("Deny")});
        let traffic = Traffic::to_port(Protocol::Tcp, 80);
        let documents = [calico("GlobalNetworkPolicy", "p", spec)];
        ["shop/web", "shop/long", "redis/redis"]
            .map(|end| ask(&cluster, &documents, TieRule::default(), (end, "shop/api"), &traffic).decision())
    };
    assert_eq!(by_account("role == 'front'"), [Denied, Allowed, Allowed]);
    assert_eq!(by_account("all()"), [Denied, Denied, Denied], "every pod has that label");
}

#[test]
fn calico_4_11_selectors_match_network_sets_as_well_as_endpoints() {
    let sets = [
        set("NetworkSet", "shop/partner", &[("app", "web")], &["192.0.2.0/24", "192.0.3.7"]),
        set("NetworkSet", "redis/partner", &[("app", "web")], &["198.51.100.0/24"]),
        set("GlobalNetworkSet", "over-redis", &[("zone", "z")], &["10.0.0.0/16"]),
    ];
    let documents = |source: Value| [&sets[..], &[shop(from(source))]].concat();
    let ends = ["shop/web", "redis/redis", "192.0.2.1", "192.0.3.7", "192.0.3.8", "198.51.100.1"];
    let got = |source: Value| ends.map(|end| tcp(&documents(source.clone()), end, "shop/api", 80));
    assert_eq!(got(json!({"selector": "app == 'web'"})), [Allowed, Denied, Allowed, Allowed, Denied, Denied]);
    let anywhere = json!({"selector": "app == 'web'", "namespaceSelector": "all()"});
    assert_eq!(got(anywhere), [Allowed, Denied, Allowed, Allowed, Denied, Allowed]);
    let over = json!({"selector": "zone == 'z'", "namespaceSelector": "global()"});
    assert_eq!(got(over), [Allowed, Allowed, Denied, Denied, Denied, Denied], "pods by their addresses");
}

#[test]
fn calico_4_13_policies_for_hosts_alone_decide_nothing_about_pods() {
    for flag in ["doNotTrack", "preDNAT"] {
        let spec = json!({flag: true, "applyOnForward": true, "ingress": all("Deny")});
        let documents = [calico("GlobalNetworkPolicy", "p", spec)];
        assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), Allowed, "{flag}");
        let read = read::documents(&documents).unwrap();
        assert_eq!((read.host_only.len(), read.policies.len()), (1, 0));
    }
    let forward = [calico("GlobalNetworkPolicy", "p", json!({"applyOnForward": true, "ingress": all("Deny")}))];
    assert_eq!(tcp(&forward, "shop/web", "shop/api", 80), Denied, "pods as well as forwarded packets");
}

#[test]
fn calico_4_15_staged_policies_are_read_and_never_enforced() {
    let spec = json!({"stagedAction": "Set", "selector": "all()", "ingress": all("Deny")});
    let mut kubernetes = calico("StagedKubernetesNetworkPolicy", "shop/k", json!({"podSelector": {}}));
    kubernetes.object["spec"]["stagedAction"] = json!("Learn");
    let documents = [
        calico("StagedGlobalNetworkPolicy", "g", spec.clone()),
        calico("StagedNetworkPolicy", "shop/n", spec),
        kubernetes,
        calico("StagedNetworkPolicy", "shop/d", json!({"stagedAction": "Delete"})),
    ];
    assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), Allowed);
    let staged = read::documents(&documents).unwrap().staged;
    let would: Vec<bool> = staged.iter().map(|staged| staged.policy.is_some()).collect();
    assert_eq!(would, [true, true, true, false]);
}
