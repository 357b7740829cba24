//! Plain manifests straight from the parser's events.
//!
//! Most manifests are plain: mappings, lists and scalars whose type nobody doubts. Their tree is built here without the
//! detour through a deserializer, which costs twice the parsing. Whatever is not plain (anchors, merges, tags,
//! duplicate keys, numbers in odd notations, a fault, anything near a limit) is left to the deserializer, which alone
//! knows those rules: here is no second opinion on them.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Number, Value};

use super::{Content, Fields, Node, Place};

/// Where the deserializer begins to count, all limits are far: bytes of a text, collections in collections, events,
/// documents.
const BYTES: usize = 32 * 1024 * 1024;
const DEPTH: usize = 48;
const EVENTS: usize = 5_000_000;
const DOCUMENTS: usize = 50_000;

/// The documents of a text in which everything is plain.
pub(super) fn plain(text: &str) -> Option<Vec<Node>> {
    if text.len() > BYTES {
        return None;
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder { parser: Parser::new_from_str_with_options(text, options), left: EVENTS };
    let mut roots = Vec::new();
    loop {
        match builder.next()? {
            (Event::StreamStart | Event::DocumentEnd, _) => {}
            (Event::DocumentStart(_, None), _) if roots.len() < DOCUMENTS => {
                let (event, span) = builder.next()?;
                let root = builder.node(event, span, 0)?;
                // What an empty document is, and whether it counts, is not plain.
                if matches!(root.content, Content::Scalar(_)) {
                    return None;
                }
                roots.push(root);
            }
            (Event::StreamEnd, _) => return Some(roots),
            _ => return None,
        }
    }
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    left: usize,
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.left = self.left.checked_sub(1)?;
        self.parser.next_event()?.ok()
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Option<Node> {
        if depth > DEPTH {
            return None;
        }
        let content = match event {
            Event::Scalar(text, style, 0, None) => Content::Scalar(match style {
                ScalarStyle::Plain => scalar(&text)?,
                _ => Value::String(text.into_owned()),
            }),
            Event::SequenceStart(_, 0, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Content::Sequence(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(_, 0, None) => Content::Mapping(self.fields(depth)?),
            _ => return None,
        };
        Some(Node { place: place(&span)?, content })
    }

    fn fields(&mut self, depth: usize) -> Option<Fields> {
        let mut fields = Fields::default();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Some(fields),
                (Event::Scalar(text, style, 0, None), span) => {
                    let is_plain = style == ScalarStyle::Plain;
                    if is_plain && (text == "<<" || !matches!(scalar(&text), Some(Value::String(_)))) {
                        return None;
                    }
                    (text.into_owned(), place(&span)?)
                }
                _ => return None,
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if fields.insert(key, (at, node)).is_some() {
                return None;
            }
        }
    }
}

/// A place, where the text is short enough to have one.
fn place(span: &Span) -> Option<Place> {
    let line = u32::try_from(span.start.line()).ok()?;
    Some(Place { line, column: u32::try_from(span.start.col() + 1).ok()? })
}

/// The value of a plain scalar of which every version of YAML says the same.
fn scalar(text: &str) -> Option<Value> {
    let first = *text.as_bytes().first()?;
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match first {
        b'a'..=b'z' | b'A'..=b'Z' => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => (!is_word(text)).then(|| Value::String(text.to_owned())),
        },
        b'/' | b'_' => Some(Value::String(text.to_owned())),
        b'0'..=b'9' if is_digits(text) => {
            let is_short = text.len() < 19 && (first != b'0' || text.len() == 1);
            let number: u64 = text.parse().ok().filter(|_| is_short)?;
            Some(Value::Number(Number::from(number)))
        }
        // An address, a block, a range, a version: a number has one point at most, and no slash.
        b'0'..=b'9' => {
            let is_number = |byte: u8| byte.is_ascii_hexdigit() || b".+-_:,xXoO".contains(&byte);
            let points = text.bytes().filter(|byte| *byte == b'.').count();
            let is_word = points > 1 && !text.contains(':') || !text.bytes().all(is_number);
            is_word.then(|| Value::String(text.to_owned()))
        }
        _ => None,
    }
}

/// Words that are, or once were, something else than text.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    text.len() <= 5 && WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flux::manifests::{deserialized, options};

    /// Where the short way has an answer, the deserializer has the same, places included.
    fn agrees(text: &str) -> bool {
        let Some(plain) = plain(text) else { return false };
        let long = deserialized(text, options(true)).unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(plain, long, "{text}");
        true
    }

    #[test]
    fn plain_manifests_take_the_short_way() {
        for text in [
            "kind: A\nspec:\n  podSelector: {}\n  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.0/8}\n    ports: [{port: 53}]\n",
            "a: b # comment\n---\nc: [d, 'e', \"f\\n\"]\n...\n---\n# end\ng:\n- - h\n  - i\n",
            "a: |\n  text\n  more\nb: >-\n  folded\n  on\nc: several words\n  on lines\n",
            "{a: true, b: false, c: 0, d: 18, e: v1.2, f: 1.2.3.4, g: /x, h: 5Gi, i: 100m}\n",
            "\"quoted key\": 'x'\n",
            "",
            "# nothing\n",
        ] {
            assert!(agrees(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_deserializer() {
        for text in [
            "a: &x 1\n",
            "a: *x\n",
            "a: !!str 1\n",
            "<<: {a: 1}\n",
            "a: 1\na: 2\n",
            "1: a\n",
            "true: a\n",
            "? [a]\n: b\n",
            "a: yes\n",
            "a: NULL\n",
            "a: ~\n",
            "a:\n",
            "a: 0755\n",
            "a: 0x1f\n",
            "a: 1e3\n",
            "a: 1.5\n",
            "a: -1\n",
            "a: .5\n",
            "a: 12:30\n",
            "a: 99999999999999999999\n",
            "a: [\n",
            "plain\n",
            "---\n---\n",
            "%YAML 1.1\n---\na: b\n",
            "a: 1_000\n",
        ] {
            assert!(plain(text).is_none(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        assert!(plain(&deep).is_none());
    }

    /// Texts in which most things of YAML may come, and mostly stay YAML.
    fn arb_text() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            "[a-zA-Z0-9/._~<>-]{0,8}",
            "[0-9]{1,4}[.xoe:_+-]{0,2}[0-9a-fmGi]{0,4}",
            prop::sample::select(vec![
                "yes",
                "No",
                "null",
                "~",
                "",
                "true",
                "True",
                "0",
                "007",
                "'a b'",
                "\"c\\td\"",
                "&a x",
                "*a",
                "!!str 5",
                ".inf",
                "10.0.0.0/8",
                "a: b",
                "- c",
                "[d, e]",
                "{f: g}",
                "{}",
                "[]",
                "|\n      text\n",
                ">-\n      folded\n      text",
                "é",
                "a #b",
                "a\n      b",
                "1 2",
                "a:b",
                "a-",
                "?x",
                "%x",
                "@x",
                "`x",
            ])
            .prop_map(str::to_owned),
        ];
        let key = prop_oneof![
            "[a-z]{1,3}",
            prop::sample::select(vec!["<<", "on", "1", "'k'", "\"k\"", "a b", "? a", "null", "~", "a/b", "[a]", "-"])
                .prop_map(str::to_owned),
        ];
        let line = (0usize..4, prop::bool::weighted(0.3), key, scalar).prop_map(|(indent, is_item, key, scalar)| {
            format!("{}{}{key}: {scalar}\n", "  ".repeat(indent), if is_item { "- " } else { "" })
        });
        let other = prop::sample::select(vec![
            "---\n",
            "...\n",
            "# c\n",
            "\n",
            "- x\n",
            "  - y: z\n",
            "\t\n",
            "k:\n",
            "l:\n  - m\n",
            "  n:\n",
        ]);
        prop::collection::vec(prop_oneof![4 => line, 1 => other.prop_map(str::to_owned)], 0..7)
            .prop_map(|lines| lines.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn the_short_way_and_the_deserializer_agree(text in arb_text()) {
            agrees(&text);
        }
    }
}
