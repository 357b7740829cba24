use serde_json::json;

use super::*;
use crate::{
    engine::fixtures::calico,
    flux::manifests::{self, Node},
    model::{Origins, RuleRef},
};

/// Documents of a file, with the place of each field.
fn yaml(text: &str) -> Vec<PolicyDocument> {
    fn walk(root: &Node, value: &Value, at: &str, fields: &mut BTreeMap<String, Origin>) {
        let place = root.place_of(at).unwrap();
        fields.insert(at.to_owned(), Origin::at("p.yaml", place.line, place.column));
        match value {
            Value::Object(all) => all.iter().for_each(|(key, value)| walk(root, value, &format!("{at}/{key}"), fields)),
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(i, value)| walk(root, value, &format!("{at}/{i}"), fields));
            }
            _ => {}
        }
    }
    let one = |document: manifests::Document| {
        let object = document.root.to_value();
        let mut fields = BTreeMap::new();
        walk(&document.root, &object["spec"], "/spec", &mut fields);
        let place = document.root.place;
        PolicyDocument {
            id: PolicyRef {
                kind: document.kind().to_owned(),
                namespace: document.namespace().map(str::to_owned),
                name: document.name().to_owned(),
            },
            api_version: object["apiVersion"].as_str().unwrap().to_owned(),
            object,
            origins: Origins {
                document: Some(Origin::at("p.yaml", place.line, place.column)),
                fields,
                ..Origins::default()
            },
            kustomization: None,
        }
    };
    manifests::parse("p.yaml", text).unwrap().into_iter().map(one).collect()
}

fn fault(document: PolicyDocument) -> String {
    let errors = documents(&[document]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].to_string()
}

const FILE: &str = "\
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: platform}
spec: {order: 100.5, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: platform.dns}
spec:
  tier: platform
  order: 10
  namespaceSelector: has(team)
  egress:
    - action: Log
    - action: Allow
      protocol: UDP
      destination:
        selector: k8s-app == 'kube-dns'
        ports: [53]
---
apiVersion: crd.projectcalico.org/v1
kind: NetworkPolicy
metadata: {name: default.web, namespace: shop}
spec:
  ingress:
    - action: Deny
      source: {notSelector: has(x), nets: [10.0.0.1]}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: partner, namespace: shop, labels: {role: partner}}
spec: {nets: [192.0.2.7, 198.51.100.1/24]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: node-1-eth0}
spec: {node: node-1}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: knp.default.copy, namespace: shop}
spec: {}
";

#[test]
fn all_kinds_are_read_with_the_places_of_their_rules() {
    let set = documents(&yaml(FILE)).unwrap();
    let [dns, web] = set.policies.as_slice() else { panic!("{:?}", set.policies) };
    assert_eq!(dns.tier, Tier { order: Order(100.5), name: "platform".to_owned(), default_action: Action::Pass });
    assert_eq!((dns.order, web.order), (Order(10.0), Order::LAST));
    assert_eq!((dns.ingress.is_some(), dns.egress.is_some()), (false, true), "completed as the API does");
    assert_eq!((web.ingress.is_some(), web.egress.is_some()), (true, true), "stored without types");
    assert_eq!(dns.subject.calico.as_ref().unwrap().to_string(), "has(pcns.team)");
    let places = |policy: &Policy, direction| -> Vec<String> {
        let place = |rule: &Rule| {
            let name = RuleRef { policy: policy.id.clone(), direction, index: rule.index };
            format!("{name} {} {:?}", rule.origin.as_ref().unwrap(), rule.action)
        };
        policy.rules(direction).unwrap().iter().map(place).collect()
    };
    assert_eq!(
        places(dns, Direction::Egress),
        [
            "GlobalNetworkPolicy/platform.dns egress[0] p.yaml:14:7 Log",
            "GlobalNetworkPolicy/platform.dns egress[1] p.yaml:15:7 Allow"
        ]
    );
    let shop = ["NetworkPolicy.projectcalico.org/shop/default.web ingress[0] p.yaml:26:7 Deny"];
    assert_eq!(places(web, Direction::Ingress), shop);
    let source = &web.ingress.as_ref().unwrap()[0].conditions.as_ref().unwrap().source;
    let folded = r#"(projectcalico.org/namespace == "shop" && !has(x))"#;
    assert_eq!(source.selector.as_ref().unwrap().to_string(), folded);
    assert_eq!(source.nets, ["10.0.0.1/32".parse().unwrap()]);
    let nets: Vec<String> = set.sets[0].nets.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["192.0.2.7/32", "198.51.100.0/24"]);
    assert_eq!((set.host_endpoints.len(), set.copies.len()), (1, 1));
}

