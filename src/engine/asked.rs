//! What an endpoint on the command line means: `NS/POD`, `NS/KIND/NAME`, `svc/NS/NAME`, an address (a Service's too), a
//! CIDR, a host name (that of a Service or pod too).

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    near_miss,
    reach::{Point, Reach},
    world::Family,
};
use crate::model::{Endpoint, Labels, PodRef, Protocol, ServiceInfo, Snapshot, Workload};

mod names;
pub(super) use names::is_bad_address;

/// An endpoint that a flow can be asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As it is told.
    pub endpoint: Endpoint,
    /// The class that stands for it; `None` for addresses outside.
    pub class: Option<usize>,
    /// The pod, where one was meant.
    pub pod: Option<PodRef>,
    /// The addresses, where it is outside.
    pub nets: Vec<IpNet>,
    /// The family, where an address was meant.
    pub family: Option<Family>,
}

/// A text that means no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(String);

impl Unknown {
    /// With this sentence.
    #[must_use]
    pub const fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

/// An endpoint's meanings, and the Service through which it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning<'s> {
    /// At least one.
    pub ends: Vec<Asked>,
    /// Its ports are what is asked for then.
    pub service: Option<&'s ServiceInfo>,
}

/// Pods that are named in the place of one that is gone.
const SHOWN_PODS: usize = 5;

/// kubectl's names of the kinds that have pods.
const KINDS: [(&str, &[&str]); 9] = [
    ("Pod", &["pod", "pods", "po"]),
    ("Deployment", &["deployment", "deployments", "deploy"]),
    ("ReplicaSet", &["replicaset", "replicasets", "rs"]),
    ("StatefulSet", &["statefulset", "statefulsets", "sts"]),
    ("DaemonSet", &["daemonset", "daemonsets", "ds"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cronjob", "cronjobs", "cj"]),
    ("ReplicationController", &["replicationcontroller", "replicationcontrollers", "rc"]),
    ("Service", &["service", "services", "svc"]),
];

/// The kind that a word means; the word itself where it is none of kubectl's.
fn kind_of(word: &str) -> &str {
    let lower = word.to_ascii_lowercase();
    KINDS.iter().find(|(_, names)| names.contains(&lower.as_str())).map_or(word, |(kind, _)| kind)
}

/// What `text` means.
///
/// # Errors
/// Nothing, or more than one thing.
pub fn resolve<'s>(text: &str, reach: &Reach<'_>, snapshot: &'s Snapshot) -> Result<Meaning<'s>, Unknown> {
    let plain = |ends| Ok(Meaning { ends, service: None });
    if let Ok(address) = text.parse::<IpAddr>() {
        // Policies never see a Service's address: what goes there has the address of an endpoint by then.
        if let Some(service) = snapshot.services.iter().find(|service| service.cluster_ips.contains(&address)) {
            return self::service(&service.namespace, &service.name, reach, snapshot);
        }
        return plain(vec![of_address(address, reach, snapshot)]);
    }
    if let Ok(net) = text.parse::<IpNet>() {
        return plain(vec![outside(None, vec![net.trunc()])]);
    }
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [word, namespace, name] if word.eq_ignore_ascii_case("svc") => service(namespace, name, reach, snapshot),
        [namespace, kind, name] => match kind_of(kind) {
            "Service" => service(namespace, name, reach, snapshot),
            "Pod" => plain(pod(namespace, name, reach).into_iter().collect()).and_then(|m| some(m, text, reach)),
            kind => some(Meaning { ends: workload(namespace, Some(kind), name, reach), service: None }, text, reach),
        },
        [address, _] if address.contains(':') || is_bad_address(address) || address.parse::<IpAddr>().is_ok() => {
            Err(Unknown(format!("`{text}` is no CIDR: {CIDRS}")))
        }
        [namespace, name] => match pod(namespace, name, reach) {
            Some(pod) => plain(vec![pod]),
            None => by_name(namespace, name, text, reach),
        },
        [name] => one_word(name, reach, snapshot),
        _ => Err(Unknown(format!("`{text}` is no endpoint: {FORMS}"))),
    }
}

const FORMS: &str = "write NS/POD, NS/KIND/NAME, svc/NS/NAME, an IP address, a CIDR or a host name";
const CIDRS: &str = "write an address and a length up to 32, for IPv6 up to 128, such as 10.0.5.0/24";

/// A node, or a host name.
fn one_word<'s>(name: &str, reach: &Reach<'_>, snapshot: &'s Snapshot) -> Result<Meaning<'s>, Unknown> {
    let plain = |end| Ok(Meaning { ends: vec![end], service: None });
    let is_it = |point: &&Point| matches!(&point.endpoint, Endpoint::Host { name: node } if node == name);
    if let Some(node) = reach.points().iter().find(is_it) {
        return plain(of_point(node));
    }
    if is_bad_address(name) {
        return Err(Unknown(format!("`{name}` is no address: IPv4 has four numbers from 0 to 255, such as 10.0.5.1")));
    }
    if !is_host_name(name) {
        return Err(Unknown(format!("`{name}` is no endpoint: {FORMS}")));
    }
    names::in_cluster(name, reach, snapshot).unwrap_or_else(|| {
        let all = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse().ok()).collect();
        plain(outside(Some(name), all))
    })
}

