#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use serde_json::json;

use super::super::{DriftContext, drift};
use crate::model::{
    Drift, DriftClass, KustomizationRef, LivePolicy, Manager, ObjectRef, Origin, Origins, PolicyDocument, PolicyRef,
    Severity,
};
use serde_json::Value;

const API: &str = "projectcalico.org/v3";
const STORE: &str = "crd.projectcalico.org/v1";
const FILE: &str = "infra/calico.yaml";

fn document(version: &str, kind: &str, name: &str, spec: Value) -> PolicyDocument {
    let namespace = (!kind.contains("Global") && kind != "Tier").then_some("shop");
    let metadata = json!({"namespace": namespace, "name": name});
    PolicyDocument {
        id: PolicyRef::of_object(version, kind, namespace, name, spec["tier"].as_str()),
        api_version: version.to_owned(),
        object: json!({"metadata": metadata, "spec": spec}),
        origins: Origins::default(),
        kustomization: None,
    }
}

fn in_git(kind: &str, name: &str, spec: Value) -> PolicyDocument {
    let fields =
        [("/spec/selector", 6), ("/spec/ingress/0", 10), ("/spec/ingress/0/source/selector", 13), ("/spec/nets", 8)];
    let origins = Origins {
        document: Some(Origin::at(FILE, 1, 1)),
        fields: fields.iter().map(|(field, line)| ((*field).to_owned(), Origin::at(FILE, *line, 3))).collect(),
        ..Origins::default()
    };
    PolicyDocument { origins, ..document(API, kind, name, spec) }
}

fn live(document: PolicyDocument) -> LivePolicy {
    let manager = Manager {
        name: "kubectl-edit".to_owned(),
        time: Some("2026-11-20T09:12:00Z".to_owned()),
        fields: vec!["/spec/ingress".to_owned()],
    };
    LivePolicy {
        document,
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        managers: vec![manager],
        owners: Vec::new(),
        created: None,
    }
}

/// As Flux applied it.
fn by_flux(document: PolicyDocument) -> LivePolicy {
    LivePolicy { managers: Vec::new(), ..live(document) }
}

fn found(git: &[PolicyDocument], policies: &[LivePolicy], ctx: &DriftContext) -> Vec<Drift> {
    drift(git, policies, ctx).drift
}

fn context() -> DriftContext {
    DriftContext { product_namespaces: ["shop".to_owned()].into(), others_complete: true, ..DriftContext::default() }
}

#[test]
fn calico_4_15_an_object_is_itself_in_both_groups_and_with_its_tier_or_without() {
    let spec = json!({"selector": "all()", "types": ["Ingress"]});
    let git = [
        in_git("NetworkPolicy", "web", spec.clone()),
        in_git("GlobalNetworkPolicy", "default.all", spec.clone()),
        in_git("GlobalNetworkSet", "offices", json!({"nets": ["192.0.2.0/24"]})),
    ];
    let policies = [
        by_flux(document(STORE, "NetworkPolicy", "default.web", spec.clone())),
        by_flux(document(STORE, "GlobalNetworkPolicy", "all", json!({"types": ["Ingress"], "tier": "default"}))),
        by_flux(document(STORE, "GlobalNetworkSet", "offices", json!({"nets": ["192.0.2.0/24"]}))),
    ];
    assert_eq!(found(&git, &policies, &context()), []);
    // The control: a NetworkPolicy of Kubernetes with the name is another object.
    let kubernetes = document("networking.k8s.io/v1", "NetworkPolicy", "web", json!({"podSelector": {}}));
    let drift = found(&git[..1], &[by_flux(kubernetes)], &context());
    let keys: Vec<String> = drift.iter().map(Drift::key).collect();
    assert_eq!(keys, ["drift/extra/NetworkPolicy/shop/web", "drift/missing/NetworkPolicy.projectcalico.org/shop/web"]);
}

