//! Label selectors, as Kubernetes evaluates them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
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
    /// An operator that is unknown, values that do not fit it, or a key that no label has.
    pub fn new(source: &LabelSelector) -> Result<Self, InvalidSelector> {
        for LabelSelectorRequirement { key, operator, values } in source.match_expressions.iter().flatten() {
            // "If the operator is Exists or DoesNotExist, the values array must be empty" (LabelSelectorRequirement).
            let takes_none = matches!(operator.as_str(), "Exists" | "DoesNotExist");
            if takes_none && values.as_ref().is_some_and(|values| !values.is_empty()) {
                return Err(InvalidSelector(format!("`{key}`: {operator} takes no values")));
            }
        }
        let compiled = Compiled::try_from(source.clone()).map_err(|error| InvalidSelector(error.to_string()))?;
        let selector = Self { source: source.clone(), compiled };
        if let Some(key) = selector.keys().find(|key| !is_label_key(key)) {
            return Err(InvalidSelector(format!("`{key}` cannot be the key of a label")));
        }
        Ok(selector)
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

/// Kubernetes' form of a label's key: "valid label keys have two segments: an optional prefix and name, separated by a
/// slash": a name of at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends; a DNS subdomain.
#[must_use]
pub fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_part = |part: &str, others: &[char], is_plain: fn(char) -> bool| {
        part.chars().all(|c| is_plain(c) || others.contains(&c))
            && part.starts_with(is_plain)
            && part.ends_with(is_plain)
    };
    let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_domain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(|part| is_part(part, &['-'], is_small));
    name.len() <= 63 && is_part(name, &['-', '_', '.'], |c| c.is_ascii_alphanumeric()) && prefix.is_none_or(is_domain)
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Selector {}

#[cfg(test)]
mod tests {
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

    #[test]
    fn values_of_an_operator_that_takes_none_are_an_error() {
        for operator in ["Exists", "DoesNotExist"] {
            let requirement = |values: Option<Vec<String>>| {
                let requirement =
                    LabelSelectorRequirement { key: "k".to_owned(), operator: operator.to_owned(), values };
                LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
            };
            assert!(Selector::new(&requirement(Some(Vec::new()))).is_ok(), "the control");
            let error = Selector::new(&requirement(Some(vec!["a".to_owned()]))).unwrap_err().to_string();
            assert!(error.contains(&format!("`k`: {operator} takes no values")), "{error}");
        }
    }

    #[test]
    fn a_key_that_no_label_has_is_an_error() {
        let long = ["k".repeat(63), "k".repeat(64)];
        for key in ["app", "a.b/c", "A_b.c-1", "kubernetes.io/metadata.name", long[0].as_str()] {
            assert!(is_label_key(key), "{key}");
            assert!(Selector::new(&Selector::label(key, "x").source).is_ok(), "{key}");
        }
        for key in ["", "a b", "a/b/c", "/a", "a/", "-a", "a.", "A.b/c", "a..b/c", "é", long[1].as_str()] {
            assert!(!is_label_key(key), "{key}");
            assert!(Selector::new(&Selector::label(key, "x").source).is_err(), "{key}");
        }
    }
}
