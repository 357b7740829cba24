//! The [`Prober`] of the use case: targets in, what was seen out.

use std::{net::IpAddr, time::Duration};

use super::{
    Candidate, Ephemeral, EphemeralFault, ExecFault, ExecProber, Observation, Outcome, ProbePod, SourcePod, Target,
    ToolCache, exec::of_fault, target::InvalidTarget, waves::Answers,
};
use crate::{
    model::Protocol,
    verify::seams::{ProbeSource, ProbeTarget, Prober, Seen},
};

/// Probes by exec, and remembers which containers have a tool; in pods that have none, from one that it adds, where that
/// is opted in.
pub struct PodProber {
    exec: ExecProber,
    cache: ToolCache,
    timeout: Duration,
    ephemeral: Option<Ephemeral>,
}

impl PodProber {
    /// A prober whose tries may take `timeout` each.
    #[must_use]
    pub fn new(exec: ExecProber, timeout: Duration) -> Self {
        Self { exec, cache: ToolCache::default(), timeout, ephemeral: None }
    }

    /// The same, with containers that may be added.
    #[must_use]
    pub fn with_ephemeral(self, ephemeral: Option<Ephemeral>) -> Self {
        Self { ephemeral, ..self }
    }

    /// The answers, and whether they come from an added container.
    async fn ask(&self, pod: &ProbePod, targets: &[Target]) -> (Vec<Observation>, bool) {
        let Some(ephemeral) = &self.ephemeral else {
            return (self.exec.probe(&self.cache, pod, targets).await, false);
        };
        if ephemeral.known(pod).await.is_none() {
            let seen = self.exec.probe(&self.cache, pod, targets).await;
            if seen.iter().any(|observation| observation.outcome != Outcome::ToolMissing) || seen.is_empty() {
                return (seen, false);
            }
        }
        match self.ask_from_added(ephemeral, pod, targets).await {
            Ok(seen) => (seen, true),
            Err(fault) => (vec![Observation::without_tool(fault.outcome(), &fault.to_string()); targets.len()], false),
        }
    }

    async fn ask_from_added(
        &self,
        ephemeral: &Ephemeral,
        pod: &ProbePod,
        targets: &[Target],
    ) -> Result<Vec<Observation>, EphemeralFault> {
        let mut all = Answers::new(targets.len());
        for (places, chunk) in self.exec.execs(targets) {
            let mut source = source(pod, ephemeral.container(pod).await?);
            let mut answers = self.exec.exec(&source, &chunk).await;
            if let Err(ExecFault::NotRunning { .. }) = answers {
                // It ended since it was seen: the pod gets another one.
                ephemeral.forget(pod).await;
                source.container = ephemeral.container(pod).await?;
                answers = self.exec.exec(&source, &chunk).await;
            }
            all.put(&places, answers.unwrap_or_else(|fault| vec![of_fault(&fault); chunk.len()]));
        }
        Ok(all.all())
    }

    fn target(&self, target: &ProbeTarget) -> Result<Target, String> {
        let valid = match target {
            ProbeTarget::Connect { protocol: Protocol::Tcp, address, port } => self.tcp(*address, *port),
            ProbeTarget::Connect { protocol, .. } => {
                return Err(format!("{protocol}: silence cannot be told from a drop"));
            }
            ProbeTarget::Dns { server, port } => Target::dns(*server, *port, self.timeout),
            ProbeTarget::Resolve { name } => Target::name(name, self.timeout),
        };
        valid.map_err(|error| error.to_string())
    }

    fn tcp(&self, address: IpAddr, port: u16) -> Result<Target, InvalidTarget> {
        Target::tcp(address, port, self.timeout)
    }
}

impl Prober for PodProber {
    async fn probe(&self, source: &ProbeSource, targets: &[ProbeTarget]) -> Vec<Seen> {
        let pod = ProbePod {
            namespace: source.pod.namespace.clone(),
            name: source.pod.name.clone(),
            node: source.node.clone(),
            workload: source.workload.clone(),
            containers: source
                .containers
                .iter()
                .map(|c| Candidate { name: c.name.clone(), image: c.image.clone() })
                .collect(),
        };
        let valid: Vec<Result<Target, String>> = targets.iter().map(|t| self.target(t)).collect();
        let asked: Vec<Target> = valid.iter().filter_map(|t| t.as_ref().ok().cloned()).collect();
        let (answers, ephemeral) = self.ask(&pod, &asked).await;
        let mut answers = answers.into_iter();
        valid
            .into_iter()
            .map(|target| match target {
                Ok(_) => {
                    let none = || Observation::without_tool(Outcome::Cut, "no answer");
                    seen(answers.next().unwrap_or_else(none), ephemeral)
                }
                Err(reason) => seen(Observation::without_tool(Outcome::NotProbed, &reason), false),
            })
            .collect()
    }

    fn added(&self) -> usize {
        self.ephemeral.as_ref().map_or(0, Ephemeral::added)
    }
}

fn source(pod: &ProbePod, container: String) -> SourcePod {
    SourcePod { namespace: pod.namespace.clone(), name: pod.name.clone(), container, node: pod.node.clone() }
}

fn seen(observation: Observation, ephemeral: bool) -> Seen {
    Seen {
        outcome: observation.outcome,
        elapsed: observation.elapsed_ms.map(Duration::from_millis).unwrap_or_default(),
        text: observation.text,
        addresses: observation.addresses,
        ephemeral,
    }
}
