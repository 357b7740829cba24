//! Keeping the Lease, and giving it up.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::api::PostParams;

use crate::cluster::reason;

use super::lease::{Shared, holder};

/// How often giving it up is tried: a run that cannot leaves it to expire.
const GIVE_UP: usize = 3;

/// What one renewal led to.
enum Renewal {
    Done,
    /// Somebody wrote the object, and it is still this run's.
    Again,
    Lost,
    Failed(String),
}

/// Renews the Lease every third of its duration until it is lost.
///
/// After failures it goes on: as long as nobody else wrote it, a late renewal is as good as a timely one.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut pause = shared.duration / 3;
    loop {
        tokio::time::sleep(pause).await;
        pause = match renew(&shared).await {
            Renewal::Done => shared.duration / 3,
            Renewal::Again => Duration::ZERO,
            Renewal::Failed(reason) => {
                tracing::warn!(lease = %shared.place(), reason, "Lease was not renewed");
                shared.duration / 10
            }
            Renewal::Lost => {
                *shared.held() = None;
                tracing::warn!(lease = %shared.place(), "Lease was lost to another run");
                // Kept for a run that asks only later.
                shared.gone.notify_one();
                return;
            }
        };
    }
}

async fn renew(shared: &Shared) -> Renewal {
    let Some(mut lease) = shared.held().as_ref().map(|held| held.lease.clone()) else { return Renewal::Lost };
    if let Some(spec) = &mut lease.spec {
        spec.renew_time = Some(MicroTime(Timestamp::now()));
    }
    match shared.write("update", &lease).await {
        Ok(()) => Renewal::Done,
        Err(kube::Error::Api(status)) if status.code == 409 => match current(shared).await {
            Ok(Some(lease)) => {
                if let Some(held) = shared.held().as_mut() {
                    held.lease = lease;
                }
                Renewal::Again
            }
            Ok(None) => Renewal::Lost,
            Err(error) => Renewal::Failed(reason(&error)),
        },
        Err(kube::Error::Api(status)) if status.code == 404 => Renewal::Lost,
        Err(error) => Renewal::Failed(reason(&error)),
    }
}

/// The Lease as it is now, if it is still this run's.
async fn current(shared: &Shared) -> kube::Result<Option<Lease>> {
    let lease = shared.within(shared.api.get_opt(&shared.name)).await?;
    Ok(lease.filter(|lease| holder(lease) == Some(&shared.identity)))
}

/// Leaves the Lease without a holder, so that the next run need not wait for it to expire.
pub(super) async fn give_up(shared: &Shared, mut lease: Lease) {
    let post = PostParams::default();
    for _ in 0..GIVE_UP {
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let write = shared.api.replace(&shared.name, &post, &lease);
        let Err(error) = shared.within(write).await else { return };
        // A renewal that was under way when it was stopped may have been written.
        match current(shared).await {
            Ok(Some(now)) => lease = now,
            Ok(None) => return,
            Err(_) => tracing::warn!(lease = %shared.place(), reason = %reason(&error), "Lease was not given up"),
        }
    }
}
