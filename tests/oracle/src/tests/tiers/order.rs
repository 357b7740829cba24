//! Tiers and order: which policy is asked, and what its answer means (points 1 to 6, 13 and 15 of Calico).

use serde_json::{Value, json};

use super::{
    assert_flow, assert_reached_by, calico, decider, from_client, gnp, is_by, kubernetes_default_deny, np, on_server,
    tier, world,
};
use crate::tiers::By;

fn allow_all(order: Value) -> Value {
    json!({"order": order, "types": ["Ingress"], "ingress": [{"action": "Allow"}]})
}

fn deny_all(order: Value) -> Value {
    json!({"order": order, "types": ["Ingress"], "ingress": [{"action": "Deny"}]})
}

fn version(version: &str) -> Value {
    calico("ClusterInformation", json!({"name": "default"}), json!({"calicoVersion": version}))
}

#[test]
fn c01_kubernetes_default_deny_is_no_match() {
    let closed = kubernetes_default_deny(world([]));
    assert_eq!(decider(&closed), By::EndOfTier("default".to_owned()));
    assert_reached_by(&closed, &[("a/client", false), ("203.0.113.9", false)]);
    // Later policies of the tier are asked still, before the end of the tier denies.
    for order in [json!(1001), json!(null)] {
        let opened = kubernetes_default_deny(world([gnp("after", allow_all(order))]));
        assert!(is_by(&decider(&opened), "after", 0));
        assert_reached_by(&opened, &[("a/client", true)]);
    }
    // Earlier ones go round what the namespace says, both ways.
    let before = kubernetes_default_deny(world([gnp("before", allow_all(json!(999)))]));
    assert_reached_by(&before, &[("a/client", true)]);
    let mut denied = world([gnp("before", deny_all(json!(999)))]);
    denied.plain.policies = vec![super::super::ingress(json!([{}]))];
    assert_reached_by(&denied, &[("a/client", false)]);
    denied.others = vec![gnp("after", deny_all(json!(1001)))];
    assert_reached_by(&denied, &[("a/client", true)]);
}

#[test]
fn c02_nil_order_is_last() {
    let world = world([gnp("a-nil", deny_all(json!(null))), gnp("z-last", allow_all(json!(1e9)))]);
    assert!(is_by(&decider(&world), "z-last", 0));
    assert_reached_by(&world, &[("a/client", true)]);
}

#[test]
fn c02_ties_up_to_3_31_compare_stored_names_after_the_namespace() {
    // `a/default.z` is before `default.a`: the namespace is in front. `z/..` would be after it.
    let tied = [np("a/z", deny_all(json!(10))), gnp("a", allow_all(json!(10)))];
    let with = |one: &str| world(tied.clone().into_iter().chain([version(one)]));
    for old in ["v3.28.5", "v3.31.9", "3.30.0", "v2.6.0"] {
        assert!(is_by(&decider(&with(old)), "z", 0), "{old}");
    }
    // From 3.32 it is name/namespace/kind: `a//GlobalNetworkPolicy` is before `z/a/NetworkPolicy`.
    for new in ["v3.32.0", "v3.40.1", "v4.0.0", "master"] {
        assert!(is_by(&decider(&with(new)), "a", 0), "{new}");
    }
    // Offline and absent: the newest rule.
    assert!(is_by(&decider(&world(tied)), "a", 0));
}

#[test]
fn c02_ties_of_kubernetes_policies() {
    let tied = |name: &str, one: Option<&str>| {
        let mut world = world([np(name, deny_all(json!(1000)))].into_iter().chain(one.map(version)));
        world.plain.policies = vec![super::super::ingress(json!([{}]))];
        world
    };
    // The one of Kubernetes is called `policy`, stored `a/knp.default.policy`: after every `a/default.…`.
    assert!(is_by(&decider(&tied("a/z", Some("v3.28.0"))), "z", 0));
    assert!(is_by(&decider(&tied("a/z", None)), "policy", 0));
    assert!(is_by(&decider(&tied("a/b", None)), "b", 0));
}

#[test]
fn c02_ties_compare_whole_texts() {
    // As one text: `b-1/a/…` is before `b/a/…`, as `-` is before `/`.
    let tied = [np("a/b", deny_all(json!(5))), np("a/b-1", allow_all(json!(5)))];
    assert!(is_by(&decider(&world(tied.clone())), "b-1", 0));
    // Stored names: `a/default.b` is before `a/default.b-1`.
    assert!(is_by(&decider(&world(tied.into_iter().chain([version("v3.29.1")]))), "b", 0));
}