fn is_host_name(text: &str) -> bool {
    let is_label =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.contains('.') && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// Addresses outside, by a name where they have one.
pub(super) fn outside(name: Option<&str>, nets: Vec<IpNet>) -> Asked {
    let endpoint = Endpoint::External { name: name.map(str::to_owned), cidrs: nets.clone() };
    Asked { endpoint, class: None, pod: None, nets, family: None }
}

/// A whole endpoint.
pub(super) fn of_point(point: &Point) -> Asked {
    Asked { endpoint: point.endpoint.clone(), class: Some(point.class), pod: None, nets: Vec::new(), family: None }
}

fn of_pod(pod: &PodRef, class: usize) -> Asked {
    let workload = Workload { kind: "Pod".to_owned(), namespace: pod.namespace.clone(), name: pod.name.clone() };
    Asked {
        endpoint: Endpoint::Workload(workload),
        class: Some(class),
        pod: Some(pod.clone()),
        nets: Vec::new(),
        family: None,
    }
}

/// A pod's address is the pod, a node's the node.
pub(super) fn of_address(address: IpAddr, reach: &Reach<'_>, snapshot: &Snapshot) -> Asked {
    let has = |pod: &&crate::model::PodInfo| !pod.host_network && pod.ips.contains(&address);
    let pod = snapshot.pods.iter().find(has).and_then(|pod| Some((&pod.id, class_of(&pod.id, reach)?)));
    if let Some((pod, class)) = pod {
        return Asked { family: Some(Family::of(address)), ..of_pod(pod, class) };
    }
    let outside = outside(None, vec![IpNet::from(address)]);
    match snapshot.nodes.iter().find(|(_, addresses)| addresses.contains(&address)) {
        Some((name, _)) => Asked { endpoint: Endpoint::Host { name: name.clone() }, ..outside },
        None => outside,
    }
}

fn class_of(pod: &PodRef, reach: &Reach<'_>) -> Option<usize> {
    reach.matrix.world.classes.iter().position(|class| class.pods.contains(pod))
}

fn pod(namespace: &str, name: &str, reach: &Reach<'_>) -> Option<Asked> {
    let pod = PodRef { namespace: namespace.to_owned(), name: name.to_owned() };
    let class = class_of(&pod, reach)?;
    let is_host = reach.matrix.class(class).is_some_and(|class| class.host_network);
    if is_host {
        return reach.points().iter().find(|point| point.pods.contains(&pod)).map(of_point);
    }
    Some(of_pod(&pod, class))
}

fn workload(namespace: &str, kind: Option<&str>, name: &str, reach: &Reach<'_>) -> Vec<Asked> {
    let is_meant = |point: &&Point| kind.is_none_or(|kind| point.workload.kind.eq_ignore_ascii_case(kind));
    let points: Vec<Asked> = reach.named(namespace, name).filter(is_meant).map(of_point).collect();
    if !points.is_empty() {
        return points;
    }
    // Several workloads that use one node's network are one point.
    let classes = reach.matrix.world.classes.iter().filter(|class| class.host_network);
    let named = classes.filter(|class| {
        let id = &class.workload;
        id.namespace == namespace && id.name == name && kind.is_none_or(|kind| id.kind.eq_ignore_ascii_case(kind))
    });
    named
        .filter_map(|class| reach.points().iter().find(|p| class.pods.iter().any(|pod| p.pods.contains(pod))))
        .map(of_point)
        .collect()
}

fn by_name<'s>(namespace: &str, name: &str, text: &str, reach: &Reach<'_>) -> Result<Meaning<'s>, Unknown> {
    let mut kinds: Vec<&str> = reach.named(namespace, name).map(|point| point.workload.kind.as_str()).collect();
    kinds.dedup();
    if kinds.len() > 1 {
        let forms: Vec<String> = kinds.iter().map(|kind| format!("{namespace}/{kind}/{name}")).collect();
        return Err(Unknown(format!("`{text}` is more than one workload: {}", forms.join(", "))));
    }
    some(Meaning { ends: workload(namespace, None, name, reach), service: None }, text, reach)
}

