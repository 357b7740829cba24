//! Namespaces, Services and nodes.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::model::{Labels, NAME_LABEL, NamespaceInfo, Protocol, ServiceEnd, ServiceInfo};

/// Labels of ServiceAccounts by namespace and name.
pub(super) type Accounts = BTreeMap<(String, String), Labels>;

/// Reads a namespace.
pub(super) fn namespace(namespace: Namespace) -> Option<(String, NamespaceInfo)> {
    let name = namespace.metadata.name?;
    let mut labels = namespace.metadata.labels.unwrap_or_default();
    labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| name.clone());
    let phase = namespace.status.and_then(|status| status.phase);
    let terminating = namespace.metadata.deletion_timestamp.is_some() || phase.as_deref() == Some("Terminating");
    Some((name, NamespaceInfo { labels, terminating }))
}

/// Reads a Service.
pub(super) fn service(service: Service) -> Option<ServiceInfo> {
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let protocol: Protocol = port.protocol.as_deref().unwrap_or("TCP").parse().ok()?;
        let target = match &port.target_port {
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(name)) => name.clone(),
            None => number.to_string(),
        };
        Some(((number, protocol, target), port.name.clone().unwrap_or_default()))
    });
    let (ports, port_names) = ports.unzip();
    Some(ServiceInfo {
        namespace: service.metadata.namespace?,
        name: service.metadata.name?,
        ports,
        port_names,
        ends: Vec::new(),
        // A headless Service has the word `None` in place of an address.
        headless: spec.cluster_ip.as_deref() == Some("None"),
        cluster_ips: addresses(spec.cluster_ips.iter().flatten()),
        selector: spec.selector.filter(|selector| !selector.is_empty()),
    })
}

/// The label by which an EndpointSlice names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Reads an EndpointSlice: the namespace and name of its Service, and its endpoints. Host names are none.
pub(super) fn slice(slice: EndpointSlice) -> Option<((String, String), Vec<ServiceEnd>)> {
    let service = slice.metadata.labels?.remove(SERVICE_LABEL)?;
    let ports: Vec<(String, Protocol, Option<u16>)> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let number = port.port.map(u16::try_from).transpose().ok()?;
            let protocol = port.protocol.as_deref().unwrap_or("TCP").parse().ok()?;
            Some((port.name.clone().unwrap_or_default(), protocol, number))
        })
        .collect();
    let mut ends = Vec::new();
    for address in addresses(slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses)) {
        let end = |(name, protocol, port)| ServiceEnd { address, name, protocol, port };
        ends.push(end((String::new(), Protocol::Tcp, None)));
        ends.extend(ports.iter().cloned().map(end));
    }
    Some(((slice.metadata.namespace?, service), ends))
}

/// Reads a node: its name, addresses (host names are none) and labels.
pub(super) fn node(node: Node) -> Option<(String, Vec<IpAddr>, Labels)> {
    let addresses_of = node.status.unwrap_or_default().addresses.unwrap_or_default();
    let ips = addresses(addresses_of.iter().map(|address| &address.address));
    Some((node.metadata.name?, ips, node.metadata.labels.unwrap_or_default()))
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.filter_map(|text| text.parse().ok()).collect()
}
