#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use serde_json::json;

use super::*;
use crate::{
    engine::normal::{Equality, changed_rules, spec_equal},
    model::{Origins, RuleRef},
};

fn document(version: &str, kind: &str, metadata: Value, spec: Value) -> PolicyDocument {
    let namespace = (!kind.contains("Global") && kind != "Tier").then_some("shop");
    let tier = spec["tier"].as_str();
    PolicyDocument {
        id: PolicyRef::of_object(version, kind, namespace, "one", tier),
        api_version: version.to_owned(),
        object: json!({"metadata": metadata, "spec": spec}),
        origins: Origins::default(),
        kustomization: None,
    }
}

const API: &str = "projectcalico.org/v3";
const STORE: &str = "crd.projectcalico.org/v1";

fn policy(spec: Value) -> PolicyDocument {
    document(API, "NetworkPolicy", json!({}), spec)
}

fn equality(a: Value, b: Value) -> Equality {
    spec_equal(&policy(a), &policy(b))
}

/// A policy with one ingress rule.
fn rule(rule: Value) -> Value {
    let mut with_action = json!({"action": "Allow"});
    with_action.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    json!({"types": ["Ingress"], "ingress": [with_action]})
}

fn source(source: Value) -> Value {
    rule(json!({"protocol": "TCP", "source": source}))
}

#[test]
fn what_calicos_api_fills_in_is_no_difference() {
    for (git, live) in [
        (json!({}), json!({"tier": "default", "types": ["Ingress"]})),
        (
            json!({"egress": [{"action": "Deny"}]}),
            json!({"types": ["Egress"], "egress": [{"action": "Deny"}], "ingress": []}),
        ),
        (
            json!({"ingress": [{"action": "Deny"}], "egress": [{"action": "Deny"}]}),
            json!({"types": ["Ingress", "Egress"], "ingress": [{"action": "Deny", "source": {}, "destination": {}}],
                "egress": [{"action": "Deny", "source": {}, "destination": {}}]}),
        ),
        (json!({"selector": "all()"}), json!({"selector": ""})),
        (json!({"selector": "a=='b'&&has( c )"}), json!({"selector": "a == \"b\" && has(c)"})),
        (json!({"order": 100}), json!({"order": 100.0})),
        (json!({"order": null, "egress": null}), json!({})),
        (json!({"performanceHints": ["AssumeNeededOnEveryNode"]}), json!({})),
        (source(json!({"nets": ["10.1.2.3/8"]})), source(json!({"nets": ["10.0.0.0/8"]}))),
        (source(json!({"ports": ["80", "81:81", "90:95"]})), source(json!({"ports": [80, 81, "90:95"]}))),
        (source(json!({"serviceAccounts": {"names": []}, "notNets": []})), source(json!({}))),
        (rule(json!({"protocol": 6})), rule(json!({"protocol": "TCP"}))),
        (rule(json!({"notProtocol": "17"})), rule(json!({"notProtocol": "UDP"}))),
        (rule(json!({"metadata": {"annotations": {"why": "x"}}, "icmp": {}})), rule(json!({}))),
        (source(json!({"services": {"name": "a"}})), source(json!({"services": {"name": "a", "namespace": "shop"}}))),
    ] {
        assert_eq!(equality(git.clone(), live.clone()), Equality::Same, "{git} / {live}");
    }
}

#[test]
fn order_and_spelling_are_told_apart_from_meaning() {
    for (a, b) in [
        (json!({"types": ["Egress", "Ingress"]}), json!({"types": ["Ingress", "Egress"]})),
        (source(json!({"nets": ["10.0.0.0/8", "11.0.0.0/8"]})), source(json!({"nets": ["11.0.0.0/8", "10.0.0.0/8"]}))),
        (source(json!({"ports": [80, "http"]})), source(json!({"ports": ["http", 80, 80]}))),
        (json!({"types": ["Ingress"], "egress": [{"action": "Allow"}]}), json!({"types": ["Ingress"]})),
    ] {
        assert_eq!(equality(a.clone(), b.clone()), Equality::OrderOnly, "{a} / {b}");
    }
}

#[test]
fn what_means_something_else_is_different() {
    let (allow, deny) = (json!({"action": "Allow", "protocol": "TCP"}), json!({"action": "Deny"}));
    for (a, b) in [
        (json!({"ingress": [allow, deny]}), json!({"ingress": [deny, allow]})),
        (json!({"order": 100}), json!({})),
        (json!({"tier": "platform"}), json!({})),
        (json!({"selector": "a == 'b'"}), json!({"selector": "a != 'b'"})),
        (json!({"types": ["Ingress"]}), json!({"types": ["Ingress", "Egress"]})),
        (json!({"serviceAccountSelector": "all()"}), json!({})),
        (json!({"applyOnForward": true}), json!({})),
        (source(json!({"selector": "all()"})), source(json!({}))),
        (source(json!({"ports": ["http"]})), source(json!({"ports": ["https"]}))),
        (source(json!({"nets": ["10.0.0.0/8"]})), source(json!({"notNets": ["10.0.0.0/8"]}))),
        (rule(json!({"action": "Deny"})), rule(json!({"action": "Pass"}))),
        (rule(json!({"protocol": 47})), rule(json!({"protocol": "TCP"}))),
        (rule(json!({"http": {"methods": ["GET"]}})), rule(json!({}))),
        (rule(json!({"quantum": 1})), rule(json!({}))),
        (json!({"selector": "a =="}), json!({"selector": "a ="})),
    ] {
        assert_eq!(equality(a.clone(), b.clone()), Equality::Different, "{a} / {b}");
    }
}

