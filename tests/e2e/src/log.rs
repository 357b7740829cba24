//! A container's two streams, apart: the API's log mixes them, the container runtime's files on the node do not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{Cluster, objects::text, poll::seconds};

/// What a container wrote.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Reads what the first container of a pod wrote, all its runs together.
///
/// # Errors
/// The node has no log of it (any more).
pub async fn of_pod(cluster: &Cluster, pod: &Value) -> Result<Streams> {
    let field = |name: &str| text(pod, &format!("/metadata/{name}")).to_owned();
    let container = text(pod, "/spec/containers/0/name");
    let folder = format!("/var/log/pods/{}_{}_{}/{container}", field("namespace"), field("name"), field("uid"));
    let read = cluster.inside_each(&["sh", "-c", &format!("cat {folder}/*.log")]).await?;
    // One node has it; what the first one says tells why none has.
    let found = read.into_iter().reduce(|first, other| first.or_else(|error| other.map_err(|_| error)));
    let log = found.context("there are no nodes")?.with_context(|| format!("no log of pod {}", field("name")))?;
    Ok(split(&log))
}

/// The same of a pod that has ended, where its first container prints JSON or nothing: the runtime may still be writing
/// what was printed last when the pod is said to have ended.
///
/// # Errors
/// See [`of_pod`].
pub async fn of_ended_pod(cluster: &Cluster, pod: &Value) -> Result<Streams> {
    let until = Instant::now() + seconds(10);
    loop {
        let streams = of_pod(cluster, pod).await?;
        let printed = streams.stdout.trim();
        if printed.is_empty() || serde_json::from_str::<IgnoredAny>(printed).is_ok() || Instant::now() >= until {
            return Ok(streams);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Splits lines of the runtime's format: time, stream, `F` or `P` (more of this line follows), text.
fn split(log: &str) -> Streams {
    let mut streams = Streams::default();
    for line in log.lines() {
        let mut parts = line.splitn(4, ' ');
        let (_, stream, tag, said) = (parts.next(), parts.next(), parts.next(), parts.next().unwrap_or_default());
        let into = if stream == Some("stdout") { &mut streams.stdout } else { &mut streams.stderr };
        into.push_str(said);
        if tag == Some("F") {
            into.push('\n');
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_apart_and_long_lines_joined() {
        let streams = split("t1 stdout P {\"a\":\nt2 stderr F one\nt3 stdout F 1}\nt4 stderr F two words\n");
        assert_eq!(streams.stdout, "{\"a\":1}\n");
        assert_eq!(streams.stderr, "one\ntwo words\n");
    }
}
