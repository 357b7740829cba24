//! What the snapshot has of Calico and of other kinds of policy, against an API server in memory.

use netpol_verify::{
    engine::evaluate::Evaluation,
    model::{NotUnderstood, PolicyRef, Snapshot, TieRule},
    verify::seams::Cluster,
};
use serde_json::{Value, json};

use crate::{
    cluster_live::{patient, shop, snapshot},
    support::api::{Api, Fault},
};

const API: &str = "projectcalico.org";
const STORE: &str = "crd.projectcalico.org";

const KINDS: [(&str, &str, bool); 11] = [
    ("NetworkPolicy", "networkpolicies", true),
    ("GlobalNetworkPolicy", "globalnetworkpolicies", false),
    ("StagedNetworkPolicy", "stagednetworkpolicies", true),
    ("StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies", true),
    ("NetworkSet", "networksets", true),
    ("GlobalNetworkSet", "globalnetworksets", false),
    ("HostEndpoint", "hostendpoints", false),
    ("Profile", "profiles", false),
    ("Tier", "tiers", false),
    ("ClusterInformation", "clusterinformations", false),
    ("FelixConfiguration", "felixconfigurations", false),
];

fn put(api: &Api, resource: &str, namespace: Option<&str>, name: &str, spec: &Value) {
    let labels = json!({"role": name});
    api.put(resource, json!({"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": spec}));
}

/// Calico's API server and its store, with a policy in each of two tiers, and copies of what other APIs hold.
async fn calico() -> Api {
    let api = shop().await;
    api.serve(API, "v3", "Current", &KINDS);
    api.serve(STORE, "v1", "Current", &KINDS);
    for (tier, order) in [("default", 1_000_000), ("platform", 100)] {
        put(&api, "tiers.projectcalico.org", None, tier, &json!({"order": order}));
        for group in [API, STORE] {
            let resource = format!("globalnetworkpolicies.{group}");
            put(&api, &resource, None, &format!("{tier}.deny"), &json!({"tier": tier, "selector": "all()"}));
        }
    }
    for name in ["knp.default.web", "default.web", "other"] {
        put(&api, "networkpolicies.projectcalico.org", Some("shop"), name, &json!({"tier": "default"}));
    }
    put(&api, "stagednetworkpolicies.projectcalico.org", Some("shop"), "s", &json!({"tier": "default"}));
    put(&api, "stagedkubernetesnetworkpolicies.projectcalico.org", Some("shop"), "k", &json!({"podSelector": {}}));
    put(&api, "networksets.projectcalico.org", Some("shop"), "partners", &json!({"nets": ["192.0.2.0/24"]}));
    put(&api, "globalnetworksets.projectcalico.org", None, "offices", &json!({"nets": ["198.51.100.0/24"]}));
    put(&api, "hostendpoints.projectcalico.org", None, "node-1", &json!({"node": "node-1"}));
    put(&api, "clusterinformations.projectcalico.org", None, "default", &json!({"calicoVersion": "v3.29.1"}));
    let deny = json!({"iptablesFilterDenyAction": "Reject"});
    put(&api, "felixconfigurations.projectcalico.org", None, "default", &deny);
    put(&api, "serviceaccounts", Some("shop"), "cart", &Value::Null);
    api
}

fn ids<'p>(objects: impl IntoIterator<Item = &'p netpol_verify::model::LivePolicy>) -> Vec<String> {
    objects.into_iter().map(|policy| policy.document.id.to_string()).collect()
}

fn not_understood(seen: &Snapshot) -> Vec<String> {
    let text = |n: &NotUnderstood| {
        let reason = n.reason.as_deref().unwrap_or("-");
        format!("{} {} {} {reason}", n.kind, n.policy.name, n.namespace.as_deref().unwrap_or("any"))
    };
    seen.not_understood.iter().map(text).collect()
}

