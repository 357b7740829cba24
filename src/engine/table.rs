//! The allow-list of a namespace as people write it down: what its pods may reach, and who may reach them, rule by rule.
//!
//! It is what the policies of the namespace say, not what flows come of it: a line stands here although the other side
//! may lack its own.

use std::collections::BTreeSet;

use super::surroundings::matches_pods_of;
use crate::model::{
    Action, CalicoSelector, Conditions, Direction, EntityMatch, EntityPort, IcmpMatch, Labels, NAME_LABEL,
    NamespaceMatch, Origin, Peer, Policy, PolicyRef, PortMatch, Protocol, Rule, Selector, Subject,
};

/// Labels by which people call a workload, best first.
const IDENTITY: [&str; 4] = ["app", "app.kubernetes.io/name", "k8s-app", "name"];

/// A rule that lets something through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Egress, or ingress.
    pub direction: Direction,
    /// The pods that it is about, such as `app=odoo`; `None`: all of the namespace.
    pub pods: Option<String>,
    /// Its peers: `redis.redis`, `envoy-gateway-system`, `10.0.0.0/8`, `anywhere`.
    pub peers: Vec<String>,
    /// Whether all of them are addresses, which have no name of their own.
    pub is_outside: bool,
    /// Its ports, such as `5432`, `53/UDP`, `http`; empty: any.
    pub ports: Vec<String>,
    /// The policy.
    pub policy: PolicyRef,
    /// Its position in the policy's list, from 0.
    pub index: usize,
    /// Where it stands.
    pub origin: Option<Origin>,
}

/// The rules about the pods of a namespace that let something through, egress first, in the order of the files;
/// `labels` are the namespace's.
#[must_use]
pub fn rows(policies: &[Policy], namespace: &str, labels: &Labels) -> Vec<Row> {
    let concerned: Vec<&Policy> = policies.iter().filter(|policy| is_about(policy, namespace, labels)).collect();
    let of = |direction: Direction| {
        concerned.iter().flat_map(move |policy| {
            let pods = pods(policy, namespace, labels);
            let rules = policy.rules(direction).unwrap_or_default().iter();
            let allowing = rules.filter(|rule| rule.action == Action::Allow);
            allowing.map(move |rule| row(policy, rule, direction, pods.clone()))
        })
    };
    of(Direction::Egress).chain(of(Direction::Ingress)).collect()
}

/// Whether a policy is about pods of a namespace, or may be: the pods' own labels are not looked at.
#[must_use]
pub fn is_about(policy: &Policy, namespace: &str, labels: &Labels) -> bool {
    let Subject { namespaces, calico, .. } = &policy.subject;
    let may_be = |selector| matches_pods_of(selector, namespace, Some(labels)) != Some(false);
    namespaces.matches(namespace, labels) && calico.as_ref().is_none_or(may_be)
}

/// The pods of a namespace that a policy is about; `None`: all of them.
fn pods(policy: &Policy, namespace: &str, labels: &Labels) -> Option<String> {
    let Subject { pods, calico, .. } = &policy.subject;
    let is_all = |selector: &&CalicoSelector| matches_pods_of(selector, namespace, Some(labels)) == Some(true);
    let kubernetes = (!pods.is_everything()).then(|| selector_text(pods));
    kubernetes.or_else(|| calico.as_ref().filter(|selector| !is_all(selector)).map(ToString::to_string))
}

fn row(policy: &Policy, rule: &Rule, direction: Direction, pods: Option<String>) -> Row {
    let (peers, is_outside, ports) =
        rule.conditions.as_ref().map_or_else(|| of_kubernetes(rule), |conditions| of_calico(conditions, direction));
    let near = rule.conditions.as_ref().map(|conditions| conditions.far(direction.opposite())).map(entity);
    let pods = pods.into_iter().chain(near.into_iter().flatten()).reduce(|all, one| format!("{all} and {one}"));
    Row {
        direction,
        pods,
        peers: if peers.is_empty() { vec!["anywhere".to_owned()] } else { peers },
        is_outside,
        ports,
        policy: policy.id.clone(),
        index: rule.index,
        origin: rule.origin.clone(),
    }
}

