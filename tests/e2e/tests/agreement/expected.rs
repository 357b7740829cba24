//! What packets are expected to do, held against what they do.

use std::net::IpAddr;

use anyhow::Result;
use e2e::{DataPlane, poll::seconds};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::packets::{Packets, TIMEOUT};

/// How long a data plane may take to follow, on a machine that is busy.
pub const LIMIT: Duration = seconds(60);

/// How long an answer is waited for at last, in milliseconds.
const SLOWEST: u32 = 4 * TIMEOUT;

/// A flow, and whether it is to pass.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The address that it starts at; an agent of that name is there.
    pub from: IpAddr,
    /// The address that it goes to.
    pub to: IpAddr,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// The port that it goes to.
    pub port: u16,
    /// Whether it is to pass.
    pub allowed: bool,
}

impl Expected {
    /// Whether that is what it looks like under this data plane.
    fn is_seen_as(&self, seen: &str, data_plane: DataPlane) -> bool {
        match (self.allowed, data_plane) {
            (true, _) => seen == "open",
            // The kernel sends a peer only so many ICMP errors a second: of many rejections at once most are silent.
            (false, DataPlane::KubeRouter) => seen == "refused" || seen == "timeout",
            (false, DataPlane::Calico | DataPlane::KubeNetworkPolicies) => seen == "timeout",
        }
    }

    fn request(&self) -> Value {
        let from = self.from.to_string();
        json!({"from": from, "to_address": self.to, "protocol": self.protocol, "port": self.port})
    }
}

/// A flow that still goes otherwise in the end: its place among those expected, and what is seen of it.
pub type Otherwise = (usize, String);

/// Tries flows until all go as expected in one pass, and gives those that do not within `limit`.
///
/// # Errors
/// Flows cannot be tried.
pub async fn hold(
    packets: &mut Packets,
    data_plane: DataPlane,
    flows: &[Expected],
    limit: Duration,
) -> Result<Vec<Otherwise>> {
    let all = || flows.iter().enumerate().collect::<Vec<_>>();
    let end = Instant::now() + limit;
    let mut pending = all();
    let mut timeout = TIMEOUT;
    loop {
        let asked: Vec<Value> = pending.iter().map(|(_, flow)| flow.request()).collect();
        let seen = packets.observe(&asked, timeout).await?;
        // Where the machine is busy, echoes come late: the more often some flow is not seen, the longer is waited.
        timeout = SLOWEST.min(timeout + TIMEOUT / 4);
        let complete = pending.len() == flows.len();
        let answered = pending.into_iter().zip(seen);
        let wrong: Vec<_> = answered.filter(|((_, flow), seen)| !flow.is_seen_as(seen, data_plane)).collect();
        if wrong.is_empty() && complete {
            return Ok(Vec::new());
        }
        if !wrong.is_empty() && Instant::now() >= end {
            return Ok(wrong.into_iter().map(|((place, _), seen)| (place, seen)).collect());
        }
        // When the last ones agree, all are asked once more: none of them may agree by the policies before.
        pending = if wrong.is_empty() { all() } else { wrong.into_iter().map(|(flow, _)| flow).collect() };
        sleep(Duration::from_millis(200)).await;
    }
}
