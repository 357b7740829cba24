//! The verifier's report, read by its published schema `netpol-verify/report/v1`: what a script of somebody else sees.

use std::{collections::BTreeMap, fmt, io::Write as _, path::Path};

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::objects::text;

/// The schema's name.
pub const SCHEMA: &str = "netpol-verify/report/v1";

/// One run's report.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are documented by the schema; repeating it here would only drift")]
pub struct Report {
    pub schema: String,
    pub cluster: String,
    pub seq: u64,
    pub trigger: String,
    pub verdict: String,
    pub kustomizations: Vec<KustomizationReport>,
    pub drift: Vec<Drift>,
    pub flows: Vec<Flow>,
    pub findings: Vec<Finding>,
    pub not_probed: Vec<NotProbed>,
    pub denial: BTreeMap<String, String>,
    #[serde(default)]
    pub ephemeral_containers: u64,
    #[serde(default)]
    pub sweep: Option<Sweep>,
    pub started: String,
    pub finished: String,
}

/// What a sweep looked at.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Sweep {
    pub probes: usize,
    pub nodes: usize,
    pub pods: usize,
    pub left: usize,
}

/// One Kustomization.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct KustomizationReport {
    pub namespace: String,
    pub name: String,
    pub attempted: Option<String>,
    pub applied: Option<String>,
    pub digest: Option<String>,
    pub rendering: String,
    pub reason: Option<String>,
}

/// A place in Git.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Origin {
    pub file: String,
    pub line: Option<u32>,
    pub via: Option<String>,
}

/// A policy that differs.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Drift {
    pub class: String,
    pub policy: Value,
    pub declared: Option<Origin>,
    pub by: Option<String>,
    pub flows: u64,
    pub diff: String,
    pub severity: String,
}

/// A probed flow.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Flow {
    pub source: Value,
    pub source_pod: Option<Value>,
    pub destination: Value,
    pub target: Option<String>,
    pub protocol: String,
    pub port: u16,
    pub via: Option<String>,
    pub why: String,
    pub before: Option<String>,
    pub declared: String,
    pub live: String,
    pub observed: String,
    pub controls: Option<Controls>,
    pub result: String,
    pub state: Option<String>,
    pub converged_ms: Option<u64>,
    #[serde(default)]
    pub only_on: Vec<String>,
    pub evidence: Vec<String>,
    pub entries: Vec<Entry>,
    #[serde(default)]
    pub covers: u64,
    /// Not in the first version of the schema; "" where absent.
    #[serde(default)]
    pub note: Option<String>,
}

/// How a denial was controlled.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Controls {
    pub target: Option<String>,
    pub source: Option<String>,
    pub strength: String,
}

/// YAML to add.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Entry {
    pub side: String,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub entry: String,
}

/// What is neither flow nor drift.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct Finding {
    pub rule: String,
    pub severity: String,
    pub message: String,
    pub origin: Option<Origin>,
    pub since: Option<String>,
}

/// Flows that were not probed.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "documented by the schema")]
pub struct NotProbed {
    pub reason: String,
    pub flows: u64,
}

impl Report {
    /// This report, after making sure of its run's exit code and that its verdict is one that belongs to that code.
    ///
    /// # Errors
    /// Another exit code, or a verdict that belongs to another code: with the run's log.
    pub fn expect(&self, exit: Option<i64>, code: i64, log: &str) -> Result<&Self> {
        ensure!(exit == Some(code), "exit code {exit:?} instead of {code}\n{self}\n{log}");
        let verdicts: &[&str] = match code {
            0 => &["verified"],
            1 => &["finding"],
            // A message that could not be delivered makes any verdict but `nothing` exit 3.
            3 => &["inconclusive", "not-applied", "verified", "finding"],
            _ => &["nothing"],
        };
        ensure!(verdicts.contains(&self.verdict.as_str()), "exit code {code} with verdict `{}`", self.verdict);
        ensure!(self.schema == SCHEMA, "schema `{}`", self.schema);
        Ok(self)
    }

    /// The flows from workload `source` to workload `destination` (`namespace/name`) at a port.
    #[must_use]
    pub fn flows(&self, source: &str, destination: &str, port: u16) -> Vec<&Flow> {
        let wanted = |flow: &&Flow| flow.port == port && flow.source() == source && flow.destination() == destination;
        self.flows.iter().filter(wanted).collect()
    }

    /// The one such flow; otherwise a panic that shows what there is.
    ///
    /// # Panics
    /// There is none, or more than one.
    #[must_use]
    pub fn flow(&self, source: &str, destination: &str, port: u16) -> &Flow {
        let found = self.flows(source, destination, port);
        let [flow] = found.as_slice() else {
            unexpected(&format!("{} flows {source} → {destination}:{port} instead of one", found.len()), self);
        };
        flow
    }

