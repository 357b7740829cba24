//! What the enforcers of both ends' nodes logged of blocked flows since their probing began.
//!
//! It explains a result and never makes one: whatever cannot be read is a remark.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::pin,
    time::Duration,
};

use futures::{
    StreamExt,
    future::{Either, select},
    stream,
};

use super::{
    findings::finding,
    seams::{Clock, Cluster, Outside},
    track::Track,
};
use crate::{
    engine::evidence::{Drops, Enforcers, MOST_LINES, Named, Wanted},
    model::{Finding, FindingRule, FlowReport, FlowResult, Outcome, PodInfo, PodRef, Severity, Snapshot},
};

/// Logs read in one look: beyond that a run would read more than it probes.
const MOST_LOGS: usize = 64;

/// Logs read at a time: each may be a megabyte.
const AT_ONCE: usize = 4;

/// For all logs of a look.
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds to each blocked flow what the enforcers say of it, and gives what could not be read.
///
/// Denied flows that were seen as declared get their lines from logs that are read for others, and cause no reading.
pub async fn attach<O: Outside>(
    outside: &O,
    enforcers: &Enforcers,
    snapshot: &Snapshot,
    since: &str,
    flows: &mut [(&Track, FlowReport)],
) -> Option<Finding> {
    let asking = flows.iter().filter(|(_, flow)| is_unexplained(flow));
    let nodes: BTreeSet<&String> = asking.flat_map(|(track, _)| track.nodes()).collect();
    let mut troubles = Troubles::default();
    let logs = logs(enforcers, snapshot, &nodes, &mut troubles);
    let mut left: BTreeSet<&str> = logs.iter().map(|(node, ..)| *node).collect();
    let reads = logs
        .iter()
        .map(|(node, pod, container)| async move { (*node, outside.cluster().log(pod, container, since).await) });
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    let mut over = pin!(outside.clock().sleep(PATIENCE));
    while !left.is_empty() {
        let Either::Left((next, _)) = select(reads.next(), over.as_mut()).await else { break };
        let Some((node, log)) = next else { break };
        left.remove(node);
        match log {
            Ok(log) => explain(snapshot, node, &Drops::read(&log), flows),
            Err(fault) => troubles.add(node, fault.to_string()),
        }
    }
    for node in left {
        troubles.add(node, format!("no answer within {} s", PATIENCE.as_secs()));
    }
    troubles.finding(enforcers)
}

/// The log to read for each node.
fn logs<'s>(
    enforcers: &Enforcers,
    snapshot: &'s Snapshot,
    nodes: &BTreeSet<&'s String>,
    troubles: &mut Troubles,
) -> Vec<(&'s str, &'s PodRef, &'s str)> {
    let mut logs = Vec::new();
    for node in nodes {
        let pod = enforcers.on(snapshot, node).next();
        let container = pod.and_then(|pod| pod.containers.iter().find(|container| container.running));
        match (pod, container) {
            (Some(_), Some(_)) if logs.len() == MOST_LOGS => {
                troubles.add(node, format!("no more than {MOST_LOGS} logs are read in one look"));
            }
            (Some(pod), Some(container)) => logs.push((node.as_str(), &pod.id, container.name.as_str())),
            _ => troubles.add(node, "no pod of that namespace and selector runs there".to_owned()),
        }
    }
    logs
}

/// Whether a reader has to find out what blocks it.
fn is_unexplained(flow: &FlowReport) -> bool {
    match flow.result {
        FlowResult::Enforcement | FlowResult::MissingEntry => is_blocked(flow),
        FlowResult::Inconclusive => flow.observed == Outcome::Timeout,
        FlowResult::Verified | FlowResult::Drift | FlowResult::Excess => false,
    }
}

const fn is_blocked(flow: &FlowReport) -> bool {
    matches!(flow.observed, Outcome::Timeout | Outcome::Refused | Outcome::Unreachable)
}

/// Adds what one node's log says.
fn explain(snapshot: &Snapshot, node: &str, drops: &Drops, flows: &mut [(&Track, FlowReport)]) {
    let pods: BTreeMap<&PodRef, &PodInfo> = snapshot.pods.iter().map(|pod| (&pod.id, pod)).collect();
    for (track, flow) in flows.iter_mut().filter(|(track, flow)| is_blocked(flow) && track.nodes().any(|n| n == node)) {
        // A flow over a Service reaches the enforcer with the address of the pod behind it.
        let target = named(&pods, track.planned.target_pod.as_ref(), Some(track.planned.address.ip));
        let source = named(&pods, Some(&track.planned.source), None);
        let wanted = Wanted { source, target, protocol: flow.protocol, port: flow.port };
        for line in drops.about(&wanted) {
            // The tool's own words may stand there, too.
            let known = flow.evidence.iter().filter(|known| **known != track.text).count();
            if known < MOST_LINES && !flow.evidence.contains(&line) {
                flow.evidence.push(line);
            }
        }
    }
}

fn named(pods: &BTreeMap<&PodRef, &PodInfo>, pod: Option<&PodRef>, address: Option<IpAddr>) -> Named {
    let of_pod = pod.and_then(|pod| pods.get(pod)).map(|pod| pod.ips.clone()).unwrap_or_default();
    Named { addresses: of_pod.into_iter().chain(address).collect(), pod: pod.cloned() }
}

/// Why there is nothing from which nodes.
#[derive(Default)]
struct Troubles(BTreeMap<String, BTreeSet<String>>);

impl Troubles {
    fn add(&mut self, node: &str, reason: String) {
        self.0.entry(reason).or_default().insert(node.to_owned());
    }

    /// One remark for all of it: what to do is the same on each node.
    fn finding(&self, enforcers: &Enforcers) -> Option<Finding> {
        let namespace = &enforcers.namespace;
        let parts = self.0.iter().map(|(reason, nodes)| match (nodes.first(), nodes.len()) {
            (Some(node), 1) => format!("{node}: {reason}"),
            (_, count) => format!("{count} nodes: {reason}"),
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() {
            return None;
        }
        let message =
            format!("what {namespace} logged of blocked flows could not be read (evidence): {}", parts.join("; "));
        tracing::warn!(reason = message, "evidence is missing");
        Some(finding(FindingRule::Evidence, namespace, Severity::Info, message))
    }
}
