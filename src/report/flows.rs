//! Flows between endpoints as lists, explanations and differences tell them.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

use super::{clean, words};
use crate::{
    engine::{
        reach::{
            Families, Open, Other, Others,
            outside::{self, Range},
        },
        world::Family,
    },
    model::{Endpoint, IpProtocol, PortRange, PortSet},
};

/// How flows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    Text,
    /// The documented JSON.
    Json,
    /// A row of a table.
    Markdown,
}

/// The documented form of ports: `"all"`, or disjoint sorted ranges, and what rules name of protocols without ports.
#[must_use]
pub fn open_json(open: &Open) -> Value {
    if open.is_all() {
        return "all".into();
    }
    let others = told(&open.others).into_iter().map(|(other, but)| {
        let mut entry = other_json(other);
        if let (false, Some(fields)) = (but.is_empty(), entry.as_object_mut()) {
            fields.insert("but".to_owned(), but.into_iter().map(other_json).collect());
        }
        entry
    });
    open.ports.iter().map(|range| json!(range)).chain(others).collect()
}

fn other_json(other: Other) -> Value {
    let protocol = other.protocol().to_string();
    match other {
        Other::Protocol(_) => json!({"protocol": protocol}),
        Other::Message(_, kind, None) => json!({"protocol": protocol, "type": kind}),
        Other::Message(_, kind, Some(code)) => json!({"protocol": protocol, "type": kind, "code": code}),
    }
}

/// What is told of protocols without ports: each protocol with those of its messages that do not pass, or the messages
/// that do where the others do not.
fn told(others: &Others) -> Vec<(Other, Vec<Other>)> {
    let is_whole = |other: &Other| others.allowed.contains(&Other::Protocol(other.protocol()));
    let alone = |other: &&Other| matches!(other, Other::Protocol(_)) || !is_whole(other);
    let but = |other: &Other| {
        let own = others.but.iter().filter(|denied| denied.protocol() == other.protocol());
        if matches!(other, Other::Protocol(_)) { own.copied().collect() } else { Vec::new() }
    };
    others.allowed.iter().filter(alone).map(|other| (*other, but(other))).collect()
}

fn other_text(other: Other) -> String {
    let protocol = other.protocol();
    match other {
        // A bare number would look like a port.
        Other::Protocol(IpProtocol(number)) if protocol.to_string() == number.to_string() => {
            format!("protocol {number}")
        }
        Other::Protocol(_) => protocol.to_string(),
        Other::Message(_, kind, None) => format!("{protocol} type {kind}"),
        Other::Message(_, kind, Some(code)) => format!("{protocol} type {kind} code {code}"),
    }
}

/// What is open, for people: `80/TCP ICMP type 8`, `all ports`, `no port`.
#[must_use]
pub fn open_text(open: &Open) -> String {
    if open.is_all() {
        return "all ports".to_owned();
    }
    let mut texts = if open.ports.is_empty() { Vec::new() } else { vec![ports_text(&open.ports)] };
    for (other, but) in told(&open.others) {
        let but: Vec<String> = but.into_iter().map(other_text).collect();
        let but = if but.is_empty() { String::new() } else { format!(" but {}", but.join(", ")) };
        texts.push(format!("{}{but}", other_text(other)));
    }
    if texts.is_empty() { "no port".to_owned() } else { texts.join(" ") }
}

/// Ports for people: `80,8000-8010/TCP 53/UDP`.
fn ports_text(ports: &PortSet) -> String {
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for range in ports.iter() {
        let PortRange { protocol, from, to } = range;
        let range = if (from, to) == (1, u16::MAX) { "all".to_owned() } else { range.numbers() };
        match parts.last_mut() {
            Some((name, ranges)) if *name == protocol.to_string() => ranges.push(range),
            _ => parts.push((protocol.to_string(), vec![range])),
        }
    }
    let texts: Vec<String> =
        parts.iter().map(|(protocol, ranges)| format!("{}/{protocol}", ranges.join(","))).collect();
    texts.join(" ")
}

/// An endpoint as the command line takes it: `shop/Deployment/cart`, `shop/cart-0` for a pod, `10.0.0.0/8`.
#[must_use]
pub fn endpoint_text(endpoint: &Endpoint) -> String {
    let text = match endpoint {
        Endpoint::Workload(w) if w.kind == "Pod" => format!("{}/{}", w.namespace, w.name),
        Endpoint::Workload(w) => format!("{}/{}/{}", w.namespace, w.kind, w.name),
        // A name alone means every address that it may have, of both families.
        Endpoint::External { name: Some(name), cidrs } if is_everything(cidrs) => name.clone(),
        Endpoint::External { name: Some(name), cidrs } => {
            return format!("{} ({})", clean::line(name, words::NAME), blocks(cidrs));
        }
        Endpoint::External { name: None, cidrs } => return blocks(cidrs),
        Endpoint::Host { name } => format!("node {name}"),
    };
    clean::line(&text, 3 * words::NAME)
}

fn is_everything(cidrs: &[IpNet]) -> bool {
    let of = |is_v4| cidrs.iter().any(|net| net.addr().is_ipv4() == is_v4);
    cidrs.iter().all(|net| net.prefix_len() == 0) && of(true) == of(false)
}

