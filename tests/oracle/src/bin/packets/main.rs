//! Says which connections really open between network namespaces: the packets' side of the oracle.
//!
//! Reads one or more JSON documents from standard input ([`protocol::Request`]):
//!
//! ```json
//! {"pods": [{"name": "a/web", "netns": "/proc/4711/ns/net", "addresses": ["10.244.0.5"],
//!            "tcp": [8080], "udp": [8080]}],
//!  "flows": [{"from": "a/web", "to_address": "10.244.0.6", "protocol": "TCP", "port": 8080}],
//!  "timeout_ms": 700}
//! ```
//!
//! One agent runs in each pod's network namespace (this program again, through `nsenter`, so root is needed); it
//! listens, and tries the flows that start there, all at once. When every agent listens, the flows are tried, and
//! one line a flow is printed, in their order: `{"flow": 0, "observed": "open"}`.
//!
//! `observed` is `open` (connected; for UDP: the same bytes came back), `refused`, `timeout`, `unreachable`
//! (ICMP says so, or there is no route) or `error`, with `detail`. A document without `pods` keeps the agents of
//! the one before. Do keep them for many rounds: an agent takes each source port once before it begins anew, so
//! that no entry left in a connection tracker lets a packet pass that the policies of this round would not.
//!
//! Exit codes: 0, every flow was observed; 2, the input cannot be read, or an agent does not run or listen (then
//! nothing is printed for that document, since a missing listener looks like a policy).

mod agent;
mod parent;
mod protocol;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        None => parent::run().await.map_err(|cause| cause.to_string()),
        Some("agent") => agent::run().await.map_err(|cause| cause.to_string()),
        Some(other) => Err(format!("`{other}` is no argument; the request is read from standard input")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("oracle-packets: {cause}");
            ExitCode::from(2)
        }
    }
}