fn in_tier(tier: &str, mut spec: Value) -> Value {
    spec["tier"] = json!(tier);
    spec
}

#[test]
fn c02_tiers_by_order_nil_last_then_missing_ones() {
    let first_of = |tiers: Vec<Value>| {
        let policies = ["one", "two", "gone"].map(|name| gnp(name, in_tier(name, deny_all(json!(1)))));
        let By::Rule(name, _) = decider(&world(tiers.into_iter().chain(policies))) else { panic!("a rule decides") };
        name.tier
    };
    let with = |one: Value, two: Value| vec![tier("one", json!({"order": one})), tier("two", json!({"order": two}))];
    assert_eq!(first_of(with(json!(20), json!(10))), "two");
    assert_eq!(first_of(with(json!(null), json!(2_000_000))), "two");
    assert_eq!(first_of(with(json!(7), json!(7))), "one", "then by name");
    assert_eq!(first_of(vec![tier("two", json!({}))]), "two", "a tier without order is before one that is missing");
    assert_eq!(first_of(vec![]), "gone", "missing ones by name");
    // Tier default has order 1,000,000, whether the object is there or not.
    let late = gnp("late", in_tier("late", deny_all(json!(1))));
    let own = gnp("own", allow_all(json!(1)));
    let decided = |order: u32| decider(&world([late.clone(), own.clone(), tier("late", json!({"order": order}))]));
    assert!(is_by(&decided(1_000_001), "own", 0));
    assert!(is_by(&decided(999_999), "late", 0));
}

#[test]
fn c03_end_of_tier_needs_a_policy_that_applies_in_that_direction() {
    let egress_only = json!({"tier": "t", "types": ["Egress"], "egress": [{"action": "Allow"}]});
    let world_of = |spec: &Value, default: &str| {
        let spec = in_tier("t", spec.clone());
        world([tier("t", json!({"order": 5, "defaultAction": default})), gnp("p", spec)])
    };
    // Applies for egress only: nothing is denied for ingress.
    assert_eq!(decider(&world_of(&egress_only, "Deny")), By::NoPolicy);
    let no_rules = json!({"types": ["Ingress"]});
    assert_eq!(decider(&world_of(&no_rules, "Deny")), By::EndOfTier("t".to_owned()));
    assert_reached_by(&world_of(&no_rules, "Deny"), &[("a/client", false)]);
    assert_eq!(decider(&world_of(&no_rules, "Pass")), By::NoPolicy);
    assert_reached_by(&world_of(&no_rules, "Pass"), &[("a/client", true)]);
    // It selects another pod: the tier says nothing about this one.
    let other = json!({"selector": "app == 'client'", "types": ["Ingress"]});
    assert_eq!(decider(&world_of(&other, "Deny")), By::NoPolicy);
    assert_flow(&world_of(&other, "Deny"), "b/client", "a/client", "TCP", 80, false);
}

#[test]
fn c03_each_direction_ends_by_itself() {
    let world = world([from_client(json!([{"action": "Allow", "protocol": "TCP"}]))]);
    assert_flow(&world, "a/client", "a/server", "TCP", 80, true);
    assert_flow(&world, "a/client", "a/server", "UDP", 80, false);
    assert_flow(&world, "b/client", "a/client", "UDP", 80, true);
}

#[test]
fn c04_pass_skips_the_rest_of_the_tier() {
    let pass = json!({"order": 10, "types": ["Ingress"], "ingress": [{"action": "Pass"}, {"action": "Deny"}]});
    // In tier default all later NetworkPolicies are skipped: the namespace's profile allows.
    let passed = kubernetes_default_deny(world([gnp("pass", pass.clone()), gnp("later", deny_all(json!(20)))]));
    assert_eq!(decider(&passed), By::NoPolicy);
    assert_reached_by(&passed, &[("a/client", true), ("203.0.113.9", true)]);
    // In a tier before, the next one is asked.
    let earlier = gnp("pass", in_tier("t", pass));
    let next = kubernetes_default_deny(world([tier("t", json!({"order": 1})), earlier]));
    assert_eq!(decider(&next), By::EndOfTier("default".to_owned()));
    assert_reached_by(&next, &[("a/client", false)]);
}

