//! The tiered form that every kind of policy is read into.
//!
//! Evaluation follows Calico's tier semantics: within a direction, tiers in order; within a tier, the
//! policies that apply to the endpoint, by order; the first rule that matches decides (one that logs goes on); an
//! endpoint that some policy of the tier applies to and no rule decides gets the tier's default action at its end,
//! which denies or passes on to the next tier. A `networking.k8s.io/v1` NetworkPolicy is order 1000 of tier `default`.

use std::cmp::Ordering;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CalicoSelector, Conditions, Labels, Origin, PolicyRef, PortRange, PortSet, Protocol, Selector};

/// The direction of traffic, seen from the endpoint that a policy applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the endpoint.
    Ingress,
    /// Out of the endpoint.
    Egress,
}

impl Direction {
    /// `ingress` or `egress`, as policies spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The field that names a rule's peers: `from` or `to`.
    #[must_use]
    pub const fn peer_field(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }

    /// The other direction.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// A tier: evaluated by order, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier {
    /// Lower is evaluated first.
    pub order: Order,
    /// The tier's name.
    pub name: String,
    /// What it does at its end with a flow that a policy of it applies to and no rule matched: deny or pass.
    pub default_action: Action,
}

impl Tier {
    /// The tier of NetworkPolicy v1, with Calico's order for it.
    #[must_use]
    pub fn default_tier() -> Self {
        Self::denying(1_000_000.0, "default")
    }

    /// A tier whose end denies.
    #[must_use]
    pub fn denying(order: f64, name: &str) -> Self {
        Self { order: Order(order), name: name.to_owned(), default_action: Action::Deny }
    }
}

/// The place of a policy within its tier, or of a tier among tiers; absent orders come last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order(pub f64);

impl Order {
    /// The order that Calico gives a NetworkPolicy v1.
    pub const NETWORK_POLICY: Self = Self(1000.0);
    /// The place of what has no order.
    pub const LAST: Self = Self(f64::INFINITY);
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What a rule does with a flow that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let it through: no later rule or tier is asked.
    Allow,
    /// Stop it.
    Deny,
    /// Leave the tier; the next one decides.
    Pass,
    /// Note it and go on with the next rule.
    Log,
}

/// The label that the API server sets on every namespace: its name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The namespaces a peer or subject may be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceMatch {
    /// The one with this name.
    Named(String),
    /// Those whose labels match.
    Selected(Selector),
}

impl NamespaceMatch {
    /// Whether the namespace `name` with `labels` matches.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Named(wanted) => wanted == name,
            Self::Selected(selector) => selector.matches(labels),
        }
    }
}

/// The endpoints that a policy applies to. hostNetwork and finished pods never are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Their namespaces.
    pub namespaces: NamespaceMatch,
    /// Their labels.
    pub pods: Selector,
    /// What a Calico policy asks of their labels besides, with those that they inherit.
    pub calico: Option<CalicoSelector>,
}

/// One alternative of a rule's `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Pods by namespace and labels.
    Pods {
        /// Their namespaces.
        namespaces: NamespaceMatch,
        /// Their labels.
        pods: Selector,
    },
    /// Addresses, pods' own included.
    Block {
        /// The block.
        cidr: IpNet,
        /// Blocks inside it that do not match.
        except: Vec<IpNet>,
    },
    /// Nodes by their labels: the addresses in their status.
    Nodes(Selector),
}

/// One alternative of a rule's `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    /// Every port of a protocol.
    Protocol(Protocol),
    /// An inclusive range of one protocol.
    Range {
        /// The protocol.
        protocol: Protocol,
        /// The first port.
        from: u16,
        /// The last port.
        to: u16,
    },
    /// A port that the destination pod declares under this name, with this protocol.
    Named {
        /// The protocol that the declaration must have.
        protocol: Protocol,
        /// The port's name.
        name: String,
    },
}

impl PortMatch {
    /// The numbers that it means whatever the destination declares; `None` for a name.
    #[must_use]
    pub const fn numbers(&self) -> Option<PortRange> {
        match self {
            Self::Protocol(protocol) => Some(PortRange { protocol: *protocol, from: 1, to: u16::MAX }),
            Self::Range { protocol, from, to } => Some(PortRange { protocol: *protocol, from: *from, to: *to }),
            Self::Named { .. } => None,
        }
    }
}

/// One rule of a policy, in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its position in the policy's list, from 0.
    pub index: usize,
    /// What it does.
    pub action: Action,
    /// `None`: any peer, outside addresses included.
    pub peers: Option<Vec<Peer>>,
    /// `None`: any port of any protocol.
    pub ports: Option<Vec<PortMatch>>,
    /// What a Calico rule asks besides; its peers and ports are `None`.
    pub conditions: Option<Box<Conditions>>,
    /// Where it stands.
    pub origin: Option<Origin>,
}

impl Rule {
    /// Whether its ports hold all of `port`; `None` is any port of any protocol.
    #[must_use]
    pub fn has_port(&self, port: Option<&PortMatch>) -> bool {
        let Some(ports) = &self.ports else { return true };
        match port.map(|port| (port, port.numbers())) {
            None => false,
            Some((named, None)) => ports.contains(named),
            Some((_, Some(range))) => {
                let known: PortSet = ports.iter().filter_map(PortMatch::numbers).collect();
                PortSet::from_iter([range]).difference(&known).is_empty()
            }
        }
    }
}

/// A policy in the tiered form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub id: PolicyRef,
    /// Where its document begins.
    pub origin: Option<Origin>,
    /// Its tier.
    pub tier: Tier,
    /// Its place in the tier.
    pub order: Order,
    /// The endpoints that it applies to.
    pub subject: Subject,
    /// Rules for ingress; `None`: it says nothing about ingress.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for egress; `None`: it says nothing about egress.
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    /// Whether it is a `networking.k8s.io/v1` NetworkPolicy.
    #[must_use]
    pub fn is_network_policy(&self) -> bool {
        self.id.kind == "NetworkPolicy"
    }

    /// The rules of both directions.
    pub fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.ingress.iter().flatten().chain(self.egress.iter().flatten())
    }

    /// The rules of one direction; `None` where the policy does not isolate in it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A rule by name: `NetworkPolicy/shop/web egress[2]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// The policy.
    pub policy: PolicyRef,
    /// The direction.
    pub direction: Direction,
    /// The position in the list, from 0.
    pub index: usize,
}

impl std::fmt::Display for RuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}[{}]", self.policy, self.direction.word(), self.index)
    }
}
