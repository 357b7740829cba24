//! Readers: from a policy object to the tiered form. A new kind of policy is a new reader.

use std::str::FromStr;

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use serde::Deserialize;
use serde_json::Value;

use crate::model::{
    Action, Direction, NamespaceMatch, Order, Origin, Origins, Peer, Policy, PolicyDocument, PolicyRef, PortMatch,
    Protocol, Rule, Selector, Subject, Tier,
};

/// A policy whose content the API would refuse, or that this program cannot read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{policy}{}: {message}", place(.origin.as_ref()))]
pub struct Unreadable {
    /// The policy.
    pub policy: PolicyRef,
    /// Where it stands.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub message: String,
}

fn place(origin: Option<&Origin>) -> String {
    origin.map(|o| format!(" ({o})")).unwrap_or_default()
}

/// Whether [`documents`] has a reader for this kind.
#[must_use]
pub fn understands(document: &PolicyDocument) -> bool {
    is_kubernetes(document) || calico::understands(document) || admin::understands(document)
}

/// Whether [`policy`] has a reader for this kind: `networking.k8s.io/v1` NetworkPolicy.
#[must_use]
pub fn is_kubernetes(document: &PolicyDocument) -> bool {
    document.api_version == "networking.k8s.io/v1" && document.id.kind == "NetworkPolicy"
}

/// Reads a document that needs no other one to be understood.
///
/// # Errors
/// No reader for its kind (ask [`is_kubernetes`] first), or content that the API would refuse.
pub fn policy(document: &PolicyDocument) -> Result<Policy, Box<Unreadable>> {
    let reader = Reader { id: &document.id, origins: &document.origins };
    if !is_kubernetes(document) {
        return Err(
            reader.fault("", format!("kind `{}` of `{}` is not understood", document.id.kind, document.api_version))
        );
    }
    let object = NetworkPolicy::deserialize(&document.object)
        .or_else(|error| NetworkPolicy::deserialize(with_empty_labels(&document.object)).map_err(|_| error))
        .map_err(|error| reader.fault("", error.to_string()))?;
    reader.network_policy(&object)
}

/// The same with the empty text for a label that a selector has as null: so the API server reads it (Go's zero value).
fn with_empty_labels(value: &Value) -> Value {
    let label = |value: &Value| if value.is_null() { Value::from("") } else { value.clone() };
    let field = |(key, value): (&String, &Value)| match value {
        Value::Object(labels) if key == "matchLabels" => {
            (key.clone(), labels.iter().map(|(key, value)| (key.clone(), label(value))).collect())
        }
        other => (key.clone(), with_empty_labels(other)),
    };
    match value {
        Value::Object(fields) => fields.iter().map(field).collect(),
        Value::Array(items) => items.iter().map(with_empty_labels).collect(),
        other => other.clone(),
    }
}

mod admin;
pub(crate) mod calico;
mod fields;

pub use calico::{PolicySet, Staged, StagedAction, documents, readable};

struct Reader<'d> {
    id: &'d PolicyRef,
    origins: &'d Origins,
}

