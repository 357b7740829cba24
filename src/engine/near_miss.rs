//! Names that were probably meant: a selector that matches nothing beside a label that almost does.
//!
//! A near miss makes a rule without effect a finding at once, instead of a rule that waits for its pods. So it must be
//! about what people mistype, not about names that merely look alike: a letter more, less, other or swapped within
//! a long enough word, another case, another separator, or the right value under a sister key. Numbers are told
//! apart (`shard-1` is not `shard-2`), and so are words that begin differently (`post`, `host`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::model::{Labels, NAME_LABEL, Selector};

/// What a selector asks for, and what there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NearMiss {
    /// The requirement that nothing meets: `app: Redis`.
    pub wanted: String,
    /// The label that was probably meant: `app: redis`.
    pub exists: String,
    /// How many of the candidates have it, and meet the selector's other requirements.
    pub pods: usize,
}

/// A namespace that a rule names and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoNamespace {
    /// The name.
    pub wanted: String,
    /// The namespace that was probably meant.
    pub nearest: Option<String>,
}

/// How near; the first is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Case,
    Separator,
    SisterKey,
    Letters(usize),
}

/// Keys by which people name the same thing.
const SISTERS: [&[&str]; 2] = [
    &["app", "app.kubernetes.io/name", "k8s-app", "name"],
    &["component", "app.kubernetes.io/component", "role", "tier"],
];

/// The nearest label to the one requirement that no candidate meets, where there is one.
///
/// `candidates` are the labels of the pods that the selector is asked about (those of the namespaces that the rule
/// names), or of namespaces. Nothing where the selector matches a candidate.
#[must_use]
pub fn near_misses(selector: &Selector, candidates: &[&Labels]) -> Option<NearMiss> {
    if candidates.iter().any(|labels| selector.matches(labels)) {
        return None;
    }
    let mut found: BTreeMap<(Distance, NearMissKey), usize> = BTreeMap::new();
    for (key, value, rest) in requirements(selector.source()) {
        let fits = candidates.iter().filter(|labels| rest.matches(labels));
        for labels in fits {
            let near = labels.iter().filter_map(|(other_key, other_value)| {
                let distance = label_distance((&key, &value), (other_key, other_value))?;
                Some((distance, (key.clone(), value.clone(), other_key.clone(), other_value.clone())))
            });
            if let Some(best) = near.min() {
                *found.entry(best).or_default() += 1;
            }
        }
    }
    let ((_, (key, value, other_key, other_value)), pods) = found.into_iter().next()?;
    Some(NearMiss { wanted: format!("{key}: {value}"), exists: format!("{other_key}: {other_value}"), pods })
}

/// Wanted key and value, existing key and value.
type NearMissKey = (String, String, String, String);

/// The namespace that the selector asks for by name, where none has it.
#[must_use]
pub fn missing_namespace<V>(selector: &Selector, namespaces: &BTreeMap<String, V>) -> Option<NoNamespace> {
    let named = requirements(selector.source()).into_iter().filter(|(key, ..)| key == NAME_LABEL);
    let names: Vec<String> = named.map(|(_, value, _)| value).collect();
    if names.is_empty() || names.iter().any(|name| namespaces.contains_key(name)) {
        return None;
    }
    let near = names.iter().flat_map(|name| {
        namespaces.keys().filter_map(move |other| Some((word_distance(name, other)?, name.clone(), other.clone())))
    });
    Some(match near.min() {
        Some((_, wanted, nearest)) => NoNamespace { wanted, nearest: Some(nearest) },
        None => NoNamespace { wanted: names.into_iter().next()?, nearest: None },
    })
}

/// The name that was probably meant.
#[must_use]
pub fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.into_iter().filter_map(|name| Some((word_distance(wanted, name)?, name)));
    near.min().map(|(_, name)| name)
}

/// Each wanted key and value, with the selector of all other requirements.
fn requirements(source: &LabelSelector) -> Vec<(String, String, Selector)> {
    let mut all = Vec::new();
    for (key, value) in source.match_labels.iter().flatten() {
        let mut rest = source.clone();
        if let Some(labels) = &mut rest.match_labels {
            labels.remove(key);
        }
        all.extend(Selector::new(&rest).ok().map(|rest| (key.clone(), value.clone(), rest)));
    }
    for (index, expression) in source.match_expressions.iter().flatten().enumerate() {
        let LabelSelectorRequirement { key, operator, values } = expression;
        if operator != "In" {
            continue;
        }
        let mut rest = source.clone();
        if let Some(expressions) = &mut rest.match_expressions {
            expressions.remove(index);
        }
        let Ok(rest) = Selector::new(&rest) else { continue };
        all.extend(values.iter().flatten().map(|value| (key.clone(), value.clone(), rest.clone())));
    }
    all
}

