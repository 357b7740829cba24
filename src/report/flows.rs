//! Flows between endpoints as lists, explanations and differences tell them.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

use super::{clean, words};
use crate::{
    engine::{reach::Families, world::Family},
    model::{Endpoint, PortRange, PortSet},
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

/// The documented form of ports: `"all"`, or disjoint sorted ranges.
#[must_use]
pub fn ports_json(ports: &PortSet) -> Value {
    if *ports == PortSet::all() { "all".into() } else { ports.iter().map(|range| json!(range)).collect() }
}

/// Ports for people: `80,8000-8010/TCP 53/UDP`, `all ports`, `no port`.
#[must_use]
pub fn ports_text(ports: &PortSet) -> String {
    if *ports == PortSet::all() {
        return "all ports".to_owned();
    }
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for PortRange { protocol, from, to } in ports.iter() {
        let range = match (from, to) {
            (1, u16::MAX) => "all".to_owned(),
            (from, to) if from == to => from.to_string(),
            (from, to) => format!("{from}-{to}"),
        };
        match parts.last_mut() {
            Some((name, ranges)) if *name == protocol.to_string() => ranges.push(range),
            _ => parts.push((protocol.to_string(), vec![range])),
        }
    }
    let texts: Vec<String> =
        parts.iter().map(|(protocol, ranges)| format!("{}/{protocol}", ranges.join(","))).collect();
    if texts.is_empty() { "no port".to_owned() } else { texts.join(" ") }
}

/// An endpoint as the command line takes it: `shop/Deployment/cart`, `shop/cart-0` for a pod, `10.0.0.0/8`.
#[must_use]
pub fn endpoint_text(endpoint: &Endpoint) -> String {
    let text = match endpoint {
        Endpoint::Workload(w) if w.kind == "Pod" => format!("{}/{}", w.namespace, w.name),
        Endpoint::Workload(w) => format!("{}/{}/{}", w.namespace, w.kind, w.name),
        // A name alone means every address that it may have.
        Endpoint::External { name: Some(name), cidrs } if cidrs.iter().all(|net| net.prefix_len() == 0) => name.clone(),
        Endpoint::External { name: Some(name), cidrs } => {
            return format!("{} ({})", clean::line(name, words::NAME), blocks(cidrs));
        }
        Endpoint::External { name: None, cidrs } => return blocks(cidrs),
        Endpoint::Host { name } => format!("node {name}"),
    };
    clean::line(&text, 3 * words::NAME)
}

/// Blocks of each family, or what is missing of all of its addresses where that is said in fewer words.
fn blocks(cidrs: &[IpNet]) -> String {
    let joined = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = cidrs.iter().partition(|net| net.addr().is_ipv4());
    let families = [(IpNet::from(Ipv4Net::default()), v4), (IpNet::from(Ipv6Net::default()), v6)];
    let texts = families.into_iter().filter(|(_, nets)| !nets.is_empty()).map(|(all, nets)| {
        let rest = nets.iter().fold(vec![all], |rest, net| rest.iter().flat_map(|b| without(*b, net)).collect());
        let rest = IpNet::aggregate(&rest);
        if !rest.is_empty() && rest.len() * 2 < nets.len() {
            format!("{all} but {}", joined(&rest))
        } else {
            joined(&nets)
        }
    });
    let texts: Vec<String> = texts.collect();
    texts.join(if texts.iter().any(|text| text.contains(" but ")) { " and " } else { "," })
}

/// What is left of a block, in blocks.
fn without(block: IpNet, net: &IpNet) -> Vec<IpNet> {
    if net.contains(&block) {
        return Vec::new();
    }
    if !block.contains(net) {
        return vec![block];
    }
    // The net is smaller than the block, so that the block can be halved.
    block.subnets(block.prefix_len() + 1).into_iter().flatten().flat_map(|half| without(half, net)).collect()
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
        assert_eq!(ports_text(&mixed), "80,8000-8010/TCP 53/UDP");
        assert_eq!(ports_text(&set(&[(Protocol::Udp, 1, 65535)])), "all/UDP");
        assert_eq!([ports_text(&PortSet::all()), ports_text(&PortSet::empty())], ["all ports", "no port"]);
        assert_eq!(ports_json(&PortSet::all()), json!("all"));
        assert_eq!(ports_json(&PortSet::empty()), json!([]));
        let expected = json!([{"protocol": "TCP", "from": 80, "to": 80}, {"protocol": "TCP", "from": 8000, "to": 8010},
            {"protocol": "UDP", "from": 53, "to": 53}]);
        assert_eq!(ports_json(&mixed), expected);
    }

    #[test]
    fn many_blocks_are_told_by_what_they_leave_out() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(blocks(&nets(&["10.0.0.0/8", "192.168.0.0/16"])), "10.0.0.0/8,192.168.0.0/16");
        let all = |net: &str| without("0.0.0.0/0".parse().unwrap(), &net.parse().unwrap());
        let mut most = all("192.168.77.1/32");
        assert_eq!(most.len(), 32);
        assert_eq!(blocks(&most), "0.0.0.0/0 but 192.168.77.1/32");
        most.extend(nets(&["::/0"]));
        assert_eq!(blocks(&most), "0.0.0.0/0 but 192.168.77.1/32 and ::/0");
        assert_eq!(blocks(&nets(&["0.0.0.0/1", "128.0.0.0/1"])), "0.0.0.0/1,128.0.0.0/1");
        let v6 = without("::/0".parse().unwrap(), &"2001:db8::/32".parse().unwrap());
        assert_eq!(blocks(&v6), "::/0 but 2001:db8::/32");
    }

    #[test]
    fn a_name_cannot_break_out_of_its_cell() {
        assert_eq!(cell("a|b`c<d"), "a\\|b\\`c&lt;d");
    }
}
