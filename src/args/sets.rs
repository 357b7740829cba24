//! Sets of files, and the live cluster, on the command line.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use super::{Failure, Global, NOT_TOLD, NOTHING, USAGE, client};
use crate::{
    cluster::LiveCluster,
    input::{self, Fault, Faults, InputSet, Options},
    model::TieRule,
    parallel,
    verify::seams::Cluster as _,
};

/// The name of the live cluster where a set is named.
pub(super) const LIVE: &str = "live";

/// What is told of a dump without Calico's kinds.
pub(super) const LACKS_CALICO: &str = "Calico connects these pods, and none of its policies is in the input: kubectl \
    leaves them out unless their kinds are named (globalnetworkpolicies.projectcalico.org and others: the README has the \
    list), and then what is said here may be wrong; --live finds them by itself";

/// Faults that are told one by one.
const SHOWN_FAULTS: usize = 50;

/// Characters of a fault that are told.
const SHOWN_CHARACTERS: usize = 1000;

/// Where policies, workloads and namespaces come from.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// A file, a folder (every *.yaml, *.yml and *.json below it, hidden ones left out), or `-` for standard input; more
    /// than once: all of them together. Several documents a file and List kinds are fine.
    #[arg(short, long = "file", value_name = "PATH", required_unless_present = "live", conflicts_with = "live")]
    files: Vec<PathBuf>,
    /// The live cluster, by the kubeconfig (--kubeconfig, --context) or in a pod by its ServiceAccount, in place of files.
    #[arg(long)]
    live: bool,
    /// Take pods, workloads, namespaces and Services from there in place of those among the policies: a file or folder,
    /// `-`, REV:PATH of the Git repository around the current folder, or `live`.
    #[arg(long, value_name = "PATH|live")]
    workloads: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

/// How files are read.
#[derive(Debug, Clone, clap::Args)]
pub struct Reading {
    /// Warn of unknown fields inside a NetworkPolicy, and of unknown peers inside an AdminNetworkPolicy and its like
    /// (whose rule then fails closed), instead of refusing them.
    #[arg(long)]
    lenient: bool,
    /// Calico's version, such as 3.28: it decides which of two policies of the same order comes first. Without it that of
    /// the ClusterInformation in the input counts, else the newest one's rule.
    #[arg(long, value_name = "VERSION", value_parser = calico_version)]
    calico_version: Option<TieRule>,
    /// The kustomize program (5.8), by which folders with a kustomization are rendered.
    #[arg(long, value_name = "FILE", env = "KUSTOMIZE", default_value = "kustomize")]
    kustomize: PathBuf,
}

impl SetArgs {
    /// The policies of these files, over the workloads of the live cluster `on`.
    pub(super) fn of_files(files: &[PathBuf], reading: &Reading, on: InputSet) -> Result<InputSet, Failure> {
        once(files)?;
        let texts = timed("read", || input::files::read(files, &reading.kustomize)).map_err(refused)?;
        Ok(reading.understand(&texts)?.over(on))
    }

    /// What was named.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The set, and the names of files that stand beside kustomizations: none where there is none.
    pub(super) async fn load_apart(&self, global: &Global) -> Result<(InputSet, BTreeSet<String>), Failure> {
        if self.live {
            return Ok((self.over(self.reading.live(global).await?, global).await?, BTreeSet::new()));
        }
        once(self.files.iter().map(|file| file.as_os_str()).chain(self.workloads.iter().map(OsStr::new)))?;
        let texts = timed("read", || input::files::read(&self.files, &self.reading.kustomize)).map_err(refused)?;
        let (rendered, plain): (Vec<_>, Vec<_>) = texts.iter().partition(|text| !text.made_of.is_empty());
        let plain = plain.into_iter().filter(|_| !rendered.is_empty()).map(|text| text.source.name.clone()).collect();
        let set = self.over(self.reading.understand(&texts)?, global).await?;
        if self.workloads.is_none() && set.lacks_calico {
            tracing::warn!("{LACKS_CALICO}");
        }
        Ok((set, plain))
    }

    /// The set.
    pub(super) async fn load(&self, global: &Global) -> Result<InputSet, Failure> {
        Ok(self.load_apart(global).await?.0)
    }

    /// The set over the workloads that were asked for.
    async fn over(&self, set: InputSet, global: &Global) -> Result<InputSet, Failure> {
        match self.workloads.as_deref() {
            None => Ok(set),
            Some(LIVE) if self.live => Ok(set),
            Some(from) => Ok(set.over(self.reading.load(from, global).await?)),
        }
    }
}

impl Reading {
    /// One set by its name.
    pub(super) async fn load(&self, name: &str, global: &Global) -> Result<InputSet, Failure> {
        if name == LIVE {
            return self.live(global).await;
        }
        self.understand(&self.texts(name)?)
    }