fn label_distance(wanted: (&str, &str), exists: (&str, &str)) -> Option<Distance> {
    if wanted.0 == exists.0 {
        return word_distance(wanted.1, exists.1);
    }
    if wanted.1.is_empty() || !wanted.1.eq_ignore_ascii_case(exists.1) {
        return None;
    }
    let sisters = SISTERS.iter().any(|keys| keys.contains(&wanted.0) && keys.contains(&exists.0));
    let near_key = || word_distance(wanted.0, exists.0).is_some();
    (sisters || last_part(wanted.0) == last_part(exists.0) || near_key()).then_some(Distance::SisterKey)
}

/// The part of a label key behind its prefix.
fn last_part(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, name)| name)
}

/// How near two values are; `None`: the same, or two different words.
fn word_distance(wanted: &str, exists: &str) -> Option<Distance> {
    if wanted == exists || wanted.is_empty() || exists.is_empty() {
        return None;
    }
    let (a, b) = (wanted.to_ascii_lowercase(), exists.to_ascii_lowercase());
    if a == b {
        return Some(Distance::Case);
    }
    let [parts_a, parts_b] = [&a, &b].map(|word| word.split(SEPARATORS).collect::<Vec<_>>());
    if parts_a.concat() == parts_b.concat() {
        return Some(Distance::Separator);
    }
    if parts_a.len() != parts_b.len() {
        return None;
    }
    let mut letters = 0;
    for (part_a, part_b) in parts_a.iter().zip(&parts_b) {
        if part_a != part_b {
            letters += typo(part_a, part_b)?;
        }
    }
    (letters <= 2).then_some(Distance::Letters(letters))
}

const SEPARATORS: [char; 4] = ['-', '_', '.', '/'];

/// The number of letters in which one word was mistyped for the other: one in words of 5 letters or more, two in those
/// of 9 or more.
fn typo(a: &str, b: &str) -> Option<usize> {
    let [chars_a, chars_b] = [a, b].map(|word| word.chars().collect::<Vec<char>>());
    let digits = |word: &[char]| word.iter().copied().filter(char::is_ascii_digit).collect::<String>();
    if chars_a.first() != chars_b.first() || digits(&chars_a) != digits(&chars_b) {
        return None;
    }
    let allowed = match chars_a.len().max(chars_b.len()) {
        0..=3 => 0,
        // A swap or a doubled letter changes no word of four letters into another that is likely.
        4 => usize::from(sorted_set(&chars_a) == sorted_set(&chars_b)),
        5..=8 => 1,
        _ => 2,
    };
    let letters = edits(&chars_a, &chars_b);
    (letters <= allowed).then_some(letters)
}

fn sorted_set(word: &[char]) -> std::collections::BTreeSet<char> {
    word.iter().copied().collect()
}

