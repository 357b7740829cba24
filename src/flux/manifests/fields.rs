//! The fields of a mapping.

use foldhash::{HashMap, HashMapExt};

use super::{Node, Place};

/// Above so many fields they are found by hash: mappings of manifests are small, those of data need not be.
const FEW: usize = 16;

/// Fields in the file's order, with the place of each key.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    list: Vec<(String, (Place, Node))>,
    /// Places in `list`, where there are more than a few.
    places: Option<Box<HashMap<String, usize>>>,
}

impl Fields {
    /// Gives `key` a value; what it had before goes.
    pub fn insert(&mut self, key: String, value: (Place, Node)) -> Option<(Place, Node)> {
        if let Some(known) = self.get_mut(&key) {
            return Some(std::mem::replace(known, value));
        }
        if let Some(places) = &mut self.places {
            places.insert(key.clone(), self.list.len());
        }
        self.list.push((key, value));
        if self.places.is_none() && self.list.len() > FEW {
            let mut places = Box::new(HashMap::new());
            places.extend(self.list.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)));
            self.places = Some(places);
        }
        None
    }

    /// The value of a key, and the key's place.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&(Place, Node)> {
        self.list.get(self.at(key)?).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut (Place, Node)> {
        let at = self.at(key)?;
        self.list.get_mut(at).map(|(_, value)| value)
    }

    /// Whether there is no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &(Place, Node))> {
        self.list.iter().map(|(key, value)| (key, value))
    }

    fn at(&self, key: &str) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.list.iter().position(|(known, _)| known == key),
        }
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flux::manifests::Content;

    #[test]
    fn fields_are_found_and_keep_their_order_however_many_there_are() {
        let value = |number: usize| {
            let place = Place { line: u32::try_from(number).unwrap(), column: 1 };
            (place, Node { place, content: Content::Scalar(number.into()) })
        };
        let mut fields = Fields::default();
        for number in 0..3 * FEW {
            assert_eq!(fields.insert(format!("k{number}"), value(number)), None);
            for known in 0..=number {
                assert_eq!(fields.get(&format!("k{known}")), Some(&value(known)), "{known} of {number}");
            }
            assert_eq!(fields.get("k"), None);
            assert_eq!(fields.insert(format!("k{number}"), value(7)), Some(value(number)), "replaced");
            fields.insert(format!("k{number}"), value(number));
        }
        let keys: Vec<&String> = fields.iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            (0..3 * FEW).map(|number| format!("k{number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
}