type Parts = (Vec<String>, bool, Vec<String>);

fn of_kubernetes(rule: &Rule) -> Parts {
    let mut peers: Vec<String> = rule.peers.iter().flatten().map(peer_text).collect();
    if rule.peers.as_ref().is_some_and(Vec::is_empty) {
        // A peer that is not known, or names of domains: no address that is known here.
        peers.push("nothing that is known".to_owned());
    }
    let is_outside = rule.peers.as_ref().is_some_and(|all| all.iter().all(|p| matches!(p, Peer::Block { .. })));
    (peers, is_outside, rule.ports.iter().flatten().map(port_text).collect())
}

fn of_calico(conditions: &Conditions, direction: Direction) -> Parts {
    let far = conditions.far(direction);
    let is_outside = !far.nets.is_empty() && far.selector.is_none() && far.service.is_none();
    (entity(far), is_outside, entity_ports(conditions))
}

/// `redis.redis` for pods that one label names in a namespace that is named, as their Service is called.
fn peer_text(peer: &Peer) -> String {
    match peer {
        Peer::Block { cidr, except } if except.is_empty() => cidr.to_string(),
        Peer::Block { cidr, except } => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            format!("{cidr} but {}", except.join(", "))
        }
        Peer::Nodes(nodes) if nodes.is_everything() => "every node".to_owned(),
        Peer::Nodes(nodes) => format!("nodes {}", selector_text(nodes)),
        Peer::Pods { namespaces, pods } => {
            let namespace = namespace_text(namespaces);
            match (pods.is_everything(), name_of(pods)) {
                (true, _) => namespace,
                (false, Some(name)) if !namespace.contains(' ') => format!("{name}.{namespace}"),
                (false, _) => format!("{} in {namespace}", selector_text(pods)),
            }
        }
    }
}

fn namespace_text(namespaces: &NamespaceMatch) -> String {
    match namespaces {
        NamespaceMatch::Named(name) => name.clone(),
        NamespaceMatch::Selected(selector) if selector.is_everything() => "every namespace".to_owned(),
        NamespaceMatch::Selected(selector) => {
            let source = selector.source();
            let exact = source.match_labels.iter().flatten().find(|(key, _)| key.as_str() == NAME_LABEL);
            let listed = source.match_expressions.iter().flatten().find(|e| e.key == NAME_LABEL && e.operator == "In");
            let names = exact.map(|(_, name)| name.clone());
            let names = names.or_else(|| listed.and_then(|e| e.values.as_ref()).map(|all| all.join(", ")));
            match names.filter(|_| selector.keys().count() == 1) {
                Some(names) => names,
                None => format!("namespaces {}", selector_text(selector)),
            }
        }
    }
}

/// The name that the one label of a selector gives.
fn name_of(pods: &Selector) -> Option<String> {
    let labels = pods.source().match_labels.as_ref()?;
    let (key, value) = labels.iter().next()?;
    (pods.keys().count() == 1 && IDENTITY.contains(&key.as_str())).then(|| value.clone())
}

fn selector_text(selector: &Selector) -> String {
    let source = selector.source();
    let exact = source.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = source.match_expressions.iter().flatten().map(|one| {
        let values = one.values.clone().unwrap_or_default().join(", ");
        if values.is_empty() {
            format!("{} {}", one.key, one.operator)
        } else {
            format!("{} {} ({values})", one.key, one.operator)
        }
    });
    exact.chain(expressions).collect::<Vec<_>>().join(", ")
}

fn port_text(port: &PortMatch) -> String {
    let suffix = |protocol: &Protocol| match protocol {
        Protocol::Tcp => String::new(),
        other => format!("/{other}"),
    };
    match port {
        PortMatch::Protocol(protocol) => format!("every {protocol} port"),
        PortMatch::Range { protocol, from, to } if from == to => format!("{from}{}", suffix(protocol)),
        PortMatch::Range { protocol, from, to } => format!("{from}-{to}{}", suffix(protocol)),
        PortMatch::Named { protocol, name } => format!("{name}{}", suffix(protocol)),
    }
}

