//! The plan of probes: from which pod to which address, and which controls make the answer count.

mod deal;
mod spread;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    dns,
    matrix::Matrix,
    through::{self, Through},
    touched::{Origin, Target, TouchedFlow},
    world::{Class, Family},
};
use crate::model::{Decision, PodInfo, PodRef, Protocol, Snapshot, Unseen, Why, Workload, is_mesh_proxy};
pub use deal::deal;

/// The annotation by which a pod opts out.
pub const OPT_OUT: (&str, &str) = ("netpol-verify/probe", "disabled");

/// How many others that may reach the target are tried as its control, before the target itself.
const TARGET_CONTROLS: usize = 2;
/// How many answering targets are tried as the source's control.
const SOURCE_CONTROLS: usize = 3;

/// An address, name or port that is never probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverProbe {
    /// Addresses; `None`: any.
    pub cidr: Option<IpNet>,
    /// A configured destination's name; `None`: any.
    pub name: Option<String>,
    /// A port; `None`: any.
    pub port: Option<u16>,
}

/// What bounds a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Probes in one run.
    pub max_probes: usize,
    /// Whether denied flows to outside hosts are probed.
    pub probe_denied_outside: bool,
    /// What is never probed.
    pub never: Vec<NeverProbe>,
}

/// An address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A pod to try the same address from, to see that the target is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetControl {
    /// The pod.
    pub from: PodRef,
    /// Whether it is the target itself.
    pub itself: bool,
}

/// One probe with its controls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The flow.
    pub flow: TouchedFlow,
    /// The pod to probe from.
    pub source: PodRef,
    /// The pod probed, where it is one.
    pub target_pod: Option<PodRef>,
    /// The address probed.
    pub address: Address,
    /// Pods that can tell whether the target is alive, the best first.
    pub target_controls: Vec<TargetControl>,
    /// Addresses that the source may reach, with what they are.
    pub source_controls: Vec<(Address, String)>,
    /// Services through which users connect to the same target: asked in the same exec.
    pub through: Vec<Through>,
}

impl Planned {
    /// How many addresses are asked for it.
    const fn probes(&self) -> usize {
        1 + self.through.len()
    }
}

/// What to probe, and what not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Probes.
    pub probes: Vec<Planned>,
    /// Flows without a probe, each with why.
    pub unseen: Vec<(TouchedFlow, Unseen, String)>,
    /// Probes of a sweep that are left for later ones.
    pub left: usize,
}

/// Plans the probes of `flows` over a snapshot.
pub struct Planner<'a> {
    /// The pods.
    pub snapshot: &'a Snapshot,
    /// Reachability under the live policies.
    pub live: &'a Matrix<'a>,
    /// Where probes may start.
    pub probe_from: &'a dyn Fn(&str) -> bool,
    /// Bounds.
    pub limits: &'a Limits,
    /// The number of the run, by which pods and sweeps take turns.
    pub turn: u64,
    /// Whether each flow is looked at on every node, and not only one that may be one node's trouble.
    pub everywhere: bool,
}

