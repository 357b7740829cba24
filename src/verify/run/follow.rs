//! Whether another run has to follow in the same process: for a Job that nothing starts anew while it is there.

use super::Settings;
use crate::{
    model::KustomizationStatus,
    verify::{
        applied,
        seams::{Clock, Fault, Outside, OwnJob, Store},
        trigger::is_checked,
    },
};

/// What Flux says at this moment.
///
/// # Errors
/// The API server cannot be asked.
pub async fn applied_now<O: Outside>(outside: &O, settings: &Settings) -> Result<Vec<KustomizationStatus>, Fault> {
    applied::now(outside, &settings.config).await
}

/// Whether something else is applied than `before`, and no run has looked at it.
///
/// # Errors
/// The API server or the state cannot be asked.
pub async fn has_moved_on<O: Outside>(
    outside: &O,
    settings: &Settings,
    before: &[KustomizationStatus],
) -> Result<bool, Fault> {
    let after = applied::now(outside, &settings.config).await?;
    // A run that could not tell leaves it unchecked: that is for the next Job, not for this one.
    Ok(applied::moved(before, &after) && !is_checked(&outside.store().load().await?, &after))
}

/// What the next run of this process is given: the one before it is no answer to it, and named no revision.
#[must_use]
pub fn next<O: Outside>(outside: &O, job: OwnJob) -> OwnJob {
    OwnJob { created: Some(outside.clock().now()), expected: Vec::new(), ..job }
}
