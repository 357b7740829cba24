//! The parser's faults in the words of people who write manifests.

use serde_saphyr::Error;

/// What the parser says to programmers, and what it means.
const WORDS: [(&str, &str); 8] = [
    ("expected mapping start", "expected a mapping, such as `key: value`"),
    ("expected sequence start", "expected a list"),
    ("expected string scalar", "expected a text, found a list or a mapping"),
    ("duplicate mapping key: ", "duplicate key "),
    ("duplicate mapping key", "duplicate key"),
    ("cannot deserialize null into string", "expected a text, found nothing"),
    ("invalid boolean (strict mode expects true/false)", "expected true or false"),
    ("budget breached: ", "it passes a limit of what is read: "),
];

/// What follows in the parser's messages says what its other users could set or write.
const ADVICE: [&str; 4] =
    [", set DuplicateKeyPolicy in", ". If you just use !!binary", "; use Option<", "; use from_multiple"];

/// What is wrong, on one line and without its place, which the caller tells.
#[must_use]
pub fn message(error: &Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    let text = place.and_then(|place| text.strip_suffix(&place)).unwrap_or(text);
    let end = ADVICE.iter().filter_map(|advice| text.find(advice)).min().unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text);
    let known = WORDS.iter().find_map(|(said, meant)| Some(format!("{meant}{}", text.strip_prefix(said)?)));
    known.unwrap_or_else(|| text.to_owned())
}

/// What to do about a fault on this line, if it tells.
#[must_use]
pub fn hint(line: &str) -> &'static str {
    if line.contains("{{") { ": is it a Helm template? Render it first (helm template)" } else { "" }
}
