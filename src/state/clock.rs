//! The system's clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::verify::seams::Clock;

/// The time of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> String {
        Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_utc_with_whole_seconds() {
        let text = SystemClock::new().now();
        assert_eq!(text.len(), "2026-11-20T09:12:00Z".len(), "{text}");
        let read: Timestamp = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        assert!(Timestamp::now().duration_since(read).as_secs().abs() <= 2, "{text}");
    }
}
