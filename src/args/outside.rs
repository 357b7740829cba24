//! The adapters, put together.

use std::{path::PathBuf, time::Duration};

use super::{Failure, Global};
use crate::{
    cluster::{LiveCluster, SystemResolver},
    config::{Config, NamespaceSet, Probe},
    flux::{FluxOptions, FluxSource},
    matrix::{MatrixNotifier, MatrixOptions, TokenSource},
    probe::{Ephemeral, ExecProber, Limits, PodProber, Wave},
    state::{ConfigMapStore, LeaseLock, Places, SystemClock},
    verify::seams::{Outside, OwnJob, Wire},
};

/// The state ConfigMap's name.
pub const STATE: &str = "netpol-verify-state";

/// How long a connection to source-controller may take to open: a policy that drops packets is to be told within a
/// minute, with every further attempt.
const CONNECT: Duration = Duration::from_secs(5);

/// The real outside.
pub struct Adapters {
    source: FluxSource,
    cluster: LiveCluster,
    prober: PodProber,
    notifier: MatrixNotifier,
    store: ConfigMapStore,
    lock: LeaseLock,
    clock: SystemClock,
    resolver: SystemResolver,
    shards: Places,
}

/// What the environment says beside the configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct Environment {
    /// The kustomize program (5.8), by which the artifact is rendered.
    #[arg(long, value_name = "FILE", env = "KUSTOMIZE", default_value = "kustomize")]
    kustomize: PathBuf,
    /// `host:port` in place of the artifact URL's, as Flux's own clients have it. Without it a run outside the cluster
    /// reaches source-controller through a port-forward.
    #[arg(long, value_name = "HOST:PORT", env = "SOURCE_CONTROLLER_LOCALHOST")]
    source_controller: Option<String>,
    /// How long a message is tried again while the homeserver does not take it, in seconds.
    #[arg(long, value_name = "SECONDS", env = "NETPOL_VERIFY_MATRIX_SECONDS", default_value_t = 60, hide = true)]
    matrix_seconds: u64,
    /// How long the Lease stays locked when its holder is gone, in seconds.
    #[arg(long, value_name = "SECONDS", env = "NETPOL_VERIFY_LEASE_SECONDS", default_value_t = 30, hide = true)]
    lease_seconds: u64,
    /// How long one build of the renderer may take, in seconds.
    #[arg(long, value_name = "SECONDS", env = "NETPOL_VERIFY_RENDER_SECONDS", default_value_t = 60, hide = true)]
    render_seconds: u64,
}

impl Environment {
    fn flux(&self, config: &Config, global: &Global) -> FluxOptions {
        FluxOptions {
            localhost: self.source_controller.clone(),
            forward: !global.is_inside(),
            kustomize: self.kustomize.clone(),
            render_limit: Duration::from_secs(self.render_seconds),
            substitute_from: config.substitute_from.clone(),
            allowlist: config.allowlist.clone(),
            ..FluxOptions::default()
        }
    }
}

pub(super) fn limits(probe: &Probe) -> Limits {
    Limits {
        execs: probe.execs,
        execs_per_node: probe.execs_per_node,
        wave: Wave::new(probe.probes_per_pod),
        deadline: probe.deadline.get(),
    }
}

/// What adds containers to pods, where that is opted in.
fn ephemeral(client: &kube::Client, config: &Config) -> Result<Option<Ephemeral>, Failure> {
    let Some(image) = config.probe.image.as_deref().filter(|_| config.probe.ephemeral) else { return Ok(None) };
    let namespaces = NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces)
        .map_err(|error| Failure::usage(anyhow::anyhow!(error)))?;
    Ok(Some(Ephemeral::new(client.clone(), image, namespaces)))
}

fn prober(client: &kube::Client, config: &Config) -> Result<PodProber, Failure> {
    let exec = ExecProber::new(client.clone(), limits(&config.probe));
    Ok(PodProber::new(exec, config.probe.timeout.get()).with_ephemeral(ephemeral(client, config)?))
}

/// Where the pods of the own Job meet, where it is an Indexed one.
pub(super) fn places(client: &kube::Client, global: &Global, own: &OwnJob) -> Option<Places> {
    let (uid, count) = own.indexed.as_ref()?;
    Some(Places::new(client.clone(), &global.namespace, own.name.as_deref()?, uid, *count))
}

/// Packets and time.
pub(super) struct Hands {
    pub(super) prober: PodProber,
    pub(super) clock: SystemClock,
}

impl Hands {
    /// As configured; nothing is sent yet.
    pub(super) fn new(client: &kube::Client, config: &Config) -> Result<Self, Failure> {
        Ok(Self { prober: prober(client, config)?, clock: SystemClock::new() })
    }
}

impl Wire for Hands {
    type Prober = PodProber;
    type Clock = SystemClock;

    fn prober(&self) -> &PodProber {
        &self.prober
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }
}

impl Adapters {
    /// Connects them; nothing is sent yet.
    pub(super) fn new(
        client: &kube::Client,
        config: &Config,
        global: &Global,
        own: &OwnJob,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Failure::usage)?;
        let token = TokenSource::from_env().map_err(Failure::usage)?;
        let matrix = MatrixOptions {
            patience: Duration::from_secs(environment.matrix_seconds),
            ..MatrixOptions::new(&config.matrix.homeserver, &config.matrix.room, token)
        };
        let holder = own.name.clone().unwrap_or_else(|| "by-hand".to_owned());
        let lease = Duration::from_secs(environment.lease_seconds);
        Ok(Self {
            source: FluxSource::new(client.clone(), http, environment.flux(config, global)),
            cluster: LiveCluster::new(client.clone(), &global.namespace).with_job(own.name.clone()),
            prober: prober(client, config)?,
            shards: places(client, global, own).unwrap_or_else(|| Places::none(client.clone())),
            notifier: MatrixNotifier::new(matrix).map_err(Failure::usage)?,
            store: ConfigMapStore::new(client.clone(), &global.namespace, STATE),
            lock: LeaseLock::new(client.clone(), &global.namespace, LeaseLock::NAME, &holder, Some(lease))
                .map_err(Failure::not_told)?,
            clock: SystemClock::new(),
            resolver: SystemResolver,
        })
    }
}

impl Outside for Adapters {
    type Source = FluxSource;
    type Cluster = LiveCluster;
    type Prober = PodProber;
    type Notifier = MatrixNotifier;
    type Store = ConfigMapStore;
    type Lock = LeaseLock;
    type Clock = SystemClock;
    type Resolver = SystemResolver;
    type Shards = Places;

    fn source(&self) -> &FluxSource {
        &self.source
    }

    fn cluster(&self) -> &LiveCluster {
        &self.cluster
    }

    fn prober(&self) -> &PodProber {
        &self.prober
    }

    fn notifier(&self) -> &MatrixNotifier {
        &self.notifier
    }

    fn store(&self) -> &ConfigMapStore {
        &self.store
    }

    fn lock(&self) -> &LeaseLock {
        &self.lock
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn resolver(&self) -> &SystemResolver {
        &self.resolver
    }

    fn shards(&self) -> &Places {
        &self.shards
    }
}
