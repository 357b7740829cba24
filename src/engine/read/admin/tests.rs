#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a borrow")]

use serde_json::{Value, json};

use super::*;
use crate::{
    engine::{
        fixtures::calico,
        read::{documents, is_kubernetes, understands},
    },
    model::{NamespaceMatch, Peer, PortMatch, Protocol},
};

fn document(version: &str, kind: &str, name: &str, spec: Value) -> PolicyDocument {
    PolicyDocument { api_version: format!("policy.networking.k8s.io/{version}"), ..calico(kind, name, spec) }
}

fn anp(more: Value) -> PolicyDocument {
    let mut spec = json!({"priority": 5, "subject": {"namespaces": {}}});
    more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
    document("v1alpha1", "AdminNetworkPolicy", "a", spec)
}

fn ingress(rule: Value) -> PolicyDocument {
    anp(json!({"ingress": [rule]}))
}

#[test]
fn a_policy_is_read_with_its_tier_priority_and_the_places_of_its_rules() {
    let rule = json!({"name": "dns", "action": "Deny", "from": [{"namespaces": {}}],
        "ports": [{"portNumber": {"protocol": "UDP", "port": 53}}]});
    let document = ingress(rule);
    assert!(understands(&document) && !is_kubernetes(&document));
    let set = documents(&[document]).unwrap();
    let policy = &set.policies[0];
    assert_eq!(
        (policy.tier.name.as_str(), policy.tier.order, policy.order),
        ("adminnetworkpolicy", Order(1000.0), Order(5.0))
    );
    assert_eq!((policy.tier.default_action, policy.egress.as_ref()), (Action::Pass, None));
    let rule = &policy.ingress.as_ref().unwrap()[0];
    assert_eq!(rule.origin.as_ref().unwrap().line, Some(10));
    assert_eq!(rule.ports, Some(vec![PortMatch::Range { protocol: Protocol::Udp, from: 53, to: 53 }]));
    let all = Peer::Pods {
        namespaces: NamespaceMatch::Selected(crate::model::Selector::everything()),
        pods: crate::model::Selector::everything(),
    };
    assert_eq!(rule.peers, Some(vec![all]));
}

fn message(document: PolicyDocument) -> String {
    let errors = documents(&[document]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].message.clone()
}

#[test]
fn what_the_api_would_refuse_of_a_policy_is_an_error() {
    let banp = |name: &str, spec| document("v1alpha1", "BaselineAdminNetworkPolicy", name, spec);
    let cnp = |spec| document("v1alpha2", "ClusterNetworkPolicy", "c", spec);
    let all = json!({"namespaces": {}});
    let pass = json!([{"action": "Pass", "from": [all]}]);
    for (document, words) in [
        (anp(json!({"priority": 1001})), "between 0 and 1000"),
        (anp(json!({"priority": null})), "no `priority`"),
        (anp(json!({"subject": {}})), "neither `namespaces` nor `pods`"),
        (anp(json!({"subject": {"namespaces": {}, "pods": {}}})), "beside"),
        (anp(json!({"subject": {"pods": {"podSelector": {}}}})), "`namespaceSelector` is missing"),
        (anp(json!({"subject": {"namespaces": {"namespaceSelector": {}}}})), "`namespaceSelector` is not understood"),
        (anp(json!({"policyTypes": []})), "`policyTypes` is not understood"),
        (banp("other", json!({"subject": all})), "called `default`"),
        (banp("default", json!({"subject": all, "priority": 1})), "`priority` is not understood"),
        (banp("default", json!({"subject": all, "ingress": pass})), "`Pass` is no action (Allow, Deny)"),
        (cnp(json!({"priority": 1, "subject": all})), "no `tier`"),
        (cnp(json!({"tier": "admin", "priority": 1, "subject": all})), "`admin` is no tier"),
        (document("v1alpha2", "AdminNetworkPolicy", "a", json!({})), "not understood"),
    ] {
        let message = message(document);
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn what_the_api_would_refuse_of_a_rule_is_an_error() {
    let from = json!([{"namespaces": {}}]);
    for (rule, words) in [
        (json!({"from": from}), "no action (Allow, Deny, Pass)"),
        (json!({"action": "Accept", "from": from}), "`Accept` is no action"),
        (json!({"action": "Deny"}), "no `from`"),
        (json!({"action": "Deny", "from": from, "protocols": []}), "`protocols` is not understood"),
        (json!({"action": "Deny", "from": from, "ports": [{}]}), "none of `portNumber`"),
        (json!({"action": "Deny", "from": from, "ports": [{"portNumber": {"port": 0}}]}), "between 1 and 65535"),
        (json!({"action": "Deny", "from": from, "ports": [{"portRange": {"start": 9, "end": 8}}]}), "before it begins"),
        (json!({"action": "Deny", "from": from, "ports": [{"portNumber": {"protocol": "tcp", "port": 1}}]}), "`tcp`"),
    ] {
        let message = message(ingress(rule));
        assert!(message.contains(words), "{words}: {message}");
    }
    for (peer, ports, words) in [
        (json!({"networks": ["10.0.0.0"]}), json!([]), "no CIDR"),
        (json!({"domainNames": ["a.example"]}), json!([]), "only a rule that allows"),
        (json!({"nodes": {}}), json!([{"namedPort": "http"}]), "named ports"),
    ] {
        let message = message(anp(json!({"egress": [{"action": "Deny", "to": [peer], "ports": ports}]})));
        assert!(message.contains(words), "{words}: {message}");
    }
}
