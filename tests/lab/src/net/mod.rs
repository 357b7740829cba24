//! The network of the lab: pods that are network namespaces, and a packet filter that enforces policies.
//!
//! ```text
//! this process                  user, mount, process and network namespace of the lab
//! ┌─────┐  standard input  ┌──────────────────────────────────────────────┐
//! │ Net │─────────────────▶│ node: routes, packet filter (nft), addresses │
//! │     │   node socket    │   │ cable            │ cable                 │
//! │     │─────────────────▶│ ┌─┴──────────┐    ┌──┴─────────┐             │
//! │     │   pod sockets    │ │ pod        │    │ host       │             │
//! │     │─────────────────▶│ │ listeners  │    │ listeners  │             │
//! └─────┘                  │ │ exec, PATH │    └────────────┘             │
//!                          │ └────────────┘                               │
//!                          └──────────────────────────────────────────────┘
//! ```
//!
//! Each pod has a cable of its own to the node, which routes: so everything between two pods is forwarded, and one
//! chain sees it, as under Calico. The node's own connections to pods are not filtered, as the API says of the
//! "pod's local node". A connection to an address that nobody has passes the filter too, and is lost after it.
//!
//! Nothing outlives [`Net`]: the node is the first process of a process namespace and ends when its standard input
//! does, however this process came to its end, and the kernel ends the rest.
//!
//! Needs `unshare`, `ip` and `nft`, and either root or a kernel that lets ordinary users make user namespaces.

mod dns;
mod error;
mod exec;
pub mod inside;
mod network;
mod nft;
mod program;
mod rules;
mod spec;
mod wire;

pub use dns::{Name, Names};
pub use error::Error;
pub use exec::{Exec, Output, Process};
pub use network::Net;
pub use rules::{PortRange, Rules, rules};
pub use spec::{Denial, PodNet, PodSpec, Protocol, Seen, Service, Shell, Target, Tools, resolv_conf};