/// Refuses a meaning without an end, with what there is instead.
fn some<'s>(meaning: Meaning<'s>, text: &str, reach: &Reach<'_>) -> Result<Meaning<'s>, Unknown> {
    if !meaning.ends.is_empty() {
        return Ok(meaning);
    }
    let namespace = text.split('/').next().unwrap_or_default();
    let name = text.rsplit('/').next().unwrap_or_default();
    let in_namespace = reach.points().iter().filter(|point| point.workload.namespace == namespace);
    let mut names: Vec<String> = in_namespace.map(|p| format!("{}/{}", p.workload.kind, p.workload.name)).collect();
    names.dedup();
    let there = match names.len() {
        0 => format!("nothing is in namespace `{namespace}`"),
        1..=20 => format!("namespace `{namespace}` has {}", names.join(", ")),
        count => format!("namespace `{namespace}` has {count} others"),
    };
    let meant = meant(namespace, name, reach).map(|meant| format!("; {meant}")).unwrap_or_default();
    Err(Unknown(format!("there is no pod or workload `{text}`: {there}{meant}")))
}

/// What was probably meant: the pods that a replaced one's workload has now, or a name that is nearly the same.
fn meant(namespace: &str, name: &str, reach: &Reach<'_>) -> Option<String> {
    let points = || reach.points().iter().filter(|point| point.workload.namespace == namespace);
    let is_of = |point: &&Point| name.strip_prefix(&point.workload.name).is_some_and(|rest| rest.starts_with('-'));
    if let Some(point) = points().filter(is_of).max_by_key(|point| point.workload.name.len()) {
        let pods: Vec<&str> = point.pods.iter().take(SHOWN_PODS).map(|pod| pod.name.as_str()).collect();
        let more = if point.pods.len() > SHOWN_PODS { ", …" } else { "" };
        return (!pods.is_empty()).then(|| format!("{}'s pods are {}{more}", point.workload.name, pods.join(", ")));
    }
    let near = near_miss::nearest(name, points().map(|point| point.workload.name.as_str()));
    let mut namespaces = reach.points().iter().map(|point| point.workload.namespace.as_str());
    let near = near.map(|near| format!("{namespace}/{near}")).or_else(|| {
        if namespaces.any(|known| known == namespace) {
            return None;
        }
        let all = reach.points().iter().map(|point| point.workload.namespace.as_str());
        near_miss::nearest(namespace, all).map(|near| format!("{near}/{name}"))
    });
    near.map(|near| format!("did you mean `{near}`?"))
}

fn service<'s>(namespace: &str, name: &str, reach: &Reach<'_>, snapshot: &'s Snapshot) -> Result<Meaning<'s>, Unknown> {
    let Some(service) = names::known(namespace, name, snapshot) else {
        return Err(names::no_service(namespace, name, reach, snapshot));
    };
    let Some(selector) = &service.selector else {
        let addresses: BTreeSet<IpAddr> = service.ends.iter().map(|end| end.address).collect();
        if addresses.is_empty() {
            let hint = "give its EndpointSlices too, or ask about one of its addresses";
            return Err(Unknown(format!(
                "Service `{namespace}/{name}` has no selector, so that its endpoints are not known: {hint}"
            )));
        }
        let ends = addresses.into_iter().map(|address| of_address(address, reach, snapshot)).collect();
        return Ok(Meaning { ends, service: Some(service) });
    };
    let has = |labels: &Labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let is_endpoint = |point: &&Point| {
        let class = reach.matrix.class(point.class);
        point.workload.namespace == namespace && class.is_some_and(|class| has(&class.labels))
    };
    let ends: Vec<Asked> = reach.points().iter().filter(is_endpoint).map(of_point).collect();
    if ends.is_empty() {
        return Err(Unknown(format!("Service `{namespace}/{name}` selects no pod in the input")));
    }
    Ok(Meaning { ends, service: Some(service) })
}

/// A port as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// By number.
    Number(u16),
    /// By the name that the destination declares.
    Name(String),
}