#[test]
fn a_difference_is_named_with_its_place() {
    let rule = |source: Value| json!({"action": "Allow", "protocol": "TCP", "source": source});
    let deny = json!({"action": "Deny"});
    let web = rule(json!({"selector": "app == 'web'"}));
    for (git, live, summary, line) in [
        (json!({"selector": "a == 'b'"}), json!({}), "selector: Git a == \"b\", live lacks it", 6),
        (json!({"order": 100}), json!({"order": 5}), "order: Git 100.0, live 5.0", 1),
        (
            json!({"ingress": [web]}),
            json!({"ingress": [rule(json!({"selector": "app == 'any'"}))]}),
            "ingress[0].source.selector: Git app == \"web\", live app == \"any\"",
            13,
        ),
        (json!({"ingress": [web, deny]}), json!({"ingress": [web]}), "ingress[1]: Git Deny, live lacks it", 1),
        (
            json!({"ingress": [deny]}),
            json!({"ingress": [deny, rule(json!({"nets": ["10.0.0.0/8"], "ports": [80, "443"]}))]}),
            "ingress[1]: Git lacks it, live Allow, protocol TCP, source.nets 10.0.0.0/8, source.ports 80+443",
            1,
        ),
        (
            json!({"ingress": [web, deny]}),
            json!({"ingress": [deny, web]}),
            "ingress: live has the same rules in another order, and the first that matches decides",
            1,
        ),
        (
            json!({"types": ["Ingress"]}),
            json!({"types": ["Egress", "Ingress"], "order": 1}),
            "order: Git lacks it, live 1.0, and 1 more",
            1,
        ),
    ] {
        let (git, live) = (in_git("NetworkPolicy", "web", git), live_policy(live));
        let drift = found(&[git], &[live], &context());
        assert_eq!(drift.len(), 1, "{drift:?}");
        assert_eq!((drift[0].class, drift[0].severity), (DriftClass::Changed, Severity::Error), "{summary}");
        assert_eq!(drift[0].summary, summary);
        assert_eq!(drift[0].declared.as_ref().and_then(|origin| origin.line), Some(line), "{summary}");
        assert_eq!(drift[0].by.as_deref(), Some("kubectl-edit 2026-11-20T09:12:00Z"));
        assert!(drift[0].diff.contains("\n+"), "{}", drift[0].diff);
    }
}

fn live_policy(spec: Value) -> LivePolicy {
    live(document(API, "NetworkPolicy", "web", spec))
}

#[test]
fn a_set_or_a_tier_that_differs_is_drift_as_a_policy_is() {
    let mut relabelled = document(API, "NetworkSet", "db", json!({"nets": ["10.0.0.0/8"]}));
    relabelled.object["metadata"]["labels"] = json!({"role": "db"});
    for (git, live, summary) in [
        (
            in_git("NetworkSet", "db", json!({"nets": ["10.0.0.0/8"]})),
            document(API, "NetworkSet", "db", json!({"nets": ["10.0.0.0/8", "0.0.0.0/0"]})),
            "nets: Git 10.0.0.0/8, live 0.0.0.0/0+10.0.0.0/8",
        ),
        (
            in_git("NetworkSet", "db", json!({"nets": ["10.0.0.0/8"]})),
            relabelled,
            "labels: Git lacks it, live role: db",
        ),
        (
            in_git("Tier", "platform", json!({"order": 10})),
            document(API, "Tier", "platform", json!({"order": 10, "defaultAction": "Pass"})),
            "defaultAction: Git Deny, live Pass",
        ),
    ] {
        let drift = found(&[git], &[self::live(live)], &context());
        let all: Vec<_> = drift.iter().map(|d| (d.class, d.severity, d.summary.as_str())).collect();
        assert_eq!(all, [(DriftClass::Changed, Severity::Error, summary)]);
    }
}

