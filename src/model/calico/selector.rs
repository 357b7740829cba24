//! Calico's selector language: what a selector is, and what it matches.

use std::{collections::BTreeSet, fmt};

use super::parse;
use crate::model::Labels;

/// A selector that Calico would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct InvalidCalicoSelector {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Where a selector looks labels up: an endpoint's own labels, or those with what Calico adds.
pub trait LabelSource {
    /// The value of a label, where there is one.
    fn label(&self, key: &str) -> Option<&str>;
}

impl LabelSource for Labels {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// A selector of `projectcalico.org/v3`.
///
/// `!=` and `not in` match where the label is absent; an empty selector matches everything. It prints as Calico
/// normalises it, and that text reads back as the same selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CalicoSelector {
    /// `all()`.
    All,
    /// `global()`: what is in no namespace.
    Global,
    /// `has(key)`.
    Has(String),
    /// `key == 'value'`.
    Equals(String, String),
    /// `key != 'value'`.
    Differs(String, String),
    /// `key in {'a', 'b'}`.
    In(String, BTreeSet<String>),
    /// `key not in {'a', 'b'}`.
    NotIn(String, BTreeSet<String>),
    /// `key contains 'text'`.
    Contains(String, String),
    /// `key starts with 'text'`.
    StartsWith(String, String),
    /// `key ends with 'text'`.
    EndsWith(String, String),
    /// `!selector`.
    Not(Box<Self>),
    /// `a && b`: two or more.
    And(Vec<Self>),
    /// `a || b`: two or more.
    Or(Vec<Self>),
}

/// The label that tells endpoints and sets of a namespace from those of none.
pub const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";
/// The label that names a pod's ServiceAccount.
pub const ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";

impl CalicoSelector {
    /// Reads a selector; an empty one is `all()`.
    ///
    /// # Errors
    /// What Calico's parser refuses (a newline too: its whitespace is space and tab), and parentheses that are nested
    /// deeper than any person writes.
    pub fn parse(text: &str) -> Result<Self, InvalidCalicoSelector> {
        parse::selector(text)
    }

    /// Whether `labels` match.
    pub fn matches(&self, labels: &impl LabelSource) -> bool {
        match self {
            Self::All => true,
            Self::Global => labels.label(NAMESPACE_LABEL).is_none(),
            Self::Has(key) => labels.label(key).is_some(),
            Self::Equals(key, value) => labels.label(key) == Some(value),
            Self::Differs(key, value) => labels.label(key) != Some(value),
            Self::In(key, values) => labels.label(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.label(key).is_none_or(|value| !values.contains(value)),
            Self::Contains(key, text) => labels.label(key).is_some_and(|value| value.contains(text)),
            Self::StartsWith(key, text) => labels.label(key).is_some_and(|value| value.starts_with(text)),
            Self::EndsWith(key, text) => labels.label(key).is_some_and(|value| value.ends_with(text)),
            Self::Not(inner) => !inner.matches(labels),
            Self::And(all) => all.iter().all(|one| one.matches(labels)),
            Self::Or(any) => any.iter().any(|one| one.matches(labels)),
        }
    }

    /// Whether it matches, where of the labels only those whose keys are `known` are there; `None` where the others
    /// decide.
    pub fn matches_by(&self, labels: &impl LabelSource, known: impl Fn(&str) -> bool + Copy) -> Option<bool> {
        let each = |list: &[Self], by: bool| joint(list.iter().map(|one| one.matches_by(labels, known)), by);
        match self {
            Self::Not(inner) => inner.matches_by(labels, known).map(|matches| !matches),
            Self::And(all) => each(all, false),
            Self::Or(any) => each(any, true),
            leaf => {
                let mut keys = BTreeSet::new();
                leaf.keys(&mut keys);
                keys.iter().all(|key| known(key)).then(|| leaf.matches(labels))
            }
        }
    }

    /// All of these; `None` where there are none.
    #[must_use]
    pub fn all_of(selectors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all: Vec<Self> = selectors.into_iter().collect();
        if all.len() > 1 { Some(Self::And(all)) } else { all.pop() }
    }

    /// The same selector over labels whose keys begin with `prefix`: how Calico looks at the labels of a namespace
    /// (`pcns.`) or ServiceAccount (`pcsa.`) through the endpoint that inherits them.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        let key = |key: String| format!("{prefix}{key}");
        match self {
            Self::All | Self::Global => self,
            Self::Has(k) => Self::Has(key(k)),
            Self::Equals(k, v) => Self::Equals(key(k), v),
            Self::Differs(k, v) => Self::Differs(key(k), v),
            Self::In(k, v) => Self::In(key(k), v),
            Self::NotIn(k, v) => Self::NotIn(key(k), v),
            Self::Contains(k, v) => Self::Contains(key(k), v),
            Self::StartsWith(k, v) => Self::StartsWith(key(k), v),
            Self::EndsWith(k, v) => Self::EndsWith(key(k), v),
            Self::Not(inner) => Self::Not(Box::new(inner.with_prefix(prefix))),
            Self::And(all) => Self::And(all.into_iter().map(|one| one.with_prefix(prefix)).collect()),
            Self::Or(any) => Self::Or(any.into_iter().map(|one| one.with_prefix(prefix)).collect()),
        }
    }

