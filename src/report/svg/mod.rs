//! Flows as a picture: one SVG file without scripts, styles or references.
//!
//! Each endpoint is a column and each set of flows a line of its own, as messages are in a sequence diagram: no line
//! lies upon another one, so that every arrow can be followed however many there are. Flows with the same ports share a
//! line where it tells exactly them (`lanes`).

mod draw;
mod lanes;
mod layout;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{clean, diff::Kind};
use crate::model::Endpoint;

/// Characters of a line of text.
const TEXT: usize = 4000;

/// A flow of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// Where it begins.
    pub source: Endpoint,
    /// Where it ends.
    pub destination: Endpoint,
    /// How it differs; `None` where nothing is compared.
    pub kind: Option<Kind>,
    /// What stands on its line: the ports.
    pub ports: String,
    /// The flow in words, as `-o text` has it: what is shown where somebody points at it.
    pub words: String,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    /// What stands above it.
    pub title: String,
    /// The flows.
    pub arrows: Vec<Arrow>,
    /// Endpoints that only one of two sets has.
    pub marks: BTreeMap<Endpoint, Kind>,
    /// Lines below it.
    pub notes: Vec<String>,
}

impl Picture {
    /// The SVG document, with a line break at its end. The same picture always gives the same text.
    #[must_use]
    pub fn draw(&self) -> String {
        let layout = layout::Layout::of(self);
        let lanes = lanes::lanes(&self.arrows, |endpoint| layout.column_of(endpoint));
        draw::document(self, &layout, &lanes)
    }
}

/// Text of the input as it may stand between tags and in attributes.
fn safe(text: &str) -> String {
    clean::escape(&clean::line(text, TEXT))
}
