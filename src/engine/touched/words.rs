//! Calico's selectors in the words of Kubernetes, where it has some, and in Calico's own for people.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::json;

use crate::{
    engine::{
        normal,
        surroundings::{OF_ACCOUNT, OF_NAMESPACE, OWN_NAME},
    },
    model::{ACCOUNT_LABEL, CalicoSelector, EntityMatch, NAME_LABEL, NAMESPACE_LABEL, NamespaceMatch, Selector},
};

/// Pods of namespaces that a selector means; `None` for what selectors of Kubernetes cannot say.
///
/// A pod matches both or neither. Network sets, which Kubernetes does not have, are not among them.
pub(super) fn of_kubernetes(selector: &CalicoSelector) -> Option<(NamespaceMatch, Selector)> {
    let mut parts = Parts::default();
    parts.add(selector)?;
    let selector = |requirements: Vec<LabelSelectorRequirement>| {
        let (exact, expressions): (Vec<_>, Vec<_>) = requirements.into_iter().partition(is_exact);
        let exact: BTreeMap<String, String> =
            exact.into_iter().filter_map(|r| Some((r.key, r.values?.into_iter().next()?))).collect();
        let source = LabelSelector {
            match_labels: (!exact.is_empty()).then_some(exact),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        };
        Selector::new(&source).ok()
    };
    let namespaces = match parts.namespace {
        Some(name) if parts.namespaces.is_empty() => NamespaceMatch::Named(name),
        Some(_) => return None,
        None => NamespaceMatch::Selected(selector(parts.namespaces)?),
    };
    Some((namespaces, selector(parts.pods)?))
}

fn is_exact(requirement: &LabelSelectorRequirement) -> bool {
    requirement.operator == "In" && requirement.values.as_ref().is_some_and(|values| values.len() == 1)
}

#[derive(Default)]
struct Parts {
    namespace: Option<String>,
    namespaces: Vec<LabelSelectorRequirement>,
    pods: Vec<LabelSelectorRequirement>,
}

impl Parts {
    fn add(&mut self, selector: &CalicoSelector) -> Option<()> {
        use CalicoSelector as S;
        let one = |value: &String| vec![value.clone()];
        match selector {
            S::All => Some(()),
            S::And(list) => list.iter().try_for_each(|part| self.add(part)),
            S::Has(key) if key == NAMESPACE_LABEL => Some(()),
            S::Equals(key, name) if key == NAMESPACE_LABEL && self.namespace.is_none() => {
                self.namespace = Some(name.clone());
                Some(())
            }
            S::Has(key) => self.require(key, "Exists", Vec::new()),
            S::Equals(key, value) => self.require(key, "In", one(value)),
            S::In(key, values) if !values.is_empty() => self.require(key, "In", values.iter().cloned().collect()),
            S::Differs(key, value) => self.require(key, "NotIn", one(value)),
            S::NotIn(key, values) if !values.is_empty() => self.require(key, "NotIn", values.iter().cloned().collect()),
            S::Not(inner) => match inner.as_ref() {
                S::Has(key) => self.require(key, "DoesNotExist", Vec::new()),
                _ => None,
            },
            _ => None,
        }
    }

    fn require(&mut self, key: &str, operator: &str, values: Vec<String>) -> Option<()> {
        let is_other = key == NAMESPACE_LABEL || key == ACCOUNT_LABEL || key.starts_with(OF_ACCOUNT);
        let (key, list) = match key.strip_prefix(OF_NAMESPACE) {
            Some(OWN_NAME) => (NAME_LABEL, &mut self.namespaces),
            Some(key) => (key, &mut self.namespaces),
            None if is_other || key.starts_with("projectcalico.org/") => return None,
            None => (key, &mut self.pods),
        };
        // Of two exact values for one key only the last would be kept.
        if list.iter().any(|known| known.key == key) {
            return None;
        }
        let values = (!values.is_empty()).then_some(values);
        list.push(LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values });
        Some(())
    }
}

/// Nodes by their labels, for people.
pub(super) fn of_nodes(nodes: &Selector) -> String {
    format!("nodes {}", normal::selector_key(&json!(nodes.source())))
}

/// What an entity selects, for people.
pub(super) fn of_entity(entity: &EntityMatch) -> String {
    let service = entity.service.iter().map(|service| format!("Service {}/{}", service.namespace, service.name));
    let selector = entity.selector.iter().map(|selector| format!("`{selector}`"));
    let not = entity.not_selector.iter().map(|selector| format!("not `{selector}`"));
    let nets = (!entity.nets.is_empty()).then(|| {
        let nets: Vec<String> = entity.nets.iter().map(ToString::to_string).collect();
        format!("in {}", nets.join(", "))
    });
    service.chain(selector).chain(not).chain(nets).collect::<Vec<_>>().join(" ")
}