    /// Two sets of files by their names.
    pub(super) fn load_both(&self, before: &str, after: &str) -> Result<[InputSet; 2], Failure> {
        let (before, after) = parallel::both(|| self.texts(before), || self.texts(after));
        let (before, after) = (before?, after?);
        let parsed = timed("parse", || input::parse_all([&before, &after])).map_err(refused)?;
        let [was, is] = &parsed;
        let sets = timed("understand", || input::collect_both([was, is], self.options()));
        parallel::dropped(parsed);
        let [before, after] = sets.map(|set| set.map_err(refused).inspect(tell));
        Ok([before?, after?])
    }

    fn texts(&self, name: &str) -> Result<Vec<input::Text>, Failure> {
        timed("read", || input::files::read_set(name, &self.kustomize)).map_err(refused)
    }

    /// The live cluster.
    async fn live(&self, global: &Global) -> Result<InputSet, Failure> {
        self.live_of(&LiveCluster::new(client::client(global).await?, &global.namespace), global).await
    }

    /// A live cluster that is at hand.
    pub(super) async fn live_of(&self, cluster: &LiveCluster, global: &Global) -> Result<InputSet, Failure> {
        let snapshot = match cluster.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(fault) => return Err(client::reached(global, Failure::not_told(anyhow::anyhow!(fault))).await),
        };
        let set = InputSet::of_cluster(snapshot, self.options()).map_err(Failure::not_told)?;
        tell(&set);
        Ok(set)
    }

    const fn options(&self) -> Options {
        Options { lenient: self.lenient, ties: self.calico_version }
    }

    /// The set that texts make.
    pub(super) fn understand(&self, texts: &[input::Text]) -> Result<InputSet, Failure> {
        let parsed = timed("parse", || input::parse(texts)).map_err(refused)?;
        let set = timed("understand", || input::collect(&parsed, self.options()));
        parallel::dropped(parsed);
        set.map_err(refused).inspect(tell)
    }
}

fn tell(set: &InputSet) {
    for warning in &set.warnings {
        tracing::warn!("{warning}");
    }
}

/// The order of ties in a version.
fn calico_version(text: &str) -> Result<TieRule, String> {
    let mut parts = text.trim_start_matches('v').split(['.', '-']);
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
    if is_number(parts.next()) && is_number(parts.next()) {
        Ok(TieRule::of_version(text))
    } else {
        Err("it is no version, such as 3.28 or v3.31.4".to_owned())
    }
}

/// Tells all faults but the last, which ends the command.
fn refused(mut faults: Faults) -> Failure {
    let code = if faults.is_not_understood() { NOT_TOLD } else { USAGE };
    let last = if faults.0.len() > SHOWN_FAULTS {
        let rest = faults.0.len() - SHOWN_FAULTS;
        faults.0.truncate(SHOWN_FAULTS);
        Some(anyhow::anyhow!("{rest} more"))
    } else {
        faults.0.pop().map(|fault| anyhow::anyhow!(shown(fault)))
    };
    for fault in faults.0 {
        tracing::error!("{}", shown(fault));
    }
    Failure { code, error: last.unwrap_or_else(|| anyhow::anyhow!("the input cannot be used")) }
}

/// Does a part of a command's work, and logs how long that took.
pub(super) fn timed<T>(part: &'static str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    tracing::debug!(part, ms = start.elapsed().as_secs_f64() * 1e3, "took");
    result
}

/// A fault on one line of bounded length: it may repeat what is wrong, which may be anything.
fn shown(fault: Fault) -> String {
    let text = format!("{:#}", anyhow::Error::from(fault));
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    if characters.next().is_some() { format!("{shown} …") } else { shown }
}

/// Refuses a set in which there is nothing to look at.
pub(super) fn not_empty(set: &InputSet) -> Result<(), Failure> {
    let nothing = |what: &str| Err(Failure { code: NOTHING, error: anyhow::anyhow!("{what}") });
    if set.is_empty() {
        return nothing("the input has no policies and no workloads: is it the right folder?");
    }
    if !set.has_workloads() {
        return nothing(
            "the input has policies, but no pods or workloads that they could be about: give their manifests too",
        );
    }
    Ok(())
}

/// Refuses to read standard input twice: the second time it would be empty, in silence.
pub(super) fn once(names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<(), Failure> {
    if names.into_iter().filter(|name| name.as_ref() == "-").count() > 1 {
        return Err(Failure::usage(anyhow::anyhow!("standard input (`-`) can be read only once: give a file instead")));
    }
    Ok(())
}

/// Writes a result that is short enough to be a text.
pub(super) fn printed(text: impl AsRef<[u8]>) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_ref()).and_then(|()| out.flush()))
}

/// The end of a command whose output was written: a reader that has seen enough (`| head`) is no failure.
pub(super) fn written(result: io::Result<()>) -> Result<u8, Failure> {
    match result {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::not_told(anyhow::Error::from(error).context("the output cannot be written"))),
    }
}