#[test]
fn an_error_names_the_policy_the_place_and_what_is_wrong() {
    let broken = FILE.replace("k8s-app == 'kube-dns'", "k8s-app == kube-dns").replace("Deny\n", "Drop\n");
    let errors: Vec<String> = documents(&yaml(&broken)).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "GlobalNetworkPolicy/platform.dns (p.yaml:18:9): `selector` is no selector: column 12: \
             expected a text in quotes",
            "NetworkPolicy/shop/default.web (p.yaml:26:7): `Drop` is no action (Allow, Deny, Pass, Log)",
        ]
    );
}

#[test]
fn a_selector_in_a_block_scalar_is_the_error_that_calico_makes_of_it() {
    let broken = FILE.replace("selector: k8s-app == 'kube-dns'", "selector: |\n          has(a) &&\n          has(b)");
    let errors = documents(&yaml(&broken)).unwrap_err();
    assert!(errors[0].to_string().contains("p.yaml:18:9") && errors[0].message.contains("line break"), "{errors:?}");
}

#[test]
fn what_the_api_would_refuse_of_a_rule_is_an_error() {
    let rule = |rule: Value| {
        let mut rule = rule;
        if rule.get("action").is_none() {
            rule["action"] = json!("Allow");
        }
        calico("GlobalNetworkPolicy", "p", json!({"ingress": [rule]}))
    };
    for (document, words) in [
        (rule(json!({"action": "allow"})), "`allow` is no action"),
        (rule(json!({"action": ""})), "no action"),
        (rule(json!({"protocol": "tcp"})), "`protocol` is no protocol"),
        (rule(json!({"protocol": 0})), "`protocol` is no protocol"),
        (rule(json!({"protocol": 256})), "`protocol` is no protocol"),
        (rule(json!({"notProtocol": "HTTP"})), "`notProtocol` is no protocol"),
        (rule(json!({"destination": {"ports": [80]}})), "needs the protocol TCP"),
        (rule(json!({"protocol": "ICMP", "source": {"notPorts": [80]}})), "needs the protocol TCP"),
        (rule(json!({"protocol": "TCP", "destination": {"ports": ["90:80"]}})), "ends before it begins"),
        (rule(json!({"protocol": "TCP", "destination": {"ports": [70000]}})), "70000"),
        (rule(json!({"protocol": "TCP", "destination": {"ports": [true]}})), "a port is"),
        (rule(json!({"protocol": "TCP", "destination": {"ports": [80.5]}})), "port 80.5 is not between 0 and 65535"),
        (rule(json!({"protocol": "TCP", "destination": {"ports": [-1]}})), "port -1 is not between 0 and 65535"),
        (rule(json!({"icmp": {"type": 8}})), "needs the protocol ICMP"),
        (rule(json!({"protocol": "ICMP", "icmp": {"code": 8}})), "a code without a type"),
        (rule(json!({"protocol": "ICMP", "icmp": {"type": 300}})), "between 0 and 255"),
        (rule(json!({"protocol": "ICMP", "ipVersion": 6})), "another version of IP"),
        (rule(json!({"ipVersion": 5})), "no version of IP"),
        (rule(json!({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"nets": ["::/0"]}})), "mixes IPv4 and IPv6"),
        (rule(json!({"ipVersion": 6, "source": {"notNets": ["10.0.0.0/8"]}})), "mixes IPv4 and IPv6"),
        (rule(json!({"source": {"nets": ["10.0.0.1/8"]}})), "the API takes 10.0.0.0/8"),
        (rule(json!({"source": {"nets": ["10.0.0.1"]}})), "the API takes 10.0.0.1/32"),
        (rule(json!({"source": {"nets": ["ten"]}})), "`ten` is no CIDR"),
        (rule(json!({"source": {"nets": "10.0.0.0/8"}})), "`nets` is no list"),
        (rule(json!({"source": {"selector": "global()"}})), "can only stand in the namespaceSelector"),
        (rule(json!({"source": {"namespaceSelector": "global() || has(a)"}})), "cannot be combined"),
        (rule(json!({"source": {"podSelector": {}}})), "`podSelector` is not understood"),
        (rule(json!({"source": {"domains": ["a.b"]}})), "`domains` is not understood"),
        (rule(json!({"from": []})), "`from` is not understood"),
        (rule(json!({"source": {"services": {"name": "a"}}})), "needs a namespace"),
        (rule(json!({"source": {"services": {"namespace": "a"}}})), "names no Service"),
        (rule(json!({"source": {"services": {"name": "a", "namespace": "b"}, "nets": []}})), "beside `services`"),
        (rule(json!({"destination": {"services": {"name": "a", "namespace": "b"}}})), "in its source alone"),
        (rule(json!({"action": "Deny", "http": {}})), "HTTP"),
    ] {
        let text = fault(document);
        assert!(text.contains(words), "{words}: {text}");
        assert!(text.starts_with("GlobalNetworkPolicy/p (global/x.yaml:10:3)"), "{text}");
    }
}

