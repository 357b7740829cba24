//! The first field in which two policies differ, in words, and the whole as a text diff.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::TextDiff;

use super::calico;
use crate::{
    engine::normal::{calico_kind, defaulted, is_network_policy, rule_key, rules, selector_key, text},
    model::{Direction, PolicyDocument},
};

/// Longer diffs are cut: a message is no place for them, and the object may be anybody's.
const MAX_DIFF: usize = 4096;

/// Longer values of a field are cut in a summary.
const MAX_VALUE: usize = 120;

/// Where two policies differ, and how.
pub(super) struct Difference {
    /// The field of the declared one, as a JSON pointer from the document's root.
    pub pointer: String,
    /// In words: `ingress[0].ports: Git 6379, live 6379+6380`.
    pub summary: String,
}

impl Difference {
    pub(super) fn order_only() -> Self {
        Self { pointer: "/spec".to_owned(), summary: "the same rules in another order or spelling".to_owned() }
    }

    pub(super) fn of(pointer: String, field: &str, git: &str, live: &str) -> Self {
        Self { pointer, summary: format!("{field}: Git {}, live {}", short(git), short(live)) }
    }
}

/// The first difference, with the number of others.
pub(super) fn difference(declared: &PolicyDocument, live: &PolicyDocument) -> Difference {
    let mut all = Vec::new();
    if is_network_policy(declared) && is_network_policy(live) {
        let (git, now) = (defaulted(declared), defaulted(live));
        all.extend(subject(&git, &now));
        all.extend(types(declared, live));
        for direction in [Direction::Ingress, Direction::Egress] {
            all.extend(rule_differences(direction, declared, live));
        }
    } else if let Some(kind) = calico_kind(declared) {
        all.extend(calico::differences(kind, declared, live));
    }
    if all.is_empty() {
        all.extend(first_field(declared, live));
    }
    let more = all.len().saturating_sub(1);
    let Some(mut first) = all.into_iter().next() else {
        return Difference { pointer: "/spec".to_owned(), summary: "spec differs".to_owned() };
    };
    if more > 0 {
        first.summary = format!("{}, and {more} more", first.summary);
    }
    first
}

fn subject(git: &Value, live: &Value) -> Option<Difference> {
    let [git, live] = [git, live].map(|spec| spec.get("podSelector").unwrap_or(&Value::Null));
    let same = selector_key(git) == selector_key(live);
    (!same).then(|| {
        Difference::of("/spec/podSelector".to_owned(), "podSelector", &selector_text(git), &selector_text(live))
    })
}

fn types(declared: &PolicyDocument, live: &PolicyDocument) -> Option<Difference> {
    let [git, now] = [declared, live].map(|document| {
        let both = [Direction::Ingress, Direction::Egress].into_iter();
        let isolating = both.filter(|direction| rules(document, *direction).is_some());
        isolating.map(crate::engine::normal::type_word).collect::<Vec<_>>().join("+")
    });
    (git != now).then(|| Difference::of("/spec/policyTypes".to_owned(), "policyTypes", &git, &now))
}

fn rule_differences(direction: Direction, declared: &PolicyDocument, live: &PolicyDocument) -> Vec<Difference> {
    // A direction that came or went is told by policyTypes.
    let (Some(git), Some(now)) = (rules(declared, direction), rules(live, direction)) else { return Vec::new() };
    let pair = |index, git: &Value, live: &Value| paired(direction, index, git, live);
    unpaired_rules(direction.word(), &git, &now, pair, |rule| rule_text(direction, rule))
}

/// Rules that have no partner on the other side, paired in their order: `pair` tells where two differ, `text` what one is.
pub(super) fn unpaired_rules(
    word: &str,
    git: &[Value],
    live: &[Value],
    pair: impl Fn(usize, &Value, &Value) -> Difference,
    text: impl Fn(&Value) -> String,
) -> Vec<Difference> {
    let (git_only, live_only) = (unpaired(git, live), unpaired(live, git));
    let mut found = Vec::new();
    for position in 0..git_only.len().max(live_only.len()) {
        found.push(match (git_only.get(position), live_only.get(position)) {
            (Some((index, git)), Some((_, live))) => pair(*index, git, live),
            (Some((index, git)), None) => {
                let field = format!("{word}[{index}]");
                Difference::of(format!("/spec/{word}/{index}"), &field, &text(git), "lacks it")
            }
            (None, Some((index, live))) => {
                let field = format!("{word}[{index}]");
                Difference::of(format!("/spec/{word}"), &field, "lacks it", &text(live))
            }
            (None, None) => break,
        });
    }
    found
}

/// The rules of `a` that `b` does not have, each as often as it lacks it, with their positions.
fn unpaired<'a>(a: &'a [Value], b: &[Value]) -> Vec<(usize, &'a Value)> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for rule in b {
        *known.entry(rule_key(rule)).or_default() += 1;
    }
    let lonely = a.iter().enumerate().filter(|(_, rule)| match known.get_mut(&rule_key(rule)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    });
    lonely.collect()
}