impl Planner<'_> {
    /// Plans. Flows of a sweep go last, and what of them is too much is left for later sweeps. Each address that is asked
    /// for a flow's sake, those of its Services too, counts as a probe.
    #[must_use]
    pub fn plan(&self, flows: Vec<TouchedFlow>) -> Plan {
        let pods: BTreeMap<&PodRef, &PodInfo> = self.snapshot.pods.iter().map(|p| (&p.id, p)).collect();
        let mut plan = Plan::default();
        let mut swept = Vec::new();
        let mut free = self.limits.max_probes;
        for flow in flows {
            let is_swept = flow.why == Why::Sweep;
            match self.one(&flow, &pods) {
                Ok(planned) if is_swept => swept.extend(planned),
                Ok(planned) if count(&planned) <= free => {
                    free -= count(&planned);
                    plan.probes.extend(planned);
                }
                Ok(_) => plan.unseen.push((flow, Unseen::Pending, "over probe.maxProbes".to_owned())),
                // A sweep looks at what can be seen.
                Err(_) if is_swept => plan.left += 1,
                Err((unseen, reason)) => plan.unseen.push((flow, unseen, reason)),
            }
        }
        let swept = spread::interleaved(swept, |id| pods.get(id).and_then(|pod| pod.node.clone()));
        let before = swept.len();
        let fits = swept.into_iter().take_while(|planned| {
            let fits = planned.probes() <= free;
            free = free.saturating_sub(planned.probes());
            fits
        });
        let mut fits: Vec<Planned> = fits.collect();
        plan.left += before - fits.len();
        plan.probes.append(&mut fits);
        plan
    }

    /// The probes of a flow: one, or one for each node.
    fn one(&self, flow: &TouchedFlow, pods: &BTreeMap<&PodRef, &PodInfo>) -> Result<Vec<Planned>, (Unseen, String)> {
        if let Some(unseen) = flow.unseen.clone() {
            return Err(unseen);
        }
        let first = self.ends(flow, pods)?;
        let address = |ip| Address { ip, port: flow.port, protocol: flow.protocol };
        if let Some(reason) = self.forbidden(flow, address(first.ip)) {
            return Err((Unseen::Unprobeable, reason));
        }
        let all = if self.everywhere || spread::is_everywhere(flow) {
            self.everywhere(flow, pods, first)
        } else {
            vec![first]
        };
        let planned = all.into_iter().map(|Ends { source, target_pod, ip }| Planned {
            target_controls: self.target_controls(flow, &source.id, target_pod, pods),
            source_controls: self.source_controls(flow, address(ip), pods),
            source: source.id.clone(),
            target_pod: target_pod.map(|p| p.id.clone()),
            address: address(ip),
            through: self.through(flow, ip, target_pod),
            flow: flow.clone(),
        });
        Ok(planned.collect())
    }

    fn through(&self, flow: &TouchedFlow, ip: IpAddr, target: Option<&PodInfo>) -> Vec<Through> {
        let all = through::through(self.snapshot, self.live, flow, (ip, target));
        all.into_iter().filter(|one| !self.is_never(None, one.address)).collect()
    }

    /// The same from and to pods of every node on which both ends run.
    fn everywhere<'p>(
        &self,
        flow: &TouchedFlow,
        pods: &BTreeMap<&PodRef, &'p PodInfo>,
        first: Ends<'p>,
    ) -> Vec<Ends<'p>> {
        let Origin::Class(source) = flow.source else { return vec![first] };
        let of = |class: usize| {
            let ids = self.live.class(class).map(|class| class.pods.as_slice()).unwrap_or_default();
            let usable = ids.iter().filter_map(|id| pods.get(id).copied()).filter(|pod| pod.is_usable());
            spread::by_node(usable.filter(|pod| fit(pod).is_ok()), self.turn)
        };
        let found: Vec<Ends<'p>> = match &flow.target {
            Target::Class(index) => {
                let ends = |(source, to): (&'p PodInfo, &'p PodInfo)| {
                    Some(Ends { source, target_pod: Some(to), ip: flow.family.pick(&to.ips)? })
                };
                spread::pairs(&of(source), &of(*index)).into_iter().filter_map(ends).collect()
            }
            Target::Outside(_) | Target::Range(_) => {
                of(source).into_iter().map(|source| Ends { source, target_pod: None, ip: first.ip }).collect()
            }
        };
        if found.is_empty() { vec![first] } else { found }
    }

    fn ends<'p>(
        &self,
        flow: &TouchedFlow,
        pods: &BTreeMap<&PodRef, &'p PodInfo>,
    ) -> Result<Ends<'p>, (Unseen, String)> {
        let Origin::Class(source) = flow.source else {
            return Err((Unseen::Unprobeable, "its source is outside the cluster".to_owned()));
        };
        let from = self.usable(source, pods, None).ok_or_else(|| self.waiting(source))?;
        fit(from)?;
        match &flow.target {
            Target::Class(index) => {
                let avoid = (*index == source).then_some(&from.id);
                let to = self.usable(*index, pods, avoid).ok_or_else(|| self.waiting(*index))?;
                fit(to)?;
                let ip = flow.family.pick(&to.ips);
                let ip = ip.ok_or_else(|| (Unseen::Unprobeable, format!("{} has no address of that family", to.id)))?;
                Ok(Ends { source: from, target_pod: Some(to), ip })
            }
            Target::Outside(outside) => Ok(Ends { source: from, target_pod: None, ip: outside.address }),
            Target::Range(net) => Err((Unseen::Unprobeable, format!("no configured destination lies in {net}"))),
        }
    }

    fn waiting(&self, class: usize) -> (Unseen, String) {
        let Some(class) = self.live.class(class) else { return (Unseen::Waiting, "it runs no pod".to_owned()) };
        if class.pods.is_empty() {
            (Unseen::Waiting, runs_no_pod(&class.workload))
        } else {
            (Unseen::Pending, format!("no pod of {} is Ready", class.workload))
        }
    }

    /// A pod of the class that can be probed from and to.
    fn usable<'p>(
        &self,
        class: usize,
        pods: &BTreeMap<&PodRef, &'p PodInfo>,
        avoid: Option<&PodRef>,
    ) -> Option<&'p PodInfo> {
        let ids = &self.live.class(class)?.pods;
        ids.iter().filter(|id| Some(*id) != avoid).filter_map(|id| pods.get(id).copied()).find(|p| p.is_usable())
    }

    fn forbidden(&self, flow: &TouchedFlow, address: Address) -> Option<String> {
        let name = match &flow.target {
            Target::Outside(outside) => {
                if flow.live == Decision::Denied && !self.limits.probe_denied_outside {
                    return Some("denied flows to outside hosts are not probed (probe.probeDenied: false)".to_owned());
                }
                outside.name.as_deref()
            }
            Target::Class(_) | Target::Range(_) => None,
        };
        self.is_never(name, address).then(|| "probe.neverProbe forbids it".to_owned())
    }

    fn is_never(&self, name: Option<&str>, address: Address) -> bool {
        self.limits.never.iter().any(|never| {
            never.cidr.is_none_or(|net| net.contains(&address.ip))
                && never.port.is_none_or(|port| port == address.port)
                && never.name.as_deref().is_none_or(|wanted| Some(wanted) == name)
        })
    }

    fn target_controls(
        &self,
        flow: &TouchedFlow,
        source: &PodRef,
        target: Option<&PodInfo>,
        pods: &BTreeMap<&PodRef, &PodInfo>,
    ) -> Vec<TargetControl> {
        let mut controls = Vec::new();
        let allowed = |index: &usize| Origin::Class(*index) != flow.source && self.reaches(*index, flow);
        let others = (0..self.live.world.classes.len()).filter(allowed).filter(|i| self.may_start(*i));
        let usable = others.filter_map(|index| self.usable(index, pods, target.map(|t| &t.id)));
        controls.extend(
            usable
                .filter(|p| &p.id != source && fit(p).is_ok())
                .take(TARGET_CONTROLS)
                .map(|p| TargetControl { from: p.id.clone(), itself: false }),
        );
        if let Some(target) = target.filter(|t| (self.probe_from)(&t.id.namespace)) {
            controls.push(TargetControl { from: target.id.clone(), itself: true });
        }
        controls
    }

    fn may_start(&self, class: usize) -> bool {
        self.live.class(class).is_some_and(|c| c.usable && !c.host_network && (self.probe_from)(&c.workload.namespace))
    }

    fn reaches(&self, source: usize, flow: &TouchedFlow) -> bool {
        let ports = match &flow.target {
            Target::Class(destination) => self.live.between(source, *destination, flow.family),
            Target::Outside(outside) => self.live.to_outside(source, super::world::End::outside(outside.address)),
            Target::Range(_) => None,
        };
        ports.is_some_and(|p| p.contains(flow.protocol, flow.port))
    }

    /// Addresses that the live policies let the source reach and where a Ready pod declares the port: cluster DNS first,
    /// since nearly everybody may ask it, over UDP where TCP is not open.
    fn source_controls(
        &self,
        flow: &TouchedFlow,
        probed: Address,
        pods: &BTreeMap<&PodRef, &PodInfo>,
    ) -> Vec<(Address, String)> {
        let Origin::Class(source) = flow.source else { return Vec::new() };
        let mut found: Vec<(bool, Address, String)> = Vec::new();
        for (index, class) in self.live.world.classes.iter().enumerate() {
            if index == source || !class.usable || class.host_network {
                continue;
            }
            let Some(ports) = self.live.between(source, index, flow.family) else { continue };
            let open = answering(class).find(|(protocol, port)| ports.contains(*protocol, *port));
            let (Some((protocol, port)), Some(pod)) = (open, self.usable(index, pods, None)) else { continue };
            let Some(ip) = flow.family.pick(&pod.ips) else { continue };
            let address = Address { ip, port, protocol };
            // What may not be probed is no control either, and a proxy that answers for all shows nothing.
            if address != probed && fit(pod).is_ok() && !self.is_never(None, address) {
                let over = protocol.suffix();
                found.push((!dns::is_server(class), address, format!("{}:{port}{over}", class.workload)));
            }
        }
        found.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
        found.into_iter().take(SOURCE_CONTROLS).map(|(_, address, name)| (address, name)).collect()
    }
}

