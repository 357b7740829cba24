//! The schemas of `docs/schemas` themselves. What the program prints is held against them where tests make it print:
//! every `-o json` of the offline commands, every report of the use case, and the status.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    sample,
    schemas::{View, assert_documented, check, names, schema},
};
use netpol_verify::{engine::lint::Rule, model::Report};

fn report() -> Value {
    let mut report = sample::report();
    report.flows = vec![sample::missing_entry()];
    serde_json::to_value(report).unwrap()
}

fn list() -> Value {
    json!({"schema": "netpol-verify/list/v1", "flows": [{
        "source": {"kind": "Deployment", "namespace": "shop", "name": "web"},
        "destination": {"kind": "External", "cidrs": ["0.0.0.0/0", "::/0"]},
        "ports": [{"protocol": "TCP", "from": 443, "to": 443}, {"protocol": "ICMP", "but": [{"protocol": "ICMP", "type": 5}]}],
        "family": "IPv4",
    }]})
}

/// The value with something else at a JSON pointer.
fn with(mut value: Value, place: &str, field: &str, new: Option<Value>) -> Value {
    let fields = value.pointer_mut(place).unwrap().as_object_mut().unwrap();
    match new {
        Some(new) => fields.insert(field.to_owned(), new),
        None => fields.remove(field),
    };
    value
}

#[test]
fn a_broken_output_is_told_from_a_good_one() {
    assert_documented("list", &list());
    assert_documented("report", &report());
    let flow = "/flows/0";
    let broken = [
        ("list", with(list(), "", "schema", Some(json!("netpol-verify/list/v2")))),
        ("list", with(list(), "", "flows", None)),
        ("list", with(list(), flow, "ports", None)),
        ("list", with(list(), flow, "ports", Some(json!("some")))),
        ("list", with(list(), flow, "ports", Some(json!([{"protocol": "TCP", "from": 0, "to": 443}])))),
        ("list", with(list(), flow, "ports", Some(json!([{"protocol": "TCP", "type": 3}])))),
        ("list", with(list(), flow, "source", Some(json!({"kind": "External"})))),
        ("list", with(list(), flow, "source", Some(json!({"kind": "Pod", "name": "web"})))),
        ("list", with(list(), flow, "family", Some(json!("ipv4")))),
        ("report", with(report(), "", "verdict", Some(json!("green")))),
        ("report", with(report(), "", "finished", Some(json!("yesterday")))),
        ("report", with(report(), flow, "observed", Some(json!("closed")))),
        ("report", with(report(), flow, "declared", None)),
        ("report", with(report(), flow, "port", Some(json!("443")))),
        ("report", with(report(), "/flows/0/entries/0", "side", Some(json!("both")))),
        ("diff", list()),
    ];
    for (name, value) in broken {
        assert!(check(name, View::Shipped, &value).is_err(), "{name}: {value:#}");
    }
}

#[test]
fn a_misspelt_field_is_an_error_here_and_a_new_one_is_none_for_readers() {
    for (name, value, place) in [
        ("list", list(), ""),
        ("list", list(), "/flows/0"),
        ("list", list(), "/flows/0/ports/0"),
        ("report", report(), "/flows/0"),
    ] {
        let more = with(value, place, "famly", Some(json!("IPv4")));
        assert!(check(name, View::Strict, &more).is_err(), "{name} {place}");
        let read = check(name, View::Shipped, &more);
        assert!(read.is_ok(), "{name} {place}: {read:?}");
    }
}

#[test]
fn every_schema_names_its_output_and_stands_in_the_documentation() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/README.md")).unwrap();
    let names = names();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let text = schema(&name).to_string();
        assert!(text.contains(&format!("\"netpol-verify/{name}/v1\"")), "{name}");
        assert!(page.contains(&format!("({name}.json)")), "{name} is not linked");
        assert!(check(&name, View::Shipped, &json!({})).is_err(), "{name} says nothing");
    }
}

#[test]
fn every_rule_of_lint_is_a_word_of_its_schema() {
    let schema = schema("lint");
    let words = schema.pointer("/properties/findings/items/properties/rule/enum").and_then(Value::as_array).unwrap();
    for rule in Rule::ALL {
        assert!(words.contains(&json!(rule.word())), "{}", rule.word());
    }
}

/// A report that readers of an older version stored is one of this version.
#[test]
fn what_the_schema_of_reports_takes_the_program_reads() {
    let value = report();
    assert_documented("report", &value);
    let read: Report = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), value);
}
