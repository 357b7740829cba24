//! Any text as a selector: Calico's language, and YAML as a label selector of Kubernetes.

#![no_main]

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use libfuzzer_sys::{Corpus, fuzz_target};
use netpol_verify::{
    flux::manifests,
    model::{CalicoSelector, Labels, Selector},
};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else { return Corpus::Reject };
    calico(text);
    for document in manifests::parse("fuzz.yaml", text).unwrap_or_default() {
        if let Ok(selector) = serde_json::from_value(document.root.to_value()) {
            kubernetes(&selector);
        }
    }
    Corpus::Keep
});

/// Labels that have the selector's keys, with values among those that it names and others.
fn samples(keys: impl Iterator<Item = String>, values: &[String]) -> Vec<Labels> {
    let keys: BTreeSet<String> = keys.take(8).collect();
    let mut samples = vec![Labels::new()];
    for value in values.iter().map(String::as_str).take(8).chain(["", "other"]) {
        samples.push(keys.iter().map(|key| (key.clone(), value.to_owned())).collect());
        samples.extend(keys.iter().map(|key| [(key.clone(), value.to_owned())].into()));
    }
    samples
}

/// What is printed reads back as the same, an error has its column, and negation is negation.
fn calico(text: &str) {
    let selector = match CalicoSelector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
            return;
        }
    };
    let printed = selector.to_string();
    assert_eq!(CalicoSelector::parse(&printed).as_ref(), Ok(&selector), "{printed}");
    let mut keys = BTreeSet::new();
    selector.keys(&mut keys);
    let values: Vec<String> = text.split(['\'', '"']).skip(1).step_by(2).map(str::to_owned).collect();
    let negated = CalicoSelector::Not(Box::new(selector.clone()));
    let prefixed = selector.clone().with_prefix("p.");
    for labels in samples(keys.into_iter(), &values) {
        let matches = selector.matches(&labels);
        assert_ne!(negated.matches(&labels), matches);
        let moved: Labels = labels.into_iter().map(|(key, value)| (format!("p.{key}"), value)).collect();
        assert!(selector.has_global() || prefixed.matches(&moved) == matches, "{printed}");
    }
    let _ = selector.with_all_as("k").to_string();
}

/// The selector decides as the API reference says (LabelSelectorRequirement).
fn kubernetes(source: &LabelSelector) {
    let Ok(selector) = Selector::new(source) else { return };
    let requirements = source.match_expressions.iter().flatten();
    let values: Vec<String> = source.match_labels.iter().flatten().map(|(_, value)| value.clone()).collect();
    let values =
        [values, requirements.clone().flat_map(|one| one.values.clone().unwrap_or_default()).collect()].concat();
    for labels in samples(selector.keys().map(str::to_owned), &values) {
        let exact = source.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
        let expected = exact && requirements.clone().all(|one| holds(one, &labels));
        assert_eq!(selector.matches(&labels), expected, "{source:?} over {labels:?}");
    }
}

fn holds(one: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&one.key);
    let is_in = value.is_some_and(|value| one.values.iter().flatten().any(|known| known == value));
    match one.operator.as_str() {
        "In" => is_in,
        "NotIn" => !is_in,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        other => panic!("`{other}` was taken for an operator"),
    }
}
