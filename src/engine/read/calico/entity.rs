//! A rule's `source` or `destination`.

use std::str::FromStr;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    super::fields::{Fields, Read},
    Scope,
};
use crate::{
    engine::surroundings::{OF_ACCOUNT, OF_NAMESPACE},
    model::{ACCOUNT_LABEL, CalicoSelector, EntityMatch, EntityPort, NAMESPACE_LABEL, ServiceName},
};

const KNOWN: [&str; 9] = [
    "nets",
    "notNets",
    "selector",
    "notSelector",
    "namespaceSelector",
    "ports",
    "notPorts",
    "serviceAccounts",
    "services",
];

/// Reads an entity.
pub(super) fn read(fields: Fields<'_>, scope: &Scope<'_>) -> Read<EntityMatch> {
    let fields = fields.only(&KNOWN)?;
    let service = service(&fields, scope)?;
    let not_selector = plain_selector(&fields, "notSelector")?;
    let positive = positive(&fields, scope, not_selector.is_some())?;
    // Beside a positive condition, notSelector filters the same endpoints and sets; alone it speaks of addresses
    // (semantics: "notSelector itself is not namespaced").
    let (selector, not_selector) = match (positive, not_selector) {
        (Some(positive), Some(not)) => (CalicoSelector::all_of([positive, CalicoSelector::Not(Box::new(not))]), None),
        other => other,
    };
    Ok(EntityMatch {
        nets: fields.texts("nets", |text| net(text, scope))?,
        not_nets: fields.texts("notNets", |text| net(text, scope))?,
        selector,
        not_selector,
        ports: ports(&fields, "ports")?,
        not_ports: ports(&fields, "notPorts")?,
        service,
    })
}

/// The endpoints and sets that an entity means, as one selector over their labels with those that they inherit.
///
/// A namespaced policy's entity is limited to the own namespace as soon as anything selects in it, notSelector
/// included; one that selects nothing is not limited (semantics: "Namespaced NP rule").
fn positive(fields: &Fields<'_>, scope: &Scope<'_>, has_not: bool) -> Read<Option<CalicoSelector>> {
    let namespaces = namespaces(fields)?;
    let account = accounts(fields)?;
    let own = plain_selector(fields, "selector")?;
    let selects = namespaces.is_some() || account.is_some() || own.is_some() || has_not;
    let implied = scope.namespace.filter(|_| namespaces.is_none() && selects);
    let implied = implied.map(|name| CalicoSelector::Equals(NAMESPACE_LABEL.to_owned(), name.to_owned()));
    Ok(CalicoSelector::all_of([namespaces, implied, account, own].into_iter().flatten()))
}

/// `all()` means every namespace, `global()` what is in none; either is a condition on being in one.
fn namespaces(fields: &Fields<'_>) -> Read<Option<CalicoSelector>> {
    let Some(selector) = fields.selector("namespaceSelector")? else { return Ok(None) };
    if selector.has_global() && selector != CalicoSelector::Global {
        return Err(
            fields.fault("namespaceSelector", "`global()` cannot be combined with another condition".to_owned())
        );
    }
    Ok(Some(selector.with_prefix(OF_NAMESPACE).with_all_as(NAMESPACE_LABEL)))
}

fn accounts(fields: &Fields<'_>) -> Read<Option<CalicoSelector>> {
    let accounts = fields.object("serviceAccounts")?.only(&["names", "selector"])?;
    let names = accounts.texts("names", |name| Ok::<_, String>(name.to_owned()))?;
    let by_label = plain_selector(&accounts, "selector")?.map(|selector| selector.with_prefix(OF_ACCOUNT));
    let by_name =
        (!names.is_empty()).then(|| CalicoSelector::In(ACCOUNT_LABEL.to_owned(), names.into_iter().collect()));
    Ok(CalicoSelector::all_of(by_label.into_iter().chain(by_name)))
}

/// `global()` is for the namespaceSelector of an entity alone.
pub(super) fn plain_selector(fields: &Fields<'_>, key: &str) -> Read<Option<CalicoSelector>> {
    let selector = fields.selector(key)?;
    if selector.as_ref().is_some_and(CalicoSelector::has_global) {
        let message = "`global()` can only stand in the namespaceSelector of a rule's source or destination";
        return Err(fields.fault(key, message.to_owned()));
    }
    Ok(selector)
}

fn service(fields: &Fields<'_>, scope: &Scope<'_>) -> Read<Option<ServiceName>> {
    let service = fields.object("services")?.only(&["name", "namespace"])?;
    if !service.is_there() {
        return Ok(None);
    }
    let beside =
        ["namespaceSelector", "selector", "notSelector", "serviceAccounts", "nets", "notNets", "ports", "notPorts"];
    // A source's ports are its own; a destination's are those of the Service's endpoints.
    let beside = if fields.at.ends_with("/source") { &beside[..6] } else { &beside[..] };
    if let Some(key) = beside.iter().find(|key| fields.value(key).is_some()) {
        return Err(fields.fault(key, format!("`{key}` stands beside `services`")));
    }
    let Some(name) = service.text("name")? else {
        return Err(service.fault("", "`services` names no Service".to_owned()));
    };
    let Some(namespace) = service.text("namespace")?.or(scope.namespace) else {
        return Err(service.fault("", "`services` of a global policy needs a namespace".to_owned()));
    };
    Ok(Some(ServiceName { namespace: namespace.to_owned(), name: name.to_owned() }))
}

fn whole(number: Option<u64>) -> Option<EntityPort> {
    let port = u16::try_from(number?).ok()?;
    Some(EntityPort::Range { from: port, to: port })
}

fn ports(fields: &Fields<'_>, key: &str) -> Read<Vec<EntityPort>> {
    let one = |(name, item): (String, &Value)| {
        let port = match item {
            Value::String(text) => EntityPort::from_str(text),
            // Not by its text: `80.5` and `-1` could be names.
            Value::Number(number) => {
                whole(number.as_u64()).ok_or_else(|| format!("port {number} is not between 0 and 65535"))
            }
            _ => Err("a port is a number, a range or a name".to_owned()),
        };
        port.map_err(|message| fields.fault(&name, message))
    };
    fields.list(key)?.into_iter().map(one).collect()
}

/// A block of a rule. The API wants it without host bits; what is stored may have them, or be one address.
fn net(text: &str, scope: &Scope<'_>) -> Result<IpNet, String> {
    let block = block(text)?;
    let is_exact = text.contains('/') && block.addr() == block.network();
    if !scope.stored && !is_exact {
        return Err(format!("`{text}` is no block of addresses; the API takes {}", block.trunc()));
    }
    Ok(block.trunc())
}

/// A block or an address.
pub(super) fn block(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one).ok_or_else(|| format!("`{text}` is no CIDR, such as 10.0.0.0/8"))
}