impl Reader<'_> {
    fn fault(&self, pointer: &str, message: String) -> Box<Unreadable> {
        Box::new(Unreadable { policy: self.id.clone(), origin: self.origins.nearest(pointer).cloned(), message })
    }

    fn network_policy(&self, object: &NetworkPolicy) -> Result<Policy, Box<Unreadable>> {
        let namespace = self.id.namespace.clone().unwrap_or_else(|| "default".to_owned());
        // `spec` is optional; what the API stores then selects all pods and allows nothing in.
        let spec = object.spec.clone().unwrap_or_default();
        // Absent and empty select all pods (NetworkPolicySpec.podSelector).
        let pods = self.selector(&spec.pod_selector.clone().unwrap_or_default(), "/spec/podSelector")?;
        let (has_ingress, has_egress) = self.directions(spec.policy_types.as_deref(), spec.egress.as_deref())?;
        let ingress =
            has_ingress.then(|| self.ingress(&namespace, spec.ingress.as_deref().unwrap_or_default())).transpose()?;
        let egress =
            has_egress.then(|| self.egress(&namespace, spec.egress.as_deref().unwrap_or_default())).transpose()?;
        Ok(Policy {
            id: self.id.clone(),
            origin: self.origins.document.clone(),
            tier: Tier::default_tier(),
            order: Order::NETWORK_POLICY,
            subject: Subject { namespaces: NamespaceMatch::Named(namespace), pods, calico: None },
            ingress,
            egress,
        })
    }

    /// "If policyTypes is not specified, it defaults based on the existence of ingress or egress rules; … policies that
    /// do not contain an egress section … default to Ingress" (NetworkPolicySpec.policyTypes).
    fn directions(
        &self,
        types: Option<&[String]>,
        egress: Option<&[NetworkPolicyEgressRule]>,
    ) -> Result<(bool, bool), Box<Unreadable>> {
        let types = types.unwrap_or_default();
        if let Some(unknown) = types.iter().find(|t| !matches!(t.as_str(), "Ingress" | "Egress")) {
            return Err(self.fault("/spec/policyTypes", format!("`{unknown}` is no policy type (Ingress, Egress)")));
        }
        if types.len() > 2 {
            return Err(self.fault("/spec/policyTypes", "there are more than two policy types".to_owned()));
        }
        if types.is_empty() {
            return Ok((true, egress.is_some_and(|rules| !rules.is_empty())));
        }
        Ok((types.iter().any(|t| t == "Ingress"), types.iter().any(|t| t == "Egress")))
    }

    fn ingress(&self, namespace: &str, rules: &[NetworkPolicyIngressRule]) -> Result<Vec<Rule>, Box<Unreadable>> {
        let read = |(index, rule): (usize, &NetworkPolicyIngressRule)| {
            self.rule(namespace, Direction::Ingress, index, rule.from.as_deref(), rule.ports.as_deref())
        };
        rules.iter().enumerate().map(read).collect()
    }

    fn egress(&self, namespace: &str, rules: &[NetworkPolicyEgressRule]) -> Result<Vec<Rule>, Box<Unreadable>> {
        let read = |(index, rule): (usize, &NetworkPolicyEgressRule)| {
            self.rule(namespace, Direction::Egress, index, rule.to.as_deref(), rule.ports.as_deref())
        };
        rules.iter().enumerate().map(read).collect()
    }

    fn rule(
        &self,
        namespace: &str,
        direction: Direction,
        index: usize,
        peers: Option<&[NetworkPolicyPeer]>,
        ports: Option<&[NetworkPolicyPort]>,
    ) -> Result<Rule, Box<Unreadable>> {
        let at = format!("/spec/{}/{index}", direction.word());
        let field = direction.peer_field();
        // "If this field is empty or missing, this rule matches all sources/destinations/ports."
        let peers = peers.filter(|list| !list.is_empty()).map(|list| {
            let read =
                |(i, peer): (usize, &NetworkPolicyPeer)| self.peer(namespace, peer, &format!("{at}/{field}/{i}"));
            list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()
        });
        let ports = ports.filter(|list| !list.is_empty()).map(|list| {
            let read = |(i, port): (usize, &NetworkPolicyPort)| self.port(port, &format!("{at}/ports/{i}"));
            list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()
        });
        Ok(Rule {
            index,
            action: Action::Allow,
            peers: peers.transpose()?,
            ports: ports.transpose()?,
            conditions: None,
            origin: self.origins.nearest(&at).cloned(),
        })
    }

    fn peer(&self, namespace: &str, peer: &NetworkPolicyPeer, at: &str) -> Result<Peer, Box<Unreadable>> {
        if let Some(block) = &peer.ip_block {
            if peer.namespace_selector.is_some() || peer.pod_selector.is_some() {
                return Err(self.fault(at, "`ipBlock` stands beside a selector".to_owned()));
            }
            return self.block(block, at);
        }
        let namespaces = match &peer.namespace_selector {
            // "If podSelector is set and namespaceSelector is not: the pods in the policy's own namespace."
            None => NamespaceMatch::Named(namespace.to_owned()),
            Some(selector) => NamespaceMatch::Selected(self.selector(selector, &format!("{at}/namespaceSelector"))?),
        };
        if peer.namespace_selector.is_none() && peer.pod_selector.is_none() {
            return Err(self.fault(at, "the peer names nothing".to_owned()));
        }
        let pods = match &peer.pod_selector {
            None => Selector::everything(),
            Some(selector) => self.selector(selector, &format!("{at}/podSelector"))?,
        };
        Ok(Peer::Pods { namespaces, pods })
    }

    fn block(&self, block: &IPBlock, at: &str) -> Result<Peer, Box<Unreadable>> {
        let net = |text: &str, at: &str| {
            IpNet::from_str(text).map_err(|_| self.fault(at, format!("`{text}` is no CIDR, such as 10.0.0.0/8")))
        };
        let cidr = net(&block.cidr, &format!("{at}/ipBlock/cidr"))?;
        let except = block.except.iter().flatten().map(|text| net(text, &format!("{at}/ipBlock/except")));
        Ok(Peer::Block { cidr, except: except.collect::<Result<_, _>>()? })
    }

    fn port(&self, port: &NetworkPolicyPort, at: &str) -> Result<PortMatch, Box<Unreadable>> {
        let protocol = match &port.protocol {
            None => Protocol::Tcp,
            Some(text) => text.parse().map_err(|message| self.fault(at, message))?,
        };
        match (&port.port, port.end_port) {
            (None, None) => Ok(PortMatch::Protocol(protocol)),
            (Some(IntOrString::String(name)), None) if is_port_name(name) => {
                Ok(PortMatch::Named { protocol, name: name.clone() })
            }
            (Some(IntOrString::String(name)), None) => {
                let message = "is no name of a port (a number stands without quotes; a name has at most 15 small \
                               letters, digits and single `-`, and one letter)";
                Err(self.fault(at, format!("`{name}` {message}")))
            }
            (Some(IntOrString::Int(from)), to) => {
                let (from, to) = (self.number(*from, at)?, self.number(to.unwrap_or(*from), at)?);
                if from > to {
                    return Err(self.fault(at, format!("endPort {to} is below port {from}")));
                }
                Ok(PortMatch::Range { protocol, from, to })
            }
            (_, Some(end)) => Err(self.fault(at, format!("endPort {end} needs a numeric port"))),
        }
    }

    fn number(&self, number: i32, at: &str) -> Result<u16, Box<Unreadable>> {
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(self.fault(at, format!("port {number} is not between 1 and 65535"))),
        }
    }

    fn selector(&self, selector: &LabelSelector, at: &str) -> Result<Selector, Box<Unreadable>> {
        Selector::new(selector).map_err(|error| self.fault(at, error.to_string()))
    }
}

/// "This must be an IANA_SVC_NAME" (ContainerPort.name; NetworkPolicyPort.port is validated by the same rule, RFC 6335).
fn is_port_name(name: &str) -> bool {
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let has_stray_dash = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    name.len() <= 15 && name.chars().all(is_known) && name.contains(|c: char| c.is_ascii_lowercase()) && !has_stray_dash
}

#[cfg(test)]
mod tests;
