//! `netpol-verify probe`: one flow, now, by hand.

use std::{path::PathBuf, time::Duration};

use super::{
    Failure, Global, Output, client,
    outside::{Hands, limits},
    sets::{self, Reading, SetArgs},
};
use crate::{
    cluster::LiveCluster,
    config::{Config, NamespaceSet, Probe, Span},
    engine::{explain::Question, reach::Reach},
    input::InputSet,
    probe::{ExecProber, PodProber, target::SECONDS},
    report::probe as report,
    state::SystemClock,
    verify::{
        by_hand::{Hand, Looked, Trouble},
        probing::Patience,
        seams::Clock as _,
    },
};

/// How long an allowed flow may take to open, where nothing else is said: somebody waits for the answer.
const SETTLE: Span = Span::seconds(10);

/// Arguments of `probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ProbeArgs {
    /// The source, which is probed from: NS/NAME of a pod or workload, or NS/KIND/NAME (kubectl's kinds and short names).
    #[arg(value_name = "SRC")]
    source: String,
    /// The destination: the same, svc/NS/NAME, an IP address (a ClusterIP, too), or a host name, which the source pod
    /// resolves.
    #[arg(value_name = "DST")]
    destination: String,
    /// The port: 5432, 53/UDP, or the name that the destination declares, such as http.
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: String,
    /// How long one try may take, 2s to 30s. Without it the configuration's, or 2s.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Span>,
    /// How long the flow may take to become as the policies say. Without it the configuration's, or 10s.
    #[arg(long, value_name = "TIME")]
    settle: Option<Span>,
    /// The verifier's configuration: its limits and neverProbe hold, and controls start in its namespaces alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Manifests of policies, such as Git's: whether the live ones decide as they do, and what to add to them. A file, a
    /// folder, or `-`; more than once: all of them together.
    #[arg(short, long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

const EXAMPLES: &str = "Examples:
  netpol-verify probe shop/web-7d9f4-x2k shop/StatefulSet/db 5432
  netpol-verify probe shop/deploy/web svc/redis/redis 6379
  netpol-verify probe shop/deploy/web pg01.example.com 5432 --settle 30s
  netpol-verify probe shop/deploy/web 10.0.5.4 5432 -f infra/k8s

It lists the cluster of your kubeconfig (or, in a pod, its own), says what the live policies decide, and tries the flow
from inside the source pod with what is there: nc, or bash. What is allowed is tried until it is open; what is denied is tried
twice, and counts only with its controls: the same address answers somebody who may reach it, or the target itself, and
the source reaches something else meanwhile. It writes nothing: no pod, no state, no lease.

Your own rights decide: it lists what `list --live` lists, and needs get and create on pods/exec in the namespace of the source and in
those where controls start, which are all unless --config is given. Pods with the annotation netpol-verify/probe: disabled, and
those behind a mesh's proxy, are left alone.

Outputs (-o): text, json (docs/schemas/probe.json). A Service or a name may come to several flows.

Exit codes: 0 as the policies say, open or closed; 1 otherwise (also: the manifests of -f say otherwise); 2 usage, or an end
that does not exist; 3 could not be told; 4 nothing runs in the cluster.";

/// A time limit that a probe can have.
fn timeout(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    let (least, most) = SECONDS.into_inner();
    if (least.into()..=most.into()).contains(&span.get().as_secs()) {
        Ok(span)
    } else {
        Err(format!("it is not within {least}s and {most}s"))
    }
}

/// How a probe is made: as configured, or as the command line says.
struct Manner {
    probe: Probe,
    namespaces: Option<NamespaceSet>,
}

