//! Every row of the tables of the customer's operations page: seen open as the page says, and told rightly when it is broken,
//! on either side. Prints the table.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, Result, ensure};
use e2e::{DataPlane, Report, Scene, Setup, report::Flow, scenario};
use serde_json::{Value, json};

/// Where a side's rule is: the namespace's file, the policy, and the rule's position.
type Rule = (&'static str, &'static str, usize);

/// A row of the page.
struct Row {
    /// Its table.
    table: &'static str,
    /// What the page calls it.
    says: &'static str,
    source: &'static str,
    destination: &'static str,
    port: u16,
    egress: Rule,
    /// `None` for hosts outside the cluster, which have one side.
    ingress: Option<Rule>,
}

const fn row(
    (table, says): (&'static str, &'static str),
    (source, destination, port): (&'static str, &'static str, u16),
    egress: Rule,
    ingress: Option<Rule>,
) -> Row {
    Row { table, says, source, destination, port, egress, ingress }
}

const ODOO: &str = "plana-odoo-acme/odoo";
const API: &str = "pulse-account/api";
const AGENTS: &str = "ai-bos-agent/ai-agents";
const PG: &str = "pg01.planapulse.com";
const TENANTS: &str = "acme.planapulse.app";
const MODELS: &str = "api.anthropic.com";
const IN_ODOO: &str = "plana-odoo-acme";

/// The page's tables, in their order; of the tenants, which have the same, one.
const ROWS: [Row; 18] = [
    row(("Tenant Odoo", "pg01:5432"), (ODOO, PG, 5432), (IN_ODOO, "allow-egress", 0), None),
    row(("Tenant Odoo", "pg01:6432"), (ODOO, PG, 6432), (IN_ODOO, "allow-egress", 0), None),
    row(("Tenant Odoo", "redis.redis:6379"), (ODOO, "redis/redis", 6379), (IN_ODOO, "allow-egress", 1), REDIS),
    row(("Tenant Odoo", "nfs01:2049"), (ODOO, "nfs01.planapulse.com", 2049), (IN_ODOO, "allow-egress", 2), None),
    row(("Tenant Odoo", "auth:443"), (ODOO, "auth.planapulse.com", 443), (IN_ODOO, "allow-egress", 3), None),
    row(("Tenant Odoo", "internet:443"), (ODOO, MODELS, 443), (IN_ODOO, "allow-egress", 4), None),
    row(
        ("Tenant Odoo, ingress", "envoy-gateway-system"),
        ("envoy-gateway-system/envoy", ODOO, 8069),
        ("envoy-gateway-system", "envoy", 0),
        Some((IN_ODOO, "allow-ingress", 0)),
    ),
    row(
        ("Tenant Odoo, ingress", "crossplane-system"),
        ("crossplane-system/crossplane", ODOO, 8069),
        ("crossplane-system", "crossplane", 0),
        Some((IN_ODOO, "allow-ingress", 1)),
    ),
    row(("pulse-account", "pg01:5432"), (API, PG, 5432), ("pulse-account", "allow-egress", 0), None),
    row(("pulse-account", "redis.redis:6379"), (API, "redis/redis", 6379), ("pulse-account", "allow-egress", 1), REDIS),
    row(
        ("pulse-account", "pulse-banking:3200"),
        (API, "pulse-banking/pulse-banking", 3200),
        ("pulse-account", "allow-egress", 2),
        Some(("pulse-banking", "allow-ingress", 0)),
    ),
    row(
        ("pulse-account", "ai-agents.ai-bos-agent:8000"),
        (API, AGENTS, 8000),
        ("pulse-account", "allow-egress", 3),
        Some(("ai-bos-agent", "ai-agents", 0)),
    ),
    row(
        ("pulse-account", "pulse-events:3001"),
        (API, "pulse-events/pulse-events", 3001),
        ("pulse-account", "allow-egress", 4),
        Some(("pulse-events", "allow-ingress", 0)),
    ),
    row(("pulse-account", "*.planapulse.app:443"), (API, TENANTS, 443), ("pulse-account", "allow-egress", 5), None),
    row(("ai-bos-agent", "*.planapulse.app:443"), (AGENTS, TENANTS, 443), ("ai-bos-agent", "ai-agents", 0), None),
    row(
        ("ai-bos-agent", "pulse-data:8000"),
        (AGENTS, "pulse-data/pulse-data", 8000),
        ("ai-bos-agent", "ai-agents", 1),
        Some(("pulse-data", "allow-ingress", 0)),
    ),
    row(("ai-bos-agent", "api.anthropic.com:443"), (AGENTS, MODELS, 443), ("ai-bos-agent", "ai-agents", 2), None),
    row(("ai-bos-agent", "openrouter.ai:443"), (AGENTS, "openrouter.ai", 443), ("ai-bos-agent", "ai-agents", 2), None),
];

