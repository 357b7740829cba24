//! Fields of a document, by name, with the place of each for its errors.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::{Reader, Unreadable};
use crate::model::CalicoSelector;

/// A result of reading.
pub(super) type Read<T> = Result<T, Box<Unreadable>>;

/// An object of a document.
pub(super) struct Fields<'d> {
    reader: &'d Reader<'d>,
    map: Option<&'d Map<String, Value>>,
    /// Its JSON pointer.
    pub(super) at: String,
}

impl<'d> Fields<'d> {
    /// The object under a pointer; without any field where it is absent or null.
    pub(super) fn of(reader: &'d Reader<'d>, value: Option<&'d Value>, at: String) -> Read<Self> {
        let map = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(map),
            Some(_) => return Err(reader.fault(&at, format!("`{}` is no object", last(&at)))),
        };
        Ok(Self { reader, map, at })
    }

    /// Whether it stands in the document.
    pub(super) fn is_there(&self) -> bool {
        self.map.is_some()
    }

    /// An error at one of its fields.
    pub(super) fn fault(&self, key: &str, message: String) -> Box<Unreadable> {
        self.reader.fault(&self.pointer(key), message)
    }

    fn pointer(&self, key: &str) -> String {
        if key.is_empty() { self.at.clone() } else { format!("{}/{key}", self.at) }
    }

    /// Refuses fields that are not `known`: they could change the meaning of those that are.
    pub(super) fn only(self, known: &[&str]) -> Read<Self> {
        match self.map.and_then(|map| map.keys().find(|key| !known.contains(&key.as_str()))) {
            None => Ok(self),
            Some(key) => Err(self.fault(key, format!("the field `{key}` is not understood"))),
        }
    }

    /// The value of a field; null is absent.
    pub(super) fn value(&self, key: &str) -> Option<&'d Value> {
        self.map?.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn object(&self, key: &str) -> Read<Self> {
        Self::of(self.reader, self.value(key), self.pointer(key))
    }

    /// A text; an empty one is absent, as it is for Calico.
    pub(super) fn text(&self, key: &str) -> Read<Option<&'d str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.fault(key, format!("`{key}` is no text"))),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Read<bool> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.fault(key, format!("`{key}` is neither true nor false"))),
        }
    }

    pub(super) fn number(&self, key: &str) -> Read<Option<f64>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.fault(key, format!("`{key}` is no number"))),
        }
    }

    /// A whole number of one byte.
    pub(super) fn byte(&self, key: &str) -> Read<Option<u8>> {
        let byte = |value: &Value| value.as_u64().and_then(|number| u8::try_from(number).ok());
        match self.value(key) {
            None => Ok(None),
            Some(value) => {
                byte(value).map(Some).ok_or_else(|| self.fault(key, format!("`{key}` is not between 0 and 255")))
            }
        }
    }

    /// The items of a list, each with what it is called below this object.
    pub(super) fn list(&self, key: &str) -> Read<Vec<(String, &'d Value)>> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                Ok(items.iter().enumerate().map(|(index, item)| (format!("{key}/{index}"), item)).collect())
            }
            Some(_) => Err(self.fault(key, format!("`{key}` is no list"))),
        }
    }

    pub(super) fn objects(&self, key: &str) -> Read<Vec<Self>> {
        let one = |(name, item): (String, &'d Value)| Self::of(self.reader, Some(item), self.pointer(&name));
        self.list(key)?.into_iter().map(one).collect()
    }

    /// The items of a list of texts, each through `read`.
    pub(super) fn texts<T, E: Display>(&self, key: &str, read: impl Fn(&str) -> Result<T, E>) -> Read<Vec<T>> {
        let one = |(name, item): (String, &Value)| match item {
            Value::String(text) => read(text).map_err(|error| self.fault(&name, error.to_string())),
            _ => Err(self.fault(&name, format!("an item of `{key}` is no text"))),
        };
        self.list(key)?.into_iter().map(one).collect()
    }

    /// A selector; `None` where it is absent or empty.
    pub(super) fn selector(&self, key: &str) -> Read<Option<CalicoSelector>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let selector =
            CalicoSelector::parse(text).map_err(|error| self.fault(key, format!("`{key}` is no selector: {error}")))?;
        Ok(Some(selector))
    }
}

fn last(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or(pointer)
}
