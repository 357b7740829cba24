//! The report for programs: formats.md `netpol-verify/report/v1`.

use crate::model::Report;

/// The report as indented JSON with a line break at its end; the same report always gives the same text.
#[must_use]
pub fn to_json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_else(|error| {
        // No map of a report has keys that are not strings, so that this is out of reach; a reader still gets JSON.
        serde_json::json!({ "schema": report.schema, "error": error.to_string() }).to_string()
    });
    text.push('\n');
    text
}
