//! Text of the Common Expression Language.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// A string.
pub(super) fn string(text: &str) -> String {
    // JSON's escapes are CEL's.
    serde_json::Value::from(text).to_string()
}

/// A list of strings; JSON too.
pub(super) fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| string(item)).collect::<Vec<_>>().join(", "))
}

/// A string over many lines, to be read by people where it can be.
pub(super) fn raw(text: &str) -> String {
    let plain = !text.contains("'''") && !text.ends_with('\'') && !text.contains(|c: char| c.is_control() && c != '\n');
    if plain { format!("r'''{text}'''") } else { string(text) }
}

/// Whether `variables.labels` satisfy a selector.
pub(super) fn matches(selector: &LabelSelector) -> String {
    let exact = selector.match_labels.iter().flatten().map(|(key, value)| has_one(key, std::slice::from_ref(value)));
    let expressions = selector.match_expressions.iter().flatten().map(requirement);
    let all: Vec<String> = exact.chain(expressions).collect();
    if all.is_empty() { "true".to_owned() } else { all.join(" && ") }
}

fn requirement(requirement: &LabelSelectorRequirement) -> String {
    let key = &requirement.key;
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" => has_one(key, values),
        "NotIn" => format!("!({})", has_one(key, values)),
        "Exists" => format!("{} in variables.labels", string(key)),
        "DoesNotExist" => format!("!({} in variables.labels)", string(key)),
        // No selector was made with another one; a policy with it bounds to nothing.
        _ => "false".to_owned(),
    }
}

fn has_one(key: &str, values: &[String]) -> String {
    let key = string(key);
    format!("{key} in variables.labels && variables.labels[{key}] in {}", list(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_literal() {
        for text in ["a''' + 'b", "a'", "a\tb", "a\r"] {
            assert_eq!(raw(text), string(text), "{text:?}");
        }
        assert_eq!(raw("a '' \"\n b\\n"), "r'''a '' \"\n b\\n'''");
        assert_eq!(string("a\"\\\n"), r#""a\"\\\n""#);
        assert_eq!(list(&["a".to_owned(), "b\"c".to_owned()]), r#"["a", "b\"c"]"#);
    }

    #[test]
    fn a_requirement_holds_as_the_api_reference_says() {
        let selector = |key: &str, operator: &str, values: &[&str]| LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: (!values.is_empty()).then(|| values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
            match_labels: None,
        };
        let has = r#""a" in variables.labels && variables.labels["a"] in ["b", "c"]"#;
        assert_eq!(matches(&selector("a", "In", &["b", "c"])), has);
        assert_eq!(matches(&selector("a", "NotIn", &["b", "c"])), format!("!({has})"), "absent keys match");
        assert_eq!(matches(&selector("a", "Exists", &[])), r#""a" in variables.labels"#);
        assert_eq!(matches(&selector("a", "DoesNotExist", &[])), r#"!("a" in variables.labels)"#);
        assert_eq!(matches(&LabelSelector::default()), "true");
    }
}
