//! `netpol-verify watch`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, signal::unix};

use super::{Failure, Global, client};
use crate::{
    config::Config,
    flux::{FluxOptions, FluxSource},
    state::SystemClock,
    verify::seams::Clock as _,
    watch::{Board, Places, Signal, Watcher, follow, serve},
};

/// How often the configuration file is read again: a mounted ConfigMap changes under the program.
const REREAD: Duration = Duration::from_secs(10);

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WatchArgs {
    /// Configuration file; read again when it changes.
    #[arg(long, value_name = "FILE", env = "NETPOL_VERIFY_CONFIG", default_value = "/etc/netpol-verify/config.yaml")]
    config: PathBuf,
    /// The CronJob whose template the Jobs are made from.
    #[arg(long, value_name = "NAME", default_value = "netpol-verify")]
    cron_job: String,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The own pod, as it stands in the sign of life.
    #[arg(long, value_name = "NAME", env = "HOSTNAME", default_value = "by-hand", hide = true)]
    pod: String,
}

const EXAMPLES: &str = "Examples:
  netpol-verify watch --config config.yaml
  netpol-verify watch --config config.yaml --listen 127.0.0.1:8080 --log-format json

It needs the cluster (the pod's ServiceAccount, or a kubeconfig) and the CronJob of the verifier's namespace; the Jobs that it
makes do the rest. Its log is on standard error, its figures at /metrics.

Exit codes: 0 told to end (SIGTERM, Ctrl-C); 2 usage or bad configuration.";

/// Watches until it is told to end.
pub async fn watch(args: WatchArgs, global: &Global) -> Result<u8, Failure> {
    let WatchArgs { config: file, cron_job, listen, pod } = args;
    let mut config = Config::load(&file).map_err(Failure::usage)?;
    let client = client(global).await?;
    let http = reqwest::Client::builder().build().map_err(Failure::usage)?;
    let source = FluxSource::new(client.clone(), http, FluxOptions::default());
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|e| Failure::usage(anyhow::anyhow!("cannot listen on {listen}: {e}")))?;
    let mut told_to_end = unix::signal(unix::SignalKind::terminate()).map_err(Failure::usage)?;
    let board = Arc::new(Board::default());
    let server = tokio::spawn(serve(listener, Arc::clone(&board)));
    tracing::info!(%listen, cron_job, namespace = global.namespace, "watcher began");
    loop {
        let place = (global.namespace.as_str(), cron_job.as_str());
        let clock = SystemClock::new();
        let mut watcher = Watcher::new(client.clone(), source.clone(), clock, &config, place, &pod, Arc::clone(&board));
        let signal = Signal::default();
        let places = Places { namespace: global.namespace.clone(), kustomizations: config.kustomizations.clone() };
        let _watches = follow(&client, &places, &signal, note(&board, clock));
        tokio::select! {
            () = watcher.watch(&signal) => {}
            new = changed(&file, &config) => {
                tracing::info!(file = %file.display(), "configuration was changed");
                config = new;
            }
            _ = told_to_end.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    server.abort();
    tracing::info!("watcher ended");
    Ok(0)
}

/// What the watches have to say.
fn note(board: &Arc<Board>, clock: SystemClock) -> impl Fn(Result<(), crate::watch::WatchError>) + Clone + use<> {
    let board = Arc::clone(board);
    move |event| match event {
        Ok(()) => board.moved(&clock.now()),
        Err(error) => {
            board.trouble();
            tracing::warn!(%error, "watch was cut");
        }
    }
}

/// Waits for another configuration that can be used; one that cannot is said once, and the old one stays in effect.
async fn changed(file: &Path, config: &Config) -> Config {
    let mut refused = String::new();
    loop {
        tokio::time::sleep(REREAD).await;
        match Config::load(file) {
            Ok(new) if new != *config => return new,
            Ok(_) => refused.clear(),
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::from(error));
                if text != refused {
                    tracing::error!(
                        error = text,
                        "configuration was changed to one that cannot be used: the old one stays"
                    );
                    refused = text;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WatchOn;

    #[tokio::test(start_paused = true)]
    async fn a_changed_configuration_takes_effect_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let text = "schema: netpol-verify/config/v1\nproductNamespaces: {names: [shop]}\n\
            matrix: {homeserver: https://matrix.example.org, room: \"!abc:example.org\"}\n";
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap();
        let next = changed(&file, &config);
        tokio::pin!(next);
        for same in [text, "watch: {on: merge}\n", "", text] {
            std::fs::write(&file, same).unwrap();
            assert!(tokio::time::timeout(REREAD * 3, &mut next).await.is_err(), "{same}");
        }
        std::fs::write(&file, format!("{text}watch: {{on: digest}}\n")).unwrap();
        let new = tokio::time::timeout(REREAD * 3, &mut next).await.unwrap();
        assert_eq!(new.watch.on, WatchOn::Digest);
    }
}
