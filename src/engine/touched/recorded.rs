//! Flows that the state remembers: pending, waiting, open findings, and the last merge's for a person's rerun.

use ipnet::IpNet;

use super::{Collected, Outside, Target, TouchedFlow, Views};
use crate::{
    engine::world::Family,
    model::{Endpoint, RecordedFlow, Why},
};

/// Adds them; returns the keys of those whose workload is gone.
pub(super) fn collect(views: &Views<'_>, flows: &mut Collected) -> Vec<String> {
    let mut gone = Vec::new();
    for (recorded, why) in views.input.recorded {
        match found(views, recorded, *why) {
            Some(flow) => flows.add(flow),
            None => gone.push(recorded.key()),
        }
    }
    gone
}

fn found(views: &Views<'_>, recorded: &RecordedFlow, why: Why) -> Option<TouchedFlow> {
    let source = class(views, &recorded.source)?;
    let target = match &recorded.destination {
        Endpoint::External { name, cidrs } => outside(views, name.as_deref(), cidrs)?,
        other => Target::Class(class(views, other)?),
    };
    let family = match &target {
        Target::Class(index) => views.families(source, *index).first().copied().unwrap_or(Family::V4),
        Target::Outside(outside) => Family::of(outside.address),
        Target::Range(net) => Family::of(net.network()),
    };
    Some(views.flow(source, target, family, (recorded.protocol, recorded.port), why))
}

/// The workload's class that can be probed, else any of its classes.
fn class(views: &Views<'_>, endpoint: &Endpoint) -> Option<usize> {
    let Endpoint::Workload(workload) = endpoint else { return None };
    let of_workload = || views.classes().iter().enumerate().filter(|(_, c)| &c.workload == workload);
    of_workload().find(|(_, c)| c.usable).or_else(|| of_workload().next()).map(|(index, _)| index)
}

fn outside(views: &Views<'_>, name: Option<&str>, cidrs: &[IpNet]) -> Option<Target> {
    let same = |o: &&Outside| match name {
        Some(name) => o.name.as_deref() == Some(name),
        None => cidrs.contains(&IpNet::from(o.address)),
    };
    match views.input.outside.iter().find(same) {
        Some(outside) => Some(Target::Outside(outside.clone())),
        None if name.is_none() => cidrs.first().map(|net| Target::Range(*net)),
        None => None,
    }
}
