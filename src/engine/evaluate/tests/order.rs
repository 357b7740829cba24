//! Orders, tiers, actions.

use super::*;

#[test]
fn calico_4_1_default_deny_of_kubernetes_is_no_match_within_the_tier() {
    let allow = |order| global("allow", order, API, all("Allow"));
    let deny = |order| global("deny", order, API, all("Deny"));
    let open = document("shop/open", json!({"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{}]}));
    for (documents, expected, name) in [
        (vec![api_denied()], Denied, "the control"),
        (vec![api_denied(), allow(Some(2000.0))], Allowed, "a later policy of the tier allows"),
        (vec![api_denied(), allow(None)], Allowed, "so does one without an order"),
        (vec![api_denied(), allow(Some(500.0))], Allowed, "and an earlier one"),
        (vec![open.clone(), deny(Some(500.0))], Denied, "an earlier deny comes before what Kubernetes allows"),
        (vec![open, deny(Some(1500.0))], Allowed, "a later one does not"),
    ] {
        assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), expected, "{name}");
    }
}

#[test]
fn calico_4_2_no_order_is_last() {
    let early = global("z", Some(1e9), API, all("Allow"));
    let late = global("a", None, API, all("Deny"));
    assert_eq!(tcp(&[late, early], "shop/web", "shop/api", 80), Allowed);
    let tier = |name: &str, order: Value| calico("Tier", name, json!({"order": order}));
    let of = |tier: &str, action: &str| {
        calico("GlobalNetworkPolicy", &format!("{tier}.p"), json!({"tier": tier, "ingress": all(action)}))
    };
    let documents =
        |first: Value, second: Value| [tier("a", first), tier("b", second), of("a", "Allow"), of("b", "Deny")];
    assert_eq!(tcp(&documents(json!(null), json!(9.5)), "shop/web", "shop/api", 80), Denied, "b has an order");
    assert_eq!(tcp(&documents(json!(null), json!(null)), "shop/web", "shop/api", 80), Allowed, "then by name");
    assert_eq!(tcp(&documents(json!(9.5), json!(9.25)), "shop/web", "shop/api", 80), Denied, "orders are fractions");
}

#[test]
fn calico_4_2_ties_depend_on_the_version() {
    let namespaced = |namespace: &str, name: &str| {
        let spec = json!({"order": 10, "types": ["Ingress"], "ingress": all("Allow")});
        calico("NetworkPolicy", &format!("{namespace}/{name}"), spec)
    };
    let deny = |name: &str| global(name, Some(10.0), "all()", all("Deny"));
    let kubernetes = document("redis/k", json!({"podSelector": {}, "ingress": [{}]}));
    let at_1000 = |name: &str| global(name, Some(1000.0), "all()", all("Deny"));
    let rows = [
        ("shop", "shop/api", [namespaced("shop", "a"), deny("b")], Denied, Allowed),
        ("the tier before the name", "shop/api", [namespaced("shop", "default.a"), deny("default.b")], Denied, Allowed),
        ("a global one of an earlier name", "shop/api", [namespaced("shop", "b"), deny("a")], Denied, Denied),
        ("before `default`", "abc/app", [namespaced("abc", "b"), deny("a")], Allowed, Denied),
        ("Kubernetes' are stored as knp.default.k", "redis/redis", [kubernetes, at_1000("z")], Denied, Allowed),
    ];
    let cluster = cluster().namespace("abc", &[]).app("abc/app", 1);
    for (name, to, documents, until_3_31, since_3_32) in rows {
        for (version, expected) in [("v3.31.2", until_3_31), ("v3.32.0", since_3_32)] {
            let ties = TieRule::of_version(version);
            let got = ask(&cluster, &documents, ties, ("shop/web", to), &Traffic::to_port(Protocol::Tcp, 80));
            assert_eq!(got.decision(), expected, "{name}, {version}");
        }
    }
}

#[test]
fn calico_4_2_a_verdict_that_hangs_on_a_tie_is_told() {
    let tier = calico("Tier", "late", json!({"order": 2_000_000}));
    let late = calico("GlobalNetworkPolicy", "late.p", json!({"tier": "late", "ingress": all("Deny")}));
    let p = |name: &str, order: f64, action: &str| global(name, Some(order), API, all(action));
    let kubernetes = document("shop/k", json!({"podSelector": {}, "ingress": [{}]}));
    let port = |name: &str, number: u16| {
        let rule = json!([{"action": "Deny", "protocol": "TCP", "destination": {"ports": [number]}}]);
        global(name, Some(1.0), API, rule)
    };
    let rows: [(&str, Vec<PolicyDocument>, &[&str]); 9] = [
        ("two orders", vec![p("a", 1.0, "Allow"), p("b", 2.0, "Deny")], &[]),
        ("one order, one action", vec![p("a", 1.0, "Allow"), p("b", 1.0, "Allow")], &[]),
        ("one order, two actions", vec![p("a", 1.0, "Allow"), p("b", 1.0, "Deny")], &["a", "b"]),
        ("decided before", vec![p("z", 0.0, "Deny"), p("a", 1.0, "Allow"), p("b", 1.0, "Deny")], &[]),
        ("one does not match", vec![p("a", 1.0, "Allow"), port("b", 81)], &[]),
        ("both match", vec![p("a", 1.0, "Allow"), port("b", 80)], &["a", "b"]),
        ("as Kubernetes' order", vec![kubernetes, p("b", 1000.0, "Deny")], &["b", "shop/k"]),
        ("pass comes to the same", vec![p("a", 1.0, "Allow"), p("b", 1.0, "Pass")], &[]),
        ("pass does not", vec![p("a", 1.0, "Allow"), p("b", 1.0, "Pass"), tier, late], &["a", "b"]),
    ];
    for (name, documents, expected) in rows {
        let evaluation = Evaluation::of(&cluster().snapshot, &documents, TieRule::default()).unwrap();
        let [source, destination] = ["shop/web", "shop/api"].map(|end| evaluation.end(address(&cluster(), end)));
        let ties = verdict::ties(&evaluation.world, source, destination, &Traffic::to_port(Protocol::Tcp, 80));
        assert_eq!(ties.iter().map(PolicyRef::short).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn calico_4_3_end_of_tier_only_for_its_direction() {
    let tier = |action: &str| calico("Tier", "platform", json!({"order": 100, "defaultAction": action}));
    let of = |kind: &str, types: Value| {
        calico(kind, "platform.p", json!({"tier": "platform", "selector": API, "types": types}))
    };
    let global = "GlobalNetworkPolicy";
    for (documents, expected, name) in [
        (vec![tier("Deny"), of(global, json!(["Ingress"]))], Denied, "the tier ends"),
        (vec![tier("Pass"), of(global, json!(["Ingress"]))], Allowed, "the tier passes at its end"),
        (vec![tier("Pass"), of(global, json!(["Ingress"])), api_denied()], Denied, "to a tier that denies"),
        (vec![tier("Deny"), of(global, json!(["Egress"]))], Allowed, "its policy is about the other direction"),
        (vec![tier("Deny"), of("StagedGlobalNetworkPolicy", json!(["Ingress"]))], Allowed, "its policy is staged"),
        (vec![tier("Deny")], Allowed, "it has no policy"),
    ] {
        assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), expected, "{name}");
    }
    let other = [tier("Deny"), of(global, json!(["Ingress"]))];
    assert_eq!(tcp(&other, "shop/api", "redis/redis", 80), Allowed, "egress of the same pod");
    assert_eq!(tcp(&other, "shop/api", "shop/web", 80), Allowed, "a pod that it does not select");
}

#[test]
fn calico_4_4_pass_skips_the_rest_of_the_tier() {
    let pass = global(
        "pass",
        Some(1.0),
        API,
        json!([{"action": "Pass", "protocol": "TCP",
        "destination": {"ports": [80]}}]),
    );
    assert_eq!(tcp(&[pass.clone(), api_denied()], "shop/web", "shop/api", 80), Allowed, "to the namespace's profile");
    assert_eq!(tcp(&[pass.clone(), api_denied()], "shop/web", "shop/api", 81), Denied, "the control");
    let tier = calico("Tier", "last", json!({"order": 2_000_000}));
    let last = |action: &str| calico("GlobalNetworkPolicy", "last.p", json!({"tier": "last", "ingress": all(action)}));
    for action in ["Deny", "Allow"] {
        let expected = if action == "Deny" { Denied } else { Allowed };
        let documents = [pass.clone(), api_denied(), tier.clone(), last(action)];
        assert_eq!(tcp(&documents, "shop/web", "shop/api", 80), expected, "the next tier: {action}");
        assert_eq!(tcp(&documents, "shop/web", "shop/api", 81), Denied, "the tier's end: {action}");
    }
    let once = [tier, last("Pass")];
    assert_eq!(tcp(&once, "shop/web", "shop/api", 80), Allowed, "passed out of the last tier");
    assert_eq!(tcp(&[], "shop/web", "shop/api", 80), Allowed, "nothing applies: the profile allows both ways");
}

#[test]
fn calico_4_5_log_continues_and_allow_ends_all_tiers_of_its_direction() {
    let rules = |actions: &[&str]| -> Value { actions.iter().map(|action| json!({"action": action})).collect() };
    let one = |actions: &[&str]| [global("p", Some(1.0), API, rules(actions)), api_denied()];
    assert_eq!(tcp(&one(&["Log", "Allow"]), "shop/web", "shop/api", 80), Allowed);
    assert_eq!(tcp(&one(&["Log", "Deny", "Allow"]), "shop/web", "shop/api", 80), Denied);
    assert_eq!(tcp(&one(&["Log"]), "shop/web", "shop/api", 80), Denied, "a log alone decides nothing");
    let tier = calico("Tier", "late", json!({"order": 2_000_000}));
    let late = calico("GlobalNetworkPolicy", "late.p", json!({"tier": "late", "ingress": all("Deny")}));
    let [allow, deny] = one(&["Allow"]);
    assert_eq!(tcp(&[allow.clone(), tier, late], "shop/web", "shop/api", 80), Allowed, "no later tier is asked");
    let no_way_out =
        document("shop/out", json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"]}));
    assert_eq!(tcp(&[allow, deny, no_way_out], "shop/web", "shop/api", 80), Denied, "the source's side is needed too");
}

#[test]
fn a_verdict_names_the_policy_and_rule_that_decides_with_its_place() {
    let reasons = |rules: Value| {
        let documents = [global("p", Some(1.0), API, rules), api_denied()];
        let traffic = Traffic::to_port(Protocol::Tcp, 80);
        ask(&cluster(), &documents, TieRule::default(), ("shop/web", "shop/api"), &traffic).ingress
    };
    let Side::Allowed(by) = reasons(json!([{"action": "Log"}, {"action": "Allow"}])) else { panic!("denied") };
    let texts: Vec<_> = by.iter().map(|(rule, origin)| format!("{rule} {}", origin.as_ref().unwrap())).collect();
    assert_eq!(texts, ["GlobalNetworkPolicy/p ingress[1] global/x.yaml:10:3"]);
    let denied = |side: Side| match side {
        Side::Denied(by) => by.into_iter().map(|(id, origin)| format!("{id} {}", origin.unwrap())).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let Side::Stopped(rule, origin) = reasons(all("Deny")) else { panic!("no rule denies") };
    assert_eq!(format!("{rule} {}", origin.unwrap()), "GlobalNetworkPolicy/p ingress[0] global/x.yaml:10:3");
    let at_end = denied(reasons(json!([])));
    let expected = ["GlobalNetworkPolicy/p global/x.yaml:1:1", "NetworkPolicy/shop/deny shop/deny.yaml:1:1"];
    assert_eq!(at_end, expected, "the end of the tier");
}

#[test]
fn policies_of_kubernetes_alone_mean_what_they_meant() {
    let names = |verdict: FlowVerdict| match verdict.ingress {
        Side::Allowed(by) => by.iter().map(|(rule, _)| rule.to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let open = |name: &str| document(name, json!({"podSelector": {}, "ingress": [{}]}));
    let documents = [open("shop/b"), open("shop/a"), open("redis/a")];
    let traffic = Traffic::to_port(Protocol::Tcp, 80);
    let verdict = ask(&cluster(), &documents, TieRule::default(), ("shop/web", "shop/api"), &traffic);
    assert_eq!(names(verdict), ["NetworkPolicy/shop/a ingress[0]", "NetworkPolicy/shop/b ingress[0]"]);
}