#[tokio::test]
async fn everything_that_decides_under_calico_is_read_whole_and_once() {
    let api = calico().await;
    let seen = snapshot(&api).await;
    assert_eq!(
        ids(&seen.policies),
        [
            "GlobalNetworkPolicy/deny",
            "GlobalNetworkPolicy/platform.deny",
            "NetworkPolicy/shop/web",
            "NetworkPolicy.projectcalico.org/shop/other",
            "NetworkPolicy.projectcalico.org/shop/web",
        ],
        "no copies, and one name with the tier or without"
    );
    assert_eq!(ids(&seen.calico.tiers), ["Tier/default", "Tier/platform"]);
    assert_eq!(ids(&seen.calico.sets), ["GlobalNetworkSet/offices", "NetworkSet/shop/partners"]);
    assert_eq!(ids(&seen.calico.staged), ["StagedKubernetesNetworkPolicy/shop/k", "StagedNetworkPolicy/shop/s"]);
    assert_eq!(seen.calico.ties(), TieRule::StoredName);
    assert_eq!(seen.deny_action.as_deref(), Some("Reject"));
    let cart = &seen.service_accounts[&("shop".to_owned(), "cart".to_owned())];
    assert_eq!(cart["role"], "cart");
    let offices = &seen.calico.sets[0].document.object;
    assert_eq!(
        (&offices["metadata"]["labels"]["role"], &offices["spec"]["nets"][0]),
        (&json!("offices"), &json!("198.51.100.0/24"))
    );
    assert_eq!((not_understood(&seen), seen.not_readable.as_slice()), (vec![], [].as_slice()));
    let documents: Vec<_> = seen.documents().cloned().collect();
    let evaluation = Evaluation::of(&seen, &documents, seen.calico.ties()).unwrap();
    assert_eq!((evaluation.read.policies.len(), evaluation.read.sets.len(), evaluation.read.staged.len()), (5, 2, 2));
    let known = evaluation.read.policies.iter().all(|policy| documents.iter().any(|d| d.id == policy.id));
    assert!(known, "a policy is found by the name of its document");
    assert!(api.requests("hostendpoints").is_empty());
}

#[tokio::test]
async fn without_calico_nothing_is_asked_for_it() {
    let seen = snapshot(&shop().await).await;
    assert_eq!((seen.calico, seen.service_accounts.len()), Default::default());
    let api = shop().await;
    snapshot(&api).await;
    assert!(api.requests("serviceaccounts").is_empty());
}

#[tokio::test]
async fn calico_4_16_a_tier_that_may_not_be_read_is_said_and_its_policies_are_looked_for_in_the_store() {
    let api = calico().await;
    api.remove("globalnetworkpolicies.crd.projectcalico.org", "", "default.deny");
    api.fault("GET", "/globalnetworkpolicies?&fieldSelector=spec.tier%3Dplatform", Fault::Status(403), 9);
    let seen = snapshot(&api).await;
    assert_eq!(ids(&seen.policies)[0], "GlobalNetworkPolicy/platform.deny", "what the store has");
    assert!(seen.not_readable.is_empty());
    api.fault("GET", "/apis/crd.projectcalico.org/", Fault::Status(403), 9);
    let seen = snapshot(&api).await;
    let missing = &seen.not_readable[0];
    assert_eq!((missing.resource.as_str(), missing.policies), ("globalnetworkpolicies.projectcalico.org", true));
    for right in [
        "list on globalnetworkpolicies.projectcalico.org",
        "get on tiers.projectcalico.org",
        "list on tier.globalnetworkpolicies.projectcalico.org (tier platform)",
    ] {
        assert!(missing.reason.contains(right), "{}", missing.reason);
    }
    assert_eq!(seen.policies.len(), 3, "the rest is still there");
}

#[tokio::test]
async fn a_right_that_is_missing_is_said_and_decides_where_verdicts_need_it() {
    for (resource, decides) in [
        ("tiers.projectcalico.org", true),
        ("networksets.projectcalico.org", true),
        ("clusterinformations.projectcalico.org", true),
        ("stagednetworkpolicies.projectcalico.org", false),
        ("serviceaccounts", false),
    ] {
        let api = calico().await;
        let plural = resource.split('.').next().unwrap();
        api.fault("GET", &format!("/{plural}?"), Fault::Status(403), 99);
        let seen = snapshot(&api).await;
        let missing: Vec<_> = seen.not_readable.iter().map(|n| (n.resource.as_str(), n.policies, n.passing)).collect();
        assert_eq!(missing, [(resource, decides, false)]);
        let words = format!("add list on {resource} to ClusterRole netpol-verify");
        assert!(seen.not_readable[0].reason.contains(&words), "{:?}", seen.not_readable);
    }
}

