//! The API server that the command line names.

use std::{error::Error, path::PathBuf, time::Duration};

use anyhow::anyhow;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{Failure, Global};

/// How long the API server may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client for the API server.
pub(super) async fn client(global: &Global) -> Result<Client, Failure> {
    Client::try_from(named(global).await?.config).map_err(Failure::usage)
}

/// What a command says that the cluster failed: where nobody is at the API server's address, that alone, with the names
/// by which it was found, since each request would say the same without them.
pub(super) async fn reached(global: &Global, failure: Failure) -> Failure {
    let Ok(Named { config, context: Some(context) }) = named(global).await else { return failure };
    let server = config.cluster_url.to_string();
    let Ok(client) = Client::try_from(config) else { return failure };
    match tokio::time::timeout(PATIENCE, client.apiserver_version()).await {
        Ok(Err(kube::Error::Service(error))) => Failure::not_told(anyhow!(
            "no connection to the API server {} of context {context}: {}: is it up, and is it the one that you mean \
             (--context, --kubeconfig)?",
            server.trim_end_matches('/'),
            innermost(&*error)
        )),
        _ => failure,
    }
}

/// The cause that has no other one.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Where the API server is, and the context that says so; none in a pod.
struct Named {
    config: Config,
    context: Option<String>,
}

async fn named(global: &Global) -> Result<Named, Failure> {
    let local = local(global).await;
    // A kubeconfig that lies in a pod by chance and is no use is none.
    match (local, global.is_inside()) {
        (Err(_), true) => Ok(Named { config: Config::incluster().map_err(Failure::usage)?, context: None }),
        (local, _) => local.map_err(Failure::usage),
    }
}

/// By a kubeconfig: the one that is given, else the one in its usual place.
async fn local(global: &Global) -> anyhow::Result<Named> {
    let usual = || std::env::home_dir().unwrap_or_default().join(".kube/config");
    let paths = global.kubeconfig.clone().unwrap_or_else(usual);
    if global.kubeconfig.is_none() && !paths.exists() {
        let lacks = format!("there is no {}", paths.display());
        return Err(anyhow!("no cluster is named: give --kubeconfig FILE, set KUBECONFIG, or run in a pod ({lacks})"));
    }
    let kubeconfig = kubeconfig(&paths)?;
    let paths = paths.display();
    let context = context(&kubeconfig, global.context.as_deref()).map_err(|what| anyhow!("{paths}: {what}"))?;
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    // kube's text has its cause in it.
    let config = config.map_err(|error| anyhow!("{paths}: context `{context}`: {error}"))?;
    Ok(Named { config, context: Some(context) })
}

/// A kubeconfig; the environment may name several files, of which those that are there count together, as kubectl has it.
fn kubeconfig(paths: &std::path::Path) -> anyhow::Result<Kubeconfig> {
    let all: Vec<PathBuf> = std::env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()).collect();
    let mut merged: Option<Kubeconfig> = None;
    for path in all.iter().filter(|path| all.len() == 1 || path.exists()) {
        let failed = |error: KubeconfigError| match error {
            KubeconfigError::ReadConfig(error, _) => {
                anyhow!("{}: the kubeconfig cannot be read: {error}", path.display())
            }
            other => anyhow!("{}: {other}", path.display()),
        };
        let one = Kubeconfig::read_from(path).map_err(failed)?;
        merged = Some(match merged {
            None => one,
            Some(merged) => merged.merge(one).map_err(failed)?,
        });
    }
    merged.ok_or_else(|| anyhow!("{}: none of these files is there", paths.display()))
}

/// The context that is asked for, else the current one; or which there are.
fn context(kubeconfig: &Kubeconfig, asked: Option<&str>) -> Result<String, String> {
    let names: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    let known = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
    let current = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    match asked.or(current) {
        Some(name) if names.contains(&name) => Ok(name.to_owned()),
        Some(name) => Err(format!("there is no context `{name}`: {known}")),
        None => Err(format!("no context is the current one: give --context NAME ({known})")),
    }
}