#[test]
fn c05_log_goes_on_and_allow_ends_all_tiers() {
    let logged = |next: &str| world([on_server(json!([{"action": "Log"}, {"action": next}]))]);
    assert!(is_by(&decider(&logged("Deny")), "on-server", 1));
    assert_reached_by(&logged("Allow"), &[("a/client", true)]);
    assert_reached_by(&logged("Deny"), &[("a/client", false)]);
    // Log alone decides nothing; the end of the tier denies.
    assert_eq!(decider(&world([on_server(json!([{"action": "Log"}]))])), By::EndOfTier("default".to_owned()));
    let allowed = gnp("first", in_tier("t", allow_all(json!(1))));
    let world = kubernetes_default_deny(world([tier("t", json!({"order": 1})), allowed]));
    assert_reached_by(&world, &[("a/client", true)]);
}

#[test]
fn c05_both_directions_are_needed() {
    let open = on_server(json!([{"action": "Allow"}]));
    let world_of = |egress: &str| world([open.clone(), from_client(json!([{"action": egress}]))]);
    assert_reached_by(&world_of("Allow"), &[("a/client", true), ("b/client", true)]);
    assert_reached_by(&world_of("Deny"), &[("a/client", false), ("b/client", true)]);
}

#[test]
fn c06_types_by_default() {
    let rule = json!([{"action": "Allow", "protocol": "UDP"}]);
    // As rules there are: (ingress, egress) -> whether TCP to and from the server is denied.
    let cases = [
        (json!([]), json!([]), true, false),
        (rule.clone(), json!([]), true, false),
        (json!([]), rule.clone(), false, true),
        (rule.clone(), rule, true, true),
    ];
    for (ingress, egress, to, from) in cases {
        let spec = json!({"selector": "app == 'server'", "ingress": ingress, "egress": egress});
        let world = world([gnp("p", spec.clone())]);
        assert_flow(&world, "a/client", "a/server", "TCP", 80, !to);
        assert_flow(&world, "a/server", "a/client", "TCP", 80, !from);
        // Written past the API that defaults, it is both.
        let mut raw = gnp("default.p", spec);
        raw["apiVersion"] = json!("crd.projectcalico.org/v1");
        let raw = super::world([raw]);
        assert_flow(&raw, "a/client", "a/server", "TCP", 80, false);
        assert_flow(&raw, "a/server", "a/client", "TCP", 80, false);
    }
}

#[test]
fn c13_policies_for_host_endpoints_are_not_for_pods() {
    for field in ["doNotTrack", "preDNAT"] {
        let spec = json!({"order": 1, "applyOnForward": true, field: true, "ingress": [{"action": "Deny"}]});
        let world = world([gnp("host", spec)]);
        assert_eq!(decider(&world), By::NoPolicy, "{field}");
    }
    let forward = json!({"order": 1, "applyOnForward": true, "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    assert!(is_by(&decider(&world([gnp("forward", forward)])), "forward", 0));
}

#[test]
fn c15_staged_kinds_never_enforce() {
    let spec = json!({"order": 1, "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    for kind in ["StagedGlobalNetworkPolicy", "StagedNetworkPolicy"] {
        for action in [json!(null), json!("Set"), json!("Delete")] {
            let mut spec = spec.clone();
            spec["stagedAction"] = action;
            let staged = calico(kind, json!({"namespace": "a", "name": "p"}), spec);
            // Neither a rule of it nor the end of its tier; nor does it delete the policy that it is about.
            assert_eq!(decider(&world([staged.clone()])), By::NoPolicy, "{kind}");
            assert!(is_by(&decider(&world([staged, gnp("p", deny_all(json!(2)))])), "p", 0));
        }
    }
    let kubernetes = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    let staged = calico("StagedKubernetesNetworkPolicy", json!({"namespace": "a", "name": "p"}), kubernetes);
    assert_eq!(decider(&world([staged])), By::NoPolicy);
}

#[test]
fn c15_stored_names_carry_the_tier() {
    let mut stored = gnp("default.p", deny_all(json!(1)));
    stored["apiVersion"] = json!("crd.projectcalico.org/v1");
    assert!(is_by(&decider(&world([stored])), "p", 0));
}
