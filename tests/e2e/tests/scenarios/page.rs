//! Every row of the tables of the customer's operations page, and the flows that it calls implicit: seen as the page
//! says, and told rightly when it is broken, on either side. Prints the table.

mod rows;
mod table;
mod tree;

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use e2e::{DataPlane, Report, Scene, Setup, fixture::wait_until_ready, report::Flow, scenario};
use rows::{ENVOY, ISOLATES_NAMES, Other, REDIS, ROWS, Row, file};
use serde_json::{Value, json};
use table::{MET, Now, Outcomes, State, Table, covering, is_as_on_the_page, is_broken, is_noted, is_open};
use tree::{Cut, KubeDns, Tree};

const PROBE: &str = "registry.local/netpol-verify-probe:test";

/// The rules of some rows' own sides.
fn egress(of: impl Fn(&Row) -> bool) -> Vec<Cut> {
    ROWS.iter().filter(|row| of(row)).map(|row| (row.egress, "egress")).collect()
}

fn ingress() -> Vec<Cut> {
    ROWS.iter().filter_map(|row| Some((row.ingress()?, "ingress"))).collect()
}

/// The finding names the side that lacks its entry, and the file that it goes into.
fn lacks(flow: Option<&Flow>, side: &str, namespace: &str) -> bool {
    let Some(flow) = flow else { return false };
    let entry = flow.entries.first();
    flow.result == "missing-entry"
        && entry.is_some_and(|entry| entry.side == side && entry.file.as_deref() == Some(file(namespace).as_str()))
}

#[test]
fn every_row_of_the_page_is_probed_and_told_rightly_when_either_side_of_it_is_broken() -> Result<()> {
    let odoo = json!({"namespace": "plana-odoo-acme"});
    let setup = Setup {
        fixture: "plana",
        data_planes: &[DataPlane::Calico],
        alone: true,
        real_names: true,
        config: json!({
            // The hosts outside are the test's own.
            "probe": {"settle": "10s", "probeDenied": true, "ephemeral": true, "image": PROBE},
            "expectations": [
                // By its address: who cannot ask for names cannot ask for that of the DNS either.
                {"from": odoo, "to": "10.96.0.10:53/UDP", "is": "reachable"},
                {"from": odoo, "to": "kubernetes.default:443", "is": "reachable"},
                {"from": odoo, "to": "169.254.169.254:80", "is": "unreachable"},
            ],
        }),
        ..Setup::default()
    };
    scenario(setup, async |scene| {
        begin(scene).await?;
        let (tree, mut table) = (Tree::of(scene)?, Table::default());
        let run = scene.verifier.run_sweep().await?;
        let (report, now) = (run.expect(0)?, Now { names: Some(State::AsOnThePage), others: Some(State::AsOnThePage) });
        table.note(now, report, |state, row, flow| is_right(report, state, row, flow), MET)?;
        for step in steps() {
            step.play(scene, &tree, &mut table).await?;
        }
        // Past the test harness's capture: it is what this is for.
        writeln!(std::io::stderr(), "{table}")?;
        Ok(())
    })
    .context("the page")
}

/// Envoy as it is, a tool beside the tenants, and the first run, which adds the one container that Envoy needs.
async fn begin(scene: &Scene) -> Result<()> {
    scene.apply(tree::DISTROLESS_ENVOY).await?;
    scene.apply(tree::MATOMO).await?;
    tree::add_matomo(scene)?;
    let config = scene.verifier.config();
    let mut destinations = config.get("destinations").and_then(Value::as_array).context("some")?.clone();
    destinations.extend([
        json!({"name": "sos-ch-dk-2.exo.io", "ports": [443]}),
        // What the test cluster has in its place answers.
        json!({"name": "169.254.169.254", "ports": [80]}),
    ]);
    scene.verifier.configure(&json!({"destinations": destinations})).await?;
    let commit = scene.merge("Matomo may reach what it needs").await?;
    wait_until_ready(&scene.cluster.client, &["envoy-gateway-system".to_owned(), "matomo".to_owned()]).await?;
    let run = scene.verifier.run_for(&commit).await?;
    let report = run.expect(0)?;
    ensure!(report.ephemeral_containers == 1, "Envoy has no tool: {} added\n{report}", report.ephemeral_containers);
    Ok(())
}