/// What an entity matches: every condition of it must hold.
fn entity(far: &EntityMatch) -> Vec<String> {
    let service = far.service.iter().map(|service| format!("{}.{}", service.name, service.namespace));
    let selectors = far.selector.iter().map(ToString::to_string);
    let not = far.not_selector.iter().map(|selector| format!("all but {selector}"));
    let mut parts: Vec<String> = service.chain(selectors).chain(not).collect();
    let nets: Vec<String> = far.nets.iter().map(ToString::to_string).collect();
    if parts.is_empty() {
        parts.extend(nets);
    } else if !nets.is_empty() {
        parts = vec![format!("{} in {}", parts.join(" and "), nets.join(" or "))];
    }
    let but: Vec<String> = far.not_nets.iter().map(ToString::to_string).collect();
    if !but.is_empty() {
        parts.push(format!("but {}", but.join(", ")));
    }
    parts
}

fn entity_ports(conditions: &Conditions) -> Vec<String> {
    let Conditions { destination, protocol, not_protocol, icmp, not_icmp, .. } = conditions;
    let suffix = protocol.filter(|one| *one != Protocol::Tcp.into()).map(|one| format!("/{one}")).unwrap_or_default();
    let text = |port: &EntityPort| match port {
        EntityPort::Range { from, to } if from == to => format!("{from}{suffix}"),
        EntityPort::Range { from, to } => format!("{from}-{to}{suffix}"),
        EntityPort::Named(name) => format!("{name}{suffix}"),
    };
    let messages = |of: &IcmpMatch| {
        let number = |word: &str, of: Option<u8>| of.map(|number| format!(" {word} {number}")).unwrap_or_default();
        format!("{}{}", number("type", of.kind), number("code", of.code))
    };
    let mut ports: BTreeSet<String> = destination.ports.iter().map(text).collect();
    if ports.is_empty() {
        ports.extend(protocol.map(|protocol| match icmp {
            Some(icmp) => format!("{protocol}{}", messages(icmp)),
            None if protocol.transport().is_none() => protocol.to_string(),
            None => format!("every {protocol} port"),
        }));
        ports.extend(not_protocol.map(|protocol| format!("every protocol but {protocol}")));
    }
    let but = destination.not_ports.iter().map(text).chain(not_icmp.as_ref().map(messages));
    ports
        .into_iter()
        .chain(but.reduce(|all, one| format!("{all}, {one}")).map(|but| format!("but {}", but.trim())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::{
        fixtures::{calico, policy},
        read,
    };

    fn texts(rows: &[Row]) -> Vec<String> {
        let text = |row: &Row| {
            let pods = row.pods.as_ref().map(|pods| format!("{pods} ")).unwrap_or_default();
            format!("{pods}{} {} [{}]", row.direction.word(), row.peers.join(" | "), row.ports.join(" "))
        };
        rows.iter().map(text).collect()
    }

    #[test]
    fn peers_are_called_as_people_call_them() {
        let named = |name: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
        let spec = json!({"podSelector": {"matchLabels": {"app": "odoo"}}, "policyTypes": ["Egress", "Ingress"],
            "egress": [
                {"to": [{"namespaceSelector": named("redis"), "podSelector": {"matchLabels": {"app": "redis"}}}], "ports": [{"port": 6379}]},
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": [{"port": 443}]},
                {"to": [{"podSelector": {}}]},
                {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}],
            "ingress": [
                {"from": [{"namespaceSelector": named("envoy")}, {"namespaceSelector": {"matchLabels": {"team": "a"}},
                    "podSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}], "ports": [{"port": "http"}]},
                {"from": [{"namespaceSelector": {}}], "ports": [{"port": 8000, "endPort": 8010}]}]});
        let rows = rows(&[policy("erp/x", spec)], "erp", &Labels::new());
        assert_eq!(
            texts(&rows),
            [
                "app=odoo egress redis.redis [6379]",
                "app=odoo egress 0.0.0.0/0 but 10.0.0.0/8 [443]",
                "app=odoo egress erp []",
                "app=odoo egress anywhere [53/UDP 53]",
                "app=odoo ingress envoy | x Exists in namespaces team=a [http]",
                "app=odoo ingress every namespace [8000-8010]",
            ]
        );
        assert_eq!(rows.iter().filter(|row| row.is_outside).count(), 1);
        assert_eq!(rows[0].origin.as_ref().map(ToString::to_string).as_deref(), Some("erp/x.yaml:20:3"));
    }

    #[test]
    fn policies_of_other_namespaces_and_rules_that_deny_are_left_out() {
        let open = json!({"podSelector": {}, "ingress": [{}]});
        assert_eq!(rows(&[policy("shop/x", open.clone())], "erp", &Labels::new()), []);
        let own = rows(&[policy("erp/x", open)], "erp", &Labels::new());
        assert_eq!(texts(&own), ["ingress anywhere []"]);
    }

    /// The table of a namespace with the label `team: red`, of a global policy with this spec.
    fn of_global(spec: serde_json::Value) -> Vec<String> {
        let set = read::documents(&[calico("GlobalNetworkPolicy", "g", spec)]).unwrap();
        texts(&rows(&set.policies, "erp", &Labels::from([("team".to_owned(), "red".to_owned())])))
    }

    #[test]
    fn a_global_policy_is_told_of_the_namespaces_that_it_selects_alone() {
        let is_told = |selector: &str| {
            let spec = json!({"namespaceSelector": selector, "types": ["Ingress"], "ingress": [{"action": "Allow"}]});
            !of_global(spec).is_empty()
        };
        for selector in ["team == 'red'", "projectcalico.org/name == 'erp'", "has(team)", "!has(x)", "all()"] {
            assert!(is_told(selector), "{selector}");
        }
        for selector in ["team == 'blue'", "projectcalico.org/name != 'erp'", "!has(team)", "has(x)", "!all()"] {
            assert!(!is_told(selector), "{selector}");
        }
        let by_pods = json!({"selector": "app == 'x' || has(y)", "ingress": [{"action": "Allow"}]});
        assert_eq!(of_global(by_pods).len(), 1, "its pods may have such labels");
    }

    #[test]
    fn a_calico_rule_is_told_with_all_of_its_conditions() {
        let told = |rule: serde_json::Value| {
            let mut rule = rule;
            rule["action"] = json!("Allow");
            of_global(json!({"selector": "all()", "types": ["Ingress"], "ingress": [rule]})).remove(0)
        };
        for (rule, expected) in [
            (json!({"protocol": "TCP"}), "ingress anywhere [every TCP port]"),
            (json!({"protocol": "TCP", "destination": {"notPorts": [80]}}), "ingress anywhere [every TCP port but 80]"),
            (json!({"notProtocol": "TCP"}), "ingress anywhere [every protocol but TCP]"),
            (json!({"protocol": "ICMP"}), "ingress anywhere [ICMP]"),
            (json!({"protocol": "ICMP", "icmp": {"type": 8}}), "ingress anywhere [ICMP type 8]"),
            (json!({"source": {"nets": ["10.0.0.0/8"], "selector": "has(a)"}}), "ingress has(a) in 10.0.0.0/8 []"),
            (json!({"destination": {"nets": ["10.0.0.7/32"]}}), "10.0.0.7/32 ingress anywhere []"),
        ] {
            assert_eq!(told(rule), expected);
        }
    }

    #[test]
    fn a_rule_whose_peers_are_not_known_is_not_open_to_anywhere() {
        let spec = json!({"priority": 1, "subject": {"namespaces": {}},
            "egress": [{"action": "Allow", "to": [{"domainNames": ["a.example."]}]}]});
        let api_version = "policy.networking.k8s.io/v1alpha1".to_owned();
        let document = crate::model::PolicyDocument { api_version, ..calico("AdminNetworkPolicy", "a", spec) };
        let set = read::documents(&[document]).unwrap();
        assert_eq!(texts(&rows(&set.policies, "erp", &Labels::new())), ["egress nothing that is known []"]);
    }
}
