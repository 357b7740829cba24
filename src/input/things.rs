//! Services and nodes, as far as policies look at them.

use std::net::IpAddr;

use super::cursor::Cursor;
use crate::{
    flux::manifests::ManifestError,
    model::{Protocol, ServiceInfo, Workload},
};

/// Reads a Service.
pub(super) fn service(object: Cursor<'_>, id: &Workload) -> Result<ServiceInfo, ManifestError> {
    let spec = object.get("spec")?;
    let mut ports = Vec::new();
    let mut cluster_ips = Vec::new();
    let mut headless = false;
    if let Some(spec) = spec {
        for port in spec.items("ports")? {
            ports.push(service_port(port)?);
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
    })
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
