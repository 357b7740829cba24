//! Which port stands for a set of ports (design §4, "Which port").

use crate::{
    engine::world::Class,
    model::{ContainerPort, PortRange, PortSet, Protocol},
};

/// Up to so many neighbouring ports are looked at one by one where no rule says that they are a range.
const NARROW: u16 = 8;

/// The ports to look at within `set`. What `entries`, the ports of the rules at hand one by one, have of it is looked
/// at on its own: rules that name single ports side by side look like a range here, and none of them may go unseen.
/// Of each part: narrow ranges in full; of wide ones the ports that the destination declares, or one of them.
pub(super) fn representatives(set: &PortSet, destination: Option<&Class>, entries: &[PortSet]) -> Vec<(Protocol, u16)> {
    let mut result: Vec<(Protocol, u16)> = Vec::new();
    let mut rest = set.clone();
    for entry in entries {
        result.extend(of_part(&set.intersection(entry), destination));
        rest = rest.difference(entry);
    }
    result.extend(of_part(&rest, destination));
    result.sort_unstable();
    result.dedup();
    result
}

fn of_part(part: &PortSet, destination: Option<&Class>) -> Vec<(Protocol, u16)> {
    let mut result: Vec<(Protocol, u16)> = Vec::new();
    let narrow = part.iter().filter(|r| r.to - r.from < NARROW);
    result.extend(narrow.flat_map(|r| (r.from..=r.to).map(move |port| (r.protocol, port))));
    let declared = declared(destination).into_iter().map(|p| (p.protocol, p.number));
    result.extend(declared.filter(|(protocol, port)| part.contains(*protocol, *port)));
    if result.is_empty() {
        result.extend(one_of(part));
    }
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

    fn range(from: u16, to: u16) -> PortSet {
        [PortRange { protocol: Protocol::Tcp, from, to }].into_iter().collect()
    }

    fn ports(set: &PortSet, entries: &[PortSet]) -> Vec<u16> {
        representatives(set, None, entries).into_iter().map(|(_, port)| port).collect()
    }

    /// Two rules for 7001 and 7002 once were one range, and only its first port was probed.
    #[test]
    fn neighbouring_ports_are_each_looked_at() {
        assert_eq!(ports(&range(7001, 7002), &[]), [7001, 7002]);
        assert_eq!(ports(&range(9000, 9999), &[]), [9000], "a wide range has one that stands for it");
    }

    /// Twelve in a row once were a wide range.
    #[test]
    fn the_ports_of_rules_are_looked_at_one_by_one_however_many_stand_in_a_row() {
        let singles: Vec<PortSet> = (7001..=7012).map(|port| range(port, port)).collect();
        assert_eq!(ports(&range(7001, 7012), &singles), (7001..=7012).collect::<Vec<_>>());
        assert_eq!(ports(&range(7001, 7012), &[range(7001, 7012)]), [7001], "a range is one");
        let mixed = [range(7001, 7001), range(7100, 7200)];
        assert_eq!(ports(&range(7001, 7300), &mixed), [7001, 7100, 7201], "and what no rule names has one");
        assert_eq!(ports(&range(7001, 7002), &[range(80, 80)]), [7001, 7002], "other ports of a rule say nothing");
    }
}