const REDIS: Option<Rule> = Some(("redis", "network-policy", 0));

/// A namespace's file in Git.
fn file(namespace: &str) -> String {
    format!("infra/k8s/{namespace}/network-policy.yaml")
}

/// A rule that is taken out: namespace, policy and position, and its direction.
type Cut<'a> = ((&'a str, &'a str, usize), &'a str);

/// The rules of the rows' sides towards other pods, or all.
fn egress(of_pods_alone: bool) -> Vec<Cut<'static>> {
    ROWS.iter().filter(|row| !of_pods_alone || row.ingress.is_some()).map(|row| (row.egress, "egress")).collect()
}

fn ingress() -> Vec<Cut<'static>> {
    ROWS.iter().filter_map(|row| Some((row.ingress?, "ingress"))).collect()
}

/// The files of Git as they were, and with some rules taken out.
struct Page<'s> {
    scene: &'s Scene,
    whole: BTreeMap<&'static str, String>,
}

impl<'s> Page<'s> {
    fn of(scene: &'s Scene) -> Result<Self> {
        let rules = ROWS.iter().flat_map(|row| [Some(row.egress), row.ingress]).flatten();
        let whole = rules.map(|(namespace, ..)| Ok((namespace, scene.git.read(&file(namespace))?)));
        Ok(Self { scene, whole: whole.collect::<Result<_>>()? })
    }

