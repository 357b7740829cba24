use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn matches(text: &str, pairs: &[(&str, &str)]) -> bool {
    CalicoSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).matches(&labels(pairs))
}

#[test]
fn calico_4_9_operators_match_present_other_and_absent_labels() {
    for (text, expected) in [
        ("k == 'a'", [true, false, false]),
        ("k != 'a'", [false, true, true]),
        ("k in {'a', 'c'}", [true, false, false]),
        ("k not in {'a', 'c'}", [false, true, true]),
        ("k notin {'a'}", [false, true, true]),
        ("has(k)", [true, true, false]),
        ("has( k )", [true, true, false]),
        ("!has(k)", [false, false, true]),
        ("k contains 'b'", [false, true, false]),
        ("k contains ''", [true, true, false]),
        ("k starts with 'xb'", [false, true, false]),
        ("k startswith \"xb\"", [false, true, false]),
        ("k ends  with 'by'", [false, true, false]),
        ("k endswith 'by'", [false, true, false]),
        ("all()", [true, true, true]),
        ("all(\t)", [true, true, true]),
        ("", [true, true, true]),
        (" \t", [true, true, true]),
        ("k in {}", [false, false, false]),
        ("k not in {}", [true, true, true]),
        ("k in {'a',}", [true, false, false]),
        ("k in{'a'}", [true, false, false]),
        ("k=='a'", [true, false, false]),
        ("k == 'A'", [false, false, false]),
    ] {
        let got = [&[("k", "a")][..], &[("k", "xby")], &[]].map(|pairs| matches(text, pairs));
        assert_eq!(got, expected, "{text}");
    }
}

#[test]
fn calico_4_9_precedence_is_not_then_and_then_or() {
    let (a, b) = ([("a", "1")], [("b", "1")]);
    for (text, on_a, on_b, on_none) in [
        ("has(a) || has(b) && has(c)", true, false, false),
        ("(has(a) || has(b)) && has(c)", false, false, false),
        ("!has(a) && has(b)", false, true, false),
        ("!(has(a) && has(b))", true, true, true),
        ("!!has(a)", true, false, false),
        ("!!!has(a)", false, true, true),
        ("has(b) && has(c) || has(a)", true, false, false),
        ("!has(a) || has(c)", false, true, true),
    ] {
        assert_eq!((matches(text, &a), matches(text, &b), matches(text, &[])), (on_a, on_b, on_none), "{text}");
    }
}

#[test]
fn calico_4_9_words_are_labels_where_no_operator_can_stand() {
    assert!(matches("in == 'x'", &[("in", "x")]));
    assert!(matches("in in {'x'}", &[("in", "x")]));
    assert!(matches("all == 'x' && has == 'y'", &[("all", "x"), ("has", "y")]));
    assert!(matches("contains contains 'x'", &[("contains", "axe")]));
    assert!(matches("a.b/c-d_e == 'x'", &[("a.b/c-d_e", "x")]));
}