    /// The findings of a rule.
    #[must_use]
    pub fn findings(&self, rule: &str) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.rule == rule).collect()
    }

    /// The drift of the policy `namespace/name`, if there is any.
    #[must_use]
    pub fn drift(&self, policy: &str) -> Option<&Drift> {
        self.drift.iter().find(|drift| named(&drift.policy) == policy)
    }
}

impl Report {
    /// What the same run says on every cluster: without times, addresses, pods and commits, which are never the same
    /// twice, and with `xx` for the scene's prefix.
    #[must_use]
    pub fn essence(&self, prefix: &str) -> String {
        let kustomizations = self.kustomizations.iter().map(|one| format!("rendering {}", one.rendering));
        let drift = self.drift.iter().map(|one| {
            let by = one.by.as_deref().and_then(|by| by.split_whitespace().next()).unwrap_or("-");
            format!("drift {} {} {} {by} {:?}", named(&one.policy), one.class, one.severity, one.declared)
        });
        let flows = self.flows.iter().map(|one| {
            let before = one.before.as_deref().unwrap_or("-");
            let verdicts = format!("{before} {} {} {}", one.declared, one.live, one.observed);
            let controls = one.controls.as_ref().map_or("-", |controls| controls.strength.as_str());
            let (state, entries) = (one.state.as_deref().unwrap_or("-"), &one.entries);
            let flow = format!("{} → {}:{}/{}", one.source(), one.destination(), one.port, one.protocol);
            format!("flow {flow} {}: {verdicts}: {} {state} {controls} {entries:?}", one.why, one.result)
        });
        let findings =
            self.findings.iter().map(|one| format!("finding {} {} {:?}", one.rule, one.severity, one.origin));
        let mut lines: Vec<String> = kustomizations.chain(drift).chain(flows).chain(findings).collect();
        lines.sort();
        let text = format!("{} {}\n{}\n", self.trigger, self.verdict, lines.join("\n"));
        text.replace(&format!("{prefix}-"), "xx-")
    }

    /// Where `E2E_REPORTS` names a folder: keeps the essence there, as the next report of the scenario that runs, so that
    /// the reports of two clusters can be compared with `diff -r`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, prefix: &str) -> Result<()> {
        let Some(folder) = std::env::var_os("E2E_REPORTS") else { return Ok(()) };
        let name = std::thread::current().name().unwrap_or_default().replace("::", ".");
        std::fs::create_dir_all(&folder)?;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(Path::new(&folder).join(name))?;
        Ok(file.write_all(format!("{}\n", self.essence(prefix)).as_bytes())?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "report {} ({}): {}", self.seq, self.trigger, self.verdict)?;
        self.kustomizations.iter().try_for_each(|one| writeln!(f, "  {one:?}"))?;
        self.drift.iter().try_for_each(|one| writeln!(f, "  {one:?}"))?;
        self.flows.iter().try_for_each(|one| writeln!(f, "  {one}"))?;
        self.findings.iter().try_for_each(|one| writeln!(f, "  {one:?}"))?;
        self.not_probed.iter().try_for_each(|one| writeln!(f, "  {one:?}"))
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, state) = (self.before.as_deref().unwrap_or("-"), self.state.as_deref().unwrap_or_default());
        write!(f, "{} → {}:{}/{} ", self.source(), self.destination(), self.port, self.protocol)?;
        write!(f, "{}: {before}, {}, {}, {}: ", self.why, self.declared, self.live, self.observed)?;
        write!(f, "{} {state} {}", self.result, self.note.as_deref().unwrap_or_default())?;
        self.controls.iter().try_for_each(|controls| write!(f, " {controls:?}"))?;
        self.entries.iter().try_for_each(|entry| write!(f, " {entry:?}"))
    }
}

impl Flow {
    /// The source as `namespace/name`, or its addresses or host name.
    #[must_use]
    pub fn source(&self) -> String {
        named(&self.source)
    }

    /// The destination as `namespace/name`, or its addresses or host name.
    #[must_use]
    pub fn destination(&self) -> String {
        named(&self.destination)
    }
}

/// An endpoint or a policy as `namespace/name`; without a namespace its name, or its addresses.
fn named(value: &Value) -> String {
    match (text(value, "/namespace"), text(value, "/name")) {
        ("", "") => value.pointer("/cidrs").map(Value::to_string).unwrap_or_default(),
        ("", name) => name.to_owned(),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

#[expect(clippy::panic, reason = "only tests call it, and a panic is how a test fails")]
fn unexpected(what: &str, report: &Report) -> ! {
    panic!("{what}\n{report}")
}
