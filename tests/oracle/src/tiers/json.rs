//! Looking into documents. What is absent is empty.

use std::collections::BTreeMap;

use serde_json::Value;

/// What stands at a JSON pointer (through objects alone).
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let mut found = value;
    for step in pointer.split('/').skip(1) {
        found = if step.contains('~') { found.get(step.replace("~1", "/"))? } else { found.get(step)? };
    }
    Some(found)
}

/// The text at a JSON pointer.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of the list at a JSON pointer.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The texts in the list at a JSON pointer.
pub(crate) fn texts<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// What stands at a JSON pointer, unless that is nothing or `null`.
pub(crate) fn field<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    at(value, pointer).filter(|found| !found.is_null())
}

/// The number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<f64> {
    at(value, pointer).and_then(Value::as_f64)
}

/// The truth at a JSON pointer.
pub(crate) fn is_true(value: &Value, pointer: &str) -> bool {
    at(value, pointer).and_then(Value::as_bool) == Some(true)
}

/// The map of texts at a JSON pointer.
pub(crate) fn map(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let pairs = at(value, pointer).and_then(Value::as_object);
    pairs.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