#[test]
fn calico_4_9_strings_have_no_escapes() {
    assert!(matches(r"k == 'a\'", &[("k", r"a\")]));
    assert!(matches(r#"k == 'say "x"'"#, &[("k", r#"say "x""#)]));
    assert!(matches("k == 'a\nb'", &[("k", "a\nb")]), "inside a text a line break is a character");
}

#[test]
fn calico_4_9_what_the_parser_refuses_names_the_column() {
    let long = format!("{} == 'x'", "k".repeat(513));
    for (text, column, words) in [
        ("k == 'a'\n&& has(b)", 9, "line break"),
        ("k == 'a'\n", 9, "line break"),
        ("\nk == 'a'", 1, "line break"),
        ("has (k)", 5, "operator"),
        ("k", 2, "operator"),
        ("k == ", 6, "text in quotes"),
        ("k == a", 6, "text in quotes"),
        ("k = 'a'", 3, "operator"),
        ("k == 'a", 6, "closing quote"),
        ("k in 'a'", 6, "a set"),
        ("k in {'a' 'b'}", 11, "`}`"),
        ("k in {,}", 7, "`}`"),
        ("k in {'a'", 10, "`}`"),
        ("(has(a)", 8, "`)`"),
        ("has(a))", 7, "the end"),
        ("has(a) has(b)", 8, "the end"),
        ("has(a) &&", 10, "ends where"),
        ("has(a) & has(b)", 8, "`&` cannot"),
        ("has()", 5, "`)` cannot"),
        ("k not 'a'", 3, "operator"),
        ("é == 'x'", 1, "`é` cannot"),
        ("k == 'é' x", 10, "the end"),
        (long.as_str(), 1, "512"),
    ] {
        let error = CalicoSelector::parse(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(words), "{text}: {error}");
    }
    let longest = format!("{} == 'x'", "k".repeat(512));
    assert!(CalicoSelector::parse(&longest).is_ok());
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let nested = |depth: usize| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert!(CalicoSelector::parse(&nested(64)).is_ok());
    assert!(CalicoSelector::parse(&nested(65)).is_err());
    assert!(CalicoSelector::parse(&"(".repeat(50_000)).is_err());
    assert!(CalicoSelector::parse(&format!("{}has(a)", "!".repeat(20_001))).is_ok(), "no depth of its own");
    assert!(CalicoSelector::parse(&format!("{}has(a)", "!(".repeat(20_000))).is_err());
    assert!(CalicoSelector::parse(&vec!["has(a)"; 5_000].join(" && ")).is_ok(), "wide is not deep");
}

#[test]
fn calico_4_10_namespace_labels_are_looked_at_under_their_prefix() {
    let selector = CalicoSelector::parse("env == 'prod' && !(has(x) || all())").unwrap().with_prefix("pcns.");
    assert_eq!(selector.to_string(), r#"(pcns.env == "prod" && !(has(pcns.x) || all()))"#);
    let mut keys = BTreeSet::new();
    selector.keys(&mut keys);
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["pcns.env", "pcns.x"]);
}

#[test]
fn calico_4_7_all_and_global_become_conditions_on_a_namespace() {
    let all = CalicoSelector::parse("!all() || has(x)").unwrap().with_all_as(NAMESPACE_LABEL);
    assert_eq!(all.to_string(), "(!has(projectcalico.org/namespace) || has(x))");
    let global = CalicoSelector::parse("global()").unwrap();
    assert!(global.has_global() && !all.has_global());
    assert!(global.matches(&labels(&[])) && !global.matches(&labels(&[(NAMESPACE_LABEL, "a")])));
}

#[test]
fn a_selector_says_what_it_says_whatever_the_labels_that_are_not_known() {
    let known = labels(&[("env", "prod")]);
    for (text, expected) in [
        ("env == 'prod'", Some(true)),
        ("has(app)", None),
        ("all()", Some(true)),
        ("env == 'test' && has(app)", Some(false)),
        ("env == 'prod' && has(app)", None),
        ("has(app) || env == 'prod'", Some(true)),
        ("has(app) || env == 'test'", None),
        ("!(has(app) && env == 'test')", Some(true)),
        ("!has(app)", None),
    ] {
        let selector = CalicoSelector::parse(text).unwrap();
        assert_eq!(selector.matches_by(&known, |key| key == "env"), expected, "{text}");
    }
}

fn arb_selector() -> impl Strategy<Value = CalicoSelector> {
    let text = prop_oneof!["[a-z' ,&(){}\n=]{0,5}", "[a-z\" !|]{0,5}"];
    let key = "[a-zA-Z0-9_./-]{1,6}";
    let values = prop::collection::btree_set(text.clone(), 0..3);
    let leaf = prop_oneof![
        Just(CalicoSelector::All),
        Just(CalicoSelector::Global),
        key.prop_map(CalicoSelector::Has),
        (key, text.clone()).prop_map(|(k, v)| CalicoSelector::Equals(k, v)),
        (key, text.clone()).prop_map(|(k, v)| CalicoSelector::Differs(k, v)),
        (key, values.clone()).prop_map(|(k, v)| CalicoSelector::In(k, v)),
        (key, values).prop_map(|(k, v)| CalicoSelector::NotIn(k, v)),
        (key, text.clone()).prop_map(|(k, v)| CalicoSelector::Contains(k, v)),
        (key, text.clone()).prop_map(|(k, v)| CalicoSelector::StartsWith(k, v)),
        (key, text).prop_map(|(k, v)| CalicoSelector::EndsWith(k, v)),
    ];
    leaf.prop_recursive(5, 30, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| CalicoSelector::Not(Box::new(one))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(CalicoSelector::And),
            prop::collection::vec(inner, 2..4).prop_map(CalicoSelector::Or),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(selector in arb_selector()) {
        let text = selector.to_string();
        prop_assert_eq!(CalicoSelector::parse(&text), Ok(selector), "{}", text);
    }

    #[test]
    fn no_text_is_a_panic(text in ".{0,40}", words in prop::collection::vec("has\\(|in|not|k|==|'a'|\\{|\\}|\\(|\\)|!|&&", 0..12)) {
        let _ = CalicoSelector::parse(&text);
        if let Ok(selector) = CalicoSelector::parse(&words.join(" ")) {
            prop_assert_eq!(CalicoSelector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