#[test]
fn an_object_that_git_lacks_is_an_error_where_it_may_open_something() {
    let rules = |action: &str| json!({"ingress": [{"action": action}]});
    for (kind, name, spec, expected) in [
        ("GlobalNetworkPolicy", "x", rules("Allow"), Some((Severity::Error, "not in Git"))),
        ("NetworkPolicy", "x", rules("Pass"), Some((Severity::Error, "not in Git"))),
        ("NetworkPolicy", "x", rules("Deny"), Some((Severity::Info, "not in Git; it only isolates"))),
        (
            "NetworkPolicy",
            "x",
            json!({"types": ["Egress"], "ingress": [{"action": "Allow"}]}),
            Some((Severity::Info, "not in Git; it only isolates")),
        ),
        ("GlobalNetworkSet", "x", json!({"nets": ["10.0.0.0/8"]}), Some((Severity::Error, "not in Git"))),
        ("GlobalNetworkSet", "x", json!({}), Some((Severity::Info, "not in Git; it has no addresses"))),
        ("Tier", "x", json!({}), Some((Severity::Info, "not in Git; a tier does nothing by itself"))),
        ("Tier", "default", json!({"order": 1_000_000}), None),
        ("Tier", "kube-admin", json!({"order": 1_000}), None),
        (
            "StagedNetworkPolicy",
            "x",
            rules("Allow"),
            Some((Severity::Info, "not in Git; it is staged, and never enforced")),
        ),
    ] {
        let policy = live(document(API, kind, name, spec));
        let outcome = drift(&[], [&policy], &context());
        let all: Vec<_> = outcome.drift.iter().map(|d| (d.severity, d.summary.as_str())).collect();
        assert_eq!(all, Vec::from_iter(expected), "{kind} {name}");
        let is_error = expected.is_some_and(|(severity, _)| severity == Severity::Error);
        assert_eq!(outcome.others.is_empty(), is_error, "{kind} {name} counts as declared unless it is an error");
    }
}

#[test]
fn what_is_staged_is_never_more_than_info() {
    let staged = |spec: Value| in_git("StagedNetworkPolicy", "web", spec);
    let drift = found(
        &[staged(json!({"order": 1})), in_git("StagedNetworkPolicy", "gone", json!({}))],
        &[live(document(API, "StagedNetworkPolicy", "web", json!({"order": 2})))],
        &context(),
    );
    let all: Vec<_> = drift.iter().map(|d| (d.class, d.severity)).collect();
    assert_eq!(all, [(DriftClass::Missing, Severity::Info), (DriftClass::Changed, Severity::Info)]);
}

#[test]
fn an_inventory_holds_a_cluster_wide_policy_by_any_of_its_names() {
    let allow = json!({"tier": "platform", "ingress": [{"action": "Allow"}]});
    let policy = by_flux(document(API, "GlobalNetworkPolicy", "platform.dns", allow));
    let entry = |group: &str, kind: &str, name: &str| ObjectRef {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        name: name.to_owned(),
    };
    let id = KustomizationRef { namespace: "flux-system".to_owned(), name: "apps".to_owned() };
    for (entry, owned) in [
        (entry("projectcalico.org", "GlobalNetworkPolicy", "platform.dns"), true),
        (entry("projectcalico.org", "GlobalNetworkPolicy", "dns"), true),
        (entry("crd.projectcalico.org", "GlobalNetworkPolicy", "platform.dns"), true),
        (entry("projectcalico.org", "GlobalNetworkPolicy", "default.dns"), false),
        (entry("projectcalico.org", "StagedGlobalNetworkPolicy", "platform.dns"), false),
        (entry("cilium.io", "GlobalNetworkPolicy", "platform.dns"), false),
    ] {
        let other = DriftContext { others: [(id.clone(), vec![entry.clone()])].into(), ..context() };
        let drift = found(&[], std::slice::from_ref(&policy), &other);
        let severity = if owned { Severity::Info } else { Severity::Error };
        assert_eq!(drift[0].severity, severity, "{entry:?}: {}", drift[0].summary);
        let watched = DriftContext { watched: [(id.clone(), vec![entry])].into(), ..context() };
        let drift = found(&[], std::slice::from_ref(&policy), &watched);
        assert_eq!(drift[0].summary.contains("still in the inventory"), owned, "{}", drift[0].summary);
    }
}