/// What is right for a row in a state.
fn is_right(report: &Report, state: State, row: &Row, flow: Option<&Flow>) -> bool {
    match (state, row.other) {
        (State::AsOnThePage, _) | (State::IngressForgotten, Other::Host | Other::Closed) => {
            is_as_on_the_page(row, flow)
        }
        (State::EgressGone, _) => is_broken(row, flow),
        (State::IngressForgotten, Other::Names) => {
            lacks(flow.or_else(|| covering(report, row)), "ingress", ISOLATES_NAMES.0)
        }
        (State::IngressForgotten, Other::Entry(_)) if row.egress.0 == "crossplane-system" => {
            is_noted(report, row.egress, "egress")
        }
        (State::IngressForgotten, Other::Entry(rule)) => lacks(flow, "ingress", rule.0),
        // Nothing of them is touched.
        (State::EgressForgotten | State::AsBefore, Other::Host | Other::Closed) => flow.is_none(),
        (State::EgressForgotten, Other::Entry(rule)) if rule == REDIS => {
            // Found before, of the other side: it stays open until it is cured.
            is_noted(report, rule, "ingress") && lacks(flow, "egress", row.egress.0)
        }
        (State::EgressForgotten, Other::Names) => {
            let flow = flow.or_else(|| covering(report, row));
            let source = flow.map(Flow::source).unwrap_or_default();
            lacks(flow, "egress", source.split('/').next().unwrap_or_default())
        }
        (State::EgressForgotten, Other::Entry(_)) => lacks(flow, "egress", row.egress.0),
        (State::AsBefore, Other::Entry(_) | Other::Names) => is_open(flow),
    }
}

/// What a merge makes of the tree, and what is right then.
struct Step {
    message: &'static str,
    without: Vec<Cut>,
    kube_dns: KubeDns,
    now: Now,
    exit: i64,
    outcomes: Outcomes,
}

impl Step {
    async fn play(self, scene: &Scene, tree: &Tree<'_>, table: &mut Table) -> Result<()> {
        tree.write(&self.without)?;
        self.kube_dns.write(scene)?;
        let run = scene.merge_and_run(self.message).await?;
        let report = run.expect(self.exit)?;
        table.note(self.now, report, |state, row, flow| is_right(report, state, row, flow), self.outcomes)?;
        let of_envoy = report.flows.iter().filter(|flow| flow.source() == ENVOY && flow.observed != "not-probed");
        let vias: Vec<_> = of_envoy.map(|flow| flow.via.as_deref()).collect();
        ensure!(vias.iter().all(|via| *via == Some("ephemeral")), "Envoy has no tool: {vias:?}\n{report}");
        ensure!(report.ephemeral_containers == 0, "the one that was added is used again: {report}");
        Ok(())
    }
}

/// How a finding names the side that closes.
const EGRESS_CLOSED: &str = "its egress is isolated (NetworkPolicy/plana-odoo-acme/";
const INGRESS_CLOSED: &str = "the ingress at the other end is not (NetworkPolicy/kube-system/kube-dns)";
const CLOSED: Outcomes = [None, Some(("error", EGRESS_CLOSED)), Some(("error", "is open"))];
// Where nobody may ask for names, nobody can resolve the API server's either.
const MAY_NOT_ASK: Outcomes = [Some(("error", EGRESS_CLOSED)), Some(("warning", "open port 53 to it")), None];
const UNANSWERED: Outcomes =
    [Some(("error", INGRESS_CLOSED)), Some(("warning", "the ingress of the DNS pods is not")), None];

/// The tree as on the page, with an open finding, and all expectations met.
const fn step(message: &'static str, names: Option<State>, others: Option<State>) -> Step {
    Step { message, without: Vec::new(), kube_dns: KubeDns::Open, now: Now { names, others }, exit: 1, outcomes: MET }
}

fn steps() -> [Step; 6] {
    [
        Step {
            without: egress(|row| !row.is_of_names()),
            outcomes: CLOSED,
            ..step("Nobody may reach anything", None, Some(State::EgressGone))
        },
        Step { without: ingress(), ..step("The sources' side comes back alone", None, Some(State::IngressForgotten)) },
        Step {
            without: egress(|row| row.ingress().is_some() || row.is_of_names()),
            outcomes: MAY_NOT_ASK,
            ..step(
                "The targets' side in its place; no more names",
                Some(State::EgressGone),
                Some(State::EgressForgotten),
            )
        },
        Step {
            kube_dns: KubeDns::Forgotten,
            outcomes: UNANSWERED,
            ..step("Both; kube-dns answers others alone", Some(State::IngressForgotten), Some(State::AsBefore))
        },
        Step {
            without: egress(Row::is_of_names),
            kube_dns: KubeDns::LetIn,
            outcomes: MAY_NOT_ASK,
            ..step("It answers all, but they may not ask", Some(State::EgressForgotten), None)
        },
        Step { exit: 0, ..step("All is as the page says", Some(State::AsBefore), None) },
    ]
}
