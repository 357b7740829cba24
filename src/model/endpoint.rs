//! The ends of a flow.

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Protocol;

/// Labels of a pod or namespace.
pub type Labels = BTreeMap<String, String>;

/// The top-most known owner of pods: a Deployment, StatefulSet, …, or a bare Pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// The API kind, such as `Deployment`.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One end of a flow; formats.md `ENDPOINT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// Pods of one workload.
    Workload(Workload),
    /// Addresses that no known pod has.
    External {
        /// The configured host name, where the address comes from a configured destination.
        name: Option<String>,
        /// The addresses.
        cidrs: Vec<IpNet>,
    },
    /// A node, or a pod with hostNetwork.
    Host {
        /// The node's name.
        name: String,
    },
}

impl Endpoint {
    /// The namespace of a workload, `None` for others.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Workload(workload) => Some(&workload.namespace),
            Self::External { .. } | Self::Host { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(workload) => workload.fmt(f),
            Self::External { name: Some(name), .. } => f.write_str(name),
            Self::External { name: None, cidrs } => {
                let texts: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
            Self::Host { name } => write!(f, "node {name}"),
        }
    }
}

/// What the key of a flow ends with where it is the IPv6 one of two.
const IPV6: &str = " (IPv6)";

/// `source -> destination:port/PROTOCOL`: how the state, messages and `accept` name a flow.
///
/// Where both ends have addresses of both families, policies may decide the two otherwise (`ipBlock`): the flow over
/// IPv4 has the plain key, that over IPv6 ends with ` (IPv6)`. A flow without such a twin has the plain key, whatever
/// its family.
#[must_use]
pub fn flow_key(source: &Endpoint, destination: &Endpoint, port: (Protocol, u16), ipv6: bool) -> String {
    let suffix = if ipv6 { IPV6 } else { "" };
    format!("{source} -> {destination}:{}/{}{suffix}", port.1, port.0)
}

/// The key of a flow for both families.
#[must_use]
pub fn without_family(key: &str) -> &str {
    key.strip_suffix(IPV6).unwrap_or(key)
}

/// The wire form: one flat object with a `kind`.
#[derive(Deserialize)]
struct Wire {
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
    cidrs: Option<Vec<IpNet>>,
}

/// The same as it is written.
#[derive(Serialize)]
struct Written<'e> {
    kind: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cidrs: Option<&'e [IpNet]>,
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Self::Workload(w) => {
                Written { kind: &w.kind, namespace: Some(&w.namespace), name: Some(&w.name), cidrs: None }
            }
            Self::External { name, cidrs } => {
                Written { kind: "External", namespace: None, name: name.as_deref(), cidrs: Some(cidrs) }
            }
            Self::Host { name } => Written { kind: "Host", namespace: None, name: Some(name), cidrs: None },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        match (wire.kind.as_str(), wire.namespace, wire.name, wire.cidrs) {
            ("External", None, name, Some(cidrs)) => Ok(Self::External { name, cidrs }),
            ("Host", None, Some(name), None) => Ok(Self::Host { name }),
            (_, Some(namespace), Some(name), None) => Ok(Self::Workload(Workload { kind: wire.kind, namespace, name })),
            _ => Err(serde::de::Error::custom("neither a workload, nor External, nor Host")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_the_documented_json() {
        let cart = Endpoint::Workload(Workload {
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
        });
        let outside = Endpoint::External { name: None, cidrs: vec!["0.0.0.0/1".parse().unwrap()] };
        let node = Endpoint::Host { name: "node-1".to_owned() };
        for (endpoint, json) in [
            (cart, r#"{"kind":"Deployment","namespace":"shop","name":"cart"}"#),
            (outside, r#"{"kind":"External","cidrs":["0.0.0.0/1"]}"#),
            (node, r#"{"kind":"Host","name":"node-1"}"#),
        ] {
            assert_eq!(serde_json::to_string(&endpoint).unwrap(), json);
            assert_eq!(serde_json::from_str::<Endpoint>(json).unwrap(), endpoint);
        }
        assert!(serde_json::from_str::<Endpoint>(r#"{"kind":"Deployment","name":"cart"}"#).is_err());
    }
}
