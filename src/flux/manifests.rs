//! YAML with positions: the one place where manifests are read.
//!
//! Booleans are YAML 1.2's alone (`on` and `yes` are words, as kustomize and the API server read them), duplicate keys
//! are errors, anchors and merges are resolved at the place of their use, and `List` kinds are flattened.

use std::fmt;

mod events;
pub mod faults;
mod fields;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::{Location, Options, Spanned};

pub use fields::Fields;

/// A place in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl From<Location> for Place {
    fn from(at: Location) -> Self {
        Self { line: saturate(at.line()), column: saturate(at.column()) }
    }
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A YAML value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins (the use of an alias, not its anchor).
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// The three shapes of YAML.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Null, boolean, number or string.
    Scalar(Value),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping.
    Mapping(Fields),
}

/// A file that cannot be read, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}: {message}", self.at())]
pub struct ManifestError {
    /// The file.
    pub file: String,
    /// Where, if it is known.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
}

impl ManifestError {
    fn at(&self) -> String {
        self.place.map_or_else(|| "1:1".to_owned(), |at| format!("{}:{}", at.line, at.column))
    }
}

/// One object of a file.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its root.
    pub root: Node,
}

impl Node {
    /// The value under `key`, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Mapping(fields) => fields.get(key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether this is `null`, or nothing at all.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(Value::Null))
    }

    /// Gives a mapping a field that it lacks, at its own place.
    fn fill_in(&mut self, key: &str, content: Content) {
        let place = self.place;
        if let Content::Mapping(fields) = &mut self.content
            && fields.get(key).is_none()
        {
            fields.insert(key.to_owned(), (place, Self { place, content }));
        }
    }

    /// The value without its places.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Mapping(fields) => {
                Value::Object(fields.iter().map(|(key, (_, node))| (key.clone(), node.to_value())).collect())
            }
        }
    }

    /// The place of the value that a JSON pointer names, where it has one.
    #[must_use]
    pub fn value_at(&self, pointer: &str) -> Option<Place> {
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            node = match &node.content {
                Content::Mapping(fields) => fields.get(&part).map(|(_, node)| node)?,
                Content::Sequence(items) => items.get(part.parse::<usize>().ok()?)?,
                Content::Scalar(_) => return None,
            };
        }
        Some(node.place)
    }

    /// The place of the field that a JSON pointer names: of its key in a mapping, of its first character in a list.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Option<Place> {
        let mut node = self;
        let mut place = self.place;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            (place, node) = match &node.content {
                Content::Mapping(fields) => fields.get(&part).map(|(key, node)| (*key, node))?,
                Content::Sequence(items) => items.get(part.parse::<usize>().ok()?).map(|item| (item.place, item))?,
                Content::Scalar(_) => return None,
            };
        }
        Some(place)
    }
}

impl Document {
    /// The kind, or nothing.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.root.get("kind").and_then(Node::text).unwrap_or_default()
    }

    /// `apiVersion`, or nothing.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.root.get("apiVersion").and_then(Node::text).unwrap_or_default()
    }

    /// `metadata.name`, or nothing.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata("name").unwrap_or_default()
    }

    /// `metadata.namespace`.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.metadata("namespace").filter(|name| !name.is_empty())
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.root.get("metadata")?.get(key)?.text()
    }
}

/// Reads every object of a file.
///
/// # Errors
/// The text is not YAML, has a duplicate key, or passes the limits of size; with line and column.
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    match events::plain(text) {
        Some(roots) => Ok(objects(roots)),
        None => read(file, text, options(true)),
    }
}

/// Reads a text as Flux's YAML→JSON step does: by YAML 1.1, where `yes` is true and `0755` is octal.
pub(super) fn parse_yaml11(file: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    read(file, text, options(false))
}

fn read(file: &str, text: &str, options: Options) -> Result<Vec<Document>, ManifestError> {
    let roots = deserialized(text, options).map_err(|error| {
        let place = error.location().map(Place::from).filter(|place| place.line > 0);
        let number = place.and_then(|place| usize::try_from(place.line).ok());
        let line = number.and_then(|number| text.lines().nth(number - 1)).unwrap_or_default();
        ManifestError { file: file.to_owned(), place, message: faults::message(&error) + faults::hint(line) }
    })?;
    Ok(objects(roots))
}

/// The documents of any YAML.
fn deserialized(text: &str, options: Options) -> Result<Vec<Node>, serde_saphyr::Error> {
    serde_saphyr::from_multiple_with_options(text, options)
}

fn objects(roots: Vec<Node>) -> Vec<Document> {
    let mut documents = Vec::new();
    for root in roots {
        flatten(root, &mut documents);
    }
    documents
}

/// `List`, `NetworkPolicyList`, …: their items are the objects. Items of a typed list may leave out what its kind says.
fn flatten(mut root: Node, documents: &mut Vec<Document>) {
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let Some(of) = kind.strip_suffix("List").map(str::to_owned) else {
        documents.push(Document { root });
        return;
    };
    let version = root.get("apiVersion").cloned();
    if let Content::Mapping(fields) = &mut root.content
        && let Some((_, Node { content: Content::Sequence(items), .. })) = fields.get_mut("items")
    {
        for mut item in std::mem::take(items) {
            if !of.is_empty() {
                item.fill_in("kind", Content::Scalar(of.clone().into()));
                if let Some(version) = &version {
                    item.fill_in("apiVersion", version.content.clone());
                }
            }
            flatten(item, documents);
        }
    } else {
        documents.push(Document { root });
    }
}

fn options(strict: bool) -> Options {
    let mut options = Options::default();
    options.strict_booleans = strict;
    options.leading_zero_numbers_as_strings = strict;
    options.legacy_octal_numbers = !strict;
    options.with_snippet = false;
    // Manifests share a label set or two; a million, the default, is seconds of work.
    options.alias_limits.max_total_replayed_events = 100_000;
    // The defaults are for configuration files; a rendering of a large repository is one stream of many documents.
    // The depth stays as it is: it guards the stack.
    if let Some(budget) = &mut options.budget {
        budget.max_documents = 100_000;
        budget.max_events = 20_000_000;
        budget.max_nodes = 10_000_000;
    }
    options
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { place: referenced.into(), content: value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Content, E> {
        Ok(Content::Scalar(Value::String(value.to_string())))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Content, E> {
        Ok(Content::Scalar(Value::String(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        let text = || Value::String(value.to_string());
        Ok(Content::Scalar(Number::from_f64(value).map_or_else(text, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(Content::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let mut mapping = Fields::default();
        while let Some((key, node)) = fields.next_entry::<Spanned<String>, Node>()? {
            mapping.insert(key.value, (key.referenced.into(), node));
        }
        Ok(Content::Mapping(mapping))
    }
}

#[cfg(test)]
#[path = "manifests_tests.rs"]
mod tests;