    /// Writes all files, without these rules of a direction.
    fn write(&self, without: &[Cut<'_>]) -> Result<()> {
        for (namespace, text) in &self.whole {
            let mut documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
            let mut changed = false;
            for document in &mut documents {
                for direction in ["egress", "ingress"] {
                    changed |= cut(namespace, document, direction, without);
                }
            }
            let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
            self.scene.git.write(&file(namespace), &if changed { texts.join("\n---\n") } else { text.clone() })?;
        }
        Ok(())
    }
}

/// Takes the named rules out of a policy.
fn cut(namespace: &str, policy: &mut Value, direction: &str, without: &[Cut<'_>]) -> bool {
    let name = policy.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_cut = |index: usize| without.contains(&((namespace, name.as_str(), index), direction));
    let Some(rules) = policy.pointer_mut(&format!("/spec/{direction}")).and_then(Value::as_array_mut) else {
        return false;
    };
    let before = rules.len();
    let mut index = 0;
    rules.retain(|_| {
        index += 1;
        !is_cut(index - 1)
    });
    rules.len() != before
}

/// What each row's flow was in each run.
struct Table {
    columns: Vec<(&'static str, Vec<String>)>,
}

impl Table {
    /// Notes what a report says of each row, which `is_right` judges.
    fn note(
        &mut self,
        column: &'static str,
        report: &Report,
        is_right: impl Fn(&Row, Option<&Flow>) -> bool,
    ) -> Result<()> {
        let mut cells = Vec::new();
        let mut wrong = String::new();
        for row in &ROWS {
            let flows = report.flows(row.source, row.destination, row.port);
            let flow = flows.first().copied();
            let cell =
                flow.map_or_else(|| "untouched".to_owned(), |flow| format!("{}, {}", flow.observed, flow.result));
            if !is_right(row, flow) {
                writeln!(
                    wrong,
                    "{}: {} ({} → {}:{}): {cell}",
                    row.table, row.says, row.source, row.destination, row.port
                )?;
            }
            cells.push(cell);
        }
        self.columns.push((column, cells));
        ensure!(wrong.is_empty(), "{column}: not as expected:\n{wrong}\n{self}\n{report}");
        Ok(())
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heads: Vec<&str> = self.columns.iter().map(|(head, _)| *head).collect();
        writeln!(f, "| table | row | flow | {} |", heads.join(" | "))?;
        writeln!(f, "|---|---|---|{}", "---|".repeat(heads.len()))?;
        for (index, row) in ROWS.iter().enumerate() {
            let cells: Vec<&str> =
                self.columns.iter().map(|(_, cells)| cells.get(index).map_or("", String::as_str)).collect();
            let flow = format!("{} → {}:{}", row.source, row.destination, row.port);
            writeln!(f, "| {} | {} | {flow} | {} |", row.table, row.says, cells.join(" | "))?;
        }
        Ok(())
    }
}

fn is(flow: Option<&Flow>, row: (&str, &str, &str)) -> bool {
    flow.is_some_and(|flow| (flow.declared.as_str(), flow.observed.as_str(), flow.result.as_str()) == row)
}

fn is_open(_: &Row, flow: Option<&Flow>) -> bool {
    is(flow, ("allowed", "open", "verified"))
}

fn is_closed(_: &Row, flow: Option<&Flow>) -> bool {
    is(flow, ("denied", "timeout", "verified"))
}

/// A rule for several tenants of which it works for one is no mistake: the report notes what the other side denies.
fn is_noted(report: &Report, rule: Rule, direction: &str) -> bool {
    let name = format!("NetworkPolicy/{}/{} {direction}[{}] opens", rule.0, rule.1, rule.2);
    report.findings("missing-entry").iter().any(|finding| finding.message.starts_with(&name))
}

/// The finding names the side that lacks its entry, and the file that it goes into.
fn lacks(flow: Option<&Flow>, side: &str, rule: Rule) -> bool {
    let Some(flow) = flow else { return false };
    let entry = flow.entries.first();
    flow.result == "missing-entry"
        && entry.is_some_and(|entry| entry.side == side && entry.file.as_deref() == Some(file(rule.0).as_str()))
}

#[test]
fn every_row_of_the_page_is_probed_and_told_rightly_when_either_side_of_it_is_broken() -> Result<()> {
    let setup = Setup {
        fixture: "plana",
        data_planes: &[DataPlane::Calico],
        alone: true,
        real_names: true,
        // The hosts outside are the test's own.
        config: json!({"probe": {"settle": "10s", "probeDenied": true}}),
        ..Setup::default()
    };
    scenario(setup, async |scene| {
        scene.first_run().await?;
        let (page, mut table) = (Page::of(scene)?, Table { columns: Vec::new() });
        table.note("as on the page", scene.verifier.run_sweep().await?.expect(0)?, is_open)?;
        page.write(&egress(false))?;
        let run = scene.merge_and_run("Nobody may reach anything").await?;
        table.note("egress gone", run.expect(0)?, is_closed)?;
        page.write(&ingress())?;
        let run = scene.merge_and_run("The sources' side comes back alone").await?;
        let report = run.expect(1)?;
        table.note("ingress forgotten", report, |row, flow| match row.ingress {
            None => is_open(row, flow),
            Some(_) if row.egress.0 == "crossplane-system" => is_noted(report, row.egress, "egress"),
            Some(rule) => lacks(flow, "ingress", rule),
        })?;
        page.write(&egress(true))?;
        let run = scene.merge_and_run("The targets' side in its place").await?;
        let report = run.expect(1)?;
        table.note("egress forgotten", report, |row, flow| match row.ingress {
            // Nothing of it was touched.
            None => flow.is_none(),
            Some(rule) if rule.0 == "redis" => is_noted(report, rule, "ingress"),
            Some(_) => lacks(flow, "egress", row.egress),
        })?;
        page.write(&[])?;
        let run = scene.merge_and_run("Both, as the page says").await?;
        table.note("as before", run.expect(0)?, |row, flow| match row.ingress {
            None => flow.is_none(),
            Some(_) => is_open(row, flow),
        })?;
        println!("{table}");
        Ok(())
    })
    .context("the page")
}
