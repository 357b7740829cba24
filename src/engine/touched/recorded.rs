//! Flows that the state remembers: pending, waiting, open findings, and the last merge's for a person's rerun.

use ipnet::IpNet;

use super::{Collected, Outside, Target, TouchedFlow, Views, ranges};
use crate::{
    engine::world::Family,
    model::{Endpoint, RecordedFlow, Why},
};

/// Adds them; returns the keys of those whose workload is gone.
pub(super) fn collect(views: &Views<'_>, flows: &mut Collected) -> Vec<String> {
    let mut gone = Vec::new();
    for (recorded, why) in views.input.recorded {
        let found = found(views, recorded, *why);
        if found.is_empty() && !is_owed(views, recorded) {
            gone.push(recorded.key());
        }
        for flow in found {
            flows.add_recorded(flow);
        }
    }
    gone
}

/// Whether it goes to a host whose name could not be resolved: that says nothing about the flow.
fn is_owed(views: &Views<'_>, recorded: &RecordedFlow) -> bool {
    let Endpoint::External { name: Some(name), .. } = &recorded.destination else { return false };
    let mut seen = class(views, &recorded.source).into_iter().flat_map(|source| views.hosts(source));
    let is_resolved = seen.any(|host| host.name.as_ref() == Some(name));
    views.input.names.contains(name) && class(views, &recorded.source).is_some() && !is_resolved
}

/// The flow as it is now; to a host, one for each of its addresses.
fn found(views: &Views<'_>, recorded: &RecordedFlow, why: Why) -> Vec<TouchedFlow> {
    let Endpoint::External { name: Some(name), .. } = &recorded.destination else {
        return single(views, recorded, why).into_iter().collect();
    };
    let Some(source) = class(views, &recorded.source) else { return Vec::new() };
    let hosts: Vec<&Outside> = views.hosts(source).filter(|host| host.name.as_ref() == Some(name)).collect();
    let (six, four): (Vec<&Outside>, Vec<&Outside>) =
        hosts.into_iter().partition(|host| Family::of(host.address) == Family::V6);
    let of_family = if recorded.ipv6 || four.is_empty() { six } else { four };
    let port = (recorded.protocol, recorded.port);
    let flow = |host: &Outside| {
        let (target, family) = (Target::Outside(host.clone()), Family::of(host.address));
        TouchedFlow { ipv6: recorded.ipv6, ..views.flow(source, target, family, port, why) }
    };
    of_family.into_iter().map(flow).collect()
}

fn single(views: &Views<'_>, recorded: &RecordedFlow, why: Why) -> Option<TouchedFlow> {
    if let (Endpoint::External { cidrs, .. }, Some(destination)) =
        (&recorded.source, class(views, &recorded.destination))
    {
        return from_outside(views, *cidrs.first()?, destination, recorded, why);
    }
    let source = class(views, &recorded.source)?;
    let target = match &recorded.destination {
        Endpoint::External { cidrs, .. } => outside(views, cidrs)?,
        other => Target::Class(class(views, other)?),
    };
    let family = match &target {
        Target::Class(index) => between(views, source, *index, recorded.ipv6)?,
        Target::Outside(outside) => Family::of(outside.address),
        Target::Range(net) => Family::of(net.network()),
    };
    let port = (recorded.protocol, recorded.port);
    let flow = TouchedFlow { ipv6: recorded.ipv6, ..views.flow(source, target, family, port, why) };
    // Nothing but a rule asks for a range: without one it is of no interest any more.
    let is_gone = matches!(flow.target, Target::Range(_)) && flow.declared != recorded.declared;
    (!is_gone).then_some(flow)
}

/// The family over which it is looked at; `None` where its ends have no IPv6 any more.
fn between(views: &Views<'_>, source: usize, destination: usize, ipv6: bool) -> Option<Family> {
    let runs = |index: usize| views.class(index).is_some_and(|c| !c.ips.is_empty());
    let families = views.families(source, destination);
    if !ipv6 {
        return Some(families.first().copied().unwrap_or(Family::V4));
    }
    // One that runs no pod now may have it again.
    let may = families.contains(&Family::V6) || !runs(source) || !runs(destination);
    may.then_some(Family::V6)
}

/// A flow from a range, as long as Git decides it as it did.
fn from_outside(
    views: &Views<'_>,
    net: IpNet,
    destination: usize,
    recorded: &RecordedFlow,
    why: Why,
) -> Option<TouchedFlow> {
    let flow = ranges::from_range(views, net, destination, (recorded.protocol, recorded.port), why)?;
    (flow.declared == recorded.declared).then_some(flow)
}

/// The workload's class that can be probed, else any of its classes.
fn class(views: &Views<'_>, endpoint: &Endpoint) -> Option<usize> {
    let Endpoint::Workload(workload) = endpoint else { return None };
    let of_workload = || views.classes().iter().enumerate().filter(|(_, c)| &c.workload == workload);
    of_workload().find(|(_, c)| c.usable).or_else(|| of_workload().next()).map(|(index, _)| index)
}

fn outside(views: &Views<'_>, cidrs: &[IpNet]) -> Option<Target> {
    let host = views.input.outside.iter().find(|host| cidrs.contains(&IpNet::from(host.address)));
    host.map(|host| Target::Outside(host.clone())).or_else(|| cidrs.first().map(|net| Target::Range(*net)))
}
