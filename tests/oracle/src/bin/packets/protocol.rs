//! What is read and written, by the program and between it and its agents.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One round.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where to listen and try from; absent: as before.
    #[serde(default)]
    pub pods: Option<Vec<Place>>,
    /// What to try.
    pub flows: Vec<Flow>,
    /// How long a flow may take, in milliseconds.
    pub timeout_ms: u64,
}

/// A network namespace with its addresses.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// What flows call it.
    pub name: String,
    /// A file such as `/proc/4711/ns/net`.
    pub netns: PathBuf,
    /// Listened on, each with each port.
    pub addresses: Vec<IpAddr>,
    /// Ports where connections are accepted and closed.
    #[serde(default)]
    pub tcp: Vec<u16>,
    /// Ports where what comes is sent back.
    #[serde(default)]
    pub udp: Vec<u16>,
}

/// Protocols that can be tried.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// A handshake.
    Tcp,
    /// A datagram and its echo.
    Udp,
}

/// A connection to try.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Name of the place where it starts.
    pub from: String,
    /// Source address, where the place has several; else the kernel chooses.
    #[serde(default)]
    pub from_address: Option<IpAddr>,
    /// Destination.
    pub to_address: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Destination port.
    pub port: u16,
}

/// What an agent is told to try.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Batch {
    /// Flows with their number in the request.
    pub flows: Vec<(usize, Flow)>,
    /// As in the request.
    pub timeout_ms: u64,
}

/// An agent's first line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Started {
    /// It listens everywhere.
    Ready,
    /// It does not, and this is why.
    Failed(String),
}

/// How a flow went.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// Connected, or echoed.
    Open,
    /// Reset, or ICMP port unreachable.
    Refused,
    /// Nothing came back in time.
    Timeout,
    /// No route, or ICMP says so.
    Unreachable,
    /// Could not be tried.
    Error,
}

/// One line of the answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Observation {
    /// The flow's number in the request.
    pub flow: usize,
    /// How it went.
    pub observed: Observed,
    /// The operating system's words, with `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
