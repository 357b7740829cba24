//! Which port stands for a set of ports (design §4, "Which port").

use crate::{
    engine::world::Class,
    model::{ContainerPort, PortRange, PortSet, Protocol},
};

/// Up to so many neighbouring ports are looked at one by one: rules that name single ports side by side look like a
/// range here, and none of them may go unseen.
const NARROW: u16 = 8;

/// The ports to look at within `set`: single ports as the rules say, narrow ranges in full; of wide ranges those that the destination declares;
/// where it declares none, one port of the range.
pub(super) fn representatives(set: &PortSet, destination: Option<&Class>) -> Vec<(Protocol, u16)> {
    let declared = declared(destination);
    let mut result: Vec<(Protocol, u16)> = Vec::new();
    let narrow = set.iter().filter(|r| r.to - r.from < NARROW);
    result.extend(narrow.flat_map(|r| (r.from..=r.to).map(move |port| (r.protocol, port))));
    result.extend(
        declared.iter().map(|p| (p.protocol, p.number)).filter(|(protocol, port)| set.contains(*protocol, *port)),
    );
    if result.is_empty() {
        result.extend(one_of(set));
    }
    result.sort_unstable();
    result.dedup();
    result
}

/// The port that most likely answers: declared TCP first, then any of the set.
pub(super) fn best(set: &PortSet, destination: Option<&Class>) -> Option<(Protocol, u16)> {
    let declared = declared(destination);
    let hit = |p: &&ContainerPort| set.contains(p.protocol, p.number);
    let tcp = declared.iter().filter(|p| p.protocol == Protocol::Tcp).find(hit);
    let any = tcp.or_else(|| declared.iter().find(hit)).map(|p| (p.protocol, p.number));
    any.or_else(|| {
        let single = set.iter().find(|r| r.from == r.to && r.protocol == Protocol::Tcp);
        single.map(|r| (r.protocol, r.from)).or_else(|| one_of(set))
    })
}

/// Whether the destination declares this port, outside init containers.
pub(super) fn is_declared(destination: Option<&Class>, port: (Protocol, u16)) -> bool {
    declared(destination).iter().any(|p| (p.protocol, p.number) == port)
}

fn declared(destination: Option<&Class>) -> Vec<ContainerPort> {
    destination.map(|c| c.ports.iter().filter(|p| !p.init).cloned().collect()).unwrap_or_default()
}

/// One port of the set: TCP if there is one. Of a range, one above the privileged ports if it reaches there.
fn one_of(set: &PortSet) -> Option<(Protocol, u16)> {
    let pick = |r: PortRange| (r.protocol, if r.from < 8080 && r.to >= 8080 { 8080 } else { r.from });
    let tcp = set.iter().filter(|r| r.protocol == Protocol::Tcp);
    // The widest range, so that a hole that a rule leaves at port 1 does not stand for all.
    let widest = tcp.max_by_key(|r| r.to - r.from).or_else(|| set.iter().next());
    widest.map(pick)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rules for 7001 and 7002 once were one range, and only its first port was probed.
    #[test]
    fn neighbouring_ports_are_each_looked_at() {
        let range = |from, to| PortRange { protocol: Protocol::Tcp, from, to };
        let ports = |set: PortSet| representatives(&set, None).into_iter().map(|(_, port)| port).collect::<Vec<_>>();
        assert_eq!(ports([range(7001, 7001), range(7002, 7002)].into_iter().collect()), [7001, 7002]);
        assert_eq!(ports([range(9000, 9999)].into_iter().collect()), [9000], "a wide range has one that stands for it");
    }
}
