//! Waiting that ends: every wait says what it waits for and has a limit.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Asks `look` every 250 ms until it gives a value, at most for `limit`.
///
/// # Errors
/// `look` fails, or gave nothing within `limit`: the error names `what`.
pub async fn eventually<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("not seen within {} s: {what}", limit.as_secs());
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Seconds, as a [`Duration`].
#[must_use]
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
