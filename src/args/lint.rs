//! `netpol-verify lint`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
};

use super::{Failure, Global, NOTHING, Output, allowlist, places, sets};
use crate::{
    config::{Config, NamespaceSet},
    engine::lint::{self, Finding, Linted},
    input::InputSet,
    model::{PolicyDocument, Severity},
    report::lint as report,
};

/// Exit code where there is a finding of severity error.
const FINDING: u8 = 1;

/// Arguments of `lint`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LintArgs {
    #[command(flatten)]
    set: sets::SetArgs,
    /// The verifier's configuration: its product namespaces must hold the baseline. Without it, each namespace that has
    /// policies should (a warning).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The list of intended flows (docs/allowlist.md), which the policies are held against. Without it the one that the
    /// configuration names, from the current folder.
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  netpol-verify lint -f infra/k8s -f workloads
  netpol-verify lint -f . --config config.yaml -o sarif > lint.sarif
  netpol-verify lint -f infra/k8s -f workloads --allowlist infra/allowlist.yaml
  kubectl get ns,pods,deploy,rs,svc,networkpolicy -A -o yaml | netpol-verify lint -f -

What it finds:
  missing-entry      error    a rule opens one side of flows that the other side denies; with the entry to paste
  no-effect          error    a selector that matches nothing beside a label that almost does, or a namespace that is not
                              there; a rule of which another one denies everything before; a warning where pods may be to
                              come
  baseline           error    a product namespace without default-deny (a warning without --config)
  not-rendered       error    a policy beside kustomizations that none of them holds
  allowlist-missing  error    a flow that the list of intended flows has, and that is not open; with the entry to paste
  allowlist-excess   error    a rule that opens what the list does not intend
  allowlist-untold   warning  what the list names is not known here, so that it is not looked at
  shadowed           warning  a rule that another one of the same policy makes unnecessary
  ignored            warning  what the API takes and nothing obeys: a direction that policyTypes leaves out, a port's name
                              for addresses
  broad              warning  every port towards every address or namespace
  ambiguous-order    warning  policies of the same order that decide a flow otherwise: versions of Calico differ

A dump has Calico's policies only where kubectl is told their kinds, such as globalnetworkpolicies.projectcalico.org: the
README has them all. --live looks for every kind by itself.

Outputs (-o): text, json (docs/schemas/lint.json), sarif: with the entries to paste as fixes.

Exit codes: 0 no error; 1 at least one error; 2 usage or bad input; 3 a kind of policy is not understood, or the
cluster could not be read; 4 no policy.";

/// Prints what is wrong.
pub async fn lint(args: LintArgs, global: &Global) -> Result<u8, Failure> {
    let config = args.config.map(|path| Config::load(&path).map_err(Failure::usage)).transpose()?;
    let products = config.as_ref().map(product).transpose()?;
    let list = allowlist::load(args.allowlist, config.as_ref())?;
    let (set, plain) = args.set.load_apart(global).await?;
    if set.documents.is_empty() {
        return Err(Failure {
            code: NOTHING,
            error: anyhow::anyhow!("the input has no policies: is it the right folder?"),
        });
    }
    if !set.has_workloads() {
        tracing::warn!(
            "the input has no pods or workloads: what rules match is not looked at; give the manifests of both"
        );
    }
    let world = set.world(&set, None);
    let product = products.map(|products| products.product(&set.snapshot, &[]));
    let mut linted = lint::lint(&lint::Input {
        world: &world,
        documents: &set.documents,
        product: product.as_ref(),
        not_rendered: &outside(&set, &plain),
    });
    if let Some(list) = list {
        let names = allowlist::names(&list, config.as_ref()).await;
        linted.add(allowlist::compare(&list, &world, &set, &names));
    }
    let Linted { findings, untold } = linted;
    let text = match global.output {
        Output::Json => format!("{}\n", report::json(&findings)),
        Output::Sarif => sarif(&findings, &set.documents, args.set.files()).map_err(Failure::not_told)?,
        _ => report::text(&findings),
    };
    let code = if findings.iter().any(|finding| finding.severity == Severity::Error) { FINDING } else { 0 };
    if matches!(global.output, Output::Text) {
        summary(&findings, untold);
    }
    sets::written(io::stdout().lock().write_all(text.as_bytes())).map(|_| code)
}

fn summary(findings: &[Finding], untold: usize) {
    tracing::info!("{}", report::summary(findings));
    if untold > 0 {
        tracing::info!("{untold} rules are about pods that are not in the input: what they match is not looked at");
    }
}

/// SARIF, with files as the current folder has them: code hosts show findings beside those.
fn sarif(findings: &[Finding], documents: &[PolicyDocument], inputs: &[PathBuf]) -> serde_json::Result<String> {
    let shown = |file: &str| places::in_inputs(file, inputs).unwrap_or_else(|| file.to_owned());
    let mut findings = findings.to_vec();
    for finding in &mut findings {
        let fixed = finding.fix.iter_mut().filter_map(|fix| fix.file.as_mut());
        finding.origin.iter_mut().map(|origin| &mut origin.file).chain(fixed).for_each(|file| *file = shown(file));
    }
    let place = places::first(documents).map(shown).unwrap_or_default();
    let log = report::sarif(&findings, &place, env!("CARGO_PKG_VERSION"));
    Ok(format!("{}\n", serde_json::to_string_pretty(&log)?))
}

fn product(config: &Config) -> Result<NamespaceSet, Failure> {
    let namespaces = NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces);
    namespaces.map_err(|error| Failure::usage(anyhow::anyhow!(error)))
}

/// Policies in files that no kustomization is made of, where there is one.
fn outside(set: &InputSet, plain: &BTreeSet<String>) -> Vec<PolicyDocument> {
    let is_outside = |document: &&PolicyDocument| {
        document.origins.document.as_ref().is_some_and(|origin| plain.contains(&origin.file))
    };
    set.documents.iter().filter(is_outside).cloned().collect()
}
