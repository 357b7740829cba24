//! A rule of a Calico policy.

use serde_json::Value;

use super::{
    super::fields::{Fields, Read},
    Scope, entity,
};
use crate::model::{Action, Conditions, Direction, EntityMatch, IcmpMatch, IpProtocol, IpVersion, Origin, Rule};

const KNOWN: [&str; 10] =
    ["action", "metadata", "ipVersion", "protocol", "notProtocol", "icmp", "notICMP", "source", "destination", "http"];

/// Reads a rule.
pub(super) fn read(
    fields: Fields<'_>,
    scope: &Scope<'_>,
    direction: Direction,
    index: usize,
    origin: Option<Origin>,
) -> Read<Rule> {
    let fields = fields.only(&KNOWN)?;
    let conditions = Conditions {
        ip_version: version(&fields)?,
        protocol: protocol(&fields, "protocol", scope)?,
        not_protocol: protocol(&fields, "notProtocol", scope)?,
        icmp: icmp(&fields, "icmp")?,
        not_icmp: icmp(&fields, "notICMP")?,
        source: entity::read(fields.object("source")?, scope)?,
        destination: entity::read(fields.object("destination")?, scope)?,
        http: fields.value("http").is_some(),
    };
    let action = action(&fields)?;
    check(&fields, &conditions, action, direction)?;
    // What is stored may mix them; each packet then matches the parts of its own version.
    if !scope.stored {
        versions(&fields, &conditions)?;
    }
    Ok(Rule { index, action, peers: None, ports: None, conditions: Some(Box::new(conditions)), origin })
}

fn action(fields: &Fields<'_>) -> Read<Action> {
    match fields.text("action")? {
        Some("Allow") => Ok(Action::Allow),
        Some("Deny") => Ok(Action::Deny),
        Some("Pass") => Ok(Action::Pass),
        Some("Log") => Ok(Action::Log),
        Some(other) => Err(fields.fault("action", format!("`{other}` is no action (Allow, Deny, Pass, Log)"))),
        None => Err(fields.fault("", "the rule has no action (Allow, Deny, Pass, Log)".to_owned())),
    }
}

fn version(fields: &Fields<'_>) -> Read<Option<IpVersion>> {
    match fields.byte("ipVersion")? {
        None => Ok(None),
        Some(4) => Ok(Some(IpVersion::V4)),
        Some(6) => Ok(Some(IpVersion::V6)),
        Some(other) => Err(fields.fault("ipVersion", format!("{other} is no version of IP (4, 6)"))),
    }
}

/// A name or a number, which may be written as a text. What is stored may have the name in any case of letters.
fn protocol(fields: &Fields<'_>, key: &str, scope: &Scope<'_>) -> Read<Option<IpProtocol>> {
    let number = |number: u8| (number > 0).then_some(IpProtocol(number));
    let found = match fields.value(key) {
        None => return Ok(None),
        Some(Value::String(text)) => match text.parse() {
            Ok(digits) => number(digits),
            Err(_) => IpProtocol::named(text, scope.stored),
        },
        Some(other) => other.as_u64().and_then(|n| u8::try_from(n).ok()).and_then(number),
    };
    let message = || "no protocol (TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number from 1 to 255)";
    found.map(Some).ok_or_else(|| fields.fault(key, format!("`{key}` is {}", message())))
}

fn icmp(fields: &Fields<'_>, key: &str) -> Read<Option<IcmpMatch>> {
    let icmp = fields.object(key)?.only(&["type", "code"])?;
    if !icmp.is_there() {
        return Ok(None);
    }
    let found = IcmpMatch { kind: icmp.byte("type")?, code: icmp.byte("code")? };
    match found {
        IcmpMatch { kind: None, code: Some(_) } => Err(icmp.fault("code", "a code without a type".to_owned())),
        // Nothing is asked: as if it were absent.
        IcmpMatch { kind: None, code: None } => Ok(None),
        _ => Ok(Some(found)),
    }
}

/// What the API would refuse of parts that are valid by themselves.
fn check(fields: &Fields<'_>, conditions: &Conditions, action: Action, direction: Direction) -> Read<()> {
    let refuse = |key: &str, message: &str| Err(fields.fault(key, message.to_owned()));
    let has_ports = |entity: &EntityMatch| !entity.ports.is_empty() || !entity.not_ports.is_empty();
    for (key, entity) in [("source", &conditions.source), ("destination", &conditions.destination)] {
        if has_ports(entity) && conditions.protocol.and_then(IpProtocol::transport).is_none() {
            return refuse(key, "a rule with ports needs the protocol TCP, UDP or SCTP");
        }
    }
    let is_icmp = conditions.protocol.is_some_and(IpProtocol::is_icmp);
    for (key, is_there) in [("icmp", conditions.icmp.is_some()), ("notICMP", conditions.not_icmp.is_some())] {
        if is_there && !is_icmp {
            return refuse(key, "a rule with types of ICMP needs the protocol ICMP or ICMPv6");
        }
    }
    if direction == Direction::Ingress && conditions.destination.service.is_some() {
        return refuse("destination/services", "an ingress rule can name Services in its source alone");
    }
    if direction == Direction::Egress && conditions.source.service.is_some() {
        return refuse("source/services", "an egress rule can name Services in its destination alone");
    }
    if conditions.http && (action != Action::Allow || direction == Direction::Egress) {
        return refuse("http", "only an ingress rule that allows can look into HTTP");
    }
    Ok(())
}

/// One rule is about one version of IP.
fn versions(fields: &Fields<'_>, conditions: &Conditions) -> Read<()> {
    let of_protocol = |protocol: Option<IpProtocol>| match protocol {
        Some(IpProtocol::ICMP) => Some(IpVersion::V4),
        Some(IpProtocol::ICMPV6) => Some(IpVersion::V6),
        _ => None,
    };
    let named = [of_protocol(conditions.protocol), of_protocol(conditions.not_protocol)].into_iter().flatten();
    if conditions.ip_version.is_some_and(|version| named.clone().any(|other| other != version)) {
        return Err(fields.fault("ipVersion", "another version of IP than that of the protocol".to_owned()));
    }
    let blocks = conditions.ends().into_iter().flat_map(EntityMatch::blocks);
    let mut all = blocks.map(|block| IpVersion::of(block.addr())).chain(conditions.ip_version);
    let first = all.next();
    if all.any(|version| Some(version) != first) {
        return Err(fields.fault("", "the rule mixes IPv4 and IPv6".to_owned()));
    }
    Ok(())
}
