//! What each row was in each run, and whether that is right.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use anyhow::{Result, ensure};
use e2e::{Report, report::Flow};

use super::rows::{Other, ROWS, Row, Rule};

/// The configured expectations: what the page says of every namespace, looked at from one.
pub const EXPECTED: [Expected; 3] = [
    Expected { says: "kube-dns:53", key: "plana-odoo-acme -> 10.96.0.10:53/UDP", met: "", is_of_names: true },
    Expected { says: "kube-apiserver", key: "plana-odoo-acme -> kubernetes.default:443", met: "", is_of_names: false },
    // Who closes it, nobody can tell: that is said each time.
    Expected {
        says: "metadata service",
        key: "plana-odoo-acme -> 169.254.169.254:80",
        met: "info",
        is_of_names: false,
    },
];

/// An expectation.
pub struct Expected {
    says: &'static str,
    key: &'static str,
    /// The severity of what is said where it is met; "" where nothing is.
    met: &'static str,
    is_of_names: bool,
}

/// How the expectations must come out: each met, or with a finding of this severity that says this.
pub type Outcomes = [Option<(&'static str, &'static str)>; 3];

/// All met.
pub const MET: Outcomes = [None, None, None];

/// A state in which each row is seen: a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    AsOnThePage,
    EgressGone,
    IngressForgotten,
    EgressForgotten,
    AsBefore,
}

impl State {
    const ALL: [Self; 5] =
        [Self::AsOnThePage, Self::EgressGone, Self::IngressForgotten, Self::EgressForgotten, Self::AsBefore];

    const fn head(self) -> &'static str {
        match self {
            Self::AsOnThePage => "as on the page",
            Self::EgressGone => "egress gone",
            Self::IngressForgotten => "ingress forgotten",
            Self::EgressForgotten => "egress forgotten",
            Self::AsBefore => "as before",
        }
    }
}

/// In which state the rows are in a run; `None`: nothing touched them.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Those of the cluster's DNS: all other names hang on them, so that their turn comes later.
    pub names: Option<State>,
    /// All others.
    pub others: Option<State>,
}

impl Now {
    fn of(self, row: &Row) -> Option<State> {
        if row.is_of_names() { self.names } else { self.others }
    }
}

/// What each row was, in each state.
#[derive(Default)]
pub struct Table {
    cells: BTreeMap<(usize, State), String>,
}

impl Table {
    /// Notes what a report says of each row, which `is_right` judges by the row's state, and of the expectations.
    pub fn note(
        &mut self,
        now: Now,
        report: &Report,
        is_right: impl Fn(State, &Row, Option<&Flow>) -> bool,
        outcomes: Outcomes,
    ) -> Result<()> {
        let mut wrong = String::new();
        for (index, row) in ROWS.iter().enumerate() {
            let flow = flow_of(report, row);
            let cell = told(report, row, flow);
            if !now.of(row).map_or_else(|| flow.is_none(), |state| is_right(state, row, flow)) {
                writeln!(wrong, "{}: {} ({}): {cell}", row.table, row.says, way(row))?;
            }
            self.cells.extend(now.of(row).map(|state| ((index, state), cell)));
        }
        for (index, (expected, outcome)) in EXPECTED.iter().zip(outcomes).enumerate() {
            let (severity, message) = said(report, expected);
            let (wanted, words) = outcome.unwrap_or((expected.met, ""));
            if severity != wanted || !message.contains(words) {
                writeln!(wrong, "expectation {}: {severity} {message}", expected.key)?;
            }
            let state = if expected.is_of_names { now.names } else { now.others };
            self.cells.extend(state.map(|state| ((ROWS.len() + index, state), met(severity).to_owned())));
        }
        ensure!(wrong.is_empty(), "{now:?}: not as expected:\n{wrong}\n{self}\n{report}");
        Ok(())
    }
}

/// How an expectation came out, by the severity of what is said of it.
fn met(severity: &str) -> &'static str {
    match severity {
        "" => "as expected",
        "info" => "closed, as expected",
        "warning" => "not told: nobody may ask for names",
        _ => "finding",
    }
}

