//! The end of an enforcer's log.

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};

use super::{ClusterError, list::Reader};
use crate::model::PodRef;

/// The resource that a right is needed on.
const LOGS: &str = "pods/log";
/// The Role of `job/evidence`, in the enforcer's namespace.
const ROLE: &str = "netpol-verify-evidence";
/// The newest lines of a log, at most. A limit of bytes alone would cut off the newest.
const LINES: i64 = 4_000;
/// Bytes of a log, at most: four thousand of the kernel's lines.
const BYTES: u32 = 1024 * 1024;

/// What a container has logged since a moment, its newest lines.
///
/// # Errors
/// The account may not read it, the kubelet does not give it, or there was no answer in time.
pub(super) async fn log(reader: &Reader, pod: &PodRef, container: &str, since: &str) -> Result<String, ClusterError> {
    let api: Api<Pod> = Api::namespaced(reader.client.clone(), &pod.namespace);
    let params = LogParams {
        container: Some(container.to_owned()),
        // The whole log where the moment is not understood: lines of before are better than none.
        since_time: since.parse().ok(),
        tail_lines: Some(LINES),
        limit_bytes: Some(i64::from(BYTES)),
        ..LogParams::default()
    };
    let read = async {
        let stream = api.log_stream(&pod.name, &params).await?;
        let mut bytes = Vec::new();
        // The kubelet keeps its limit only roughly; and what it cuts may be half a character.
        let end = stream.take(u64::from(BYTES)).read_to_end(&mut bytes).await;
        Ok(end.map(|_| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let role = format!("Role {ROLE} in {} (job/evidence)", pod.namespace);
    let answer = reader.ask("get", LOGS, read).await?.map_err(|e| ClusterError::in_role("get", LOGS, &role, &e))?;
    answer.map_err(|error| {
        let reason = error.to_string().chars().take(300).collect();
        ClusterError::Api { verb: "get", resource: LOGS.to_owned(), reason }
    })
}