    /// The same selector with `has(key)` in place of every `all()`.
    #[must_use]
    pub fn with_all_as(self, key: &str) -> Self {
        match self {
            Self::All => Self::Has(key.to_owned()),
            Self::Not(inner) => Self::Not(Box::new(inner.with_all_as(key))),
            Self::And(all) => Self::And(all.into_iter().map(|one| one.with_all_as(key)).collect()),
            Self::Or(any) => Self::Or(any.into_iter().map(|one| one.with_all_as(key)).collect()),
            other => other,
        }
    }

    /// Whether `global()` stands anywhere in it.
    #[must_use]
    pub fn has_global(&self) -> bool {
        match self {
            Self::Global => true,
            Self::Not(inner) => inner.has_global(),
            Self::And(list) | Self::Or(list) => list.iter().any(Self::has_global),
            _ => false,
        }
    }

    /// Adds the label keys that it looks at.
    pub fn keys(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::All | Self::Global => {}
            Self::Has(key)
            | Self::Equals(key, _)
            | Self::Differs(key, _)
            | Self::In(key, _)
            | Self::NotIn(key, _)
            | Self::Contains(key, _)
            | Self::StartsWith(key, _)
            | Self::EndsWith(key, _) => {
                into.insert(key.clone());
            }
            Self::Not(inner) => inner.keys(into),
            Self::And(list) | Self::Or(list) => list.iter().for_each(|one| one.keys(into)),
        }
    }
}

/// What parts say together of which one that says `by` decides alone.
fn joint(parts: impl Iterator<Item = Option<bool>>, by: bool) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.collect();
    if parts.contains(&Some(by)) { Some(by) } else { (!parts.contains(&None)).then_some(!by) }
}

/// A literal: there are no escapes, so the other quote serves where one stands inside.
fn quoted(text: &str) -> String {
    if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") }
}

fn set(values: &BTreeSet<String>) -> String {
    values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")
}

fn joined(list: &[CalicoSelector], operator: &str) -> String {
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    format!("({})", texts.join(operator))
}

impl fmt::Display for CalicoSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(key) => write!(f, "has({key})"),
            Self::Equals(key, value) => write!(f, "{key} == {}", quoted(value)),
            Self::Differs(key, value) => write!(f, "{key} != {}", quoted(value)),
            Self::In(key, values) => write!(f, "{key} in {{{}}}", set(values)),
            Self::NotIn(key, values) => write!(f, "{key} not in {{{}}}", set(values)),
            Self::Contains(key, text) => write!(f, "{key} contains {}", quoted(text)),
            Self::StartsWith(key, text) => write!(f, "{key} starts with {}", quoted(text)),
            Self::EndsWith(key, text) => write!(f, "{key} ends with {}", quoted(text)),
            Self::Not(inner) if matches!(**inner, Self::Not(_)) => write!(f, "!({inner})"),
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::And(list) => f.write_str(&joined(list, " && ")),
            Self::Or(list) => f.write_str(&joined(list, " || ")),
        }
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
