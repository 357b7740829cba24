//! A list of flows, piece by piece: it may be longer than memory is large.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    clean,
    flows::{Format, cell, endpoint_text, families_json, families_text, open_json, open_text},
    svg::{Arrow, Picture},
    words::{self, count},
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

/// The line for people in place of rows where there is none; with what was asked for: source, destination and port.
#[must_use]
pub fn nothing(asked: [Option<&str>; 3]) -> String {
    let each = [" from ", " to ", " on "].into_iter().zip(asked);
    let each = each.filter_map(|(word, asked)| Some(format!("{word}{}", clean::line(asked?, words::NAME))));
    format!("No flow is allowed{}.\n", each.collect::<String>())
}

/// Rows of one list as text, piece by piece. What they share is written once, with what stands around it, and kept.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    sources: Kept,
    destinations: Kept,
    opens: Kept,
}

impl Printer {
    /// Without any yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, sources: Kept::default(), destinations: Kept::default(), opens: Kept::default() }
    }

    /// Appends a flow to `out`, which has nothing but such.
    pub fn row(&mut self, row: &Row<'_>, out: &mut String) {
        let Row { source, destination, families, open, numbers } = *row;
        let format = self.format;
        let from = self.sources.text(numbers.source, || match format {
            Format::Text => endpoint_text(source) + " -> ",
            Format::Markdown => format!("| {} | ", cell(&endpoint_text(source))),
            Format::Json => format!(",\"source\":{}}}", json!(source)),
        });
        let to = self.destinations.text(numbers.destination, || match format {
            Format::Text => endpoint_text(destination) + ": ",
            Format::Markdown => cell(&endpoint_text(destination)) + " | ",
            Format::Json => format!("\n{{\"destination\":{}", json!(destination)),
        });
        let ports = self.opens.text(numbers.open, || match format {
            Format::Text | Format::Markdown => open_text(open),
            Format::Json => format!(",\"ports\":{}", open_json(open)),
        });
        match format {
            Format::Text => out.extend([from, to, ports, families_text(families), "\n"]),
            Format::Markdown => out.extend([from, to, ports, families_text(families), " |\n"]),
            Format::Json => {
                let separator = if out.is_empty() { "" } else { between(format) };
                out.extend([separator, to]);
                if let Some(family) = families_json(families) {
                    out.extend([",\"family\":\"", family, "\""]);
                }
                out.extend([ports, from]);
            }
        }
    }
}

/// Texts by number.
#[derive(Debug, Default)]
struct Kept(Vec<Option<Box<str>>>);

impl Kept {
    fn text(&mut self, number: usize, make: impl FnOnce() -> String) -> &str {
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        self.0.get_mut(number).map(|text| &**text.get_or_insert_with(|| make().into_boxed_str())).unwrap_or_default()
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
