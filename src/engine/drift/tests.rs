#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use serde_json::{Value, json};

use super::*;
use crate::model::{Manager, Origins};

const FILE: &str = "infra/k8s/redis/network-policy.yaml";

fn document(namespace: &str, name: &str, spec: Value) -> PolicyDocument {
    PolicyDocument {
        id: PolicyRef::network_policy(namespace, name),
        api_version: "networking.k8s.io/v1".to_owned(),
        object: json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec}),
        origins: Origins::default(),
        kustomization: None,
    }
}

fn in_git(namespace: &str, name: &str, spec: Value) -> PolicyDocument {
    let fields = [("/spec/ingress/0", 10), ("/spec/ingress/0/ports", 12), ("/spec/podSelector", 7)];
    let origins = Origins {
        document: Some(Origin::at(FILE, 1, 1)),
        fields: fields.iter().map(|(field, line)| ((*field).to_owned(), Origin::at(FILE, *line, 5))).collect(),
        ..Origins::default()
    };
    PolicyDocument { origins, ..document(namespace, name, spec) }
}

fn manager(name: &str, time: &str, fields: &[&str]) -> Manager {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    Manager { name: name.to_owned(), time: Some(time.to_owned()), fields }
}

fn flux() -> Manager {
    manager(
        "kustomize-controller",
        "2026-11-01T00:00:00Z",
        &["/spec/podSelector", "/spec/ingress", "/spec/policyTypes"],
    )
}

fn live(document: PolicyDocument, managers: Vec<Manager>) -> LivePolicy {
    LivePolicy {
        document: PolicyDocument { origins: Origins::default(), ..document },
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        managers,
        owners: Vec::new(),
        created: Some("2026-11-20T00:00:00Z".to_owned()),
    }
}

fn marked(mut policy: LivePolicy, place: &str, marks: &[(&str, &str)]) -> LivePolicy {
    for (key, value) in marks {
        policy.document.object["metadata"][place][*key] = json!(value);
    }
    policy
}

fn kustomization(name: &str) -> KustomizationRef {
    KustomizationRef { namespace: "flux-system".to_owned(), name: name.to_owned() }
}

fn object(kind: &str, name: &str) -> ObjectRef {
    let group = if kind == "NetworkPolicy" { "networking.k8s.io" } else { "" };
    ObjectRef {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    }
}

/// `shop` is a product namespace; `network-policies` is watched and owns nothing else; `apps` owns `shop/app`.
fn context() -> DriftContext {
    DriftContext {
        product_namespaces: ["shop", "redis"].map(str::to_owned).into(),
        watched: [(kustomization("network-policies"), vec![object("NetworkPolicy", "old")])].into(),
        others: [(kustomization("apps"), vec![object("NetworkPolicy", "app"), object("ConfigMap", "owner")])].into(),
        others_complete: true,
    }
}

fn ports(ports: &[u16]) -> Value {
    let list: Vec<Value> = ports.iter().map(|port| json!({"port": port})).collect();
    json!({"podSelector": {}, "ingress": [{"ports": list}]})
}

fn one(declared: &[PolicyDocument], policies: &[LivePolicy]) -> Drift {
    let outcome = drift(declared, policies, &context());
    assert_eq!(outcome.drift.len(), outcome.swaps.len());
    assert_eq!(outcome.drift.len(), 1, "{:?}", outcome.drift);
    outcome.drift.into_iter().next().unwrap()
}

#[test]
fn what_is_as_git_has_it_is_no_drift() {
    let git = in_git("redis", "network-policy", ports(&[6379]));
    let stored = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 6379, "protocol": "TCP"}]}]});
    let policy = live(document("redis", "network-policy", stored), vec![flux()]);
    assert_eq!(drift(&[git], &[policy], &context()), DriftOutcome::default());
}

#[test]
fn an_edit_by_hand_is_named_with_its_place_and_its_author() {
    let git = in_git("redis", "network-policy", ports(&[6379]));
    let editor = manager("kubectl-edit", "2026-11-20T09:12:00Z", &["/spec/ingress"]);
    let labeller = manager("labeller", "2026-11-21T00:00:00Z", &[]);
    let policy = live(document("redis", "network-policy", ports(&[6379, 6380])), vec![labeller, editor, flux()]);
    let found = one(&[git], &[policy]);
    assert_eq!((found.class, found.severity), (DriftClass::Changed, Severity::Error));
    assert_eq!(found.summary, "ingress[0].ports: Git 6379, live 6379+6380");
    assert_eq!(found.declared.map(|origin| origin.short()), Some(format!("{FILE}:12")));
    assert_eq!(found.by.as_deref(), Some("kubectl-edit 2026-11-20T09:12:00Z"));
    assert!(found.diff.contains('+') && found.diff.contains("6380"), "{}", found.diff);
}