#[test]
fn what_the_api_would_refuse_of_a_policy_is_an_error() {
    let global = |spec: Value| calico("GlobalNetworkPolicy", "p", spec);
    let local = |spec: Value| calico("NetworkPolicy", "shop/p", spec);
    let mut unlabelled = calico("GlobalNetworkSet", "s", json!({"nets": []}));
    unlabelled.object["metadata"]["labels"] = json!({"projectcalico.org/namespace": "shop"});
    let mut profile = global(json!({}));
    profile.id.kind = "Profile".to_owned();
    let mut old = global(json!({}));
    old.api_version = "projectcalico.org/v2".to_owned();
    for (document, words) in [
        (global(json!({"tier": "nowhere"})), "add the Tier of that name"),
        (global(json!({"types": ["Both"]})), "`Both` is no policy type"),
        (global(json!({"types": ["Ingress", "Ingress"]})), "named twice"),
        (global(json!({"types": ["Ingress", "Egress", "Egress"]})), "named twice"),
        (global(json!({"order": "ten"})), "`order` is no number"),
        (global(json!({"selector": "has(a"})), "column 6"),
        (global(json!({"selector": "has(a) && global()"})), "can only stand"),
        (global(json!({"namespaceSelector": "global()"})), "can only stand"),
        (global(json!({"serviceAccountSelector": "global()"})), "can only stand"),
        (global(json!({"doNotTrack": true})), "needs `applyOnForward`"),
        (global(json!({"doNotTrack": true, "preDNAT": true, "applyOnForward": true})), "exclude each other"),
        (global(json!({"preDNAT": true, "applyOnForward": true, "types": ["Egress"]})), "has no egress"),
        (global(json!({"podSelector": {}})), "`podSelector` is not understood"),
        (global(json!({"ingress": {}})), "`ingress` is no list"),
        (global(json!({"ingress": ["Allow"]})), "is no object"),
        (local(json!({"namespaceSelector": "all()"})), "`namespaceSelector` is not understood"),
        (local(json!({"applyOnForward": true})), "`applyOnForward` is not understood"),
        (calico("Tier", "t", json!({"defaultAction": "Allow"})), "no end of a tier"),
        (calico("Tier", "default", json!({"order": 5})), "the order of tier `default` is 1000000"),
        (calico("StagedNetworkPolicy", "shop/p", json!({"stagedAction": "Try"})), "`Try` is no action"),
        (calico("StagedNetworkPolicy", "shop/p", json!({"selector": "("})), "no selector"),
        (calico("GlobalNetworkSet", "s", json!({"nets": ["x"]})), "`x` is no CIDR"),
        (calico("NetworkSet", "shop/s", json!({"allowedEgressDomains": ["a.b"]})), "not understood"),
        (unlabelled, "Calico's own"),
        (profile, "kind `Profile` of `projectcalico.org/v3` is not understood"),
        (old, "is not understood"),
    ] {
        let text = fault(document);
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn one_name_is_one_document_whichever_of_the_two_groups_it_is_of() {
    let policy = calico("NetworkPolicy", "shop/p", json!({}));
    let mut stored = policy.clone();
    stored.api_version = STORE.to_owned();
    let kubernetes = crate::engine::fixtures::document("shop/p", json!({}));
    assert!(documents(&[policy.clone(), kubernetes]).is_ok(), "Kubernetes has names of its own");
    let errors = documents(&[policy, stored]).unwrap_err();
    assert!(errors[0].message.contains("the same kind and name"), "{errors:?}");
}

#[test]
fn what_is_stored_need_not_be_what_the_api_takes() {
    let mut policy = calico(
        "GlobalNetworkPolicy",
        "p",
        json!({"ingress": [{"action": "Allow", "protocol": "tcp",
            "source": {"nets": ["10.0.0.1/8", "::1"]}, "destination": {"ports": [80]}}]}),
    );
    assert!(documents(&[policy.clone()]).is_err());
    policy.api_version = STORE.to_owned();
    let set = documents(&[policy]).unwrap();
    let conditions = set.policies[0].ingress.as_ref().unwrap()[0].conditions.clone().unwrap();
    assert_eq!(conditions.source.nets, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
}

#[test]
fn the_labels_of_a_stored_set_may_stand_in_its_annotation() {
    let mut set = calico("GlobalNetworkSet", "s", json!({"nets": ["192.0.2.0/24"]}));
    set.object["metadata"]["labels"] = json!({"a": "metadata", "b": "metadata"});
    let inner = json!({"labels": {"b": "annotation", "c": "annotation"}}).to_string();
    set.object["metadata"]["annotations"] = json!({"projectcalico.org/metadata": inner, "other": "x"});
    let labels = |set: &PolicyDocument| documents(std::slice::from_ref(set)).unwrap().sets[0].labels.clone();
    let text =
        |labels: Labels| labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
    assert_eq!(text(labels(&set)), "a=metadata b=metadata");
    set.api_version = STORE.to_owned();
    assert_eq!(text(labels(&set)), "a=metadata b=metadata c=annotation");
    set.object["metadata"]["annotations"] = json!({"projectcalico.org/metadata": "{"});
    assert!(fault(set).contains("is no JSON"));
}

#[test]
fn calico_4_15_a_policy_is_called_as_its_document_is() {
    for (version, name) in [("projectcalico.org/v3", "web"), ("crd.projectcalico.org/v1", "default.web")] {
        let mut document = calico("NetworkPolicy", "shop/web", json!({"selector": "all()"}));
        version.clone_into(&mut document.api_version);
        document.id = PolicyRef::of_object(version, "NetworkPolicy", Some("shop"), name, None);
        let policies = documents(&[document.clone()]).unwrap().policies;
        assert_eq!(policies[0].id, document.id);
        assert_eq!(policies[0].id.to_string(), "NetworkPolicy.projectcalico.org/shop/web");
    }
}
