//! The packet filter's tables, each replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use super::{Denial, PortRange, Protocol, Rules, Service};

/// What one transaction holds at most: inside a user namespace `nft` cannot enlarge its socket's buffer
/// (`net.core.wmem_default`, 208 KiB), and the kernel takes no longer message. Chains, in bytes of text: each becomes
/// some 15 times as much.
const CHAINS: usize = 8_000;
/// Pairs of addresses; each becomes some 120 bytes.
const ELEMENTS: usize = 1_000;

/// The tables that enforce policies, one after the other; each is made beside the one before and then takes its place.
/// Connections that are established stay, whatever the rules become.
#[derive(Debug, Default)]
pub(super) struct Policies {
    last: u32,
    in_force: Option<u32>,
}

impl Policies {
    /// Gives transactions, to be made in this order; the last one puts the new table in force and ends the old one.
    pub(super) fn next(&mut self, rules: &Rules, denial: Denial) -> Vec<String> {
        self.last += 1;
        let table = policies_table(self.last);
        let mut transactions = built(&table, rules, denial);
        let mut switch = self.in_force.map(policies_table).map(|old| removed(&old)).unwrap_or_default();
        switch.push_str(&added(&table, FORCE));
        transactions.push(switch);
        transactions
    }

    /// To be called when all of them were made.
    pub(super) fn made(&mut self) {
        self.in_force = Some(self.last);
    }

    /// Gives the transaction that removes what was made, where one of them was refused.
    pub(super) fn undo(&self) -> String {
        removed(&policies_table(self.last))
    }
}

const FORCE: &str = "chain judge {
  ct state established,related accept
  ip saddr . ip daddr vmap @pairs4
  ip6 saddr . ip6 daddr vmap @pairs6
  ip saddr @from4 goto denied
  ip daddr @to4 goto denied
  ip6 saddr @from6 goto denied
  ip6 daddr @to6 goto denied
}
chain forward { type filter hook forward priority filter; jump judge; }
chain input { type filter hook input priority filter; iifname != \"lo\" jump judge; }
";

fn policies_table(number: u32) -> String {
    format!("lab_policies_{number}")
}

fn built(name: &str, rules: &Rules, denial: Denial) -> Vec<String> {
    // Thousands of pairs have a few sets of ports between them: one chain for each set, one look-up for each packet.
    let mut numbers: BTreeMap<&BTreeSet<PortRange>, usize> = BTreeMap::new();
    let mut pairs = Family::default();
    for ((from, to), ports) in &rules.allowed {
        let next = numbers.len();
        let chain = *numbers.entry(ports).or_insert(next);
        pairs.push(*from, format!("{from} . {to} : goto ports{chain}"));
    }
    let mut table = String::new();
    line(&mut table, &format!("chain denied {{\n{}}}", denied(denial)));
    Family::default().write(&mut table, "map pairs", |family| format!("type {family} . {family} : verdict"));
    addresses(&mut table, "set from", &rules.egress);
    addresses(&mut table, "set to", &rules.ingress);
    let mut transactions = vec![added(name, &table)];
    let chain = |(ports, number): (&BTreeSet<PortRange>, usize)| {
        format!("chain ports{number} {{\n{}  goto denied\n}}\n", accepted(ports))
    };
    let mut chains = String::new();
    for chain in numbers.into_iter().map(chain) {
        if chains.len() + chain.len() > CHAINS {
            transactions.push(added(name, &std::mem::take(&mut chains)));
        }
        chains.push_str(&chain);
    }
    transactions.push(added(name, &chains));
    for (map, pairs) in [("pairs4", pairs.v4), ("pairs6", pairs.v6)] {
        let pairs: Vec<String> = pairs.into_iter().collect();
        let some = pairs.chunks(ELEMENTS);
        transactions.extend(some.map(|pairs| format!("add element inet {name} {map} {{ {} }}\n", pairs.join(", "))));
    }
    transactions
}

fn accepted(ports: &BTreeSet<PortRange>) -> String {
    let mut rules = String::new();
    let mut of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for range in ports {
        match range {
            PortRange::Icmp => line(&mut rules, "  meta l4proto { icmp, ipv6-icmp } accept"),
            PortRange::Ports { protocol, first, last } if first == last => {
                of.entry(protocol).or_default().push(first.to_string());
            }
            PortRange::Ports { protocol, first, last } => {
                of.entry(protocol).or_default().push(format!("{first}-{last}"));
            }
        }
    }
    for (protocol, ranges) in of {
        line(&mut rules, &format!("  {protocol} dport {{ {} }} accept", ranges.join(", ")));
    }
    rules
}

fn denied(denial: Denial) -> &'static str {
    match denial {
        Denial::Drop => "  drop\n",
        Denial::Reject => "  meta l4proto tcp reject with tcp reset\n  reject with icmpx port-unreachable\n",
        Denial::Prohibit => "  reject with icmpx admin-prohibited\n",
    }
}