#[tokio::test]
async fn labels_of_service_accounts_decide_where_a_policy_looks_at_them() {
    for (spec, decides) in [
        (json!({"serviceAccountSelector": "team == 'a'"}), true),
        (json!({"selector": "pcsa.team == 'a'"}), true),
        (json!({"ingress": [{"action": "Allow", "source": {"serviceAccounts": {"selector": "has(x)"}}}]}), true),
        (json!({"serviceAccountSelector": ""}), false),
        (json!({"ingress": [{"action": "Allow", "source": {"serviceAccounts": {"names": ["cart"]}}}]}), false),
    ] {
        let api = calico().await;
        let mut spec = spec;
        spec["tier"] = json!("default");
        put(&api, "networkpolicies.projectcalico.org", Some("shop"), "accounts", &spec);
        api.fault("GET", "/serviceaccounts?", Fault::Status(403), 99);
        let seen = snapshot(&api).await;
        let missing: Vec<_> = seen.not_readable.iter().map(|n| (n.resource.as_str(), n.policies)).collect();
        assert_eq!(missing, [("serviceaccounts", decides)], "{spec}");
    }
}

#[tokio::test]
async fn a_policy_whose_content_is_not_understood_is_named_with_the_reason() {
    let api = calico().await;
    let strange = json!({"tier": "default", "quantum": true});
    put(&api, "networkpolicies.projectcalico.org", Some("shop"), "strange", &strange);
    put(
        &api,
        "networksets.projectcalico.org",
        Some("shop"),
        "names",
        &json!({"allowedEgressDomains": ["example.org"]}),
    );
    put(&api, "stagednetworkpolicies.projectcalico.org", Some("shop"), "stage", &json!({"tier": "default", "x": 1}));
    put(&api, "tiers.projectcalico.org", None, "odd", &json!({"order": 5, "defaultAction": "Maybe"}));
    put(&api, "globalnetworkpolicies.projectcalico.org", None, "odd.one", &json!({"tier": "odd"}));
    put(&api, "globalnetworkpolicies.projectcalico.org", None, "deny", &json!({"tier": "default"}));
    let seen = snapshot(&api).await;
    assert_eq!(
        not_understood(&seen),
        [
            "projectcalico.org/GlobalNetworkPolicy deny any another object has the same name",
            "projectcalico.org/GlobalNetworkPolicy odd.one any there is no tier `odd`: add the Tier of that name",
            "projectcalico.org/NetworkPolicy strange shop the field `quantum` is not understood",
            "projectcalico.org/NetworkSet names any names of domains are not understood",
            "projectcalico.org/Tier odd any `Maybe` is no end of a tier (Deny, Pass)",
        ]
    );
    let missing: Vec<_> = seen.not_readable.iter().map(|n| (n.resource.as_str(), n.policies)).collect();
    assert_eq!(missing, [("StagedNetworkPolicy/shop/stage", false)], "it decides nothing");
    assert!(ids(&seen.policies).contains(&"NetworkPolicy.projectcalico.org/shop/strange".to_owned()), "it is live");
}

#[tokio::test]
async fn policies_of_kinds_without_a_reader_are_named_once_for_each_namespace() {
    let api = calico().await;
    api.serve("cilium.io", "v2", "Current", &[("CiliumNetworkPolicy", "ciliumnetworkpolicies", true)]);
    api.serve("security.example.org", "v1", "Current", &[("WideNetworkPolicy", "widenetworkpolicies", false)]);
    for (namespace, name) in [("shop", "one"), ("shop", "two"), ("other", "one")] {
        put(&api, "ciliumnetworkpolicies.cilium.io", Some(namespace), name, &Value::Null);
    }
    put(&api, "widenetworkpolicies.security.example.org", None, "all", &Value::Null);
    assert_eq!(
        not_understood(&snapshot(&api).await),
        [
            "cilium.io/CiliumNetworkPolicy one other -",
            "cilium.io/CiliumNetworkPolicy one shop -",
            "security.example.org/WideNetworkPolicy all any -",
        ]
    );
}

