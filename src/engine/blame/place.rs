//! Where in a file an entry goes, from the positions of the fields that are there.
//!
//! Positions are those that the YAML parser gives to values: `[` or `{` of a flow collection, the first key of a block
//! mapping, the dash of an indented block sequence, and the first element of one whose dashes stand under its key.
//! Where the places of keys are known too, a mapping is in block style if it begins with its first key.
//! The pure core has no file text, so that what lies between known positions (comments, closing brackets) is inferred.

use serde_json::{Map, Value};

use crate::model::{Direction, Origin, PolicyDocument};

/// Where an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// As one more element of the list, after this line.
    After(u32),
    /// With its key, after this line: the direction is absent.
    NewKey(u32),
    /// With its key and the elements that are there, in place of this line: the list is in flow style.
    Instead(u32),
    /// Not known.
    Unknown,
}

impl Place {
    pub(super) const fn is_known(self) -> bool {
        !matches!(self, Self::Unknown)
    }

    pub(super) const fn line(self) -> Option<u32> {
        match self {
            Self::After(line) | Self::NewKey(line) | Self::Instead(line) => Some(line),
            Self::Unknown => None,
        }
    }
}

/// One document with the positions of its fields.
pub(super) struct Site<'a> {
    pub(super) document: &'a PolicyDocument,
}

impl<'a> Site<'a> {
    pub(super) const fn new(document: &'a PolicyDocument) -> Self {
        Self { document }
    }

    /// Line and column of a field's value; `None` where an overlay made it.
    pub(super) fn at(&self, pointer: &str) -> Option<(u32, u32)> {
        let origin = self.document.origins.fields.get(pointer)?;
        let value = self.document.origins.values.get(pointer).copied();
        value.filter(|_| origin.line.is_some()).or_else(|| origin.line.zip(origin.column))
    }

    pub(super) fn value(&self, pointer: &str) -> Option<&'a Value> {
        self.document.object.pointer(pointer)
    }

    /// Where a rule of that direction goes.
    pub(super) fn place(&self, side: Direction) -> Place {
        let pointer = format!("/spec/{}", side.word());
        if self.is_json() || self.is_flow("/spec") {
            return Place::Unknown;
        }
        let found = match self.value(&pointer) {
            None => self.end().map(Place::NewKey),
            // `ingress:` without a value: the parser gives nothing a place that could be relied on.
            Some(Value::Null) => None,
            Some(_) if self.is_flow(&pointer) => self.last_line(&pointer).map(Place::Instead),
            Some(_) => self.last_line(&pointer).map(Place::After),
        };
        found.unwrap_or(Place::Unknown)
    }

    /// The last known line of the document: `spec` is taken to be its last field.
    pub(super) fn end(&self) -> Option<u32> {
        if self.is_json() { None } else { self.last_line("/spec") }
    }

    /// The line after which a document of its own can follow. Not known for an item of a List, which others may follow,
    /// nor where `spec` is the first field of several.
    pub(super) fn end_of_document(&self) -> Option<u32> {
        let begin = self.document.origins.document.as_ref()?;
        let is_item = begin.column.is_some_and(|column| column > 1);
        let is_first = self
            .document
            .origins
            .fields
            .get("/spec")
            .is_some_and(|spec| spec.line.is_some() && (spec.line, spec.column) == (begin.line, begin.column));
        if is_item || is_first { None } else { self.end() }
    }

    /// Columns before the document: an item of a List stands behind its dash.
    pub(super) fn indent(&self) -> usize {
        let column = self.document.origins.document.as_ref().and_then(|begin| begin.column);
        column.and_then(|column| usize::try_from(column).ok()).map_or(0, |column| column.saturating_sub(1))
    }

    fn is_json(&self) -> bool {
        let file = self.document.origins.document.as_ref().map_or("", |origin| origin.file.as_str());
        file.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("json"))
    }

    fn below(&self, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Origin)> {
        let pointer = pointer.to_owned();
        let fields = self.document.origins.fields.range(pointer.clone()..);
        let parts =
            fields.map_while(move |(field, origin)| Some((field, field.strip_prefix(pointer.as_str())?, origin)));
        let is_part = |rest: &str| rest.is_empty() || rest.starts_with('/');
        parts.filter(move |(_, rest, _)| is_part(rest)).map(|(field, _, origin)| (field.as_str(), origin))
    }

    /// The last line that the field's value is known to reach; `None` where something below it has no position, or a
    /// flow collection spans several lines, whose closing bracket could be anywhere.
    fn last_line(&self, pointer: &str) -> Option<u32> {
        let (line, _) = self.at(pointer)?;
        let mut last = line;
        for (field, origin) in self.below(pointer) {
            origin.line?;
            let (own, _) = self.at(field)?;
            last = last.max(own);
            let reaches = || self.below(field).filter_map(|(field, _)| self.at(field)).map(|(line, _)| line).max();
            if self.is_flow(field) && reaches() != Some(own) {
                return None;
            }
        }
        let positions = self.below(pointer).count();
        (positions >= collections(self.value(pointer)?)).then_some(last)
    }

    /// Whether the value is a collection in flow style, such as `[…]` or `{…}`.
    pub(super) fn is_flow(&self, pointer: &str) -> bool {
        match (self.value(pointer), self.at(pointer)) {
            (Some(Value::Object(map)), Some(at)) if !map.is_empty() && self.has_keys() => {
                self.first_key(pointer, map) != Some(at)
            }
            (Some(Value::Object(map)), Some((line, column))) => {
                // In a block mapping the first value follows its key and `: `; in a flow one the brace is before it.
                let first = map.keys().filter_map(|key| {
                    let (at, col) = self.at(&format!("{pointer}/{}", escaped(key)))?;
                    Some((at, col, width(key)))
                });
                map.is_empty()
                    || first.min().is_some_and(|(at, col, key)| at == line && col > column.saturating_add(key + 2))
            }
            (Some(Value::Array(_)), Some((_, column))) => {
                // A block sequence starts near its key's column, a flow one behind the key.
                let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
                let indented = self.at(parent).map_or(1, |(_, column)| column);
                column >= indented.saturating_add(width(key) + 2)
            }
            _ => false,
        }
    }

    /// Whether the places of keys are known beside those of values.
    fn has_keys(&self) -> bool {
        !self.document.origins.values.is_empty()
    }

    /// Where the first key of a mapping is: a block mapping begins there, a flow one with its brace.
    fn first_key(&self, pointer: &str, map: &Map<String, Value>) -> Option<(u32, u32)> {
        let keys =
            map.keys().filter_map(|key| self.document.origins.fields.get(&format!("{pointer}/{}", escaped(key))));
        keys.filter_map(|origin| origin.line.zip(origin.column)).min()
    }

    /// The column of the dashes of a block sequence that is not empty, where `key_column` is its key's.
    pub(super) fn dash_column(&self, pointer: &str, key_column: u32) -> Option<u32> {
        let (sequence, first) = (self.at(pointer)?, self.at(&format!("{pointer}/0"))?);
        if self.is_flow(pointer) {
            return None;
        }
        Some(if sequence == first { key_column } else { sequence.1 })
    }
}

