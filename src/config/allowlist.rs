//! The list of intended flows (formats.md, `allowlist.yaml`): read strictly, so that no entry means nothing.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use serde_saphyr::Spanned;

use super::{Destination, Invalid, invalid};
use crate::{
    engine::{
        allowlist::{Allowlist, Intent, Names, Table},
        asked::{self, Port},
    },
    model::{Origin, Protocol},
};

/// The schema name that the file must carry.
pub const SCHEMA: &str = "netpol-verify/allowlist/v1";

/// Parses a list's text; `file` is its name in errors and origins.
///
/// # Errors
/// It is not what formats.md says: with file, line and column.
pub fn parse(file: &str, text: &str) -> Result<Allowlist, Invalid> {
    let written: Written = serde_saphyr::from_str(text).map_err(|error| invalid(file, &error))?;
    let tables = written.namespaces.0.into_iter().map(|table| self::table(file, table)).collect::<Result<_, _>>()?;
    Ok(Allowlist { file: file.to_owned(), tables })
}

/// What the names of `destinations` stand for: a pattern for its members, a member for itself.
#[must_use]
pub fn names(destinations: &[Destination], addresses: &BTreeMap<String, Vec<IpAddr>>) -> Names {
    let mut names = Names::new();
    let mut add = |name: &str, of: &[String]| {
        let host = names.entry(name.to_owned()).or_default();
        for member in of {
            match addresses.get(member) {
                Some(found) => host.addresses.extend(found),
                None => host
                    .unresolved
                    .push(format!("`{member}` could not be resolved: give the entry `addresses`, or look at the DNS")),
            }
        }
    };
    for destination in destinations {
        let own = vec![destination.name.clone()];
        add(&destination.name, if destination.members.is_empty() { &own } else { &destination.members });
        for member in &destination.members {
            add(member, std::slice::from_ref(member));
        }
    }
    names
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "schema")]
    _schema: Schema,
    namespaces: Tables,
}

struct Schema;

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let schema = String::deserialize(deserializer)?;
        if schema == SCHEMA {
            return Ok(Self);
        }
        Err(D::Error::custom(format!("schema is `{schema}`, this version reads `{SCHEMA}`")))
    }
}

struct Tables(Vec<Spanned<WrittenTable>>);

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tables = Vec::deserialize(deserializer)?;
        if tables.is_empty() {
            return Err(D::Error::custom("`namespaces` is empty: name at least one, or take the file out"));
        }
        Ok(Self(tables))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTable {
    #[serde(rename = "match")]
    pattern: Pattern,
    egress: Option<Vec<Spanned<Outgoing>>>,
    ingress: Option<Vec<Spanned<Incoming>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outgoing {
    to: PeerName,
    #[serde(default)]
    addresses: Vec<Net>,
    ports: Option<Ports>,
    reason: Reason,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    from: PeerName,
    #[serde(default)]
    addresses: Vec<Net>,
    ports: Option<Ports>,
    reason: Reason,
}

/// Reads a text that must pass a check.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_good: impl Fn(&str) -> bool,
    what: &str,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_good(&text) { Ok(text) } else { Err(D::Error::custom(format!("`{text}` {what}"))) }
}

struct Pattern(String);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, super::namespaces::is_pattern, "is neither a namespace nor a pattern such as plana-odoo*")
            .map(Self)
    }
}

struct PeerName(String);

impl<'de> Deserialize<'de> for PeerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "is no namespace, SERVICE.NAMESPACE, host name, address or CIDR (in small letters)";
        checked(deserializer, |text| is_net(text) || text.split('.').all(is_label), what).map(Self)
    }
}

fn is_net(text: &str) -> bool {
    net(text).is_some()
}

fn net(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
}

/// A part of a name, which may be a pattern.
fn is_label(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_*?".contains(c))
}

struct Net(IpNet);

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = checked(deserializer, is_net, "is no address and no CIDR")?;
        net(&text).map(|net| Self(net.trunc())).ok_or_else(|| D::Error::custom("no address"))
    }
}

struct Reason(String);

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(deserializer, |text| !text.trim().is_empty(), "is no reason: say what the flow is for").map(Self)
    }
}

struct Ports(Vec<OnePort>);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ports = Vec::deserialize(deserializer)?;
        if ports.is_empty() {
            return Err(D::Error::custom("`ports` is empty: name them, or leave the key out for any port"));
        }
        Ok(Self(ports))
    }
}

/// `5432`, `53/UDP`, `http`.
struct OnePort((Protocol, Port));

impl<'de> Deserialize<'de> for OnePort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = OnePort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as 5432, 53/UDP or http")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<OnePort, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<OnePort, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OnePort, E> {
                asked::port(text).map(OnePort).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn table(file: &str, written: Spanned<WrittenTable>) -> Result<Table, Invalid> {
    let origin = origin(file, &written);
    let WrittenTable { pattern, egress, ingress } = written.value;
    let out = |one: Spanned<Outgoing>| {
        let origin = self::origin(file, &one);
        let Outgoing { to, addresses, ports, reason } = one.value;
        intent(origin, to, addresses, ports, reason)
    };
    let back = |one: Spanned<Incoming>| {
        let origin = self::origin(file, &one);
        let Incoming { from, addresses, ports, reason } = one.value;
        intent(origin, from, addresses, ports, reason)
    };
    let egress = egress.map(|list| list.into_iter().map(out).collect::<Result<Vec<_>, _>>()).transpose()?;
    let ingress = ingress.map(|list| list.into_iter().map(back).collect::<Result<Vec<_>, _>>()).transpose()?;
    if egress.is_none() && ingress.is_none() {
        let message = format!("the table of `{}` says nothing: give it `egress` or `ingress`", pattern.0);
        return Err(content(&origin, message));
    }
    Ok(Table { pattern: pattern.0, origin, egress, ingress })
}