/// How many addresses are asked for these.
fn count(planned: &[Planned]) -> usize {
    planned.iter().map(Planned::probes).sum()
}

/// Why a flow waits for a workload, which the watcher finds again in the state.
#[must_use]
pub fn runs_no_pod(workload: &Workload) -> String {
    format!("{workload} runs no pod")
}

/// Opted-out pods and pods behind a mesh proxy cannot tell anything.
///
/// # Errors
/// It is one of them: why, for people.
pub fn fit(pod: &PodInfo) -> Result<(), (Unseen, String)> {
    if pod.annotations.get(OPT_OUT.0).is_some_and(|v| v == OPT_OUT.1) {
        return Err((Unseen::Unprobeable, format!("{} has opted out ({}: {})", pod.id, OPT_OUT.0, OPT_OUT.1)));
    }
    match pod.containers.iter().find(|c| is_mesh_proxy(&c.name)) {
        Some(proxy) => {
            Err((Unseen::Unprobeable, format!("{} answers for {}: it accepts every connection", proxy.name, pod.id)))
        }
        None => Ok(()),
    }
}

struct Ends<'p> {
    source: &'p PodInfo,
    target_pod: Option<&'p PodInfo>,
    ip: IpAddr,
}

/// Declared ports at which a living pod answers: TCP, and over UDP those of the cluster's DNS, since silence proves
/// nothing and only its questions are known.
fn answering(class: &Class) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    let declared = |protocol| class.ports.iter().filter(move |p| !p.init && p.protocol == protocol);
    let questions = declared(Protocol::Udp).filter(move |p| dns::is_server(class) && dns::is_for_names(p));
    declared(Protocol::Tcp).chain(questions).map(|p| (p.protocol, p.number))
}

/// The address family of a planned address.
#[must_use]
pub const fn family(address: &Address) -> Family {
    Family::of(address.ip)
}

#[cfg(test)]
mod tests;
