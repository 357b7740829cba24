//! A list of flows, piece by piece: it may be longer than memory is large.

use serde_json::json;

use super::flows::{Format, cell, endpoint_text, families_json, families_text, open_json, open_text};
use crate::engine::reach::Row;

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

/// One flow; `is_first` where no other was written before.
#[must_use]
pub fn row(format: Format, row: &Row<'_>, is_first: bool) -> String {
    let Row { source, destination, families, open } = row;
    if format == Format::Json {
        let mut flow = json!({"source": source, "destination": destination, "ports": open_json(open)});
        if let (Some(family), Some(fields)) = (families_json(*families), flow.as_object_mut()) {
            fields.insert("family".to_owned(), family.into());
        }
        return format!("{}\n{flow}", if is_first { "" } else { "," });
    }
    let family = families_text(*families);
    let [from, to] = [source, destination].map(|endpoint| endpoint_text(endpoint));
    let ports = open_text(open);
    match format {
        Format::Markdown => format!("| {} | {} | {ports}{family} |\n", cell(&from), cell(&to)),
        _ => format!("{from} -> {to}: {ports}{family}\n"),
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
