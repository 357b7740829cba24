//! The Services through which users connect to what a probe goes to.
//!
//! Policies decide after a Service's translation, so a pod's address is what they are seen at. Users ask the Service:
//! its answer has to be the same wherever its endpoints have the same verdict.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    matrix::Matrix,
    plan::Address,
    surroundings,
    touched::{Origin, Target, TouchedFlow},
    world::{End, Family},
};
use crate::model::{Decision, Labels, Outcome, PodInfo, Protocol, ServiceInfo, Snapshot};

/// Services that are asked for one flow.
const MOST: usize = 4;

/// How a reason of [`silent`] begins.
const SILENT: &str = "the pod's own address answers, ";

/// Why a flow is not verified although its pod answers: the Service at `at` does not.
#[must_use]
pub fn silent(at: &str, outcome: Outcome, why: &str) -> String {
    format!("{SILENT}{at} does not ({outcome}): {why}")
}

/// Whether a reason is one of [`silent`].
#[must_use]
pub fn is_silent(reason: &str) -> bool {
    reason.starts_with(SILENT)
}

/// A Service's address that leads to what is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    /// Its name as users write it: `redis.redis`.
    pub service: String,
    /// The ClusterIP and the Service's port.
    pub address: Address,
    /// What the policies decide of a flow through it; `None` where its endpoints differ in that.
    pub live: Option<Decision>,
    /// The pod's port that it leads to, where it is another one than the flow's: only its own number is the same.
    pub leads_to: Option<u16>,
}

/// An endpoint of a Service at one of its ports.
pub(super) struct Endpoint<'s> {
    pub(super) ip: IpAddr,
    pub(super) pod: Option<&'s PodInfo>,
    pub(super) port: u16,
}

/// The Services that lead to `ip`, which a planned flow goes to and `pod` has: by their target port, or by a port of the
/// same number, which is what users mistake for it.
#[must_use]
pub fn through(
    snapshot: &Snapshot,
    live: &Matrix<'_>,
    flow: &TouchedFlow,
    (ip, pod): (IpAddr, Option<&PodInfo>),
) -> Vec<Through> {
    let mut found = Vec::new();
    // Most Services are of other pods: that is seen before their endpoints are listed.
    for service in snapshot.services.iter().filter(|service| !service.headless && may_lead(service, ip, pod)) {
        let Some(address) = flow.family.pick(&service.cluster_ips) else { continue };
        for (index, (port, protocol, _)) in service.ports.iter().enumerate() {
            let ends = endpoints(snapshot, service, index, flow.family);
            let own = ends.iter().find(|end| end.ip == ip).filter(|_| *protocol == flow.protocol);
            let Some(own) = own.filter(|end| end.port == flow.port || *port == flow.port) else { continue };
            found.push(Through {
                service: format!("{}.{}", service.name, service.namespace),
                address: Address { ip: address, port: *port, protocol: *protocol },
                live: verdict(live, flow, &ends),
                leads_to: (own.port != flow.port).then_some(own.port),
            });
        }
    }
    // Who has a way to the port does not mistake another Service for it.
    if found.iter().any(|one| one.leads_to.is_none()) {
        found.retain(|one| one.leads_to.is_none());
    }
    found.sort_by(|a, b| (a.leads_to, &a.service, a.address).cmp(&(b.leads_to, &b.service, b.address)));
    found.truncate(MOST);
    found
}

fn may_lead(service: &ServiceInfo, ip: IpAddr, pod: Option<&PodInfo>) -> bool {
    match (&service.selector, pod) {
        (Some(labels), Some(pod)) if !labels.is_empty() => selects(service, labels, pod),
        _ => service.ends.iter().any(|end| end.address == ip),
    }
}

fn selects(service: &ServiceInfo, labels: &Labels, pod: &PodInfo) -> bool {
    pod.id.namespace == service.namespace && labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// The Ready endpoints of a Service at the port of this index.
pub(super) fn endpoints<'s>(
    snapshot: &'s Snapshot,
    service: &ServiceInfo,
    index: usize,
    family: Family,
) -> Vec<Endpoint<'s>> {
    let Some((_, protocol, target)) = service.ports.get(index) else { return Vec::new() };
    let Some(selector) = service.selector.as_ref().filter(|labels| !labels.is_empty()) else {
        return of_slices(snapshot, service, index, (family, *protocol));
    };
    let selected = snapshot.pods.iter().filter(|pod| pod.is_usable() && selects(service, selector, pod));
    let ends = selected.filter_map(|pod| {
        let port = surroundings::target_ports(pod, *protocol, target).first().copied()?;
        Some(Endpoint { ip: family.pick(&pod.ips)?, pod: Some(pod), port })
    });
    ends.collect()
}

