//! `EntityRule`: what a rule of Calico's says of one end.

use std::net::IpAddr;

use serde_json::Value;

use super::expression::{Asked, Malformed, holds};
use super::json::{field, list, text, texts};
use super::services;
use super::world::{Known, net_contains};
use super::{Case, protocol_name};
use crate::port::numbers;

/// Where a rule stands and which end it is asked about.
pub(super) struct Place<'a> {
    pub(super) case: &'a Case<'a>,
    /// The namespace of the policy; none for a global one.
    pub(super) own_namespace: Option<&'a str>,
    /// The address of the end.
    pub(super) address: IpAddr,
    /// The pod and the sets that have it.
    pub(super) known: &'a [Known<'a>],
    /// The port of the end; ICMP has none.
    pub(super) port: Option<u16>,
    /// Whether it is the destination, where services are matched with their ports.
    pub(super) destination: bool,
}

/// "All the match criteria within a rule must be satisfied for a packet to match."
pub(super) fn matches(place: &Place<'_>, entity: &Value) -> Result<bool, Malformed> {
    if !nets_match(place, entity) || !service_matches(place, entity) {
        return Ok(false);
    }
    let mut satisfying = Vec::new();
    for one in place.known {
        if satisfies(place, entity, one)? {
            satisfying.push(one);
        }
    }
    let selected = if is_limited(place, entity) {
        !satisfying.is_empty()
    } else {
        // By itself notSelector excludes every address that anything with such labels has, in whatever namespace;
        // it matches addresses that nobody knows.
        !known_satisfy(place.known, text(entity, "/notSelector"))?
    };
    Ok(selected && ports_match(place, entity, &satisfying) && !not_ports_match(place, entity, &satisfying))
}

/// Whether only what is known (and satisfies) can match.
fn is_limited(place: &Place<'_>, entity: &Value) -> bool {
    // "the Selector is limited to selecting only workload endpoints in the same namespace as the NetworkPolicy": as
    // soon as any of selector, notSelector and service accounts is set. A rule with none of them is not limited.
    let own = place.own_namespace.is_some() && !text(entity, "/notSelector").is_empty();
    !text(entity, "/namespaceSelector").is_empty()
        || !text(entity, "/selector").is_empty()
        || names_accounts(entity)
        || own
}

fn names_accounts(entity: &Value) -> bool {
    !list(entity, "/serviceAccounts/names").is_empty() || !text(entity, "/serviceAccounts/selector").is_empty()
}

/// Whether a pod or set matches what the entity selects, notSelector folded in.
fn satisfies(place: &Place<'_>, entity: &Value, known: &Known<'_>) -> Result<bool, Malformed> {
    let namespaces = text(entity, "/namespaceSelector");
    let in_namespace = match place.own_namespace {
        // `all()` is everything that is in a namespace, `global()` everything that is in none.
        _ if !namespaces.is_empty() => {
            let global = Some(!known.namespaced);
            holds(namespaces, &Asked { labels: &known.namespace_labels, all: known.namespaced, global })?
        }
        Some(own) => known.labels.get("projectcalico.org/namespace").is_some_and(|namespace| namespace == own),
        None => true,
    };
    let own = |text: &str| holds(text, &Asked { labels: &known.labels, all: true, global: None });
    let selected = own(text(entity, "/selector"))?;
    let unwanted = text(entity, "/notSelector");
    let excluded = !unwanted.is_empty() && own(unwanted)?;
    Ok(in_namespace && selected && account_matches(entity, known)? && !excluded)
}

/// "If both Names and Selector are specified then they are AND'ed."
fn account_matches(entity: &Value, known: &Known<'_>) -> Result<bool, Malformed> {
    let selector = text(entity, "/serviceAccounts/selector");
    let selected = holds(selector, &Asked { labels: &known.account_labels, all: true, global: None })?;
    let names = texts(entity, "/serviceAccounts/names");
    let account = known.labels.get("projectcalico.org/serviceaccount");
    let named = names.is_empty() || account.is_some_and(|account| names.contains(&account.as_str()));
    Ok(selected && named)
}

fn known_satisfy(known: &[Known<'_>], selector: &str) -> Result<bool, Malformed> {
    if selector.is_empty() {
        return Ok(false);
    }
    let mut any = false;
    for one in known {
        any |= holds(selector, &Asked { labels: &one.labels, all: true, global: None })?;
    }
    Ok(any)
}

fn nets_match(place: &Place<'_>, entity: &Value) -> bool {
    let nets = texts(entity, "/nets");
    if !nets.is_empty() && !nets.iter().any(|net| net_contains(net, place.address)) {
        return false;
    }
    // A rule that has only blocks of the other family in a field is not there for packets of this one.
    let not_nets = texts(entity, "/notNets");
    if !not_nets.is_empty() && !not_nets.iter().any(|net| net.contains(':') == place.address.is_ipv6()) {
        return false;
    }
    !not_nets.iter().any(|net| net_contains(net, place.address))
}

fn ports_match(place: &Place<'_>, entity: &Value, satisfying: &[&Known<'_>]) -> bool {
    let ports = list(entity, "/ports");
    ports.is_empty() || ports.iter().any(|port| port_matches(place, entity, port, satisfying))
}

fn not_ports_match(place: &Place<'_>, entity: &Value, satisfying: &[&Known<'_>]) -> bool {
    list(entity, "/notPorts").iter().any(|port| port_matches(place, entity, port, satisfying))
}

/// A number, a range `first:last`, or the name of a port.
fn port_matches(place: &Place<'_>, entity: &Value, written: &Value, satisfying: &[&Known<'_>]) -> bool {
    let Some(port) = place.port else { return false };
    let written = written.as_str().map_or_else(|| written.to_string(), ToOwned::to_owned);
    let (first, last) = written.split_once(':').unwrap_or((&written, &written));
    if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
        return first <= port && port <= last;
    }
    // A name means the ports that pods call so: the pod itself must satisfy what the entity selects, a set that
    // holds the same address does not do.
    let pods: Vec<_> = if is_limited(place, entity) {
        satisfying.iter().filter_map(|known| known.pod).collect()
    } else {
        place.known.iter().filter_map(|known| known.pod).collect()
    };
    let protocol = protocol_name(place.case.question.protocol);
    pods.iter().any(|pod| numbers(pod, &written, protocol).contains(&i32::from(port)))
}

/// "only traffic that originates from or terminates at endpoints within the selected service(s) will be matched, and
/// only to/from each endpoint's port": the port where it is the destination.
fn service_matches(place: &Place<'_>, entity: &Value) -> bool {
    if field(entity, "/services").is_none() {
        return true;
    }
    // "Namespace specifies the namespace of the given Service. If left empty, the rule will match within this
    // policy's namespace."
    let namespace = match text(entity, "/services/namespace") {
        "" => place.own_namespace.unwrap_or_default(),
        given => given,
    };
    let endpoints = services::endpoints(place.case.world, namespace, text(entity, "/services/name"));
    endpoints.iter().any(|endpoint| {
        let here = endpoint.address == place.address;
        let port =
            Some(endpoint.port) == place.port && endpoint.protocol == protocol_name(place.case.question.protocol);
        here && (!place.destination || port)
    })
}
