//! Positions of a YAML text's fields, for the tests of this module.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::model::{Origin, Origins, PolicyDocument, PolicyRef};

enum Node {
    Scalar(Value),
    Sequence(Vec<Spanned<Self>>),
    Mapping(IndexMap<String, Spanned<Self>>),
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::Sequence(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut all = IndexMap::new();
        while let Some((key, value)) = fields.next_entry()? {
            all.insert(key, value);
        }
        Ok(Node::Mapping(all))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

fn walk(node: &Spanned<Node>, pointer: &str, fields: &mut Vec<(String, u64, u64)>) -> Value {
    let at = node.referenced;
    fields.push((pointer.to_owned(), at.line(), at.column()));
    match &node.value {
        Node::Scalar(value) => value.clone(),
        Node::Sequence(items) => {
            let each = items.iter().enumerate().map(|(index, item)| walk(item, &format!("{pointer}/{index}"), fields));
            each.collect()
        }
        Node::Mapping(map) => {
            let each = map.iter().map(|(key, value)| {
                let key_text = key.replace('~', "~0").replace('/', "~1");
                (key.clone(), walk(value, &format!("{pointer}/{key_text}"), fields))
            });
            each.collect()
        }
    }
}

/// The documents of a YAML text, with the origins of their specs' fields in `file`.
pub(super) fn documents(file: &str, yaml: &str) -> Vec<PolicyDocument> {
    let nodes: Vec<Spanned<Node>> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    nodes.iter().map(|node| document(file, node)).collect()
}

fn document(file: &str, node: &Spanned<Node>) -> PolicyDocument {
    let mut fields = Vec::new();
    let object = walk(node, "", &mut fields);
    let origin =
        |line: u64, column: u64| Origin::at(file, u32::try_from(line).unwrap(), u32::try_from(column).unwrap());
    let spec = fields.iter().filter(|(pointer, ..)| pointer.starts_with("/spec"));
    let origins = Origins {
        document: Some(origin(node.referenced.line(), 1)),
        fields: spec.map(|(pointer, line, column)| (pointer.clone(), origin(*line, *column))).collect(),
        ..Origins::default()
    };
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    PolicyDocument {
        id: PolicyRef {
            kind: text("/kind"),
            namespace: Some(text("/metadata/namespace")),
            name: text("/metadata/name"),
        },
        api_version: text("/apiVersion"),
        object,
        origins,
        kustomization: None,
    }
}