#[test]
fn calico_4_6_what_is_stored_without_types_applies_both_ways() {
    let stored = |spec: Value| document(STORE, "NetworkPolicy", json!({}), spec);
    let bare = stored(json!({"ingress": [{"action": "Allow"}]}));
    let both = json!({"types": ["Ingress", "Egress"], "ingress": [{"action": "Allow"}]});
    assert_eq!(spec_equal(&policy(both.clone()), &bare), Equality::Same);
    assert_eq!(spec_equal(&policy(json!({"ingress": [{"action": "Allow"}]})), &bare), Equality::Different);
    assert_eq!(spec_equal(&policy(both.clone()), &stored(both)), Equality::Same, "the control");
}

#[test]
fn a_set_is_its_addresses_and_its_labels_without_those_of_flux() {
    let set =
        |version: &str, metadata: Value, nets: Value| document(version, "NetworkSet", metadata, json!({"nets": nets}));
    let git = set(API, json!({"labels": {"role": "db"}}), json!(["10.0.0.1", "10.1.0.0/16"]));
    let owned = json!({"labels": {"role": "db", "kustomize.toolkit.fluxcd.io/name": "apps"},
        "annotations": {"projectcalico.org/metadata": "{\"labels\": {\"role\": \"x\"}}"}});
    let stored = json!({"annotations": {"projectcalico.org/metadata": "{\"labels\": {\"role\": \"db\"}}"}});
    for (live, expected) in [
        (set(API, owned, json!(["10.0.0.1/32", "10.1.0.0/16"])), Equality::Same),
        (set(STORE, stored, json!(["10.1.0.0/16", "10.0.0.1"])), Equality::OrderOnly),
        (set(API, json!({"labels": {"role": "web"}}), json!(["10.0.0.1", "10.1.0.0/16"])), Equality::Different),
        (set(API, json!({}), json!(["10.0.0.1", "10.1.0.0/16"])), Equality::Different),
        (set(API, json!({"labels": {"role": "db"}}), json!(["10.0.0.1"])), Equality::Different),
    ] {
        assert_eq!(spec_equal(&git, &live), expected, "{}", live.object);
    }
}

#[test]
fn tiers_and_staged_policies_have_their_defaults_too() {
    for (kind, git, live, expected) in [
        ("Tier", json!({"order": 10}), json!({"order": 10.0, "defaultAction": "Deny"}), Equality::Same),
        ("Tier", json!({"order": 10}), json!({"order": 10, "defaultAction": "Pass"}), Equality::Different),
        ("StagedNetworkPolicy", json!({}), json!({"tier": "default", "stagedAction": "Set"}), Equality::Same),
        ("StagedNetworkPolicy", json!({}), json!({"stagedAction": "Delete"}), Equality::Different),
        (
            "StagedKubernetesNetworkPolicy",
            json!({"ingress": [{"ports": [{"port": 80}]}]}),
            json!({"podSelector": {}, "stagedAction": "Set", "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}),
            Equality::Same,
        ),
    ] {
        let (git, live) = (document(API, kind, json!({}), git), document(STORE, kind, json!({}), live));
        // What is stored has types.
        let live = if kind == "StagedNetworkPolicy" {
            let mut live = live;
            live.object["spec"]["types"] = json!(["Ingress"]);
            live
        } else {
            live
        };
        assert_eq!(spec_equal(&git, &live), expected, "{kind} {}", live.object);
    }
}

#[test]
fn a_rule_is_known_again_by_its_meaning() {
    let refs = |old: &PolicyDocument, new: &PolicyDocument| {
        changed_rules(Some(old), new).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let allow = |port: Value| json!({"action": "Allow", "protocol": "TCP", "destination": {"ports": [port]}});
    let old = policy(json!({"types": ["Ingress"], "ingress": [allow(json!(80)), allow(json!(90))]}));
    let new = policy(json!({"ingress": [allow(json!("90")), allow(json!(80)), allow(json!(443))]}));
    assert_eq!(refs(&old, &new), ["NetworkPolicy.projectcalico.org/shop/one ingress[2]"]);
    let wider = policy(json!({"selector": "a == 'b'", "ingress": [allow(json!(80))]}));
    assert_eq!(refs(&old, &wider), ["NetworkPolicy.projectcalico.org/shop/one ingress[0]"]);
    let earlier = policy(json!({"order": 1, "ingress": [allow(json!(80))]}));
    assert_eq!(refs(&old, &earlier).len(), 1, "at another place its rules decide about other flows");
    let both =
        policy(json!({"types": ["Ingress", "Egress"], "ingress": [allow(json!(80))], "egress": [allow(json!(80))]}));
    assert_eq!(refs(&old, &both), ["NetworkPolicy.projectcalico.org/shop/one egress[0]"]);
    let staged = document(API, "StagedNetworkPolicy", json!({}), json!({"ingress": [allow(json!(80))]}));
    assert_eq!(changed_rules(None, &staged), Vec::<RuleRef>::new());
    assert_eq!(changed_rules(None, &old).len(), 2, "the control");
}