/// The flow of a row; several are a mistake, of which the first one is as good as any.
fn flow_of<'r>(report: &'r Report, row: &Row) -> Option<&'r Flow> {
    let flows = report.flows(row.source, row.destination, row.port);
    flows.into_iter().find(|flow| flow.protocol == row.protocol)
}

/// The flow that a rule for many stands or falls with: what is told of it is told of all that it covers.
pub fn covering<'r>(report: &'r Report, row: &Row) -> Option<&'r Flow> {
    let is_same = |flow: &&Flow| {
        (flow.destination().as_str(), flow.port, flow.protocol.as_str()) == (row.destination, row.port, row.protocol)
    };
    report.flows.iter().filter(is_same).find(|flow| flow.covers > 0)
}

/// A rule for several tenants of which it works for one is no mistake: the report notes what the other side denies.
pub fn is_noted(report: &Report, rule: Rule, direction: &str) -> bool {
    let name = format!("NetworkPolicy/{}/{} {direction}[{}] opens", rule.0, rule.1, rule.2);
    report.findings("missing-entry").iter().any(|finding| finding.message.starts_with(&name))
}

fn told(report: &Report, row: &Row, flow: Option<&Flow>) -> String {
    let Some(seen) = flow.or_else(|| covering(report, row)) else {
        let is_noted = is_noted(report, row.egress, "egress");
        return if is_noted { "noted of its rule" } else { "untouched" }.to_owned();
    };
    let added = if seen.via.as_deref() == Some("ephemeral") { " from an added container" } else { "" };
    let with = if flow.is_none() { format!(" with {}", seen.source()) } else { String::new() };
    format!("{}{added}, {}{with}", seen.observed, seen.result)
}

fn way(row: &Row) -> String {
    format!("{} → {}:{}/{}", row.source, row.destination, row.port, row.protocol)
}

/// What a report says of an expectation: severity and message, or nothing.
fn said<'r>(report: &'r Report, expected: &Expected) -> (&'r str, &'r str) {
    let of = ["expectation", "not-readable"].into_iter().flat_map(|rule| report.findings(rule));
    let mut of = of.filter(|finding| finding.message.contains(expected.key));
    of.next().map_or(("", ""), |finding| (finding.severity.as_str(), finding.message.as_str()))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| table | row | flow | the other side | {} |", State::ALL.map(State::head).join(" | "))?;
        writeln!(f, "|---|---|---|---|{}", "---|".repeat(State::ALL.len()))?;
        let cells = |index: usize| {
            let cell = |state| self.cells.get(&(index, state)).map_or("", String::as_str);
            State::ALL.map(cell).join(" | ")
        };
        for (index, row) in ROWS.iter().enumerate() {
            let (way, other) = (way(row), row.other_side());
            writeln!(f, "| {} | {} | {way} | {other} | {} |", row.table, row.says, cells(index))?;
        }
        for (index, expected) in EXPECTED.iter().enumerate() {
            let cells = cells(ROWS.len() + index);
            writeln!(
                f,
                "| Implicit | {}, as configured | {} | whoever it is | {cells} |",
                expected.says, expected.key
            )?;
        }
        Ok(())
    }
}

fn is(flow: Option<&Flow>, row: (&str, &str, &str)) -> bool {
    flow.is_some_and(|flow| (flow.declared.as_str(), flow.observed.as_str(), flow.result.as_str()) == row)
}

pub fn is_open(flow: Option<&Flow>) -> bool {
    is(flow, ("allowed", "open", "verified"))
}

pub fn is_closed(flow: Option<&Flow>) -> bool {
    is(flow, ("denied", "timeout", "verified"))
}

/// As the page says: open, but for what is closed on purpose.
pub fn is_as_on_the_page(row: &Row, flow: Option<&Flow>) -> bool {
    if matches!(row.other, Other::Closed) { is_closed(flow) } else { is_open(flow) }
}

/// The other way round.
pub fn is_broken(row: &Row, flow: Option<&Flow>) -> bool {
    if matches!(row.other, Other::Closed) { is_open(flow) } else { is_closed(flow) }
}