impl Manner {
    fn new(config: Option<PathBuf>, timeout: Option<Span>, settle: Option<Span>) -> Result<Self, Failure> {
        let config = config.map(|path| Config::load(&path).map_err(Failure::usage)).transpose()?;
        let set = |config: &Config| NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces);
        let namespaces = config.as_ref().map(set).transpose();
        let namespaces = namespaces.map_err(|error| Failure::usage(anyhow::anyhow!(error)))?;
        let mut probe = config.map_or_else(|| Probe { settle: SETTLE, ..Probe::default() }, |config| config.probe);
        probe.timeout = timeout.unwrap_or(probe.timeout);
        probe.settle = settle.unwrap_or(probe.settle);
        // What runs by itself leaves other people's hosts alone. Here a person has named the one that is meant.
        probe.probe_denied = true;
        Ok(Self { probe, namespaces })
    }

    fn patience(&self) -> Patience {
        let settle = self.probe.settle.get();
        Patience { settle, deadline: self.probe.deadline.get().max(settle + Duration::from_secs(60)) }
    }
}

/// Probes one flow.
pub async fn probe(args: ProbeArgs, global: &Global) -> Result<u8, Failure> {
    let ProbeArgs { source, destination, port, timeout, settle, config, files, reading } = args;
    let manner = Manner::new(config, timeout, settle)?;
    let client = client(global).await?;
    let cluster = LiveCluster::new(client.clone(), &global.namespace);
    let live = reading.live_of(&cluster, global).await?;
    sets::not_empty(&live)?;
    let given = if files.is_empty() { None } else { Some(SetArgs::of_files(&files, &reading, live.clone())?) };
    let exec = ExecProber::new(client, limits(&manner.probe));
    let hands = Hands { prober: PodProber::new(exec, manner.probe.timeout.get()), clock: SystemClock::new() };
    let started = hands.clock.now();
    let looked = look(&hands, &cluster, (&live, given.as_ref()), &manner, [&source, &destination, &port]).await?;
    let text = match global.output {
        Output::Json => {
            let times = (started.as_str(), hands.clock.now());
            report::to_json(&looked.shown, &looked.denial, (times.0, &times.1)).map_err(Failure::not_told)? + "\n"
        }
        _ => as_text(&looked),
    };
    sets::printed(&text).map(|_| looked.exit_code())
}

async fn look(
    hands: &Hands,
    cluster: &LiveCluster,
    (live, given): (&InputSet, Option<&InputSet>),
    manner: &Manner,
    [source, destination, port]: [&str; 3],
) -> Result<Looked, Failure> {
    let world = live.world(live, given);
    let reach = Reach::new(&world);
    let question = Question::new(&reach, &live.snapshot, &live.documents);
    let given = given.map(|given| (given, given.world(given, Some(live))));
    let given = given.as_ref().map(|(set, world)| (*set, Reach::new(world)));
    let declared = given.as_ref().map(|(set, reach)| (Question::new(reach, &set.snapshot, &set.documents), reach));
    let product = manner.namespaces.as_ref().map(|set| (set, set.product(&live.snapshot, &[])));
    let may = |name: &str| product.as_ref().is_none_or(|(set, all)| all.contains(name) || set.may_probe(name));
    let hand = Hand {
        wire: hands,
        cluster,
        snapshot: &live.snapshot,
        reach: &reach,
        live: &question,
        declared: declared.as_ref().map(|(question, reach)| (question, *reach)),
        probe_from: &may,
        limits: &manner.probe.limits(),
        patience: manner.patience(),
    };
    let from = if product.is_some() { "the namespaces of --config" } else { "any namespace" };
    tracing::info!(settle = %manner.probe.settle, "probing from {source}; controls may start in {from}");
    hand.look(source, destination, port).await.map_err(|trouble| match trouble {
        Trouble::Cluster(_) => Failure::not_told(trouble),
        Trouble::Unknown(_) | Trouble::TooMany(_) => Failure::usage(trouble),
    })
}

fn as_text(looked: &Looked) -> String {
    let shown: Vec<String> = looked.shown.iter().map(report::to_text).collect();
    let summary = report::summary(&looked.shown).map(|line| format!("\n{line}\n")).unwrap_or_default();
    shown.join("\n") + &summary
}