/// What Git has, what is live, the words for it, and the line in Git.
fn differences() -> [(Value, Value, &'static str, u32); 7] {
    let web = |ingress: Value| json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": ingress});
    let from =
        |name: &str| json!({"from": [{"namespaceSelector": {"matchLabels": {"name": name}}, "podSelector": {}}]});
    [
        (web(json!([])), json!({}), "podSelector: Git app=web, live all", 7),
        (web(json!([])), web(json!([{}])), "ingress[0]: Git lacks it, live from anyone on every port", 1),
        (
            web(json!([from("a")])),
            web(json!([])),
            "ingress[0]: Git from all in namespaces name=a on every port, live lacks it",
            10,
        ),
        (
            web(json!([from("a")])),
            web(json!([from("b")])),
            "ingress[0].from: Git all in namespaces name=a, live all in namespaces name=b",
            10,
        ),
        (
            json!({"policyTypes": ["Ingress", "Egress"]}),
            json!({"policyTypes": ["Ingress"]}),
            "policyTypes: Git Ingress+Egress, live Ingress",
            1,
        ),
        (
            web(json!([{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80, "endPort": 90}]}])),
            web(json!([{"ports": [{"protocol": "SCTP"}]}, {}])),
            "ingress[0].ports: Git 53/UDP+80-90, live every port/SCTP, and 1 more",
            12,
        ),
        (
            web(json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}])),
            web(json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])),
            "ingress[0].from: Git 10.0.0.0/8 except 10.1.0.0/16, live 10.0.0.0/8",
            10,
        ),
    ]
}

#[test]
fn a_summary_says_the_first_difference_in_words() {
    for (git, now, summary, line) in differences() {
        let found = one(&[in_git("shop", "web", git)], &[live(document("shop", "web", now), vec![flux()])]);
        assert_eq!(found.summary, summary);
        assert_eq!(found.declared.and_then(|origin| origin.line), Some(line), "{summary}");
        assert_eq!(found.by, None, "Flux alone wrote it");
    }
}

#[test]
fn order_alone_is_info() {
    let found = one(
        &[in_git("redis", "network-policy", ports(&[6379, 6380]))],
        &[live(document("redis", "network-policy", ports(&[6380, 6379])), vec![flux()])],
    );
    assert_eq!((found.class, found.severity), (DriftClass::Changed, Severity::Info));
}

#[test]
fn a_policy_that_is_gone_is_missing() {
    let found = one(&[in_git("redis", "network-policy", ports(&[6379]))], &[]);
    assert_eq!((found.class, found.severity), (DriftClass::Missing, Severity::Error));
    assert_eq!(found.declared.map(|origin| origin.short()), Some(format!("{FILE}:1")));
    assert!(found.diff.contains('-'), "{}", found.diff);
}

#[test]
fn a_policy_of_nobody_is_an_error_where_it_opens_something() {
    let all = || vec![manager("kubectl-create", "2026-11-20T08:00:00Z", &["/spec/ingress"])];
    let open = live(document("shop", "allow-all-temp", json!({"podSelector": {}, "ingress": [{}]})), all());
    let found = one(&[], std::slice::from_ref(&open));
    assert_eq!((found.class, found.severity), (DriftClass::Extra, Severity::Error));
    assert_eq!(found.by.as_deref(), Some("kubectl-create 2026-11-20T08:00:00Z"));
    assert!(drift(&[], &[open], &context()).others.is_empty(), "what it opens is not declared");

    for spec in [json!({"podSelector": {}}), json!({"policyTypes": ["Ingress"], "egress": [{}]})] {
        let closing = live(document("shop", "deny", spec), all());
        let outcome = drift(&[], std::slice::from_ref(&closing), &context());
        assert_eq!(outcome.drift[0].severity, Severity::Info, "it only isolates");
        assert_eq!(outcome.others, [closing.document]);
    }
    let elsewhere = live(document("kube-system", "open", json!({"ingress": [{}]})), all());
    let outcome = drift(&[], std::slice::from_ref(&elsewhere), &context());
    assert!(outcome.drift.is_empty(), "not in a product namespace");
    assert_eq!(outcome.others, [elsewhere.document], "and how things are");

    let mut wide = live(document("shop", "wide", json!({})), all());
    wide.document.api_version = "policy.networking.k8s.io/v1alpha2".to_owned();
    wide.document.id = PolicyRef { kind: "ClusterNetworkPolicy".to_owned(), namespace: None, name: "wide".to_owned() };
    assert_eq!(
        one(&[], &[wide]).severity,
        Severity::Error,
        "kinds that are not known here are judged, and not taken to be harmless"
    );
}