/// `5432`, `53/UDP`, `http/TCP`; TCP without a protocol.
///
/// # Errors
/// It is none of them.
pub fn port(text: &str) -> Result<(Protocol, Port), Unknown> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    let known = protocol.to_ascii_uppercase().parse();
    let protocol = known.map_err(|_| Unknown(format!("`{protocol}` is no protocol (TCP, UDP, SCTP)")))?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if port.chars().all(|c| c.is_ascii_digit()) {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| Unknown(format!("port `{port}` is not between 1 and 65535")))?;
        return Ok((protocol, Port::Number(number)));
    }
    if port.len() > 15 || !port.chars().all(is_name) {
        return Err(Unknown(format!("`{text}` is no port: write 5432, 53/UDP or http/TCP")));
    }
    Ok((protocol, Port::Name(port.to_owned())))
}

/// The ports of `end` that are meant: a name resolves to those that it declares, a Service's port to its target. That of
/// a headless Service is the pod's own, since nothing translates it.
///
/// # Errors
/// The destination declares no port of that name, or the Service has no such port.
pub fn numbers(
    end: &Asked,
    service: Option<&ServiceInfo>,
    (protocol, port): &(Protocol, Port),
    reach: &Reach<'_>,
) -> Result<Vec<u16>, Unknown> {
    let Some(service) = service.filter(|service| !service.headless) else {
        return declared(end, *protocol, port, reach);
    };
    let names = service.port_names.iter().map(String::as_str).chain(std::iter::repeat(""));
    let mut ports = service.ports.iter().zip(names).filter(|((_, p, _), _)| p == protocol);
    let wanted = match port {
        Port::Number(number) => ports.find(|((own, _, _), _)| own == number),
        // A target's name is what is meant most often.
        Port::Name(name) => {
            ports.clone().find(|((_, _, target), _)| target == name).or_else(|| ports.find(|(_, own)| own == name))
        }
    };
    let Some(((_, _, target), name)) = wanted else {
        let ports: Vec<String> = service.ports.iter().map(|(number, p, _)| format!("{number}/{p}")).collect();
        let (namespace, name) = (&service.namespace, &service.name);
        return Err(Unknown(format!("Service `{namespace}/{name}` has no such port (it has {})", ports.join(", "))));
    };
    if service.selector.is_none() {
        return of_slices(end, service, (*protocol, name), reach);
    }
    let target = target.parse().map_or_else(|_| Port::Name(target.clone()), Port::Number);
    declared(end, *protocol, &target, reach)
}

/// The ports that EndpointSlices have at an endpoint for the Service's port of this name.
fn of_slices(
    end: &Asked,
    service: &ServiceInfo,
    (protocol, name): (Protocol, &str),
    reach: &Reach<'_>,
) -> Result<Vec<u16>, Unknown> {
    let ips = end.class.and_then(|class| reach.matrix.class(class)).map_or(&[][..], |class| &class.ips);
    let is_here = |address: IpAddr| ips.contains(&address) || end.nets.contains(&IpNet::from(address));
    let here = service.ends.iter().filter(|one| is_here(one.address) && one.protocol == protocol && one.name == name);
    let numbers: BTreeSet<u16> = here.filter_map(|one| one.port).collect();
    if numbers.is_empty() {
        let (namespace, service) = (&service.namespace, &service.name);
        return Err(Unknown(format!(
            "`{}` is no endpoint of that port of Service `{namespace}/{service}`",
            end.endpoint
        )));
    }
    Ok(numbers.into_iter().collect())
}

fn declared(end: &Asked, protocol: Protocol, port: &Port, reach: &Reach<'_>) -> Result<Vec<u16>, Unknown> {
    let name = match port {
        Port::Number(number) => return Ok(vec![*number]),
        Port::Name(name) => name,
    };
    let ports = end.class.and_then(|class| reach.matrix.class(class)).map_or(&[][..], |class| &class.ports);
    let named = ports.iter().filter(|p| p.protocol == protocol && p.name.as_ref() == Some(name));
    let mut numbers: Vec<u16> = named.map(|p| p.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        let known: Vec<String> =
            ports.iter().filter_map(|p| Some(format!("{}/{}", p.name.as_ref()?, p.protocol))).collect();
        let known = if known.is_empty() { "no named port".to_owned() } else { known.join(", ") };
        return Err(Unknown(format!("`{}` declares no port `{name}/{protocol}`: it has {known}", end.endpoint)));
    }
    Ok(numbers)
}
