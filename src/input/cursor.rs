//! Reading single fields of a document, so that each fault has its place.

use std::str::FromStr;

use serde_json::Value;

use crate::{
    flux::manifests::{Content, ManifestError, Node},
    model::{Labels, is_label_key},
};

/// Bytes of a name (Kubernetes API reference, object names).
const NAME_LIMIT: usize = 253;

/// A field of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// The file, as errors name it.
    pub file: &'a str,
    /// The value.
    pub node: &'a Node,
    /// The field's name; empty for a whole document.
    pub name: &'a str,
}

impl<'a> Cursor<'a> {
    /// A fault at this place.
    pub(super) fn fault(self, message: impl Into<String>) -> ManifestError {
        ManifestError { file: self.file.to_owned(), place: Some(self.node.place), message: message.into() }
    }

    fn expected(self, what: &str) -> ManifestError {
        self.fault(format!("`{}` must be {what}", self.name))
    }

    /// A field of a mapping; `None` where it is absent or null.
    pub(super) fn get(self, key: &'a str) -> Result<Option<Self>, ManifestError> {
        let Content::Mapping(fields) = &self.node.content else { return Err(self.expected("a mapping")) };
        let node = fields.get(key).map(|(_, node)| node).filter(|node| !node.is_null());
        Ok(node.map(|node| Cursor { file: self.file, node, name: key }))
    }

    /// A field below fields.
    pub(super) fn at(self, path: &[&'a str]) -> Result<Option<Self>, ManifestError> {
        let mut cursor = self;
        for key in path {
            match cursor.get(key)? {
                Some(next) => cursor = next,
                None => return Ok(None),
            }
        }
        Ok(Some(cursor))
    }

    /// Refuses names that no object has ("path segment names", Kubernetes' object names): they would be printed.
    pub(super) fn names(self) -> Result<(), ManifestError> {
        for key in ["name", "namespace", "generateName"] {
            let Some(name) = self.at(&["metadata", key])? else { continue };
            let text = name.text()?;
            if text.len() > NAME_LIMIT {
                return Err(name.fault(format!("`{key}` is longer than {NAME_LIMIT} characters")));
            }
            if text.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '%')) {
                return Err(name.fault(format!("`{key}` has characters that no name has")));
            }
        }
        Ok(())
    }

    /// The items of a list field; none where it is absent.
    pub(super) fn items(self, key: &'a str) -> Result<Vec<Self>, ManifestError> {
        let Some(list) = self.get(key)? else { return Ok(Vec::new()) };
        let Content::Sequence(items) = &list.node.content else { return Err(list.expected("a list")) };
        Ok(items.iter().map(|node| Cursor { file: self.file, node, name: key }).collect())
    }

    /// The text of this value.
    pub(super) fn text(self) -> Result<&'a str, ManifestError> {
        self.node.text().ok_or_else(|| self.expected("a text (quote it, if it looks like a number or a boolean)"))
    }

    /// The text of a field; `None` where it is absent or empty.
    pub(super) fn text_at(self, path: &[&'a str]) -> Result<Option<&'a str>, ManifestError> {
        Ok(self.at(path)?.map(Self::text).transpose()?.filter(|text| !text.is_empty()))
    }

    /// Whether a boolean field is set and true.
    pub(super) fn is_true(self, path: &[&'a str]) -> Result<bool, ManifestError> {
        match self.at(path)? {
            None => Ok(false),
            Some(field) => match &field.node.content {
                Content::Scalar(Value::Bool(value)) => Ok(*value),
                _ => Err(field.expected("true or false")),
            },
        }
    }

    /// The whole number of this value.
    pub(super) fn number(self) -> Result<i64, ManifestError> {
        match &self.node.content {
            Content::Scalar(Value::Number(number)) if number.is_i64() => Ok(number.as_i64().unwrap_or_default()),
            _ => Err(self.expected("a whole number")),
        }
    }

    /// The value of this text in another form.
    pub(super) fn parsed<T: FromStr>(self, what: &str) -> Result<T, ManifestError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.fault(format!("`{text}` is no {what}")))
    }

    /// Labels; empty where they are absent. `null` as a value is Go's zero value, the empty text.
    pub(super) fn labels(self, path: &[&'a str]) -> Result<Labels, ManifestError> {
        let Some(field) = self.at(path)? else { return Ok(Labels::new()) };
        let Content::Mapping(fields) = &field.node.content else { return Err(field.expected("a mapping")) };
        let label = |(key, (_, node)): (&'a String, &'a (_, Node))| {
            let value = Cursor { file: self.file, node, name: key };
            let text = if node.is_null() { "" } else { value.text()? };
            if !is_label_key(key) {
                return Err(value.fault(format!("`{key}` cannot be the key of a label: at most 63 letters, digits, `-`, `_` and `.`, and before them at most a domain and `/`")));
            }
            if is_label_value(text) {
                Ok((key.clone(), text.to_owned()))
            } else {
                Err(value.fault(format!("`{text}` cannot be the value of a label: at most 63 letters, digits, `-`, `_` and `.`, and a letter or digit at both ends")))
            }
        };
        fields.iter().map(label).collect()
    }
}

/// Kubernetes' form of a label's value: "must be 63 characters or less (can be empty), unless empty, must begin and
/// end with an alphanumeric character, could contain dashes, underscores, dots, and alphanumerics between".
pub(super) fn is_label_value(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
        && text.chars().next().is_none_or(plain)
        && text.chars().last().is_none_or(plain)
}
