use proptest::prelude::*;

use super::*;

fn at(line: u32, column: u32) -> Place {
    Place { line, column }
}

const POLICY: &str = "\
# a comment
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-db
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes:
    - Egress
  egress:
    - to:
        - podSelector:
            matchLabels: &db {app: db}
        - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
      ports:
        - port: 5432
          protocol: TCP
    - to:
        - podSelector:
            matchLabels: *db
";

#[test]
fn each_field_has_the_place_of_its_key_or_item() {
    let documents = parse("p.yaml", POLICY).unwrap();
    let root = &documents[0].root;
    for (pointer, place) in [
        ("", Some(at(2, 1))),
        ("/spec/podSelector", Some(at(7, 3))),
        ("/spec/policyTypes", Some(at(8, 3))),
        ("/spec/policyTypes/0", Some(at(9, 7))),
        ("/spec/egress/0", Some(at(11, 7))),
        ("/spec/egress/0/to/0", Some(at(12, 11))),
        ("/spec/egress/0/to/1/ipBlock/except/0", Some(at(14, 48))),
        ("/spec/egress/0/ports/0", Some(at(16, 11))),
        ("/spec/egress/0/ports/0/protocol", Some(at(17, 11))),
        ("/spec/egress/1/to/0/podSelector/matchLabels", Some(at(20, 13))),
        ("/spec/egress/2", None),
        ("/spec/egress/x", None),
    ] {
        assert_eq!(root.place_of(pointer), place, "{pointer}");
    }
    assert_eq!(root.to_value().pointer("/spec/egress/1/to/0/podSelector/matchLabels/app").unwrap(), "db");
}

#[test]
fn words_stay_words_and_numbers_numbers() {
    let documents = parse("w.yaml", "a: on\nb: yes\nc: 0755\nd: 5432\ne: true\nf: 1.5\ng: ~\nh: n\n").unwrap();
    let value = documents[0].root.to_value();
    assert_eq!(
        value,
        serde_json::json!({"a": "on", "b": "yes", "c": "0755", "d": 5432, "e": true, "f": 1.5, "g": null, "h": "n"})
    );
    let flux = parse_yaml11("w.yaml", "a: on\nb: yes\nc: 0755\n").unwrap()[0].root.to_value();
    assert_eq!(flux, serde_json::json!({"a": true, "b": true, "c": 493}));
}

#[test]
fn lists_and_streams_are_flattened() {
    let text =
        "---\nkind: List\napiVersion: v1\nitems:\n- kind: A\n  metadata: {name: one}\n- kind: B\n---\n---\nkind: C\n";
    let documents = parse("l.yaml", text).unwrap();
    let kinds: Vec<_> = documents.iter().map(|d| (d.kind(), d.name(), d.root.place.line)).collect();
    assert_eq!(kinds, [("A", "one", 5), ("B", "", 7), ("C", "", 10)]);
}

#[test]
fn a_broken_file_is_told_with_its_place() {
    for (text, place) in [
        ("kind: A\nkind: B\n", "x.yaml:2:1: "),
        ("kind: A\nspec: {{ .Values.x }}\n", "x.yaml:2:"),
        ("a: b: c\n", "x.yaml:1:"),
    ] {
        let error = parse("x.yaml", text).unwrap_err().to_string();
        assert!(error.starts_with(place), "{text:?} gave {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_merge_is_resolved_where_it_is_used() {
    let text = "base: &b {app: db}\nsel:\n  <<: *b\n  tier: x\n";
    let value = parse("m.yaml", text).unwrap()[0].root.to_value();
    assert_eq!(value["sel"], serde_json::json!({"app": "db", "tier": "x"}));
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..12 {
        let refs = vec![format!("*a{}", n - 1); 9].join(",");
        text = format!("{text}a{n}: &a{n} [{refs}]\n");
    }
    parse("bomb.yaml", &text).unwrap_err();
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\\n\u{e4}\t]{0,200}") {
        let _ = parse("f.yaml", &text);
        let _ = parse_yaml11("f.yaml", &text);
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "a:", " ", "\n", "  ", "- ", "{", "}", "[", "]", "&x ", "*x", "<<: ", "|", ">", "\"", "'", "---\n", "? ", "!!binary ",
            "!!str ", "~", "1e999", "0x", ".nan", "kind: List\n", "items:\n", ",", "#", "${x}", "\u{0}", "\u{feff}", "%YAML 1.1\n",
        ]), 0..60)
    ) {
        for document in parse("f.yaml", &parts.concat()).unwrap_or_default() {
            let _ = (document.kind().len(), document.name().len(), document.root.to_value());
        }
    }
}