const LABELS: [&str; 2] = ["kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"];

/// An open policy `shop/<name>` with the labels of a Kustomization.
fn labelled(name: &str, kustomization: &str) -> LivePolicy {
    let policy = live(document("shop", name, json!({"ingress": [{}]})), vec![flux()]);
    marked(policy, "labels", &[(LABELS[0], kustomization), (LABELS[1], "flux-system")])
}

#[test]
fn a_policy_of_another_kustomization_needs_its_inventory() {
    let edited = |mut policy: LivePolicy| {
        policy.managers.insert(0, manager("kubectl-edit", "2026-11-20T09:12:00Z", &["/spec/ingress"]));
        policy
    };
    let partial = DriftContext { others_complete: false, ..context() };
    for (name, policy, ctx, severity, declared) in [
        ("in its inventory", labelled("app", "apps"), context(), Severity::Info, true),
        ("forged: not in its inventory", labelled("forged", "apps"), context(), Severity::Error, false),
        (
            "forged: not in its inventory, others unread",
            labelled("forged", "apps"),
            partial.clone(),
            Severity::Error,
            false,
        ),
        ("forged: no such Kustomization", labelled("forged", "none"), context(), Severity::Error, false),
        ("not to be told", labelled("maybe", "unread"), partial, Severity::Warning, true),
        ("edited by hand", edited(labelled("app", "apps")), context(), Severity::Error, false),
    ] {
        let outcome = drift(&[], &[policy], &ctx);
        assert_eq!(outcome.drift[0].severity, severity, "{name}: {}", outcome.drift[0].summary);
        assert_eq!(!outcome.others.is_empty(), declared, "{name}");
    }
}

#[test]
fn what_git_removed_and_flux_did_not_is_an_error_wherever_it_is() {
    let labelled_only = labelled("gone", "network-policies");
    let in_inventory = live(document("shop", "old", json!({"podSelector": {}})), vec![flux()]);
    let mut elsewhere = labelled("gone", "network-policies");
    elsewhere.document.id.namespace = Some("kube-system".to_owned());
    for policy in [labelled_only, in_inventory, elsewhere] {
        let outcome = drift(&[], &[policy], &context());
        assert_eq!(outcome.drift[0].severity, Severity::Error, "{}", outcome.drift[0].summary);
        assert!(outcome.others.is_empty());
    }
}

#[test]
fn a_policy_of_a_helm_release_is_helm_s_alone() {
    let annotations = [("meta.helm.sh/release-name", "shop"), ("meta.helm.sh/release-namespace", "shop")];
    let release = |managers: Vec<Manager>| {
        let policy = live(document("shop", "chart", json!({"ingress": [{}]})), managers);
        marked(marked(policy, "labels", &[("app.kubernetes.io/managed-by", "Helm")]), "annotations", &annotations)
    };
    let helm = || manager("helm", "2026-11-01T00:00:00Z", &["/spec/ingress"]);
    let editor = manager("kubectl-edit", "2026-11-20T09:12:00Z", &["/spec/ingress"]);
    let creator = manager("kubectl-create", "2026-11-20T09:12:00Z", &["/spec/ingress"]);
    let label_only = marked(
        live(document("shop", "chart", json!({"ingress": [{}]})), vec![helm()]),
        "labels",
        &[("app.kubernetes.io/managed-by", "Helm")],
    );
    for (name, policy, severity) in [
        ("as released", release(vec![helm()]), Severity::Info),
        ("edited by hand", release(vec![editor, helm()]), Severity::Error),
        ("forged", release(vec![creator]), Severity::Error),
        ("no managers at all", release(Vec::new()), Severity::Error),
        ("the label alone", label_only, Severity::Error),
    ] {
        let found = one(&[], &[policy]);
        assert_eq!(found.severity, severity, "{name}: {}", found.summary);
    }
}

#[test]
fn an_owner_counts_where_an_inventory_has_it() {
    for (owner, severity) in [("owner", Severity::Info), ("anything", Severity::Error)] {
        let mut policy = live(document("shop", "made", json!({"ingress": [{}]})), vec![]);
        policy.owners = vec![object("ConfigMap", owner)];
        let found = one(&[], &[policy]);
        assert_eq!(found.severity, severity);
        assert!(found.summary.contains(&format!("ConfigMap/shop/{owner}")), "{}", found.summary);
    }
}

