//! Label selectors as kubectl writes them: `a=b,c!=d,e,!f,g in (h,i)`.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::Selector;

/// A selector of pods, with the text that it was typed as.
#[derive(Debug, Clone)]
pub struct PodSelector {
    text: String,
    selector: Selector,
}

impl PodSelector {
    /// One label's value.
    #[must_use]
    pub fn label(key: &str, value: &str) -> Self {
        Self { text: format!("{key}={value}"), selector: Selector::label(key, value) }
    }

    /// What it selects.
    #[must_use]
    pub const fn selector(&self) -> &Selector {
        &self.selector
    }
}

/// What was typed decides: one meaning has several forms.
impl PartialEq for PodSelector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PodSelector {}

impl fmt::Display for PodSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for PodSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PodSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let selector = parse(&text).map_err(|error| D::Error::custom(format!("selector {error}")))?;
        Ok(Self { text, selector })
    }
}

/// Reads one.
pub(super) fn parse(text: &str) -> Result<Selector, String> {
    let requirements: Result<Vec<_>, _> = split(text).iter().map(|part| requirement(part.trim())).collect();
    let source = LabelSelector { match_expressions: Some(requirements?), match_labels: None };
    Selector::new(&source).map_err(|error| format!("`{text}`: {error}"))
}

/// Splits at commas that stand outside parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn requirement(part: &str) -> Result<LabelSelectorRequirement, String> {
    let make = |key: &str, operator: &str, values: Vec<String>| {
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(format!("`{part}` is no label requirement, such as team=shop"));
        }
        let values = (!values.is_empty()).then_some(values);
        Ok(LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values })
    };
    if let Some((key, operator, list)) = set(part) {
        return make(key, operator, list.split(',').map(|v| v.trim().to_owned()).collect());
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, "NotIn", vec![value.trim().to_owned()]);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, "In", vec![value.trim().to_owned()]);
    }
    match part.strip_prefix('!') {
        Some(key) => make(key, "DoesNotExist", Vec::new()),
        None => make(part, "Exists", Vec::new()),
    }
}

/// `key in (…)` or `key notin (…)`.
fn set(part: &str) -> Option<(&str, &'static str, &str)> {
    let (head, list) = part.strip_suffix(')')?.split_once('(')?;
    let (key, word) = head.trim().rsplit_once(char::is_whitespace)?;
    match word {
        "in" => Some((key, "In", list)),
        "notin" => Some((key, "NotIn", list)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn kubectl_s_forms_are_read() {
        let labels: Labels = [("a".to_owned(), "b".to_owned()), ("g".to_owned(), "i".to_owned())].into();
        for (text, matches) in [
            ("a=b", true),
            ("a==b", true),
            ("a=c", false),
            ("a!=c", true),
            ("c!=d", true),
            ("a", true),
            ("!a", false),
            ("!x", true),
            ("g in (h, i)", true),
            ("g notin (h,i)", false),
            ("a=b,g in (i),!x", true),
            ("a=b,g in (i),x", false),
        ] {
            assert_eq!(parse(text).unwrap().matches(&labels), matches, "{text}");
        }
        for bad in ["", "a b", "=b", "a in (b", ",a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
