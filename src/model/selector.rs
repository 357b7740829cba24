//! Label selectors, as Kubernetes evaluates them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Expression, Selector as Compiled, SelectorExt};

use super::Labels;

/// A selector that the API would refuse.
#[derive(Debug, thiserror::Error)]
#[error("invalid label selector: {0}")]
pub struct InvalidSelector(String);

/// A label selector: its source text kept for near misses and for entries to paste, its compiled form for matching.
///
/// An empty selector matches everything; `NotIn` and `DoesNotExist` match where the key is absent
/// (Kubernetes API reference, LabelSelectorRequirement).
#[derive(Debug, Clone)]
pub struct Selector {
    source: LabelSelector,
    compiled: Compiled,
}

impl Selector {
    /// Compiles a selector.
    ///
    /// # Errors
    /// An operator that is unknown, or values that do not fit it.
    pub fn new(source: &LabelSelector) -> Result<Self, InvalidSelector> {
        let compiled = Compiled::try_from(source.clone()).map_err(|error| InvalidSelector(error.to_string()))?;
        Ok(Self { source: source.clone(), compiled })
    }

    /// The selector that matches everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { source: LabelSelector::default(), compiled: Compiled::default() }
    }

    /// The selector of one label's value.
    #[must_use]
    pub fn label(key: &str, value: &str) -> Self {
        let labels = Labels::from([(key.to_owned(), value.to_owned())]);
        let compiled = [Expression::Equal(key.to_owned(), value.to_owned())].into_iter().collect();
        Self { source: LabelSelector { match_labels: Some(labels), match_expressions: None }, compiled }
    }

    /// Whether `labels` satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.compiled.matches(labels)
    }

    /// Whether there is no requirement.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.compiled.selects_all()
    }

    /// The selector as it was written.
    #[must_use]
    pub const fn source(&self) -> &LabelSelector {
        &self.source
    }

    /// The label keys that it looks at.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let exact = self.source.match_labels.iter().flatten().map(|(key, _)| key.as_str());
        let expressions = self.source.match_expressions.iter().flatten().map(|e| e.key.as_str());
        exact.chain(expressions)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Selector {}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Selector {
        let values = (!values.is_empty()).then(|| values.iter().map(|v| (*v).to_owned()).collect());
        let requirement = LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values };
        Selector::new(&LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }).unwrap()
    }

    #[test]
    fn operators_follow_the_api_reference() {
        let (present, absent, other) = (labels(&[("k", "a")]), labels(&[]), labels(&[("k", "b")]));
        for (selector, expected, name) in [
            (expression("k", "In", &["a"]), [true, false, false], "In"),
            (expression("k", "NotIn", &["a"]), [false, true, true], "NotIn matches where the key is absent (P1)"),
            (expression("k", "Exists", &[]), [true, false, true], "Exists"),
            (expression("k", "DoesNotExist", &[]), [false, true, false], "DoesNotExist"),
        ] {
            let got = [&present, &absent, &other].map(|l| selector.matches(l));
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn an_empty_value_does_not_match_an_absent_key() {
        let source = LabelSelector { match_labels: Some(labels(&[("gw", "")])), match_expressions: None };
        let selector = Selector::new(&source).unwrap();
        assert!(!selector.matches(&labels(&[])), "P2 of other tools");
        assert!(selector.matches(&labels(&[("gw", "")])));
    }

    #[test]
    fn an_unknown_operator_is_an_error() {
        let requirement = LabelSelectorRequirement { key: "k".to_owned(), operator: "Near".to_owned(), values: None };
        let source = LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None };
        assert!(Selector::new(&source).is_err());
    }
}