fn intent(
    origin: Origin,
    peer: PeerName,
    addresses: Vec<Net>,
    ports: Option<Ports>,
    reason: Reason,
) -> Result<Intent, Invalid> {
    if is_net(&peer.0) && !addresses.is_empty() {
        return Err(content(&origin, format!("`{}` is an address itself: take its `addresses` out", peer.0)));
    }
    Ok(Intent {
        peer: peer.0,
        addresses: addresses.into_iter().map(|net| net.0).collect(),
        ports: ports.map(|ports| ports.0.into_iter().map(|port| port.0).collect()).unwrap_or_default(),
        reason: reason.0,
        origin,
    })
}

fn origin<T>(file: &str, written: &Spanned<T>) -> Origin {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Origin::at(file, number(written.referenced.line()), number(written.referenced.column()))
}

fn content(origin: &Origin, message: String) -> Invalid {
    let place = format!("{}:{}: ", origin.line.unwrap_or(1), origin.column.unwrap_or(1));
    Invalid::Content { file: origin.file.clone(), place, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "schema: netpol-verify/allowlist/v1\nnamespaces:\n";

    #[test]
    fn the_documented_list_is_read_with_the_place_of_each_entry() {
        let text = format!(
            "{HEAD}  - match: \"plana-odoo*\"\n    egress:\n      - {{to: pg01.planapulse.com, ports: [5432, 53/UDP, http], reason: PostgreSQL}}\n      - {{to: Any.example.org, addresses: [192.0.2.7, 198.51.100.0/24], reason: x}}\n    ingress:\n      - {{from: envoy-gateway-system, reason: All public traffic comes via Envoy}}\n"
        )
        .replace("Any", "any");
        let list = parse("infra/allowlist.yaml", &text).unwrap();
        let table = &list.tables[0];
        assert_eq!(
            (table.pattern.as_str(), table.origin.to_string().as_str()),
            ("plana-odoo*", "infra/allowlist.yaml:3:5")
        );
        let egress = table.egress.as_ref().unwrap();
        assert_eq!(egress[0].origin.to_string(), "infra/allowlist.yaml:5:9");
        let ports = [
            (Protocol::Tcp, Port::Number(5432)),
            (Protocol::Udp, Port::Number(53)),
            (Protocol::Tcp, Port::Name("http".to_owned())),
        ];
        assert_eq!(egress[0].ports, ports);
        assert_eq!(egress[1].addresses, ["192.0.2.7/32".parse().unwrap(), "198.51.100.0/24".parse().unwrap()]);
        let ingress = &table.ingress.as_ref().unwrap()[0];
        assert_eq!((ingress.peer.as_str(), ingress.ports.len()), ("envoy-gateway-system", 0));
    }

    /// `LINE:COLUMN` of a part of a text, where it stands last.
    fn place(text: &str, part: &str) -> String {
        let (before, _) = text.rsplit_once(part).unwrap();
        format!("{}:{}", before.lines().count().max(1), before.lines().last().map_or(0, str::len) + 1)
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let entry = |entry: &str| format!("{HEAD}- match: shop\n  egress:\n  - {entry}\n");
        for (text, part, expected) in [
            (
                "schema: netpol-verify/allowlist/v2\nnamespaces: []\n".to_owned(),
                "netpol-",
                "schema is `netpol-verify/allowlist/v2`",
            ),
            ("schema: netpol-verify/allowlist/v1\nnamespaces: []\n".to_owned(), "[]", "`namespaces` is empty"),
            (format!("{HEAD}- match: shop\n"), "match", "the table of `shop` says nothing"),
            (format!("{HEAD}- match: Shop\n  egress: []\n"), "Shop", "`Shop` is neither a namespace"),
            (format!("{HEAD}- match: shop\n  egres: []\n"), "egres", "unknown field `egres`"),
            (entry("{to: redis.redis, port: [6379], reason: x}"), "port", "unknown field `port`"),
            (entry("{to: redis.redis, ports: [6379], reason: \"\"}"), "\"\"", "`` is no reason"),
            (entry("{to: redis.redis, ports: [], reason: x}"), "[]", "`ports` is empty"),
            (entry("{to: redis.redis, ports: [70000], reason: x}"), "70000", "port `70000` is not between"),
            (entry("{to: redis.redis, ports: [53/TLS], reason: x}"), "53/TLS", "`TLS` is no protocol"),
            (entry("{to: \"red is\", reason: x}"), "\"red", "`red is` is no namespace"),
            (entry("{to: 10.0.0.0/8, addresses: [10.0.0.1], reason: x}"), "{to", "`10.0.0.0/8` is an address itself"),
            (entry("{to: pg, addresses: [pg01], reason: x}"), "pg01", "`pg01` is no address"),
            (format!("{HEAD}- match: shop\n  ingress:\n  - {{to: a, reason: x}}\n"), "to: a", "unknown field `to`"),
        ] {
            let error = parse("allowlist.yaml", &text).unwrap_err().to_string();
            let expected = format!("allowlist.yaml:{}: {expected}", place(&text, part));
            assert!(error.starts_with(&expected), "{error} is not {expected}");
        }
        for (text, expected) in [
            (entry("{to: redis.redis, ports: [6379]}"), "missing field `reason`"),
            (entry("{to: a, to: b, reason: x}"), "duplicate"),
        ] {
            let error = parse("allowlist.yaml", &text).unwrap_err().to_string();
            assert!(error.starts_with("allowlist.yaml:5:") && error.contains(expected), "{error} is not {expected}");
        }
    }
}
