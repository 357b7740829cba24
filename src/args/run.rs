//! `netpol-verify run`.

use std::path::PathBuf;

use super::{
    Adapters, Failure, Global, Output, client,
    outside::{Environment, Hands, places},
    sets,
};
use crate::{
    cluster::own_job,
    config::{Config, NamespaceSet},
    model::Verdict,
    report::{MessageOptions, json, text},
    verify::{
        run::{self, Ended, Settings},
        seams::OwnJob,
        shards::work,
    },
};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "NETPOL_VERIFY_CONFIG", default_value = "/etc/netpol-verify/config.yaml")]
    config: PathBuf,
    /// Print the configuration in effect as YAML, and do nothing else.
    #[arg(long)]
    dry_run: bool,
    /// The own Job's name.
    #[arg(long, value_name = "NAME", env = "NETPOL_VERIFY_JOB")]
    job: Option<String>,
    /// The revisions that the watcher saw applied: `namespace/name@revision,…`.
    #[arg(long, value_name = "LIST", env = "NETPOL_VERIFY_REVISION")]
    revision: Option<String>,
    /// Why the run runs, where its starter knows: merge, schedule or manual.
    #[arg(long, value_name = "WHY", env = "NETPOL_VERIFY_TRIGGER")]
    trigger: Option<String>,
    /// After the run, look whether Flux applied something else meanwhile, and run again until it did not: for a Job
    /// that no watcher starts.
    #[arg(long)]
    follow: bool,
    /// Look at everything that Git declares, on every node, and not only at what changed; a rule for many workloads in
    /// turns, sweep by sweep. A scheduled run does so by itself as often as schedule.fullEvery says.
    #[arg(long, env = "NETPOL_VERIFY_SWEEP", num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    sweep: bool,
    /// The pod's index in an Indexed Job, whose pods share the probes of one run (job/sharded): the one with index 0
    /// makes the run, the others probe what it gives them.
    #[arg(long, value_name = "NUMBER", env = "JOB_COMPLETION_INDEX", default_value_t = 0)]
    index: usize,
    #[command(flatten)]
    environment: Environment,
}

const EXAMPLES: &str = "Examples:
  netpol-verify run --config config.yaml --dry-run
  MATRIX_TOKEN=... netpol-verify run --config config.yaml --context prod
  kubectl create job --from=cronjob/netpol-verify try-1 -n netpol-verify

It reads the cluster with the kubeconfig or the pod's ServiceAccount, probes flows from the pods of productNamespaces and
probeNamespaces, writes its state to the verifier's namespace, and tells the room of the configuration; the room's token is
in MATRIX_TOKEN, or in the file that MATRIX_TOKEN_FILE names. The README has every key of the configuration.

Outputs (-o): text, json: the report (docs/schemas/report.json).

Exit codes: 0 verified; 1 an open finding or drift; 2 usage or bad configuration; 3 not applied, something could not be told,
or a message is owed; 4 nothing to look at.";

/// How often a run is followed by another one in the same process: somebody who merges all the time is no reason to stay
/// for ever.
const FOLLOWED: usize = 10;

/// Runs once, or as often as Flux moves on.
pub async fn run(args: RunArgs, global: &Global) -> Result<u8, Failure> {
    let RunArgs { config, dry_run, job, revision, trigger, follow, sweep, index, environment } = args;
    let config = Config::load(&config).map_err(Failure::usage)?;
    if dry_run {
        let text = serde_saphyr::to_string(&config).map_err(Failure::usage)?;
        return sets::printed(&text);
    }
    let namespaces = NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces);
    let namespaces = namespaces.map_err(|error| Failure::usage(anyhow::anyhow!(error)))?;
    let client = client(global).await?;
    let own = own_job(&client, &global.namespace, job.as_deref(), revision.as_deref(), trigger.as_deref()).await;
    let own = own.map_err(Failure::not_told)?;
    if index > 0 {
        return share(&client, &config, global, &own, index).await;
    }
    let outside = Adapters::new(&client, &config, global, &own, &environment)?;
    let mut settings = Settings { job: own, config, namespaces, sweep };
    let not_told = |fault| Failure::not_told(anyhow::anyhow!("{fault}"));
    for _ in 0..FOLLOWED {
        let before = run::applied_now(&outside, &settings).await.map_err(not_told)?;
        let ended = run::run(&outside, &settings).await.map_err(not_told)?;
        print(&ended, &settings, global);
        if !follow || !run::has_moved_on(&outside, &settings, &before).await.map_err(not_told)? {
            return Ok(ended.exit);
        }
        tracing::info!("Flux has applied something else meanwhile: running again");
        settings.job = run::next(&outside, settings.job);
        settings.sweep = false;
    }
    Err(Failure::not_told(anyhow::anyhow!("Flux applied something else during each of {FOLLOWED} runs: run it again")))
}

/// Probes for the pod with index 0, until it has ended.
async fn share(
    client: &kube::Client,
    config: &Config,
    global: &Global,
    own: &OwnJob,
    index: usize,
) -> Result<u8, Failure> {
    let Some(places) = places(client, global, own).filter(|_| own.indexed.iter().any(|(_, count)| index < *count))
    else {
        let name = own.name.as_deref().unwrap_or("of this pod");
        return Err(Failure::not_told(anyhow::anyhow!(
            "index {index} is of an Indexed Job whose pods run at the same time, and Job {name} is none: nothing was done"
        )));
    };
    let hands = Hands::new(client, config)?;
    let done =
        work(&hands, &places.desk(index)).await.map_err(|fault| Failure::not_told(anyhow::anyhow!("{fault}")))?;
    tracing::info!(index, tasks = done, "the run has ended");
    Ok(Verdict::Verified.exit_code())
}

fn print(ended: &Ended, settings: &Settings, global: &Global) {
    if let Some(report) = &ended.report {
        let options = MessageOptions { commit_url: settings.config.commit_url.clone(), ..MessageOptions::default() };
        let text = match global.output {
            Output::Json => json::to_json(report),
            _ => text::to_text(report, &options),
        };
        // The verdict stands, and the room and the state have it.
        if let Err(failure) = sets::printed(format!("{text}\n")) {
            tracing::warn!("{:#}", failure.error);
        }
    }
    tracing::info!(exit = ended.exit, note = ended.note, "run ended");
}
