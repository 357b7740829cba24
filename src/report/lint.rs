//! Findings about files: for people, as JSON, and as SARIF.

use serde_json::{Value, json};

use super::{
    clean::{self, put},
    sarif,
};
use crate::{
    engine::lint::{Finding, Rule},
    model::{Entry, Severity},
};

/// The schema of the JSON form.
const SCHEMA: &str = "netpol-verify/lint/v1";
/// Characters of a message that are shown.
const MESSAGE: usize = 2000;

/// A line for each finding, and below it what can be pasted, as it stands there.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let place = finding.origin.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let word = finding.rule.word();
        let message = clean::line(&finding.message, MESSAGE);
        put(&mut text, format_args!("{place}: {}: {message} [{word}]\n", severity(finding.severity)));
        for line in finding.fix.iter().flat_map(|fix| fix.entry.lines()) {
            put(&mut text, format_args!("{line}\n"));
        }
    }
    text
}

/// How many there are, in words: `2 errors, 1 warning`.
#[must_use]
pub fn summary(findings: &[Finding]) -> String {
    let count = |wanted: Severity| findings.iter().filter(|finding| finding.severity == wanted).count();
    let words = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", words(count(Severity::Error), "error"), words(count(Severity::Warning), "warning"))
}

/// The documented JSON.
#[must_use]
pub fn json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "rule": finding.rule.word(), "severity": finding.severity, "message": finding.message,
            "origin": finding.origin, "since": null, "fix": finding.fix,
        })
    };
    json!({"schema": SCHEMA, "findings": findings.iter().map(one).collect::<Vec<_>>()})
}

/// SARIF, with what can be pasted; findings that are at no place of a file are at the file `place`.
#[must_use]
pub fn sarif(findings: &[Finding], place: &str, version: &str) -> Value {
    let results = findings.iter().map(result).collect();
    sarif::log(Rule::ALL.map(|rule| (rule.word(), rule.description())), results, place, version)
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let mut result = sarif::result(finding.rule.word(), level, &finding.message, &finding.origin);
    if let (Some(fix), Some(fields)) = (finding.fix.as_ref().and_then(fix), result.as_object_mut()) {
        fields.insert("fixes".to_owned(), json!([fix]));
    }
    result
}

/// What can be pasted: after its line, or in place of the line that it names. Where the line is not known, the message
/// alone says what to add.
fn fix(entry: &Entry) -> Option<Value> {
    let (file, line) = (entry.file.as_ref()?, entry.line?);
    let (first, rest) = entry.entry.split_once('\n')?;
    let (deleted, text) = if first.trim_start().starts_with("# in place of line") {
        (json!({"startLine": line, "startColumn": 1, "endLine": line + 1, "endColumn": 1}), rest)
    } else {
        let after = line + 1;
        (json!({"startLine": after, "startColumn": 1, "endLine": after, "endColumn": 1}), entry.entry.as_str())
    };
    let replacement = json!({"deletedRegion": deleted, "insertedContent": {"text": text}});
    Some(json!({
        "description": {"text": format!("Add the {} entry", entry.side.word())},
        "artifactChanges": [{"artifactLocation": {"uri": sarif::uri(file)}, "replacements": [replacement]}],
    }))
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}
