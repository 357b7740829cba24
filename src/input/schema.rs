//! The fields that a `networking.k8s.io/v1` NetworkPolicy has (Kubernetes API reference), and their types.

use serde_json::Value;

use super::cursor::{Cursor, is_label_value};
use crate::flux::manifests::{Content, ManifestError};

/// What a field may hold.
enum Shape {
    /// Whatever it is, it decides nothing.
    Any,
    Text,
    /// Text that can be the value of a label.
    LabelValue,
    /// Labels.
    Labels,
    Number,
    /// A number, or a name.
    Port,
    List(&'static Self),
    Object(&'static [(&'static str, Self)]),
}

use Shape::{Any, LabelValue, Labels, List, Number, Object, Port, Text};

const EXPRESSION: Shape = Object(&[("key", Text), ("operator", Text), ("values", List(&LabelValue))]);
const SELECTOR: Shape = Object(&[("matchLabels", Labels), ("matchExpressions", List(&EXPRESSION))]);
const BLOCK: Shape = Object(&[("cidr", Text), ("except", List(&Text))]);
const PEER: Shape = Object(&[("podSelector", SELECTOR), ("namespaceSelector", SELECTOR), ("ipBlock", BLOCK)]);
const PORT: Shape = Object(&[("protocol", Text), ("port", Port), ("endPort", Number)]);
const INGRESS: Shape = Object(&[("from", List(&PEER)), ("ports", List(&PORT))]);
const EGRESS: Shape = Object(&[("to", List(&PEER)), ("ports", List(&PORT))]);
const SPEC: Shape = Object(&[
    ("podSelector", SELECTOR),
    ("policyTypes", List(&Text)),
    ("ingress", List(&INGRESS)),
    ("egress", List(&EGRESS)),
]);
const POLICY: Shape =
    Object(&[("apiVersion", Text), ("kind", Text), ("metadata", Any), ("spec", SPEC), ("status", Any)]);

/// Holds a policy against the schema; unknown fields are faults or, where `lenient`, come back as warnings.
pub(super) fn check(
    policy: Cursor<'_>,
    lenient: bool,
    faults: &mut Vec<ManifestError>,
    warnings: &mut Vec<ManifestError>,
) {
    let mut check = Check { unknown: Vec::new(), faults };
    check.visit(policy, &POLICY);
    let unknown = check.unknown;
    if lenient { warnings.extend(unknown) } else { faults.extend(unknown) }
}

struct Check<'f> {
    unknown: Vec<ManifestError>,
    faults: &'f mut Vec<ManifestError>,
}

impl Check<'_> {
    fn visit(&mut self, at: Cursor<'_>, shape: &Shape) {
        let is_right = match (shape, &at.node.content) {
            (Any, _) | (_, Content::Scalar(Value::Null)) => true,
            (Text, Content::Scalar(value)) => value.is_string(),
            (LabelValue, Content::Scalar(Value::String(text))) => is_label_value(text),
            (Number, Content::Scalar(value)) => value.is_i64(),
            (Port, Content::Scalar(value)) => value.is_i64() || value.is_string(),
            (Labels, Content::Mapping(_)) => {
                self.faults.extend(at.labels(&[]).err());
                true
            }
            (List(of), Content::Sequence(items)) => {
                for node in items {
                    self.item(Cursor { node, ..at }, of);
                }
                true
            }
            (Object(known), Content::Mapping(_)) => {
                self.fields(at, known);
                true
            }
            _ => false,
        };
        if !is_right {
            let name = if at.name.is_empty() { "the document" } else { at.name };
            self.faults.push(at.fault(format!("`{name}` must be {}", expected(shape))));
        }
    }

    /// `null` in a list would be the empty value, which for a rule or a selector means everything.
    fn item(&mut self, at: Cursor<'_>, shape: &Shape) {
        if at.node.is_null() {
            self.faults
                .push(at.fault(format!("an item of `{}` is empty: write `{{}}` if everything is meant", at.name)));
        } else {
            self.visit(at, shape);
        }
    }

    fn fields(&mut self, at: Cursor<'_>, known: &[(&str, Shape)]) {
        let Content::Mapping(fields) = &at.node.content else { return };
        for (key, (place, node)) in fields.iter() {
            if let Some((_, shape)) = known.iter().find(|(name, _)| name == key) {
                self.visit(Cursor { file: at.file, node, name: key }, shape);
                continue;
            }
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let of = if at.name.is_empty() { "a NetworkPolicy" } else { at.name };
            self.unknown.push(ManifestError {
                file: at.file.to_owned(),
                place: Some(*place),
                message: format!("unknown field `{key}` in {of} (it has {})", names.join(", ")),
            });
        }
    }
}

const fn expected(shape: &Shape) -> &'static str {
    match shape {
        Any => "a value",
        Text => "a text (quote it, if it looks like a number or a boolean)",
        LabelValue => "the value of a label: at most 63 letters, digits, `-`, `_` and `.`",
        Labels | Object(_) => "a mapping",
        Number => "a whole number",
        Port => "a number or a name",
        List(_) => "a list",
    }
}
