//! `netpol-verify run`.

use std::path::PathBuf;

use super::{Adapters, Failure, Global, Output, client, outside::Environment};
use crate::{
    cluster::own_job,
    config::{Config, NamespaceSet},
    report::{MessageOptions, json, text},
    verify::run::{self, Settings},
};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "NETPOL_VERIFY_CONFIG", default_value = "/etc/netpol-verify/config.yaml")]
    config: PathBuf,
    /// Print the configuration in effect, and do nothing else.
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
    #[command(flatten)]
    environment: Environment,
}

/// Runs once.
pub async fn run(args: RunArgs, global: &Global) -> Result<u8, Failure> {
    let RunArgs { config, dry_run, job, revision, trigger, environment } = args;
    let config = Config::load(&config).map_err(Failure::usage)?;
    if dry_run {
        let text = serde_saphyr::to_string(&config).map_err(Failure::usage)?;
        print!("{text}");
        return Ok(0);
    }
    let namespaces = NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces);
    let namespaces = namespaces.map_err(|error| Failure::usage(anyhow::anyhow!(error)))?;
    let client = client(global).await?;
    let outside = Adapters::new(&client, &config, global, job.clone(), &environment)?;
    let own = own_job(&client, &global.namespace, job.as_deref(), revision.as_deref(), trigger.as_deref()).await;
    let settings = Settings { job: own.map_err(Failure::not_told)?, config, namespaces };
    let ended = run::run(&outside, &settings).await.map_err(|fault| Failure::not_told(anyhow::anyhow!(fault)))?;
    if let Some(report) = &ended.report {
        let options = MessageOptions { commit_url: settings.config.commit_url.clone(), ..MessageOptions::default() };
        match global.output {
            Output::Json => println!("{}", json::to_json(report)),
            Output::Text => println!("{}", text::to_text(report, &options)),
        }
    }
    tracing::info!(exit = ended.exit, note = ended.note, "run ended");
    Ok(ended.exit)
}
