//! Where an expectation goes: `host:port`, `host:port/UDP`.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{model::Protocol, probe::Target};

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, resolved in the pod with its own search path: `kubernetes.default`, `redis.redis`, `pg01.example.org`.
    Name(String),
}

/// A host with a port, as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// TCP, or UDP: then it is asked as a DNS server is.
    pub protocol: Protocol,
    text: String,
}

impl Goal {
    /// Reads `host:port`, with `/TCP` or `/UDP` behind it; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// It is something else: what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (place, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((place, "TCP")) => (place, Protocol::Tcp),
            Some((place, "UDP")) => (place, Protocol::Udp),
            Some((_, other)) => {
                return Err(format!("`{text}` asks for `{other}`: TCP and UDP (a DNS server's) can be looked at"));
            }
        };
        let wrong =
            || format!("`{text}` is not host:port, such as kubernetes.default:443 or kube-dns.kube-system:53/UDP");
        let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = host_of(host).ok_or_else(wrong)?;
        Ok(Self { host, port, protocol, text: text.to_owned() })
    }
}

fn host_of(text: &str) -> Option<Host> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
        return (address.is_ipv6() == bare.is_some()).then_some(Host::Address(address));
    }
    is_name(text).then(|| Host::Name(text.to_owned()))
}

/// Whether a pod's resolver can be asked for it.
pub(super) fn is_name(text: &str) -> bool {
    Target::name(text, Duration::from_secs(2)).is_ok()
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Goal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_that_people_use_are_read() {
        let name = |name: &str| Host::Name(name.to_owned());
        let address = |address: &str| Host::Address(address.parse().unwrap());
        for (text, host, port, protocol) in [
            ("kubernetes.default:443", name("kubernetes.default"), 443, Protocol::Tcp),
            ("kube-dns.kube-system:53/UDP", name("kube-dns.kube-system"), 53, Protocol::Udp),
            ("pg01.planapulse.com:5432/TCP", name("pg01.planapulse.com"), 5432, Protocol::Tcp),
            ("169.254.169.254:80", address("169.254.169.254"), 80, Protocol::Tcp),
            ("[fd00::1]:443", address("fd00::1"), 443, Protocol::Tcp),
        ] {
            let goal = Goal::parse(text).unwrap();
            assert_eq!((goal.host.clone(), goal.port, goal.protocol), (host, port, protocol), "{text}");
            assert_eq!(goal.to_string(), text);
        }
    }

    #[test]
    fn what_nobody_could_look_at_is_refused() {
        for text in [
            "",
            "pg01",
            "pg01:",
            "pg01:0",
            "pg01:65536",
            "pg01:http",
            ":443",
            "a b:443",
            "-x:443",
            "fd00::1:443",
            "[10.0.0.1]:443",
            "pg01:443/SCTP",
            "pg01:53/udp",
            "http://pg01:443",
            "*.example.org:443",
            "pg01:443/",
        ] {
            assert!(Goal::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_printed_as_it_was(text in "\\PC{0,40}") {
            if let Ok(goal) = Goal::parse(&text) {
                prop_assert_eq!(goal.to_string(), text);
            }
        }

        #[test]
        fn every_address_with_a_port_is_one(address in any::<IpAddr>(), port in 1_u16..) {
            let text = std::net::SocketAddr::new(address, port).to_string();
            prop_assert_eq!(Goal::parse(&text).unwrap().host, Host::Address(address));
        }
    }
}