/// The number of collections in a value: each has a position if all of it stands in the file.
fn collections(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(collections).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(collections).sum::<usize>(),
        _ => 0,
    }
}

fn width(key: &str) -> u32 {
    u32::try_from(key.chars().count()).unwrap_or(u32::MAX / 2)
}

/// A key as a JSON pointer has it (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{write::Style, yaml::documents},
        *,
    };

    /// The line after which a document can follow one that begins at `begin`, its `spec` at `spec`.
    fn line_after(begin: (u32, u32), spec: (u32, u32)) -> Option<u32> {
        let text = "kind: NetworkPolicy\nmetadata: {name: a}\nspec:\n  podSelector: {}\n";
        let mut document = documents("p.yaml", text).remove(0);
        let origins = &mut document.origins;
        origins.document = Some(Origin::at("p.yaml", begin.0, begin.1));
        origins.values.extend(
            origins.fields.get("/spec").and_then(|spec| Some(("/spec".to_owned(), spec.line.zip(spec.column)?))),
        );
        origins.fields.insert("/spec".to_owned(), Origin::at("p.yaml", spec.0, spec.1));
        Site::new(&document).end_of_document()
    }

    #[test]
    fn a_new_document_is_never_put_into_the_middle_of_another_or_of_a_list() {
        assert_eq!(line_after((1, 1), (3, 1)), Some(4), "the control");
        assert_eq!(line_after((3, 1), (3, 1)), None, "`spec` is the first field: what follows would go to the new one");
        assert_eq!(line_after((1, 3), (3, 3)), None, "an item of a List, which others may follow");
    }

    #[test]
    fn a_new_document_has_the_style_of_what_is_in_block_style_and_no_deeper_steps() {
        let step = |text: &str| Style::of(&Site::new(&documents("p.yaml", text)[0]), Direction::Ingress).key_indent();
        assert_eq!(
            step("kind: NetworkPolicy\nmetadata: {name: a}\nspec:\n    podSelector: {}\n"),
            "    ",
            "the control"
        );
        assert_eq!(step("kind: NetworkPolicy\nmetadata: {name: a}\nspec: {podSelector: {}}\n"), "  ");
    }
}
