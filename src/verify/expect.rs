//! Configured expectations (design §5): flows that must be as said, whatever the policies are.

use std::net::IpAddr;

use super::{
    compare::Comparison,
    findings, probing,
    seams::{Outside, ProbeTarget, Prober, Resolver},
};
use crate::{
    config::{Config, Expectation, Expected},
    model::{Finding, FindingRule, Outcome, PodInfo, Protocol, Severity, Snapshot, State},
};

/// Looks at each expectation; one that is met gives nothing, except that what is closed is said to be closed by nobody
/// knows whom: no policy is verified by it.
pub async fn look<O: Outside>(
    outside: &O,
    config: &Config,
    snapshot: &Snapshot,
    comparison: &Comparison,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for expectation in &config.expectations {
        let key = format!("{} -> {}", expectation.from.namespace, expectation.to);
        found.extend(one(outside, expectation, &key, snapshot, comparison).await);
    }
    found
}

/// Whether one was not met, or could not be looked at, in an earlier run: it stays open until it was looked at.
#[must_use]
pub fn is_open(state: &State) -> bool {
    let prefix = format!("{}/", FindingRule::Expectation.word());
    state.findings.keys().any(|key| key.starts_with(&prefix))
}

async fn one<O: Outside>(
    outside: &O,
    expectation: &Expectation,
    key: &str,
    snapshot: &Snapshot,
    comparison: &Comparison,
) -> Option<Finding> {
    let told = |severity, text: String| Some(findings::finding(FindingRule::Expectation, key, severity, text));
    // What the next run cannot cure either is said once: another rule than that of what is tried again.
    let blind = |text| Some(findings::finding(FindingRule::NotReadable, key, Severity::Warning, text));
    let Some(pod) = source(&expectation.from.namespace, snapshot, comparison) else {
        return blind(format!("expectation {key}: no pod in {} to look from", expectation.from.namespace));
    };
    let Some((host, port)) = host_and_port(&expectation.to) else {
        return told(
            Severity::Warning,
            format!("expectation {key}: `{}` is not host:port; correct config.yaml", expectation.to),
        );
    };
    let address = match address(outside, host).await {
        Ok(address) => address,
        Err(reason) => return told(Severity::Warning, format!("expectation {key}: {reason}")),
    };
    let targets = [ProbeTarget::Connect { protocol: Protocol::Tcp, address, port }];
    let seen = outside.prober().probe(&probing::source(pod), &targets).await;
    let outcome = seen.first().map_or(Outcome::Cut, |s| s.outcome);
    if outcome == Outcome::ToolMissing {
        return blind(format!("expectation {key}: {} has no `nc` and no bash to look with", pod.id));
    }
    let (severity, text) = judge(expectation.is, outcome, key, pod)?;
    told(severity, text)
}

/// What an outcome means to an expectation; `None`: it is met.
fn judge(expected: Expected, outcome: Outcome, key: &str, pod: &PodInfo) -> Option<(Severity, String)> {
    Some(match (expected, outcome) {
        (Expected::Reachable, Outcome::Open) => return None,
        (Expected::Unreachable, Outcome::Timeout | Outcome::Refused | Outcome::Unreachable) => {
            (Severity::Info, format!("{key} is closed, as expected (by whom: unknown)"))
        }
        (Expected::Reachable, Outcome::Timeout | Outcome::Refused | Outcome::Unreachable) => {
            let text = format!(
                "{key} should be reachable from {}, is {outcome}: a default-deny egress blocks it until a rule opens it; add one, or correct `expectations`",
                pod.id
            );
            (Severity::Error, text)
        }
        (Expected::Unreachable, Outcome::Open) => (
            Severity::Error,
            format!("{key} should be unreachable, is open from {}: close it, or correct `expectations`", pod.id),
        ),
        (_, other) => (Severity::Warning, format!("expectation {key} could not be looked at: {other}")),
    })
}

/// A pod of the namespace that may be probed from.
fn source<'s>(namespace: &str, snapshot: &'s Snapshot, comparison: &Comparison) -> Option<&'s PodInfo> {
    let classes =
        comparison.live.classes.iter().filter(|c| c.workload.namespace == namespace && c.usable && !c.host_network);
    let ids = classes.flat_map(|c| &c.pods);
    ids.filter_map(|id| snapshot.pods.iter().find(|p| &p.id == id)).find(|p| p.is_usable())
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?)).filter(|(host, port)| !host.is_empty() && *port > 0)
}

async fn address<O: Outside>(outside: &O, host: &str) -> Result<IpAddr, String> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let addresses = outside.resolver().resolve(host).await.map_err(|fault| fault.to_string())?;
    addresses.first().copied().ok_or_else(|| format!("`{host}` has no address"))
}
