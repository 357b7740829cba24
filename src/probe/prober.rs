//! The [`Prober`] of the use case: targets in, what was seen out.

use std::{net::IpAddr, time::Duration};

use super::{Candidate, ExecProber, Observation, Outcome, ProbePod, Target, ToolCache, target::InvalidTarget};
use crate::{
    model::Protocol,
    verify::seams::{ProbeSource, ProbeTarget, Prober, Seen},
};

/// Probes by exec, and remembers which containers have a tool.
pub struct PodProber {
    exec: ExecProber,
    cache: ToolCache,
    timeout: Duration,
}

impl PodProber {
    /// A prober whose tries may take `timeout` each.
    #[must_use]
    pub fn new(exec: ExecProber, timeout: Duration) -> Self {
        Self { exec, cache: ToolCache::default(), timeout }
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
        let mut answers = self.exec.probe(&self.cache, &pod, &asked).await.into_iter();
        valid
            .into_iter()
            .map(|target| match target {
                Ok(_) => seen(answers.next().unwrap_or_else(|| Observation::without_tool(Outcome::Cut, "no answer"))),
                Err(reason) => seen(Observation::without_tool(Outcome::NotProbed, &reason)),
            })
            .collect()
    }
}

fn seen(observation: Observation) -> Seen {
    Seen {
        outcome: observation.outcome,
        elapsed: observation.elapsed_ms.map(Duration::from_millis).unwrap_or_default(),
        text: observation.text,
        addresses: observation.addresses,
    }
}