#[test]
fn a_frozen_policy_is_said_even_while_it_is_as_git_has_it() {
    let toolkit = |key: &str| format!("kustomize.toolkit.fluxcd.io/{key}");
    let (reconcile, ssa) = (toolkit("reconcile"), toolkit("ssa"));
    for (place, key, value, frozen) in [
        ("annotations", &reconcile, "Disabled", true),
        ("labels", &reconcile, "disabled", true),
        ("annotations", &ssa, "ignore", true),
        ("annotations", &ssa, "Merge", false),
        ("annotations", &ssa, "IfNotPresent", false),
        ("annotations", &reconcile, "enabled", false),
    ] {
        for (now, severity) in [(ports(&[6379]), Severity::Warning), (ports(&[1]), Severity::Error)] {
            let git = in_git("redis", "network-policy", ports(&[6379]));
            let policy = live(document("redis", "network-policy", now), vec![flux()]);
            let outcome = drift(&[git], &[marked(policy, place, &[(key.as_str(), value)])], &context());
            let found: Vec<(DriftClass, Severity)> = outcome.drift.iter().map(|d| (d.class, d.severity)).collect();
            let expected: &[(DriftClass, Severity)] = match (frozen, severity) {
                (true, severity) => &[(DriftClass::Frozen, severity)],
                (false, Severity::Error) => &[(DriftClass::Changed, Severity::Error)],
                (false, _) => &[],
            };
            assert_eq!(found, expected, "{place} {key}: {value}");
        }
    }
    let mut git = in_git("redis", "network-policy", ports(&[6379]));
    git.object["metadata"]["annotations"] = json!({ssa: "IfNotPresent"});
    let found = one(&[git], &[live(document("redis", "network-policy", ports(&[6379])), vec![flux()])]);
    assert_eq!(found.class, DriftClass::Frozen, "Git's own IfNotPresent: {}", found.summary);
}

#[test]
fn fields_of_others_without_another_meaning_are_info() {
    let git = in_git("redis", "network-policy", ports(&[6379]));
    let lens = manager("node-fetch", "2026-11-20T09:12:00Z", &["/spec/policyTypes"]);
    let found = one(&[git], &[live(document("redis", "network-policy", ports(&[6379])), vec![lens, flux()])]);
    assert_eq!((found.class, found.severity), (DriftClass::ForeignFields, Severity::Info));
    assert_eq!(found.by.as_deref(), Some("node-fetch 2026-11-20T09:12:00Z"));
}

#[test]
fn a_swap_gives_the_two_policy_sets_to_compare() {
    let declared = [in_git("redis", "a", ports(&[1])), in_git("redis", "b", ports(&[2]))];
    let policies =
        [live(document("redis", "b", ports(&[3])), vec![flux()]), live(document("shop", "c", ports(&[4])), vec![])];
    let outcome = drift(&declared, &policies, &context());
    let sets: Vec<Vec<String>> = outcome
        .swaps
        .iter()
        .map(|swap| {
            let set = swap.apply(&declared);
            set.iter()
                .map(|d| format!("{} {}", d.id.name, d.object["spec"]["ingress"][0]["ports"][0]["port"]))
                .collect()
        })
        .collect();
    let classes: Vec<DriftClass> = outcome.drift.iter().map(|drift| drift.class).collect();
    assert_eq!(classes, [DriftClass::Missing, DriftClass::Changed, DriftClass::Extra]);
    assert_eq!(sets, [vec!["b 2"], vec!["a 1", "b 3"], vec!["a 1", "b 2", "c 4"]]);
}

#[test]
fn the_same_name_in_another_group_is_another_policy() {
    let git = in_git("shop", "web", ports(&[80]));
    let mut other = live(document("shop", "web", ports(&[80])), vec![]);
    other.document.api_version = "policy.example.org/v1".to_owned();
    let outcome = drift(&[git], &[other], &context());
    let classes: Vec<DriftClass> = outcome.drift.iter().map(|drift| drift.class).collect();
    assert_eq!(classes, [DriftClass::Missing, DriftClass::Extra]);
}

#[test]
fn a_diff_is_bounded() {
    let many: Vec<u16> = (1..2000).collect();
    let found = one(&[in_git("redis", "network-policy", ports(&many))], &[]);
    assert!(found.diff.len() <= 4096 && found.diff.ends_with("more lines\n"), "{}", found.diff.len());
    assert!(found.summary.len() < 400);
}
