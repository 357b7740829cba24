//! The ports of a rule: `ports` of v1alpha1, `protocols` of v1alpha2.

use super::super::fields::{Fields, Read};
use crate::model::{PortMatch, Protocol};

/// What a rule says of ports.
pub(super) struct Ports {
    /// `None`: it does not look at them.
    pub(super) list: Option<Vec<PortMatch>>,
    /// Whether one of them is a name.
    pub(super) named: bool,
}

/// "If Ports is not set then the rule does not filter traffic via port" (AdminNetworkPolicyIngressRule.ports).
pub(super) fn all(rule: &Fields<'_>, field: &str) -> Read<Ports> {
    let mut list = Vec::new();
    for entry in rule.objects(field)? {
        list.extend(if field == "ports" { port(entry)? } else { protocol(entry)? });
    }
    let named = list.iter().any(|port| matches!(port, PortMatch::Named { .. }));
    Ok(Ports { list: (!list.is_empty()).then_some(list), named })
}

/// An entry of `ports`.
fn port(entry: Fields<'_>) -> Read<Vec<PortMatch>> {
    let entry = entry.only(&["portNumber", "portRange", "namedPort"])?;
    // "If not specified, this field defaults to TCP."
    let protocol = |fields: &Fields<'_>| match fields.text("protocol")? {
        None => Ok(Protocol::Tcp),
        Some(text) => text.parse().map_err(|message| fields.fault("protocol", message)),
    };
    if entry.value("portNumber").is_some() {
        let fields = entry.object("portNumber")?.only(&["protocol", "port"])?;
        let number = number(&fields, "port")?;
        return Ok(vec![PortMatch::Range { protocol: protocol(&fields)?, from: number, to: number }]);
    }
    if entry.value("portRange").is_some() {
        let fields = entry.object("portRange")?.only(&["protocol", "start", "end"])?;
        return Ok(vec![range(&fields, protocol(&fields)?)?]);
    }
    named(&entry, "namedPort", "`portNumber`, `portRange` or `namedPort`")
}

/// An entry of `protocols`.
fn protocol(entry: Fields<'_>) -> Read<Vec<PortMatch>> {
    let entry = entry.only(&["tcp", "udp", "sctp", "destinationNamedPort"])?;
    for (key, protocol) in [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)] {
        if entry.value(key).is_none() {
            continue;
        }
        let port =
            entry.object(key)?.only(&["destinationPort"])?.object("destinationPort")?.only(&["number", "range"])?;
        if !port.is_there() {
            return Ok(vec![PortMatch::Protocol(protocol)]);
        }
        if port.value("range").is_some() {
            return Ok(vec![range(&port.object("range")?.only(&["start", "end"])?, protocol)?]);
        }
        let number = number(&port, "number")?;
        return Ok(vec![PortMatch::Range { protocol, from: number, to: number }]);
    }
    named(&entry, "destinationNamedPort", "`tcp`, `udp`, `sctp` or `destinationNamedPort`")
}

/// A name stands for the destination's port of that name, whatever its protocol.
fn named(entry: &Fields<'_>, key: &str, known: &str) -> Read<Vec<PortMatch>> {
    let Some(name) = entry.text(key)? else {
        return Err(entry.fault("", format!("the entry has none of {known}")));
    };
    Ok(Protocol::ALL.map(|protocol| PortMatch::Named { protocol, name: name.to_owned() }).into())
}

fn range(fields: &Fields<'_>, protocol: Protocol) -> Read<PortMatch> {
    let (from, to) = (number(fields, "start")?, number(fields, "end")?);
    if from > to {
        return Err(fields.fault("end", format!("the range {from} to {to} ends before it begins")));
    }
    Ok(PortMatch::Range { protocol, from, to })
}

fn number(fields: &Fields<'_>, key: &str) -> Read<u16> {
    let number = fields.value(key).and_then(serde_json::Value::as_u64).and_then(|number| u16::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| fields.fault(key, format!("`{key}` is not between 1 and 65535")))
}