/// Blocks of each family, or what is missing of all of its addresses where that is said in fewer words.
fn blocks(cidrs: &[IpNet]) -> String {
    let joined = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = cidrs.iter().partition(|net| net.addr().is_ipv4());
    let families =
        [(IpNet::from(Ipv4Net::default()), Family::V4, v4), (IpNet::from(Ipv6Net::default()), Family::V6, v6)];
    let texts = families.into_iter().filter(|(_, _, nets)| !nets.is_empty()).map(|(all, family, nets)| {
        let rest = rest(family, &nets);
        if !rest.is_empty() && rest.len() * 2 < nets.len() {
            format!("{all} but {}", joined(&rest))
        } else {
            joined(&nets)
        }
    });
    let texts: Vec<String> = texts.collect();
    texts.join(if texts.iter().any(|text| text.contains(" but ")) { " and " } else { "," })
}

/// What is left of a family's addresses without these blocks, in blocks.
fn rest(family: Family, nets: &[IpNet]) -> Vec<IpNet> {
    let known: Vec<Range> = nets.iter().map(|net| Range::of(*net)).collect();
    let parts = outside::cut(&Range::all(family), nets).into_iter();
    let gaps: Vec<Range> = parts.filter(|part| !known.iter().any(|range| range.overlaps(part))).collect();
    outside::blocks(&gaps)
}

/// ` (IPv6)` where the policies decide the families otherwise.
#[must_use]
pub const fn families_text(families: Families) -> &'static str {
    match families {
        Families::Any => "",
        Families::One(Family::V4) => " (IPv4)",
        Families::One(Family::V6) => " (IPv6)",
    }
}

/// `"IPv6"` where the policies decide the families otherwise.
#[must_use]
pub const fn families_json(families: Families) -> Option<&'static str> {
    match families {
        Families::Any => None,
        Families::One(Family::V4) => Some("IPv4"),
        Families::One(Family::V6) => Some("IPv6"),
    }
}

/// Text in a cell of a Markdown table.
#[must_use]
pub fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('`', "\\`").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn set(ranges: &[(Protocol, u16, u16)]) -> PortSet {
        ranges.iter().map(|&(protocol, from, to)| PortRange { protocol, from, to }).collect()
    }

    #[test]
    fn ports_are_told_as_people_write_them() {
        let mixed = set(&[(Protocol::Udp, 53, 53), (Protocol::Tcp, 80, 80), (Protocol::Tcp, 8000, 8010)]);
        let text = |ports: PortSet| open_text(&Open::ports(ports));
        assert_eq!(text(mixed.clone()), "80,8000-8010/TCP 53/UDP");
        assert_eq!(text(set(&[(Protocol::Udp, 1, 65535)])), "all/UDP");
        assert_eq!([text(PortSet::all()), text(PortSet::empty())], ["all ports", "no port"]);
        assert_eq!(open_json(&Open::ports(PortSet::all())), json!("all"));
        assert_eq!(open_json(&Open::ports(PortSet::empty())), json!([]));
        let expected = json!([{"protocol": "TCP", "from": 80, "to": 80}, {"protocol": "TCP", "from": 8000, "to": 8010},
            {"protocol": "UDP", "from": 53, "to": 53}]);
        assert_eq!(open_json(&Open::ports(mixed)), expected);
    }

    #[test]
    fn protocols_without_ports_are_told_by_what_rules_name() {
        let ping = Other::Message(IpProtocol::ICMP, 8, None);
        let open = |all, allowed: &[Other], but: &[Other]| Open {
            ports: PortSet::all(),
            others: Others { all, allowed: allowed.iter().copied().collect(), but: but.iter().copied().collect() },
        };
        let some = open(false, &[ping, Other::Protocol(IpProtocol(47))], &[]);
        assert_eq!(open_text(&some), "all/TCP all/UDP all/SCTP protocol 47 ICMP type 8");
        assert_eq!(open_json(&some)[4], json!({"protocol": "ICMP", "type": 8}));
        let but = open(false, &[Other::Protocol(IpProtocol::ICMP)], &[ping]);
        assert_eq!(open_text(&but), "all/TCP all/UDP all/SCTP ICMP but ICMP type 8");
        assert_eq!(open_json(&but)[3], json!({"protocol": "ICMP", "but": [{"protocol": "ICMP", "type": 8}]}));
        assert_eq!(open_text(&open(true, &[ping], &[])), "all ports");
    }

    #[test]
    fn many_blocks_are_told_by_what_they_leave_out() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(blocks(&nets(&["10.0.0.0/8", "192.168.0.0/16"])), "10.0.0.0/8,192.168.0.0/16");
        let mut most = rest(Family::V4, &nets(&["192.168.77.1/32"]));
        assert_eq!(most.len(), 32);
        assert_eq!(blocks(&most), "0.0.0.0/0 but 192.168.77.1/32");
        most.extend(nets(&["::/0"]));
        assert_eq!(blocks(&most), "0.0.0.0/0 but 192.168.77.1/32 and ::/0");
        assert_eq!(blocks(&nets(&["0.0.0.0/1", "128.0.0.0/1"])), "0.0.0.0/1,128.0.0.0/1");
        let v6 = rest(Family::V6, &nets(&["2001:db8::/32"]));
        assert_eq!(blocks(&v6), "::/0 but 2001:db8::/32");
    }

    #[test]
    fn a_name_cannot_break_out_of_its_cell() {
        assert_eq!(cell("a|b`c<d"), "a\\|b\\`c&lt;d");
    }
}
