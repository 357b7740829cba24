//! Waiting for Flux (design §3.2).

use std::time::Duration;

use super::{
    conclude::is_older,
    seams::{Clock, Fault, Outside, Source},
};
use crate::{
    config::Config,
    model::{KustomizationRef, KustomizationStatus, NotApplied},
};

/// How often Flux is asked.
const POLL: Duration = Duration::from_millis(500);

/// Waits, at most `flux.wait`, until every Kustomization is applied or waiting cannot help, and returns what Flux says
/// then.
///
/// # Errors
/// The API server cannot be asked.
pub async fn settled<O: Outside>(outside: &O, config: &Config) -> Result<Vec<KustomizationStatus>, Fault> {
    let start = outside.clock().elapsed();
    loop {
        let statuses = now(outside, config).await?;
        let waited = outside.clock().elapsed().saturating_sub(start);
        if !statuses.iter().any(can_change) || waited >= config.flux.wait.get() {
            return Ok(statuses);
        }
        outside.clock().sleep(POLL).await;
    }
}

/// What Flux says now.
///
/// # Errors
/// The API server cannot be asked.
pub async fn now<O: Outside>(outside: &O, config: &Config) -> Result<Vec<KustomizationStatus>, Fault> {
    let mut statuses = Vec::new();
    for id in &config.kustomizations {
        let status = outside.source().status(id).await?;
        statuses.push(status.unwrap_or_else(|| absent(id)));
    }
    Ok(statuses)
}

fn can_change(status: &KustomizationStatus) -> bool {
    status.not_applied.as_ref().is_some_and(|n| !n.final_) && !status.suspended
}

/// What is said of a Kustomization that does not exist.
#[must_use]
pub fn absent(id: &KustomizationRef) -> KustomizationStatus {
    KustomizationStatus {
        id: id.clone(),
        attempted: None,
        applied: None,
        digest: None,
        inventory: Vec::new(),
        suspended: false,
        not_applied: Some(NotApplied {
            attempted: None,
            reason: "NotFound".to_owned(),
            message: format!("there is no Kustomization {id}: see `kustomizations` in config.yaml"),
            final_: true,
            since: None,
        }),
    }
}

/// Whether another revision or digest is applied than in `before`.
#[must_use]
pub fn moved(before: &[KustomizationStatus], after: &[KustomizationStatus]) -> bool {
    let key = |s: &KustomizationStatus| (s.id.clone(), s.applied.clone(), s.digest.clone());
    before.iter().map(key).ne(after.iter().map(key))
}

/// Whether a failed apply has to be told: at once where waiting cannot help, else when it is stuck.
#[must_use]
pub fn is_worth_telling(not_applied: &NotApplied, config: &Config, now: &str) -> bool {
    let stuck = jiff::SignedDuration::try_from(config.flux.stuck.get()).unwrap_or(jiff::SignedDuration::MAX);
    // Without a time there is nothing to wait for: better told once than never.
    not_applied.final_ || not_applied.since.as_ref().is_none_or(|since| is_older(since, now, stuck))
}
