//! Services and nodes, as far as policies look at them.

use std::net::IpAddr;

use super::cursor::Cursor;
use crate::{
    flux::manifests::ManifestError,
    model::{Protocol, ServiceEnd, ServiceInfo, Workload},
};

/// Reads a Service.
pub(super) fn service(object: Cursor<'_>, id: &Workload) -> Result<ServiceInfo, ManifestError> {
    let spec = object.get("spec")?;
    let (mut ports, mut port_names) = (Vec::new(), Vec::new());
    let mut cluster_ips = Vec::new();
    let mut headless = false;
    if let Some(spec) = spec {
        for port in spec.items("ports")? {
            ports.push(service_port(port)?);
            port_names.push(port.text_at(&["name"])?.unwrap_or_default().to_owned());
        }
        headless = spec.text_at(&["clusterIP"])? == Some("None");
        let texts = spec.get("clusterIP")?.into_iter().chain(spec.items("clusterIPs")?);
        // A headless Service has the word `None` in place of an address.
        cluster_ips.extend(texts.filter_map(|field| field.text().ok()?.parse::<IpAddr>().ok()));
        cluster_ips.sort_unstable();
        cluster_ips.dedup();
    }
    let selector = object.labels(&["spec", "selector"])?;
    Ok(ServiceInfo {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        selector: (!selector.is_empty()).then_some(selector),
        cluster_ips,
        headless,
        ports,
        port_names,
        ends: Vec::new(),
    })
}

/// The label by which an EndpointSlice names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Reads an EndpointSlice: its Service's name, where it has one, and its endpoints.
pub(super) fn slice(object: Cursor<'_>) -> Result<Option<(String, Vec<ServiceEnd>)>, ManifestError> {
    let Some(service) = object.text_at(&["metadata", "labels", SERVICE_LABEL])? else { return Ok(None) };
    let mut ports = Vec::new();
    for port in object.items("ports")? {
        ports.push(end_port(port)?);
    }
    // Host names (FQDN) are no addresses: nothing routes to them.
    let is_named = object.text_at(&["addressType"])? == Some("FQDN");
    let mut ends = Vec::new();
    for endpoint in object.items("endpoints")?.into_iter().filter(|_| !is_named) {
        for field in endpoint.items("addresses")? {
            let address = field.parsed::<IpAddr>("IP address")?;
            let end = |(name, protocol, port)| ServiceEnd { address, name, protocol, port };
            ends.push(end((String::new(), Protocol::Tcp, None)));
            ends.extend(ports.iter().cloned().map(end));
        }
    }
    Ok(Some((service.to_owned(), ends)))
}

fn end_port(port: Cursor<'_>) -> Result<(String, Protocol, Option<u16>), ManifestError> {
    let number = match port.get("port")? {
        None => None,
        Some(field) => {
            let number = u16::try_from(field.number()?).ok().filter(|number| *number > 0);
            Some(number.ok_or_else(|| field.fault("`port` is not between 1 and 65535"))?)
        }
    };
    let protocol = port.get("protocol")?.map(|p| p.parsed("protocol (TCP, UDP, SCTP)")).transpose()?;
    Ok((port.text_at(&["name"])?.unwrap_or_default().to_owned(), protocol.unwrap_or(Protocol::Tcp), number))
}

fn service_port(port: Cursor<'_>) -> Result<(u16, Protocol, String), ManifestError> {
    let field = port.get("port")?.ok_or_else(|| port.fault("a port without `port`"))?;
    let number = u16::try_from(field.number()?).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| field.fault("`port` is not between 1 and 65535"))?;
    let protocol = port.get("protocol")?.map(|p| p.parsed("protocol (TCP, UDP, SCTP)")).transpose()?;
    let target = match port.get("targetPort")? {
        None => number.to_string(),
        Some(target) => match target.text() {
            Ok(name) => name.to_owned(),
            Err(_) => target.number()?.to_string(),
        },
    };
    Ok((number, protocol.unwrap_or(Protocol::Tcp), target))
}

/// The addresses in a Node's status; host names are none.
pub(super) fn node_addresses(node: Cursor<'_>) -> Result<Vec<IpAddr>, ManifestError> {
    let Some(status) = node.get("status")? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for entry in status.items("addresses")? {
        all.extend(entry.text_at(&["address"])?.and_then(|text| text.parse::<IpAddr>().ok()));
    }
    Ok(all)
}