/// Letters added, lost, replaced or swapped with their neighbour (optimal string alignment).
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut char_before: Option<char> = None;
    let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
    for (row, &char_a) in a.iter().enumerate() {
        let mut now = vec![row + 1];
        for (column, &char_b) in b.iter().enumerate() {
            let replaced = get(&last, column) + usize::from(char_a != char_b);
            let mut best = replaced.min(get(&last, column + 1) + 1).min(get(&now, column) + 1);
            let swapped = column > 0 && char_before == Some(char_b) && b.get(column - 1) == Some(&char_a);
            if swapped {
                best = best.min(get(&before_last, column - 1) + 1);
            }
            now.push(best);
        }
        before_last = std::mem::replace(&mut last, now);
        char_before = Some(char_a);
    }
    get(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NamespaceInfo;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn selector(pairs: &[(&str, &str)]) -> Selector {
        Selector::new(&LabelSelector { match_labels: Some(labels(pairs)), match_expressions: None }).unwrap()
    }

    #[test]
    fn values_under_one_key() {
        for (wanted, exists, near) in [
            ("Redis", "redis", true),
            ("reids", "redis", true),
            ("redi", "redis", true),
            ("odo", "odoo", true),
            ("oddo", "odoo", true),
            ("odooo", "odoo", true),
            ("pulse-acount", "pulse-account", true),
            ("pulseaccount", "pulse-account", true),
            ("pulse_account", "pulse-account", true),
            ("web-worker", "web-workers", true),
            ("envoy-gatway", "envoy-gateway", true),
            ("postgersql", "postgresql", true),
            ("web", "api", false),
            ("web", "wep", false),
            ("post", "host", false),
            ("cart", "card", false),
            ("main", "mail", false),
            ("shard-1", "shard-2", false),
            ("postgres15", "postgres16", false),
            ("staging-a", "staging-b", false),
            ("api-dev", "api-test", false),
            ("redis", "redis-master", false),
            ("pulse-data", "pulse-events", false),
            ("frontend", "backend", false),
            ("", "redis", false),
        ] {
            let exists_labels = labels(&[("app", exists)]);
            let found = near_misses(&selector(&[("app", wanted)]), &[&exists_labels]);
            assert_eq!(found.is_some(), near, "{wanted} / {exists}: {found:?}");
        }
    }

    #[test]
    fn the_issue_s_example_counts_the_pods() {
        let [one, other] = [labels(&[("app", "redis"), ("x", "1")]), labels(&[("app", "sentinel")])];
        let found = near_misses(&selector(&[("app", "Redis")]), &[&one, &other, &one]);
        let expected = NearMiss { wanted: "app: Redis".to_owned(), exists: "app: redis".to_owned(), pods: 2 };
        assert_eq!(found, Some(expected));
        assert_eq!(near_misses(&selector(&[("app", "redis")]), &[&one, &other]), None, "it matches");
    }

    #[test]
    fn the_right_value_under_a_sister_key() {
        for (wanted, exists, near) in [
            (("app", "redis"), ("app.kubernetes.io/name", "redis"), true),
            (("k8s-app", "kube-dns"), ("app", "kube-dns"), true),
            (("kubernetes.io/role", "db"), ("role", "db"), true),
            (("app.kubernetes.io/nmae", "redis"), ("app.kubernetes.io/name", "redis"), true),
            (("app", "redis"), ("team", "redis"), false),
            (("app", "redis"), ("app.kubernetes.io/name", "valkey"), false),
        ] {
            let exists_labels = labels(&[exists]);
            let found = near_misses(&selector(&[wanted]), &[&exists_labels]);
            assert_eq!(found.is_some(), near, "{wanted:?} / {exists:?}: {found:?}");
        }
    }

    #[test]
    fn the_other_requirements_must_hold() {
        let wanted = selector(&[("app", "Redis"), ("tier", "cache")]);
        let [cache, store] = ["cache", "store"].map(|tier| labels(&[("app", "redis"), ("tier", tier)]));
        assert_eq!(near_misses(&wanted, &[&cache, &store]).map(|miss| miss.pods), Some(1));
        assert_eq!(near_misses(&wanted, &[&store]), None);
    }

    #[test]
    fn values_of_an_expression_count_too() {
        let requirement = LabelSelectorRequirement {
            key: "app".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec!["web".to_owned(), "Redis".to_owned()]),
        };
        let source = LabelSelector { match_labels: None, match_expressions: Some(vec![requirement]) };
        let redis = labels(&[("app", "redis")]);
        let found = near_misses(&Selector::new(&source).unwrap(), &[&redis]).unwrap();
        assert_eq!((found.wanted.as_str(), found.exists.as_str()), ("app: Redis", "app: redis"));
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_named_with_its_nearest() {
        let namespaces: BTreeMap<String, NamespaceInfo> =
            ["pulse-account", "redis"].iter().map(|name| ((*name).to_owned(), NamespaceInfo::default())).collect();
        let named = |name: &str| missing_namespace(&selector(&[("kubernetes.io/metadata.name", name)]), &namespaces);
        let missing = |wanted: &str, nearest: Option<&str>| {
            Some(NoNamespace { wanted: wanted.to_owned(), nearest: nearest.map(str::to_owned) })
        };
        assert_eq!(named("pulse-acount"), missing("pulse-acount", Some("pulse-account")));
        assert_eq!(named("billing"), missing("billing", None));
        assert_eq!(named("redis"), None);
        assert_eq!(missing_namespace(&selector(&[("team", "blue")]), &namespaces), None, "no name is asked for");
    }
}
