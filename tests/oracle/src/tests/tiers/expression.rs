//! Point 9 of Calico: the selector language.

use std::collections::BTreeMap;

use crate::tiers::{matches_labels, selector_is_valid};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn assert_all(cases: &[(&str, bool)]) {
    let labels = labels(&[("app", "web"), ("empty", ""), ("a.b/c-d_e", "x"), ("in", "y"), ("allow", "z")]);
    for (text, expected) in cases {
        assert!(selector_is_valid(text), "{text} is legal");
        assert_eq!(matches_labels(text, &labels), *expected, "{text}");
    }
}

#[test]
fn c09_operators() {
    assert_all(&[
        ("", true),
        (" \t", true),
        ("all()", true),
        ("app == 'web'", true),
        ("app==\"web\"", true),
        ("app == 'we'", false),
        ("app != 'web'", false),
        ("app != 'other'", true),
        ("app in {'db', 'web'}", true),
        ("app in {'db'}", false),
        ("app not in {'db'}", true),
        ("app not in {'web'}", false),
        ("app contains 'e'", true),
        ("app contains 'x'", false),
        ("app starts with 'we'", true),
        ("app starts with 'eb'", false),
        ("app ends with 'eb'", true),
        ("app ends with 'we'", false),
        ("has(app)", true),
        ("has( app )", true),
        ("has(gone)", false),
        ("empty == ''", true),
        ("gone == ''", false),
        ("a.b/c-d_e == 'x'", true),
        ("in == 'y'", true),
        ("allow == 'z'", true),
    ]);
}

#[test]
fn c09_absent_labels() {
    assert_all(&[
        ("gone != 'web'", true),
        ("gone not in {'web'}", true),
        ("gone == 'web'", false),
        ("gone in {'web'}", false),
        ("gone contains ''", false),
        ("gone starts with ''", false),
        ("gone ends with ''", false),
    ]);
}

#[test]
fn c09_precedence() {
    assert_all(&[
        // ! before && before ||
        ("!has(app) && has(gone) || has(app)", true),
        ("has(app) || has(app) && has(gone)", true),
        ("(has(app) || has(app)) && has(gone)", false),
        ("!(has(app) && has(gone))", true),
        ("!has(gone) && has(app)", true),
        ("! ! has(app)", true),
        ("!app == 'web'", false),
        ("!(!(app == 'web'))", true),
        ("has(gone) && has(app) || has(gone) && has(app)", false),
    ]);
}

#[test]
fn c09_spellings() {
    assert_all(&[
        ("app startswith 'w'", true),
        ("app endswith 'b'", true),
        ("app notin {'web'}", false),
        ("app in {}", false),
        ("app not in {}", true),
        ("app in {'web',}", true),
        ("app in{'web'}", true),
        ("app == 'it\"s'", false),
        ("app\t==\t'web'", true),
        ("app == 'web'&&has(empty)", true),
    ]);
}

#[test]
fn c09_what_is_refused() {
    let long = format!("{} == 'x'", "k".repeat(513));
    for text in [
        "app == 'web'\n",
        "app == 'web' &&\nhas(empty)",
        "has (app)",
        "all ()",
        "app = 'web'",
        "app == web",
        "app == 'web",
        "app == 'it\\'s'",
        "app & has(b)",
        "app",
        "has()",
        "has(app",
        "(app == 'web'",
        "app == 'web')",
        "app in ['web']",
        "app in {,}",
        "app in {'a' 'b'}",
        "app inside {'a'}",
        "app == 'a' has(b)",
        "&& has(app)",
        "has(app) ||",
        "!",
        "global()",
        "app$ == 'x'",
        long.as_str(),
    ] {
        assert!(!selector_is_valid(text), "{text:?} is refused");
        assert!(!matches_labels(text, &labels(&[("app", "web")])), "{text:?} matches nothing");
    }
    assert!(selector_is_valid(&format!("{} == 'x'", "k".repeat(512))));
}
