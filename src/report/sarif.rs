//! SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>): what code hosts show beside the lines
//! of a change.

use serde_json::{Value, json};

use super::clean::put;
use crate::model::Origin;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A log of one run of this program: `rules` are ids with what they mean, `results` are of [`result`]. Those without a
/// place of their own stand at the file `place`: GitHub refuses a log in which a result has none.
#[must_use]
pub fn log(
    rules: impl IntoIterator<Item = (&'static str, &'static str)>,
    mut results: Vec<Value>,
    place: &str,
    version: &str,
) -> Value {
    let rule = |(id, text): (&str, &str)| json!({"id": id, "shortDescription": {"text": text}});
    let rules: Vec<Value> = rules.into_iter().map(rule).collect();
    let whole = location(&Origin { file: place.to_owned(), line: None, column: None, via: None });
    for locations in results.iter_mut().filter_map(|result| result.get_mut("locations")?.as_array_mut()) {
        if locations.is_empty() {
            locations.push(whole.clone());
        }
    }
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "netpol-verify", "version": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// One result: `level` is `error`, `warning` or `note`.
#[must_use]
pub fn result<'o>(rule: &str, level: &str, message: &str, origins: impl IntoIterator<Item = &'o Origin>) -> Value {
    let locations: Vec<Value> = origins.into_iter().map(location).collect();
    json!({"ruleId": rule, "level": level, "message": {"text": message}, "locations": locations})
}

fn location(origin: &Origin) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(&origin.file)}});
    if let (Some(line), Some(fields)) = (origin.line, physical.as_object_mut()) {
        let column = origin.column.unwrap_or(1);
        fields.insert("region".to_owned(), json!({"startLine": line, "startColumn": column}));
    }
    json!({"physicalLocation": physical})
}

/// A file as a relative reference: RFC 3986 §2.3, and the slash between folders.
#[must_use]
pub fn uri(file: &str) -> String {
    let mut out = String::with_capacity(file.len());
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            put(&mut out, format_args!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_references() {
        assert_eq!(uri("infra/k8s/np.yaml"), "infra/k8s/np.yaml");
        assert_eq!(uri("a b/ü%:?#.yaml"), "a%20b/%C3%BC%25%3A%3F%23.yaml");
    }

    #[test]
    fn a_result_without_a_place_stands_at_the_file_that_is_given() {
        let at = [Origin::at("a.yaml", 3, 5)];
        let results = vec![result("x", "note", "x", []), result("x", "note", "x", &at)];
        let log = log([("x", "x.")], results, "b c.yaml", "1");
        let files =
            |n: usize| log["runs"][0]["results"][n]["locations"][0]["physicalLocation"]["artifactLocation"].clone();
        assert_eq!([files(0), files(1)], [json!({"uri": "b%20c.yaml"}), json!({"uri": "a.yaml"})]);
    }

    #[test]
    fn a_place_without_a_line_has_no_region() {
        let made = Origin { file: "a.yaml".to_owned(), line: None, column: None, via: None };
        let told = result("added", "note", "x", [&Origin::at("a.yaml", 3, 5), &made]);
        assert_eq!(told["locations"][0]["physicalLocation"]["region"], json!({"startLine": 3, "startColumn": 5}));
        assert_eq!(told["locations"][1], json!({"physicalLocation": {"artifactLocation": {"uri": "a.yaml"}}}));
    }
}
