//! Which side closes a way to an address, as far as the policies say: what to mend where something cannot be reached.

use super::{
    matrix::Matrix,
    plan::Address,
    through::{self, Endpoint},
    verdict::Side,
    world::{End, Family},
};
use crate::model::{Direction, Origin, PolicyRef, RuleRef, Snapshot};

/// What the policies say of a way that was seen closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// No rule of this side lets it through: this policy isolates it.
    Isolated(Direction, PolicyRef),
    /// This rule denies it, before any that would let it through.
    Denied(RuleRef),
    /// Both sides let it through.
    Nobody,
}

/// What the policies say of the way from a class to an address, a Service's or a pod's own or one outside. Where a
/// Service's endpoints differ, the first that is closed counts. `None`: they say nothing certain, or the Service has no
/// endpoint.
#[must_use]
pub fn closing(snapshot: &Snapshot, policies: &Matrix<'_>, source: usize, to: Address) -> Option<Closing> {
    let family = Family::of(to.ip);
    let from = End::pods(policies.class(source)?, family);
    let mut all = None;
    for end in ends(snapshot, to) {
        let index = end.pod.and_then(|pod| policies.world.class_of(&pod.id));
        let there = match index.and_then(|index| policies.class(index)) {
            Some(class) => End { address: Some(end.ip), ..End::pods(class, family) },
            None => End::outside(end.ip),
        };
        let verdict = policies.flow((Some(source), from), (index, there), (to.protocol, end.port));
        let sides = [(Direction::Egress, &verdict.egress), (Direction::Ingress, &verdict.ingress)];
        for (direction, side) in sides {
            match side {
                Side::Denied(policies) => return Some(Closing::Isolated(direction, isolating(policies)?.clone())),
                Side::Stopped(rule, _) => return Some(Closing::Denied(rule.clone())),
                Side::Undefined => return None,
                Side::NotIsolated | Side::Allowed(_) => {}
            }
        }
        all = Some(Closing::Nobody);
    }
    all
}

/// Where a packet to the address arrives.
fn ends(snapshot: &Snapshot, to: Address) -> Vec<Endpoint<'_>> {
    let family = Family::of(to.ip);
    let has_it = snapshot.services.iter().filter(|service| service.cluster_ips.contains(&to.ip));
    let mut services = has_it.peekable();
    if services.peek().is_some() {
        let is_asked = |(port, protocol, _): &(u16, _, _)| (*port, *protocol) == (to.port, to.protocol);
        let led = services.filter_map(|service| Some((service, service.ports.iter().position(is_asked)?)));
        return led.flat_map(|(service, index)| through::endpoints(snapshot, service, index, family)).collect();
    }
    let pod = snapshot.pods.iter().find(|pod| !pod.host_network && pod.is_usable() && pod.ips.contains(&to.ip));
    vec![Endpoint { ip: to.ip, pod, port: to.port }]
}

/// The policy to name of those that isolate: a namespace's own before one of many.
fn isolating(policies: &[(PolicyRef, Option<Origin>)]) -> Option<&PolicyRef> {
    let own = policies.iter().find(|(policy, _)| policy.namespace.is_some());
    own.or_else(|| policies.first()).map(|(policy, _)| policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::fixtures::{Cluster, app, deny_all, index, ingress, labels},
        model::{Policy, Protocol, ServiceInfo},
    };

    const SERVICE: [u8; 4] = [10, 96, 0, 10];

    /// What is said of the way from `shop/web` to a Service of `redis/redis`, 80 to 8080, with so many pods.
    fn said(pods: usize, policies: Vec<Policy>) -> Option<Closing> {
        let mut cluster = Cluster::new(&["shop", "redis"]).app("shop/web", 1).app("redis/redis", pods);
        let world = cluster.world(policies);
        cluster.snapshot.services.push(ServiceInfo {
            namespace: "redis".to_owned(),
            name: "redis".to_owned(),
            selector: Some(labels(&[("app", "redis")])),
            cluster_ips: vec![SERVICE.into()],
            headless: false,
            ports: vec![(80, Protocol::Tcp, "8080".to_owned())],
            port_names: vec![String::new()],
            ends: Vec::new(),
        });
        let to = Address { ip: SERVICE.into(), port: 80, protocol: Protocol::Tcp };
        closing(&cluster.snapshot, &Matrix::new(&world), index(&world, "shop/web"), to)
    }

    #[test]
    fn the_side_that_denies_a_services_endpoints_is_named_and_none_where_both_let_it_through() {
        let at_redis = || vec![ingress("redis/redis", app("shop/web"), &[8080]), deny_all("redis")];
        assert_eq!(said(2, at_redis()), Some(Closing::Nobody));
        let by = |name: &str| PolicyRef::network_policy(name, "deny");
        assert_eq!(said(2, vec![deny_all("redis")]), Some(Closing::Isolated(Direction::Ingress, by("redis"))));
        let closed = [at_redis(), vec![deny_all("shop")]].concat();
        assert_eq!(said(2, closed), Some(Closing::Isolated(Direction::Egress, by("shop"))));
        assert_eq!(said(0, at_redis()), None, "nothing is there to be reached");
    }
}