fn paired(direction: Direction, index: usize, git: &Value, live: &Value) -> Difference {
    let (word, peers) = (direction.word(), direction.peer_field());
    let only = |rule: &Value, field: &str| {
        let mut one = serde_json::Map::new();
        one.extend(rule.get(field).map(|value| (field.to_owned(), value.clone())));
        rule_key(&Value::Object(one))
    };
    let field = [peers, "ports"].into_iter().find(|field| only(git, field) != only(live, field)).unwrap_or("ports");
    let [a, b] = [git, live].map(|rule| if field == "ports" { ports_text(rule) } else { peers_text(rule, peers) });
    Difference::of(format!("/spec/{word}/{index}/{field}"), &format!("{word}[{index}].{field}"), &a, &b)
}

/// For kinds without rules that are known here: the first field of the spec that differs.
fn first_field(declared: &PolicyDocument, live: &PolicyDocument) -> Option<Difference> {
    let (git, now) = (defaulted(declared), defaulted(live));
    let names: std::collections::BTreeSet<&String> =
        [&git, &now].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
    let name = names.into_iter().find(|name| git.get(name.as_str()) != now.get(name.as_str()))?;
    let [a, b] = [&git, &now].map(|spec| spec.get(name.as_str()).map_or_else(|| "lacks it".to_owned(), text));
    Some(Difference::of(format!("/spec/{}", escaped(name)), name, &a, &b))
}

/// A key as a JSON pointer has it (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn rule_text(direction: Direction, rule: &Value) -> String {
    let field = direction.peer_field();
    format!("{field} {} on {}", peers_text(rule, field), ports_text(rule))
}

fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn joined(texts: impl Iterator<Item = String>, none: &str) -> String {
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { none.to_owned() } else { texts.join("+") }
}

/// `6379`, `8000-8100`, `53/UDP`, `every port`.
fn ports_text(rule: &Value) -> String {
    let one = |port: &Value| {
        let number = port.get("port").map_or_else(|| "every port".to_owned(), plain);
        let end = port.get("endPort").map(|end| format!("-{}", plain(end))).unwrap_or_default();
        let protocol = port.get("protocol").map_or_else(|| "TCP".to_owned(), plain);
        if protocol == "TCP" && port.get("port").is_some() {
            format!("{number}{end}")
        } else {
            format!("{number}{end}/{protocol}")
        }
    };
    joined(items(rule, "ports").iter().map(one), "every port")
}

fn peers_text(rule: &Value, field: &str) -> String {
    let one = |peer: &Value| {
        if let Some(block) = peer.get("ipBlock") {
            let cidr = block.get("cidr").map(plain).unwrap_or_default();
            let except = joined(items(block, "except").iter().map(plain), "");
            return if except.is_empty() { cidr } else { format!("{cidr} except {except}") };
        }
        match (peer.get("namespaceSelector"), peer.get("podSelector")) {
            (Some(namespaces), Some(pods)) => {
                format!("{} in namespaces {}", selector_text(pods), selector_text(namespaces))
            }
            (Some(namespaces), None) => format!("namespaces {}", selector_text(namespaces)),
            (None, Some(pods)) => selector_text(pods),
            (None, None) => text(peer),
        }
    };
    joined(items(rule, field).iter().map(one), "anyone")
}

/// `app=web,tier in (a,b)`, or `all`.
fn selector_text(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let exact = labels.map(|(key, value)| format!("{key}={}", plain(value)));
    let expressions = items(selector, "matchExpressions").iter().map(|expression| {
        let key = expression.get("key").map(plain).unwrap_or_default();
        let values: Vec<String> = items(expression, "values").iter().map(plain).collect();
        let operator = expression.get("operator").map(plain).unwrap_or_default();
        if values.is_empty() { format!("{key} {operator}") } else { format!("{key} {operator} ({})", values.join(",")) }
    });
    let all: Vec<String> = exact.chain(expressions).collect();
    if all.is_empty() { "all".to_owned() } else { all.join(",") }
}

pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| text(value), str::to_owned)
}

fn short(value: &str) -> String {
    if value.chars().count() <= MAX_VALUE {
        return value.to_owned();
    }
    let mut cut: String = value.chars().take(MAX_VALUE).collect();
    cut.push('…');
    cut
}

/// A unified diff of the specs, Git to live, at most 4 kB.
pub(super) fn text_diff(declared: Option<&PolicyDocument>, live: Option<&PolicyDocument>) -> String {
    let [git, now] = [declared, live].map(|document| document.map(rendered).unwrap_or_default());
    let diff = TextDiff::from_lines(&git, &now);
    bounded(&diff.unified_diff().context_radius(3).header("Git", "live").to_string())
}

/// The spec as YAML with its keys sorted, so that the order of keys is never a difference.
fn rendered(document: &PolicyDocument) -> String {
    let spec = sorted(&defaulted(document));
    serde_saphyr::to_string(&spec).unwrap_or_else(|_| text(&spec))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<String, Value> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        scalar => scalar.clone(),
    }
}

fn bounded(diff: &str) -> String {
    if diff.len() <= MAX_DIFF {
        return diff.to_owned();
    }
    let mut kept = String::new();
    let mut left = diff.lines().count();
    for line in diff.split_inclusive('\n') {
        if kept.len() + line.len() > MAX_DIFF - 40 {
            break;
        }
        kept.push_str(line);
        left -= 1;
    }
    format!("{kept}… {left} more lines\n")
}