/// Those that somebody else writes, for a Service without a selector.
fn of_slices<'s>(
    snapshot: &'s Snapshot,
    service: &ServiceInfo,
    index: usize,
    (family, protocol): (Family, Protocol),
) -> Vec<Endpoint<'s>> {
    let name = service.port_names.get(index).map_or("", String::as_str);
    let own = service
        .ends
        .iter()
        .filter(|end| end.protocol == protocol && end.name == name && Family::of(end.address) == family);
    let ends = own.filter_map(|end| {
        let has = |pod: &&PodInfo| !pod.host_network && pod.ips.contains(&end.address);
        Some(Endpoint { ip: end.address, pod: snapshot.pods.iter().find(has), port: end.port? })
    });
    ends.collect()
}

/// What all endpoints have in common.
fn verdict(live: &Matrix<'_>, flow: &TouchedFlow, ends: &[Endpoint<'_>]) -> Option<Decision> {
    let Origin::Class(source) = flow.source else { return None };
    let own = match flow.target {
        Target::Class(index) => live.class(index).map(|class| (index, class)),
        Target::Outside(_) | Target::Range(_) => None,
    };
    let class_of = |pod: &PodInfo| {
        let own = own.filter(|(_, class)| class.pods.contains(&pod.id)).map(|(index, _)| index);
        own.or_else(|| live.world.class_of(&pod.id))
    };
    let of = |class: Option<usize>, end: &Endpoint<'_>| {
        let ports = match class {
            Some(class) => live.between(source, class, flow.family),
            None => live.to_outside(source, End::outside(end.ip)),
        };
        match ports {
            None => Decision::Undefined,
            Some(ports) if ports.contains(flow.protocol, end.port) => Decision::Allowed,
            Some(_) => Decision::Denied,
        }
    };
    // Replicas are mostly one class: what is the same is asked once.
    let mut known: Vec<((Option<usize>, u16), Decision)> = Vec::new();
    for end in ends {
        let class = end.pod.and_then(class_of);
        if class.is_none() || known.iter().all(|(key, _)| *key != (class, end.port)) {
            known.push(((class, end.port), of(class, end)));
        }
    }
    let first = known.first().map(|(_, decision)| *decision)?;
    (first != Decision::Undefined && known.iter().all(|(_, other)| *other == first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::fixtures::{Cluster, app, deny_all, index, ingress, labels},
        model::{Policy, ServiceEnd, Why},
    };

    /// A Service of the pods `app: redis`.
    fn service(port: u16, target: &str) -> ServiceInfo {
        ServiceInfo {
            namespace: "redis".to_owned(),
            name: "redis".to_owned(),
            selector: Some(labels(&[("app", "redis")])),
            cluster_ips: vec!["10.96.0.7".parse().unwrap()],
            headless: false,
            ports: vec![(port, Protocol::Tcp, target.to_owned())],
            port_names: vec![String::new()],
            ends: Vec::new(),
        }
    }

    fn cluster() -> Cluster {
        Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("redis/redis", 3)
    }

    /// `shop/web` may reach `redis/redis` at 8080, and nobody anything else.
    fn policies() -> Vec<Policy> {
        vec![ingress("redis/redis", app("shop/web"), &[8080]), deny_all("redis")]
    }

    /// What leads to the first redis from `shop/web` at this port: live, and the other port that it leads to.
    fn found(
        mut cluster: Cluster,
        service: ServiceInfo,
        policies: Vec<Policy>,
        port: u16,
    ) -> Vec<(Option<Decision>, Option<u16>)> {
        let world = cluster.world(policies);
        cluster.snapshot.services.push(service);
        let (source, target) = (index(&world, "shop/web"), index(&world, "redis/redis"));
        let live = Matrix::new(&world);
        let decision = live.decision(source, target, Family::V4, Protocol::Tcp, port);
        let flow = TouchedFlow {
            source: Origin::Class(source),
            target: Target::Class(target),
            family: Family::V4,
            ipv6: false,
            protocol: Protocol::Tcp,
            port,
            why: Why::Manual,
            before: None,
            declared: decision,
            live: decision,
            missing: None,
            rules: Vec::new(),
            covers: 0,
            unseen: None,
            note: None,
        };
        let pod = cluster.snapshot.pods.iter().find(|pod| pod.workload.name == "redis").unwrap();
        let found = through(&cluster.snapshot, &live, &flow, (pod.ips[0], Some(pod)));
        found.iter().map(|one| (one.live, one.leads_to)).collect()
    }

    #[test]
    fn a_service_leads_to_a_pod_by_its_target_port_or_is_mistaken_for_it_by_its_own() {
        let open = (Some(Decision::Allowed), None);
        for (port, target, of, expected) in [
            (80, "8080", 8080, vec![open]),
            (80, "http", 8080, vec![open]),
            (8080, "9090", 8080, vec![(Some(Decision::Denied), Some(9090))]),
            (9090, "8080", 9090, vec![(Some(Decision::Allowed), Some(8080))]),
            (80, "9090", 8080, vec![]),
            (80, "nobody", 8080, vec![]),
        ] {
            assert_eq!(found(cluster(), service(port, target), policies(), of), expected, "{port} {target} {of}");
        }
        let mut both = cluster();
        both.snapshot.services.push(service(8080, "9090"));
        assert_eq!(found(both, service(80, "8080"), policies(), 8080), [open], "nobody mistakes the other for it");
    }

    #[test]
    fn what_no_user_of_the_pod_connects_to_is_none() {
        let change = |change: fn(&mut ServiceInfo)| {
            let mut service = service(80, "8080");
            change(&mut service);
            found(cluster(), service, policies(), 8080)
        };
        assert_eq!(change(|_| ()).len(), 1, "the control");
        assert!(change(|s| s.headless = true).is_empty());
        assert!(change(|s| s.cluster_ips.clear()).is_empty());
        assert!(change(|s| s.cluster_ips = vec!["fd00::1".parse().unwrap()]).is_empty(), "of another family");
        assert!(change(|s| s.namespace = "shop".to_owned()).is_empty());
        assert!(change(|s| s.selector = Some(labels(&[("app", "other")]))).is_empty());
        assert!(change(|s| s.ports[0].1 = Protocol::Udp).is_empty());
    }

    #[test]
    fn endpoints_that_differ_in_verdict_have_none_in_common() {
        let named = |pod: &mut PodInfo| {
            if pod.id.name.ends_with("-3") {
                pod.labels.insert("role".to_owned(), "main".to_owned());
            }
        };
        let spec = serde_json::json!({"podSelector": {"matchLabels": {"role": "main"}}, "policyTypes": ["Ingress"]});
        let main = crate::engine::fixtures::policy("redis/main", spec);
        let cluster = cluster().with("redis/redis", named);
        let apart = vec![main.clone()];
        assert_eq!(found(cluster.clone(), service(80, "8080"), apart.clone(), 8080), [(None, None)]);
        let gone = cluster.with("redis/redis", |pod| pod.ready = !pod.id.name.ends_with("-3"));
        assert_eq!(found(gone, service(80, "8080"), apart, 8080).len(), 1, "one that is not Ready is no endpoint");
    }

    #[test]
    fn a_service_without_a_selector_leads_where_its_slices_say() {
        let end = |address: &str| ServiceEnd {
            address: address.parse().unwrap(),
            name: String::new(),
            protocol: Protocol::Tcp,
            port: Some(8080),
        };
        let with = |ends: Vec<ServiceEnd>| ServiceInfo { selector: None, ends, ..service(80, "8080") };
        let first = cluster().snapshot.pods[1].ips[0].to_string();
        let open = (Some(Decision::Allowed), None);
        assert_eq!(found(cluster(), with(vec![end(&first)]), policies(), 8080), [open]);
        assert_eq!(found(cluster(), with(vec![end(&first), end("203.0.113.7")]), policies(), 8080), [open]);
        assert!(found(cluster(), with(vec![end("203.0.113.7")]), policies(), 8080).is_empty());
        assert!(found(cluster(), with(Vec::new()), policies(), 8080).is_empty());
    }
}
