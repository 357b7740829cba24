//! Label selectors, as `meta/v1` `LabelSelector` and the page on labels describe them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Answers whether a selector matches an object that carries `labels`.
pub(crate) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    // "matchLabels is a map of {key,value} pairs. A single {key,value} is equivalent to an element of
    // matchExpressions whose operator is "In" and whose values array contains only "value"." A key that is
    // absent is thus no match, even for the empty value.
    for (key, value) in selector.match_labels.iter().flatten() {
        if labels.get(key) != Some(value) {
            return false;
        }
    }
    // "The requirements are ANDed."
    for requirement in selector.match_expressions.iter().flatten() {
        if !requirement_holds(requirement, labels) {
            return false;
        }
    }
    // "An empty label selector matches all objects."
    true
}

fn requirement_holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or(&[]);
    match requirement.operator.as_str() {
        "In" => match value {
            Some(value) => values.contains(value),
            None => false,
        },
        // "Set-based `notin` selects all resources with a key not in the values, and all resources with no
        // labels with that key."
        "NotIn" => match value {
            Some(value) => !values.contains(value),
            None => true,
        },
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
