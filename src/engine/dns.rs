//! Who answers questions over UDP: over UDP only an answer tells anything, and DNS is what is known to give one.

use super::world::Class;
use crate::model::{ContainerPort, Protocol};

/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;

/// Whether these pods are the cluster's DNS.
#[must_use]
pub fn is_server(class: &Class) -> bool {
    class.labels.get("k8s-app").is_some_and(|value| value == "kube-dns")
}

/// Whether a declared port is for questions, by its number or name.
#[must_use]
pub fn is_for_names(port: &ContainerPort) -> bool {
    port.number == PORT || port.name.as_ref().is_some_and(|name| name.starts_with("dns"))
}

/// Whether a question over UDP may be answered there: port 53, whoever has it, a port that pods declare as `dns…`, or
/// one that the cluster's DNS declares.
#[must_use]
pub fn answers(class: Option<&Class>, (protocol, port): (Protocol, u16)) -> bool {
    let declares = |class: &Class| {
        let mut declared = class.ports.iter().filter(|p| p.protocol == Protocol::Udp && p.number == port && !p.init);
        declared.any(|p| is_server(class) || is_for_names(p))
    };
    protocol == Protocol::Udp && (port == PORT || class.is_some_and(declares))
}
