//! The allow-list of a namespace, as an operations page has it.

use serde_json::{Value, json};

use super::{clean::put, flows::cell};
use crate::{engine::table::Row, model::Direction};

/// The schema of the JSON form.
const SCHEMA: &str = "netpol-verify/table/v1";

/// A row with the reason that people gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The rule.
    pub row: &'a Row,
    /// What the peers are called, where the comment gives addresses a name.
    pub name: Option<String>,
    /// Why it is there.
    pub reason: Option<String>,
}

impl<'a> Line<'a> {
    /// A row with its comment. `pg01.example.org: PostgreSQL` above a rule for addresses names them.
    #[must_use]
    pub fn new(row: &'a Row, comment: Option<&str>) -> Self {
        let named = comment.filter(|_| row.is_outside).and_then(|text| text.split_once(": "));
        let is_host = |name: &str| name.contains('.') && !name.contains(char::is_whitespace);
        match named.filter(|(name, _)| is_host(name)) {
            Some((name, reason)) => Self { row, name: Some(name.to_owned()), reason: Some(reason.to_owned()) },
            None => Self { row, name: None, reason: comment.map(str::to_owned) },
        }
    }

    /// `pg01.example.org:5432 / :6432`.
    fn far(&self) -> String {
        let peers = self.name.clone().unwrap_or_else(|| self.row.peers.join(", "));
        match self.row.ports.as_slice() {
            [] => peers,
            [first, rest @ ..] => {
                let mut text = format!("{peers}:{first}");
                for port in rest {
                    put(&mut text, format_args!(" / :{port}"));
                }
                text
            }
        }
    }
}

/// The Markdown tables, egress first. A column names the pods where a rule is not about all of them.
#[must_use]
pub fn markdown(namespace: &str, lines: &[Line<'_>]) -> String {
    let mut text = format!("## {}\n", cell(namespace));
    for (direction, title) in [(Direction::Egress, "Egress destination"), (Direction::Ingress, "Ingress source")] {
        let of: Vec<&Line<'_>> = lines.iter().filter(|line| line.row.direction == direction).collect();
        if of.is_empty() {
            put(&mut text, format_args!("\nNo {}.\n", direction.word()));
            continue;
        }
        put(&mut text, format_args!("\n| {title} | Pods | Reason |\n| --- | --- | --- |\n"));
        for line in of {
            let pods = line.row.pods.clone().unwrap_or_else(|| "all".to_owned());
            let reason = line.reason.clone().unwrap_or_default();
            put(&mut text, format_args!("| {} | {} | {} |\n", cell(&line.far()), cell(&pods), cell(&reason)));
        }
    }
    text
}

/// The documented JSON.
#[must_use]
pub fn json(namespace: &str, lines: &[Line<'_>]) -> Value {
    let one = |line: &Line<'_>| {
        let row = line.row;
        json!({
            "direction": row.direction, "peers": row.peers, "name": line.name, "ports": row.ports, "pods": row.pods,
            "reason": line.reason, "policy": row.policy, "rule": format!("{}[{}]", row.direction.word(), row.index),
            "origin": row.origin,
        })
    };
    json!({"schema": SCHEMA, "namespace": namespace, "rows": lines.iter().map(one).collect::<Vec<_>>()})
}