/// The table that loses what goes to and comes from addresses of the dead; a policy that refuses goes first.
pub(super) fn dead(dead: &BTreeSet<IpAddr>) -> String {
    let mut table = String::new();
    addresses(&mut table, "set dead", dead);
    line(
        &mut table,
        "chain lose {
  ip saddr @dead4 drop
  ip daddr @dead4 drop
  ip6 saddr @dead6 drop
  ip6 daddr @dead6 drop
}
chain forward { type filter hook forward priority filter + 10; jump lose; }
chain input { type filter hook input priority filter + 10; jump lose; }
chain output { type filter hook output priority filter + 10; jump lose; }",
    );
    replaced("lab_dead", &table)
}

/// A pod that is its own Service's endpoint would not take packets from its own address: it is to see the node's.
const FORWARD: &str = "chain forwarded {
  ip daddr . meta l4proto . th dport vmap @ports4
  ip6 daddr . meta l4proto . th dport vmap @ports6
}
chain prerouting { type nat hook prerouting priority dstnat; jump forwarded; }
chain output { type nat hook output priority -100; jump forwarded; }
chain nobody {
  type filter hook prerouting priority dstnat + 10;
  ip daddr . meta l4proto . th dport @empty4 reject
  ip6 daddr . meta l4proto . th dport @empty6 reject
}
chain postrouting {
  type nat hook postrouting priority srcnat;
  ip saddr . ip daddr @own4 masquerade
  ip6 saddr . ip6 daddr @own6 masquerade
}
";

/// The table that sends connections to a Service on to its endpoints. Policies see the endpoint.
pub(super) fn services(services: &[Service]) -> String {
    let mut table = String::new();
    let (mut ports, mut empty, mut own) = (Family::default(), Family::default(), Family::default());
    for (number, service) in services.iter().enumerate() {
        let protocol = name(service.protocol);
        let port = format!("{} . {protocol} . {}", service.address, service.port);
        if service.endpoints.is_empty() {
            empty.push(service.address, port);
            continue;
        }
        ports.push(service.address, format!("{port} : goto service{number}"));
        let family = if service.address.is_ipv4() { "ip" } else { "ip6" };
        let endpoints = service.endpoints.iter().enumerate();
        let endpoints: Vec<String> = endpoints.map(|(n, (to, port))| format!("{n} : {to} . {port}")).collect();
        let (count, endpoints) = (endpoints.len(), endpoints.join(", "));
        line(
            &mut table,
            &format!(
                "chain service{number} {{\n  meta l4proto {protocol} dnat {family} to numgen random mod {count} map \
                 {{ {endpoints} }}\n}}"
            ),
        );
        for (endpoint, _) in &service.endpoints {
            own.push(*endpoint, format!("{endpoint} . {endpoint}"));
        }
    }
    let port = |family: &str| format!("type {family} . inet_proto . inet_service");
    ports.write(&mut table, "map ports", |family| format!("{} : verdict", port(family)));
    empty.write(&mut table, "set empty", port);
    own.write(&mut table, "set own", |family| format!("type {family} . {family}"));
    table.push_str(FORWARD);
    replaced("lab_services", &table)
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Elements of two sets, one for each address family.
#[derive(Default)]
struct Family {
    v4: BTreeSet<String>,
    v6: BTreeSet<String>,
}

impl Family {
    fn push(&mut self, family_of: IpAddr, element: String) {
        if family_of.is_ipv4() { &mut self.v4 } else { &mut self.v6 }.insert(element);
    }

    fn write(&self, table: &mut String, name: &str, kind: impl Fn(&str) -> String) {
        for (suffix, family, elements) in [("4", "ipv4_addr", &self.v4), ("6", "ipv6_addr", &self.v6)] {
            let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
            // An empty list is a syntax error.
            let listed = match elements.as_slice() {
                [] => String::new(),
                some => format!("; elements = {{ {} }}", some.join(", ")),
            };
            line(table, &format!("{name}{suffix} {{ {}{listed}; }}", kind(family)));
        }
    }
}

fn addresses(table: &mut String, name: &str, addresses: &BTreeSet<IpAddr>) {
    let mut family = Family::default();
    for address in addresses {
        family.push(*address, address.to_string());
    }
    family.write(table, name, |family| format!("type {family}"));
}

fn replaced(name: &str, table: &str) -> String {
    format!("{}{}", removed(name), added(name, table))
}

/// What is not there cannot be deleted.
fn removed(name: &str) -> String {
    format!("table inet {name} {{}}\ndelete table inet {name}\n")
}

fn added(name: &str, table: &str) -> String {
    format!("table inet {name} {{\n{table}}}\n")
}

fn line(to: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(to, "{text}");
}