/// The network policy API, in the versions that have a reader, with a policy of each kind.
async fn admin() -> Api {
    let api = shop().await;
    let kinds = [
        ("AdminNetworkPolicy", "adminnetworkpolicies", false),
        ("BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies", false),
    ];
    api.serve("policy.networking.k8s.io", "v1alpha1", "Current", &kinds);
    let cluster = ("ClusterNetworkPolicy", "clusternetworkpolicies", false);
    api.serve("policy.networking.k8s.io", "v1alpha2", "Current", &[cluster]);
    let subject = json!({"namespaces": {}});
    for (plural, name, spec) in [
        ("adminnetworkpolicies", "first", json!({"priority": 5, "subject": subject})),
        ("baselineadminnetworkpolicies", "default", json!({"subject": subject})),
        ("clusternetworkpolicies", "wide", json!({"tier": "Admin", "priority": 7, "subject": subject})),
    ] {
        put(&api, &format!("{plural}.policy.networking.k8s.io"), None, name, &spec);
    }
    api
}

#[tokio::test]
async fn policies_of_the_network_policy_api_are_read_whole() {
    let api = admin().await;
    let seen = snapshot(&api).await;
    assert_eq!(
        ids(&seen.policies),
        [
            "AdminNetworkPolicy/first",
            "BaselineAdminNetworkPolicy/default",
            "ClusterNetworkPolicy/wide",
            "NetworkPolicy/shop/web",
        ]
    );
    assert_eq!((not_understood(&seen), seen.not_readable.as_slice()), (vec![], [].as_slice()));
    let documents: Vec<_> = seen.documents().cloned().collect();
    let evaluation = Evaluation::of(&seen, &documents, TieRule::default()).unwrap();
    assert!(evaluation.read.policies.iter().all(|policy| documents.iter().any(|d| d.id == policy.id)));
    assert!(api.requests("serviceaccounts").is_empty(), "Calico alone looks at them");
    let taken = seen.deciding().map(|p| (p.document.id.clone(), p.resource_version.clone())).collect();
    assert_eq!(patient(&api).policy_versions().await.unwrap(), taken);

    let spec = json!({"tier": "Admin", "priority": 7, "subject": {"namespaces": {}}, "quantum": true});
    put(&api, "clusternetworkpolicies.policy.networking.k8s.io", None, "wide", &spec);
    let words = "policy.networking.k8s.io/ClusterNetworkPolicy wide any the field `quantum` is not understood";
    assert_eq!(not_understood(&snapshot(&api).await), [words]);
    api.fault("GET", "/clusternetworkpolicies?", Fault::Status(403), 9);
    let missing: Vec<_> = snapshot(&api).await.not_readable.into_iter().map(|n| (n.resource, n.policies)).collect();
    assert_eq!(missing, [("clusternetworkpolicies.policy.networking.k8s.io".to_owned(), true)]);
}

#[tokio::test]
async fn a_change_of_whatever_decides_is_another_version() {
    let api = calico().await;
    let cluster = patient(&api);
    let versions = async || cluster.policy_versions().await.unwrap();
    let seen = cluster.snapshot().await.unwrap();
    let taken = seen.deciding().map(|p| (p.document.id.clone(), p.resource_version.clone())).collect();
    let mut before = versions().await;
    assert_eq!(before, taken, "the snapshot's own");
    for (resource, namespace, name) in [
        ("networkpolicies.projectcalico.org", Some("shop"), "default.web"),
        ("globalnetworkpolicies.projectcalico.org", None, "platform.deny"),
        ("globalnetworksets.projectcalico.org", None, "offices"),
        ("tiers.projectcalico.org", None, "platform"),
    ] {
        let spec = api.get(resource, namespace.unwrap_or_default(), name).unwrap()["spec"].clone();
        put(&api, resource, namespace, name, &spec);
        let after = versions().await;
        let changed: Vec<&PolicyRef> = after.iter().filter(|(id, v)| before[*id] != **v).map(|(id, _)| id).collect();
        assert_eq!(changed.len(), 1, "{resource} {name}");
        before = after;
    }
    put(&api, "stagednetworkpolicies.projectcalico.org", Some("shop"), "s", &json!({"tier": "default"}));
    assert_eq!(versions().await, before, "what is staged decides nothing");
}
