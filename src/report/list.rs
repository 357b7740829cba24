//! A list of flows, piece by piece: it may be longer than memory is large.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    flows::{Format, cell, endpoint_text, families_json, families_text, open_json, open_text},
    svg::{Arrow, Picture},
    words::count,
};
use crate::{engine::reach::Row, model::Endpoint};

/// The schema of the JSON form.
const SCHEMA: &str = "netpol-verify/list/v1";

/// What stands before the rows.
#[must_use]
pub fn head(format: Format) -> String {
    match format {
        Format::Text => String::new(),
        Format::Json => format!("{{\"schema\":\"{SCHEMA}\",\"flows\":["),
        Format::Markdown => "| Source | Destination | Ports |\n| --- | --- | --- |\n".to_owned(),
    }
}

/// What stands between rows of two printers.
#[must_use]
pub const fn between(format: Format) -> &'static str {
    match format {
        Format::Json => ",",
        Format::Text | Format::Markdown => "",
    }
}

/// What stands after the rows.
#[must_use]
pub fn tail(format: Format) -> &'static str {
    match format {
        Format::Json => "\n]}\n",
        Format::Text | Format::Markdown => "",
    }
}

/// Rows of one list as text, piece by piece. What they share is written once and kept.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    endpoints: Kept,
    opens: Kept,
}

impl Printer {
    /// Without any yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, endpoints: Kept::default(), opens: Kept::default() }
    }

    /// Appends a flow to `out`, which has nothing but such.
    pub fn row(&mut self, row: &Row<'_>, out: &mut String) {
        let Row { source, destination, families, open, numbers } = *row;
        let format = self.format;
        let endpoint = |endpoint: &Endpoint| match format {
            Format::Text => endpoint_text(endpoint),
            Format::Markdown => cell(&endpoint_text(endpoint)),
            Format::Json => json!(endpoint).to_string(),
        };
        self.endpoints.fill(numbers.source, || endpoint(source));
        self.endpoints.fill(numbers.destination, || endpoint(destination));
        let [from, to] = [numbers.source, numbers.destination].map(|number| self.endpoints.text(number));
        self.opens.fill(numbers.open, || match format {
            Format::Text | Format::Markdown => open_text(open),
            Format::Json => open_json(open).to_string(),
        });
        let (ports, family) = (self.opens.text(numbers.open), families_text(families));
        let separator = if out.is_empty() { "" } else { between(format) };
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.push_str(part));
        match format {
            Format::Text => put(&[from, " -> ", to, ": ", ports, family, "\n"]),
            Format::Markdown => put(&["| ", from, " | ", to, " | ", ports, family, " |\n"]),
            Format::Json => {
                put(&[separator, "\n{\"destination\":", to]);
                if let Some(family) = families_json(families) {
                    put(&[",\"family\":\"", family, "\""]);
                }
                put(&[",\"ports\":", ports, ",\"source\":", from, "}"]);
            }
        }
    }
}

/// Texts by number.
#[derive(Debug, Default)]
struct Kept(Vec<Option<Box<str>>>);

impl Kept {
    fn fill(&mut self, number: usize, make: impl FnOnce() -> String) {
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        if let Some(text @ None) = self.0.get_mut(number) {
            *text = Some(make().into_boxed_str());
        }
    }

    fn text(&self, number: usize) -> &str {
        self.0.get(number).and_then(Option::as_deref).unwrap_or_default()
    }
}

/// One flow, for a picture.
#[must_use]
pub fn arrow(row: &Row<'_>) -> Arrow {
    let ports = format!("{}{}", open_text(row.open), families_text(row.families));
    Arrow {
        source: row.source.clone(),
        destination: row.destination.clone(),
        kind: None,
        words: format!("{} -> {}: {ports}", endpoint_text(row.source), endpoint_text(row.destination)),
        ports,
    }
}

/// The list as a picture (SVG).
#[must_use]
pub fn picture(arrows: Vec<Arrow>) -> String {
    let ends: BTreeSet<&Endpoint> = arrows.iter().flat_map(|arrow| [&arrow.source, &arrow.destination]).collect();
    let namespaces: BTreeSet<&str> = ends.iter().filter_map(|end| end.namespace()).collect();
    let title = format!(
        "{} allowed between {} of {} and what is outside",
        count(arrows.len(), "flow"),
        count(ends.iter().filter(|end| end.namespace().is_some()).count(), "workload"),
        count(namespaces.len(), "namespace"),
    );
    let notes = if arrows.is_empty() { vec!["No flow is allowed.".to_owned()] } else { Vec::new() };
    Picture { title, arrows, notes, ..Picture::default() }.draw()
}
