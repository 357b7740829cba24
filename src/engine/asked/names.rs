//! DNS names of what is in the cluster, which must not be taken for hosts outside: no policy of the destination would
//! count then. Forms as in the specification of DNS-based service discovery (github.com/kubernetes/dns,
//! docs/specification.md): `SERVICE.NS.svc.ZONE`, `POD.SERVICE.NS.svc.ZONE`, and what a pod's search domains complete.

use super::{Asked, FORMS, Meaning, Unknown, class_of, pod, service, workload};
use crate::{
    engine::{near_miss, reach::Reach},
    model::{PodRef, ServiceInfo, Snapshot},
};

/// The zone of most clusters.
const ZONE: &str = "cluster.local";

/// Names that are told of a namespace.
const SHOWN: usize = 20;

/// What a name means, where it is one of the cluster; `None` for a host outside.
pub(super) fn in_cluster<'s>(
    text: &str,
    reach: &Reach<'_>,
    snapshot: &'s Snapshot,
) -> Option<Result<Meaning<'s>, Unknown>> {
    let lower = text.to_ascii_lowercase();
    // Search domains complete no name that ends with a dot.
    let (name, is_absolute) = lower.strip_suffix('.').map_or((lower.as_str(), false), |name| (name, true));
    let is_here = |namespace: &str| has_namespace(namespace, reach, snapshot);
    // Clusters may have another zone, where an unknown namespace is another network's.
    let is_ours = |namespace: &str, zone: &[&str]| zone.is_empty() || zone.join(".") == ZONE || is_here(namespace);
    match name.split('.').collect::<Vec<_>>().as_slice() {
        [name, namespace, "svc", zone @ ..] if is_ours(namespace, zone) => {
            Some(service(namespace, name, reach, snapshot))
        }
        [host, name, namespace, "svc", zone @ ..] if is_ours(namespace, zone) => {
            Some(of_pod(host, (namespace, name), reach, snapshot))
        }
        [.., "svc"] | [.., "cluster", "local"] => {
            Some(Err(Unknown(format!("`{text}` is a name in the cluster, but not of a Service: {FORMS}"))))
        }
        [name, namespace] if !is_absolute && is_here(namespace) => {
            let outside = |unknown: Unknown| Unknown(format!("{unknown} (for a host outside write `{text}.`)"));
            Some(service(namespace, name, reach, snapshot).map_err(outside))
        }
        [host, name, namespace] if !is_absolute && may_be_pod(host, (namespace, name), reach, snapshot) => {
            Some(of_pod(host, (namespace, name), reach, snapshot))
        }
        _ => None,
    }
}

/// The Service of that name.
pub(super) fn known<'s>(namespace: &str, name: &str, snapshot: &'s Snapshot) -> Option<&'s ServiceInfo> {
    snapshot.services.iter().find(|service| service.namespace == namespace && service.name == name)
}

/// That there is no such Service, and what there is.
pub(super) fn no_service(namespace: &str, name: &str, reach: &Reach<'_>, snapshot: &Snapshot) -> Unknown {
    let own = snapshot.services.iter().filter(|service| service.namespace == namespace);
    let names: Vec<&str> = own.map(|service| service.name.as_str()).collect();
    let there = match names.len() {
        _ if !has_namespace(namespace, reach, snapshot) => {
            let all = reach.points().iter().map(|point| point.workload.namespace.as_str());
            let near = near_miss::nearest(namespace, all);
            near.map_or_else(
                || format!(", nor anything in namespace `{namespace}`"),
                |near| format!("; did you mean `svc/{near}/{name}`?"),
            )
        }
        0 => format!(", nor another one of namespace `{namespace}`: give its Services too, or ask about pods"),
        1..=SHOWN => format!(": namespace `{namespace}` has {}", names.join(", ")),
        count => format!(": namespace `{namespace}` has {count} others"),
    };
    let near = near_miss::nearest(name, names).map(|near| format!("; did you mean `svc/{namespace}/{near}`?"));
    Unknown(format!("there is no Service `{namespace}/{name}` in the input{there}{}", near.unwrap_or_default()))
}

/// Whether anything of this namespace is known.
fn has_namespace(name: &str, reach: &Reach<'_>, snapshot: &Snapshot) -> bool {
    reach.matrix.world.namespaces.contains_key(name)
        || reach.points().iter().any(|point| point.workload.namespace == name)
        || snapshot.services.iter().any(|service| service.namespace == name)
}

/// Whether there is such a Service, or such a pod. The namespace alone is too little: it may be called `dev`, as hosts are.
fn may_be_pod(host: &str, (namespace, name): (&str, &str), reach: &Reach<'_>, snapshot: &Snapshot) -> bool {
    let id = PodRef { namespace: namespace.to_owned(), name: host.to_owned() };
    known(namespace, name, snapshot).is_some()
        || class_of(&id, reach).is_some()
        || !sets(namespace, host, reach).is_empty()
}

/// The StatefulSet one of whose pods has this name.
fn sets(namespace: &str, host: &str, reach: &Reach<'_>) -> Vec<Asked> {
    let set = host.rsplit_once('-').filter(|(_, ordinal)| ordinal.parse::<u32>().is_ok());
    set.map(|(set, _)| workload(namespace, Some("StatefulSet"), set, reach)).unwrap_or_default()
}

/// The pod that a name below its Service's means: pods of a StatefulSet have their own names there.
fn of_pod<'s>(
    host: &str,
    (namespace, name): (&str, &str),
    reach: &Reach<'_>,
    snapshot: &'s Snapshot,
) -> Result<Meaning<'s>, Unknown> {
    let served = service(namespace, name, reach, snapshot)?;
    let is_served = |class: usize| served.ends.iter().any(|end| end.class == Some(class));
    let id = PodRef { namespace: namespace.to_owned(), name: host.to_owned() };
    let ends: Vec<Asked> = if class_of(&id, reach).is_some_and(is_served) {
        pod(namespace, host, reach).into_iter().collect()
    } else {
        // Without pods the StatefulSet stands for each of them.
        let is_bare = |class| reach.points().iter().any(|point| point.class == class && point.pods.is_empty());
        let sets = sets(namespace, host, reach).into_iter();
        sets.filter(|end| end.class.is_some_and(|class| is_served(class) && is_bare(class))).collect()
    };
    if ends.is_empty() {
        let hint = "write NS/POD for a pod that has another host name, or its address";
        return Err(Unknown(format!("no pod `{host}` of Service `{namespace}/{name}` is in the input: {hint}")));
    }
    Ok(Meaning { ends, service: None })
}

/// Whether a text was meant as an address and is none: no name ends with a number (RFC 1123, section 2.1; "ends in a number"
/// of the URL standard, url.spec.whatwg.org).
pub(in crate::engine) fn is_bad_address(text: &str) -> bool {
    let is_all = |text: &str, is: fn(&char) -> bool| text.chars().all(|c| is(&c));
    let name = text.strip_suffix('.').unwrap_or(text);
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    !last.is_empty() && is_all(last, char::is_ascii_digit)
        || hex.is_some_and(|hex| is_all(hex, char::is_ascii_hexdigit))
}
